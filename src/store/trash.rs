//! Owns the trash: files that a collector moved away and that somebody may still need, one folder an epoch.
//!
//! What is not in place may be here. It comes back for whoever claims it, and is unlinked once nobody is left of the
//! epochs in which it could be seen in place.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::fs::{AtFlags, StatxFlags};

use super::locks::Mode;
use super::{Store, durable, epochs};
use crate::error::{Context, Result, quoted};

/// The bytes of files that were unlinked, or would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unlinked {
    /// How many files.
    pub files: u64,
    /// The lengths of those whose last name it was.
    pub freed: u64,
    /// What those took of the disk.
    pub freed_disk: u64,
    /// The lengths of those that others, checkouts, still have links to.
    pub held: u64,
    /// What those take of the disk.
    pub held_disk: u64,
}

impl Unlinked {
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            freed: self.freed + other.freed,
            freed_disk: self.freed_disk + other.freed_disk,
            held: self.held + other.held,
            held_disk: self.held_disk + other.held_disk,
        }
    }

    /// Returns the lengths of all of them.
    pub fn bytes(&self) -> u64 {
        self.freed + self.held
    }

    fn of(bytes: u64, blocks: u64, links: u64) -> Self {
        let disk = blocks * 512;
        match links {
            0 | 1 => Self {
                files: 1,
                freed: bytes,
                freed_disk: disk,
                ..Self::default()
            },
            _ => Self {
                files: 1,
                held: bytes,
                held_disk: disk,
                ..Self::default()
            },
        }
    }
}

/// Where a file goes that is moved away in `epoch`.
pub(super) fn place(epoch: u64, below: &Path) -> PathBuf {
    Path::new("trash").join(epoch.to_string()).join(below)
}

impl Store {
    /// Returns the epochs that there is trash of, in order.
    pub(crate) fn trash(&self) -> Result<Vec<u64>> {
        epochs::numbers_in(&self.path("trash"))
    }

    /// Returns the epochs whose trash may be looked at: nothing of it is unlinked while this store's oldest epoch is held.
    fn trash_in_sight(&self) -> Result<Vec<u64>> {
        let mut trash = self.trash()?;
        trash.retain(|epoch| *epoch >= self.held.oldest());
        Ok(trash)
    }

    /// Does `act` with the place of a file, below the store: where it belongs, or in the trash.
    ///
    /// `act` says by `NotFound` that the file is not there. Whoever holds an epoch finds with this what was in place when
    /// the epoch was entered.
    pub(crate) fn wherever<T>(
        &self,
        below: &Path,
        act: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<io::Result<T>> {
        match act(below) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return Ok(other),
        }
        // Nothing is moved to the trash while this is held. But what is there may come back between two looks.
        let _nothing_goes = self.publishing(Mode::Shared)?;
        let in_trash = self.trash_in_sight()?.into_iter().rev();
        let places = in_trash.map(|epoch| place(epoch, below));
        for place in std::iter::once(below.to_owned()).chain(places) {
            match act(&place) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => return Ok(other),
            }
        }
        Ok(act(below))
    }

    /// Returns what unlinking a file that is in place would give, or `None` where there is none.
    pub(crate) fn weigh(&self, below: &Path) -> Result<Option<Unlinked>> {
        let wanted = StatxFlags::SIZE | StatxFlags::BLOCKS | StatxFlags::NLINK;
        match rustix::fs::statx(&self.folder, below, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Ok(seen) => {
                let (size, blocks) = (seen.stx_size, seen.stx_blocks);
                Ok(Some(Unlinked::of(size, blocks, seen.stx_nlink.into())))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context("look at", quoted(below)),
        }
    }

    /// Returns where a file is in the trash, the newest first.
    pub(crate) fn discarded(&self, below: &Path) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for epoch in self.trash_in_sight()?.into_iter().rev() {
            let place = place(epoch, below);
            found.extend(is_there(&self.path(&place))?.then_some(place));
        }
        Ok(found)
    }

    /// Brings a file back from the trash where it is not in place; returns whether it is in place now.
    ///
    /// For whoever claims it: then no collector moves it.
    pub(super) fn bring_back(&self, below: &Path) -> Result<InPlace> {
        let to = self.path(below);
        if is_there(&to)? {
            return Ok(InPlace::Already);
        }
        for epoch in self.trash_in_sight()?.into_iter().rev() {
            match durable::rename_new(&self.path(place(epoch, below)), &to) {
                Ok(true) => return Ok(InPlace::BroughtBack),
                Ok(false) => return Ok(InPlace::Already),
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        // Another that claims it was faster.
        Ok(match is_there(&to)? {
            true => InPlace::Already,
            false => InPlace::Missing,
        })
    }

    /// Returns the files of `folder` in the trash, named as below the store.
    pub(super) fn in_trash(&self, folder: &str) -> Result<BTreeSet<PathBuf>> {
        let mut found = BTreeSet::new();
        for epoch in self.trash_in_sight()? {
            let root = self.path(Path::new("trash").join(epoch.to_string()));
            for path in files_below(&root.join(folder))? {
                found.extend(path.strip_prefix(&root).map(Path::to_owned));
            }
        }
        Ok(found)
    }
}

/// What became of a wish for a file in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InPlace {
    Already,
    BroughtBack,
    Missing,
}

fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).context("look at", quoted(path)),
    }
}

/// Unlinks everything that was moved away in `epoch`.
pub(super) fn empty(store: &Store, epoch: u64) -> Result<Unlinked> {
    let root = store.path(place(epoch, Path::new("")));
    let files = files_below(&root)?;
    let unlinked = sum(&files, |path| {
        let Some(seen) = look(path)? else {
            return Ok(Unlinked::default());
        };
        durable::remove(path).map(|()| seen)
    })?;
    durable::remove_folder(&root)?;
    Ok(unlinked)
}

/// Returns what [`empty`] would unlink.
pub(super) fn measure(store: &Store, epoch: u64) -> Result<Unlinked> {
    let files = files_below(&store.path(place(epoch, Path::new(""))))?;
    sum(&files, |path| Ok(look(path)?.unwrap_or_default()))
}

fn sum(
    files: &[PathBuf],
    each: impl Fn(&PathBuf) -> Result<Unlinked> + Sync + Send,
) -> Result<Unlinked> {
    in_many(|| {
        let all = files.par_iter().map(each);
        all.try_reduce(Unlinked::default, |one, other| Ok(one.add(other)))
    })
}

/// On how many threads files are unlinked. A file system that tells its disk at once what is free (ext4 with `discard`)
/// has each of them wait for the disk, whatever the processor could do meanwhile.
pub(crate) const UNLINKERS: usize = 16;

/// Does work in parallel that waits for the disk, on [`UNLINKERS`] threads.
pub(crate) fn in_many<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static MANY: LazyLock<Option<ThreadPool>> =
        LazyLock::new(|| ThreadPoolBuilder::new().num_threads(UNLINKERS).build().ok());
    match &*MANY {
        Some(many) => many.install(work),
        // Where the system gives no threads, those that are there have to do.
        None => work(),
    }
}

/// Returns what unlinking a file would give, or `None` where somebody claimed it meanwhile.
fn look(path: &Path) -> Result<Option<Unlinked>> {
    match fs::symlink_metadata(path) {
        Ok(seen) => Ok(Some(Unlinked::of(seen.len(), seen.blocks(), seen.nlink()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context("look at", quoted(path)),
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("read the folder", quoted(&folder))?,
        };
        for entry in entries {
            let entry = entry.context("read the folder", quoted(&folder))?;
            let kind = entry
                .file_type()
                .context("look at", quoted(&entry.path()))?;
            match kind.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    Ok(files)
}
