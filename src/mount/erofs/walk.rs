//! Owns the order of an image: every inode gets its place on the first way through the tree, and that is its number.
//!
//! A directory's place is set aside when it is entered, and filled when all that is in it has its place. So each node is
//! read once, and what is held is the directories on the way.

use std::collections::HashMap;
use std::io;

use super::disk::{self, BLOCK, BLOCK_BYTES, Data, Dirent, FileType, INODE, Inode};
use super::xattrs::{self, LeftOut};
use crate::digest::{ContentId, LinkGroup, TreeId};
use crate::error::{Context as _, Error, Result};
use crate::meta::Meta;
use crate::path::{self, Name};
use crate::tree::{Content, Device, Item, Kind, Leaf, Nodes};
use crate::watch::Watch;

/// Where an image goes, piece by piece.
pub(super) trait Output {
    /// Takes bytes for a place.
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Hears which inode a path is; the path has a `/` before each name.
    fn found(&mut self, nid: u64, path: &[u8]);

    /// Hears that the first path's inode lacks an attribute.
    fn left_out(&mut self, path: &[u8], why: LeftOut);
}

/// What an image has after a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub(super) root: u64,
    pub(super) inodes: u64,
    /// Where it ends, in blocks.
    pub(super) blocks: u32,
}

/// A walk through a tree.
pub(super) struct Walk<'a, O> {
    pub(super) nodes: &'a dyn Nodes,
    pub(super) watch: &'a dyn Watch,
    pub(super) output: O,
    /// The first byte that nothing has.
    next: u64,
    inodes: u64,
    groups: HashMap<LinkGroup, Linked>,
    path: Vec<u8>,
}

/// An inode with several names: where it is, and how many there were so far.
struct Linked {
    at: u64,
    names: u32,
}

/// A place for an inode, its attributes and its data.
struct Slot {
    at: u64,
    xattrs: Vec<u8>,
    size: u64,
    data: Data,
}

/// A directory on the way.
struct Open {
    slot: Slot,
    meta: Meta,
    rest: std::vec::IntoIter<(Name, Item)>,
    entries: Vec<Dirent>,
    folders: u32,
    /// The length of the path above it.
    above: usize,
}

impl<'a, O: Output> Walk<'a, O> {
    pub(super) fn new(nodes: &'a dyn Nodes, watch: &'a dyn Watch, output: O) -> Self {
        Self {
            nodes,
            watch,
            output,
            // The first block is the superblock's.
            next: BLOCK,
            inodes: 0,
            groups: HashMap::new(),
            path: Vec::new(),
        }
    }

    /// Walks through the tree of `root`.
    pub(super) fn run(&mut self, root: &TreeId) -> Result<Walked> {
        let first = self.enter(root, None)?;
        let root = disk::nid(first.slot.at);
        let mut open = vec![first];
        while let Some(mut top) = open.pop() {
            let Some((name, item)) = top.rest.next() else {
                self.leave(top)?;
                continue;
            };
            match item {
                Item::Leaf(leaf) => {
                    self.leaf(&mut top, &name, &leaf)?;
                    open.push(top);
                }
                Item::Dir(subtree) => {
                    let inner = self.enter(&subtree.id, Some((&mut top, &name)))?;
                    open.extend([top, inner]);
                }
            }
        }
        for Linked { at, names } in std::mem::take(&mut self.groups).into_values() {
            self.put(at + disk::LINKS_AT, &names.to_le_bytes())?;
        }
        Ok(Walked {
            root,
            inodes: self.inodes,
            blocks: block_of(self.next.next_multiple_of(BLOCK))?,
        })
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.output
            .put(at, bytes)
            .context("write", "the image of the tree")
    }

