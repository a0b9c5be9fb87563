//! Owns what a layer says of hard links: which groups stay as they are, and all names of the others.
//!
//! A group's id changes when its first name goes, so that groups are compared as sets of names. One is left alone where
//! those of its base's names that the layer leaves alone are exactly its own. Every other is written anew, its first name
//! as a file and the rest as links to that: some that mount layers cannot link to a file of a lower one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{parse, put_name};
use crate::diff::level::{Level, Pair};
use crate::digest::LinkGroup;
use crate::entry::{LayerEntry, What};
use crate::error::Result;
use crate::tree::{Item, Leaf, Node, Nodes, Subtree};
use crate::watch::Watch;

/// A name that one of the groups has in either tree.
pub(super) struct Linked {
    path: Box<[u8]>,
    before: Option<Leaf>,
    after: Option<Leaf>,
}

/// Finds all names of some groups: only where names are linked is anything read.
pub(super) struct Names<'a> {
    nodes: &'a dyn Nodes,
    watch: &'a dyn Watch,
    groups: &'a HashSet<LinkGroup>,
    path: Vec<u8>,
    /// The names, in the order of a walk.
    pub(super) found: Vec<Linked>,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        nodes: &'a dyn Nodes,
        watch: &'a dyn Watch,
        groups: &'a HashSet<LinkGroup>,
    ) -> Self {
        Self {
            nodes,
            watch,
            groups,
            path: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Looks through both trees, given their roots.
    pub(super) fn collect(&mut self, before: Node, after: Node) -> Result<()> {
        let mut way = vec![Level::new(0, before.entries, after.entries)];
        while let Some(level) = way.last_mut() {
            let Some((name, pair)) = level.next() else {
                way.pop();
                continue;
            };
            self.path.truncate(level.base);
            put_name(&mut self.path, &name);
            way.extend(self.look(pair)?);
        }
        Ok(())
    }

    /// Looks at what a name is; returns the directory that is to be looked through next.
    fn look(&mut self, pair: Pair) -> Result<Option<Level>> {
        let (before, after) = match pair {
            Pair::Before(item) => (Some(item), None),
            Pair::After(item) => (None, Some(item)),
            Pair::Both(before, after) => (Some(before), Some(after)),
        };
        let (dir_before, before) = split(before);
        let (dir_after, after) = split(after);
        let concerns = |leaf: &Option<Leaf>| {
            let group = leaf.as_ref().and_then(|leaf| leaf.group);
            group.is_some_and(|group| self.groups.contains(&group))
        };
        if concerns(&before) || concerns(&after) {
            self.found.push(Linked {
                path: self.path.as_slice().into(),
                before,
                after,
            });
        }
        let holds_linked = |dir: &Option<Subtree>| dir.is_some_and(|dir| dir.totals.linked > 0);
        if !holds_linked(&dir_before) && !holds_linked(&dir_after) {
            return Ok(None);
        }
        self.watch.check()?;
        let before = self.read(dir_before)?.entries;
        let after = match dir_after {
            same if same == dir_before => before.clone(),
            other => self.read(other)?.entries,
        };
        Ok(Some(Level::new(self.path.len(), before, after)))
    }

    fn read(&self, dir: Option<Subtree>) -> Result<Node> {
        dir.map_or_else(|| Ok(Node::default()), |dir| self.nodes.node(&dir.id))
    }
}

/// Returns an item as a directory, or as anything else.
fn split(item: Option<Item>) -> (Option<Subtree>, Option<Leaf>) {
    match item {
        Some(Item::Dir(dir)) => (Some(dir), None),
        Some(Item::Leaf(leaf)) => (None, Some(leaf)),
        None => (None, None),
    }
}

/// Returns the entries that the groups need, given all of their names.
pub(super) fn entries(names: &[Linked]) -> Result<Vec<LayerEntry>> {
    let inodes = inodes(names);
    let kept = kept(names, &inodes);
    let mut entries = Vec::new();
    for inode in inodes.iter().filter(|inode| !kept.contains(&inode[0])) {
        let first = parse(&names[inode[0]].path)?;
        if let Some(leaf) = &names[inode[0]].after {
            entries.push(LayerEntry {
                path: first.clone(),
                what: What::Leaf(leaf.kind.clone(), leaf.meta.clone()),
            });
        }
        for other in &inode[1..] {
            entries.push(LayerEntry {
                path: parse(&names[*other].path)?,
                what: What::Link(first.clone()),
            });
        }
    }
    Ok(entries)
}

/// Returns the names of each inode of the new tree, as places in `names`; none is empty.
fn inodes(names: &[Linked]) -> Vec<Vec<usize>> {
    let mut inodes: Vec<Vec<usize>> = Vec::new();
    let mut groups: HashMap<LinkGroup, usize> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        let Some(leaf) = &name.after else { continue };
        let known = leaf.group.and_then(|group| groups.get(&group).copied());
        match known {
            Some(inode) => inodes[inode].push(at),
            None => {
                leaf.group.map(|group| groups.insert(group, inodes.len()));
                inodes.push(vec![at]);
            }
        }
    }
    inodes
}

/// Returns the first names of the inodes that stay as they are: of each group of the base that one with the most names
/// of those whose names were all in it and did not change.
fn kept(names: &[Linked], inodes: &[Vec<usize>]) -> HashSet<usize> {
    let mut best: BTreeMap<LinkGroup, (usize, usize)> = BTreeMap::new();
    for inode in inodes {
        let group = unchanged(&names[inode[0]]);
        let all = inode.iter().all(|name| unchanged(&names[*name]) == group);
        let Some(group) = group.filter(|_| all) else {
            continue;
        };
        let (most, first) = best.entry(group).or_default();
        if inode.len() > *most {
            (*most, *first) = (inode.len(), inode[0]);
        }
    }
    best.into_values().map(|(_, first)| first).collect()
}

/// Returns the group that a name had in the base, where it is an inode of the same kind and metadata still.
fn unchanged(name: &Linked) -> Option<LinkGroup> {
    let (before, after) = (name.before.as_ref()?, name.after.as_ref()?);
    let same = before.kind == after.kind && before.meta == after.meta;
    before.group.filter(|_| same)
}
