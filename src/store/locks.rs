//! Owns the locks: who may read, add and delete, and who has to wait for whom.
//!
//! All are `flock`s, which the kernel frees when their holder dies: there is nothing to go stale.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Cause, Context, Error, Result, quoted};

/// What to do where a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wait {
    /// Wait for it.
    #[default]
    Forever,
    /// Fail at once, as `--no-wait` says.
    Never,
}

/// With whom a lock is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, whose file is made where it is missing.
    pub(crate) fn take(path: &Path, mode: Mode, wait: Wait) -> Result<Self> {
        let file = open(path)?;
        let operation = match (mode, wait) {
            (Mode::Shared, Wait::Forever) => FlockOperation::LockShared,
            (Mode::Shared, Wait::Never) => FlockOperation::NonBlockingLockShared,
            (Mode::Exclusive, Wait::Forever) => FlockOperation::LockExclusive,
            (Mode::Exclusive, Wait::Never) => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => {
                    let busy = Cause::Busy("another ocistore holds it".to_owned());
                    return Err(Error::new("lock", quoted(path), busy)
                        .hint("run it again later, or without --no-wait"));
                }
                Err(e) => return Err(e).context("lock", quoted(path)),
            }
        }
    }

    /// Takes the lock where nobody holds it.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        match Self::take(path, Mode::Exclusive, Wait::Never) {
            Ok(lock) => Ok(Some(lock)),
            Err(e) if matches!(e.cause(), Cause::Busy(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let create = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    match create {
        // A read-only store can still be read under a shared lock.
        Err(e) if e.raw_os_error() == Some(Errno::ROFS.raw_os_error()) => File::open(path),
        other => other,
    }
    .context("open the lock", quoted(path))
}
