//! Owns the end of whatever brings images in: from when all of them is staged until their trees are in the catalog and
//! nothing may take them. Only the naming is left to the caller.

use std::collections::{BTreeMap, HashMap};

use super::gather::GatheredImage;
use super::merge::{Attention, Merger, Parsed};
use super::rebuild::{adopt, settle};
use super::replay::replay;
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::entry::{Action, Payload};
use crate::error::{Cause, Error, Result};
use crate::image::{Image, ImageLayer};
use crate::limits::Limits;
use crate::reference::ImageName;
use crate::store::catalog::{Change, View};
use crate::store::inodes::Given;
use crate::store::{Claimed, Published, Writer};
use crate::warning::Warnings;
use crate::watch::Watch;
use crate::wire::{Config, Descriptor};

/// An image of our own making. Its documents, and what is new of its layers, are staged.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its manifest.
    pub manifest: Descriptor,
    /// The digest of its config.
    pub config: Digest,
    /// What its config says.
    pub read: Config,
    /// Its layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The tree that its layers have to add up to, where that is known.
    pub root: Option<TreeId>,
}

/// Takes in an image of our own making and gives it `names`, all at once; `new` are the layers that are staged.
///
/// Returns the root of its tree. Fails before anything is in place where its layers do not add up to what they should.
pub fn admit(
    writer: &Writer<'_>,
    image: NewImage,
    new: &[DiffId],
    names: &[ImageName],
    watch: &dyn Watch,
) -> Result<TreeId> {
    let NewImage {
        manifest,
        config,
        read,
        layers,
        root,
    } = image;
    let gathered = [GatheredImage {
        manifest: manifest.digest,
        config,
        read,
        layers,
    }];
    let blobs = gathered[0].layers.iter().zip(&gathered[0].read.diff_ids);
    let admission = Admission {
        writer,
        images: &gathered,
        blobs: blobs
            .map(|(blob, diff_id)| (blob.digest, *diff_id))
            .collect(),
        limits: &Limits::NONE,
        attention: Attention::New,
        watch,
    };
    let roots = std::slice::from_ref(&manifest);
    let admitted = admission.admit((new, HashMap::new()), roots, |merged| {
        match (root, merged.images.first()) {
            (Some(expected), Some(image)) if image.root != expected => {
                let why = format!("its layers add up to {}, not to {expected}", image.root);
                Err(Error::failed("make the image", manifest.digest, why))
            }
            _ => Ok(()),
        }
    })?;
    writer.store().change_names(|all| {
        all.set_all(names.iter().map(|name| (name.clone(), manifest.clone())));
        Ok(())
    })?;
    let root = admitted.roots.first().copied();
    root.ok_or_else(|| Error::failed("make the image", manifest.digest, "it has no tree"))
}

/// What is about to come in.
pub(super) struct Admission<'a> {
    pub(super) writer: &'a Writer<'a>,
    /// The images.
    pub(super) images: &'a [GatheredImage],
    /// Their layers' blobs, and the tars that these were proved to hold.
    pub(super) blobs: Vec<(Digest, DiffId)>,
    pub(super) limits: &'a Limits,
    pub(super) attention: Attention,
    pub(super) watch: &'a dyn Watch,
}

/// What came in. It only needs names, as long as this is held.
pub(super) struct Admitted<'s> {
    pub(super) published: Published,
    /// The roots of the images' trees.
    pub(super) roots: Vec<TreeId>,
    _claimed: Claimed<'s>,
}

/// Trees, and what the catalog does not have of them yet.
pub(super) struct Merged {
    /// How often rows that these trees may need had been dropped when they were read.
    sweeps: u64,
    pub(super) images: Vec<Image>,
    nodes: BTreeMap<TreeId, Vec<u8>>,
    chains: BTreeMap<ChainId, TreeId>,
    pub(super) warnings: Warnings,
}

