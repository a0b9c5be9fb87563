//! Owns claims: what a commit under way is about to name, so that no collector takes it meanwhile.
//!
//! A claim is a file `locks/claim-…` with the descriptors of the roots, locked as long as its maker lives. To a
//! collection under way every claim counts, done or dead ones too; the next one takes those away.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::locks::{Lock, Mode, Wait};
use super::{Store, durable};
use crate::error::{Context, Error, Result, quoted};
use crate::json::strict_json;
use crate::wire::Descriptor;

/// How the files of claims begin.
const PREFIX: &str = "claim-";

/// Tells that a collector is at work.
pub(super) const COLLECTING: &str = "locks/collecting";

/// A claim on everything that some roots lead to.
#[derive(Debug)]
pub(crate) struct Claim<'s> {
    store: &'s Store,
    path: PathBuf,
    _lock: Lock,
}

impl<'s> Claim<'s> {
    /// Claims what `roots` lead to: no batch that a collector begins after this moves any of it.
    pub(super) fn make(store: &'s Store, roots: &[Descriptor]) -> Result<Self> {
        // No collector looks while this is held, so that none sees a claim without its lock or without its content.
        let _nobody_looks = store.publishing(Mode::Shared)?;
        let tmp = store.path("tmp");
        let made = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&tmp);
        let kept = made.and_then(|file| file.keep().map_err(|e| e.error));
        let (mut file, staged) = kept.context("make a file in", quoted(&tmp))?;
        let list = roots.iter().map(|root| Value::Object(root.raw.clone()));
        let bytes = Value::Array(list.collect()).to_string();
        file.write_all(bytes.as_bytes())
            .context("write", quoted(&staged))?;
        let lock = Lock::of_file(file, Mode::Exclusive, Wait::Forever);
        let Some(lock) = lock.context("lock", quoted(&staged))? else {
            return Err(Error::failed("lock", quoted(&staged), "it is held"));
        };
        let path = store
            .path("locks")
            .join(staged.file_name().unwrap_or_default());
        durable::rename(&staged, &path)?;
        Ok(Self {
            store,
            path,
            _lock: lock,
        })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // To a collection under way, what was claimed during it stays claimed: a name may come and go between two of its
        // looks while a reader needs what it led to. A claim that stays behind goes with the next collection.
        let collecting = self.store.path(COLLECTING);
        if let Ok(Some(_nobody_collects)) = Lock::try_take(&collecting, Mode::Shared) {
            durable::remove(&self.path).ok();
        }
    }
}

/// Returns the claims there are, by their names.
pub(super) fn names(store: &Store) -> Result<BTreeSet<String>> {
    let folder = store.path("locks");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&folder).context("read the folder", quoted(&folder))? {
        let name = entry
            .context("read the folder", quoted(&folder))?
            .file_name();
        let name = name.to_str().filter(|name| name.starts_with(PREFIX));
        found.extend(name.map(str::to_owned));
    }
    Ok(found)
}

/// Returns the roots that a claim names; none where it is gone by now: then its names, if any, are there.
pub(super) fn roots(store: &Store, name: &str) -> Result<Vec<Descriptor>> {
    let path = store.path("locks").join(name);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context("read the claim", quoted(&path))?,
    };
    let damaged = |why: String| Error::damaged("read the claim", quoted(&path), why);
    let Ok(Value::Array(list)) = strict_json(&bytes) else {
        return Err(damaged("it is not a list".to_owned()));
    };
    let read = |value| Descriptor::from_value(value).map_err(|e| damaged(e.to_string()));
    list.iter().map(read).collect()
}

/// Removes the claims that nobody holds, and what claims that were never made left in `tmp/`.
pub(super) fn remove_dead(store: &Store) -> Result<()> {
    let _nobody_claims = store.publishing(Mode::Exclusive)?;
    let remove_free = |path: &Path| match Lock::of_existing(path, Mode::Exclusive, Wait::Never)? {
        Some(_dead) => durable::remove(path),
        None => Ok(()),
    };
    for name in names(store)? {
        remove_free(&store.path("locks").join(name))?;
    }
    let tmp = store.path("tmp");
    for entry in fs::read_dir(&tmp).context("read the folder", quoted(&tmp))? {
        let entry = entry.context("read the folder", quoted(&tmp))?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}
