//! Owns the plan: what is there, less what is live. A dry run is a plan that nobody sweeps.

use super::mark::Marks;
use super::report::{Fate, Report, Tally};
use crate::digest::{ContentId, DiffId, Digest, InodeId};
use crate::error::Result;
use crate::store::verify::present::{Present, walk_digests, walk_fanned};
use crate::store::{Collector, Store};
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

/// What goes, with the bytes of each.
#[derive(Debug, Default)]
pub(super) struct Dead {
    pub(super) documents: Vec<(Digest, u64)>,
    pub(super) blobs: Vec<(Digest, u64)>,
    pub(super) recipes: Vec<(DiffId, u64)>,
    pub(super) objects: Vec<(ContentId, u64)>,
    pub(super) inodes: Vec<(InodeId, u64)>,
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
    /// Returns what a sweep would do.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

fn look(collector: &Collector<'_>, watch: &dyn Watch) -> Result<(Marks, Dead, Report)> {
    let store = collector.store();
    let marks = Marks::of(collector, watch)?;
    let (mut dead, mut report) = (Dead::default(), Report::default());
    look_at_objects(store, &marks, (&mut dead, &mut report))?;
    if report.objects.kept < marks.content_count() {
        marks.check_contents(store)?;
    }
    watch.check()?;
    look_at_inodes(store, &marks, (&mut dead, &mut report))?;
    look_at_recipes(store, &marks, (&mut dead, &mut report))?;
    look_at_blobs(store, &marks, (&mut dead, &mut report))?;
    report.strays.sort();
    report.count_unlinked(collector.earlier());
    report.count_unlinked(collector.in_trash()?);
    Ok((marks, dead, report))
}

fn look_at_objects(
    store: &Store,
    marks: &Marks,
    (dead, report): (&mut Dead, &mut Report),
) -> Result<()> {
    let folder = store.root().join("objects");
    let walked = walk_fanned(&folder, ContentId::from_hex, |files| {
        let live = |file: &Present<ContentId>| marks.has_content(&file.id);
        Ok(sort_out(&files, |report| &mut report.objects, live))
    })?;
    for (goes, part) in walked.folders {
        dead.objects.extend(goes);
        report.add(part);
    }
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
    let anything = marks.content_count() > 0;
    let walked = walk_fanned(&store.root().join("inodes"), InodeId::from_hex, |files| {
        let stays = |file: &Present<InodeId>| anything && file.links > 1;
        Ok(sort_out(&files, |report| &mut report.inodes, stays))
    })?;
    for (goes, part) in walked.folders {
        dead.inodes.extend(goes);
        report.add(part);
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
        let (goes, part) = sort_out(&files, |report| &mut report.recipes, live);
        dead.recipes
            .extend(goes.into_iter().map(|(id, bytes)| (DiffId(id), bytes)));
        report.add(part);
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
        let fate = match marks.has_blob(&file.id) {
            true => Fate::Stays,
            false => Fate::Goes,
        };
        let is_json = store.may_be_document(&file.id, file.stat.size)?;
        let (tally, goes) = match is_json {
            true => (&mut report.documents, &mut dead.documents),
            false => (&mut report.blobs, &mut dead.blobs),
        };
        tally.count(file, fate);
        report.count_space(file, fate);
        goes.extend((fate == Fate::Goes).then_some((file.id, file.stat.size)));
    }
    report.strays.extend(walked.strays);
    Ok(())
}

/// Returns which files go, and the numbers of all.
fn sort_out<I: Copy>(
    files: &[Present<I>],
    tally: fn(&mut Report) -> &mut Tally,
    stays: impl Fn(&Present<I>) -> bool,
) -> (Vec<(I, u64)>, Report) {
    let (mut goes, mut report) = (Vec::new(), Report::default());
    for file in files {
        let fate = match stays(file) {
            true => Fate::Stays,
            false => Fate::Goes,
        };
        tally(&mut report).count(file, fate);
        report.count_space(file, fate);
        if fate == Fate::Goes {
            goes.push((file.id, file.stat.size));
        }
    }
    (goes, report)
}
