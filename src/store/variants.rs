//! Owns making more inodes of a content that is stored: for a checkout's links, or as a file of its own.
//! Refuses to copy an object that is not as it was left: its bytes are someone else's then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use super::inodes::{self, Given, Stat};
use super::{Store, Writer, durable};
use crate::digest::{ContentHasher, ContentId, InodeId};
use crate::error::{Context, Result, quoted};
use crate::meta::Meta;
use crate::watch::Watch;

/// How much is copied between two looks at whether to stop.
const STRIDE: u64 = 16 << 20;

/// Up to this size a file is read and written: setting up anything cleverer costs more.
const SMALL: usize = 64 << 10;

/// What file systems give room by, at the least where holes are concerned.
const BLOCK: u64 = 4096;

/// Whether files may share their bytes, and whether the file system was found able to.
#[derive(Debug)]
pub(crate) struct Sharing {
    try_reflink: AtomicBool,
}

impl Sharing {
    /// Reflinks where the file system can, until it says once that it cannot.
    pub(crate) fn reflinks() -> Self {
        Self {
            try_reflink: AtomicBool::new(true),
        }
    }

    /// Copies every byte.
    pub(crate) fn none() -> Self {
        Self {
            try_reflink: AtomicBool::new(false),
        }
    }

    fn share(&self, from: &File, to: &File) -> bool {
        if !self.try_reflink.load(Ordering::Relaxed) {
            return false;
        }
        let done = rustix::fs::ioctl_ficlone(to, from).is_ok();
        if !done {
            self.try_reflink.store(false, Ordering::Relaxed);
        }
        done
    }
}

/// What became of a wish for an object's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Filled {
    /// They are shared.
    Reflinked,
    /// They were copied, holes as holes.
    Copied,
    /// The object is not as it was left; this is how. What was written is not to be used.
    Changed(Vec<&'static str>),
    /// There is no object.
    Missing,
}

/// A stored content and how its object was left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// Its name.
    pub(crate) id: &'a ContentId,
    /// What `statx` says of it as long as nobody changed it.
    pub(crate) stat: &'a Stat,
}

/// What became of staging an inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Restaged {
    /// It waits for [`Writer::publish`].
    Staged,
    /// The host does not take one of its attributes, so that it cannot be made here.
    Refused,
    /// The object cannot be used.
    Unusable(Filled),
}

impl Store {
    /// Fills the new file `to` with an object's bytes, and checks afterwards that these were the object's.
    pub(crate) fn fill_from_object(
        &self,
        source: Source<'_>,
        to: &File,
        sharing: &Sharing,
        watch: &dyn Watch,
    ) -> Result<Filled> {
        let below = self.object_path(source.id);
        let from = match self.wherever(&below, |place| self.open_to_copy(place))? {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Filled::Missing),
            other => other.context("open the object", source.id)?,
        };
        let filled = fill_from((source, &from), to, sharing, watch)?;
        let Filled::Changed(_) = &filled else {
            return Ok(filled);
        };
        // It may have been moved away and put in place again by another, with other metadata: the old one is kept.
        for place in self.discarded(&below)? {
            let from = match self.open_to_copy(&place) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.context("open the object", source.id)?,
            };
            to.set_len(0).context("copy the object", source.id)?;
            match fill_from((source, &from), to, sharing, watch)? {
                Filled::Changed(_) => {}
                done => return Ok(done),
            }
        }
        Ok(filled)
    }

    fn open_to_copy(&self, place: &std::path::Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(self.folder(), place, flags, Mode::empty())?;
        Ok(File::from(file))
    }

    /// Returns how an object without a record is, after reading it; `None` where its bytes are not its content.
    pub(crate) fn prove_object(&self, id: &ContentId, watch: &dyn Watch) -> Result<Option<Stat>> {
        let mut hasher = ContentHasher::default();
        let file = self.open_object(id)?;
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        loop {
            let read = file
                .read_at(&mut buffer, at)
                .context("read the object", id)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
            watch.check()?;
        }
        let stat = rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, inodes::stat_flags());
        let stat = Stat::seen(&stat.context("look at the object", id)?);
        Ok(Some(stat).filter(|stat| hasher.finish() == *id && stat.size == at))
    }
}

