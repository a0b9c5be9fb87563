//! Owns mending a store: what is damaged or missing is made again from what the store still has, or from sources that
//! the same images are in. The order is documents, recipes, contents, catalog: each tells what the next one needs.
//!
//! Nothing is deleted: what was in the place of what is mended goes to `lost+found/`. Nothing is trusted: bytes are
//! hashed before they are put in place, and what was mended counts once a check of the whole store has found it right.

mod blobs;
mod contents;
mod extract;
mod offers;
mod report;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

use rayon::prelude::*;

pub use self::report::{Refused, Repair, Report};

use self::offers::Offers;
use super::rebuild::{self, Damage, Led, Rows};
use super::source::Source;
use crate::digest::{DiffId, Digest, TreeId};
use crate::error::{Cause, Result};
use crate::image::Image;
use crate::store::lost::Stored;
use crate::store::reach::{ImageDocs, Reach};
use crate::store::verify::{Depth, Finding, Findings, Kind, verify, verify_beside};
use crate::store::{Reader, Store, Writer};
use crate::watch::Watch;

/// How often the catalog is mended: first rows are put right, then it is made anew.
const CATALOG_TRIES: u8 = 2;

/// Checks a store, its images' trees too where nothing else is wrong and everything is hashed.
pub fn check(
    reader: &Reader<'_>,
    depth: Depth,
    watch: &dyn Watch,
    jobs: NonZeroUsize,
) -> Result<Findings> {
    let store = reader.store();
    // A torn catalog is a finding; asking the store for one would take it away.
    let has_catalog = store.root().join("catalog.redb").exists();
    if depth == Depth::Quick || !has_catalog {
        return verify(reader, depth, watch, jobs);
    }
    let roots = || roots_from_recipes(store, watch);
    let (mut findings, roots) = verify_beside((reader, depth), watch, jobs, roots)?;
    if findings.is_sound() {
        for (image, root) in roots? {
            findings.note_root(&image, &[image.manifest.to_string()], &root);
        }
        for (blob, names, why) in streams::wrong(store, watch, jobs)? {
            findings.note_stream(&blob, names, &why);
        }
    }
    Ok(findings)
}

/// Computes every image's tree anew from its layers' recipes.
fn roots_from_recipes(store: &Store, watch: &dyn Watch) -> Result<Vec<(Image, TreeId)>> {
    let images: Vec<(Digest, ImageDocs)> = Reach::of_all(store)?.images.into_iter().collect();
    let roots = images.par_iter().map(|(digest, docs)| {
        watch.check()?;
        let Some(image) = store.view(|view| view.image(digest))? else {
            return Ok(None);
        };
        let root = rebuild::root_from_recipes(store, docs)?;
        Ok(Some((image, root)))
    });
    let roots = roots.collect::<Result<Vec<Option<(Image, TreeId)>>>>()?;
    Ok(roots.into_iter().flatten().collect())
}

/// Mends what can be mended; `sources` are where else the same images are.
///
/// Damage that stays is in the report. Fails only where it could not go on.
pub fn repair(
    store: &Store,
    sources: &[Source],
    watch: &dyn Watch,
    jobs: NonZeroUsize,
) -> Result<Report> {
    let reader = store.read()?;
    let mut mender = Mender {
        store,
        offers: Offers::of(sources, watch)?,
        watch,
        jobs,
        mended: HashSet::new(),
        catalog_tries: 0,
        report: Report::default(),
    };
    let mut depth = Depth::Quick;
    loop {
        let found = check(&reader, depth, watch, jobs)?;
        mender.report.note(&found);
        let before = mender.report.repairs.len();
        watch.begin("mending", None);
        let done = mender.round(&found, depth);
        watch.end();
        done?;
        match (mender.report.repairs.len() > before, depth) {
            // What documents and recipes lead to is known only once they are mended.
            (true, _) => {}
            (false, Depth::Quick) => depth = Depth::Full,
            (false, Depth::Full) => {
                let mut report = mender.report;
                report.refused = mender.offers.refused();
                report.unmended = found.findings;
                return Ok(report);
            }
        }
    }
}

/// What of the store is damaged, and not mended yet.
type Open = BTreeMap<Stored, Finding>;

/// What is staged, and where it came from.
type Staged = Vec<(Stored, String)>;

struct Mender<'a> {
    store: &'a Store,
    offers: Offers<'a>,
    watch: &'a dyn Watch,
    jobs: NonZeroUsize,
    /// What was mended once is not mended again: a disk that fails would have us go on forever.
    mended: HashSet<Stored>,
    catalog_tries: u8,
    report: Report,
}

