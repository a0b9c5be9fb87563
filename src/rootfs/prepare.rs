//! Owns what has to be in the store before files can be linked or copied: objects that somebody vouches for,
//! inodes with the wanted metadata, and fresh ones for those that have as many links as they can have.

use std::fs::File;
use std::os::fd::AsFd as _;

use rayon::prelude::*;

use super::link::{Maker, Place};
use super::plan::{Known, Make, Object, Plan, Variant};
use super::report::Reason;
use super::tally::{Harm, Harmed, Tally};
use crate::error::{Context, Result};
use crate::store::Writer;
use crate::store::variants::{Restaged, Sharing, Source};
use crate::watch::Watch;

/// Reads the objects whose record is missing: a catalog can lose rows to a crash, and bytes are what counts.
pub(super) fn prove_objects(
    writer: &Writer<'_>,
    plan: &mut Plan,
    watch: &dyn Watch,
    tally: &mut Tally,
) -> Result<()> {
    let mut unproved: Vec<&mut Object> = plan
        .objects
        .iter_mut()
        .filter(|object| matches!(object.known, Known::Unproved))
        .collect();
    if unproved.is_empty() {
        return Ok(());
    }
    unproved.par_iter_mut().try_for_each(|object| {
        let stat = writer.store().prove_object(&object.id, watch)?;
        if let Some(stat) = stat.filter(|stat| stat.size == object.size) {
            object.known = Known::Proved(stat);
        }
        watch.check()
    })?;
    for leaf in 0..u32::try_from(plan.leaves.len()).unwrap_or(u32::MAX) {
        if plan
            .object_of(leaf)
            .is_some_and(|object| matches!(object.known, Known::Unproved))
        {
            tally.harmed.push(Harmed {
                leaf,
                harm: Harm::Bytes,
            });
        }
    }
    Ok(())
}

/// Makes the inodes that are wanted and not there yet; returns for each whether the host can hold it.
pub(super) fn make_variants(
    writer: &Writer<'_>,
    plan: &Plan,
    watch: &dyn Watch,
    tally: &mut Tally,
) -> Result<Vec<bool>> {
    let sharing = Sharing::reflinks();
    let made = plan.variants.par_iter().map(|variant| {
        watch.check()?;
        if writer.store().stat_inode(&variant.id)?.is_some() {
            return Ok(None);
        }
        stage_variant(writer, plan, variant, (&sharing, watch)).map(Some)
    });
    let made: Vec<Option<Restaged>> = made.collect::<Result<_>>()?;
    let mut holds = Vec::with_capacity(made.len());
    for (variant, outcome) in plan.variants.iter().zip(made) {
        holds.push(outcome != Some(Restaged::Refused));
        tally
            .harmed
            .extend(outcome.and_then(|outcome| harmed(variant.leaf, outcome)));
    }
    writer.publish()?;
    Ok(holds)
}

fn stage_variant(
    writer: &Writer<'_>,
    plan: &Plan,
    variant: &Variant,
    (sharing, watch): (&Sharing, &dyn Watch),
) -> Result<Restaged> {
    let object = plan.object(variant.object);
    let Some(stat) = object.stat() else {
        return Ok(Restaged::Refused);
    };
    let source = Source {
        id: &object.id,
        stat: &stat,
    };
    let meta = &plan.leaf(variant.leaf).meta;
    let staged = writer.stage_inode((&variant.id, source), meta, sharing, watch);
    staged.map_err(|e| {
        let leaf = plan.show_leaf(variant.leaf);
        e.part_of("make an inode in the store for", leaf)
    })
}

fn harmed(leaf: u32, outcome: Restaged) -> Option<Harmed> {
    match outcome {
        Restaged::Staged | Restaged::Refused => None,
        Restaged::Unusable(filled) => Harm::of(filled).map(|harm| Harmed { leaf, harm }),
    }
}

