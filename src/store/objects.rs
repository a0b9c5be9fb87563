//! Owns adding contents: hashed before they are written, and never written twice.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::inodes::{self, Given, Owners, Stat};
use super::{Store, Writer, durable};
use crate::digest::{ContentHasher, ContentId};
use crate::error::{Cause, Context, Error, Result, quoted};
use crate::meta::Meta;

/// From this size on a content is streamed: it is compared with stored ones of its size while it arrives.
pub(crate) const LARGE: u64 = 4 << 20;

/// How many stored contents of one size are compared at the most.
const CANDIDATES: usize = 4;

impl Writer<'_> {
    /// Adds a content that is in memory whole. `meta` goes to its file if it is new.
    pub fn add_object(&self, data: &[u8], meta: &Meta) -> Result<ContentId> {
        let id = ContentId::of(data);
        if !self.staged().seen.insert(id) || self.is_stored(&id, data.len() as u64)? {
            return Ok(id);
        }
        let path = self.staged_object(&id);
        let mut file = durable::create_new_below(&path)?;
        file.write_all(data).context("write", quoted(&path))?;
        self.stage_object(&file, id, data.len() as u64, meta)?;
        Ok(id)
    }

    /// Begins a content of `size` bytes that arrives in pieces.
    pub fn begin_object(&self, size: u64) -> Result<LargeObject<'_>> {
        Ok(LargeObject {
            writer: self,
            hasher: ContentHasher::default(),
            size,
            at: 0,
            sink: self.first_candidate(size)?,
        })
    }

    /// Says that the stored object of a content is not to be trusted: where the content comes again it is written anew.
    pub fn suspect(&self, id: ContentId) {
        self.staged().suspects.insert(id);
    }

    /// Tells whether this session is going to put the content in place.
    pub fn is_staged(&self, id: &ContentId) -> bool {
        self.staged().objects.contains_key(id)
    }

    /// Gives a staged file its metadata and counts it in.
    pub(super) fn stage_object(
        &self,
        file: &File,
        id: ContentId,
        size: u64,
        meta: &Meta,
    ) -> Result<()> {
        let mut meta = self.owners.apply_to_object(meta);
        let refused = inodes::give(file, &meta).or_else(|e| {
            if !is_no_id(&e) {
                return Err(e);
            }
            meta = Owners::own().apply_to_object(&meta);
            inodes::give(file, &meta)
        });
        let refused = refused.context("set the metadata of the object", id)?;
        // An object without an attribute is another inode than one with it.
        let mut got = meta;
        refused.iter().for_each(|r| {
            got.xattrs.remove(&r.name);
        });
        got.xattrs.retain(|name, _| inodes::is_settable(name));
        let mut staged = self.staged();
        staged.objects.insert(id, Given::new(&id, size, &got));
        if size >= LARGE {
            staged.large.entry(size).or_default().push(id);
        }
        Ok(())
    }

    /// Tells whether the store has the content already, and whole.
    fn is_stored(&self, id: &ContentId, size: u64) -> Result<bool> {
        if self.staged().suspects.contains(id) {
            return Ok(false);
        }
        let Some(stat) = self.store.stat_object(id)? else {
            return Ok(false);
        };
        if stat.stx_size != size {
            return Ok(false);
        }
        if !self.distrust {
            return Ok(true);
        }
        let mut hasher = ContentHasher::default();
        io::copy(&mut self.store.open_object(id)?, &mut Hashing(&mut hasher))
            .context("read the object", id)?;
        Ok(hasher.finish() == *id)
    }

    fn first_candidate(&self, size: u64) -> Result<Sink> {
        let staged = self.staged().large.get(&size).cloned().unwrap_or_default();
        let mut ids: Vec<ContentId> = staged.into_iter().take(CANDIDATES).collect();
        if ids.len() < CANDIDATES && self.store.has_catalog()? {
            ids.extend(self.store.view(|view| view.large(size, CANDIDATES))?);
        }
        let mut files = Vec::new();
        for id in ids {
            let staged = File::open(self.staged_object(&id));
            if let Ok(file) =
                staged.or_else(|_| File::open(self.store.path(super::paths::object(&id))))
            {
                files.push(file);
            }
        }
        match files.is_empty() {
            true => self.new_sink(),
            false => Ok(Sink::Comparing(files)),
        }
    }

    fn new_sink(&self) -> Result<Sink> {
        let path = self.unique("large");
        Ok(Sink::Writing(durable::create_new(&path)?, path))
    }
}

/// A content that arrives in pieces. Where it turns out to be one the store has, nothing was written.
#[derive(Debug)]
pub struct LargeObject<'w> {
    writer: &'w Writer<'w>,
    hasher: ContentHasher,
    size: u64,
    at: u64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// So far the bytes are those of each of these stored contents.
    Comparing(Vec<File>),
    /// A file of its own.
    Writing(File, PathBuf),
}

