//! Owns the record of how a tree lay in a directory once it had been laid out: a fingerprint of every path. What still
//! has its fingerprint is what the tree says, and need not be read. Byte by byte in `docs/format.md`, "Record of a tree".

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::host;
use crate::codec::{Cursor, DecodeError};
use crate::digest::{RecordSum, TreeId};
use crate::error::{Context as _, Error, Result};
use crate::path::escape;
use crate::store::inodes;
use crate::tree::{Item, Node, Nodes};
use crate::watch::Watch;

/// The first bytes of every record; the last of them is the version.
const MAGIC: &[u8; 8] = b"ocirecd\x01";

/// What tells whether a path was touched: type, mode, owner, size, number, device, and the times of the last change of
/// its bytes and of anything else. Zeros stand for a path that was not made, ones for one that was not looked at.
pub type Fingerprint = [u8; 16];

/// The fingerprint of what the host could not hold.
pub(super) const NOT_MADE: Fingerprint = [0; 16];

/// The fingerprint of what was not looked at: nothing has it, whether it is there or not.
pub(super) const UNKNOWN: Fingerprint = [0xff; 16];

/// How a tree lay in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The tree.
    root: TreeId,
    /// Of the root; then of the entries of the root, in order; then, for each of its directories in order, the same of
    /// what is in that.
    prints: Vec<Fingerprint>,
}

/// Where a record has the entries of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block(usize);

impl Block {
    /// The root's.
    pub(super) const ROOT: Self = Self(1);

    /// Returns the blocks of a directory's subdirectories, in their order.
    pub(super) fn below(self, node: &Node) -> impl Iterator<Item = Self> {
        let mut next = self.0 + node.entries.len();
        node.entries.iter().filter_map(move |(_, item)| match item {
            Item::Leaf(_) => None,
            Item::Dir(subtree) => {
                let here = next;
                next = next.saturating_add(usize::try_from(subtree.totals.names).unwrap_or(0));
                Some(Self(here))
            }
        })
    }
}

impl Record {
    /// Looks at a tree that has just been laid out in `dir`, after everything has been given its metadata.
    ///
    /// Returns when the clock has moved on: whatever is changed after it is seen, however soon.
    pub fn take(
        dir: BorrowedFd<'_>,
        nodes: &(dyn Nodes + Sync),
        root: &TreeId,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let names = nodes.node(root)?.totals().names;
        let names = usize::try_from(names).unwrap_or(usize::MAX);
        let look = Look {
            nodes,
            watch,
            made: Mutex::new(Made {
                prints: vec![NOT_MADE; names.saturating_add(1)],
                failure: None,
            }),
        };
        let own = stat(dir, b"").context("look at", "the new directory")?;
        let handle = dir.try_clone_to_owned();
        let handle = handle.context("open", "the new directory")?;
        rayon::scope(|scope| look.enter(scope, &handle, (*root, Block::ROOT)));
        let Made {
            mut prints,
            failure,
        } = look
            .made
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(first) = prints.first_mut() {
            *first = fingerprint(&own);
        }
        let record = Self {
            root: *root,
            prints,
        };
        outlast_the_tick();
        Ok(record)
    }

    /// Returns the record of a tree, of its fingerprints in their order.
    pub(super) fn of(root: TreeId, prints: Vec<Fingerprint>) -> Self {
        Self { root, prints }
    }

    /// Returns the tree that lay there.
    pub fn root(&self) -> &TreeId {
        &self.root
    }

    /// Tells whether the root of the directory is as it was.
    pub(super) fn has_root(&self, stat: &Statx) -> bool {
        self.prints.first() == Some(&fingerprint(stat))
    }

    /// Tells whether a directory's entry `at` is as it was.
    pub(super) fn has(&self, block: Block, at: usize, stat: &Statx) -> bool {
        self.prints.get(block.0 + at) == Some(&fingerprint(stat))
    }

    /// Tells whether a directory's entry `at` could not be made.
    pub(super) fn lacked(&self, block: Block, at: usize) -> bool {
        self.prints.get(block.0 + at) == Some(&NOT_MADE)
    }

    /// Returns the bytes, closed by their checksum.
    pub fn encode(&self) -> Vec<u8> {
        let Self { root, prints } = self;
        let mut to = Vec::with_capacity(80 + prints.len() * 16);
        to.extend_from_slice(MAGIC);
        to.extend_from_slice(&root.0);
        prints.iter().for_each(|print| to.extend_from_slice(print));
        let sum = RecordSum::of(&to);
        to.extend_from_slice(&sum.0);
        to
    }

