//! Owns the epochs: who reads or adds files holds the current one shared, so that a collector can tell when nobody is
//! left who may have seen what it moved to the trash. See `docs/gc.md`, "The protocol".

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::durable;
use super::locks::{self, Lock, Mode, Wait};
use crate::error::{Context, Result, quoted};

/// A hold on an epoch: what was in place when it began can be read until it ends.
#[derive(Debug)]
pub(crate) struct Epoch {
    number: u64,
    _lock: Option<Lock>,
}

impl Epoch {
    /// Enters the current epoch.
    pub(super) fn enter(folder: &Path) -> Result<Self> {
        loop {
            let Some(number) = current(folder)? else {
                begin(folder, 1)?;
                if current(folder)?.is_none() {
                    // A read-only file system: nobody can move anything away.
                    return Ok(Self {
                        number: 0,
                        _lock: None,
                    });
                }
                continue;
            };
            let lock = Lock::of_existing(&file(folder, number), Mode::Shared, Wait::Forever)?;
            // A collector may have begun the next one meanwhile, and may have found this one free.
            if lock.is_some() && current(folder)? == Some(number) {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
    }

    /// Returns its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// Which epochs are held by way of one open store.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<u64, usize>>);

/// One hold that is counted, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted<'s> {
    held: &'s Held,
    number: u64,
}

impl Held {
    /// Counts a hold on an epoch.
    pub(super) fn count(&self, number: u64) -> Counted<'_> {
        *self.numbers().entry(number).or_default() += 1;
        Counted { held: self, number }
    }

    /// Returns the oldest that is held, or 0: what went to the trash before it is not its holder's to see, since it may be
    /// unlinked at any time.
    pub(super) fn oldest(&self) -> u64 {
        self.numbers().keys().next().copied().unwrap_or(0)
    }

    /// A thread that panicked while holding it left it whole.
    fn numbers(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut numbers = self.held.numbers();
        if let Some(count) = numbers.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                numbers.remove(&self.number);
            }
        }
    }
}

/// Returns the highest epoch there is.
pub(super) fn current(folder: &Path) -> Result<Option<u64>> {
    Ok(numbers_in(folder)?.pop())
}

/// Makes the epoch `number`, which is the current one from then on; on a read-only file system there is none to make.
pub(super) fn begin(folder: &Path, number: u64) -> Result<()> {
    locks::open(&file(folder, number)).map(drop)
}

/// Ends all epochs before `next` that nobody holds, the oldest first; returns the first that is held.
pub(super) fn end_before(folder: &Path, next: u64) -> Result<Option<u64>> {
    for number in numbers_in(folder)? {
        if number >= next {
            break;
        }
        let path = file(folder, number);
        let Some(_free) = Lock::of_existing(&path, Mode::Exclusive, Wait::Never)? else {
            return Ok(Some(number));
        };
        durable::remove(&path)?;
    }
    Ok(None)
}

/// Holds all epochs alone, as long as what it returns lives: whoever wants to enter waits. `None` where somebody holds one.
pub(super) fn hold_all(folder: &Path) -> Result<Option<Vec<Lock>>> {
    let mut held = Vec::new();
    for number in numbers_in(folder)? {
        match Lock::of_existing(&file(folder, number), Mode::Exclusive, Wait::Never)? {
            Some(lock) => held.push(lock),
            None => return Ok(None),
        }
    }
    Ok(Some(held))
}

/// Returns the numbers that files or folders of `folder` are named by, in order; other names are nobody's.
pub(super) fn numbers_in(folder: &Path) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(numbers),
        other => other.context("read the folder", quoted(folder))?,
    };
    for entry in entries {
        let name = entry
            .context("read the folder", quoted(folder))?
            .file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        numbers.extend(number.filter(|number: &u64| name.to_str() == Some(&number.to_string())));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_is_held_is_not_ended_nor_any_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let first = Epoch::enter(folder).unwrap();
        begin(folder, 2).unwrap();
        let second = Epoch::enter(folder).unwrap();
        begin(folder, 3).unwrap();
        drop(second);
        assert_eq!(
            (first.number(), end_before(folder, 3).unwrap()),
            (1, Some(1))
        );
        assert_eq!(numbers_in(folder).unwrap(), [1, 2, 3]);
        drop(first);
        assert_eq!(end_before(folder, 3).unwrap(), None);
        assert_eq!(numbers_in(folder).unwrap(), [3]);
        assert_eq!(Epoch::enter(folder).unwrap().number(), 3);
    }
}
