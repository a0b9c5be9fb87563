//! Owns reading the contents that may have changed, each inode once, and where they go.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::super::{host, record};
use super::entry::{Key, Look, Place, Sight, went_away};
use super::found::{Found, FoundItem, Scanned, join};
use crate::digest::{ContentHasher, ContentId};
use crate::error::{Context as _, Result};
use crate::meta::Meta;
use crate::path::Name;
use crate::store::{LargeObject, Writer};
use crate::tree::{Content, Kind};
use crate::watch::Watch;

/// From this size on a content goes piece by piece.
const LARGE: u64 = 4 << 20;

/// How many bytes of a large content are in memory.
const PIECE: usize = 256 << 10;

/// How many files of one directory a thread reads in one go.
const BATCH: usize = 64;

/// An attribute that the system takes from a file whose bytes are changed.
const CAPABILITY: &[u8] = b"security.capability";

/// Where contents go.
pub trait Intake: Sync {
    /// Takes in a content that is in memory whole; `meta` is its file's.
    fn whole(&self, data: &[u8], meta: &Meta) -> Result<ContentId>;

    /// Begins a content of `size` bytes that comes in pieces.
    fn begin(&self, size: u64) -> Result<Box<dyn Pieces + '_>>;
}

/// A content on its way.
pub trait Pieces {
    /// Takes in the next bytes.
    fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Takes in `len` zero bytes that take no room.
    fn hole(&mut self, len: u64) -> Result<()>;

    /// Ends it; `meta` is its file's.
    fn finish(self: Box<Self>, meta: &Meta) -> Result<ContentId>;
}

/// Puts contents into a session of the store.
#[derive(Clone, Copy, Debug)]
pub struct Storing<'a>(pub &'a Writer<'a>);

impl Intake for Storing<'_> {
    fn whole(&self, data: &[u8], meta: &Meta) -> Result<ContentId> {
        self.0.add_object(data, meta)
    }

    fn begin(&self, size: u64) -> Result<Box<dyn Pieces + '_>> {
        Ok(Box::new(self.0.begin_object(size)?))
    }
}

impl Pieces for LargeObject<'_> {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        Self::write(self, data)
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        Self::hole(self, len)
    }

    fn finish(self: Box<Self>, meta: &Meta) -> Result<ContentId> {
        Self::finish(*self, meta)
    }
}

/// Only hashes contents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashing;

impl Intake for Hashing {
    fn whole(&self, data: &[u8], _meta: &Meta) -> Result<ContentId> {
        Ok(ContentId::of(data))
    }

    fn begin(&self, _size: u64) -> Result<Box<dyn Pieces + '_>> {
        Ok(Box::new(ContentHasher::default()))
    }
}

impl Pieces for ContentHasher {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.update(data);
        Ok(())
    }

    fn hole(&mut self, mut len: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while len > 0 {
            let now = usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len());
            self.update(&ZEROS[..now]);
            len -= now as u64;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, _meta: &Meta) -> Result<ContentId> {
        Ok(Self::finish(&self))
    }
}

/// A file to be read.
struct Unread<'f> {
    entry: usize,
    name: &'f Name,
    meta: &'f Meta,
    look: Look,
}

impl Found {
    /// Returns how many bytes are to be read.
    pub fn unread(&self) -> u64 {
        self.plan()
            .iter()
            .flat_map(|(_, files)| files)
            .map(|file| file.look.size)
            .sum()
    }

