//! Owns what differs between two merged trees: both are walked from their roots at once, and what has the same hash on
//! both sides is neither read nor walked.
//!
//! Changes come one by one, in the order of a walk: a directory, then what is in it, names by their bytes. No more is
//! held than the directories on the way to the last one.

pub(crate) mod level;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;

use level::{Level, Pair};

pub use report::{Aspect, Change, Stat, Sum, Type, What};

use crate::digest::TreeId;
use crate::error::Result;
use crate::path::Name;
use crate::tree::{Item, Node, Nodes, Subtree};
use crate::watch::Watch;

/// What counts as a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Question {
    /// All that an image says of an entry.
    #[default]
    All,
    /// Names, types, contents and hard links; not mode, owner, time and attributes.
    Content,
}

/// How a directory is told that only one of the trees has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Below {
    /// With everything below it.
    #[default]
    Listed,
    /// By itself. What is below is counted, and not read: its parent has the sums.
    Counted,
}

/// What to look for, and how to tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// What counts.
    pub question: Question,
    /// How whole directories are told.
    pub below: Below,
}

/// A walk through two trees. The reader of the store that found them has to be held as long.
pub struct Diff<'v> {
    nodes: &'v dyn Nodes,
    watch: &'v dyn Watch,
    options: Options,
    /// The roots, until the walk begins.
    roots: Option<(TreeId, TreeId)>,
    /// The directories on the way, the root's first.
    way: Vec<Level>,
    /// Where the walk is.
    path: Vec<u8>,
    stat: Stat,
    nodes_read: u64,
}

impl fmt::Debug for Diff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diff")
            .field("path", &crate::path::escape(&self.path))
            .field("stat", &self.stat)
            .finish_non_exhaustive()
    }
}

impl<'v> Diff<'v> {
    /// Begins a walk from the tree `before` to the tree `after`.
    pub fn new(
        nodes: &'v dyn Nodes,
        (before, after): (TreeId, TreeId),
        options: Options,
        watch: &'v dyn Watch,
    ) -> Self {
        Self {
            nodes,
            watch,
            options,
            roots: Some((before, after)),
            way: Vec::new(),
            path: Vec::new(),
            stat: Stat::default(),
            nodes_read: 0,
        }
    }

    /// Returns the next change, or `None` after the last.
    pub fn next_change(&mut self) -> Result<Option<Change<'_>>> {
        let found = self.find()?;
        Ok(found.map(|(what, kind)| Change {
            path: &self.path,
            what,
            kind,
        }))
    }

    /// Returns the counts of the changes so far.
    pub fn stat(&self) -> Stat {
        self.stat
    }

    /// Returns how many nodes were read so far.
    pub fn nodes_read(&self) -> u64 {
        self.nodes_read
    }

    fn find(&mut self) -> Result<Option<(What, Type)>> {
        if let Some((before, after)) = self.roots.take()
            && before != after
            && let Some(aspects) = self.enter_both(before, after)?
        {
            return Ok(Some((self.changed(aspects), Type::Directory)));
        }
        while let Some(level) = self.way.last_mut() {
            let Some((name, pair)) = level.next() else {
                self.way.pop();
                continue;
            };
            let base = level.base;
            self.go_to(base, &name);
            if let Some(found) = self.look(pair)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn go_to(&mut self, base: usize, name: &Name) {
        self.path.truncate(base);
        if base > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.as_bytes());
    }

    /// Looks at what one name is on both sides.
    fn look(&mut self, pair: Pair) -> Result<Option<(What, Type)>> {
        match pair {
            Pair::Before(item) => {
                self.stat.deleted.add(&item, self.options.below);
                self.enter_deleted(&item)?;
                Ok(Some((What::Deleted, Type::of(&item))))
            }
            Pair::After(item) => {
                self.stat.added.add(&item, self.options.below);
                self.enter_added(&item)?;
                Ok(Some((What::Added, Type::of(&item))))
            }
            Pair::Both(before, after) => {
                let aspects = self.compare(&before, &after)?;
                Ok(aspects.map(|aspects| {
                    if aspects.contains(&Aspect::Type) || aspects.contains(&Aspect::Content) {
                        self.stat.changed.add_file(&after);
                    }
                    (self.changed(aspects), Type::of(&after))
                }))
            }
        }
    }

    fn changed(&mut self, aspects: Vec<Aspect>) -> What {
        self.stat.changed.paths += 1;
        What::Changed(aspects)
    }

    /// Returns in what two entries of one name differ, or `None` where they do not.
    fn compare(&mut self, before: &Item, after: &Item) -> Result<Option<Vec<Aspect>>> {
        match (before, after) {
            (Item::Dir(before), Item::Dir(after)) => match self.are_same(before, after) {
                true => Ok(None),
                false => self.enter_both(before.id, after.id),
            },
            (Item::Leaf(before), Item::Leaf(after)) => {
                let aspects = report::of_leaves(before, after, self.options.question);
                Ok(Some(aspects).filter(|aspects| !aspects.is_empty()))
            }
            (Item::Dir(Subtree { totals, .. }), Item::Leaf(_)) => {
                self.stat.deleted.add_below(totals, self.options.below);
                self.enter_deleted(before)?;
                Ok(Some(vec![Aspect::Type]))
            }
            (Item::Leaf(_), Item::Dir(Subtree { totals, .. })) => {
                self.stat.added.add_below(totals, self.options.below);
                self.enter_added(after)?;
                Ok(Some(vec![Aspect::Type]))
            }
        }
    }

    /// Tells whether two directories need not be read.
    fn are_same(&self, before: &Subtree, after: &Subtree) -> bool {
        match self.options.question {
            Question::All => before.id == after.id,
            Question::Content => before.shape == after.shape,
        }
    }

    /// Goes into a directory of both trees; returns in what it differs itself, if in anything that counts.
    fn enter_both(&mut self, before: TreeId, after: TreeId) -> Result<Option<Vec<Aspect>>> {
        let (before, after) = (self.read(before)?, self.read(after)?);
        let aspects = report::of_metas(&before.meta, &after.meta, self.options.question);
        self.enter(before.entries, after.entries);
        Ok(Some(aspects).filter(|aspects| !aspects.is_empty()))
    }

    fn enter_deleted(&mut self, item: &Item) -> Result<()> {
        if let Some(node) = self.read_only(item)? {
            self.enter(node.entries, Vec::new());
        }
        Ok(())
    }

    fn enter_added(&mut self, item: &Item) -> Result<()> {
        if let Some(node) = self.read_only(item)? {
            self.enter(Vec::new(), node.entries);
        }
        Ok(())
    }

    /// Reads a directory that only one tree has, where what is below is to be told.
    fn read_only(&mut self, item: &Item) -> Result<Option<Node>> {
        match (item, self.options.below) {
            (Item::Dir(subtree), Below::Listed) => self.read(subtree.id).map(Some),
            (Item::Dir(_), Below::Counted) | (Item::Leaf(_), _) => Ok(None),
        }
    }

    fn enter(&mut self, before: Vec<(Name, Item)>, after: Vec<(Name, Item)>) {
        self.way.push(Level::new(self.path.len(), before, after));
    }

    fn read(&mut self, id: TreeId) -> Result<Node> {
        self.watch.check()?;
        self.nodes_read += 1;
        self.nodes.node(&id)
    }
}
