//! Owns `catalog.redb`, an index over the files: tree nodes, image records, chains, and what each object was given.
//! The one home of `redb`. Nothing in it is the truth: a lost or torn catalog is made again from the files.
//!
//! redb admits one process that writes, so the file is opened for one short transaction at a time, behind a gate of ours;
//! a long reading lets those pass who wait to write.

use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{
    AccessGuard, Database, DatabaseError, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase,
    ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction,
    backends::FileBackend,
};

use super::durable;
use super::inodes::Given;
use super::locks::{Gate, Lock, Mode};
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::{Cause, Context as _, Error, Result, quoted};
use crate::image::Image;
use crate::tree::Node;

const NODES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("nodes");
const IMAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("images");
const CHAINS: TableDefinition<'_, &[u8], [u8; 32]> = TableDefinition::new("chains");
const LAYERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("layers");
const LARGE: TableDefinition<'_, (u64, [u8; 32]), ()> = TableDefinition::new("large");
const OBJECTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("objects");

/// How much of the file redb may hold in memory.
const CACHE_BYTES: usize = 32 << 20;

/// How long a process that was killed may take to let go of its last lock.
const DYING: Duration = Duration::from_secs(10);

/// How often something happened, so that others can tell whether it did while they were at work.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// Counts the transactions that dropped rows of trees.
const SWEEPS: &str = "sweeps";

/// Counts the transactions that added rows of trees.
const COMMITS: &str = "commits";

/// How long a view keeps writers waiting before it lets them pass.
const SLICE: Duration = Duration::from_millis(5);

/// How many rows are read between two looks at who waits.
const STRIDE: usize = 1024;

/// Where the catalog is and the lock before it.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    gate: Gate,
}

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
struct Open {
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

/// A change of the catalog, all of it or nothing.
#[expect(
    missing_debug_implementations,
    reason = "redb's transactions have none"
)]
pub struct Change<'a> {
    transaction: &'a WriteTransaction,
    path: &'a Path,
}

impl Catalog {
    pub(crate) fn at(store: &Path) -> Self {
        Self {
            path: store.join("catalog.redb"),
            gate: Gate::at(store.join("locks/catalog")),
        }
    }

    /// Tells whether the file is there; a torn one is taken away first.
    pub(crate) fn exists(&self) -> Result<bool> {
        let there = self.path.try_exists();
        if !there.context("look at the catalog", quoted(&self.path))? {
            return Ok(false);
        }
        match guarded(&self.path, || self.open()?.look(&self.path)) {
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => self.remove_torn(),
            other => other.map(|()| true),
        }
    }

