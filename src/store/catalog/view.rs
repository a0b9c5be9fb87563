//! Owns reading: `View`, what is asked of the catalog, and `Open`, how long it keeps others waiting.

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{
    AccessGuard, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableError,
};

use super::change::{DeadRows, Live, TreeRow};
use super::tables::{
    CHAINS, COMMITS, COUNTERS, IMAGES, LARGE, LAYERS, NODES, OBJECTS, SWEEPS, from, key, unkey,
};
use super::{Catalog, say, wrong};
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::store::inodes::Given;
use crate::store::locks::{Gate, Lock};
use crate::tree::{Node, Nodes};

/// How long a view keeps writers waiting before it lets them pass.
const SLICE: Duration = Duration::from_millis(5);

/// How many rows are read between two looks at who waits.
const STRIDE: usize = 1024;

/// A view of the catalog.
///
/// It shows one moment, unless somebody waits to write: then it lets them pass every few milliseconds, and shows another
/// moment after. Rows are facts that stay as they are, and what an image needs is not dropped as long as an epoch is held
/// that began while something named it.
#[expect(missing_debug_implementations, reason = "redb's tables have none")]
pub struct View {
    catalog: Catalog,
    open: RwLock<Option<Open>>,
}

/// The catalog, open for reading. Fields are dropped in this order: the lock goes last.
pub(super) struct Open {
    nodes: ReadOnlyTable<[u8; 32], &'static [u8]>,
    images: ReadOnlyTable<&'static [u8], &'static [u8]>,
    chains: ReadOnlyTable<&'static [u8], [u8; 32]>,
    layers: ReadOnlyTable<&'static [u8], &'static [u8]>,
    large: ReadOnlyTable<(u64, [u8; 32]), ()>,
    objects: ReadOnlyTable<[u8; 32], &'static [u8]>,
    counters: ReadOnlyTable<&'static str, u64>,
    _database: ReadOnlyDatabase,
    lock: Option<Lock>,
    /// When it was last looked whether somebody waits, in microseconds since it was opened.
    looked: AtomicU64,
    since: Instant,
}

impl Open {
    /// Opens the tables of a database; `lock` is let go of when they are closed.
    pub(super) fn tables_of(
        path: &Path,
        database: ReadOnlyDatabase,
        lock: Option<Lock>,
    ) -> Result<Self> {
        let transaction = say(path, database.begin_read())?;
        let open = || -> std::result::Result<Self, TableError> {
            Ok(Self {
                nodes: transaction.open_table(NODES)?,
                images: transaction.open_table(IMAGES)?,
                chains: transaction.open_table(CHAINS)?,
                layers: transaction.open_table(LAYERS)?,
                large: transaction.open_table(LARGE)?,
                objects: transaction.open_table(OBJECTS)?,
                counters: transaction.open_table(COUNTERS)?,
                _database: database,
                lock,
                looked: AtomicU64::new(0),
                since: Instant::now(),
            })
        };
        say(path, open())
    }

    /// Reads the first row of every table.
    pub(super) fn look(&self, path: &Path) -> Result<()> {
        say(path, self.nodes.first())?;
        say(path, self.images.first())?;
        say(path, self.chains.first())?;
        say(path, self.layers.first())?;
        say(path, self.large.first())?;
        say(path, self.objects.first())?;
        say(path, self.counters.first())?;
        Ok(())
    }

    /// Tells whether it was open for its slice of time and somebody waits to write.
    fn is_in_the_way(&self, gate: &Gate) -> Result<bool> {
        let now = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Relaxed);
        if u128::from(now - looked.min(now)) < SLICE.as_micros() {
            return Ok(false);
        }
        self.looked.store(now, Ordering::Relaxed);
        match self.lock {
            Some(_) => gate.is_waited_for(),
            None => Ok(false),
        }
    }
}

impl View {
    pub(super) fn of(catalog: &Catalog, open: Open) -> Self {
        Self {
            catalog: catalog.clone(),
            open: RwLock::new(Some(open)),
        }
    }

    /// Reads something. `read` must not come back here: who waits for the view to let a writer pass would wait for it.
    fn with<T>(&self, read: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        let gate = &self.catalog.gate;
        loop {
            let held = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = &*held
                && !open.is_in_the_way(gate)?
            {
                return read(open);
            }
            drop(held);
            let mut held = self.open.write().unwrap_or_else(PoisonError::into_inner);
            // Closed before it is waited for: who stands in line waits for this.
            *held = None;
            *held = Some(self.catalog.open()?);
        }
    }

