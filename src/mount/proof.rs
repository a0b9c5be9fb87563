//! Owns the proof that a mount shows bytes: one file is read through it and compared with its object.
//!
//! A kernel that mounts an image but does not follow it to the objects shows files of the right size, full of zeros.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::digest::{ContentId, TreeId};
use crate::error::{Context as _, Error, Result};
use crate::store::Store;
use crate::tree::{Content, Item, Kind, Nodes};

/// How many bytes are compared.
const FEW: u64 = 512;

/// A file that has bytes, if a tree has any: its path, and its object.
pub(super) type Sample = Option<(Vec<u8>, ContentId)>;

/// Fails where the mount does not show the bytes of a file that its tree has, unless `upper` may hide that file: what was
/// written to proves nothing.
pub(super) fn check(
    store: &Store,
    sample: Sample,
    (mount, upper): (&OwnedFd, &OwnedFd),
) -> Result<()> {
    let Some((path, object)) = sample.filter(|(path, _)| !may_hide(upper, path)) else {
        return Ok(());
    };
    let shown = format!("'{}'", crate::path::escape(&path));
    // Not waiting: whatever is there instead may be a fifo.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(mount, path.as_slice(), flags, Mode::empty(), below);
    let file = match file {
        Err(rustix::io::Errno::NOENT) => return changed_or_missing(store, &object),
        other => other.context("read through the mount", &shown)?,
    };
    let (mut seen, mut wanted) = (Vec::new(), Vec::new());
    let read = File::from(file).take(FEW).read_to_end(&mut seen);
    read.context("read through the mount", &shown)?;
    let read = store
        .open_object(&object)?
        .take(FEW)
        .read_to_end(&mut wanted);
    read.context("read the object", object)?;
    match seen == wanted {
        true => Ok(()),
        false => {
            let why = "it shows other bytes than its object has";
            Err(Error::failed("mount", shown, why).hint(super::kernel::WAY_OUT))
        }
    }
}

/// Tells whether anything was written on the way to a path.
fn may_hide(upper: &OwnedFd, path: &[u8]) -> bool {
    let first = path.split(|byte| *byte == b'/').next().unwrap_or(path);
    let found = rustix::fs::statat(upper, first, AtFlags::SYMLINK_NOFOLLOW);
    !matches!(found, Err(rustix::io::Errno::NOENT))
}

/// Fails where the object is missing.
fn changed_or_missing(store: &Store, object: &ContentId) -> Result<()> {
    store.open_object(object).map(drop)
}

/// Returns the path and the object of a file that has bytes, if there is one.
pub(super) fn sample(nodes: &dyn Nodes, root: &TreeId) -> Result<Sample> {
    let (mut path, mut id) = (Vec::new(), *root);
    loop {
        let node = nodes.node(&id)?;
        let with_bytes = |(_, item): &&(_, Item)| match item {
            Item::Dir(subtree) => subtree.totals.bytes > 0,
            Item::Leaf(leaf) => matches!(leaf.kind, Kind::File(Content::Object { .. })),
        };
        let Some((name, item)) = node.entries.iter().find(with_bytes) else {
            return Ok(None);
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        match item {
            Item::Dir(subtree) => id = subtree.id,
            Item::Leaf(leaf) => {
                return Ok(match &leaf.kind {
                    Kind::File(Content::Object { id, .. }) => Some((path, *id)),
                    _ => None,
                });
            }
        }
    }
}
