//! Owns what was found in a directory until it is a tree: link groups named, directories encoded.

use std::collections::HashMap;

use super::super::record::{Fingerprint, Record, UNKNOWN};
use super::entry::{FoundLeaf, Key, Sight};
use crate::digest::{LinkGroup, TreeId};
use crate::error::Result;
use crate::meta::Meta;
use crate::path::Name;
use crate::tree::{Item, Leaf, NewNodes, Node, Nodes, Subtree};

/// Everything in a directory. What may have changed is still to be read.
#[derive(Debug)]
pub struct Found {
    /// Each after its parent; the first is the root.
    pub(super) dirs: Vec<FoundDir>,
    /// Which attributes were seen.
    pub(super) sight: Sight,
    /// Whether all names of all hard links are among the entries.
    pub(super) links: Links,
}

/// What is done about names of hard links that nothing was done to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Links {
    /// They are what the base has, wherever they are: no name of theirs was touched.
    Kept,
    /// All of them are looked at.
    Looked,
}

/// A directory that was looked at.
#[derive(Debug, Default)]
pub(super) struct FoundDir {
    /// Where it is; components joined by `/`.
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    /// What the base has at its place.
    pub(super) base: Option<TreeId>,
    /// What tells later whether it was touched.
    pub(super) print: Fingerprint,
    /// Sorted by name.
    pub(super) entries: Vec<(Name, FoundItem)>,
}

/// What a name is.
#[derive(Debug)]
pub(super) enum FoundItem {
    /// A directory that was looked at.
    Dir(usize),
    /// A directory of the base that counts as it is.
    Kept(Subtree),
    /// Anything else.
    Leaf(FoundLeaf),
}

/// What is in a directory whose turn it is.
enum Below {
    /// One that was looked at.
    Looked(usize),
    /// One that was not, with so many names.
    Kept(u64),
}

/// A directory as a tree.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The tree.
    pub root: TreeId,
    /// Its nodes that the base does not have at the same place.
    pub nodes: NewNodes,
    /// How it lies in the directory.
    pub record: Record,
}

impl Found {
    /// Makes a tree of it, once all is read.
    pub(super) fn into_tree(mut self) -> Scanned {
        self.unify();
        let groups = self.name_groups();
        let prints = self.prints();
        self.encode(&groups, prints)
    }

    /// Returns the fingerprints of everything, in the order in which a record has them.
    fn prints(&self) -> Vec<Fingerprint> {
        let mut prints: Vec<Fingerprint> = self
            .dirs
            .first()
            .map(|root| root.print)
            .into_iter()
            .collect();
        let mut waiting = vec![Below::Looked(0)];
        while let Some(below) = waiting.pop() {
            let dir = match below {
                Below::Looked(dir) => &self.dirs[dir],
                Below::Kept(names) => {
                    prints.extend((0..names).map(|_| UNKNOWN));
                    continue;
                }
            };
            prints.extend(dir.entries.iter().map(|(_, item)| match item {
                FoundItem::Dir(below) => self.dirs[*below].print,
                FoundItem::Kept(_) => UNKNOWN,
                FoundItem::Leaf(leaf) => leaf.print,
            }));
            // The first is the next.
            waiting.extend(dir.entries.iter().rev().filter_map(|(_, item)| match item {
                FoundItem::Dir(below) => Some(Below::Looked(*below)),
                FoundItem::Kept(subtree) => Some(Below::Kept(subtree.totals.names)),
                FoundItem::Leaf(_) => None,
            }));
        }
        prints
    }

    /// Says of names that the base has as one inode, and that are one that was looked at, that they are that.
    fn unify(&mut self) {
        let mut known: HashMap<LinkGroup, Key> = HashMap::new();
        self.for_each_leaf(|leaf| {
            if let (Some(key @ Key::Host(..)), Some(group)) = (leaf.key, leaf.leaf.group) {
                known.insert(group, key);
            }
        });
        self.for_each_leaf(|leaf| {
            if let Some(Key::Base(group)) = leaf.key {
                leaf.key = Some(known.get(&group).copied().unwrap_or(Key::Base(group)));
            }
        });
    }

    pub(super) fn for_each_leaf(&mut self, mut each: impl FnMut(&mut FoundLeaf)) {
        for (_, item) in self.dirs.iter_mut().flat_map(|dir| &mut dir.entries) {
            if let FoundItem::Leaf(leaf) = item {
                each(leaf);
            }
        }
    }

