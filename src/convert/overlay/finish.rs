//! Owns turning the changed tree into nodes: link groups named, directories encoded, what is unchanged left alone.

use std::collections::{BTreeMap, HashMap};

use super::Overlay;
use super::arena::{Child, DirId, LeafId, ROOT, Slot};
use crate::digest::{LinkGroup, TreeId};
use crate::error::{Error, Result};
use crate::path::{Name, TreePath};
use crate::tree::{Item, Node, Subtree};

/// A merged tree: its root, and the nodes that are new.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The root's id.
    pub(crate) root: TreeId,
    /// New nodes, sorted by id.
    pub(crate) nodes: BTreeMap<TreeId, Vec<u8>>,
}

/// The names of an inode that may have several.
struct Names {
    count: u32,
    /// What its group would be called: after its path where it comes first in tree order.
    group: LinkGroup,
    dirs: Vec<DirId>,
}

impl Overlay<'_> {
    /// Encodes what changed since the last time.
    pub(crate) fn finish(&mut self) -> Result<Merged> {
        self.name_groups()?;
        let mut nodes = BTreeMap::new();
        let root = self.encode(ROOT, &mut nodes, 0)?.id;
        Ok(Merged { root, nodes })
    }

    /// Gives every inode with several names its group, and takes it from those that have one name left.
    fn name_groups(&mut self) -> Result<()> {
        let mut names: HashMap<LeafId, Names> = HashMap::new();
        self.count(ROOT, &mut Vec::new(), &mut names, 0)?;
        for (leaf, names) in names {
            let group = (names.count > 1).then_some(names.group);
            if self.arena.leaves[leaf.0].group != group {
                self.arena.leaves[leaf.0].group = group;
                names.dirs.iter().for_each(|dir| self.arena.touch(*dir));
            }
        }
        Ok(())
    }

    /// Counts names in tree order: everywhere that changed, and wherever a name is one of several.
    fn count(
        &mut self,
        dir: DirId,
        path: &mut Vec<u8>,
        names: &mut HashMap<LeafId, Names>,
        depth: usize,
    ) -> Result<()> {
        check_depth(depth)?;
        let children: Vec<Name> = self.arena.dirs[dir.0].children.keys().cloned().collect();
        for name in children {
            let Some(child) = self.worth_counting(dir, &name)? else {
                continue;
            };
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            match child {
                Child::Dir(below) => self.count(below, path, names, depth + 1)?,
                Child::Leaf(leaf) => {
                    // Not the path itself: a short name in a deep directory would take its length in memory.
                    let names = names.entry(leaf).or_insert_with(|| Names {
                        count: 0,
                        group: LinkGroup::of_first_path(path),
                        dirs: Vec::new(),
                    });
                    names.count += 1;
                    names.dirs.push(dir);
                }
            }
            path.truncate(before);
        }
        Ok(())
    }

    /// Passes over unchanged directories that hold no linked name, and inodes that nothing linked.
    fn worth_counting(&mut self, dir: DirId, name: &Name) -> Result<Option<Child>> {
        let Some(entry) = self.arena.dirs[dir.0].children.get(name) else {
            return Ok(None);
        };
        match entry.slot {
            Slot::Unread(subtree) if self.arena.subtree(subtree).totals.linked == 0 => Ok(None),
            Slot::Unread(_) => self.arena.child(dir, name.as_bytes()),
            Slot::Child(child @ Child::Dir(below)) => {
                let unlinked = self.arena.dirs[below.0]
                    .clean
                    .is_some_and(|clean| self.arena.subtree(clean).totals.linked == 0);
                Ok(if unlinked { None } else { Some(child) })
            }
            Slot::Child(child @ Child::Leaf(leaf)) => {
                let may_be_shared =
                    self.arena.leaves[leaf.0].group.is_some() || self.arena.linked.contains(&leaf);
                Ok(may_be_shared.then_some(child))
            }
        }
    }

    fn encode(
        &mut self,
        dir: DirId,
        nodes: &mut BTreeMap<TreeId, Vec<u8>>,
        depth: usize,
    ) -> Result<Subtree> {
        check_depth(depth)?;
        if let Some(clean) = self.arena.dirs[dir.0].clean {
            return Ok(*self.arena.subtree(clean));
        }
        let slots: Vec<(Name, Slot)> = self.arena.dirs[dir.0]
            .children
            .iter()
            .map(|(name, entry)| (name.clone(), entry.slot))
            .collect();
        let mut entries = Vec::with_capacity(slots.len());
        for (name, slot) in slots {
            let item = match slot {
                Slot::Unread(subtree) => Item::Dir(*self.arena.subtree(subtree)),
                Slot::Child(Child::Dir(below)) => {
                    Item::Dir(self.encode(below, nodes, depth + 1)?)
                }
                Slot::Child(Child::Leaf(leaf)) => Item::Leaf(self.arena.leaves[leaf.0].clone()),
            };
            entries.push((name, item));
        }
        let node = Node {
            meta: self.arena.dirs[dir.0].meta.clone(),
            entries,
        };
        let subtree = node.encode_into(nodes);
        self.arena.dirs[dir.0].clean = Some(self.arena.new_subtree(subtree));
        Ok(subtree)
    }
}

/// Symlinked parents can make a tree deeper than any one path: recursion stays bounded.
fn check_depth(depth: usize) -> Result<()> {
    if depth > TreePath::MAX_DEPTH {
        let why = format!("directories nest over {} deep", TreePath::MAX_DEPTH);
        return Err(Error::malformed("merge", "the layers", why));
    }
    Ok(())
}
