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
use crate::digest::{ContentId, DiffId, Digest};
use crate::entry::{Action, Payload};
use crate::error::{Error, Result};
use crate::image::{Image, ImageLayer};
use crate::limits::Limits;
use crate::reference::ImageName;
use crate::store::Writer;
use crate::store::catalog::View;
use crate::store::inodes::Given;
use crate::warning::Warnings;
use crate::watch::Watch;

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
    let merged = store.view(|view| {
        let adopted = adopt_orphans(writer, view, (&new, &parsed))?;
        let recipe = |layer: &DiffId| writer.recipe(layer);
        let merger = Merger::new(&recipe, Some(view), parsed);
        let mut merger = merger.looking_at(options.strictness.attention());
        merger.bound(&options.limits, watch);
        let images = gathered
            .images
            .iter()
            .map(|image| record(image, &mut merger));
        let images = images.collect::<Result<Vec<Image>>>()?;
        report.warnings.merge(std::mem::take(&mut merger.warnings));
        Ok((images, merger.finish(), adopted))
    });
    let (images, (nodes, chains), adopted) = merged?;
    check_strict(source, options, &report.warnings)?;
    watch.check()?;
    let published = writer.publish()?;
    report.objects_new = published.objects.len() as u64;
    report.bytes_new = published
        .objects
        .values()
        .map(|given| given.stat.size)
        .sum();
    let givens: BTreeMap<_, _> = published.objects.iter().collect();
    store.change_catalog(|change| {
        change.put_givens(adopted.iter())?;
        change.put_nodes(nodes.iter().map(|(id, bytes)| (id, bytes.as_slice())))?;
        change.put_givens(givens.iter().map(|(id, given)| (*id, *given)))?;
        chains
            .iter()
            .try_for_each(|(chain, root)| change.put_chain(chain, root))?;
        gathered
            .layers
            .iter()
            .try_for_each(|(blob, layer)| change.put_layer(blob, &layer.diff_id))?;
        images.iter().try_for_each(|image| change.put_image(image))
    })?;
    naming::name(store, &report.images, source)?;
    watch.end();
    Ok(report)
}

/// Records contents that were in place already but that nobody recorded: their import died before it could.
fn adopt_orphans(
    writer: &Writer<'_>,
    view: &View,
    (new, parsed): (&[DiffId], &HashMap<DiffId, Parsed>),
) -> Result<BTreeMap<ContentId, Given>> {
    let givens = view.givens()?;
    let mut adopted = BTreeMap::new();
    for layer in new {
        let replayed;
        let (entries, contents) = match parsed.get(layer) {
            Some(parsed) => parsed,
            None => {
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
            if !writer.is_staged(&content.id) && givens.get(&content.id)?.is_none() {
                adopt(
                    writer.store(),
                    &mut adopted,
                    (content.id, content.size),
                    meta,
                )?;
            }
        }
    }
    settle(writer.store(), &mut adopted)?;
    Ok(adopted)
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
