//! Owns letting go of blobs that can be made again: as a collector, in short batches, and never of what something else than
//! a layer needs. See `docs/gc.md`, "Compaction".

use std::collections::BTreeSet;
use std::time::Duration;

use super::prove::{Proof, Proved};
use crate::digest::Digest;
use crate::error::Result;
use crate::store::reach::Reach;
use crate::store::trash::Unlinked;
use crate::store::{Collector, Look, Roots, Store, paths};
use crate::watch::Watch;

/// How many blobs go while others wait: unlinking a large one takes a while.
const BATCH: usize = 8;

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Those that stay.
    pub(super) spared: BTreeSet<Digest>,
    /// What the file system got back.
    pub(super) unlinked: Unlinked,
    /// What is in the trash.
    pub(super) trash: Unlinked,
}

/// Drops the blobs of a round that were proved, and whose compression recipes are in place.
pub(super) fn drop_blobs(
    store: &Store,
    round: &[Proved],
    patience: Duration,
    watch: &dyn Watch,
) -> Result<Dropped> {
    let proved = round.iter().filter_map(|proved| match proved.proof {
        Proof::Made(_) => Some(proved.blob),
        Proof::None(_) => None,
    });
    let blobs: Vec<Digest> = proved.collect();
    let mut dropped = Dropped::default();
    if blobs.is_empty() {
        return Ok(dropped);
    }
    let collector = store.collect(watch)?;
    let mut needs = Needs::of(&collector)?;
    let epoch = collector.open_trash()?;
    let mut left = &blobs[..];
    while !left.is_empty() {
        watch.check()?;
        let (now, later) = left.split_at(left.len().min(BATCH));
        let batch = collector.begin_batch(epoch)?;
        if !needs.are_known(&collector)? {
            // What came is followed while others go on.
            drop(batch);
            needs.catch_up(&collector)?;
            continue;
        }
        for blob in now {
            let below = paths::blob(blob);
            if needs.has(blob) || !store.root().join(paths::stream(blob)).is_file() {
                dropped.spared.insert(*blob);
                continue;
            }
            let weight = store.weigh(&below)?.unwrap_or_default();
            batch.discard(&below)?;
            if batch.is_alone() {
                dropped.unlinked = dropped.unlinked.add(weight);
            }
        }
        left = later;
    }
    collector.sync_below("blobs")?;
    collector.begin_epoch()?;
    collector.wait_for_others(patience, watch)?;
    dropped.unlinked = dropped.unlinked.add(collector.free()?);
    dropped.trash = collector.in_trash()?;
    Ok(dropped)
}

/// What has to stay as it is: blobs that a name or a claim leads to otherwise than as an image's layer.
struct Needs {
    look: Look,
    reach: Reach,
}

impl Needs {
    fn of(collector: &Collector<'_>) -> Result<Self> {
        let Roots {
            claimed,
            named,
            look,
        } = collector.roots()?;
        let roots: Vec<_> = claimed.into_iter().chain(named).collect();
        let reach = Reach::with_referrers_anywhere(collector.store(), &roots)?;
        Ok(Self { look, reach })
    }

    /// Tells whether nothing was claimed or named since it was last looked.
    fn are_known(&self, collector: &Collector<'_>) -> Result<bool> {
        Ok(collector.look()? == self.look)
    }

    fn catch_up(&mut self, collector: &Collector<'_>) -> Result<()> {
        let Roots {
            claimed,
            named,
            look,
        } = collector.roots()?;
        let roots: Vec<_> = claimed.into_iter().chain(named).collect();
        self.reach.follow_also(collector.store(), &roots)?;
        self.look = look;
        Ok(())
    }

    fn has(&self, blob: &Digest) -> bool {
        self.reach.needs_blob(blob)
    }
}