    /// Removes a torn catalog, unless somebody made it anew meanwhile; returns whether there is one.
    fn remove_torn(&self) -> Result<bool> {
        let _lock = self.gate.pass(Mode::Exclusive)?;
        if !self.path.exists() {
            return Ok(false);
        }
        let looked = guarded(&self.path, || {
            self.repair()?;
            self.open_tables(None)?.look(&self.path)
        });
        match looked {
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
                durable::remove(&self.path).map(|()| false)
            }
            other => other.map(|()| true),
        }
    }

    /// Makes a new catalog with what `fill` puts in, at `staged`, then puts it in place.
    pub(crate) fn create(
        &self,
        staged: &Path,
        fill: impl FnOnce(&Change<'_>) -> Result<()>,
    ) -> Result<()> {
        let _lock = self.gate.pass(Mode::Exclusive)?;
        if self.path.exists() {
            // Another process was faster, and others may have added to its catalog since.
            return Ok(());
        }
        self.put_new(staged, fill)
    }

    /// Makes a new catalog at `staged` and puts it in place, after `clear` has moved away what is there.
    pub(crate) fn replace<T>(
        &self,
        staged: &Path,
        clear: impl FnOnce() -> Result<T>,
        fill: impl FnOnce(&Change<'_>) -> Result<()>,
    ) -> Result<T> {
        // Whoever misses the file meanwhile waits for this lock before it makes another.
        let _lock = self.gate.pass(Mode::Exclusive)?;
        let cleared = clear()?;
        self.put_new(staged, |change| {
            // Whoever has read the old one has to tell: rows that it relies on may be gone.
            change.start_sweeps_anew()?;
            fill(change)
        })?;
        Ok(cleared)
    }

    fn put_new(&self, staged: &Path, fill: impl FnOnce(&Change<'_>) -> Result<()>) -> Result<()> {
        durable::remove(staged)?;
        let database = say(
            &self.path,
            new_database(durable::create_new(staged)?, staged),
        )?;
        self.write(&database, |change| {
            change.make_tables()?;
            fill(change).map(Some)
        })?;
        drop(database);
        durable::rename(staged, &self.path)?;
        durable::sync_parent(&self.path)
    }

    /// Reads.
    pub(crate) fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        read(&View {
            catalog: self.clone(),
            open: RwLock::new(Some(self.open()?)),
        })
    }

    /// Opens it for reading.
    fn open(&self) -> Result<Open> {
        loop {
            let lock = self.gate.pass(Mode::Shared)?;
            if let Some(open) = self.open_or_none(lock)? {
                return Ok(open);
            }
            // A catalog whose last writer died is repaired by opening it to write.
            let _alone = self.gate.pass(Mode::Exclusive)?;
            self.repair()?;
        }
    }

    /// Opens it for reading, or returns `None` where it has to be repaired first.
    fn open_or_none(&self, lock: Lock) -> Result<Option<Open>> {
        match patiently(|| builder().open_read_only(&self.path)) {
            Err(DatabaseError::RepairAborted) => Ok(None),
            other => {
                let database = say(&self.path, other)?;
                self.tables_of(database, Some(lock)).map(Some)
            }
        }
    }

    fn open_tables(&self, lock: Option<Lock>) -> Result<Open> {
        let database = say(
            &self.path,
            patiently(|| builder().open_read_only(&self.path)),
        )?;
        self.tables_of(database, lock)
    }

    fn tables_of(&self, database: ReadOnlyDatabase, lock: Option<Lock>) -> Result<Open> {
        let transaction = say(&self.path, database.begin_read())?;
        let open = || -> std::result::Result<Open, TableError> {
            Ok(Open {
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
        say(&self.path, open())
    }

    fn repair(&self) -> Result<()> {
        drop(say(&self.path, patiently(|| open_to_write(&self.path)))?);
        Ok(())
    }

    /// Writes in one transaction, which is durable when this returns.
    pub(crate) fn change<T>(&self, write: impl FnOnce(&Change<'_>) -> Result<T>) -> Result<T> {
        let done = self.change_if(|change| write(change).map(Some))?;
        done.ok_or_else(|| wrong(&self.path, "a change was left out"))
    }

    /// Writes in one transaction, unless `write` returns `None`: then nothing is changed.
    pub(crate) fn change_if<T>(
        &self,
        write: impl FnOnce(&Change<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let _lock = self.gate.pass(Mode::Exclusive)?;
        let database = say(&self.path, patiently(|| open_to_write(&self.path)))?;
        self.write(&database, write)
    }

    fn write<T>(
        &self,
        database: &Database,
        write: impl FnOnce(&Change<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let transaction = say(&self.path, database.begin_write())?;
        let done = write(&Change {
            transaction: &transaction,
            path: &self.path,
        })?;
        match done {
            Some(_) => say(&self.path, transaction.commit())?,
            None => say(&self.path, transaction.abort())?,
        }
        Ok(done)
    }
}

/// redb trusts what it reads: bytes that make no sense can end in a panic instead of an error.
fn guarded(path: &Path, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(act));
    done.unwrap_or_else(|_| Err(wrong(path, "it makes no sense")))
}

fn say<T, E: Into<redb::Error>>(path: &Path, result: std::result::Result<T, E>) -> Result<T> {
    result.map_err(|e| catalog_error(path, e.into()))
}

/// Opens a database under our own lock, as soon as redb's is free.
///
/// The locks of a process that is killed go one after another: ours may be free a moment before redb's.
fn patiently<T>(
    open: impl Fn() -> std::result::Result<T, DatabaseError>,
) -> std::result::Result<T, DatabaseError> {
    let begin = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if begin.elapsed() < DYING => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

#[cfg(not(test))]
fn new_database(file: File, _path: &Path) -> std::result::Result<Database, DatabaseError> {
    builder().create_with_backend(FileBackend::new(file)?)
}

/// In tests of crashes, what redb writes is recorded.
#[cfg(test)]
fn new_database(file: File, path: &Path) -> std::result::Result<Database, DatabaseError> {
    let backend = FileBackend::new(file)?;
    builder().create_with_backend(super::crash::backend::Recording::new(backend, path))
}

/// Opens the database that is there to write.
fn open_to_write(path: &Path) -> std::result::Result<Database, DatabaseError> {
    #[cfg(test)]
    if durable::recorder::is_watched(path) {
        let file = File::options().read(true).write(true).open(path)?;
        return new_database(file, path);
    }
    builder().open(path)
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Tells damage, which a rebuild mends, from what the system refused.
fn catalog_error(path: &Path, e: redb::Error) -> Error {
    let refused = |cause| Error::new("read the catalog", quoted(path), cause);
    match e {
        redb::Error::Io(e) if !is_torn(&e) => refused(Cause::Io(e)),
        redb::Error::DatabaseAlreadyOpen => {
            refused(Cause::Busy("another process has it open".to_owned()))
        }
        other => wrong(path, other),
    }
}

/// A file that ends too early is as torn as one with bytes that make no sense.
fn is_torn(e: &std::io::Error) -> bool {
    matches!(
        e.kind(),
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
    )
}

fn wrong(path: &Path, what: impl fmt::Display) -> Error {
    Error::damaged("read the catalog", quoted(path), what.to_string())
        .hint("remove the file: the next command makes it again, nothing is lost")
}

impl Open {
    /// Reads the first row of every table.
    fn look(&self, path: &Path) -> Result<()> {
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
        self.with(|open| {
            let row = self.say(open.objects.get(id.0))?;
            row.map(|row| Given::decode(row.value()))
                .transpose()
                .map_err(|e| self.wrong(format_args!("the object {id}: {e}")))
        })
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
        let nodes = self.dead_ids(|open| &open.nodes, |id| live.node(&TreeId(*id)))?;
        let objects = self.dead_ids(|open| &open.objects, |id| live.object(&ContentId(*id)))?;
        // Whoever stops between two batches leaves no row that leads to one which is gone.
        let trees = images.into_iter().map(TreeRow::Image);
        let trees = trees.chain(chains.map(TreeRow::Chain));
        let trees = trees.chain(layers.into_iter().map(TreeRow::Layer));
        let mut trees: Vec<TreeRow> = trees.filter(|row| !row.is_live(live)).collect();
        trees.extend(nodes.into_iter().map(|id| TreeRow::Node(TreeId(id))));
        Ok(DeadRows {
            objects: objects.into_iter().map(ContentId).collect(),
            trees,
        })
    }

    fn dead_ids(
        &self,
        table: fn(&Open) -> &ReadOnlyTable<[u8; 32], &'static [u8]>,
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
            let Some(last) = ids.last() else {
                return Ok(dead);
            };
            after = Some(*last);
            dead.extend(ids.into_iter().filter(|id| !is_live(id)));
        }
    }
}

/// A row that two byte strings make.
type Row<'a> = (
    AccessGuard<'a, &'static [u8]>,
    AccessGuard<'a, &'static [u8]>,
);

/// A row of an id.
type IdRow<'a> = (AccessGuard<'a, [u8; 32]>, AccessGuard<'a, &'static [u8]>);

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

/// Where a range begins that goes on after a row.
fn from(after: Option<[u8; 32]>) -> Bound<[u8; 32]> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

impl Change<'_> {
    fn say<T, E: Into<redb::Error>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(|e| catalog_error(self.path, e.into()))
    }

    fn make_tables(&self) -> Result<()> {
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
            if given.stat.size >= super::objects::LARGE {
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

    /// Counts on from a number that no catalog of this store has had.
    fn start_sweeps_anew(&self) -> Result<()> {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let now = since.map_or(0, |since| since.as_nanos());
        let mut table = self.say(self.transaction.open_table(COUNTERS))?;
        self.say(table.insert(SWEEPS, u64::try_from(now).unwrap_or(u64::MAX / 2)))?;
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

fn key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(65);
    crate::image::put_digest(&mut key, digest);
    key
}

fn unkey(key: &[u8]) -> Option<Digest> {
    let mut cursor = crate::codec::Cursor::new(key);
    let digest = crate::image::take_digest(&mut cursor).ok()?;
    cursor.end().ok()?;
    Some(digest)
}
