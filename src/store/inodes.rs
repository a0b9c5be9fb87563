//! Owns the second identity: an inode is a content with metadata as a host's file system holds it.
//! Applies metadata to files and checks that a file still has what it was given. The one home of `xattr`.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Gid, Mode, Statx, StatxFlags, Timespec, Timestamps, Uid};
use xattr::FileExt as _;

use crate::codec::{Cursor, DecodeError, put_meta, put_signed, put_varint};
use crate::digest::{ContentId, InodeId};
use crate::meta::{Meta, Mtime, Xattrs};
use crate::tree::Content;

/// The version byte of a record.
const VERSION: u8 = 1;

/// Attributes that a host puts on files by itself: an image may have set them, a host may have changed them.
const OF_THE_HOST: [&[u8]; 6] = [
    b"security.selinux",
    b"security.ima",
    b"security.evm",
    b"security.apparmor",
    b"security.SMACK64",
    b"system.",
];

/// Whose the files of a store are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owners {
    /// Those the image names, which takes root.
    AsImage,
    /// Our own: what an ordinary user can give.
    Own {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

impl Owners {
    /// Returns what this process may give.
    pub fn of_process() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self::AsImage,
            false => Self::own(),
        }
    }

    /// Returns this process's user and group.
    pub fn own() -> Self {
        Self::Own {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Returns the metadata that an object's own file gets when its content first arrives with `meta`.
    ///
    /// The store has to be able to read it: an ordinary user's own files are made readable for their owner.
    #[must_use]
    pub fn apply_to_object(self, meta: &Meta) -> Meta {
        let applied = self.apply(meta);
        match self {
            Self::AsImage => applied,
            Self::Own { .. } => Meta {
                mode: applied.mode | 0o400,
                ..applied
            },
        }
    }

    /// Tells whether the store could read a file of this mode again, to check it.
    pub fn can_read(self, mode: u16) -> bool {
        match self {
            Self::AsImage => true,
            Self::Own { .. } => mode & 0o400 != 0,
        }
    }

    /// Returns an image's metadata as files of the store get it.
    #[must_use]
    pub fn apply(self, meta: &Meta) -> Meta {
        match self {
            Self::AsImage => meta.clone(),
            Self::Own { uid, gid } => Meta {
                uid,
                gid,
                ..meta.clone()
            },
        }
    }
}

/// Names the inode of a content with metadata.
pub fn inode_id(content: &ContentId, meta: &Meta) -> InodeId {
    let mut bytes = Vec::with_capacity(64);
    bytes.push(VERSION);
    bytes.extend_from_slice(&content.0);
    put_meta(&mut bytes, meta);
    InodeId::of(&bytes)
}

/// What all inodes of one content with one metadata share of their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Kin([u8; Self::LEN]);

impl Kin {
    const LEN: usize = 28;
}

impl InodeId {
    /// Returns the name of the `n`-th further inode of the same content and metadata; the 0th is this one.
    ///
    /// Files of an image that are equal without being links of each other are as many inodes in a checkout.
    #[must_use]
    pub fn nth(self, n: u32) -> Self {
        let Self(mut name) = self;
        for (byte, of_n) in name[Kin::LEN..].iter_mut().zip(n.to_be_bytes()) {
            *byte ^= of_n;
        }
        Self(name)
    }

    /// Returns what it shares with all further inodes of its content and metadata.
    pub(crate) fn kin(&self) -> Kin {
        let mut kin = [0; Kin::LEN];
        kin.copy_from_slice(&self.0[..Kin::LEN]);
        Kin(kin)
    }
}

/// What an object's own file was given when it was made: the first metadata its content arrived with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// The inode it is.
    pub inode: InodeId,
    /// What `statx` says of it as long as nobody changed it.
    pub stat: Stat,
}

/// The part of a file's metadata that a change leaves traces in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Length in bytes.
    pub size: u64,
    /// Permission bits, 12 of them.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of modification.
    pub mtime: Mtime,
}

impl Stat {
    /// Returns what a file of this size and metadata shows.
    pub fn wanted(size: u64, meta: &Meta) -> Self {
        Self {
            size,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
        }
    }