impl Writer<'_> {
    /// Stages the inode `id` of a stored content with `meta`, which is already as the host is to have it.
    pub(crate) fn stage_inode(
        &self,
        (id, source): (&InodeId, Source<'_>),
        meta: &Meta,
        sharing: &Sharing,
        watch: &dyn Watch,
    ) -> Result<Restaged> {
        let path = self.staged_inode(id);
        let outcome = self.stage_file(&path, source, meta, (sharing, watch))?;
        if outcome == Restaged::Staged {
            self.staged().inodes.push(*id);
        }
        Ok(outcome)
    }

    /// Stages a fresh file for an object that has as many links as it can have; `meta` is what it was given.
    pub(crate) fn stage_again(
        &self,
        id: &ContentId,
        given: &Given,
        meta: &Meta,
        watch: &dyn Watch,
    ) -> Result<Restaged> {
        let path = self.staged_object(id);
        let source = Source {
            id,
            stat: &given.stat,
        };
        let outcome = self.stage_file(&path, source, meta, (&Sharing::reflinks(), watch))?;
        if outcome == Restaged::Staged {
            self.staged().objects.insert(*id, *given);
        }
        Ok(outcome)
    }

    fn stage_file(
        &self,
        path: &std::path::Path,
        source: Source<'_>,
        meta: &Meta,
        (sharing, watch): (&Sharing, &dyn Watch),
    ) -> Result<Restaged> {
        let file = durable::create_new_below(path)?;
        match self
            .store()
            .fill_from_object(source, &file, sharing, watch)?
        {
            Filled::Reflinked | Filled::Copied => {}
            unusable @ (Filled::Changed(_) | Filled::Missing) => {
                durable::remove(path)?;
                return Ok(Restaged::Unusable(unusable));
            }
        }
        let refused = inodes::give(&file, meta).context("set the metadata of", quoted(path))?;
        if !refused.is_empty() {
            durable::remove(path)?;
            return Ok(Restaged::Refused);
        }
        Ok(Restaged::Staged)
    }
}

