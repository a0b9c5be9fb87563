//! Checks that blobs which are not kept can be made again, by making them; and mends compression recipes: where the blob is
//! to be had, it is kept again, and the recipe goes to `lost+found/`.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::blobs::copy;
use super::offers::is_ours;
use super::{Mender, Open};
use crate::convert::assemble::assemble_layer;
use crate::convert::regenerate::regenerate;
use crate::digest::Digest;
use crate::error::{Cause, Error, Result};
use crate::store::Store;
use crate::store::lost::Stored;
use crate::store::reach::Reach;
use crate::watch::Watch;

/// A blob that cannot be made again: who needs it, and why not.
pub(super) type Wrong = (Digest, Vec<String>, String);

/// Makes all blobs of live layers that are not kept; returns those that cannot be.
pub(super) fn wrong(store: &Store, watch: &dyn Watch, jobs: NonZeroUsize) -> Result<Vec<Wrong>> {
    let reach = Reach::of_all(store)?;
    let mut blobs = Vec::new();
    for blob in reach.layers.keys() {
        if store.blob_size(blob)?.is_none() && store.has_stream(blob)? {
            blobs.push(*blob);
        }
    }
    let next = AtomicUsize::new(0);
    let found: Mutex<(Vec<Wrong>, Option<Error>)> = Mutex::default();
    let lock = || {
        found
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    };
    let work = || {
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            match make(store, blob, watch) {
                Ok(()) => {}
                Err(e) if matches!(e.cause(), Cause::Interrupted) => {
                    lock().1.get_or_insert(e);
                    return;
                }
                // What the system refuses, or is no file, makes no blob either.
                Err(e) => {
                    let names = names_of(&reach, blob);
                    lock().0.push((*blob, names, e.to_string()));
                }
            }
        }
    };
    // Threads of our own: each waits for the one that assembles its layer.
    std::thread::scope(|scope| {
        for _ in 0..jobs.get().min(blobs.len()) {
            scope.spawn(work);
        }
    });
    let (wrong, failed) = std::mem::take(&mut *lock());
    match failed {
        Some(e) => Err(e),
        None => Ok(wrong),
    }
}

impl Mender<'_> {
    /// Keeps the blobs again whose compression recipes are damaged, where they are to be had.
    pub(super) fn mend_streams(&mut self, open: &Open) -> Result<()> {
        for what in open.keys() {
            let Stored::Stream(blob) = what else { continue };
            let writer = self.store.write()?;
            if self.is_kept_whole(blob)? {
                let from = format!("the kept layer {blob}, which needs none");
                self.put_in_place(&writer, vec![(*what, from)], open)?;
                continue;
            }
            for offered in self.offers.blobs(blob)? {
                let stage = writer.stage_blob(blob)?;
                match copy(&mut offered.blob.reader(), stage) {
                    Ok(()) => {
                        self.put_in_place(&writer, vec![(*what, offered.from)], open)?;
                        break;
                    }
                    Err(e) if is_ours(&e) => return Err(e),
                    Err(e) => self.offers.refuse(&offered.from, blob, &e.to_string()),
                }
            }
        }
        Ok(())
    }
}

fn make(store: &Store, blob: &Digest, watch: &dyn Watch) -> Result<()> {
    let Some(recipe) = store.stream(blob)? else {
        return Ok(());
    };
    let tar = |to: &mut dyn std::io::Write| assemble_layer(store, &recipe.layer, to);
    regenerate(&recipe, tar, &mut std::io::sink(), watch)
}

fn names_of(reach: &Reach, blob: &Digest) -> Vec<String> {
    let having = reach.images.iter().filter(|(_, image)| {
        let mut layers = image.manifest.layers.iter();
        layers.any(|layer| layer.digest == *blob)
    });
    having.map(|(manifest, _)| manifest.to_string()).collect()
}