    /// Reads what is to be read from `dir`, which is the one that was looked at, and makes a tree of it all.
    pub fn take_in(
        mut self,
        dir: BorrowedFd<'_>,
        intake: &dyn Intake,
        watch: &dyn Watch,
    ) -> Result<Scanned> {
        let plan = self.plan();
        let read = plan.par_iter().map(|(at, files)| {
            let here = &self.dirs[*at].path;
            let open = host::open_dir(dir, here);
            let open = open.context(
                "open",
                Place {
                    at: dir,
                    name: b"",
                    path: here,
                }
                .show(),
            )?;
            let read = |file: &Unread<'_>| {
                watch.check()?;
                let path = join(here, file.name);
                let place = Place {
                    at: open.as_fd(),
                    name: file.name.as_bytes(),
                    path: &path,
                };
                let id = read_file(place, file, intake)?;
                watch.advance(file.look.size);
                Ok((
                    *at,
                    file.entry,
                    Content::Object {
                        id,
                        size: file.look.size,
                    },
                ))
            };
            files.iter().map(read).collect::<Result<Vec<_>>>()
        });
        let read: Vec<Vec<(usize, usize, Content)>> = read.collect::<Result<_>>()?;
        let mut by_key: HashMap<Key, Content> = HashMap::new();
        for (dir, entry, content) in read.into_iter().flatten() {
            self.settle((dir, entry), content, &mut by_key);
        }
        self.settle_others(&by_key);
        Ok(self.into_tree())
    }

    /// Returns what is to be read, by directory: of each inode one name.
    fn plan(&self) -> Vec<(usize, Vec<Unread<'_>>)> {
        let mut seen: HashSet<Key> = HashSet::new();
        let mut plan: Vec<(usize, Vec<Unread<'_>>)> = Vec::new();
        for (at, dir) in self.dirs.iter().enumerate() {
            let mut files: Vec<Unread<'_>> = Vec::new();
            for (entry, (name, item)) in dir.entries.iter().enumerate() {
                let FoundItem::Leaf(leaf) = item else {
                    continue;
                };
                let Some(look) = leaf.unread else {
                    continue;
                };
                if leaf.key.is_some_and(|key| !seen.insert(key)) {
                    continue;
                }
                files.push(Unread {
                    entry,
                    name,
                    meta: &leaf.leaf.meta,
                    look,
                });
                if files.len() == BATCH {
                    plan.push((at, std::mem::take(&mut files)));
                }
            }
            if !files.is_empty() {
                plan.push((at, files));
            }
        }
        plan
    }

    fn settle(
        &mut self,
        (dir, entry): (usize, usize),
        content: Content,
        by_key: &mut HashMap<Key, Content>,
    ) {
        let sight = self.sight;
        if let FoundItem::Leaf(leaf) = &mut self.dirs[dir].entries[entry].1 {
            if let Some(key) = leaf.key {
                by_key.insert(key, content);
            }
            leaf.fill(content, sight);
        }
    }

    /// Gives further names of what was read what was read.
    fn settle_others(&mut self, by_key: &HashMap<Key, Content>) {
        let sight = self.sight;
        self.for_each_leaf(|leaf| {
            let content = leaf.key.and_then(|key| by_key.get(&key));
            if let (Some(_), Some(content)) = (leaf.unread, content) {
                leaf.fill(*content, sight);
            }
        });
    }
}

impl super::entry::FoundLeaf {
    fn fill(&mut self, content: Content, sight: Sight) {
        // Whoever could see it would have seen it go with the old bytes.
        if sight == Sight::Some && self.was.is_some_and(|was| was != content) {
            self.leaf.meta.xattrs.remove(CAPABILITY);
        }
        self.leaf.kind = Kind::File(content);
        self.unread = None;
    }
}

fn read_file(place: Place<'_>, unread: &Unread<'_>, intake: &dyn Intake) -> Result<ContentId> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(place.at, place.name, flags, Mode::empty());
    let mut file = match opened {
        Err(Errno::NOENT | Errno::LOOP) => return Err(went_away(place)),
        other => File::from(other.context("open", place.show())?),
    };
    check(&file, place, unread)?;
    let id = match unread.look.size < LARGE {
        true => read_whole(&mut file, place, unread, intake)?,
        false => read_pieces(&file, place, unread, intake)?,
    };
    check(&file, place, unread)?;
    Ok(id)
}

/// Fails where the file is not, or not any more, as it was when it was looked at.
fn check(file: &File, place: Place<'_>, unread: &Unread<'_>) -> Result<()> {
    let stat = record::stat(file.as_fd(), b"").context("look at", place.show())?;
    match Look::of(&stat) == unread.look {
        true => Ok(()),
        false => Err(went_away(place)),
    }
}

fn read_whole(
    file: &mut File,
    place: Place<'_>,
    unread: &Unread<'_>,
    intake: &dyn Intake,
) -> Result<ContentId> {
    let mut data = Vec::with_capacity(usize::try_from(unread.look.size).unwrap_or(0));
    let most = unread.look.size + 1;
    let read = file.take(most).read_to_end(&mut data);
    read.context("read", place.show())?;
    if data.len() as u64 != unread.look.size {
        return Err(went_away(place));
    }
    intake.whole(&data, unread.meta)
}

/// Reads a large file; where it has holes they are not read.
fn read_pieces(
    file: &File,
    place: Place<'_>,
    unread: &Unread<'_>,
    intake: &dyn Intake,
) -> Result<ContentId> {
    let size = unread.look.size;
    let mut pieces = intake.begin(size)?;
    let mut at = 0;
    let mut buffer = vec![0; PIECE];
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => size,
            // Not every file system can tell.
            Err(Errno::INVAL) => at,
            other => other.context("read", place.show())?.min(size),
        };
        if data > at {
            pieces.hole(data - at)?;
            at = data;
            continue;
        }
        let end = match rustix::fs::seek(file, SeekFrom::Hole(at)) {
            Err(Errno::INVAL | Errno::NXIO) => size,
            other => other.context("read", place.show())?.min(size),
        };
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let got = rustix::io::pread(file, &mut buffer[..most], at);
            match got.context("read", place.show())? {
                0 => return Err(went_away(place)),
                got => {
                    pieces.write(&buffer[..got])?;
                    at += got as u64;
                }
            }
        }
    }
    pieces.finish(unread.meta)
}
