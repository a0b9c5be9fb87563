//! Owns the disk that tests of crashes watch: it does what the host does, one operation at a time, and keeps a log.

use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::host::Host;
use super::{Access, Disk};
use crate::store::crash::log::{FileId, Log};

/// The folders that are watched now.
static WATCHED: Mutex<Vec<Arc<Recorder>>> = Mutex::new(Vec::new());

/// A kind of sync that a recorder keeps out of its log, as if the store had forgotten it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Omit {
    Nothing,
    /// Syncs of the whole file system.
    SyncAll,
    /// Syncs of folders.
    SyncFolder,
    /// Syncs of folders whose path below the store begins so.
    SyncFolderBelow(&'static str),
    /// Nothing, but syncs of such folders come late: when the names are about to be written.
    LateSyncBelow(&'static str),
    /// Syncs of single files.
    SyncFile,
    /// The catalog's own syncs.
    SyncCatalog,
}

/// Keeps a log of one folder.
#[derive(Debug)]
pub(crate) struct Recorder {
    root: PathBuf,
    omit: Omit,
    log: Mutex<Log>,
    late: Mutex<Vec<PathBuf>>,
}

/// Watches until it is dropped.
pub(crate) struct Watching(Arc<Recorder>);

impl Recorder {
    /// Begins to record what is done below `root`, by whatever thread.
    pub(crate) fn watch(root: &Path, omit: Omit) -> Watching {
        let recorder = Arc::new(Self {
            root: root.to_owned(),
            omit,
            log: Mutex::new(Log::begin(root)),
            late: Mutex::default(),
        });
        WATCHED.lock().unwrap().push(Arc::clone(&recorder));
        Watching(recorder)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// The log, after what was done past the seam came into it.
    fn fresh(&self) -> MutexGuard<'_, Log> {
        let mut log = self.log();
        log.discover();
        log
    }

    pub(crate) fn open_written(&self, path: &Path) -> FileId {
        self.fresh().open_written(path)
    }

    pub(crate) fn written(
        &self,
        write: impl FnOnce() -> io::Result<()>,
        note: impl FnOnce(&mut Log),
    ) -> io::Result<()> {
        let mut log = self.log();
        write()?;
        note(&mut log);
        Ok(())
    }

    pub(crate) fn sync_written(
        &self,
        file: FileId,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.written(sync, |log| {
            if self.omit != Omit::SyncCatalog {
                log.sync_written(file);
            }
        })
    }
}

impl Watching {
    /// Notes that a command said it had done its work.
    pub(crate) fn finished(&self) {
        self.0.fresh().finished();
    }

    /// Ends the log and returns it.
    pub(crate) fn end(self) -> Log {
        let mut log = self.0.fresh();
        log.look_at_all();
        std::mem::take(&mut *log)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        WATCHED
            .lock()
            .unwrap()
            .retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

/// Returns the recorder that watches `path`.
pub(crate) fn of(path: &Path) -> Option<Arc<Recorder>> {
    let watched = WATCHED.lock().unwrap();
    watched.iter().find(|r| path.starts_with(&r.root)).cloned()
}

/// Tells whether `path` is watched.
pub(crate) fn is_watched(path: &Path) -> bool {
    of(path).is_some()
}

/// The host's disk, watched or not.
pub(super) struct Watched(Option<Arc<Recorder>>);

impl Watched {
    pub(super) fn at(path: &Path) -> Self {
        Self(of(path))
    }

    /// Does `act` and then notes it, alone.
    fn record<T>(
        &self,
        before: impl FnOnce(&mut Log),
        act: impl FnOnce() -> io::Result<T>,
        note: impl FnOnce(&mut Log, &T),
    ) -> io::Result<T> {
        let Some(recorder) = &self.0 else {
            return act();
        };
        let mut log = recorder.fresh();
        before(&mut log);
        let done = act()?;
        note(&mut log, &done);
        Ok(done)
    }

    fn omit(&self) -> Omit {
        self.0.as_ref().map_or(Omit::Nothing, |r| r.omit)
    }
}

impl Disk for Watched {
    fn create(&self, path: &Path, access: Access) -> io::Result<File> {
        let act = || Host.create(path, access);
        let late = |log: &mut Log| {
            if path.ends_with("tmp/index.json")
                && let Some(recorder) = &self.0
            {
                let late = std::mem::take(&mut *recorder.late.lock().unwrap());
                late.iter().for_each(|folder| log.sync_folder(folder));
            }
        };
        self.record(late, act, |log, _| log.create(path))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let act = || Host.make_folder(path);
        self.record(|_| {}, act, |log, ()| log.make_folder(path))
    }

    fn make_own_folder(&self, parent: &Path, prefix: &str) -> io::Result<PathBuf> {
        let act = || Host.make_own_folder(parent, prefix);
        self.record(|_| {}, act, |log, made| log.make_folder(made))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = || Host.rename(from, to);
        self.record(|log| log.look_at(from), act, |log, ()| log.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = || Host.rename_new(from, to);
        self.record(|log| log.look_at(from), act, |log, ()| log.rename(from, to))
    }

    fn rename_folder(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = || Host.rename_folder(from, to);
        let note = |log: &mut Log, (): &()| log.rename_folder(from, to);
        self.record(|log| log.look_below(from), act, note)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let act = || Host.remove(path);
        self.record(|log| log.look_at(path), act, |log, ()| log.remove(path))
    }

    /// Each name goes by itself, as it does on a disk.
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        if self.0.is_none() {
            return Host.remove_folder(path);
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => self.remove_folder(&entry.path())?,
                false => self.remove(&entry.path())?,
            }
        }
        let act = || fs::remove_dir(path);
        self.record(|_| {}, act, |log, ()| log.remove(path))
    }

    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        let act = || Host.sync_file(file, path);
        let omit = self.omit() == Omit::SyncFile;
        self.record(
            |log| log.look_at(path),
            act,
            |log, ()| {
                if !omit {
                    log.sync_file(path);
                }
            },
        )
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let act = || Host.sync_folder(path);
        let below = |part: &str| path.components().any(|c| c.as_os_str() == part);
        let note = |log: &mut Log, (): &()| match self.omit() {
            Omit::SyncFolder => {}
            Omit::SyncFolderBelow(part) if below(part) => {}
            Omit::LateSyncBelow(part) if below(part) => {
                let late = self.0.as_ref().map(|recorder| &recorder.late);
                late.into_iter()
                    .for_each(|late| late.lock().unwrap().push(path.to_owned()));
            }
            _ => log.sync_folder(path),
        };
        self.record(|_| {}, act, note)
    }

    fn sync_all(&self, folder: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        let act = || Host.sync_all(folder, path);
        let omit = self.omit() == Omit::SyncAll;
        self.record(Log::look_at_all, act, |log, ()| {
            if !omit {
                log.sync_all();
            }
        })
    }
}
