//! Owns `catalog.redb`, an index over the files: tree nodes, image records, chains, and what each object was given.
//! The one home of `redb`. Nothing in it is the truth: a lost or torn catalog is made again from the files.
//!
//! redb admits one process, so the file is opened for one short transaction at a time, behind a lock of ours.

use std::fmt;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition, WriteTransaction, backends::FileBackend,
};

use super::durable;
use super::inodes::Given;
use super::locks::{Lock, Mode, Wait};
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::{Cause, Error, Result, quoted};
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

/// Where the catalog is and the lock before it.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    lock: PathBuf,
}

/// A view of the catalog at one moment.
#[expect(
    missing_debug_implementations,
    reason = "redb's transactions have none"
)]
pub struct View {
    transaction: ReadTransaction,
    path: PathBuf,
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
            lock: store.join("locks/catalog"),
        }
    }

    /// Tells whether the file is there; a torn one is taken away first.
    pub(crate) fn exists(&self) -> Result<bool> {
        if !self.path.exists() {
            return Ok(false);
        }
        // redb trusts what it reads: bytes that make no sense can end in a panic instead of an error.
        let looked = std::panic::catch_unwind(|| self.view(View::look));
        let torn = |_| Err(wrong(&self.path, "it makes no sense"));
        match looked.unwrap_or_else(torn) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
                durable::remove(&self.path)?;
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Makes a new catalog with what `fill` puts in, at `staged`, then puts it in place.
    pub(crate) fn create(
        &self,
        staged: &Path,
        fill: impl FnOnce(&Change<'_>) -> Result<()>,
    ) -> Result<()> {
        let _lock = Lock::take(&self.lock, Mode::Exclusive, Wait::Forever)?;
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
        let _lock = Lock::take(&self.lock, Mode::Exclusive, Wait::Forever)?;
        let cleared = clear()?;
        self.put_new(staged, fill)?;
        Ok(cleared)
    }

    fn put_new(&self, staged: &Path, fill: impl FnOnce(&Change<'_>) -> Result<()>) -> Result<()> {
        durable::remove(staged)?;
        let database = self.say(new_database(durable::create_new(staged)?))?;
        self.write(&database, |change| {
            change.make_tables()?;
            fill(change)
        })?;
        drop(database);
        durable::rename(staged, &self.path)?;
        durable::sync_parent(&self.path)
    }

    /// Reads in one transaction.
    pub(crate) fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let lock = Lock::take(&self.lock, Mode::Shared, Wait::Forever)?;
        let database = match builder().open_read_only(&self.path) {
            Err(DatabaseError::RepairAborted) => {
                drop(lock);
                return self.repair_and_view(read);
            }
            other => self.say(other)?,
        };
        self.read(&database, read)
    }

    /// A catalog whose last writer died is repaired by opening it to write.
    fn repair_and_view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let _lock = Lock::take(&self.lock, Mode::Exclusive, Wait::Forever)?;
        drop(self.say(builder().open(&self.path))?);
        let database: ReadOnlyDatabase = self.say(builder().open_read_only(&self.path))?;
        self.read(&database, read)
    }

    fn read<T>(
        &self,
        database: &ReadOnlyDatabase,
        read: impl FnOnce(&View) -> Result<T>,
    ) -> Result<T> {
        let transaction = self.say(database.begin_read())?;
        read(&View {
            transaction,
            path: self.path.clone(),
        })
    }

    /// Writes in one transaction, which is durable when this returns.
    pub(crate) fn change<T>(&self, write: impl FnOnce(&Change<'_>) -> Result<T>) -> Result<T> {
        let _lock = Lock::take(&self.lock, Mode::Exclusive, Wait::Forever)?;
        let database = self.say(builder().open(&self.path))?;
        self.write(&database, write)
    }

    fn write<T>(
        &self,
        database: &Database,
        write: impl FnOnce(&Change<'_>) -> Result<T>,
    ) -> Result<T> {
        let transaction = self.say(database.begin_write())?;
        let done = write(&Change {
            transaction: &transaction,
            path: &self.path,
        })?;
        self.say(transaction.commit())?;
        Ok(done)
    }

    fn say<T, E: Into<redb::Error>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(|e| catalog_error(&self.path, e.into()))
    }
}

fn new_database(file: std::fs::File) -> Result<Database, DatabaseError> {
    builder().create_with_backend(FileBackend::new(file)?)
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Tells damage, which a rebuild mends, from what the system refused.
fn catalog_error(path: &Path, e: redb::Error) -> Error {
    let cause = match e {
        redb::Error::Io(e) if !is_torn(&e) => Cause::Io(e),
        other => Cause::Damaged(other.to_string()),
    };
    Error::new("read the catalog", quoted(path), cause)
        .hint("remove the file: the next command makes it again, nothing is lost")
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

impl View {
    fn say<T, E: Into<redb::Error>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        result.map_err(|e| catalog_error(&self.path, e.into()))
    }

    /// Opens every table and reads its first row.
    fn look(&self) -> Result<()> {
        let nodes = self.say(self.transaction.open_table(NODES))?;
        self.say(nodes.first())?;
        let images = self.say(self.transaction.open_table(IMAGES))?;
        self.say(images.first())?;
        let chains = self.say(self.transaction.open_table(CHAINS))?;
        self.say(chains.first())?;
        let layers = self.say(self.transaction.open_table(LAYERS))?;
        self.say(layers.first())?;
        let large = self.say(self.transaction.open_table(LARGE))?;
        self.say(large.first())?;
        let objects = self.say(self.transaction.open_table(OBJECTS))?;
        self.say(objects.first())?;
        Ok(())
    }

    /// Returns the node of `id`, checked against it.
    pub fn node(&self, id: &TreeId) -> Result<Node> {
        let table = self.say(self.transaction.open_table(NODES))?;
        self.node_in(&table, id)
    }

    fn node_in(
        &self,
        table: &redb::ReadOnlyTable<[u8; 32], &'static [u8]>,
        id: &TreeId,
    ) -> Result<Node> {
        let row = self.say(table.get(id.0))?;
        let row =
            row.ok_or_else(|| wrong(&self.path, format_args!("tree node {id} is missing")))?;
        if TreeId::of(row.value()) != *id {
            return Err(wrong(
                &self.path,
                format_args!("tree node {id} is not what its name says"),
            ));
        }
        Node::decode(row.value())
            .map_err(|e| wrong(&self.path, format_args!("tree node {id}: {e}")))
    }

    /// Returns a reader of many nodes.
    pub fn nodes(&self) -> Result<Nodes<'_>> {
        Ok(Nodes {
            view: self,
            table: self.say(self.transaction.open_table(NODES))?,
        })
    }

    /// Returns the record of the image with this manifest.
    pub fn image(&self, manifest: &Digest) -> Result<Option<Image>> {
        let table = self.say(self.transaction.open_table(IMAGES))?;
        let row = self.say(table.get(key(manifest).as_slice()))?;
        row.map(|row| Image::decode(row.value()))
            .transpose()
            .map_err(|e| wrong(&self.path, format_args!("the image {manifest}: {e}")))
    }

    /// Returns the merged tree of a stack of layers, where it was computed before.
    pub fn chain(&self, chain: &ChainId) -> Result<Option<TreeId>> {
        let table = self.say(self.transaction.open_table(CHAINS))?;
        let row = self.say(table.get(key(&chain.0).as_slice()))?;
        Ok(row.map(|row| TreeId(row.value())))
    }

    /// Returns every chain.
    pub fn chains(&self) -> Result<Vec<(ChainId, TreeId)>> {
        let table = self.say(self.transaction.open_table(CHAINS))?;
        let mut chains = Vec::new();
        for row in self.say(table.iter())? {
            let (chain, root) = self.say(row)?;
            if let Some(digest) = unkey(chain.value()) {
                chains.push((ChainId(digest), TreeId(root.value())));
            }
        }
        Ok(chains)
    }

    /// Returns the diff_id that the blob of a layer was proved to have.
    pub fn layer(&self, blob: &Digest) -> Result<Option<DiffId>> {
        let table = self.say(self.transaction.open_table(LAYERS))?;
        let row = self.say(table.get(key(blob).as_slice()))?;
        Ok(row.and_then(|row| unkey(row.value())).map(DiffId))
    }

    /// Returns large contents of exactly this size, `most` of them at the most.
    pub fn large(&self, size: u64, most: usize) -> Result<Vec<ContentId>> {
        let table = self.say(self.transaction.open_table(LARGE))?;
        let mut found = Vec::new();
        for row in self
            .say(table.range((size, [0; 32])..=(size, [0xff; 32])))?
            .take(most)
        {
            let (key, _) = self.say(row)?;
            found.push(ContentId(key.value().1));
        }
        Ok(found)
    }

    /// Returns how many tree nodes there are.
    pub fn node_count(&self) -> Result<u64> {
        let table = self.say(self.transaction.open_table(NODES))?;
        self.say(table.len())
    }

    /// Returns a reader of many objects' records.
    pub fn givens(&self) -> Result<Givens<'_>> {
        Ok(Givens {
            view: self,
            table: self.say(self.transaction.open_table(OBJECTS))?,
        })
    }
}

