//! Owns what is told of a difference: what became of a path, in what it differs, and the counts of all.

use serde::Serialize;

use super::{Below, Question};
use crate::meta::Meta;
use crate::tree::{Item, Kind, Leaf, Totals};

/// A path that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<'d> {
    /// The path, its names joined by `/`; the root's is empty.
    pub path: &'d [u8],
    /// What became of it.
    pub what: What,
    /// What the second tree has there; where it has nothing, what the first had.
    pub kind: Type,
}

/// What became of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Only the second tree has it.
    Added,
    /// Only the first tree has it.
    Deleted,
    /// Both have it, and it differs in these, of which there is one at least.
    Changed(Vec<Aspect>),
}

/// In what an entry differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Aspect {
    /// It is of another type. Nothing else is told then.
    Type,
    /// A file's bytes, a symlink's target, a device's numbers.
    Content,
    /// The first of the names that it is linked by, or that it is linked at all.
    Links,
    /// The permission bits.
    Mode,
    /// User or group.
    Owner,
    /// The time of modification.
    Mtime,
    /// Extended attributes.
    Xattrs,
}

impl Aspect {
    /// Returns what the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Content => "content",
            Self::Links => "links",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Mtime => "mtime",
            Self::Xattrs => "xattrs",
        }
    }
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A directory.
    Directory,
    /// A regular file of this many bytes.
    File(u64),
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

impl Type {
    /// Returns what is at an entry.
    pub(super) fn of(item: &Item) -> Self {
        match item {
            Item::Dir(_) => Self::Directory,
            Item::Leaf(leaf) => match &leaf.kind {
                Kind::File(content) => Self::File(content.size()),
                Kind::Symlink(_) => Self::Symlink,
                Kind::Char(_) => Self::Char,
                Kind::Block(_) => Self::Block,
                Kind::Fifo => Self::Fifo,
            },
        }
    }

    /// Returns what the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File(_) => "file",
            Self::Symlink => "symlink",
            Self::Char => "char",
            Self::Block => "block",
            Self::Fifo => "fifo",
        }
    }
}

/// The counts of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stat {
    /// What only the second tree has.
    pub added: Sum,
    /// What only the first tree has.
    pub deleted: Sum,
    /// What both have, and not the same; `files` and `bytes` are those of the second tree whose bytes are not the
    /// first tree's there.
    pub changed: Sum,
}

/// How much of the trees it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sum {
    /// Paths of every type.
    pub paths: u64,
    /// Those of regular files.
    pub files: u64,
    /// Bytes of these, a hard-linked one once a name.
    pub bytes: u64,
}

impl Stat {
    /// Tells whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Sum {
    pub(super) fn add(&mut self, item: &Item, below: Below) {
        self.paths += 1;
        match item {
            Item::Dir(subtree) => self.add_below(&subtree.totals, below),
            Item::Leaf(_) => self.add_file(item),
        }
    }

    /// Counts what is below a directory, unless it is going to be told name by name.
    pub(super) fn add_below(&mut self, totals: &Totals, below: Below) {
        let Totals {
            names,
            files,
            bytes,
            linked: _,
        } = totals;
        match below {
            Below::Listed => {}
            Below::Counted => {
                self.paths += names;
                self.files += files;
                self.bytes += bytes;
            }
        }
    }

    /// Counts the bytes of a file, and nothing of anything else.
    pub(super) fn add_file(&mut self, item: &Item) {
        if let Type::File(size) = Type::of(item) {
            self.files += 1;
            self.bytes += size;
        }
    }
}

/// Returns in what two entries differ that are no directories.
pub(super) fn of_leaves(before: &Leaf, after: &Leaf, question: Question) -> Vec<Aspect> {
    if std::mem::discriminant(&before.kind) != std::mem::discriminant(&after.kind) {
        return vec![Aspect::Type];
    }
    let mut aspects = Vec::new();
    if before.kind != after.kind {
        aspects.push(Aspect::Content);
    }
    if before.group != after.group {
        aspects.push(Aspect::Links);
    }
    aspects.extend(of_metas(&before.meta, &after.meta, question));
    aspects
}

/// Returns in what the metadata of two entries differs, if that counts.
pub(super) fn of_metas(before: &Meta, after: &Meta, question: Question) -> Vec<Aspect> {
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = before;
    let all = [
        (Aspect::Mode, *mode == after.mode),
        (Aspect::Owner, (*uid, *gid) == (after.uid, after.gid)),
        (Aspect::Mtime, *mtime == after.mtime),
        (Aspect::Xattrs, *xattrs == after.xattrs),
    ];
    match question {
        Question::Content => Vec::new(),
        Question::All => all
            .into_iter()
            .filter_map(|(aspect, same)| (!same).then_some(aspect))
            .collect(),
    }
}
