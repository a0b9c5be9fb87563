//! Owns changing: `Change`, all of what is written in one transaction, and which rows a sweep may drop.

use std::ops::Bound;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{ReadableTable, WriteTransaction};

use super::say;
use super::tables::{
    CHAINS, COMMITS, COUNTERS, IMAGES, LARGE, LAYERS, NODES, OBJECTS, SWEEPS, from, key,
};
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::Result;
use crate::image::Image;
use crate::store::inodes::Given;
use crate::store::locks::Gate;
use crate::store::objects;

/// A change of the catalog, all of it or nothing.
#[expect(
    missing_debug_implementations,
    reason = "redb's transactions have none"
)]
pub struct Change<'a> {
    pub(super) transaction: &'a WriteTransaction,
    pub(super) path: &'a Path,
    pub(super) gate: &'a Gate,
}

/// How many rows are dropped between two looks at who waits.
const STRIDE: usize = 512;

/// How many rows one transaction drops at the most: what it writes has to reach the disk before anybody goes on.
const MOST: usize = 4 << 10;

/// How long a transaction drops rows though others wait.
const SLICE: Duration = Duration::from_millis(8);

impl Change<'_> {
    fn say<T, E: Into<redb::Error>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        say(self.path, result)
    }

    pub(super) fn make_tables(&self) -> Result<()> {
        self.say(self.transaction.open_table(NODES))?;
        self.say(self.transaction.open_table(IMAGES))?;
        self.say(self.transaction.open_table(CHAINS))?;
        self.say(self.transaction.open_table(LAYERS))?;
        self.say(self.transaction.open_table(LARGE))?;
        self.say(self.transaction.open_table(OBJECTS))?;
        self.say(self.transaction.open_table(COUNTERS))?;
        Ok(())
    }

    /// Adds tree nodes; sorted ones are written fastest.
    pub fn put_nodes<'n>(&self, nodes: impl Iterator<Item = (&'n TreeId, &'n [u8])>) -> Result<()> {
        let mut table = self.say(self.transaction.open_table(NODES))?;
        for (id, bytes) in nodes {
            self.say(table.insert(id.0, bytes))?;
        }
        Ok(())
    }

    /// Adds or replaces an image's record.
    pub fn put_image(&self, image: &Image) -> Result<()> {
        let mut table = self.say(self.transaction.open_table(IMAGES))?;
        self.say(table.insert(key(&image.manifest).as_slice(), image.encode().as_slice()))?;
        Ok(())
    }

    /// Remembers the merged tree of a stack of layers.
    pub fn put_chain(&self, chain: &ChainId, root: &TreeId) -> Result<()> {
        let mut table = self.say(self.transaction.open_table(CHAINS))?;
        self.say(table.insert(key(&chain.0).as_slice(), root.0))?;
        Ok(())
    }

    /// Remembers which tar the blob of a layer was proved to hold.
    pub fn put_layer(&self, blob: &Digest, layer: &DiffId) -> Result<()> {
        let mut table = self.say(self.transaction.open_table(LAYERS))?;
        self.say(table.insert(key(blob).as_slice(), key(&layer.0).as_slice()))?;
        Ok(())
    }

    /// Records what objects were given; sorted ones are written fastest.
    pub fn put_givens<'g>(
        &self,
        givens: impl Iterator<Item = (&'g ContentId, &'g Given)>,
    ) -> Result<()> {
        let mut table = self.say(self.transaction.open_table(OBJECTS))?;
        let mut large = self.say(self.transaction.open_table(LARGE))?;
        for (id, given) in givens {
            if given.stat.size >= objects::LARGE {
                self.say(large.insert((given.stat.size, id.0), ()))?;
            }
            self.say(table.insert(id.0, given.encode().as_slice()))?;
        }
        Ok(())
    }

    /// Returns how often rows of trees were dropped so far.
    pub fn sweeps(&self) -> Result<u64> {
        self.counter(SWEEPS)
    }

    /// Returns how often rows of trees were added so far.
    pub fn commits(&self) -> Result<u64> {
        self.counter(COMMITS)
    }

    /// Says that this adds rows of trees.
    pub fn count_commit(&self) -> Result<()> {
        self.count(COMMITS)
    }

    fn counter(&self, name: &str) -> Result<u64> {
        let table = self.say(self.transaction.open_table(COUNTERS))?;
        let row = self.say(table.get(name))?;
        Ok(row.map_or(0, |row| row.value()))
    }

    /// Counts on from numbers that no catalog of this store has had.
    pub(super) fn start_counters_anew(&self) -> Result<()> {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let now = since.map_or(0, |since| since.as_nanos());
        let mut table = self.say(self.transaction.open_table(COUNTERS))?;
        let now = u64::try_from(now).unwrap_or(u64::MAX / 2);
        self.say(table.insert(SWEEPS, now))?;
        self.say(table.insert(COMMITS, now))?;
        Ok(())
    }

    fn count(&self, name: &str) -> Result<()> {
        let next = self.counter(name)? + 1;
        let mut table = self.say(self.transaction.open_table(COUNTERS))?;
        self.say(table.insert(name, next))?;
        Ok(())
    }

    /// Drops records of dead objects, those after `after`: all of them, or some where others wait.
    ///
    /// Returns the last that was looked at, or `None` where that was the last there is.
    pub fn drop_objects(
        &self,
        mut after: Option<ContentId>,
        live: &dyn Live,
    ) -> Result<Option<ContentId>> {
        let mut objects = self.say(self.transaction.open_table(OBJECTS))?;
        let mut large = self.say(self.transaction.open_table(LARGE))?;
        let (begin, mut dropped) = (Instant::now(), 0);
        while !self.has_done_enough(begin, dropped)? {
            let mut some = Vec::with_capacity(STRIDE);
            let range = (from(after.map(|id| id.0)), Bound::Unbounded);
            for row in self.say(objects.range(range))?.take(STRIDE) {
                some.push(ContentId(self.say(row)?.0.value()));
            }
            let Some(last) = some.last() else {
                return Ok(None);
            };
            after = Some(*last);
            some.retain(|id| !live.object(id));
            for id in &some {
                let row = self.say(objects.remove(id.0))?;
                let given = row.and_then(|row| Given::decode(row.value()).ok());
                if let Some(given) = given.filter(|given| given.stat.size >= objects::LARGE) {
                    self.say(large.remove((given.stat.size, id.0)))?;
                }
            }
            dropped += some.len();
        }
        Ok(after)
    }

    /// Drops rows of trees, those that are not live: all of them, or some where others wait.
    ///
    /// Returns how many it went through.
    pub fn drop_dead_trees(&self, rows: &[TreeRow], live: &dyn Live) -> Result<usize> {
        let (begin, mut done) = (Instant::now(), 0);
        while done < rows.len() && !self.has_done_enough(begin, done)? {
            let some = &rows[done..rows.len().min(done + STRIDE)];
            let dead = some.iter().filter(|row| !row.is_live(live)).copied();
            self.drop_trees(&dead.collect::<Vec<TreeRow>>())?;
            done += some.len();
        }
        Ok(done)
    }

    /// Tells whether a transaction that drops rows should end: it is large, or keeps others waiting.
    fn has_done_enough(&self, begin: Instant, dropped: usize) -> Result<bool> {
        Ok(dropped >= MOST || begin.elapsed() >= SLICE && self.gate.is_waited_for()?)
    }

    /// Drops rows of trees, and counts that.
    pub fn drop_trees(&self, rows: &[TreeRow]) -> Result<()> {
        let mut images = self.say(self.transaction.open_table(IMAGES))?;
        let mut chains = self.say(self.transaction.open_table(CHAINS))?;
        let mut layers = self.say(self.transaction.open_table(LAYERS))?;
        let mut nodes = self.say(self.transaction.open_table(NODES))?;
        for row in rows {
            match row {
                TreeRow::Image(id) => drop(self.say(images.remove(key(id).as_slice()))?),
                TreeRow::Chain(id) => drop(self.say(chains.remove(key(&id.0).as_slice()))?),
                TreeRow::Layer(id) => drop(self.say(layers.remove(key(id).as_slice()))?),
                TreeRow::Node(id) => drop(self.say(nodes.remove(id.0))?),
            }
        }
        self.count(SWEEPS)
    }
}

