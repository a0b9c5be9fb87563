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
use crate::error::Result;
use crate::store::catalog::{DeadRows, TreeRow};
use crate::store::trash::{UNLINKERS, Unlinked, in_many};
use crate::store::{Batch, Collector, paths};
use crate::watch::Watch;

/// How long one batch may keep others waiting.
const GOAL: Duration = Duration::from_millis(8);

/// How long those who wait to enter get between two batches that keep them out.
const PAUSE: Duration = Duration::from_micros(300);

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
        watch.begin("sweeping", None);
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
        let nothing = dead.is_empty() && !rows.has_objects && rows.trees.is_empty();
        if nothing && self.collector.store().trash()?.is_empty() {
            return Ok(());
        }
        self.epoch = self.collector.open_trash()?;
        // First the index: it must never speak of a file that is gone.
        if rows.has_objects {
            self.drop_objects()?;
        }
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

    fn drop_objects(&mut self) -> Result<()> {
        let (mut after, mut tries) = (None, 0);
        loop {
            self.watch.check()?;
            let (collector, marks) = (self.collector, &mut self.marks);
            let done = collector.store().change_catalog_if(|change| {
                // Looked at inside: whoever commits claims first, and writes its rows after. A live object without a
                // record does no harm: in the end this goes on with what is marked.
                if !marks.are_complete(collector)? && tries < TRIES {
                    return Ok(None);
                }
                change.drop_objects(after, marks).map(Some)
            })?;
            match done {
                Some(None) => return self.catch_up(),
                Some(last) => (after, tries) = (last, 0),
                None => tries += 1,
            }
            self.catch_up()?;
        }
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
        let streams = Kind {
            below: paths::stream,
            is_live: Marks::has_blob,
            tally: |report| &mut report.streams,
        };
        self.discard(&dead.streams, &streams)?;
        if !dead.streams.is_empty() {
            self.collector.sync_below("streams")?;
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

    fn discard<I: Sync>(&mut self, files: &[I], kind: &Kind<I>) -> Result<()> {
        // A lane for each thread: files of one folder are near each other, and the system removes them one by one.
        let mut lanes: Vec<&[I]> = files
            .chunks(files.len().div_ceil(UNLINKERS).max(1))
            .collect();
        let (mut pace, mut was_alone) = (Pace::default(), false);
        while lanes.iter().any(|lane| !lane.is_empty()) {
            self.watch.check()?;
            let most = pace.most.div_ceil(UNLINKERS);
            let parts: Vec<&[I]> = lanes
                .iter()
                .map(|lane| &lane[..most.min(lane.len())])
                .collect();
            // Between two batches: nobody waits for this.
            let begin = Instant::now();
            let files = self.look(&parts, kind)?;
            if was_alone {
                // Who waits to enter needs a moment to do so: the next batch would be faster, again and again.
                std::thread::sleep(PAUSE.saturating_sub(begin.elapsed()));
            }
            let batch = self.collector.begin_batch(self.epoch)?;
            let begin = Instant::now();
            if !self.marks.are_complete(self.collector)? {
                drop(batch);
                self.catch_up()?;
                continue;
            }
            let gone = self.discard_batch(&batch, &files, kind)?;
            was_alone = batch.is_alone();
            drop(batch);
            pace.took(begin.elapsed());
            (kind.tally)(&mut self.report).count_deleted(gone);
            if was_alone {
                self.report.count_unlinked(gone);
            }
            for (lane, part) in lanes.iter_mut().zip(parts) {
                *lane = &lane[part.len()..];
            }
        }
        Ok(())
    }

    /// Looks at files, lane by lane; what is gone already is left out.
    fn look<'i, I: Sync>(&self, lanes: &[&'i [I]], kind: &Kind<I>) -> Result<Vec<Lane<'i, I>>> {
        let store = self.collector.store();
        let look = |lane: &&'i [I]| {
            let files = lane.iter().map(|id| {
                let below = (kind.below)(id);
                let weight = store.weigh(&below)?;
                Ok(weight.map(|weight| (id, below, weight)))
            });
            files.filter_map(Result::transpose).collect()
        };
        lanes.par_iter().map(look).collect()
    }

    /// Discards what of a batch is not live by now; returns what that was.
    fn discard_batch<I: Sync>(
        &mut self,
        batch: &Batch<'_>,
        lanes: &[Lane<'_, I>],
        kind: &Kind<I>,
    ) -> Result<Unlinked> {
        let (marks, watch) = (&self.marks, self.watch);
        let is_live = |id: &I| (kind.is_live)(marks, id);
        let discard = |lane: &Lane<'_, I>| {
            let mut gone = Unlinked::default();
            for (_, below, weight) in lane.iter().filter(|(id, ..)| !is_live(id)) {
                batch.discard(below)?;
                watch.advance(weight.bytes());
                gone = gone.add(*weight);
            }
            Ok(gone)
        };
        let gone = in_many(|| {
            let gone = lanes.par_iter().map(discard);
            gone.try_reduce(Unlinked::default, |one, other| Ok(one.add(other)))
        })?;
        let spared: Vec<u64> = lanes
            .iter()
            .flatten()
            .filter(|(id, ..)| is_live(id))
            .map(|(_, _, weight)| weight.bytes())
            .collect();
        let tally = (kind.tally)(&mut self.report);
        spared.into_iter().for_each(|bytes| tally.count_kept(bytes));
        Ok(gone)
    }

    /// Drops rows of trees; where others add some all the time, the rest is left to the next collection.
    fn drop_trees(&mut self, dead: &[TreeRow]) -> Result<()> {
        let (mut left, mut tries) = (dead, 0);
        while !left.is_empty() && tries < TRIES {
            self.watch.check()?;
            let (collector, marks) = (self.collector, &mut self.marks);
            let done = collector.store().change_catalog_if(|change| {
                // Looked at inside: whoever commits claims first, and writes its rows after.
                if !marks.are_complete(collector)? || marks.are_rows_old(change)? {
                    return Ok(None);
                }
                change.drop_dead_trees(left, marks).map(Some)
            })?;
            if let Some(done) = done {
                (left, tries) = (&left[done..], 0);
                continue;
            }
            tries += 1;
            self.catch_up()?;
            self.marks.mark_rows(self.collector.store(), self.watch)?;
        }
        Ok(())
    }
}

/// Files that one thread discards, with where they are and what unlinking them gives.
type Lane<'i, I> = Vec<(&'i I, PathBuf, Unlinked)>;

/// How many files go in one batch.
struct Pace {
    most: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { most: 128 }
    }
}

impl Pace {
    const LEAST: usize = 64;

    /// Unlinking a file that is large or not in memory takes far longer than most: no batch is all that many.
    const LIMIT: usize = 256;

    fn took(&mut self, time: Duration) {
        if time > GOAL {
            self.most = (self.most / 2).max(Self::LEAST);
        } else if time < GOAL / 2 {
            self.most = (self.most * 2).min(Self::LIMIT);
        }
    }
}
