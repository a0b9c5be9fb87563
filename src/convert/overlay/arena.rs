//! Owns the tree while it changes: directories and inodes by number, read from their nodes when first touched.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Stop, stop};
use crate::digest::{LinkGroup, TreeId};
use crate::error::Result;
use crate::meta::Meta;
use crate::path::{Name, TreePath};
use crate::tree::{Item, Leaf, Node, Nodes, Subtree};

/// A directory, by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct DirId(pub(super) usize);

/// An inode that is no directory, by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct LeafId(pub(super) usize);

/// What a name leads to, once its directory is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Child {
    Dir(DirId),
    Leaf(LeafId),
}

/// What a directory was encoded to, by number: a tree has many names, and few of them are directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SubtreeId(usize);

/// What a name leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    /// A directory nobody has looked into yet.
    Unread(SubtreeId),
    Child(Child),
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    /// The layer that put it there; 0 for the lower tree.
    layer: u32,
}

#[derive(Debug)]
pub(super) struct Dir {
    pub(super) parent: DirId,
    /// How many directories are above it.
    depth: usize,
    pub(super) meta: Meta,
    pub(super) children: BTreeMap<Name, Entry>,
    /// What it was encoded to last, as long as nothing below it changed.
    pub(super) clean: Option<SubtreeId>,
    /// The layer that last described it.
    described: u32,
}

pub(super) struct Arena<'a> {
    source: &'a dyn Nodes,
    pub(super) dirs: Vec<Dir>,
    pub(super) leaves: Vec<Leaf>,
    subtrees: Vec<Subtree>,
    groups: HashMap<LinkGroup, LeafId>,
    /// Numbers of inodes and directories that are in no tree any more.
    free_leaves: Vec<LeafId>,
    free_dirs: Vec<DirId>,
    free_subtrees: Vec<SubtreeId>,
    /// Inodes that a link was made to.
    pub(super) linked: HashSet<LeafId>,
    /// Whether a way led through a symlink.
    pub(super) followed: bool,
    /// Where symlinks lead nowhere, since the layer at hand replaces them.
    pub(super) replaced: HashSet<(DirId, Name)>,
    layer: u32,
    /// How many directories the layer at hand made, and may make.
    made: u64,
    pub(super) most_made: u64,
}

/// The root's number; it is its own parent.
pub(super) const ROOT: DirId = DirId(0);

impl<'a> Arena<'a> {
    pub(super) fn new(source: &'a dyn Nodes, lower: Option<TreeId>) -> Result<Self> {
        let mut arena = Self {
            source,
            dirs: Vec::new(),
            leaves: Vec::new(),
            subtrees: Vec::new(),
            made: 0,
            most_made: u64::MAX,
            groups: HashMap::new(),
            linked: HashSet::new(),
            free_leaves: Vec::new(),
            free_dirs: Vec::new(),
            free_subtrees: Vec::new(),
            followed: false,
            replaced: HashSet::new(),
            layer: 0,
        };
        match lower {
            Some(id) => {
                let node = source.node(&id)?;
                let clean = Subtree {
                    id,
                    shape: node.shape(),
                    totals: node.totals(),
                };
                let clean = arena.new_subtree(clean);
                arena.read_in(ROOT, node, Some(clean));
            }
            None => {
                arena.push_dir(ROOT, Meta::implicit_dir(), 0);
            }
        }
        Ok(arena)
    }

    pub(super) fn begin_layer(&mut self) {
        self.layer += 1;
        self.made = 0;
    }

    /// Makes a directory of a node.
    fn read_in(&mut self, parent: DirId, node: Node, clean: Option<SubtreeId>) -> DirId {
        let mut children = BTreeMap::new();
        for (name, item) in node.entries {
            let slot = match item {
                Item::Dir(subtree) => Slot::Unread(self.new_subtree(subtree)),
                Item::Leaf(leaf) => Slot::Child(Child::Leaf(self.leaf_of_group(leaf))),
            };
            children.insert(name, Entry { slot, layer: 0 });
        }
        let depth = match self.dirs.get(parent.0) {
            Some(parent) => parent.depth + 1,
            None => 0,
        };
        let dir = self.push_dir(parent, node.meta, depth);
        self.dirs[dir.0].children = children;
        self.dirs[dir.0].clean = clean;
        dir
    }

    /// All names of a link group are one inode, wherever they are read from.
    fn leaf_of_group(&mut self, leaf: Leaf) -> LeafId {
        let Some(group) = leaf.group else {
            return self.new_leaf(leaf);
        };
        match self.groups.get(&group) {
            Some(id) => *id,
            None => {
                let id = self.new_leaf(leaf);
                self.groups.insert(group, id);
                // Its number is remembered here: it is never given to another.
                self.linked.insert(id);
                id
            }
        }
    }

    pub(super) fn new_subtree(&mut self, subtree: Subtree) -> SubtreeId {
        if let Some(id) = self.free_subtrees.pop() {
            self.subtrees[id.0] = subtree;
            return id;
        }
        self.subtrees.push(subtree);
        SubtreeId(self.subtrees.len() - 1)
    }

    pub(super) fn subtree(&self, id: SubtreeId) -> &Subtree {
        &self.subtrees[id.0]
    }

