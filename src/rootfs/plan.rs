//! Owns what a plan is: which directories, which leaves, and what each is made from, flat and in tree order.

use std::ops::Range;

use rustix::fs::FileType;

use super::report::Reason;
use super::tally::Spot;
use crate::digest::{ContentId, InodeId};
use crate::meta::Meta;
use crate::path::{Name, escape};
use crate::store::inodes::{Given, Stat};
use crate::tree::Device;

/// What is going to be on the disk.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The directories by level, those of one parent side by side; the first is the root.
    pub(super) dirs: Vec<Dir>,
    /// Where each level of directories is.
    pub(super) levels: Vec<Range<usize>>,
    /// Everything else, by directory and name; of a link group only its first name.
    pub(super) leaves: Vec<Leaf>,
    /// The link groups that have further names here.
    pub(super) groups: Vec<Group>,
    /// The contents that are needed.
    pub(super) objects: Vec<Object>,
    /// The inodes that are needed beside the objects' own.
    pub(super) variants: Vec<Variant>,
    /// Bytes of all files in `leaves`.
    pub(super) bytes: u64,
    /// Where the root is in the image.
    pub(super) base: Vec<u8>,
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Dir {
    /// Its parent; the root is its own.
    pub(super) parent: u32,
    /// Its name; the root's is empty.
    pub(super) name: Box<[u8]>,
    /// Its metadata, as the host is to have it.
    pub(super) meta: Meta,
    /// Its subdirectories.
    pub(super) children: Range<u32>,
    /// Its leaves.
    pub(super) leaves: Range<u32>,
}

/// A name that is no directory's.
#[derive(Debug)]
pub(super) struct Leaf {
    /// The directory it is in.
    pub(super) dir: u32,
    /// Its name.
    pub(super) name: Name,
    /// Its metadata, as the host is to have it.
    pub(super) meta: Meta,
    /// What it is made from.
    pub(super) make: Make,
}

/// What a leaf is made from.
#[derive(Debug)]
pub(super) enum Make {
    /// Nothing: a file without bytes.
    Empty,
    /// A link to the own file of this object.
    Object(u32),
    /// A link to this variant.
    Variant(u32),
    /// A file of its own with this object's bytes, and why it is no link.
    Private(u32, Option<Reason>),
    /// A symlink to this target.
    Symlink(Box<[u8]>),
    /// A fifo or device.
    Node(FileType, Device),
}

/// A content.
#[derive(Debug)]
pub(super) struct Object {
    /// Its name.
    pub(super) id: ContentId,
    /// Its length as the tree says.
    pub(super) size: u64,
    /// How its file has to look.
    pub(super) known: Known,
}

/// What is known of an object's file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// What it was given when it was stored.
    Given(Given),
    /// Nothing is on record: it has to be read before it is used.
    Unproved,
    /// It was read, and this is how it looked.
    Proved(Stat),
}

impl Object {
    /// Returns how the file has to look, where anything vouches for it.
    pub(super) fn stat(&self) -> Option<Stat> {
        match self.known {
            Known::Given(Given { stat, .. }) | Known::Proved(stat) => Some(stat),
            Known::Unproved => None,
        }
    }
}

/// An inode beside an object's own: the same bytes with other metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Its name.
    pub(super) id: InodeId,
    /// The object with its bytes.
    pub(super) object: u32,
    /// The leaf it is for, which has its metadata.
    pub(super) leaf: u32,
}

/// The further names of an inode.
#[derive(Debug)]
pub(super) struct Group {
    /// Its first name.
    pub(super) first: u32,
    /// The others: directory and name.
    pub(super) names: Vec<(u32, Name)>,
}

impl Plan {
    /// Returns the path of a directory below the root; the root's is empty.
    pub(super) fn dir_path(&self, dir: u32) -> Vec<u8> {
        path_from_root(dir, |at| {
            let dir = &self.dirs[at as usize];
            (dir.parent, &dir.name)
        })
    }

    /// Tells whether a directory can have its metadata while things are still made below it.
    ///
    /// The root keeps others out until all is there. A mode may shut out the owner, too. A group and attributes may be
    /// handed on to what is made in it later, which happens where a link cannot be made at first.
    pub(super) fn is_finished_early(&self, dir: u32) -> bool {
        let meta = &self.dirs[dir as usize].meta;
        dir != 0 && meta.mode & 0o7700 == 0o700 && meta.xattrs.is_empty()
    }

    /// Returns a leaf.
    pub(super) fn leaf(&self, leaf: u32) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    /// Returns an object.
    pub(super) fn object(&self, object: u32) -> &Object {
        &self.objects[object as usize]
    }

    /// Returns where something is in the image, for people.
    pub(super) fn show(&self, spot: Spot) -> String {
        let leaf = spot.leaf.map(|leaf| self.leaf(leaf).name.as_bytes());
        self.show_in(spot.dir, leaf)
    }

    /// Returns where a directory is in the image, or what it has by the name `leaf`, for people.
    pub(super) fn show_in(&self, dir: u32, leaf: Option<&[u8]>) -> String {
        let mut path = self.base.clone();
        let below = self.dir_path(dir);
        for part in [below.as_slice(), leaf.unwrap_or_default()] {
            if !path.is_empty() && !part.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            ".".to_owned()
        } else {
            escape(&path)
        }
    }

    /// Returns where a leaf is.
    pub(super) fn spot_of(&self, leaf: u32) -> Spot {
        Spot {
            dir: self.leaf(leaf).dir,
            leaf: Some(leaf),
        }
    }
}

/// Joins the names from the root, number 0, down to `at`; `up` tells the parent and the name.
pub(super) fn path_from_root<'n>(at: u32, up: impl Fn(u32) -> (u32, &'n [u8])) -> Vec<u8> {
    let mut names = Vec::new();
    let mut here = at;
    while here != 0 {
        let (parent, name) = up(here);
        names.push(name);
        here = parent;
    }
    names.reverse();
    names.join(&b'/')
}
