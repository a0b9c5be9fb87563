//! Owns the plan: what is there, less what is live. A dry run is a plan that nobody sweeps.

use super::mark::Marks;
use super::report::{Fate, Report, Tally};
use crate::digest::{ContentId, DiffId, Digest, InodeId};
use crate::error::Result;
use crate::store::verify::present::{Present, walk_digests, walk_fanned};
use crate::store::{Collector, Store};
use crate::watch::Watch;

/// What a collection would do. It holds the right to delete, and goes stale in nobody's hands: nobody adds meanwhile.
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
    pub(super) blobs: Vec<(Digest, u64)>,
    pub(super) recipes: Vec<(DiffId, u64)>,
    pub(super) objects: Vec<(ContentId, u64)>,
    pub(super) inodes: Vec<(InodeId, u64)>,
}

/// Plans a collection: marks what names lead to and looks what else is there.
///
/// Fails closed (exit 3): a name, document, recipe or object that is missing or damaged stops it.
pub fn plan<'s>(collector: Collector<'s>, watch: &dyn Watch) -> Result<Plan<'s>> {
    watch.begin("marking", None);
    let planned = look(collector.store(), watch);
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

fn look(store: &Store, watch: &dyn Watch) -> Result<(Marks, Dead, Report)> {
    let marks = Marks::of(store, watch)?;
    let (mut dead, mut report) = (Dead::default(), Report::default());
    look_at_objects(store, &marks, &mut dead, &mut report)?;
    if report.objects.kept < marks.content_count() {
        marks.check_contents(store)?;
    }
    watch.check()?;
    look_at_inodes(store, &marks, &mut dead, &mut report)?;
    look_at_recipes(store, &marks, &mut dead, &mut report)?;
    look_at_blobs(store, &marks, &mut dead, &mut report)?;
    report.strays.sort();
    Ok((marks, dead, report))
}

fn look_at_objects(
    store: &Store,
    marks: &Marks,
    dead: &mut Dead,
    report: &mut Report,
) -> Result<()> {
    let walked = walk_fanned(
        &store.root().join("objects"),
        ContentId::from_hex,
        |files| {
            Ok(sort_out(
                &files,
                |report| &mut report.objects,
                |file| marks.has_content(&file.id),
            ))
        },
    )?;
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
    dead: &mut Dead,
    report: &mut Report,
) -> Result<()> {
    let anything = marks.content_count() > 0;
    let walked = walk_fanned(&store.root().join("inodes"), InodeId::from_hex, |files| {
        Ok(sort_out(
            &files,
            |report| &mut report.inodes,
            |file| anything && file.links > 1,
        ))
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
    dead: &mut Dead,
    report: &mut Report,
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

fn look_at_blobs(store: &Store, marks: &Marks, dead: &mut Dead, report: &mut Report) -> Result<()> {
    let walked = walk_digests(&store.root().join("blobs"))?;
    for file in walked.folders.iter().flatten() {
        let fate = if marks.has_blob(&file.id) {
            Fate::Stays
        } else {
            Fate::Goes
        };
        let is_json = store.may_be_document(&file.id, file.stat.size)?;
        let tally = if is_json {
            &mut report.documents
        } else {
            &mut report.blobs
        };
        tally.count(file, fate);
        report.count_space(file, fate);
        if fate == Fate::Goes {
            dead.blobs.push((file.id, file.stat.size));
        }
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
        let fate = if stays(file) { Fate::Stays } else { Fate::Goes };
        tally(&mut report).count(file, fate);
        report.count_space(file, fate);
        if fate == Fate::Goes {
            goes.push((file.id, file.stat.size));
        }
    }
    (goes, report)
}