    /// Sets a directory's place aside, and notes it in the one above.
    fn enter(&mut self, id: &TreeId, in_: Option<(&mut Open, &Name)>) -> Result<Open> {
        self.watch.check()?;
        let node = self.nodes.node(id)?;
        let above = self.path.len();
        let name = in_.as_ref().map(|(_, name)| name.as_bytes());
        self.path.extend(name.iter().flat_map(|_| b"/"));
        self.path.extend(name.unwrap_or_default());
        let xattrs = self.xattrs(&node.meta, FileType::Directory, None);
        let dots = [1, 2].into_iter();
        let size = match sorts_after_dots(&node.entries) {
            true => disk::directory_size(dots.chain(lengths(&node.entries))),
            // Rare: some names come before or between the two.
            false => disk::directory_size(with_dots(&node.entries).into_iter().map(<[u8]>::len)),
        };
        let slot = self.reserve(xattrs, size)?;
        let nid = disk::nid(slot.at);
        let parent = match in_ {
            None => nid,
            Some((above, name)) => {
                above.folders += 1;
                above
                    .entries
                    .push(dirent(name.as_bytes(), nid, FileType::Directory));
                disk::nid(above.slot.at)
            }
        };
        self.output.found(nid, &self.path);
        let mut entries = Vec::with_capacity(node.entries.len() + 2);
        entries.push(dirent(b".", nid, FileType::Directory));
        entries.push(dirent(b"..", parent, FileType::Directory));
        Ok(Open {
            slot,
            meta: node.meta,
            rest: node.entries.into_iter(),
            entries,
            folders: 0,
            above,
        })
    }

    /// Fills a directory's place.
    fn leave(&mut self, open: Open) -> Result<()> {
        let Open {
            slot,
            meta,
            rest: _,
            mut entries,
            folders,
            above,
        } = open;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        self.fill(
            &slot,
            (&meta, FileType::Directory, 2 + folders),
            &disk::directory(&entries),
        )?;
        self.path.truncate(above);
        Ok(())
    }

