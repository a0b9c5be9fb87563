//! Owns the sweep: moves to the trash what a plan found dead, in short batches from the top down, and unlinks it once
//! nobody is left who may need it. Others commit between any two batches; what they claim or name is marked first.
//!
//! Whoever stops half-way leaves garbage that is whole from the bottom up: no recipe without its contents, no record
//! of a file that is gone. An importer that finds a recipe may therefore rely on its contents. See `docs/gc.md`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::mark::Marks;
use super::plan::{Dead, Plan};
use super::report::{Report, Size, Tally};
use crate::digest::ContentId;
use crate::error::Result;
use crate::store::catalog::{DeadRows, Live as _, TreeRow};
use crate::store::trash::Unlinked;
use crate::store::{Collector, paths};
use crate::watch::Watch;

/// How long one batch may keep others waiting.
const GOAL: Duration = Duration::from_millis(8);

/// How long those who wait to enter get between two batches that keep them out.
const PAUSE: Duration = Duration::from_micros(300);

/// How many rows one batch has at the most.
const MOST: usize = 4096;

/// How often a transaction is tried that others come before.
const TRIES: u32 = 64;

impl Plan<'_> {
    /// Deletes what is dead; returns what was done.
    ///
    /// Waits up to `patience` for commands that began before, since they may need what is in the trash; after that it is
    /// left to the next collection. Stopped or failed half-way, the sweep leaves garbage that the next one takes.
    pub fn sweep(self, patience: Duration, watch: &dyn Watch) -> Result<Report> {
        let Self {
            collector,
            marks,
            dead,
            mut report,
        } = self;
        report.freed = Size::default();
        report.held_by_checkouts = Size::default();
        report.count_unlinked(collector.earlier());
        watch.begin("sweeping", Some(dead.bytes()));
        let mut sweep = Sweep {
            collector: &collector,
            marks,
            report,
            epoch: 0,
            watch,
        };
        let swept = sweep.run(&dead, patience);
        watch.end();
        swept.map(|()| sweep.report)
    }
}

impl Dead {
    fn bytes(&self) -> u64 {
        let Self {
            documents,
            blobs,
            recipes,
            objects,
            inodes,
        } = self;
        sum(documents) + sum(blobs) + sum(recipes) + sum(objects) + sum(inodes)
    }
}

fn sum<I>(files: &[(I, u64)]) -> u64 {
    files.iter().map(|(_, bytes)| bytes).sum()
}

struct Sweep<'a> {
    collector: &'a Collector<'a>,
    marks: Marks,
    report: Report,
    /// The epoch that the trash is of.
    epoch: u64,
    watch: &'a dyn Watch,
}

/// What a kind of file is to a sweep.
struct Kind<I> {
    below: fn(&I) -> PathBuf,
    is_live: fn(&Marks, &I) -> bool,
    tally: fn(&mut Report) -> &mut Tally,
}