impl<'a> Admission<'a> {
    /// Merges, asks `check` whether what came of it will do, puts everything in place, claims and records it.
    pub(super) fn admit(
        &self,
        (new, parsed): (&[DiffId], HashMap<DiffId, Parsed>),
        roots: &[Descriptor],
        check: impl FnOnce(&Merged) -> Result<()>,
    ) -> Result<Admitted<'a>> {
        let (writer, store) = (self.writer, self.writer.store());
        let adopted = store.view(|view| adopt_orphans(writer, view, (new, &parsed)))?;
        let merged = self.merge(parsed)?;
        check(&merged)?;
        self.watch.check()?;
        let published = writer.publish()?;
        // From here to the naming no collector takes what this leads to; what one took before comes back.
        let mut givens: HashMap<ContentId, Given> = published.objects.clone();
        for (id, given) in adopted {
            givens.entry(id).or_insert(given);
        }
        // What was looked at before the claim may have gone since, and others put in its place.
        let claimed = writer.claim(roots, &givens)?;
        let mut givens: BTreeMap<ContentId, Given> = givens.into_iter().collect();
        givens.extend(claimed.givens.iter().map(|(id, given)| (*id, *given)));
        let roots = merged.images.iter().map(|image| image.root).collect();
        self.record(merged, &givens)?;
        Ok(Admitted {
            published,
            roots,
            _claimed: claimed,
        })
    }

    /// Merges the layers of all images; those that are not in `parsed` are read from their recipes.
    fn merge(&self, mut parsed: HashMap<DiffId, Parsed>) -> Result<Merged> {
        let store = self.writer.store();
        loop {
            let sweeps = store.view(View::sweeps)?;
            match self.merge_once((sweeps, std::mem::take(&mut parsed))) {
                // A stack of layers that nothing names may go, tree and all, while it is read.
                Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
                    if store.view(View::sweeps)? == sweeps {
                        return Err(e);
                    }
                    self.watch.check()?;
                }
                other => return other,
            }
        }
    }

    fn merge_once(&self, (sweeps, parsed): (u64, HashMap<DiffId, Parsed>)) -> Result<Merged> {
        self.writer.store().view(|view| {
            let recipe = |layer: &DiffId| self.writer.recipe(layer);
            let merger = Merger::new(&recipe, Some(view), parsed);
            let mut merger = merger.looking_at(self.attention);
            merger.bound(self.limits, self.watch);
            let images = self.images.iter();
            let images = images.map(|image| record(image, &mut merger));
            let images = images.collect::<Result<Vec<Image>>>()?;
            let warnings = std::mem::take(&mut merger.warnings);
            let (nodes, chains) = merger.finish();
            Ok(Merged {
                sweeps,
                images,
                nodes,
                chains,
                warnings,
            })
        })
    }

    /// Puts everything into the catalog in one transaction.
    fn record(&self, mut merged: Merged, givens: &BTreeMap<ContentId, Given>) -> Result<()> {
        let store = self.writer.store();
        loop {
            let done = store.change_catalog_if(|change| {
                // A collector dropped rows: what these trees were merged from may be among them.
                if change.sweeps()? != merged.sweeps {
                    return Ok(None);
                }
                change.put_givens(givens.iter())?;
                merged.put(change)?;
                let layers = &mut self.blobs.iter();
                layers.try_for_each(|(blob, diff_id)| change.put_layer(blob, diff_id))?;
                change.count_commit().map(Some)
            })?;
            if done.is_some() {
                return Ok(());
            }
            self.watch.check()?;
            merged = self.merge(HashMap::new())?;
        }
    }
}

impl Merged {
    fn put(&self, change: &Change<'_>) -> Result<()> {
        change.put_nodes(self.nodes.iter().map(|(id, bytes)| (id, bytes.as_slice())))?;
        let mut chains = self.chains.iter();
        chains.try_for_each(|(chain, root)| change.put_chain(chain, root))?;
        self.images
            .iter()
            .try_for_each(|image| change.put_image(image))
    }
}

/// Records contents that were in place already but that nobody recorded: their import died before it could.
fn adopt_orphans(
    writer: &Writer<'_>,
    view: &View,
    (new, parsed): (&[DiffId], &HashMap<DiffId, Parsed>),
) -> Result<BTreeMap<ContentId, Given>> {
    let mut adopted = BTreeMap::new();
    for layer in new {
        let replayed;
        let (entries, contents) = match parsed.get(layer) {
            Some(parsed) => parsed,
            None => {
                view.rest();
                replayed = replay(&writer.recipe(layer)?, &mut Warnings::default())?;
                &replayed
            }
        };
        for entry in entries {
            let Action::File(
                meta,
                Payload {
                    ordinal: Some(ordinal),
                    ..
                },
            ) = &entry.action
            else {
                continue;
            };
            let Some(content) = contents.get(*ordinal as usize) else {
                continue;
            };
            if !writer.is_staged(&content.id) && is_orphan(writer, view, &content.id)? {
                adopt(
                    writer.store(),
                    &mut adopted,
                    (content.id, content.size),
                    meta,
                )?;
            }
        }
    }
    view.rest();
    settle(writer.store(), &mut adopted)?;
    Ok(adopted)
}

/// Tells whether no record says what the object in place shows.
fn is_orphan(writer: &Writer<'_>, view: &View, id: &ContentId) -> Result<bool> {
    Ok(match view.given(id)? {
        Some(given) => !writer.store().object_changes(id, &given)?.is_empty(),
        None => true,
    })
}

fn record(image: &GatheredImage, merger: &mut Merger<'_>) -> Result<Image> {
    let GatheredImage {
        manifest,
        config,
        read,
        layers,
    } = image;
    let layers = layers.iter().zip(&read.diff_ids);
    let stack: Vec<(Digest, DiffId)> = layers.clone().map(|(l, d)| (l.digest, *d)).collect();
    let root = merger.merge(&stack)?;
    Ok(Image {
        manifest: *manifest,
        config: *config,
        layers: layers
            .map(|(layer, diff_id)| ImageLayer {
                blob: layer.digest,
                size: layer.size,
                diff_id: *diff_id,
            })
            .collect(),
        root,
        platform: read.platform.clone(),
        created: read.created.clone(),
    })
}