impl LargeObject<'_> {
    /// Takes in the next bytes.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.hasher.update(data);
        if let Sink::Comparing(files) = &mut self.sink {
            let at = self.at;
            let mut last = None;
            files.retain(|file| {
                let same = holds_at(file, at, data);
                if !same {
                    last = file.try_clone().ok();
                }
                same
            });
            if files.is_empty() {
                self.start_writing(last)?;
            }
        }
        if let Sink::Writing(file, path) = &mut self.sink {
            file.write_all(data).context("write", quoted(path))?;
        }
        self.at += data.len() as u64;
        Ok(())
    }

    /// Takes in `len` zero bytes as a hole.
    pub fn hole(&mut self, mut len: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        if let Sink::Comparing(files) = &mut self.sink {
            // A sparse file is rare and its bytes are few: it is written, and dropped if it turns out known.
            let one = files.pop();
            self.start_writing(one)?;
        }
        if let Sink::Writing(file, path) = &mut self.sink {
            let step = i64::try_from(len).unwrap_or(i64::MAX);
            file.seek(SeekFrom::Current(step))
                .context("write", quoted(path))?;
        }
        self.at += len;
        while len > 0 {
            let now = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hasher.update(&ZEROS[..now]);
            len -= now as u64;
        }
        Ok(())
    }

    /// Turns from comparing to writing: what was equal so far comes from the stored content.
    fn start_writing(&mut self, equal_so_far: Option<File>) -> Result<()> {
        self.sink = self.writer.new_sink()?;
        if let (Sink::Writing(file, path), Some(source)) = (&mut self.sink, equal_so_far) {
            let mut source = source;
            source
                .seek(SeekFrom::Start(0))
                .context("read", "a stored object")?;
            let copied =
                io::copy(&mut source.take(self.at), file).context("write", quoted(path))?;
            if copied != self.at {
                return Err(Error::failed(
                    "write",
                    quoted(path),
                    "a stored object changed while it was read",
                ));
            }
        }
        Ok(())
    }

    /// Ends the content. `meta` goes to its file if it is new.
    pub fn finish(self, meta: &Meta) -> Result<ContentId> {
        let Self {
            writer,
            hasher,
            size,
            at,
            sink,
        } = self;
        let id = hasher.finish();
        debug_assert_eq!(at, size, "the caller counts the bytes");
        match sink {
            Sink::Comparing(_)
                if writer.is_stored(&id, size)? || !writer.staged().seen.insert(id) =>
            {
                Ok(id)
            }
            Sink::Comparing(mut files) => {
                // The stored content it equals is not at its name's place whole: write it after all.
                let source = files.pop();
                let mut again = Self {
                    writer,
                    hasher,
                    size,
                    at,
                    sink: Sink::Comparing(Vec::new()),
                };
                again.start_writing(source)?;
                writer.staged().seen.remove(&id);
                again.finish(meta)
            }
            Sink::Writing(file, path) => {
                file.set_len(size).context("write", quoted(&path))?;
                if !writer.staged().seen.insert(id) || writer.is_stored(&id, size)? {
                    durable::remove(&path)?;
                    return Ok(id);
                }
                durable::rename_below(&path, &writer.staged_object(&id))?;
                writer.stage_object(&file, id, size, meta)?;
                Ok(id)
            }
        }
    }
}

/// Tells whether the system has no such id: the user namespace we are root of holds some only. The content is no worse
/// for that; what a checkout wants is looked at when there is one.
fn is_no_id(e: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(e),
        Some(Errno::INVAL | Errno::OVERFLOW)
    )
}

/// Tells whether `file` holds `data` at `at`.
fn holds_at(file: &File, at: u64, data: &[u8]) -> bool {
    let mut there = vec![0; data.len().min(64 << 10)];
    let mut at = at;
    data.chunks(there.len()).all(|chunk| {
        let there = &mut there[..chunk.len()];
        let same = file.read_exact_at(there, at).is_ok() && there == chunk;
        at += chunk.len() as u64;
        same
    })
}

/// Hashes what is written to it.
struct Hashing<'a>(&'a mut ContentHasher);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// Says how an object's file differs from what it was given; empty where it does not.
    pub fn object_changes(&self, id: &ContentId, given: &Given) -> Result<Vec<&'static str>> {
        Ok(match self.stat_object(id)? {
            Some(stat) => Stat::seen(&stat).differences(&given.stat),
            None => vec!["existence"],
        })
    }

    /// Tells whether an object's file shows what it was given, attributes too. Its bytes are not looked at.
    pub fn object_fits(&self, id: &ContentId, given: &Given) -> Result<bool> {
        if !self.object_changes(id, given)?.is_empty() {
            return Ok(false);
        }
        let file = match File::open(self.path(super::paths::object(id))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.context("open the object", id)?,
        };
        let xattrs = inodes::read_xattrs(&file).context("read the attributes of the object", id)?;
        Ok(inodes::is_inode(&given.inode, id, &given.stat, &xattrs))
    }

    /// Returns what an object's file shows now, where its bytes are right; `None` where they are not, or not there.
    pub fn object_as_it_is(&self, id: &ContentId) -> Result<Option<Given>> {
        if self.stat_object(id)?.is_none() {
            return Ok(None);
        }
        let mut file = match self.open_object(id) {
            // Gone since it was looked at: a repair moves away what is damaged.
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => return Ok(None),
            other => other?,
        };
        let mut hasher = ContentHasher::default();
        io::copy(&mut file, &mut Hashing(&mut hasher)).context("read the object", id)?;
        let Some(stat) = self.stat_object(id)?.filter(|_| hasher.finish() == *id) else {
            return Ok(None);
        };
        let Stat {
            size,
            mode,
            uid,
            gid,
            mtime,
        } = Stat::seen(&stat);
        let xattrs = inodes::read_xattrs(&file).context("read the attributes of the object", id)?;
        let meta = Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        };
        Ok(Some(Given::new(id, size, &meta)))
    }
}