    /// Names every inode with several names after the first of them in tree order.
    fn name_groups(&self) -> HashMap<Key, Option<LinkGroup>> {
        let mut groups: HashMap<Key, (LinkGroup, u64)> = HashMap::new();
        // Directories on the way, and how far each is gone through.
        let mut way: Vec<(usize, usize)> = vec![(0, 0)];
        while let Some((dir, at)) = way.last_mut() {
            let here = &self.dirs[*dir];
            let Some((name, item)) = here.entries.get(*at) else {
                way.pop();
                continue;
            };
            *at += 1;
            match item {
                FoundItem::Dir(below) => way.push((*below, 0)),
                FoundItem::Kept(_) | FoundItem::Leaf(FoundLeaf { key: None, .. }) => {}
                FoundItem::Leaf(FoundLeaf { key: Some(key), .. }) => {
                    let group = groups
                        .entry(*key)
                        .or_insert_with(|| (LinkGroup::of_first_path(&join(&here.path, name)), 0));
                    group.1 += 1;
                }
            }
        }
        let named = |(key, (group, count))| match (key, self.links) {
            (Key::Base(group), Links::Kept) => (key, Some(group)),
            _ => (key, (count > 1).then_some(group)),
        };
        groups.into_iter().map(named).collect()
    }

    /// Encodes all directories, each before its parent.
    fn encode(self, groups: &HashMap<Key, Option<LinkGroup>>, prints: Vec<Fingerprint>) -> Scanned {
        let mut nodes = NewNodes::new();
        let count = self.dirs.len();
        // The last directory first, so that what is below a directory is there before it.
        let mut done: Vec<Subtree> = Vec::with_capacity(count);
        for dir in self.dirs.into_iter().rev() {
            let entries = dir.entries.into_iter().map(|(name, item)| {
                let item = match item {
                    FoundItem::Dir(below) => Item::Dir(done[count - 1 - below]),
                    FoundItem::Kept(subtree) => Item::Dir(subtree),
                    FoundItem::Leaf(FoundLeaf { leaf, key, .. }) => Item::Leaf(Leaf {
                        group: key.and_then(|key| groups.get(&key).copied().flatten()),
                        ..leaf
                    }),
                };
                (name, item)
            });
            let node = Node {
                meta: dir.meta,
                entries: entries.collect(),
            };
            let subtree = node.encode_into(&mut nodes);
            if dir.base == Some(subtree.id) {
                nodes.remove(&subtree.id);
            }
            done.push(subtree);
        }
        let root = done
            .last()
            .map_or_else(|| Node::default().encode_into(&mut nodes), |root| *root);
        Scanned {
            root: root.id,
            nodes,
            record: Record::of(root.id, prints),
        }
    }
}

/// Returns what the base has in a name, as it is.
pub(super) fn keep(item: &Item) -> FoundItem {
    match item {
        Item::Dir(subtree) => FoundItem::Kept(*subtree),
        Item::Leaf(leaf) => FoundItem::Leaf(FoundLeaf {
            leaf: leaf.clone(),
            key: leaf.group.map(Key::Base),
            unread: None,
            was: None,
            print: UNKNOWN,
        }),
    }
}

/// Returns a directory of the base, as it is, and those below it that have names of hard links: the first is the one at
/// `path`, and numbers are counted from there.
pub(super) fn expand(nodes: &dyn Nodes, id: TreeId, path: Vec<u8>) -> Result<Vec<FoundDir>> {
    let new = |path, id| FoundDir {
        path,
        base: Some(id),
        print: UNKNOWN,
        ..FoundDir::default()
    };
    let mut dirs = vec![new(path, id)];
    let mut at = 0;
    while let Some(id) = dirs.get(at).and_then(|dir| dir.base) {
        let node = nodes.node(&id)?;
        let mut entries = Vec::with_capacity(node.entries.len());
        for (name, item) in node.entries {
            let found = match &item {
                Item::Dir(subtree) if subtree.totals.linked > 0 => {
                    dirs.push(new(join(&dirs[at].path, &name), subtree.id));
                    FoundItem::Dir(dirs.len() - 1)
                }
                Item::Dir(_) | Item::Leaf(_) => keep(&item),
            };
            entries.push((name, found));
        }
        (dirs[at].meta, dirs[at].entries) = (node.meta, entries);
        at += 1;
    }
    Ok(dirs)
}

/// Puts directories that are counted from 0 behind others; returns the number of the first.
pub(super) fn append(dirs: &mut Vec<FoundDir>, more: Vec<FoundDir>) -> usize {
    let first = dirs.len();
    dirs.extend(more.into_iter().map(|mut dir| {
        for (_, item) in &mut dir.entries {
            if let FoundItem::Dir(number) = item {
                *number += first;
            }
        }
        dir
    }));
    first
}

/// Returns the path of a name in a directory.
pub(crate) fn join(dir: &[u8], name: &Name) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.as_bytes().len());
    path.extend_from_slice(dir);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
}
