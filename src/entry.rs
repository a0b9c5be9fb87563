//! Owns the typed entry of a layer: what one tar header, with its extensions, asks for.

use crate::meta::Meta;
use crate::path::{NameRef, TreePath};
use crate::tree::{Device, Kind};

/// One entry of a layer, in tar order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where its first header begins, in bytes of the uncompressed tar.
    pub at: u64,
    /// The path; for a whiteout, the path of what it names; for an opaque marker, the directory.
    pub path: TreePath,
    /// What it asks for.
    pub action: Action,
}

/// What an entry asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A directory.
    Dir(Meta),
    /// A regular file.
    File(Meta, Payload),
    /// A symbolic link and its target.
    Symlink(Meta, Box<[u8]>),
    /// A character device.
    Char(Meta, Device),
    /// A block device.
    Block(Meta, Device),
    /// A named pipe.
    Fifo(Meta),
    /// Another name of what is at this path.
    Link(TreePath),
    /// Lower layers lose what is at the path (image-spec layer.md, "Whiteouts").
    Whiteout,
    /// Lower layers lose what is in the directory (image-spec layer.md, "Opaque Whiteout").
    Opaque,
}

/// The bytes of a regular file as a layer carries them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The layer's how-manieth content it is, or `None` where it has no bytes.
    pub ordinal: Option<u32>,
    /// Its length once holes are filled in.
    pub size: u64,
}

/// One entry of a layer that is to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerEntry {
    /// The path; for a whiteout, the path of what it names.
    pub path: TreePath,
    /// What it is to say.
    pub what: What,
}

/// What an entry that is to be written says of its path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A directory is there.
    Dir(Meta),
    /// An inode of its own is there.
    Leaf(Kind, Meta),
    /// Another name of what is at this path, which an entry before it put there.
    Link(TreePath),
    /// What a lower layer has there is gone.
    Whiteout,
}

/// The prefix of a whiteout's name.
pub const WHITEOUT: &[u8] = b".wh.";

/// The name of an opaque marker.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// The prefix of what AUFS kept for itself.
pub const AUFS: &[u8] = b".wh..wh.";

/// The directory at the root where AUFS kept the inodes of hard links.
pub const PLINK: &[u8] = b".wh..wh.plnk";

/// Tells whether `name` can only be a marker, never a file.
pub fn is_marker(name: NameRef<'_>) -> bool {
    name.as_bytes().starts_with(WHITEOUT)
}
