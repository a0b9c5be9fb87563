//! Owns the commit beside a collector: claim what is about to be named, bring back what of it was moved to the trash,
//! and only then name it. The steps, and why they are in this order, are in `docs/gc.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::claims::Claim;
use super::epochs::Epoch;
use super::inodes::Given;
use super::names::Names;
use super::reach::Reach;
use super::trash::InPlace;
use super::{Reader, Store, paths};
use crate::digest::{ContentId, DiffId};
use crate::error::{Error, Result};
use crate::reference::ImageName;
use crate::wire::Descriptor;

/// What a commit is about to name, in place, and kept there until this is dropped.
#[derive(Debug)]
pub(crate) struct Claimed<'s> {
    _claim: Claim<'s>,
    /// What objects are that no record tells of rightly.
    pub(crate) givens: BTreeMap<ContentId, Given>,
}

impl Reader<'_> {
    /// Gives `descriptor`, which this reader has found, another name.
    pub fn name(&self, descriptor: &Descriptor, name: &ImageName) -> Result<()> {
        // What has a name is in place, and stays: another name for it needs no more than the lock on names.
        let done = self.store.change_names(|names| {
            let is_named = has(names, descriptor);
            if is_named {
                names.set(name, descriptor.clone());
            }
            Ok(is_named)
        })?;
        if done {
            return Ok(());
        }
        let _claimed = self.claim_again(descriptor)?;
        self.store.change_names(|names| {
            names.set(name, descriptor.clone());
            Ok(())
        })
    }

    /// Does `keep`, which makes `descriptor` a root of collections in another way than by a name, while all that it leads
    /// to is in place, and stays.
    pub(super) fn while_in_place(
        &self,
        descriptor: &Descriptor,
        keep: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let done = self
            .store
            .change_names(|names| match has(names, descriptor) {
                true => keep().map(|()| true),
                false => Ok(false),
            })?;
        if done {
            return Ok(());
        }
        let _claimed = self.claim_again(descriptor)?;
        keep()
    }

    /// Claims what may have no name, after whoever named it before: all of it has to be there.
    fn claim_again(&self, descriptor: &Descriptor) -> Result<Claimed<'_>> {
        let roots = std::slice::from_ref(descriptor);
        let claim = Claim::make(self.store, roots)?;
        let givens = self.store.bring_all_back(roots, &HashMap::new())?;
        self.store.check_records(roots)?;
        let claimed = Claimed {
            _claim: claim,
            givens,
        };
        if !claimed.givens.is_empty() {
            self.store
                .change_catalog(|change| change.put_givens(claimed.givens.iter()))?;
        }
        Ok(claimed)
    }
}

/// Tells whether exactly this has a name.
fn has(names: &Names, descriptor: &Descriptor) -> bool {
    let is_same = |known: &Descriptor| {
        known.digest == descriptor.digest && known.media_type == descriptor.media_type
    };
    names.entries().iter().any(|e| is_same(&e.descriptor))
}

impl Store {
    /// Claims what `roots` lead to, and brings it back where it was moved away since `epoch` was entered.
    ///
    /// `recorded` is what the caller is about to record of objects.
    pub(super) fn claim(
        &self,
        epoch: &Epoch,
        roots: &[Descriptor],
        recorded: &HashMap<ContentId, Given>,
    ) -> Result<Claimed<'_>> {
        let claim = Claim::make(self, roots)?;
        let newest = self.trash()?.pop();
        let givens = match newest.is_some_and(|newest| newest >= epoch.number()) {
            true => self.bring_all_back(roots, recorded)?,
            false => BTreeMap::new(),
        };
        Ok(Claimed {
            _claim: claim,
            givens,
        })
    }

    fn bring_all_back(
        &self,
        roots: &[Descriptor],
        recorded: &HashMap<ContentId, Given>,
    ) -> Result<BTreeMap<ContentId, Given>> {
        let reach = Reach::with_discarded_referrers(self, roots)?;
        let layers: BTreeSet<DiffId> = reach.diff_ids();
        let mut contents: BTreeSet<ContentId> = BTreeSet::new();
        for layer in &layers {
            contents.extend(self.recipe(layer)?.contents()?.iter().map(|c| c.id));
        }
        // From the bottom up, as everything is put in place: each step durable before the next.
        self.bring_back_all(contents.iter().map(paths::object), Missing::Is)?;
        self.bring_back_all(layers.iter().map(paths::recipe), Missing::Is)?;
        // The blob of a layer need not be kept, or its compression recipe makes it.
        self.bring_back_all(reach.layers.keys().map(paths::stream), Missing::IsFine)?;
        self.bring_back_all(reach.layers.keys().map(paths::blob), Missing::IsFine)?;
        let documents = reach.documents.keys().chain(reach.blobs.keys());
        self.bring_back_all(documents.map(paths::blob), Missing::Is)?;
        self.look_at_records(&contents, recorded)
    }

    /// Fails where an image that `roots` lead to has no record: it was put in place, but its import never ended.
    fn check_records(&self, roots: &[Descriptor]) -> Result<()> {
        let reach = Reach::of(self, roots)?;
        self.view(|view| {
            for manifest in reach.images.keys() {
                if view.image(manifest)?.is_none() {
                    let why = "its import did not end";
                    return Err(Error::missing("name", manifest, why).hint("import it again"));
                }
            }
            Ok(())
        })
    }

    fn bring_back_all(
        &self,
        places: impl Iterator<Item = PathBuf>,
        missing: Missing,
    ) -> Result<()> {
        let places: Vec<PathBuf> = places.collect();
        let bring = |below: &PathBuf| match (self.bring_back(below)?, missing) {
            (InPlace::BroughtBack, _) => Ok(Some(below.clone())),
            (InPlace::Missing, Missing::Is) => Err(missing_file(below)),
            (InPlace::Missing, Missing::IsFine) | (InPlace::Already, _) => Ok(None),
        };
        let brought: Result<Vec<Option<PathBuf>>> = places.par_iter().map(bring).collect();
        self.sync_folders(brought?.into_iter().flatten())
    }

    /// Returns what those objects are whose record is gone, or does not say what their file shows.
    fn look_at_records(
        &self,
        contents: &BTreeSet<ContentId>,
        recorded: &HashMap<ContentId, Given>,
    ) -> Result<BTreeMap<ContentId, Given>> {
        let unknown = self.view(|view| {
            let mut unknown = Vec::new();
            for id in contents {
                let given = match recorded.get(id) {
                    Some(given) => Some(*given),
                    None => view.given(id)?,
                };
                let fits = match given {
                    Some(given) => self.object_fits(id, &given)?,
                    None => false,
                };
                unknown.extend((!fits).then_some(*id));
            }
            Ok(unknown)
        })?;
        // Where the bytes are wrong there is nothing to record: that is for `fsck` to tell.
        let look = |id: &ContentId| Ok(self.object_as_it_is(id)?.map(|given| (*id, given)));
        let seen: Result<Vec<Option<(ContentId, Given)>>> = unknown.par_iter().map(look).collect();
        Ok(seen?.into_iter().flatten().collect())
    }
}

/// Whether a file that is nowhere is damage.
#[derive(Clone, Copy)]
enum Missing {
    Is,
    IsFine,
}

fn missing_file(below: &Path) -> Error {
    let why = "the store does not have it";
    Error::damaged("name what needs", format!("'{}'", below.display()), why)
        .hint("import its image again")
}
