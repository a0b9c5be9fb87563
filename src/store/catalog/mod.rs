//! Owns `catalog.redb`, an index over the files: tree nodes, image records, chains, and what each object was given.
//! The one home of `redb`. Nothing in it is the truth: a lost or torn catalog is made again from the files.
//!
//! redb admits one process that writes, so the file is opened for one short transaction at a time, behind a gate of ours;
//! a long reading lets those pass who wait to write. What is read and written is in `view` and `change`.

mod change;
mod tables;
mod view;

use std::fmt;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, backends::FileBackend};

pub use self::change::{Change, DeadRows, Live, TreeRow};
use self::view::Open;
pub use self::view::View;
use super::durable;
use super::locks::{Gate, Lock, Mode};
use crate::error::{Cause, Context as _, Error, Result, quoted};

/// How much of the file redb may hold in memory.
const CACHE_BYTES: usize = 32 << 20;

/// The longest catalog that is shrunk: nobody else reads or writes it meanwhile.
const SHRUNK_AT_MOST: u64 = 64 << 20;

/// How long a process that was killed may take to let go of its last lock.
const DYING: Duration = Duration::from_secs(10);

/// Where the catalog is and the lock before it.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    path: PathBuf,
    gate: Gate,
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
        self.put_new(staged, fill)?;
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
            // Whoever has read one that was lost or replaced has to tell: rows that it relies on may be gone.
            change.start_counters_anew()?;
            fill(change).map(Some)
        })?;
        drop(database);
        durable::rename(staged, &self.path)?;
        durable::sync_parent(&self.path)
    }

    /// Reads.
    pub(crate) fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        read(&View::of(self, self.open()?))
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
                Open::tables_of(&self.path, database, Some(lock)).map(Some)
            }
        }
    }

    fn open_tables(&self, lock: Option<Lock>) -> Result<Open> {
        let database = say(
            &self.path,
            patiently(|| builder().open_read_only(&self.path)),
        )?;
        Open::tables_of(&self.path, database, lock)
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

    /// Gives unused pages back to the file system, where the file is small enough for nobody to wait for long.
    pub(crate) fn shrink(&self) -> Result<()> {
        let _lock = self.gate.pass(Mode::Exclusive)?;
        let len = std::fs::metadata(&self.path).context("look at", quoted(&self.path))?;
        if len.len() > SHRUNK_AT_MOST {
            return Ok(());
        }
        let mut database = say(&self.path, patiently(|| open_to_write(&self.path)))?;
        say(&self.path, database.compact()).map(drop)
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
            gate: &self.gate,
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