impl Sweep<'_> {
    fn run(&mut self, dead: &Dead, patience: Duration) -> Result<()> {
        let rows = self.dead_rows()?;
        let nothing = self.report.is_clean() && rows.objects.is_empty() && rows.trees.is_empty();
        if nothing && self.collector.store().trash()?.is_empty() {
            return Ok(());
        }
        self.epoch = self.collector.open_trash()?;
        // First the index: it must never speak of a file that is gone.
        self.drop_objects(&rows.objects)?;
        self.discard_all(dead)?;
        self.collector.begin_epoch()?;
        if self.collector.wait_for_others(patience, self.watch)? {
            // What readers found before is theirs until they leave: now nobody is left who has found any of these.
            self.drop_trees(&rows.trees)?;
        }
        self.report.count_unlinked(self.collector.free()?);
        self.report.count_trash(self.collector.in_trash()?);
        Ok(())
    }

    fn dead_rows(&self) -> Result<DeadRows> {
        match self.marks.has_rows() {
            true => self
                .collector
                .store()
                .view(|view| view.dead_rows(&self.marks)),
            false => Ok(DeadRows::default()),
        }
    }

    fn drop_objects(&mut self, dead: &[ContentId]) -> Result<()> {
        let mut pace = Pace::of_rows();
        let (mut left, mut tries) = (dead, 0);
        while !left.is_empty() {
            self.watch.check()?;
            let (batch, rest) = left.split_at(pace.most.min(left.len()));
            let (collector, marks) = (self.collector, &mut self.marks);
            let mut begin = Instant::now();
            let done = collector.store().change_catalog_if(|change| {
                // Looked at inside: whoever commits claims first, and writes its rows after.
                begin = Instant::now();
                // A live object without a record does no harm: in the end this goes on with what is marked.
                if !marks.are_complete(collector)? && tries < TRIES {
                    return Ok(None);
                }
                let mut batch = batch.to_vec();
                batch.retain(|id| !marks.object(id));
                change.drop_objects(&batch).map(Some)
            })?;
            match done {
                Some(()) => (left, tries) = (rest, 0),
                None => tries += 1,
            }
            pace.took(begin.elapsed());
            self.catch_up()?;
        }
        Ok(())
    }

    /// Marks what came meanwhile, while others go on.
    fn catch_up(&mut self) -> Result<()> {
        self.marks.catch_up(self.collector.store(), self.watch)
    }

    /// Moves all files away. A file system may make that durable in any order: what has to be gone first is synced first.
    fn discard_all(&mut self, dead: &Dead) -> Result<()> {
        let blobs = |tally| Kind {
            below: paths::blob,
            is_live: Marks::has_blob,
            tally,
        };
        self.discard(&dead.documents, &blobs(|report| &mut report.documents))?;
        self.discard(&dead.blobs, &blobs(|report| &mut report.blobs))?;
        if !(dead.documents.is_empty() && dead.blobs.is_empty()) {
            self.collector.sync_below("blobs")?;
        }
        let recipes = Kind {
            below: paths::recipe,
            is_live: Marks::has_layer,
            tally: |report| &mut report.recipes,
        };
        self.discard(&dead.recipes, &recipes)?;
        if !dead.recipes.is_empty() {
            self.collector.sync_below("layers")?;
        }
        let objects = Kind {
            below: paths::object,
            is_live: Marks::has_content,
            tally: |report| &mut report.objects,
        };
        self.discard(&dead.objects, &objects)?;
        let inodes = Kind {
            below: paths::inode,
            is_live: |_, _| false,
            tally: |report| &mut report.inodes,
        };
        self.discard(&dead.inodes, &inodes)
    }

    fn discard<I: Sync>(&mut self, files: &[(I, u64)], kind: &Kind<I>) -> Result<()> {
        let mut pace = Pace::of_files();
        let mut left = files;
        while !left.is_empty() {
            self.watch.check()?;
            let (files, rest) = left.split_at(pace.most.min(left.len()));
            let batch = self.collector.begin_batch(self.epoch)?;
            let begin = Instant::now();
            if !self.marks.are_complete(self.collector)? {
                drop(batch);
                self.catch_up()?;
                continue;
            }
            let (live, dead): (Vec<_>, Vec<_>) = files
                .iter()
                .partition(|(id, _)| (kind.is_live)(&self.marks, id));
            let unlinked = dead.par_iter().map(|(id, bytes)| {
                self.watch.advance(*bytes);
                batch.discard(&(kind.below)(id))
            });
            let unlinked =
                unlinked.try_reduce(Unlinked::default, |one, other| Ok(one.add(other)))?;
            let was_alone = batch.is_alone();
            drop(batch);
            pace.took(begin.elapsed());
            left = rest;
            if was_alone && !left.is_empty() {
                // Who waits to enter needs a moment to do so: the next batch would be faster, again and again.
                std::thread::sleep(PAUSE);
            }
            self.report.count_unlinked(unlinked);
            let tally = (kind.tally)(&mut self.report);
            live.iter().for_each(|(_, bytes)| tally.spare(*bytes));
        }
        Ok(())
    }

    /// Drops rows of trees; where others add some all the time, the rest is left to the next collection.
    fn drop_trees(&mut self, dead: &[TreeRow]) -> Result<()> {
        let mut pace = Pace::of_rows();
        let (mut left, mut tries) = (dead, 0);
        while !left.is_empty() && tries < TRIES {
            self.watch.check()?;
            let (batch, rest) = left.split_at(pace.most.min(left.len()));
            let (collector, marks) = (self.collector, &mut self.marks);
            let mut begin = Instant::now();
            let done = collector.store().change_catalog_if(|change| {
                // Looked at inside: whoever commits claims first, and writes its rows after.
                begin = Instant::now();
                if !marks.are_complete(collector)? || marks.are_rows_old(change)? {
                    return Ok(None);
                }
                let mut batch = batch.to_vec();
                batch.retain(|row| !row.is_live(marks));
                change.drop_trees(&batch).map(Some)
            })?;
            pace.took(begin.elapsed());
            if done.is_some() {
                (left, tries) = (rest, 0);
                continue;
            }
            tries += 1;
            self.catch_up()?;
            self.marks.mark_rows(self.collector.store(), self.watch)?;
        }
        Ok(())
    }
}

/// How many files or rows go in one batch.
struct Pace {
    most: usize,
    least: usize,
    limit: usize,
}

impl Pace {
    fn of_files() -> Self {
        Self {
            most: 512,
            least: 128,
            // Unlinking a file that is large or not in memory takes far longer than most: no batch is all that many.
            limit: 1024,
        }
    }

    /// A transaction waits for the disk whatever it holds: smaller ones would keep others waiting as long, and more often.
    fn of_rows() -> Self {
        Self {
            most: MOST,
            least: 1024,
            limit: MOST,
        }
    }

    fn took(&mut self, time: Duration) {
        if time > GOAL {
            self.most = (self.most / 2).max(self.least);
        } else if time < GOAL / 2 {
            self.most = (self.most * 2).min(self.limit);
        }
    }
}
