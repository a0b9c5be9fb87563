//! Owns the sweep: deletes what a plan found dead, from the top down, each step durable before the next.
//!
//! Whoever stops half-way leaves garbage that is whole from the bottom up: no recipe without its contents, no record
//! of a file that is gone. An importer that finds a recipe may therefore rely on its contents. See `docs/gc.md`.

use rayon::prelude::*;

use super::plan::{Dead, Plan};
use super::report::Report;
use crate::error::Result;
use crate::store::Collector;
use crate::watch::Watch;

impl Plan<'_> {
    /// Deletes what is dead; returns what was done, which is what [`Plan::report`] said.
    ///
    /// Stopped or failed half-way, it leaves garbage that the next collection takes.
    pub fn sweep(self, watch: &dyn Watch) -> Result<Report> {
        let Self {
            collector,
            marks,
            dead,
            report,
        } = self;
        // Names need no more than the lock that this holds: they must not move to what is about to go.
        collector.store().change_names(|names| {
            marks.check_names(names)?;
            // First the index: it must never speak of a file that is gone.
            if marks.has_rows() {
                collector.retain_catalog(&marks)?;
            }
            watch.begin("sweeping", Some(dead.bytes()));
            let swept = sweep_files(&collector, &dead, watch);
            watch.end();
            swept
        })?;
        Ok(report)
    }
}

impl Dead {
    fn bytes(&self) -> u64 {
        let Self {
            blobs,
            recipes,
            objects,
            inodes,
        } = self;
        sum(blobs) + sum(recipes) + sum(objects) + sum(inodes)
    }
}

fn sum<I>(files: &[(I, u64)]) -> u64 {
    files.iter().map(|(_, bytes)| bytes).sum()
}

fn sweep_files(collector: &Collector<'_>, dead: &Dead, watch: &dyn Watch) -> Result<()> {
    let Dead {
        blobs,
        recipes,
        objects,
        inodes,
    } = dead;
    // A file system may make deletions durable in any order: what has to be gone first is synced first.
    if !blobs.is_empty() {
        delete_all(blobs, watch, |id| collector.delete_blob(id))?;
        collector.sync_below("blobs")?;
    }
    if !recipes.is_empty() {
        delete_all(recipes, watch, |id| collector.delete_recipe(id))?;
        collector.sync_below("layers")?;
    }
    if !objects.is_empty() {
        delete_all(objects, watch, |id| collector.delete_object(id))?;
        collector.sync_below("objects")?;
    }
    if !inodes.is_empty() {
        delete_all(inodes, watch, |id| collector.delete_inode(id))?;
        collector.sync_below("inodes")?;
    }
    Ok(())
}

fn delete_all<I: Sync>(
    files: &[(I, u64)],
    watch: &dyn Watch,
    delete: impl Fn(&I) -> Result<()> + Sync,
) -> Result<()> {
    files.par_iter().try_for_each(|(id, bytes)| {
        watch.check()?;
        delete(id)?;
        watch.advance(*bytes);
        Ok(())
    })
}