    /// Decodes what [`Self::encode`] made, and nothing else.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        let magic: [u8; 8] = cursor.array()?;
        if magic != *MAGIC {
            return Err(DecodeError::Version(magic[7]));
        }
        let root = TreeId(cursor.array()?);
        let rest = data.len().saturating_sub(cursor.at() + 32);
        let mut prints = Vec::with_capacity(rest / 16);
        for _ in 0..rest / 16 {
            prints.push(cursor.array()?);
        }
        let sum = RecordSum::of(&data[..cursor.at()]);
        if cursor.array()? != sum.0 {
            return Err(cursor.bad("checksum"));
        }
        cursor.end()?;
        Ok(Self { root, prints })
    }
}

/// Returns what the system says of a name itself; the empty name is `at`.
pub(super) fn stat(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = match name.is_empty() {
        true => AtFlags::EMPTY_PATH,
        false => AtFlags::SYMLINK_NOFOLLOW,
    };
    let what = inodes::stat_flags() | StatxFlags::INO | StatxFlags::CTIME | StatxFlags::NLINK;
    rustix::fs::statx(at, name, flags, what)
}

/// Returns the fingerprint of what looks like this.
pub(super) fn fingerprint(stat: &Statx) -> Fingerprint {
    let mut of = [0; 58];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        of[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&stat.stx_mode.to_le_bytes());
    put(&stat.stx_uid.to_le_bytes());
    put(&stat.stx_gid.to_le_bytes());
    put(&stat.stx_ino.to_le_bytes());
    put(&stat.stx_size.to_le_bytes());
    put(&stat.stx_rdev_major.to_le_bytes());
    put(&stat.stx_rdev_minor.to_le_bytes());
    for time in [&stat.stx_mtime, &stat.stx_ctime] {
        put(&time.tv_sec.to_le_bytes());
        put(&time.tv_nsec.to_le_bytes());
    }
    let full = RecordSum::of(&of);
    let mut short = [0; 16];
    short.copy_from_slice(&full.0[..16]);
    short
}

/// Waits until the clock that file systems take their times from has moved on, which is at most some milliseconds: a
/// change in the tick of the last look would have the times that were seen.
pub(super) fn outlast_the_tick() {
    let now = || rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    let then = now();
    while now() == then {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A look at everything in a directory.
struct Look<'a> {
    nodes: &'a (dyn Nodes + Sync),
    watch: &'a dyn Watch,
    made: Mutex<Made>,
}

struct Made {
    prints: Vec<Fingerprint>,
    failure: Option<Error>,
}

impl Look<'_> {
    fn enter<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        dir: &OwnedFd,
        (node, block): (TreeId, Block),
    ) {
        let looked = || -> Result<()> {
            self.watch.check()?;
            let node = self.nodes.node(&node)?;
            let prints = prints_of(dir, &node)?;
            let dirs =
                node.entries
                    .iter()
                    .enumerate()
                    .filter_map(|(at, (name, item))| match item {
                        Item::Dir(subtree) => Some((at, name, subtree.id)),
                        Item::Leaf(_) => None,
                    });
            for ((at, name, id), below) in dirs.zip(block.below(&node)) {
                if prints[at] == NOT_MADE {
                    continue;
                }
                let child = host::open_child(dir.as_fd(), name.as_bytes());
                let child = child.context("open", format!("'{}'", escape(name.as_bytes())))?;
                scope.spawn(move |scope| self.enter(scope, &child, (id, below)));
            }
            let mut made = self.made();
            for (to, print) in made.prints.iter_mut().skip(block.0).zip(prints) {
                *to = print;
            }
            Ok(())
        };
        if let Err(e) = looked() {
            self.made().failure.get_or_insert(e);
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the fingerprints of what a node has, as it lies in its directory.
fn prints_of(dir: &OwnedFd, node: &Node) -> Result<Vec<Fingerprint>> {
    let each = |(name, _): &(crate::path::Name, Item)| match stat(dir.as_fd(), name.as_bytes()) {
        Ok(stat) => Ok(fingerprint(&stat)),
        Err(Errno::NOENT) => Ok(NOT_MADE),
        Err(e) => Err(e).context("look at", format!("'{}'", escape(name.as_bytes()))),
    };
    node.entries.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_comes_back_from_its_bytes(root: [u8; 32], prints in prop::collection::vec(any::<Fingerprint>(), 0..9)) {
            let record = Record { root: TreeId(root), prints };
            prop_assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }

        #[test]
        fn every_changed_byte_is_noticed(prints in prop::collection::vec(any::<Fingerprint>(), 0..4), at: prop::sample::Index, flip in 1..=255u8) {
            let mut bytes = Record { root: TreeId([3; 32]), prints }.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Record::decode(&bytes).is_err());
        }
    }
}
