//! Owns the plan: what is there, less what is live. A dry run is a plan that nobody sweeps.

use std::path::PathBuf;

use rayon::prelude::*;

use super::mark::Marks;
use super::report::{LeftMount, Report, Tally};
use crate::digest::{ContentId, DiffId, Digest, InodeId};
use crate::error::Result;
use crate::store::trash::Unlinked;
use crate::store::verify::present::{Present, walk_digests, walk_fanned, walk_names};
use crate::store::{Collector, Store, paths};
use crate::watch::Watch;

/// What a collection would do. It holds the right to delete; others go on, and what they commit meanwhile is looked at
/// again before anything of it goes.
#[derive(Debug)]
pub struct Plan<'s> {
    pub(super) collector: Collector<'s>,
    pub(super) marks: Marks,
    pub(super) dead: Dead,
    pub(super) report: Report,
}

/// What goes.
#[derive(Debug, Default)]
pub(super) struct Dead {
    pub(super) documents: Vec<Digest>,
    pub(super) blobs: Vec<Digest>,
    pub(super) recipes: Vec<DiffId>,
    pub(super) streams: Vec<Digest>,
    pub(super) objects: Vec<ContentId>,
    pub(super) inodes: Vec<InodeId>,
}

impl Dead {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            documents,
            blobs,
            recipes,
            streams,
            objects,
            inodes,
        } = self;
        documents.is_empty()
            && blobs.is_empty()
            && recipes.is_empty()
            && streams.is_empty()
            && objects.is_empty()
            && inodes.is_empty()
    }
}

/// Plans a collection: marks what claims and names lead to and looks what else is there.
///
/// Fails closed (exit 3): a name, document, recipe or object that is missing or damaged stops it.
pub fn plan<'s>(collector: Collector<'s>, watch: &dyn Watch) -> Result<Plan<'s>> {
    watch.begin("marking", None);
    let planned = look(&collector, watch);
    watch.end();
    let (marks, dead, report) = planned?;
    Ok(Plan {
        collector,
        marks,
        dead,
        report,
    })
}

impl Plan<'_> {
    /// Returns what a sweep would do: looks at each file that would go.
    pub fn report(&self) -> Result<Report> {
        let Dead {
            documents,
            blobs,
            recipes,
            streams,
            objects,
            inodes,
        } = &self.dead;
        let store = self.collector.store();
        let mut report = self.report.clone();
        let sizes = weigh(store, documents, paths::blob)?;
        report.count_deleted(sizes, |report| &mut report.documents);
        let sizes = weigh(store, blobs, paths::blob)?;
        report.count_deleted(sizes, |report| &mut report.blobs);
        let sizes = weigh(store, recipes, paths::recipe)?;
        report.count_deleted(sizes, |report| &mut report.recipes);
        let sizes = weigh(store, streams, paths::stream)?;
        report.count_deleted(sizes, |report| &mut report.streams);
        let sizes = weigh(store, objects, paths::object)?;
        report.count_deleted(sizes, |report| &mut report.objects);
        let sizes = weigh(store, inodes, paths::inode)?;
        report.count_deleted(sizes, |report| &mut report.inodes);
        Ok(report)
    }
}

/// Returns what unlinking these files would give.
fn weigh<I: Sync>(store: &Store, files: &[I], below: fn(&I) -> PathBuf) -> Result<Unlinked> {
    let each = files.par_iter().map(|id| store.weigh(&below(id)));
    let each = each.map(|weight| Ok(weight?.unwrap_or_default()));
    each.try_reduce(Unlinked::default, |one, other| Ok(one.add(other)))
}