    fn leaf(&mut self, above: &mut Open, name: &Name, leaf: &Leaf) -> Result<()> {
        let before = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name.as_bytes());
        let known = leaf.group.and_then(|group| self.groups.get_mut(&group));
        let at = match known {
            Some(linked) => {
                linked.names += 1;
                linked.at
            }
            None => {
                let at = self.inode(leaf)?;
                let linked = Linked { at, names: 1 };
                self.groups.extend(leaf.group.map(|group| (group, linked)));
                at
            }
        };
        let nid = disk::nid(at);
        above
            .entries
            .push(dirent(name.as_bytes(), nid, file_type(&leaf.kind)));
        self.output.found(nid, &self.path);
        self.path.truncate(before);
        Ok(())
    }

    /// Writes the inode of what is no directory; returns where.
    fn inode(&mut self, leaf: &Leaf) -> Result<u64> {
        let (meta, kind) = (&leaf.meta, file_type(&leaf.kind));
        let (size, data, object) = match &leaf.kind {
            Kind::File(Content::Object { id, size }) => (*size, Some(Data::Elsewhere), Some(id)),
            Kind::File(Content::Empty) | Kind::Fifo => (0, None, None),
            Kind::Symlink(target) => (target.len() as u64, None, None),
            Kind::Char(device) | Kind::Block(device) => {
                (0, Some(self.device(kind, *device)?), None)
            }
        };
        let xattrs = self.xattrs(meta, kind, object);
        let Some(data) = data else {
            let slot = self.reserve(xattrs, size)?;
            let bytes: &[u8] = match &leaf.kind {
                Kind::Symlink(target) => target,
                Kind::File(_) | Kind::Fifo | Kind::Char(_) | Kind::Block(_) => b"",
            };
            self.fill(&slot, (meta, kind, 1), bytes)?;
            return Ok(slot.at);
        };
        let mut slot = self.reserve(xattrs, 0)?;
        (slot.size, slot.data) = (size, data);
        self.fill(&slot, (meta, kind, 1), b"")?;
        if data == Data::Elsewhere {
            let holes: Vec<u8> = disk::holes(disk::chunk_entries(size)).collect();
            self.put(self.next, &holes)?;
            self.next += holes.len() as u64;
        }
        Ok(slot.at)
    }

    fn device(&self, kind: FileType, device: Device) -> Result<Data> {
        let Device { major, minor } = device;
        let refuse = |why: &str| {
            let path = path::escape(self.path.get(1..).unwrap_or_default());
            let why = format!("it is a device {major}:{minor}, {why}");
            Error::failed("mount", format!("'{path}'"), why)
                .hint("`ocistore checkout` lays out what cannot be mounted")
        };
        if kind == FileType::Char && (major, minor) == (0, 0) {
            // Whatever stood for it would be another file to whoever looks, and to whoever changes it.
            return Err(refuse("by which an overlay means that there is nothing"));
        }
        let rdev = disk::rdev(major, minor);
        let rdev = rdev.ok_or_else(|| refuse("and the kernel has no such numbers"))?;
        Ok(Data::Device { rdev })
    }

    fn xattrs(&mut self, meta: &Meta, kind: FileType, object: Option<&ContentId>) -> Vec<u8> {
        let Self { output, path, .. } = self;
        xattrs::encode(meta, kind, object, |why| output.left_out(path, why))
    }

    /// Finds a place for an inode with data of this size: the part that fills no block is behind the inode, in one block.
    fn reserve(&mut self, xattrs: Vec<u8>, size: u64) -> Result<Slot> {
        let (head, tail) = (INODE + xattrs.len() as u64, size % BLOCK);
        let is_inline = tail > 0 && tail <= BLOCK - INODE;
        // So that no inode is in two blocks.
        let mut at = self.next.next_multiple_of(INODE);
        if is_inline && (at + head) % BLOCK + tail > BLOCK {
            at = ((at + head).next_multiple_of(BLOCK) - head).next_multiple_of(INODE);
        }
        let end = at + head + if is_inline { tail } else { 0 };
        let blocks = match is_inline {
            true => size / BLOCK,
            false => size.div_ceil(BLOCK),
        };
        let (block, next) = match blocks {
            0 => (0, end),
            _ => {
                let first = end.next_multiple_of(BLOCK);
                (block_of(first)?, first + blocks * BLOCK)
            }
        };
        self.next = next;
        self.inodes += 1;
        let data = match is_inline {
            true => Data::Inline { block },
            false => Data::Plain { block },
        };
        Ok(Slot {
            at,
            xattrs,
            size,
            data,
        })
    }

    fn fill(
        &mut self,
        slot: &Slot,
        (meta, kind, links): (&Meta, FileType, u32),
        bytes: &[u8],
    ) -> Result<()> {
        let inode = Inode {
            mode: kind.mode() | meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            size: slot.size,
            links,
            xattrs: slot.xattrs.len() as u64,
            data: slot.data,
        };
        let (block, cut) = match slot.data {
            Data::Plain { block } => (block, bytes.len()),
            Data::Inline { block } => (block, bytes.len() - bytes.len() % BLOCK_BYTES),
            Data::Device { .. } | Data::Elsewhere => (0, 0),
        };
        let (whole, tail) = bytes.split_at(cut);
        let head = inode.encode(disk::nid(slot.at));
        self.put(slot.at, &[&head, &slot.xattrs[..], tail].concat())?;
        match whole.is_empty() {
            true => Ok(()),
            false => self.put(u64::from(block) * BLOCK, whole),
        }
    }
}

fn block_of(at: u64) -> Result<u32> {
    let large = |_| {
        Error::failed(
            "mount",
            "the image",
            "it has more files than an EROFS image can",
        )
    };
    u32::try_from(at / BLOCK).map_err(large)
}

fn dirent(name: &[u8], nid: u64, kind: FileType) -> Dirent {
    Dirent {
        name: name.into(),
        nid,
        kind,
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::Char(_) => FileType::Char,
        Kind::Block(_) => FileType::Block,
        Kind::Fifo => FileType::Fifo,
    }
}

fn sorts_after_dots(entries: &[(Name, Item)]) -> bool {
    entries
        .first()
        .is_none_or(|(name, _)| name.as_bytes() > b"..")
}

fn lengths(entries: &[(Name, Item)]) -> impl Iterator<Item = usize> {
    entries.iter().map(|(name, _)| name.as_bytes().len())
}

/// Returns all names of a directory in order, `.` and `..` among them.
fn with_dots(entries: &[(Name, Item)]) -> Vec<&[u8]> {
    let names = entries.iter().map(|(name, _)| name.as_bytes());
    let mut names: Vec<&[u8]> = names.chain([&b"."[..], b".."]).collect();
    names.sort_unstable();
    names
}