    /// Returns what a file shows.
    pub fn seen(stat: &Statx) -> Self {
        Self {
            size: stat.stx_size,
            mode: stat.stx_mode & Meta::MODE_BITS,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: Mtime {
                secs: stat.stx_mtime.tv_sec,
                nanos: stat.stx_mtime.tv_nsec,
            },
        }
    }

    /// Says how `self`, which was seen, differs from what was wanted; empty where it does not.
    pub fn differences(&self, wanted: &Self) -> Vec<&'static str> {
        let Self {
            size,
            mode,
            uid,
            gid,
            mtime,
        } = self;
        let mut found = Vec::new();
        let mut note = |differs: bool, what| {
            if differs {
                found.push(what);
            }
        };
        note(*size != wanted.size, "size");
        note(*mode != wanted.mode, "mode");
        note(*uid != wanted.uid || *gid != wanted.gid, "owner");
        note(
            *mtime != wanted.mtime && !is_clamped(*mtime, wanted.mtime),
            "mtime",
        );
        found
    }
}

/// Tells whether `seen` is what a file system makes of a time it cannot hold: the last one it can.
fn is_clamped(seen: Mtime, wanted: Mtime) -> bool {
    // ext4 with small inodes and xfs without bigtime; ext4 with large inodes; xfs with bigtime.
    const FIRST: i64 = i32::MIN as i64;
    const LASTS: [i64; 4] = [
        i32::MAX as i64,
        u32::MAX as i64,
        15_032_385_535,
        16_299_260_424,
    ];
    match wanted.secs < seen.secs {
        true => seen.secs == FIRST || seen.secs == 0 && wanted.secs < 0,
        false => LASTS.contains(&seen.secs) && wanted.secs > seen.secs,
    }
}

/// What [`Stat::seen`] needs, and the number of links.
pub fn stat_flags() -> StatxFlags {
    StatxFlags::SIZE
        | StatxFlags::MODE
        | StatxFlags::TYPE
        | StatxFlags::UID
        | StatxFlags::GID
        | StatxFlags::MTIME
        | StatxFlags::NLINK
}

impl Given {
    /// Returns what the object of a content is when its file gets `meta`.
    pub fn new(content: &ContentId, size: u64, meta: &Meta) -> Self {
        Self {
            inode: inode_id(content, meta),
            stat: Stat::wanted(size, meta),
        }
    }

    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            inode,
            stat:
                Stat {
                    size,
                    mode,
                    uid,
                    gid,
                    mtime,
                },
        } = self;
        let mut to = vec![VERSION];
        to.extend_from_slice(&inode.0);
        put_varint(&mut to, *size);
        put_varint(&mut to, u64::from(*mode));
        put_varint(&mut to, u64::from(*uid));
        put_varint(&mut to, u64::from(*gid));
        put_signed(&mut to, mtime.secs);
        put_varint(&mut to, u64::from(mtime.nanos));
        to
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        match cursor.byte()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let given = Self {
            inode: InodeId(cursor.array()?),
            stat: Stat {
                size: cursor.varint()?,
                mode: cursor.number("mode")?,
                uid: cursor.number("uid")?,
                gid: cursor.number("gid")?,
                mtime: Mtime {
                    secs: cursor.signed()?,
                    nanos: cursor.number("nanoseconds")?,
                },
            },
        };
        cursor.end()?;
        Ok(given)
    }
}

/// An extended attribute that the host would not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedXattr {
    /// Its name.
    pub name: Box<[u8]>,
    /// What the system said.
    pub why: String,
}

/// What a new file has of its metadata from the moment it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Has {
    /// Permission bits.
    pub(crate) mode: u16,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// Gives an open file its metadata.
///
/// Extended attributes that the host does not take are returned, not failed on.
pub fn give(file: &File, meta: &Meta) -> std::io::Result<Vec<RefusedXattr>> {
    give_rest(file, None, meta)
}

