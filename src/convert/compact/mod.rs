//! Owns dropping what can be made again: finds out how each kept layer blob was made, makes it again, compares, and only
//! then lets go of it. What cannot be proved stays.
//!
//! It goes in rounds, each of which ends with what it proved recorded and dropped: whoever stops it keeps what was won.

mod drop;
mod frame;
mod prove;
mod report;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use self::report::{Encoder, Kept, Report};

use self::prove::{Proof, Proved};
use crate::digest::{DiffId, Digest};
use crate::error::{Cause, Error, Result};
use crate::store::reach::Reach;
use crate::store::{Store, Writer};
use crate::watch::Watch;

/// How long layers are proved before what was proved so far is recorded and dropped.
const ROUND: Duration = Duration::from_secs(20);

/// How fast a thread makes a layer again, in bytes of its tar a second, as far as one can say before: what would take too long
/// is not begun.
const RATE: u64 = 60_000_000;

/// How to go about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which layers.
    pub scope: Scope,
    /// What becomes of blobs that can be made again.
    pub act: Act,
    /// How many layers are proved at a time.
    pub jobs: usize,
    /// How long to wait for commands that began earlier, and may be reading the blobs.
    pub patience: Duration,
}

/// Which layers are looked at, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All that a name leads to.
    All,
    /// Those of these blobs that can be proved in this time.
    Some {
        /// The blobs.
        blobs: BTreeSet<Digest>,
        /// The time, on all threads.
        budget: Duration,
    },
}

/// What becomes of blobs that can be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// They go.
    Drop,
    /// They stay: it is only told what could go.
    Tell,
}

/// A layer's blob that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    blob: Digest,
    size: u64,
    layer: DiffId,
}

/// Drops the blobs of layers that can be made again bit for bit.
pub fn compact(store: &Store, options: &Options, watch: &dyn Watch) -> Result<Report> {
    let mut report = Report::default();
    let candidates = candidates(store, options, &mut report)?;
    let deadline = match &options.scope {
        Scope::All => None,
        Scope::Some { budget, .. } => Some(Instant::now() + *budget),
    };
    let watch = &Until { watch, deadline };
    let total = candidates.iter().map(|candidate| candidate.size).sum();
    watch.begin("proving layers", Some(total));
    let next = AtomicUsize::new(0);
    loop {
        let round = round(store, (&candidates, &next), options, watch)?;
        report.take_kept(&round);
        match options.act {
            Act::Tell => report.take_proved(&round),
            Act::Drop => {
                // What was proved in time is dropped, however late it is.
                let dropped = drop::drop_blobs(store, &round, options.patience, watch.watch)?;
                report.take_dropped(&round, &dropped);
            }
        }
        if next.load(Ordering::Relaxed) >= candidates.len() {
            break;
        }
    }
    watch.end();
    report.sort();
    if options.act == Act::Drop && report.blobs > 0 {
        // All is done by now. On a full disk, which is where one compacts, there may be no room to move pages.
        store.shrink_catalog().ok();
    }
    Ok(report)
}

/// Returns the kept blobs of layers, the largest first.
fn candidates(store: &Store, options: &Options, report: &mut Report) -> Result<Vec<Candidate>> {
    let _reader = store.read()?;
    let reach = Reach::of_all(store)?;
    let mut candidates = Vec::new();
    for (blob, layer) in &reach.layers {
        let is_meant = match &options.scope {
            Scope::All => true,
            Scope::Some { blobs, .. } => blobs.contains(blob),
        };
        let Some(size) = store.blob_size(blob)?.filter(|_| is_meant) else {
            continue;
        };
        match reach.needs_blob(blob) {
            true => report.keep(blob, size, "something else than a layer needs it, too"),
            false => candidates.push(Candidate {
                blob: *blob,
                size,
                layer: *layer,
            }),
        }
    }
    candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.size), candidate.blob));
    match options.scope {
        Scope::All => Ok(candidates),
        Scope::Some { budget, .. } => within(store, candidates, budget * jobs_of(options), report),
    }
}

fn jobs_of(options: &Options) -> u32 {
    u32::try_from(options.jobs).unwrap_or(1).max(1)
}

/// Why a layer stays that there was no time for.
const NO_TIME: &str =
    "proving that it can be made again would take too long here: `ocistore compact` takes the time";

/// Picks what one thread could prove in `time`, the largest first.
fn within(
    store: &Store,
    candidates: Vec<Candidate>,
    time: Duration,
    report: &mut Report,
) -> Result<Vec<Candidate>> {
    let mut left = time.as_secs_f64();
    let mut picked = Vec::new();
    for candidate in candidates {
        let tar_size = store.recipe(&candidate.layer)?.trailer().tar_size;
        let takes = Duration::from_millis(tar_size.saturating_mul(1000) / RATE).as_secs_f64();
        match takes <= left {
            true => {
                left -= takes;
                picked.push(candidate);
            }
            false => report.keep(&candidate.blob, candidate.size, NO_TIME),
        }
    }
    Ok(picked)
}

/// Stops at a time of its own, too.
struct Until<'w> {
    watch: &'w dyn Watch,
    deadline: Option<Instant>,
}

impl Until<'_> {
    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Watch for Until<'_> {
    fn begin(&self, what: &str, total: Option<u64>) {
        self.watch.begin(what, total);
    }

    fn advance(&self, bytes: u64) {
        self.watch.advance(bytes);
    }

    fn end(&self) {
        self.watch.end();
    }

    fn stop(&self) -> bool {
        self.watch.stop() || self.is_over()
    }
}

/// Proves some layers, several at a time, and records how they are made again.
fn round(
    store: &Store,
    (candidates, next): (&[Candidate], &AtomicUsize),
    options: &Options,
    watch: &Until<'_>,
) -> Result<Vec<Proved>> {
    let writer = store.write()?;
    let begin = Instant::now();
    let (proved, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        while begin.elapsed() < ROUND && lock(&failed).is_none() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = candidates.get(at) else {
                return;
            };
            match take(&writer, candidate, options.act, watch) {
                Ok(done) => lock(&proved).push(done),
                Err(e) => drop(lock(&failed).get_or_insert(e)),
            }
        }
    };
    in_threads(options.jobs.max(1), &work)?;
    if let Some(e) = lock(&failed).take() {
        return Err(e);
    }
    writer.publish()?;
    Ok(std::mem::take(&mut *lock(&proved)))
}

/// Has threads of our own do the same: in each, a pool of `jobs` compresses.
fn in_threads(jobs: usize, work: &(dyn Fn() + Sync)) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    let pool = pool.map_err(|e| Error::failed("start", "threads", e.to_string()))?;
    pool.broadcast(|_| work());
    Ok(())
}

fn take(writer: &Writer<'_>, candidate: &Candidate, act: Act, watch: &Until<'_>) -> Result<Proved> {
    let proof = match prove::prove(writer.store(), candidate, watch) {
        Err(e) if matches!(e.cause(), Cause::Interrupted) && !watch.watch.stop() => {
            Proof::None(NO_TIME.to_owned())
        }
        other => other?,
    };
    if let (Act::Drop, Proof::Made(recipe)) = (act, &proof) {
        writer.stage_stream(recipe)?;
    }
    Ok(Proved {
        blob: candidate.blob,
        size: candidate.size,
        proof,
    })
}

/// A thread that panicked while holding one of these left it whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
