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

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use self::report::{Encoder, Kept, Report};

use self::prove::{Proof, Proved};
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result};
use crate::store::reach::Reach;
use crate::store::{Store, Writer};
use crate::watch::Watch;

/// How long layers are proved before what was proved so far is recorded and dropped.
const ROUND: Duration = Duration::from_secs(20);

/// How to go about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// What becomes of blobs that can be made again.
    pub act: Act,
    /// How many layers are proved at a time.
    pub jobs: usize,
    /// How long to wait for commands that began earlier, and may be reading the blobs.
    pub patience: Duration,
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
pub fn compact(store: &Store, options: Options, watch: &dyn Watch) -> Result<Report> {
    let mut report = Report::default();
    let candidates = candidates(store, &mut report)?;
    let total = candidates.iter().map(|candidate| candidate.size).sum();
    watch.begin("proving layers", Some(total));
    let next = AtomicUsize::new(0);
    loop {
        let round = round(store, (&candidates, &next), options, watch)?;
        report.take_kept(&round);
        match options.act {
            Act::Tell => report.take_proved(&round),
            Act::Drop => {
                let dropped = drop::drop_blobs(store, &round, options.patience, watch)?;
                report.take_dropped(&round, &dropped);
            }
        }
        if next.load(Ordering::Relaxed) >= candidates.len() {
            break;
        }
    }
    watch.end();
    report.sort();
    if options.act == Act::Drop && store.has_catalog()? {
        store.shrink_catalog()?;
    }
    Ok(report)
}

/// Returns the kept blobs of layers, the largest first.
fn candidates(store: &Store, report: &mut Report) -> Result<Vec<Candidate>> {
    let _reader = store.read()?;
    let reach = Reach::of_all(store)?;
    let mut candidates = Vec::new();
    for (blob, layer) in &reach.layers {
        let Some(size) = store.blob_size(blob)? else {
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
    Ok(candidates)
}

/// Proves some layers, several at a time, and records how they are made again.
fn round(
    store: &Store,
    (candidates, next): (&[Candidate], &AtomicUsize),
    options: Options,
    watch: &dyn Watch,
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

fn take(writer: &Writer<'_>, candidate: &Candidate, act: Act, watch: &dyn Watch) -> Result<Proved> {
    let proof = prove::prove(writer.store(), candidate, watch)?;
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