fn look(collector: &Collector<'_>, watch: &dyn Watch) -> Result<(Marks, Dead, Report)> {
    let store = collector.store();
    let marks = Marks::of(collector, watch)?;
    let (mut dead, mut report) = (Dead::default(), Report::default());
    look_at_objects(store, &marks, (&mut dead, &mut report))?;
    watch.check()?;
    look_at_inodes(store, &marks, (&mut dead, &mut report))?;
    look_at_recipes(store, &marks, (&mut dead, &mut report))?;
    look_at_streams(store, &marks, (&mut dead, &mut report))?;
    look_at_blobs(store, &marks, (&mut dead, &mut report))?;
    report.strays.sort();
    let left = collector.left_mounts()?.into_iter();
    report.left_mounts = left
        .map(|left| LeftMount {
            id: left.id.to_string(),
            target: left.record.target,
            bundle: left.record.bundle,
        })
        .collect();
    report.count_unlinked(collector.earlier());
    report.count_unlinked(collector.in_trash()?);
    Ok((marks, dead, report))
}

/// Looks at names alone: how long a live object is its recipes say, and a dead one is looked at before it goes.
fn look_at_objects(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let folder = store.root().join("objects");
    let live = marks.contents();
    let walked = walk_names(&folder, ContentId::from_hex, |_, ids| {
        let all = ids.len();
        let dead: Vec<ContentId> = ids.into_iter().filter(|id| !live.has(id)).collect();
        Ok((all - dead.len(), dead))
    })?;
    let count = walked.folders.iter().map(|(_, dead)| dead.len()).sum();
    dead.objects.reserve_exact(count);
    let mut kept = 0;
    for (some, goes) in walked.folders {
        kept += some;
        dead.objects.extend(goes);
    }
    let elsewhere = match kept < live.len() {
        true => marks.check_contents(store)?,
        false => 0,
    };
    report.objects.kept = kept as u64;
    report.objects.kept_bytes = live.bytes().saturating_sub(elsewhere);
    report.strays.extend(walked.strays);
    Ok(())
}

/// Inodes are a cache for checkouts: one that none holds goes, whatever it holds. One that is held stays, since only
/// its bytes would tell whether they are live and deleting it frees none; where nothing is live, it goes too.
fn look_at_inodes(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let anything = marks.contents().len() > 0;
    let walked = walk_fanned(&store.root().join("inodes"), InodeId::from_hex, |files| {
        let stays = |file: &Present<InodeId>| anything && file.links > 1;
        Ok(sort_out(&files, stays))
    })?;
    for (goes, kept) in walked.folders {
        dead.inodes.extend(goes);
        report.inodes.add(kept);
    }
    report.strays.extend(walked.strays);
    Ok(())
}

fn look_at_recipes(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let walked = walk_digests(&store.root().join("layers"))?;
    for files in walked.folders {
        let live = |file: &Present<Digest>| marks.has_layer(&DiffId(file.id));
        let (goes, kept) = sort_out(&files, live);
        dead.recipes.extend(goes.into_iter().map(DiffId));
        report.recipes.add(kept);
    }
    report.strays.extend(walked.strays);
    Ok(())
}

fn look_at_streams(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let walked = walk_digests(&store.root().join("streams"))?;
    for files in walked.folders {
        let (goes, kept) = sort_out(&files, |file| marks.has_blob(&file.id));
        dead.streams.extend(goes);
        report.streams.add(kept);
    }
    report.strays.extend(walked.strays);
    Ok(())
}

fn look_at_blobs(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let walked = walk_digests(&store.root().join("blobs"))?;
    for file in walked.folders.iter().flatten() {
        let (tally, goes) = match store.may_be_document(&file.id, file.stat.size)? {
            true => (&mut report.documents, &mut dead.documents),
            false => (&mut report.blobs, &mut dead.blobs),
        };
        match marks.has_blob(&file.id) {
            true => tally.count_kept(file.stat.size),
            false => goes.push(file.id),
        }
    }
    report.strays.extend(walked.strays);
    Ok(())
}

/// Returns which files go, and the numbers of those that stay.
fn sort_out<I: Copy>(files: &[Present<I>], stays: impl Fn(&Present<I>) -> bool) -> (Vec<I>, Tally) {
    let (mut goes, mut tally) = (Vec::new(), Tally::default());
    for file in files {
        match stays(file) {
            true => tally.count_kept(file.stat.size),
            false => goes.push(file.id),
        }
    }
    (goes, tally)
}