/// Rows that nothing live needs.
#[derive(Clone, Debug, Default)]
pub struct DeadRows {
    /// Whether records of objects are among them.
    pub has_objects: bool,
    /// Rows of trees, those first that lead to others.
    pub trees: Vec<TreeRow>,
}

/// A row of a tree, or of what leads to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeRow {
    /// An image's record.
    Image(Digest),
    /// A stack of layers.
    Chain(ChainId),
    /// What is known of a layer's blob.
    Layer(Digest),
    /// A tree node.
    Node(TreeId),
}

impl TreeRow {
    /// Tells whether the row stays.
    pub fn is_live(&self, live: &dyn Live) -> bool {
        match self {
            Self::Image(id) => live.image(id),
            Self::Chain(id) => live.chain(id),
            Self::Layer(id) => live.layer(id),
            Self::Node(id) => live.node(id),
        }
    }
}

/// Tells a sweep of the catalog what has to stay.
pub trait Live {
    /// Whether a tree node stays.
    fn node(&self, id: &TreeId) -> bool;
    /// Whether an image's record stays.
    fn image(&self, manifest: &Digest) -> bool;
    /// Whether a chain stays.
    fn chain(&self, chain: &ChainId) -> bool;
    /// Whether what is known of a layer's blob stays.
    fn layer(&self, blob: &Digest) -> bool;
    /// Whether an object's record stays.
    fn object(&self, id: &ContentId) -> bool;
}
