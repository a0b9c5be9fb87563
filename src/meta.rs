//! Owns what an inode says of itself beside its bytes: mode, owner, time, extended attributes.

use std::collections::BTreeMap;

/// A time of modification: seconds since 1970 (negative before) and nanoseconds after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mtime {
    /// Whole seconds, rounded towards minus infinity.
    pub secs: i64,
    /// Nanoseconds after `secs`, under 1,000,000,000.
    pub nanos: u32,
}

/// Extended attributes by raw name, in order.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The metadata of one inode, as its image gives it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Meta {
    /// Permission bits, setuid, setgid and sticky: 12 bits, no file type.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of modification.
    pub mtime: Mtime,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Meta {
    /// The bits that `mode` may have.
    pub const MODE_BITS: u16 = 0o7777;

    /// Returns the metadata of a directory that no entry describes: 0755, 0:0, 1970.
    pub fn implicit_dir() -> Self {
        Self {
            mode: 0o755,
            ..Self::default()
        }
    }
}