    fn say<T, E: Into<redb::Error>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        say(&self.catalog.path, result)
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        wrong(&self.catalog.path, what)
    }

    /// Lets go of the catalog until it is asked again: before work that asks it nothing for a while.
    pub fn rest(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the node of `id`, checked against it.
    pub fn node(&self, id: &TreeId) -> Result<Node> {
        self.with(|open| {
            let row = self.say(open.nodes.get(id.0))?;
            let row = row.ok_or_else(|| self.wrong(format_args!("tree node {id} is missing")))?;
            if TreeId::of(row.value()) != *id {
                return Err(self.wrong(format_args!("tree node {id} is not what its name says")));
            }
            Node::decode(row.value()).map_err(|e| self.wrong(format_args!("tree node {id}: {e}")))
        })
    }

    /// Tells whether the node is there.
    pub fn has_node(&self, id: &TreeId) -> Result<bool> {
        self.with(|open| Ok(self.say(open.nodes.get(id.0))?.is_some()))
    }

    /// Returns the record of the image with this manifest.
    pub fn image(&self, manifest: &Digest) -> Result<Option<Image>> {
        self.with(|open| {
            let row = self.say(open.images.get(key(manifest).as_slice()))?;
            row.map(|row| Image::decode(row.value()))
                .transpose()
                .map_err(|e| self.wrong(format_args!("the image {manifest}: {e}")))
        })
    }

    /// Returns the merged tree of a stack of layers, where it was computed before.
    pub fn chain(&self, chain: &ChainId) -> Result<Option<TreeId>> {
        self.with(|open| {
            let row = self.say(open.chains.get(key(&chain.0).as_slice()))?;
            Ok(row.map(|row| TreeId(row.value())))
        })
    }

    /// Returns every chain.
    pub fn chains(&self) -> Result<Vec<(ChainId, TreeId)>> {
        self.with(|open| {
            let mut chains = Vec::new();
            for row in self.say(open.chains.iter())? {
                let (chain, root) = self.say(row)?;
                if let Some(digest) = unkey(chain.value()) {
                    chains.push((ChainId(digest), TreeId(root.value())));
                }
            }
            Ok(chains)
        })
    }

    /// Returns the diff_id that the blob of a layer was proved to have.
    pub fn layer(&self, blob: &Digest) -> Result<Option<DiffId>> {
        self.with(|open| {
            let row = self.say(open.layers.get(key(blob).as_slice()))?;
            Ok(row.and_then(|row| unkey(row.value())).map(DiffId))
        })
    }

    /// Returns large contents of exactly this size, `most` of them at the most.
    pub fn large(&self, size: u64, most: usize) -> Result<Vec<ContentId>> {
        self.with(|open| {
            let rows = self.say(open.large.range((size, [0; 32])..=(size, [0xff; 32])))?;
            let mut found = Vec::new();
            for row in rows.take(most) {
                found.push(ContentId(self.say(row)?.0.value().1));
            }
            Ok(found)
        })
    }

    /// Returns how many tree nodes there are.
    pub fn node_count(&self) -> Result<u64> {
        self.with(|open| self.say(open.nodes.len()))
    }

    /// Returns how often rows of trees were dropped so far: what was read is still there as long as this is the same.
    pub fn sweeps(&self) -> Result<u64> {
        self.counter(SWEEPS)
    }

    /// Returns how often rows of trees were added so far.
    pub fn commits(&self) -> Result<u64> {
        self.counter(COMMITS)
    }

    fn counter(&self, name: &str) -> Result<u64> {
        self.with(|open| {
            Ok(self
                .say(open.counters.get(name))?
                .map_or(0, |row| row.value()))
        })
    }

    /// Returns what the object of `id` was given.
    pub fn given(&self, id: &ContentId) -> Result<Option<Given>> {
        self.with(|open| self.read_given(open, id))
    }

    /// Returns what the objects of many contents were given, in their order.
    pub fn givens(&self, ids: &[ContentId]) -> Result<Vec<Option<Given>>> {
        let mut givens = Vec::with_capacity(ids.len());
        for some in ids.chunks(STRIDE) {
            self.with(|open| {
                for id in some {
                    givens.push(self.read_given(open, id)?);
                }
                Ok(())
            })?;
        }
        Ok(givens)
    }

    fn read_given(&self, open: &Open, id: &ContentId) -> Result<Option<Given>> {
        let row = self.say(open.objects.get(id.0))?;
        row.map(|row| Given::decode(row.value()))
            .transpose()
            .map_err(|e| self.wrong(format_args!("the object {id}: {e}")))
    }

    /// Calls `each` with every record of what an object was given, in order.
    pub fn for_each_given(
        &self,
        mut each: impl FnMut(ContentId, Given) -> Result<()>,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let rows = self.givens_after(after)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.0);
            for (id, given) in rows {
                each(id, given)?;
            }
        }
    }

    fn givens_after(&self, after: Option<[u8; 32]>) -> Result<Vec<(ContentId, Given)>> {
        self.with(|open| {
            let mut found = Vec::new();
            for row in self
                .say(open.objects.range((from(after), Bound::Unbounded)))?
                .take(STRIDE)
            {
                let (id, given) = self.say(row)?;
                let id = ContentId(id.value());
                let given = Given::decode(given.value())
                    .map_err(|e| self.wrong(format_args!("the object {id}: {e}")))?;
                found.push((id, given));
            }
            Ok(found)
        })
    }

    /// Returns the rows that nothing live needs.
    pub fn dead_rows(&self, live: &dyn Live) -> Result<DeadRows> {
        let digests = |table: fn(&Open) -> &ReadOnlyTable<&'static [u8], &'static [u8]>| {
            self.with(|open| {
                let rows = self.say(table(open).iter())?;
                let key = |row: std::result::Result<Row<'_>, redb::StorageError>| {
                    Ok(unkey(self.say(row)?.0.value()))
                };
                rows.filter_map(|row| key(row).transpose())
                    .collect::<Result<Vec<Digest>>>()
            })
        };
        let images = digests(|open| &open.images)?;
        let layers = digests(|open| &open.layers)?;
        let chains = self.chains()?.into_iter().map(|(id, _)| id);
        let nodes = self.dead_ids(|open| &open.nodes, usize::MAX, |id| live.node(&TreeId(*id)))?;
        let objects = self.dead_ids(|open| &open.objects, 1, |id| live.object(&ContentId(*id)))?;
        // Whoever stops between two batches leaves no row that leads to one which is gone.
        let trees = images.into_iter().map(TreeRow::Image);
        let trees = trees.chain(chains.map(TreeRow::Chain));
        let trees = trees.chain(layers.into_iter().map(TreeRow::Layer));
        let mut trees: Vec<TreeRow> = trees.filter(|row| !row.is_live(live)).collect();
        trees.extend(nodes.into_iter().map(|id| TreeRow::Node(TreeId(id))));
        Ok(DeadRows {
            has_objects: !objects.is_empty(),
            trees,
        })
    }

    /// Returns the ids of dead rows; it looks for no more once it has so many.
    fn dead_ids(
        &self,
        table: fn(&Open) -> &ReadOnlyTable<[u8; 32], &'static [u8]>,
        enough: usize,
        is_live: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Vec<[u8; 32]>> {
        let mut dead = Vec::new();
        let mut after = None;
        loop {
            let ids = self.with(|open| {
                let rows = self.say(table(open).range((from(after), Bound::Unbounded)))?;
                let id = |row: std::result::Result<IdRow<'_>, redb::StorageError>| {
                    Ok(self.say(row)?.0.value())
                };
                rows.take(STRIDE).map(id).collect::<Result<Vec<[u8; 32]>>>()
            })?;
            let Some(last) = ids.last().filter(|_| dead.len() < enough) else {
                return Ok(dead);
            };
            after = Some(*last);
            dead.extend(ids.into_iter().filter(|id| !is_live(id)));
        }
    }
}

impl Nodes for View {
    fn node(&self, id: &TreeId) -> Result<Node> {
        self.node(id)
    }
}

/// A row that two byte strings make.
type Row<'a> = (
    AccessGuard<'a, &'static [u8]>,
    AccessGuard<'a, &'static [u8]>,
);

/// A row of an id.
type IdRow<'a> = (AccessGuard<'a, [u8; 32]>, AccessGuard<'a, &'static [u8]>);