/// Gives an open file its metadata, in the order in which no step undoes another: owner, mode, xattrs, times.
/// What it has already it is not given again.
pub(crate) fn give_rest(
    file: &File,
    has: Option<Has>,
    meta: &Meta,
) -> std::io::Result<Vec<RefusedXattr>> {
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = meta;
    if has.is_none_or(|has| (has.uid, has.gid) != (*uid, *gid)) {
        rustix::fs::fchown(file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
    }
    // Another owner takes setuid bits away, which a file does not have from the beginning.
    if has.is_none_or(|has| has.mode != *mode) {
        rustix::fs::fchmod(file, Mode::from_raw_mode(u32::from(*mode)))?;
    }
    let mut refused = Vec::new();
    for (name, value) in xattrs.iter().filter(|(name, _)| is_settable(name)) {
        if let Err(e) = file.set_xattr(OsStr::from_bytes(name), value) {
            refused.push(RefusedXattr {
                name: name.clone(),
                why: e.to_string(),
            });
        }
    }
    rustix::fs::futimens(file.as_fd(), &timestamps(*mtime))?;
    Ok(refused)
}

/// Tells whether an attribute is for the host at all: an overlay's own marks would be taken as its own.
pub fn is_settable(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.")
}

/// Returns both times of a file; the image knows one.
pub fn timestamps(mtime: Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.secs,
        tv_nsec: i64::from(mtime.nanos),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Returns where in `/proc` a handle of `O_PATH` stands; what is done there is done to what it leads to, a symlink too.
pub fn path_of(handle: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// Sets an attribute of what a handle of `O_PATH` leads to, a symlink too.
pub fn set_xattr_unopened(
    handle: BorrowedFd<'_>,
    name: &[u8],
    value: &[u8],
) -> std::io::Result<()> {
    xattr::set_deref(path_of(handle), OsStr::from_bytes(name), value)
}

/// Sets an attribute of what `path` itself is, a symlink too.
pub fn set_xattr(path: &std::path::Path, name: &[u8], value: &[u8]) -> std::io::Result<()> {
    xattr::set(path, OsStr::from_bytes(name), value)
}

/// Returns an attribute of what `path` itself is.
pub fn get_xattr(path: &std::path::Path, name: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    xattr::get(path, OsStr::from_bytes(name))
}

/// Returns every attribute of an open file; none where its file system knows no attributes.
pub fn read_xattrs(file: &File) -> std::io::Result<Xattrs> {
    let names = match file.list_xattr() {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOTSUP.raw_os_error()) => {
            return Ok([].into());
        }
        other => other?,
    };
    let mut xattrs = Xattrs::new();
    for name in names.filter(|name| !is_shadow(name)) {
        // One that went away between the two calls is as if it had not been there.
        if let Some(value) = file.get_xattr(&name)? {
            xattrs.insert(name.as_bytes().into(), value.into());
        }
    }
    Ok(xattrs)
}

/// Tells whether an attribute is another one in the form in which its file system keeps it: to root, xfs shows access
/// control lists a second time as these.
fn is_shadow(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"trusted.SGI_ACL_")
}

/// Returns every attribute of what `name` in the directory `at` itself is; of `at` where the name is empty.
pub fn read_xattrs_at(at: BorrowedFd<'_>, name: &[u8]) -> std::io::Result<Xattrs> {
    let mut path = path_of(at);
    let is_at = name.is_empty();
    if !is_at {
        path.push(OsStr::from_bytes(name));
    }
    let names = match is_at {
        true => xattr::list_deref(&path),
        false => xattr::list(&path),
    };
    let names = match names {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOTSUP.raw_os_error()) => {
            return Ok([].into());
        }
        other => other?,
    };
    let mut xattrs = Xattrs::new();
    for name in names.filter(|name| !is_shadow(name)) {
        let value = match is_at {
            true => xattr::get_deref(&path, &name)?,
            false => xattr::get(&path, &name)?,
        };
        // One that went away between the two calls is as if it had not been there.
        if let Some(value) = value {
            xattrs.insert(name.as_bytes().into(), value.into());
        }
    }
    Ok(xattrs)
}

/// Tells whether the host, not whoever uses the file, puts the attribute there; lists of access rights are users'.
pub(crate) fn is_put_by_the_host(name: &[u8]) -> bool {
    is_of_the_host(name) && !name.starts_with(b"system.posix_acl_")
}

/// Tells whether a content with this metadata is the inode, with or without what the host may have added.
pub(crate) fn is_inode(
    wanted: &InodeId,
    content: &ContentId,
    stat: &Stat,
    xattrs: &Xattrs,
) -> bool {
    names(content, stat, xattrs).contains(wanted)
}

/// Tells whether a content with this metadata is the inode or a further one of the same.
pub(crate) fn is_kin(wanted: &InodeId, content: &ContentId, stat: &Stat, xattrs: &Xattrs) -> bool {
    names(content, stat, xattrs)
        .map(|id| id.kin())
        .contains(&wanted.kin())
}

