//! Owns what one name of the host is to an image: its type, its metadata as the image would say it, what is refused.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Statx, StatxAttributes};

use super::super::owners::{IdKind, Ownership};
use super::super::record::{Fingerprint, fingerprint};
use super::Options;
use crate::digest::LinkGroup;
use crate::error::{Context as _, Error, Result};
use crate::meta::{Meta, Mtime, Xattrs};
use crate::path::escape;
use crate::store::inodes;
use crate::tree::{Content, Device, Item, Kind, Leaf};

const ACT: &str = "take in";

/// A name in an open directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) at: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    /// Where it is, for people.
    pub(super) path: &'a [u8],
}

impl Place<'_> {
    pub(super) fn show(&self) -> String {
        match self.path {
            b"" => "the root".to_owned(),
            path => format!("'{}'", escape(path)),
        }
    }

    fn refuse(&self, why: impl Into<String>) -> Error {
        Error::failed(ACT, self.show(), why)
    }
}

/// What tells which names are one inode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    /// One of the host's, by its file system and number.
    Host((u32, u32), u64),
    /// One of the base's that was not looked at.
    Base(LinkGroup),
}

/// What a file looked like before it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    device: (u32, u32),
    inode: u64,
    pub(super) size: u64,
    times: [(i64, u32); 2],
}

impl Look {
    pub(super) fn of(stat: &Statx) -> Self {
        let time = |time: &rustix::fs::StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            times: [time(&stat.stx_mtime), time(&stat.stx_ctime)],
        }
    }
}

/// A name that is no directory's.
#[derive(Clone, Debug)]
pub(super) struct FoundLeaf {
    /// What it is, without a group; the content of what is still to be read is empty.
    pub(super) leaf: Leaf,
    /// Which inode it is, where that may have other names.
    pub(super) key: Option<Key>,
    /// How it looked, where its bytes are still to be read.
    pub(super) unread: Option<Look>,
    /// What the base has in a file of this name.
    pub(super) was: Option<Content>,
    /// What tells later whether it was touched.
    pub(super) print: Fingerprint,
}

/// Which attributes are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// Those of all name spaces.
    All,
    /// Not those that only root has.
    Some,
}

/// Turns what the host says into what an image says.
pub(super) struct Eye<'a> {
    pub(super) options: &'a Options,
    /// Which attributes it sees.
    pub(super) sight: Sight,
}

impl<'a> Eye<'a> {
    /// Looks as this process can.
    pub(super) fn new(options: &'a Options) -> Self {
        let rootless = matches!(options.owners, Ownership::Rootless { .. });
        let sight = match rustix::process::geteuid().is_root() && !rootless {
            true => Sight::All,
            false => Sight::Some,
        };
        Self { options, sight }
    }

