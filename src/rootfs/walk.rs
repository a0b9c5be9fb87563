//! Owns the way through the directories of a plan, side by side: each is made, filled and finished.
//!
//! A directory gets its metadata as soon as it is filled, while its handle is there, unless that would be in the way
//! of what is still to be made below it. Those, and what was changed later, are finished in the end.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::link::Maker;
use super::prepare;
use super::recheck;
use super::report::Report;
use super::tally::Tally;
use crate::error::{Error, Result};

/// How many leaves of one directory a thread makes in one go.
const BATCH: u32 = 512;

/// How many handles of directories are kept for what is below them, beside those of each thread.
const KEPT: usize = 12;

/// The most that are kept, whatever the number of threads.
const MOST_KEPT: usize = 128;

/// Makes everything but the metadata of directories that have to wait.
pub(super) fn fill(maker: &Maker<'_>, tally: &mut Tally) -> Result<()> {
    let walk = Walk {
        maker,
        stop: AtomicBool::new(false),
        state: Mutex::default(),
        kept: AtomicUsize::new(0),
        most_kept: most_kept(),
    };
    rayon::scope(|scope| walk.enter(scope, 0, None));
    let State {
        tally: made,
        failure,
    } = walk
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    tally.merge(made);
    tally.check_harm(maker.plan, maker.writer.store())?;
    // Directories may have other metadata from here on than what is made in them.
    let maker = &Maker {
        born: None,
        ..*maker
    };
    let full = std::mem::take(&mut tally.full);
    prepare::replace_full(maker, full, tally)?;
    tally.check_harm(maker.plan, maker.writer.store())?;
    recheck::recheck(maker, tally)?;
    tally.merge(prepare::gather(&maker.plan.groups, |group, tally| {
        maker.join(group, tally)
    })?);
    tally.check_harm(maker.plan, maker.writer.store())
}

/// Returns how many handles may be kept: a quarter of those that there may be, at the most.
fn most_kept() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let quarter = limit.and_then(|limit| usize::try_from(limit / 4).ok());
    let wanted = MOST_KEPT.min(KEPT + 4 * rayon::current_num_threads());
    wanted.min(quarter.unwrap_or(MOST_KEPT))
}

struct Walk<'a> {
    maker: &'a Maker<'a>,
    stop: AtomicBool,
    state: Mutex<State>,
    /// How many directories are open.
    kept: AtomicUsize,
    most_kept: usize,
}

#[derive(Default)]
struct State {
    tally: Tally,
    failure: Option<Error>,
}

/// An open directory, counted.
struct Open<'a> {
    dir: File,
    kept: &'a AtomicUsize,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open<'_> {
    fn at(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Walk<'_> {
    /// Fills the directory `dir`, which is there; `above` is its parent where that is still open.
    fn enter<'s>(&'s self, scope: &rayon::Scope<'s>, dir: u32, above: Option<Arc<Open<'s>>>) {
        self.guard(|| self.fill_dir(scope, dir, above));
    }

    /// Runs one step unless another failed before.
    fn guard(&self, step: impl FnOnce() -> Result<Tally>) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let done = self.maker.watch.check().and_then(|()| step());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(part) => state.tally.merge(part),
            Err(failure) => {
                self.stop.store(true, Ordering::Relaxed);
                state.failure.get_or_insert(failure);
            }
        }
    }

    /// Makes what is in a directory; its subdirectories' own content is left to whoever is free.
    fn fill_dir<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        dir: u32,
        above: Option<Arc<Open<'s>>>,
    ) -> Result<Tally> {
        let here = &self.maker.plan.dirs[dir as usize];
        let open = Arc::new(self.open(dir, above.as_deref())?);
        drop(above);
        for child in here.children.clone() {
            self.maker.make_dir(open.at(), child)?;
        }
        for child in here.children.clone().rev() {
            let above = self.may_keep().then(|| Arc::clone(&open));
            scope.spawn(move |scope| self.enter(scope, child, above));
        }
        let Range { start, end } = here.leaves;
        if end - start > BATCH {
            self.fill_in_batches(scope, &open, start..end);
            let mut tally = Tally::default();
            tally.late.push(dir);
            return Ok(tally);
        }
        let mut tally = self.make_leaves(open.at(), start..end)?;
        match self.maker.plan.is_finished_early(dir) {
            true => self.maker.finish_dir(&open.dir, dir, &mut tally)?,
            false => tally.late.push(dir),
        }
        Ok(tally)
    }

    fn fill_in_batches<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        open: &Arc<Open<'s>>,
        leaves: Range<u32>,
    ) {
        let mut begin = leaves.start;
        while begin < leaves.end {
            let batch = begin..leaves.end.min(begin.saturating_add(BATCH));
            begin = batch.end;
            let open = Arc::clone(open);
            scope.spawn(move |_| self.guard(|| self.make_leaves(open.at(), batch)));
        }
    }

    fn open<'s>(&'s self, dir: u32, above: Option<&Open<'_>>) -> Result<Open<'s>> {
        let dir = match above {
            Some(above) => self.maker.open_in(above.at(), dir)?,
            None => self.maker.open(dir)?,
        };
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(Open {
            dir: File::from(dir),
            kept: &self.kept,
        })
    }

    /// Tells whether handles may wait for others: where too many do, directories are opened by their paths.
    fn may_keep(&self) -> bool {
        self.kept.load(Ordering::Relaxed) <= self.most_kept
    }

    fn make_leaves(&self, at: BorrowedFd<'_>, leaves: Range<u32>) -> Result<Tally> {
        let mut tally = Tally::default();
        for leaf in leaves {
            self.maker.make_leaf(at, leaf, &mut tally)?;
        }
        let Report {
            linked,
            reflinked,
            copied,
            ..
        } = &tally.report;
        self.maker
            .watch
            .advance(linked.bytes + reflinked.bytes + copied.bytes);
        Ok(tally)
    }
}
