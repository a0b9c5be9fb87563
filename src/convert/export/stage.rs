//! Owns the folder beside an export's destination that everything waits in until all of it is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::{Context, Result, quoted};
use crate::store::durable;

/// What such folders are called.
pub(super) const PREFIX: &str = ".ocistore-";

/// A folder for what is not there yet. It goes with whoever made it, in the worst case at the next export.
#[derive(Debug)]
pub(super) struct Stage {
    folder: TempDir,
    /// Held as long as the export lives, so that others can tell it from one that died.
    lock: File,
    next: AtomicU64,
}

impl Stage {
    /// Makes one in `place`, after removing those of exports that died.
    pub(super) fn new(place: &Path) -> Result<Self> {
        // Under this lock, so that nobody takes a stage for dead between its folder and its lock.
        let _starting = lock(place)?;
        sweep(place)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place);
        let folder = folder.context("make a folder in", quoted(place))?;
        let lock = lock(folder.path())?;
        Ok(Self {
            folder,
            lock,
            next: AtomicU64::new(0),
        })
    }

    /// Creates a file that others may read once it is in place.
    pub(super) fn create(&self, stem: &str) -> Result<(PathBuf, File)> {
        let name = format!("{stem}.{}", self.next.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.path().join(name);
        let file = durable::create_shared(&path)?;
        Ok((path, file))
    }

    /// Makes everything durable that was put into it, and what else the file system has to write.
    pub(super) fn sync(&self) -> Result<()> {
        durable::sync_all(&self.lock, self.path())
    }

    /// Returns the folder.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Locks a folder against other exports, until the file is dropped.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).context("open the folder", quoted(folder))?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => {
                other.context("lock the folder", quoted(folder))?;
                return Ok(file);
            }
        }
    }
}

fn sweep(place: &Path) -> Result<()> {
    for entry in fs::read_dir(place).context("read the folder", quoted(place))? {
        let entry = entry.context("read the folder", quoted(place))?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        // One that cannot be opened is another user's.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(&path).context("remove the folder", quoted(&path))?;
        }
    }
    Ok(())
}