/// Reads tree nodes from one view.
#[expect(missing_debug_implementations, reason = "redb's tables have none")]
pub struct Nodes<'a> {
    view: &'a View,
    table: redb::ReadOnlyTable<[u8; 32], &'static [u8]>,
}

impl Nodes<'_> {
    /// Returns the node of `id`, checked against it.
    pub fn get(&self, id: &TreeId) -> Result<Node> {
        self.view.node_in(&self.table, id)
    }

    /// Tells whether the node is there.
    pub fn has(&self, id: &TreeId) -> Result<bool> {
        Ok(self.view.say(self.table.get(id.0))?.is_some())
    }
}

/// Reads from one view which metadata objects were given.
#[expect(missing_debug_implementations, reason = "redb's tables have none")]
pub struct Givens<'a> {
    view: &'a View,
    table: redb::ReadOnlyTable<[u8; 32], &'static [u8]>,
}

impl Givens<'_> {
    /// Returns what the object of `id` was given.
    pub fn get(&self, id: &ContentId) -> Result<Option<Given>> {
        let row = self.view.say(self.table.get(id.0))?;
        row.map(|row| Given::decode(row.value()))
            .transpose()
            .map_err(|e| wrong(&self.view.path, format_args!("the object {id}: {e}")))
    }

    /// Calls `each` with every record.
    pub fn for_each(&self, mut each: impl FnMut(ContentId, Given) -> Result<()>) -> Result<()> {
        for row in self.view.say(self.table.iter())? {
            let (id, given) = self.view.say(row)?;
            let id = ContentId(id.value());
            let given = Given::decode(given.value())
                .map_err(|e| wrong(&self.view.path, format_args!("the object {id}: {e}")))?;
            each(id, given)?;
        }
        Ok(())
    }
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

    /// Drops every row that nothing live needs.
    pub fn retain(&self, live: &dyn Live) -> Result<()> {
        let mut nodes = self.say(self.transaction.open_table(NODES))?;
        self.say(nodes.retain(|id, _| live.node(&TreeId(id))))?;
        let mut images = self.say(self.transaction.open_table(IMAGES))?;
        self.say(images.retain(|id, _| unkey(id).is_some_and(|d| live.image(&d))))?;
        let mut chains = self.say(self.transaction.open_table(CHAINS))?;
        self.say(chains.retain(|id, _| unkey(id).is_some_and(|d| live.chain(&ChainId(d)))))?;
        let mut layers = self.say(self.transaction.open_table(LAYERS))?;
        self.say(layers.retain(|blob, _| unkey(blob).is_some_and(|d| live.layer(&d))))?;
        let mut large = self.say(self.transaction.open_table(LARGE))?;
        self.say(large.retain(|(_, id), ()| live.object(&ContentId(id))))?;
        let mut objects = self.say(self.transaction.open_table(OBJECTS))?;
        self.say(objects.retain(|id, _| live.object(&ContentId(id))))?;
        Ok(())
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
