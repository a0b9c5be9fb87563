//! Owns what a layer has to say to make one tree of another: one entry for each path that changed, and one for each name
//! of a group of hard links that did.
//!
//! Both trees are walked from their roots at once, and what has the same hash on both sides is not read, except where a
//! group that changed may have names.

mod groups;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::diff::level::{Level, Pair};
use crate::digest::{LinkGroup, TreeId};
use crate::entry::{LayerEntry, What};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::path::{Name, Step, TreePath};
use crate::tree::{Item, Leaf, Node, Nodes};
use crate::watch::Watch;

/// Returns the entries of the layer that makes the tree `new` of the tree `base`, or of nothing: in the order of a walk,
/// a directory before what is in it, names by their bytes.
pub fn changes(
    nodes: &dyn Nodes,
    (base, new): (Option<TreeId>, TreeId),
    watch: &dyn Watch,
) -> Result<Vec<LayerEntry>> {
    if base == Some(new) {
        return Ok(Vec::new());
    }
    let before = match base {
        Some(base) => nodes.node(&base)?,
        // What a first layer without an entry for the root makes.
        None => Node {
            meta: Meta::implicit_dir(),
            entries: Vec::new(),
        },
    };
    let mut walk = Walk {
        nodes,
        watch,
        way: Vec::new(),
        path: Vec::new(),
        entries: Vec::new(),
        groups: HashSet::new(),
    };
    walk.run(before.clone(), nodes.node(&new)?)?;
    let Walk {
        mut entries,
        groups,
        ..
    } = walk;
    if !groups.is_empty() {
        let mut names = groups::Names::new(nodes, watch, &groups);
        names.collect(before, nodes.node(&new)?)?;
        entries.extend(groups::entries(&names.found)?);
        // No path has two, so that their order is one.
        entries.sort_unstable_by(|a, b| names_of(&a.path).cmp(names_of(&b.path)));
    }
    Ok(entries)
}

/// Returns the names on a path: compared one by one they are in the order of a walk.
fn names_of(path: &TreePath) -> impl Iterator<Item = &[u8]> {
    path.steps().map(|step| match step {
        Step::Child(name) => name.as_bytes(),
        Step::Up => b"..",
    })
}

/// Puts a name on a path.
fn put_name(path: &mut Vec<u8>, name: &Name) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}

fn parse(path: &[u8]) -> Result<TreePath> {
    TreePath::parse(path).map_err(|e| {
        let path = crate::path::escape(path);
        Error::malformed("put into a layer", format!("'{path}'"), e.to_string())
    })
}

/// A walk through both trees, wherever they differ.
struct Walk<'a> {
    nodes: &'a dyn Nodes,
    watch: &'a dyn Watch,
    /// The directories on the way, the root's first: trees can be deeper than a thread's stack.
    way: Vec<Level>,
    /// Where the walk is.
    path: Vec<u8>,
    /// What changed, but for names of groups.
    entries: Vec<LayerEntry>,
    /// Groups of either tree that have a name where the trees differ.
    groups: HashSet<LinkGroup>,
}

impl Walk<'_> {
    fn run(&mut self, before: Node, after: Node) -> Result<()> {
        self.enter_both(before, after)?;
        while let Some(level) = self.way.last_mut() {
            let Some((name, pair)) = level.next() else {
                self.way.pop();
                continue;
            };
            self.path.truncate(level.base);
            put_name(&mut self.path, &name);
            self.look(pair)?;
        }
        Ok(())
    }

    fn look(&mut self, pair: Pair) -> Result<()> {
        match pair {
            Pair::Before(item) => {
                self.note_groups(item)?;
                self.put(What::Whiteout)
            }
            Pair::After(item) => self.take(None, item),
            Pair::Both(before, after) if before == after => Ok(()),
            Pair::Both(Item::Dir(before), Item::Dir(after)) => {
                let before = self.nodes.node(&before.id)?;
                self.enter_both(before, self.nodes.node(&after.id)?)
            }
            Pair::Both(before, after) => self.take(Some(before), after),
        }
    }

    /// Goes into a directory that both trees have.
    fn enter_both(&mut self, before: Node, after: Node) -> Result<()> {
        if before.meta != after.meta {
            self.put(What::Dir(after.meta))?;
        }
        self.enter(before.entries, after.entries)
    }

    fn enter(&mut self, before: Vec<(Name, Item)>, after: Vec<(Name, Item)>) -> Result<()> {
        self.watch.check()?;
        self.way.push(Level::new(self.path.len(), before, after));
        Ok(())
    }

    /// Takes what is new at a path, or in the place of something else.
    fn take(&mut self, before: Option<Item>, after: Item) -> Result<()> {
        let mut was_linked = false;
        if let Some(before) = before {
            was_linked = matches!(before, Item::Leaf(Leaf { group: Some(_), .. }));
            self.note_groups(before)?;
        }
        match after {
            Item::Dir(after) => {
                let node = self.nodes.node(&after.id)?;
                self.put(What::Dir(node.meta))?;
                self.enter(Vec::new(), node.entries)
            }
            Item::Leaf(Leaf {
                group: Some(group), ..
            }) => {
                self.groups.insert(group);
                Ok(())
            }
            // Whether one that left its group is to be written depends on the rest of that.
            Item::Leaf(_) if was_linked => Ok(()),
            Item::Leaf(leaf) => self.put(What::Leaf(leaf.kind, leaf.meta)),
        }
    }

    /// Notes the groups that lose a name with `gone`.
    fn note_groups(&mut self, gone: Item) -> Result<()> {
        let mut left = vec![gone];
        while let Some(item) = left.pop() {
            match item {
                Item::Leaf(leaf) => self.groups.extend(leaf.group),
                Item::Dir(dir) if dir.totals.linked == 0 => {}
                Item::Dir(dir) => {
                    self.watch.check()?;
                    let below = self.nodes.node(&dir.id)?.entries;
                    left.extend(below.into_iter().map(|(_, item)| item));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, what: What) -> Result<()> {
        let path = parse(&self.path)?;
        self.entries.push(LayerEntry { path, what });
        Ok(())
    }
}
