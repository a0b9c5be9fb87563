//! Owns making the catalog anew from the files: names from `index.json`, trees from recipes, metadata from what the
//! objects' files show.

use std::collections::{BTreeMap, HashMap};

use super::merge::Merger;
use super::replay::replay;
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::entry::Action;
use crate::error::{Cause, Result};
use crate::image::{Image, ImageLayer};
use crate::meta::Meta;
use crate::store::Store;
use crate::store::catalog::Change;
use crate::store::inodes::{Given, Owners, Stat, is_settable};
use crate::store::names::Names;
use crate::store::reach::{ImageDocs, Reach};
use crate::warning::Warnings;
use crate::watch::Watch;

/// Whether a catalog had to be made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rebuilt {
    /// It was there.
    No,
    /// It was lost.
    Yes,
    /// The store is new and has nothing to put into one.
    Fresh,
}

/// What to make of damage that rows would have to be made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Damage {
    /// Stop: the next command does not go on over it.
    Stop,
    /// Leave out what it takes down: a repair has named it, and the rest is to be of use.
    LeaveOut,
}

impl Damage {
    /// Returns what could be read, or `None` where it is damaged and left out.
    fn pass<T>(self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Err(e) if self == Self::LeaveOut && matches!(e.cause(), Cause::Damaged(_)) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Makes the catalog where it is lost or torn.
pub fn rebuild_if_lost(store: &Store, watch: &dyn Watch) -> Result<Rebuilt> {
    if store.has_catalog()? {
        return Ok(Rebuilt::No);
    }
    let _reading = store.read()?;
    watch.begin("rebuilding the catalog", None);
    let rows = Rows::of(store, Damage::Stop, watch)?;
    store.create_catalog(|change| rows.put(change))?;
    watch.end();
    Ok(if rows.is_empty() {
        Rebuilt::Fresh
    } else {
        Rebuilt::Yes
    })
}

/// What the files say that the catalog has to say.
pub(super) struct Rows {
    nodes: BTreeMap<TreeId, Vec<u8>>,
    chains: BTreeMap<ChainId, TreeId>,
    /// What objects were given, as far as they show it.
    pub(super) givens: BTreeMap<ContentId, Given>,
    layers: BTreeMap<Digest, DiffId>,
    images: Vec<Image>,
    documents: usize,
}

impl Rows {
    /// Works out all rows.
    pub(super) fn of(store: &Store, damage: Damage, watch: &dyn Watch) -> Result<Self> {
        let led = Led::of(store, damage)?;
        let mut givens: BTreeMap<ContentId, Given> = BTreeMap::new();
        for layer in store.recipes()? {
            watch.check()?;
            let replayed = store
                .recipe(&layer)
                .and_then(|recipe| replay(&recipe, &mut Warnings::default()));
            let Some((entries, contents)) = damage.pass(replayed)? else {
                continue;
            };
            for entry in &entries {
                if let Action::File(meta, payload) = &entry.action
                    && let Some(ordinal) = payload.ordinal
                    && let Some(content) = contents.get(ordinal as usize)
                {
                    adopt(store, &mut givens, (content.id, content.size), meta)?;
                }
            }
        }
        settle(store, &mut givens)?;
        let recipe = |layer: &DiffId| store.recipe(layer);
        let mut merger = Merger::new(&recipe, None, HashMap::new());
        let mut images = Vec::new();
        for docs in led.images.values() {
            images.extend(damage.pass(record(docs, &mut merger))?);
        }
        let (nodes, chains) = merger.finish();
        Ok(Self {
            nodes,
            chains,
            givens,
            layers: led.layers,
            images,
            documents: led.documents,
        })
    }

    /// Puts all of them.
    pub(super) fn put(&self, change: &Change<'_>) -> Result<()> {
        let Self {
            nodes,
            chains,
            givens,
            layers,
            images,
            documents: _,
        } = self;
        change.put_nodes(nodes.iter().map(|(id, bytes)| (id, bytes.as_slice())))?;
        change.put_givens(givens.iter())?;
        chains
            .iter()
            .try_for_each(|(chain, root)| change.put_chain(chain, root))?;
        // A blob that is kept and that an image names was proved when it came in.
        layers
            .iter()
            .try_for_each(|(blob, diff_id)| change.put_layer(blob, diff_id))?;
        images
            .iter()
            .try_for_each(|image| change.put_image(image))?;
        change.count_commit()
    }

    fn is_empty(&self) -> bool {
        self.documents == 0 && self.givens.is_empty()
    }
}

/// What names lead to, as far as it can be followed.
#[derive(Default)]
pub(super) struct Led {
    /// The images.
    images: BTreeMap<Digest, ImageDocs>,
    /// Which tars their layers' blobs hold.
    pub(super) layers: BTreeMap<Digest, DiffId>,
    /// How many documents there are.
    documents: usize,
}

impl Led {
    /// Follows all names.
    pub(super) fn of(store: &Store, damage: Damage) -> Result<Self> {
        let mut led = Self::default();
        if let Some(reach) = damage.pass(Reach::of_all(store))? {
            led.add(reach);
            return Ok(led);
        }
        let names = damage.pass(store.names())?;
        for entry in names.iter().flat_map(Names::entries) {
            let followed = Reach::of(store, std::slice::from_ref(&entry.descriptor));
            if let Some(reach) = damage.pass(followed)? {
                led.add(reach);
            }
        }
        Ok(led)
    }

    fn add(&mut self, reach: Reach) {
        self.documents += reach.documents.len();
        self.images.extend(reach.images);
        self.layers.extend(reach.layers);
    }
}

/// Returns the root of an image's tree as its recipes give it.
pub fn root_from_recipes(store: &Store, docs: &ImageDocs) -> Result<TreeId> {
    let recipe = |layer: &DiffId| store.recipe(layer);
    Merger::new(&recipe, None, HashMap::new()).merge(&stack(docs))
}

fn stack(docs: &ImageDocs) -> Vec<(Digest, DiffId)> {
    let layers = docs.layers();
    layers
        .map(|(layer, diff_id)| (layer.digest, *diff_id))
        .collect()
}

fn record(docs: &ImageDocs, merger: &mut Merger<'_>) -> Result<Image> {
    let layers = docs.layers().map(|(layer, diff_id)| ImageLayer {
        blob: layer.digest,
        size: layer.size,
        diff_id: *diff_id,
    });
    Ok(Image {
        manifest: docs.descriptor.digest,
        config: docs.manifest.config.digest,
        layers: layers.collect(),
        root: merger.merge(&stack(docs))?,
        platform: docs.config.platform.clone(),
        created: docs.config.created.clone(),
    })
}

/// Finds which of the metadata that a content came with its object's file was given: the one that it shows.
///
/// Where it shows none of them it was changed; the first is taken then, and the difference will be noticed.
pub(super) fn adopt(
    store: &Store,
    givens: &mut BTreeMap<ContentId, Given>,
    (id, size): (ContentId, u64),
    meta: &Meta,
) -> Result<()> {
    let wanted = given(&id, size, meta);
    let Some(seen) = store.stat_object(&id)?.map(|stat| Stat::seen(&stat)) else {
        return Ok(());
    };
    let fits = |given: &Given| seen.differences(&given.stat).is_empty();
    let is_better = match givens.get(&id) {
        Some(before) if !fits(&wanted) || before.inode == wanted.inode => false,
        // They may differ in attributes only, which a look at the file does not tell.
        Some(before) if fits(before) => store.object_fits(&id, &wanted)?,
        _ => true,
    };
    if is_better {
        givens.insert(id, wanted);
    }
    Ok(())
}

/// Takes objects that show metadata of no layer that is left for what they show, where their bytes are right.
///
/// Such an object got its metadata from a layer that was collected since. Whatever it shows, it is handed out only
/// where exactly that is wanted; one whose bytes are wrong keeps its difference, and is noticed by it.
pub(super) fn settle(store: &Store, givens: &mut BTreeMap<ContentId, Given>) -> Result<()> {
    for (id, given) in givens {
        if !store.object_fits(id, given)?
            && let Some(shown) = store.object_as_it_is(id)?
        {
            *given = shown;
        }
    }
    Ok(())
}

fn given(id: &ContentId, size: u64, meta: &Meta) -> Given {
    let mut meta = Owners::of_process().apply_to_object(meta);
    // The file was not given these either.
    meta.xattrs.retain(|name, _| is_settable(name));
    Given::new(id, size, &meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::locks::Wait;

    #[test]
    fn of_two_uses_that_differ_in_attributes_only_the_files_own_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Never).unwrap();
        let bare = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let mut noted = bare.clone();
        noted
            .xattrs
            .insert(b"user.note".as_slice().into(), b"x".as_slice().into());
        for (at, uses) in [[&bare, &noted], [&noted, &bare]].into_iter().enumerate() {
            let bytes = format!("bytes {at}");
            let size = bytes.len() as u64;
            let writer = store.write().unwrap();
            let own = writer.owners().apply_to_object(&noted);
            let id = writer.add_object(bytes.as_bytes(), &own).unwrap();
            writer.publish().unwrap();
            let mut givens = BTreeMap::new();
            for meta in uses {
                adopt(&store, &mut givens, (id, size), meta).unwrap();
            }
            settle(&store, &mut givens).unwrap();
            assert_eq!(givens[&id], given(&id, size, &noted));
            // Where no layer that is left gives it this, the file tells.
            let mut alone = BTreeMap::new();
            adopt(&store, &mut alone, (id, size), &bare).unwrap();
            settle(&store, &mut alone).unwrap();
            assert_eq!(alone[&id], given(&id, size, &noted));
        }
    }
}
