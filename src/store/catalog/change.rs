//! Owns changing: `Change`, all of what is written in one transaction, and which rows a sweep may drop.

use std::path::Path;

use redb::{ReadableTable, WriteTransaction};

use super::say;
use super::tables::{
    CHAINS, COMMITS, COUNTERS, IMAGES, LARGE, LAYERS, NODES, OBJECTS, SWEEPS, key,
};
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::Result;
use crate::image::Image;
use crate::store::inodes::Given;
use crate::store::objects;

/// A change of the catalog, all of it or nothing.
#[expect(
    missing_debug_implementations,
    reason = "redb's transactions have none"
)]
pub struct Change<'a> {
    pub(super) transaction: &'a WriteTransaction,
    pub(super) path: &'a Path,
}

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

    /// Drops records of objects.
    pub fn drop_objects(&self, ids: &[ContentId]) -> Result<()> {
        let mut objects = self.say(self.transaction.open_table(OBJECTS))?;
        let mut large = self.say(self.transaction.open_table(LARGE))?;
        for id in ids {
            let Some(row) = self.say(objects.remove(id.0))? else {
                continue;
            };
            if let Ok(given) = Given::decode(row.value()) {
                self.say(large.remove((given.stat.size, id.0)))?;
            }
        }
        Ok(())
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
    /// Records of objects.
    pub objects: Vec<ContentId>,
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
