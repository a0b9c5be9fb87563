//! Owns EROFS images: a merkle tree as a file system of metadata alone, whose files' bytes an overlay takes from objects.
//!
//! Every file with bytes has the attributes `trusted.overlay.metacopy` and `trusted.overlay.redirect`, which lead an
//! overlay to `/XX/X…` in its data-only layer; it has its size and no data. All else is in the image. The same tree gives
//! the same bytes. Layout, byte by byte: `docs/format.md`, "Mounts".

mod disk;
mod sink;
#[cfg(test)]
mod tests;
mod walk;
mod xattrs;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde::Serialize;

use crate::digest::TreeId;
use crate::error::{Context as _, Result};
use crate::path;
use crate::tree::Nodes;
use crate::watch::{Unwatched, Watch};
use disk::Super;
use sink::Sink;
use walk::{Output, Walk};

pub use xattrs::LeftOut;

/// Which inode has which place: another writer may put them elsewhere, and gets another number.
pub const LAYOUT: u64 = 1;

/// What an image has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Written {
    /// Its length in bytes.
    pub bytes: u64,
    /// How many inodes it has.
    pub inodes: u64,
    /// Attributes of the tree that it lacks.
    pub left_out: BTreeMap<LeftOut, Lacking>,
}

/// Inodes that lack an attribute for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Lacking {
    /// How many attributes.
    pub count: u64,
    /// The first path, for people.
    pub first: String,
}

/// Writes the image of the tree `root` to an empty file; its bytes are not durable yet.
pub fn write(nodes: &dyn Nodes, root: &TreeId, file: File, watch: &dyn Watch) -> Result<Written> {
    let image = ToFile {
        sink: Sink::new(file),
        left_out: BTreeMap::new(),
    };
    let mut walk = Walk::new(nodes, watch, image);
    let walked = walk.run(root)?;
    let ToFile { mut sink, left_out } = walk.output;
    let first = Super {
        root: walked.root,
        inodes: walked.inodes,
        blocks: walked.blocks,
        uuid: uuid(root),
    };
    let bytes = u64::from(walked.blocks) * disk::BLOCK;
    let done = sink
        .put(0, &first.encode())
        .and_then(|()| sink.finish(bytes));
    done.context("write", "the image of the tree")?;
    Ok(Written {
        bytes,
        inodes: walked.inodes,
        left_out,
    })
}

/// Tells which inode of its image each path of a tree is, by the number that `st_ino` shows of it below an overlay.
///
/// A path has a `/` before each name; the root's is empty. Names of one inode have one number.
pub fn places(nodes: &dyn Nodes, root: &TreeId, found: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
    Walk::new(nodes, &Unwatched, Found(found))
        .run(root)
        .map(drop)
}

/// Returns a version 8 UUID: overlayfs tells file systems apart by theirs.
fn uuid(root: &TreeId) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&root.0[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

struct ToFile {
    sink: Sink,
    left_out: BTreeMap<LeftOut, Lacking>,
}

impl Output for ToFile {
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.sink.put(at, bytes)
    }

    fn found(&mut self, _nid: u64, _path: &[u8]) {}

    fn left_out(&mut self, path: &[u8], why: LeftOut) {
        let lacking = self.left_out.entry(why).or_default();
        if lacking.count == 0 {
            lacking.first = path::escape(path.get(1..).unwrap_or_default());
        }
        lacking.count += 1;
    }
}

struct Found<'f>(&'f mut dyn FnMut(u64, &[u8]));

impl Output for Found<'_> {
    fn put(&mut self, _at: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn found(&mut self, nid: u64, path: &[u8]) {
        (self.0)(nid, path);
    }

    fn left_out(&mut self, _path: &[u8], _why: LeftOut) {}
}