impl Mender<'_> {
    /// Mends what one check found, as far as it goes.
    fn round(&mut self, found: &Findings, depth: Depth) -> Result<()> {
        let open = self.open(found);
        self.mend_blobs_from_sources(&open)?;
        self.mend_streams(&open)?;
        self.mend_recipes(&open)?;
        if depth == Depth::Quick {
            return Ok(());
        }
        let missing = !self.store.has_catalog()?;
        if missing {
            // Before contents: it says what their files were given.
            self.mend_catalog()?;
        }
        self.mend_contents(&open)?;
        self.mend_blobs_from_contents(&open)?;
        let disagrees = |finding: &Finding| finding.kind == Kind::CatalogDisagrees;
        if !missing && found.findings.iter().any(disagrees) {
            self.mend_catalog()?;
        }
        Ok(())
    }

    fn open(&self, found: &Findings) -> Open {
        let open = found.findings.iter().filter_map(|finding| {
            let what = Stored::parse(&finding.object)?;
            let is_open = what != Stored::Catalog && !self.mended.contains(&what);
            is_open.then(|| (what, finding.clone()))
        });
        open.collect()
    }

    /// Puts what a writer has staged in place, after what is there was moved to `lost+found/`.
    fn put_in_place(&mut self, writer: &Writer<'_>, staged: Staged, open: &Open) -> Result<()> {
        if staged.is_empty() {
            return Ok(());
        }
        self.watch.check()?;
        writer.sync_staged()?;
        // From here to the end of publishing nothing asks whether to stop: what is detached has to be replaced.
        let (mut repairs, mut moved) = (Vec::with_capacity(staged.len()), Vec::new());
        for (what, from) in staged {
            let finding = open.get(&what);
            let kept_as = match self.is_right_by_now(&what, finding) {
                true => None,
                false => writer.detach(&what)?,
            };
            repairs.push(Repair::new(&what, finding, &from, kept_as.as_deref()));
            moved.extend(kept_as.map(|kept_as| [what.path(), kept_as]));
            self.mended.insert(what);
        }
        writer.sync_detached(moved.into_iter().flatten())?;
        let published = writer.publish()?;
        self.report.repairs.extend(repairs);
        let givens: BTreeMap<_, _> = published.objects.iter().collect();
        if givens.is_empty() || !self.store.has_catalog()? {
            return Ok(());
        }
        let put = |change: &crate::store::catalog::Change<'_>| {
            // No row speaks of a file that is gone: a collector may have moved away what nothing needs.
            let mut there = Vec::with_capacity(givens.len());
            for (id, given) in &givens {
                if self.store.stat_object(id)?.is_some() {
                    there.push((*id, *given));
                }
            }
            change.put_givens(there.into_iter())
        };
        match self.store.change_catalog(put) {
            // A catalog that cannot be written is mended last, from what the files show.
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(()),
            other => other,
        }
    }

    /// Tells whether an object has come right since it was found wrong: by an import, or by another repair.
    fn is_right_by_now(&self, what: &Stored, finding: Option<&Finding>) -> bool {
        let Stored::Object(id) = what else {
            return false;
        };
        let bytes_were_right = finding.is_some_and(|finding| finding.kind == Kind::Changed);
        // One that cannot be read is not right.
        !bytes_were_right && matches!(self.store.object_as_it_is(id), Ok(Some(_)))
    }

    /// Returns the blobs that may hold each layer, as far as names lead to them.
    fn blobs_by_layer(&self) -> Result<BTreeMap<DiffId, BTreeSet<Digest>>> {
        let led = Led::of(self.store, Damage::LeaveOut)?;
        let mut found: BTreeMap<DiffId, BTreeSet<Digest>> = BTreeMap::new();
        for (blob, layer) in led.layers {
            found.entry(layer).or_default().insert(blob);
        }
        Ok(found)
    }

    /// Puts the catalog's rows right, or makes it anew where that was not enough.
    fn mend_catalog(&mut self) -> Result<()> {
        // Without names every image would be lost to it.
        if self.catalog_tries == CATALOG_TRIES || self.store.names().is_err() {
            return Ok(());
        }
        self.catalog_tries += 1;
        let mut rows = Rows::of(self.store, Damage::LeaveOut, self.watch)?;
        let put_right = self.catalog_tries < CATALOG_TRIES && self.store.has_catalog()?;
        let kept_as = match put_right && self.put_rows_right(&mut rows)? {
            true => None,
            false => {
                // No row of it is worth keeping.
                self.catalog_tries = CATALOG_TRIES;
                self.store
                    .write()?
                    .replace_catalog(|change| rows.put(change))?
            }
        };
        let finding = self.report.found.findings.iter();
        let mut finding = finding.filter(|finding| finding.kind == Kind::CatalogDisagrees);
        let from = "documents, recipes and what the files show";
        let mut repair = Repair::new(&Stored::Catalog, finding.next(), from, kept_as.as_deref());
        repair.kind = Kind::CatalogDisagrees;
        self.report.repairs.push(repair);
        Ok(())
    }

    /// Puts all rows that follow from files into the catalog that is there; others may be adding to it.
    ///
    /// Returns whether it could be read and written.
    fn put_rows_right(&self, rows: &mut Rows) -> Result<bool> {
        let known = self.store.view(|view| {
            // What an object was given is known better here than from what its file shows.
            rows.givens
                .retain(|id, _| !matches!(view.given(id), Ok(Some(_))));
            Ok(())
        });
        let put = known.and_then(|()| self.store.change_catalog(|change| rows.put(change)));
        match put {
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(false),
            other => other.map(|()| true),
        }
    }
}