/// Fills `to` from one file of the object.
fn fill_from(
    (source, from): (Source<'_>, &File),
    to: &File,
    sharing: &Sharing,
    watch: &dyn Watch,
) -> Result<Filled> {
    let size = source.stat.size;
    let shared = sharing.share(from, to);
    let is_small = !shared && usize::try_from(size).is_ok_and(|size| size <= SMALL);
    if is_small {
        copy_small(from, to, size).context("copy the object", source.id)?;
    } else if !shared {
        copy(from, to, source, watch)?;
    }
    // Looked at last, so that a change while it was read is seen too.
    let flags = inodes::stat_flags() | StatxFlags::BLOCKS;
    let stat = rustix::fs::statx(from, c"", AtFlags::EMPTY_PATH, flags);
    let stat = stat.context("look at the object", source.id)?;
    let differs = Stat::seen(&stat).differences(source.stat);
    if is_small && differs.is_empty() && may_have_holes(&stat) {
        to.set_len(0).context("copy the object", source.id)?;
        copy(from, to, source, watch)?;
    }
    Ok(match (differs.is_empty(), shared) {
        (false, _) => Filled::Changed(differs),
        (true, true) => Filled::Reflinked,
        (true, false) => Filled::Copied,
    })
}

/// Tells whether a file takes less of the disk than it is long.
fn may_have_holes(stat: &Statx) -> bool {
    let whole = stat.stx_size - stat.stx_size % BLOCK;
    stat.stx_blocks.saturating_mul(512) < whole
}

/// Copies a file in one go, holes and all.
fn copy_small(from: &File, to: &File, size: u64) -> io::Result<()> {
    // One byte more shows whether it is longer than its name says: the look at the end finds that.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(SMALL));
    while bytes.len() < bytes.capacity() {
        let at = bytes.len() as u64;
        match rustix::io::pread(from, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    to.write_all_at(&bytes, 0)
}

/// Copies `source.stat.size` bytes into the empty file `to`; holes stay holes.
fn copy(from: &File, to: &File, source: Source<'_>, watch: &dyn Watch) -> Result<()> {
    let size = source.stat.size;
    let (mut at, mut written) = (0, 0);
    while at < size {
        let (data, end) = next_data(from, at, size).context("read the object", source.id)?;
        let mut done = data;
        while done < end {
            let until = end.min(done + STRIDE);
            written = copy_range(from, to, done, until).context("copy the object", source.id)?;
            done = until;
            watch.check()?;
        }
        at = end;
    }
    match written == size {
        true => Ok(()),
        false => to.set_len(size).context("copy the object", source.id),
    }
}

/// Returns where the next data begins and where it ends.
fn next_data(from: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
        Ok(data) => data.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        // A file system without holes.
        Err(Errno::INVAL) => return Ok((at, size)),
        Err(e) => return Err(e.into()),
    };
    let end = rustix::fs::seek(from, SeekFrom::Hole(data))?;
    Ok((data, end.min(size)))
}

/// Copies what is between two places; returns how far it came.
fn copy_range(from: &File, to: &File, begin: u64, end: u64) -> io::Result<u64> {
    let mut at = begin;
    let left = |at: u64| usize::try_from(end - at).unwrap_or(usize::MAX);
    while left(begin) > SMALL && at < end {
        let (mut read_at, mut write_at) = (at, at);
        // Whatever it refuses, reading and writing either does or names the reason for.
        match rustix::fs::copy_file_range(
            from,
            Some(&mut read_at),
            to,
            Some(&mut write_at),
            left(at),
        ) {
            Ok(0) | Err(_) => break,
            Ok(copied) => at += copied as u64,
        }
    }
    let mut buffer = vec![0; left(at).min(SMALL)];
    while at < end {
        let len = left(at).min(buffer.len());
        let read = from.read_at(&mut buffer[..len], at)?;
        if read == 0 {
            // Shorter than its name says: the look at the end finds that.
            return Ok(at);
        }
        to.write_all_at(&buffer[..read], at)?;
        at += read as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::locks::Wait;
    use crate::watch::Unwatched;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name| durable::create_new(&dir.path().join(name)).unwrap();
        let (from, to) = (open("from"), open("to"));
        let size = 8 << 20;
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(&vec![7; 100_000], 4 << 20).unwrap();
        from.set_len(size).unwrap();
        let id = ContentId::of(b"");
        let stat = Stat {
            size,
            ..Stat::wanted(0, &Meta::default())
        };
        copy(
            &from,
            &to,
            Source {
                id: &id,
                stat: &stat,
            },
            &Unwatched,
        )
        .unwrap();
        let read = |name| std::fs::read(dir.path().join(name)).unwrap();
        assert!(read("from") == read("to"));
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks() + 8);
    }

    #[test]
    fn small_files_are_copied_whole_and_their_holes_stay_too() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| durable::create_new(&dir.path().join(name)).unwrap();
        let meta = |file: &File| file.metadata().unwrap();
        for (at, size) in [1, 4095, 4096, 4097, SMALL as u64, SMALL as u64 + 1]
            .into_iter()
            .enumerate()
        {
            for holes in ["none", "in front", "at the end", "all"] {
                let (from, to) = (
                    open(&format!("from-{at}-{holes}")),
                    open(&format!("to-{at}-{holes}")),
                );
                from.set_len(size).unwrap();
                let byte = |at: u64| from.write_all_at(b"x", at).unwrap();
                match holes {
                    "none" => (0..size).step_by(512).for_each(byte),
                    "in front" => byte(size - 1),
                    "at the end" => byte(0),
                    _ => {}
                }
                let seen = rustix::fs::statx(&from, c"", AtFlags::EMPTY_PATH, inodes::stat_flags());
                let (id, stat) = (ContentId::of(b""), Stat::seen(&seen.unwrap()));
                let source = Source {
                    id: &id,
                    stat: &stat,
                };
                let filled = fill_from((source, &from), &to, &Sharing::none(), &Unwatched).unwrap();
                assert_eq!(filled, Filled::Copied);
                let read = |file: &File| {
                    let mut bytes = vec![0; usize::try_from(size).unwrap() + 1];
                    let read = file.read_at(&mut bytes, 0).unwrap();
                    bytes.truncate(read);
                    bytes
                };
                assert!(
                    read(&from) == read(&to) && meta(&to).len() == size,
                    "{size} {holes}"
                );
                from.sync_all().unwrap();
                to.sync_all().unwrap();
                // One block is not worth the look.
                assert!(
                    meta(&to).blocks() <= meta(&from).blocks() + 8,
                    "{size} {holes}"
                );
            }
        }
    }

    #[test]
    fn an_object_is_proved_by_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        let writer = store.write().unwrap();
        let meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let id = writer
            .add_object(b"bytes", &writer.owners().apply(&meta))
            .unwrap();
        let published = writer.publish().unwrap();
        let proved = store.prove_object(&id, &Unwatched).unwrap();
        assert_eq!(proved, Some(published.objects[&id].stat));
        let file = File::options()
            .write(true)
            .open(store.root().join(store.object_path(&id)))
            .unwrap();
        file.write_all_at(b"B", 0).unwrap();
        assert_eq!(store.prove_object(&id, &Unwatched).unwrap(), None);
    }
}