/// Returns the inode that a content with this metadata is: as it is, and without what the host may have added.
fn names(content: &ContentId, stat: &Stat, xattrs: &Xattrs) -> [InodeId; 2] {
    let Stat {
        size: _,
        mode,
        uid,
        gid,
        mtime,
    } = *stat;
    let mut meta = Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs: xattrs.clone(),
    };
    let as_it_is = inode_id(content, &meta);
    let all = meta.xattrs.len();
    meta.xattrs.retain(|name, _| !is_of_the_host(name));
    match meta.xattrs.len() == all {
        true => [as_it_is; 2],
        false => [as_it_is, inode_id(content, &meta)],
    }
}

/// Tells whether a host may put or change the attribute by itself.
pub(crate) fn is_of_the_host(name: &[u8]) -> bool {
    OF_THE_HOST.iter().any(|of| name.starts_with(of))
}

/// Returns the object id of a content, unless it is empty.
pub fn object_of(content: Content) -> Option<(ContentId, u64)> {
    match content {
        Content::Empty => None,
        Content::Object { id, size } => Some((id, size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_comes_back_from_its_bytes() {
        let meta = Meta {
            mode: 0o4755,
            uid: 70_000,
            gid: 7,
            ..Meta::default()
        };
        let given = Given::new(&ContentId::of(b"x"), 1, &meta);
        assert_eq!(Given::decode(&given.encode()).unwrap(), given);
    }

    #[test]
    fn a_time_that_the_host_cannot_hold_is_no_change_but_another_one_is() {
        let at = |secs| {
            Stat::wanted(
                1,
                &Meta {
                    mtime: Mtime { secs, nanos: 0 },
                    ..Meta::default()
                },
            )
        };
        assert!(
            at(i64::from(i32::MAX))
                .differences(&at(5_000_000_000))
                .is_empty()
        );
        assert!(
            at(i64::from(i32::MIN))
                .differences(&at(-3_000_000_000))
                .is_empty()
        );
        assert_eq!(at(1_700_000_000).differences(&at(5_000_000_000)), ["mtime"]);
        assert_eq!(at(5_000_000_001).differences(&at(5_000_000_000)), ["mtime"]);
        assert_eq!(at(1).differences(&at(-3_000_000_000)), ["mtime"]);
    }

    #[test]
    fn further_inodes_have_names_of_their_own_that_tell_what_they_are_of() {
        let (content, meta) = (ContentId::of(b"x"), Meta::default());
        let (first, stat) = (inode_id(&content, &meta), Stat::wanted(1, &meta));
        assert_eq!(first.nth(0), first);
        let further = [1, 2, 255, 256, u32::MAX].map(|n| first.nth(n));
        for (at, id) in further.iter().enumerate() {
            assert_ne!(*id, first);
            assert!(!further[..at].contains(id));
            assert!(is_kin(id, &content, &stat, &Xattrs::new()));
            assert!(!is_inode(id, &content, &stat, &Xattrs::new()));
            assert!(!is_kin(id, &ContentId::of(b"y"), &stat, &Xattrs::new()));
            let changed = Stat { mode: 1, ..stat };
            assert!(!is_kin(id, &content, &changed, &Xattrs::new()));
        }
        let id = InodeId([0xff; 32]).nth(0x0102_0304);
        assert_eq!(id.0[27..], [0xff, 0xfe, 0xfd, 0xfc, 0xfb]);
    }

    #[test]
    fn every_part_of_the_metadata_makes_another_inode() {
        let content = ContentId::of(b"x");
        let plain = inode_id(&content, &Meta::default());
        let mut xattrs = Xattrs::new();
        xattrs.insert((*b"user.a").into(), (*b"").into());
        for other in [
            Meta {
                mode: 1,
                ..Meta::default()
            },
            Meta {
                uid: 1,
                ..Meta::default()
            },
            Meta {
                gid: 1,
                ..Meta::default()
            },
            Meta {
                mtime: Mtime { secs: 0, nanos: 1 },
                ..Meta::default()
            },
            Meta {
                xattrs,
                ..Meta::default()
            },
        ] {
            assert_ne!(inode_id(&content, &other), plain);
        }
    }
}