/// Puts fresh inodes in the place of those that have as many links as they can have, and links to them.
pub(super) fn replace_full(maker: &Maker<'_>, mut full: Vec<u32>, tally: &mut Tally) -> Result<()> {
    if full.is_empty() {
        return Ok(());
    }
    full.sort_unstable();
    let staged = full.par_iter().map(|leaf| {
        maker.watch.check()?;
        restage(maker, *leaf)
    });
    let staged: Vec<Restaged> = staged.collect::<Result<_>>()?;
    // All in one go, so that one sync does for them all.
    maker.writer.publish()?;
    for (leaf, outcome) in full.iter().zip(staged) {
        tally.harmed.extend(harmed(*leaf, outcome));
    }
    tally.merge(gather(&full, |leaf, tally| {
        link_again(maker, *leaf, tally)
    })?);
    Ok(())
}

/// Does `each` with all items, side by side, and returns what was noted.
pub(super) fn gather<T: Sync>(
    items: &[T],
    each: impl Fn(&T, &mut Tally) -> Result<()> + Sync,
) -> Result<Tally> {
    let step = |mut tally: Tally, item| each(item, &mut tally).map(|()| tally);
    let merge = |mut one: Tally, other| {
        one.merge(other);
        Ok(one)
    };
    items
        .par_iter()
        .try_fold(Tally::default, step)
        .try_reduce(Tally::default, merge)
}

fn restage(maker: &Maker<'_>, leaf: u32) -> Result<Restaged> {
    let Maker {
        writer,
        plan,
        watch,
        ..
    } = *maker;
    let meta = &plan.leaf(leaf).meta;
    match plan.leaf(leaf).make {
        Make::Object(object) => match plan.object(object) {
            Object {
                id,
                size: _,
                known: Known::Given(given),
            } => writer.stage_again(id, given, meta, watch),
            Object {
                known: Known::Unproved | Known::Proved(_),
                ..
            } => Ok(Restaged::Refused),
        },
        Make::Variant(variant) => {
            let variant = &plan.variants[variant as usize];
            stage_variant(writer, plan, variant, (&Sharing::reflinks(), watch))
        }
        Make::Empty | Make::Private(..) | Make::Symlink(_) | Make::Node(..) => {
            Ok(Restaged::Refused)
        }
    }
}

fn link_again(maker: &Maker<'_>, leaf: u32, tally: &mut Tally) -> Result<()> {
    let here = maker.plan.leaf(leaf);
    let dir = maker.open(here.dir)?;
    tally.touched.push(here.dir);
    let full = tally.full.len();
    maker.make_leaf(dir.as_fd(), leaf, tally)?;
    if tally.full.len() == full {
        return Ok(());
    }
    tally.full.truncate(full);
    let place = Place {
        at: dir.as_fd(),
        name: here.name.as_bytes(),
        leaf,
    };
    match maker.plan.object_at(leaf) {
        Some(object) => maker.make_private(place, object, Some(Reason::LinkLimit), tally),
        None => Ok(()),
    }
}

/// Finishes the directories that were left for the end: the deepest first, since a mode may shut what is below.
pub(super) fn finish_dirs(maker: &Maker<'_>, tally: &mut Tally) -> Result<()> {
    let sorted = |mut dirs: Vec<u32>| {
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    };
    let touched = sorted(std::mem::take(&mut tally.touched));
    tally.merge(gather(&touched, |dir, _| maker.restore_time(*dir))?);
    let late = sorted(std::mem::take(&mut tally.late));
    for level in maker.plan.levels.iter().rev() {
        maker.watch.check()?;
        // Directories are numbered level by level.
        let at = |dir: usize| late.partition_point(|late| (*late as usize) < dir);
        tally.merge(gather(
            &late[at(level.start)..at(level.end)],
            |dir, tally| {
                let open = File::from(maker.open(*dir)?);
                maker.finish_dir(&open, *dir, tally)
            },
        )?);
    }
    Ok(())
}

/// Makes everything durable that was written below the new directory.
pub(super) fn flush(maker: &Maker<'_>) -> Result<()> {
    rustix::fs::syncfs(maker.root).context("sync the file system of", "the new directory")
}
