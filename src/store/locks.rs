//! Owns the locks: who has to wait for whom, and for how long.
//!
//! All are `flock`s, which the kernel frees when their holder dies: there is nothing to go stale. Their order, so that
//! nobody waits in a circle: an epoch, `gc`, `publish`, `names`, `catalog`. See `docs/gc.md`, "The protocol".

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
    /// `None` on a read-only file system that lacks the file: nobody can change what it would guard.
    _file: Option<File>,
}

impl Lock {
    /// Takes the lock at `path`, whose file is made where it is missing.
    pub(crate) fn take(path: &Path, mode: Mode, wait: Wait) -> Result<Self> {
        let Some(file) = open(path)? else {
            return Ok(Self { _file: None });
        };
        let locked = Self::of_file(file, mode, wait).context("lock", quoted(path))?;
        locked.ok_or_else(|| {
            let busy = Cause::Busy("another ocistore holds it".to_owned());
            Error::new("lock", quoted(path), busy).hint("run it again later, or without --no-wait")
        })
    }

    /// Takes the lock where nobody holds it.
    pub(crate) fn try_take(path: &Path, mode: Mode) -> Result<Option<Self>> {
        let Some(file) = open(path)? else {
            return Ok(Some(Self { _file: None }));
        };
        Self::of_file(file, mode, Wait::Never).context("lock", quoted(path))
    }

    /// Takes the lock at `path`, or returns `None` where there is no such file or, told not to wait, where it is held.
    pub(crate) fn of_existing(path: &Path, mode: Mode, wait: Wait) -> Result<Option<Self>> {
        match File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("open the lock", quoted(path)),
            Ok(file) => Self::of_file(file, mode, wait).context("lock", quoted(path)),
        }
    }

    /// Locks an open file; `None` where somebody holds it and it is not to be waited for.
    pub(crate) fn of_file(file: File, mode: Mode, wait: Wait) -> rustix::io::Result<Option<Self>> {
        let operation = match (mode, wait) {
            (Mode::Shared, Wait::Forever) => FlockOperation::LockShared,
            (Mode::Shared, Wait::Never) => FlockOperation::NonBlockingLockShared,
            (Mode::Exclusive, Wait::Forever) => FlockOperation::LockExclusive,
            (Mode::Exclusive, Wait::Never) => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(Self { _file: Some(file) })),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }
}

/// A lock that many share for moments and some take alone: whoever comes waits in line, so that sharers who come and go
/// never keep one out for good. `flock` by itself lets every sharer pass.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    line: PathBuf,
    lock: PathBuf,
}

impl Gate {
    /// Returns the gate whose lock is at `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        let line = path.with_extension("line");
        Self { line, lock: path }
    }

    /// Waits in line, then for the lock. It is held for moments only: nobody waits long.
    pub(crate) fn pass(&self, mode: Mode) -> Result<Lock> {
        let _in_line = Lock::take(&self.line, Mode::Exclusive, Wait::Forever)?;
        Lock::take(&self.lock, mode, Wait::Forever)
    }

    /// Tells whether somebody stands in line.
    pub(crate) fn is_waited_for(&self) -> Result<bool> {
        Ok(Lock::try_take(&self.line, Mode::Exclusive)?.is_none())
    }
}

/// Opens or makes a lock's file; `None` where the file system is read-only and there is none.
///
/// All may read it, whoever made it: the store's folder keeps others out, but not root, who may collect in a user's store.
pub(super) fn open(path: &Path) -> Result<Option<File>> {
    let create = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path);
    let opened = match create.as_ref().map_err(Errno::from_io_error) {
        // A read-only store can still be read under a shared lock, and a lock takes no more than to read.
        Err(Some(Errno::ROFS)) => match File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other,
        },
        Err(Some(Errno::ACCESS)) => File::open(path).or(create),
        _ => create,
    };
    opened.map(Some).context("open the lock", quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_at_a_gate_keeps_later_ones_behind() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::at(dir.path().join("lock"));
        let first = gate.pass(Mode::Shared).unwrap();
        assert!(!gate.is_waited_for().unwrap());
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| gate.pass(Mode::Exclusive).unwrap());
            while !gate.is_waited_for().unwrap() {
                std::thread::yield_now();
            }
            // A sharer that came now would have to stand behind: the line is taken.
            assert!(
                Lock::try_take(&gate.line, Mode::Exclusive)
                    .unwrap()
                    .is_none()
            );
            drop(first);
            drop(alone.join().unwrap());
        });
        assert!(!gate.is_waited_for().unwrap());
    }
}