    /// Returns what a name is that is no directory's; `before` is what the base has there.
    pub(super) fn leaf(
        &self,
        place: Place<'_>,
        stat: &Statx,
        before: Option<&Item>,
    ) -> Result<FoundLeaf> {
        refuse_mount(place, stat)?;
        let device = Device {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        };
        let kind = match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
            FileType::RegularFile => Kind::File(Content::Empty),
            FileType::Symlink => Kind::Symlink(read_link(place)?),
            FileType::CharacterDevice => Kind::Char(device),
            FileType::BlockDevice => Kind::Block(device),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => {
                return Err(place
                    .refuse("it is a socket, and no layer holds one")
                    .hint("remove it, or leave it out with --mask-path"));
            }
            FileType::Directory | FileType::Unknown => {
                return Err(went_away(place));
            }
        };
        let alike = match before {
            Some(Item::Leaf(before)) if is_alike(&before.kind, &kind) => Some(&before.meta),
            _ => None,
        };
        let was = match before {
            Some(Item::Leaf(Leaf {
                kind: Kind::File(content),
                ..
            })) => Some(*content),
            _ => None,
        };
        let unread = matches!(kind, Kind::File(_)) && stat.stx_size > 0;
        let mut meta = self.meta(place, stat, alike)?;
        // The host has no modes of symlinks; an image may.
        if let (Kind::Symlink(_), Some(before)) = (&kind, alike) {
            meta.mode = before.mode;
        }
        Ok(FoundLeaf {
            leaf: Leaf {
                kind,
                meta,
                group: None,
            },
            key: key(stat),
            unread: unread.then(|| Look::of(stat)),
            was,
            print: fingerprint(stat),
        })
    }

    /// Returns the metadata of a name; `before` is the base's, where it is of the same type.
    pub(super) fn meta(
        &self,
        place: Place<'_>,
        stat: &Statx,
        before: Option<&Meta>,
    ) -> Result<Meta> {
        let xattrs = inodes::read_xattrs_at(place.at, place.name)
            .context("read the attributes of", place.show())?;
        Ok(Meta {
            mode: stat.stx_mode & Meta::MODE_BITS,
            uid: self.owner(place, (stat.stx_uid, IdKind::User), before)?,
            gid: self.owner(place, (stat.stx_gid, IdKind::Group), before)?,
            mtime: self.time(stat, before),
            xattrs: self.xattrs(xattrs, before),
        })
    }

    /// An owner that is what was given for the base's is the base's: several of an image may be one of the host.
    fn owner(
        &self,
        place: Place<'_>,
        (id, kind): (u32, IdKind),
        before: Option<&Meta>,
    ) -> Result<u32> {
        let of = |meta: &Meta| match kind {
            IdKind::User => meta.uid,
            IdKind::Group => meta.gid,
        };
        let owners = &self.options.owners;
        if let Some(before) = before.filter(|before| of(&owners.apply(before).0) == id) {
            return Ok(of(before));
        }
        owners.image_of(id, kind).ok_or_else(|| {
            let kind = match kind {
                IdKind::User => "user",
                IdKind::Group => "group",
            };
            let why = format!("it belongs to the {kind} {id}, which no map holds");
            place.refuse(why).hint("give it to one that the maps hold")
        })
    }

    fn time(&self, stat: &Statx, before: Option<&Meta>) -> Mtime {
        let seen = Mtime {
            secs: stat.stx_mtime.tv_sec,
            nanos: stat.stx_mtime.tv_nsec,
        };
        match self.options.clamp {
            Some(newest) if before.is_none_or(|before| before.mtime != seen) => seen.min(newest),
            _ => seen,
        }
    }

    /// Of what the host puts by itself, or does not show, the base knows better.
    fn xattrs(&self, mut seen: Xattrs, before: Option<&Meta>) -> Xattrs {
        let is_ours = |name: &[u8]| {
            let hidden = name.starts_with(b"trusted.") || name.starts_with(b"security.");
            inodes::is_settable(name)
                && !inodes::is_put_by_the_host(name)
                && (self.sight == Sight::All || !hidden)
        };
        seen.retain(|name, _| is_ours(name));
        let theirs = before.into_iter().flat_map(|before| &before.xattrs);
        let theirs = theirs.filter(|(name, _)| !is_ours(name));
        seen.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
        seen
    }
}

/// Returns which inode a name is, where that has several.
pub(super) fn key(stat: &Statx) -> Option<Key> {
    let device = (stat.stx_dev_major, stat.stx_dev_minor);
    (stat.stx_nlink > 1).then_some(Key::Host(device, stat.stx_ino))
}

/// Refuses what is mounted in the tree: it is no part of it.
pub(super) fn refuse_mount(place: Place<'_>, stat: &Statx) -> Result<()> {
    if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) && !place.path.is_empty() {
        let why = "something is mounted there, which is no part of the image";
        return Err(place
            .refuse(why)
            .hint("unmount it, or leave it out with --mask-path"));
    }
    Ok(())
}

/// Returns the error of a name that was there a moment ago.
pub(super) fn went_away(place: Place<'_>) -> Error {
    place
        .refuse("it changed while it was read")
        .hint("stop what writes there, and run it again")
}

fn read_link(place: Place<'_>) -> Result<Box<[u8]>> {
    let target = rustix::fs::readlinkat(place.at, place.name, Vec::new());
    let target = target.context("read the link", place.show())?;
    Ok(target.into_bytes().into())
}

/// Tells whether two kinds are of one type.
fn is_alike(one: &Kind, other: &Kind) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}