    pub(super) fn new_leaf(&mut self, leaf: Leaf) -> LeafId {
        if let Some(id) = self.free_leaves.pop() {
            self.leaves[id.0] = leaf;
            return id;
        }
        self.leaves.push(leaf);
        LeafId(self.leaves.len() - 1)
    }

    /// Gives back what a name led to: layer over layer that replaces the same files needs the memory of one of them.
    fn release(&mut self, slot: Slot) {
        let mut gone = vec![slot];
        while let Some(slot) = gone.pop() {
            match slot {
                Slot::Unread(subtree) => self.free_subtrees.push(subtree),
                Slot::Child(Child::Dir(dir)) => {
                    self.free_subtrees.extend(self.dirs[dir.0].clean.take());
                    let children = std::mem::take(&mut self.dirs[dir.0].children);
                    gone.extend(children.into_values().map(|entry| entry.slot));
                    self.free_dirs.push(dir);
                }
                Slot::Child(Child::Leaf(leaf)) => {
                    // Others may lead there too.
                    let is_shared =
                        self.leaves[leaf.0].group.is_some() || self.linked.contains(&leaf);
                    if !is_shared {
                        self.free_leaves.push(leaf);
                    }
                }
            }
        }
    }

    /// Makes a directory that is to go into `parent`. Symlinked parents can make a tree deeper than any one path.
    pub(super) fn new_dir(&mut self, parent: DirId, meta: Meta) -> Result<DirId, Stop> {
        let depth = self.dirs[parent.0].depth + 1;
        if depth > TreePath::MAX_DEPTH {
            return stop(format!(
                "directories nest over {} deep",
                TreePath::MAX_DEPTH
            ));
        }
        self.made += 1;
        if self.made > self.most_made {
            return stop(format!(
                "over {} directories with those above its files (--max-entries)",
                self.most_made
            ));
        }
        Ok(self.push_dir(parent, meta, depth))
    }

    fn push_dir(&mut self, parent: DirId, meta: Meta, depth: usize) -> DirId {
        let dir = Dir {
            parent,
            depth,
            meta,
            children: BTreeMap::new(),
            clean: None,
            described: 0,
        };
        if let Some(id) = self.free_dirs.pop() {
            self.dirs[id.0] = dir;
            return id;
        }
        self.dirs.push(dir);
        DirId(self.dirs.len() - 1)
    }

    /// Returns what `name` in `dir` leads to; an unread directory is read.
    pub(super) fn child(&mut self, dir: DirId, name: &[u8]) -> Result<Option<Child>> {
        let subtree = match self.dirs[dir.0].children.get(name) {
            None => return Ok(None),
            Some(Entry {
                slot: Slot::Child(child),
                ..
            }) => return Ok(Some(*child)),
            Some(Entry {
                slot: Slot::Unread(subtree),
                ..
            }) => *subtree,
        };
        let node = self.source.node(&self.subtree(subtree).id)?;
        let read = Child::Dir(self.read_in(dir, node, Some(subtree)));
        if let Some(entry) = self.dirs[dir.0].children.get_mut(name) {
            entry.slot = Slot::Child(read);
        }
        Ok(Some(read))
    }

    /// Tells whether the layer at hand put `name` there.
    pub(super) fn is_fresh(&self, dir: DirId, name: &[u8]) -> bool {
        self.dirs[dir.0]
            .children
            .get(name)
            .is_some_and(|entry| entry.layer == self.layer)
    }

    /// Puts a child; returns whether the layer at hand had put one there already.
    pub(super) fn put(&mut self, dir: DirId, name: Name, child: Child) -> bool {
        self.touch(dir);
        let entry = Entry {
            slot: Slot::Child(child),
            layer: self.layer,
        };
        let Some(before) = self.dirs[dir.0].children.insert(name, entry) else {
            return false;
        };
        self.release(before.slot);
        before.layer == self.layer
    }

    pub(super) fn remove(&mut self, dir: DirId, name: &Name) {
        if let Some(before) = self.dirs[dir.0].children.remove(name) {
            self.touch(dir);
            self.release(before.slot);
        }
    }

    pub(super) fn clear(&mut self, dir: DirId) {
        self.touch(dir);
        let children = std::mem::take(&mut self.dirs[dir.0].children);
        children
            .into_values()
            .for_each(|entry| self.release(entry.slot));
    }

    /// Sets a directory's metadata; returns whether the layer at hand had done so already.
    pub(super) fn set_meta(&mut self, dir: DirId, meta: &Meta) -> bool {
        if self.dirs[dir.0].meta != *meta {
            self.touch(dir);
        }
        let layer = self.layer;
        let dir = &mut self.dirs[dir.0];
        dir.meta.clone_from(meta);
        std::mem::replace(&mut dir.described, layer) == layer
    }

    /// Notes that a directory, and so all above it, is no more what it was encoded to.
    pub(super) fn touch(&mut self, dir: DirId) {
        let mut at = dir;
        loop {
            let dir = &mut self.dirs[at.0];
            // What is touched already has touched all above it.
            let Some(subtree) = dir.clean.take() else {
                return;
            };
            self.free_subtrees.push(subtree);
            if at == ROOT {
                return;
            }
            at = self.dirs[at.0].parent;
        }
    }
}
