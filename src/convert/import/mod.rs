//! Owns the import: from a source to named images. All of one source becomes visible at once, or nothing does.

mod naming;
mod take;

use std::collections::{BTreeMap, HashMap};

use super::gather::{Gathered, GatheredImage, Gatherer};
use super::merge::{Attention, Merger, Parsed};
use super::rebuild::{adopt, settle};
use super::replay::replay;
use super::source::Source;
pub use crate::compress::Mislabelled;
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::entry::{Action, Payload};
use crate::error::{Cause, Error, Result};
use crate::image::{Image, ImageLayer};
use crate::limits::Limits;
use crate::reference::ImageName;
use crate::store::Writer;
use crate::store::catalog::{Change, View};
use crate::store::inodes::Given;
use crate::warning::Warnings;
use crate::watch::Watch;
use crate::wire::Descriptor;

/// What happens to compressed layer blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Blobs {
    /// They are kept, so that export gives back the same bytes.
    #[default]
    Keep,
    /// Only their files are kept: export makes the same tars, compressed anew.
    Drop,
}

/// What to make of warnings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strictness {
    /// They are told in the report.
    #[default]
    Warn,
    /// They are errors.
    Strict,
}

impl Strictness {
    /// Whether an image is accepted must not depend on what was imported before.
    fn attention(self) -> Attention {
        match self {
            Self::Warn => Attention::New,
            Self::Strict => Attention::All,
        }
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What happens to compressed layer blobs.
    pub blobs: Blobs,
    /// What to call the source's only image.
    pub name: Option<ImageName>,
    /// What to make of warnings.
    pub strictness: Strictness,
    /// What to make of wrong media types.
    pub mislabelled: Mislabelled,
    /// What documents and layers may ask for.
    pub limits: Limits,
    /// How many threads.
    pub jobs: usize,
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The names, and what they name now.
    pub images: Vec<(ImageName, Digest)>,
    /// Layers taken in.
    pub layers_new: u64,
    /// Layers that were there already.
    pub layers_known: u64,
    /// Contents that were new.
    pub objects_new: u64,
    /// Bytes of contents that were new.
    pub bytes_new: u64,
    /// What was odd.
    pub warnings: Warnings,
}

/// Imports everything that `source` offers.
pub fn import(
    writer: &Writer<'_>,
    source: &Source,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Report> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs.max(1))
        .build()
        .map_err(|e| Error::failed("start", "threads", e.to_string()))?;
    pool.install(|| import_all(writer, source, options, watch))
}

fn import_all(
    writer: &Writer<'_>,
    source: &Source,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Report> {
    let store = writer.store();
    let mut report = Report::default();
    report.images = naming::name_roots(source, options, &mut report.warnings)?;
    let gathered = gather(writer, source, options, watch)?;
    watch.begin("importing", Some(gathered.bytes()));
    let work = take::Work {
        writer,
        source,
        options,
        watch,
    };
    let layers = work.take_layers(&gathered, &mut report)?;
    work.prove(&gathered, &layers)?;
    let new: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
    let parsed = layers.into_iter().filter_map(|layer| {
        report.warnings.merge(layer.warnings);
        Some((layer.diff_id, layer.parsed?))
    });
    let parsed: HashMap<DiffId, Parsed> = parsed.collect();
    let adopted = store.view(|view| adopt_orphans(writer, view, (&new, &parsed)))?;
    let merged = work.merge(&gathered, parsed)?;
    report.warnings.merge(merged.warnings.clone());
    check_strict(source, options, &report.warnings)?;
    watch.check()?;
    let published = writer.publish()?;
    report.objects_new = published.objects.len() as u64;
    report.bytes_new = published
        .objects
        .values()
        .map(|given| given.stat.size)
        .sum();
    // From here to the naming no collector takes what this leads to; what one took before comes back.
    let roots: Vec<Descriptor> = source
        .roots()
        .iter()
        .map(|r| r.descriptor.clone())
        .collect();
    let mut givens: HashMap<ContentId, Given> = published.objects;
    for (id, given) in adopted {
        givens.entry(id).or_insert(given);
    }
    // What was looked at before the claim may have gone since, and others put in its place.
    let claimed = writer.claim(&roots, &givens)?;
    let mut givens: BTreeMap<ContentId, Given> = givens.into_iter().collect();
    givens.extend(claimed.givens.iter().map(|(id, given)| (*id, *given)));
    work.record(&gathered, merged, &givens)?;
    naming::name(store, &report.images, source)?;
    watch.end();
    Ok(report)
}

/// Trees, and what the catalog does not have of them yet.
struct Merged {
    /// How often rows that these trees may need had been dropped when they were read.
    sweeps: u64,
    images: Vec<Image>,
    nodes: BTreeMap<TreeId, Vec<u8>>,
    chains: BTreeMap<ChainId, TreeId>,
    warnings: Warnings,
}

impl take::Work<'_> {
    /// Merges the layers of all images; those that are not in `parsed` are read from their recipes.
    fn merge(&self, gathered: &Gathered, mut parsed: HashMap<DiffId, Parsed>) -> Result<Merged> {
        let store = self.writer.store();
        loop {
            let sweeps = store.view(View::sweeps)?;
            match self.merge_once(gathered, (sweeps, std::mem::take(&mut parsed))) {
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

    fn merge_once(
        &self,
        gathered: &Gathered,
        (sweeps, parsed): (u64, HashMap<DiffId, Parsed>),
    ) -> Result<Merged> {
        self.writer.store().view(|view| {
            let recipe = |layer: &DiffId| self.writer.recipe(layer);
            let merger = Merger::new(&recipe, Some(view), parsed);
            let mut merger = merger.looking_at(self.options.strictness.attention());
            merger.bound(&self.options.limits, self.watch);
            let images = gathered.images.iter();
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
    fn record(
        &self,
        gathered: &Gathered,
        mut merged: Merged,
        givens: &BTreeMap<ContentId, Given>,
    ) -> Result<()> {
        let store = self.writer.store();
        loop {
            let done = store.change_catalog_if(|change| {
                // A collector dropped rows: what these trees were merged from may be among them.
                if change.sweeps()? != merged.sweeps {
                    return Ok(None);
                }
                change.put_givens(givens.iter())?;
                merged.put(change)?;
                let layers = &mut gathered.layers.iter();
                layers.try_for_each(|(blob, layer)| change.put_layer(blob, &layer.diff_id))?;
                change.count_commit().map(Some)
            })?;
            if done.is_some() {
                return Ok(());
            }
            self.watch.check()?;
            merged = self.merge(gathered, HashMap::new())?;
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

fn gather(
    writer: &Writer<'_>,
    source: &Source,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Gathered> {
    let bounds = (&options.limits, options.mislabelled);
    Gatherer::new(source, writer, watch, bounds).follow_roots()
}

impl Gathered {
    fn bytes(&self) -> u64 {
        let layers = self.layers.values().map(|l| l.descriptor.size);
        layers.chain(self.blobs.values().map(|b| b.size)).sum()
    }
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

fn check_strict(source: &Source, options: &Options, warnings: &Warnings) -> Result<()> {
    match (options.strictness, warnings.iter().next()) {
        (Strictness::Strict, Some((warning, noted))) => Err(Error::malformed(
            "import",
            source.what(),
            format!("{}: {}", noted.first, warning.text()),
        )
        .hint("without --strict this is a warning")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
