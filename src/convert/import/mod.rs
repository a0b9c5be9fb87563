//! Owns the import: from a source to named images. All of one source becomes visible at once, or nothing does.

mod naming;
mod take;

use std::collections::{BTreeSet, HashMap};

use super::admit::Admission;
use super::gather::{Gathered, Gatherer};
use super::merge::{Attention, Parsed};
use super::source::Source;
pub use crate::compress::Mislabelled;
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::reference::ImageName;
use crate::store::{Published, Writer};
use crate::warning::Warnings;
use crate::watch::Watch;
use crate::wire::Descriptor;

/// What happens to compressed layer blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Blobs {
    /// They are kept, so that export gives back the same bytes.
    #[default]
    Keep,
    /// They are kept, but for those that are known to be made again, or that [`super::compact`] proves to be so in little time.
    Auto,
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
    /// Their layers' blobs.
    pub blobs: BTreeSet<Digest>,
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

impl Report {
    fn count(&mut self, published: &Published) {
        let sizes = published.objects.values().map(|given| given.stat.size);
        self.objects_new = published.objects.len() as u64;
        self.bytes_new = sizes.sum();
    }
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
    let mut report = Report::default();
    report.images = naming::name_roots(source, options, &mut report.warnings)?;
    let gathered = gather(writer, source, options, watch)?;
    watch.begin("importing", Some(gathered.bytes()));
    report.blobs = gathered.layers.keys().copied().collect();
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
    let roots = source.roots().iter();
    let roots: Vec<Descriptor> = roots.map(|root| root.descriptor.clone()).collect();
    let layers = gathered.layers.iter();
    let admission = Admission {
        writer,
        images: &gathered.images,
        blobs: layers.map(|(blob, layer)| (*blob, layer.diff_id)).collect(),
        limits: &options.limits,
        attention: options.strictness.attention(),
        watch,
    };
    let admitted = admission.admit((&new, parsed), &roots, |merged| {
        report.warnings.merge(merged.warnings.clone());
        check_strict(source, options, &report.warnings)
    })?;
    report.count(&admitted.published);
    naming::name(writer.store(), &report.images, source)?;
    watch.end();
    Ok(report)
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
