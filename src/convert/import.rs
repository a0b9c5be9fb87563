//! Owns the import: from a source to named images. All of one source becomes visible at once, or nothing does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::assemble::assemble;
use super::disassemble::{Bench, Keep, Layer, LayerJob, Proof};
use super::gather::{Gathered, GatheredImage, GatheredLayer, Gatherer};
use super::merge::{Merger, Parsed};
use super::rebuild::adopt;
use super::source::{Root, Source};
use super::workers::Workers;
use crate::compress::Compression;
use crate::digest::{ContentId, DiffId, Digest, DigestHasher};
use crate::entry::{Action, Payload};
use crate::error::{Error, Result};
use crate::image::{Image, ImageLayer};
use crate::limits::Limits;
use crate::reference::ImageName;
use crate::store::catalog::View;
use crate::store::inodes::Given;
use crate::store::{Store, Writer};
use crate::warning::{Warning, Warnings};
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

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What happens to compressed layer blobs.
    pub blobs: Blobs,
    /// What to call the source's only image.
    pub name: Option<ImageName>,
    /// What to make of warnings.
    pub strictness: Strictness,
    /// What one layer may ask for.
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
    report.images = name_roots(source, options, &mut report.warnings)?;
    let gathered = gather(writer, source, watch)?;
    watch.begin("importing", Some(gathered.bytes()));
    let work = Work {
        writer,
        source,
        options,
        watch,
    };
    let layers = work.take_layers(&gathered, &mut report)?;
    work.prove(&gathered, &layers)?;
    let parsed = layers.into_iter().map(|layer| {
        report.warnings.merge(layer.warnings);
        (layer.diff_id, (layer.entries, layer.contents))
    });
    let parsed: HashMap<DiffId, Parsed> = parsed.collect();
    let merged = store.view(|view| {
        let adopted = adopt_orphans(writer, view, &parsed)?;
        let recipe = |layer: &DiffId| writer.recipe(layer);
        let mut merger = Merger::new(&recipe, Some(view), parsed);
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
    name(store, &report.images, source)?;
    watch.end();
    Ok(report)
}

/// Records contents that were in place already but that nobody recorded: their import died before it could.
fn adopt_orphans(
    writer: &Writer<'_>,
    view: &View,
    parsed: &HashMap<DiffId, Parsed>,
) -> Result<BTreeMap<ContentId, Given>> {
    let givens = view.givens()?;
    let mut adopted = BTreeMap::new();
    for (entries, contents) in parsed.values() {
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
    Ok(adopted)
}

fn gather(writer: &Writer<'_>, source: &Source, watch: &dyn Watch) -> Result<Gathered> {
    let mut gatherer = Gatherer {
        source,
        writer,
        watch,
        gathered: Gathered::default(),
    };
    source
        .roots()
        .iter()
        .try_for_each(|root| gatherer.follow(&root.descriptor, 0))?;
    Ok(gatherer.gathered)
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
    let root = merger.merge(&read.diff_ids)?;
    let layers = layers.iter().zip(&read.diff_ids);
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

/// The part of an import that takes blobs in.
struct Work<'a> {
    writer: &'a Writer<'a>,
    source: &'a Source,
    options: &'a Options,
    watch: &'a dyn Watch,
}

/// One blob's turn.
enum Task<'a> {
    Blob(&'a Descriptor),
    /// A layer, and whether its recipe is new.
    Layer(&'a GatheredLayer, Known),
}

/// Whether any content of a layer is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspects {
    None,
    Some,
}

/// What the store knows of a layer's blob.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing: it is taken apart.
    New,
    /// Its tar is there, but whether this blob holds that tar is not proved.
    Tar,
    /// All.
    All,
}

impl<'a> Work<'a> {
    /// Takes in all blobs, large ones first, several at a time.
    fn take_layers(&self, gathered: &'a Gathered, report: &mut Report) -> Result<Vec<Layer>> {
        let mut tasks: Vec<(u64, Task<'a>)> = Vec::new();
        let mut taken: HashSet<DiffId> = HashSet::new();
        for layer in gathered.layers.values() {
            let mut known = self.known(layer)?;
            // Two blobs of one tar: the first is taken apart, the other only has to hold the same.
            if known == Known::New && !taken.insert(layer.diff_id) {
                known = Known::Tar;
            }
            match known {
                Known::New => report.layers_new += 1,
                Known::Tar | Known::All => report.layers_known += 1,
            }
            tasks.push((layer.descriptor.size, Task::Layer(layer, known)));
        }
        tasks.extend(
            gathered
                .blobs
                .values()
                .map(|blob| (blob.size, Task::Blob(blob))),
        );
        tasks.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        let tasks: Vec<Task<'a>> = tasks.into_iter().map(|(_, task)| task).collect();
        self.run(&tasks)
    }

    fn known(&self, layer: &GatheredLayer) -> Result<Known> {
        let store = self.writer.store();
        if !store.has_recipe(&layer.diff_id) || store.recipe(&layer.diff_id).is_err() {
            return Ok(Known::New);
        }
        if self.suspect_contents(&layer.diff_id)? == Suspects::Some {
            return Ok(Known::New);
        }
        let blob = layer.descriptor.digest;
        let proved =
            blob == layer.diff_id.0 || store.view(|view| view.layer(&blob))? == Some(layer.diff_id);
        Ok(if proved { Known::All } else { Known::Tar })
    }

    /// Looks whether all contents of a layer that is there are as they were given; those that are not are written
    /// anew. Contents without a record were put in place by an import that died: the layer is read again for them.
    fn suspect_contents(&self, layer: &DiffId) -> Result<Suspects> {
        let store = self.writer.store();
        let contents = store.recipe(layer)?.contents()?;
        store.view(|view| {
            let givens = view.givens()?;
            let mut found = Suspects::None;
            for content in contents {
                let changed = match givens.get(&content.id)? {
                    Some(given) => !store.object_changes(&content.id, &given)?.is_empty(),
                    None => true,
                };
                if changed {
                    self.writer.suspect(content.id);
                    found = Suspects::Some;
                }
            }
            Ok(found)
        })
    }

    fn run(&self, tasks: &[Task<'a>]) -> Result<Vec<Layer>> {
        let jobs = self.options.jobs.max(1);
        let progress = Progress::default();
        std::thread::scope(|scope| {
            let workers = Workers::new(self.writer, jobs);
            for _ in 0..jobs {
                let desk = workers.desk();
                scope.spawn(move || desk.work());
            }
            let bench = Bench {
                writer: self.writer,
                workers: &workers,
                limits: &self.options.limits,
                watch: self.watch,
            };
            std::thread::scope(|readers| {
                for _ in 0..jobs.min(tasks.len()) {
                    readers.spawn(|| self.take_turns(&bench, tasks, &progress));
                }
            });
            // The desks wait for work as long as there are workers to send it.
            drop(workers);
        });
        progress.finish()
    }

    fn take_turns(&self, bench: &Bench<'_>, tasks: &[Task<'_>], progress: &Progress) {
        while let Some(task) = progress.next(tasks) {
            progress.note(self.take(bench, task));
        }
    }

    fn take(&self, bench: &Bench<'_>, task: &Task<'_>) -> Result<Option<Layer>> {
        match task {
            Task::Blob(descriptor) => {
                let job = self.job(descriptor, (Compression::None, None), Blobs::Keep)?;
                bench.check(job, Proof::Blob).map(|()| None)
            }
            Task::Layer(layer, known) => {
                let GatheredLayer {
                    descriptor,
                    diff_id,
                    compression,
                } = layer;
                // A plain layer is its own tar: recipe and contents are enough, kept it would be there twice.
                let plain = descriptor.digest == diff_id.0;
                let blobs = if plain {
                    Blobs::Drop
                } else {
                    self.options.blobs
                };
                let job = self.job(descriptor, (*compression, Some(*diff_id)), blobs)?;
                match known {
                    Known::New => bench.disassemble(job).map(Some),
                    Known::Tar => bench.check(job, Proof::Tar).map(|()| None),
                    Known::All => bench.check(job, Proof::Blob).map(|()| None),
                }
            }
        }
    }

    fn job<'j>(
        &'j self,
        descriptor: &'j Descriptor,
        (compression, diff_id): (Compression, Option<DiffId>),
        blobs: Blobs,
    ) -> Result<LayerJob<'j>> {
        let blob = descriptor.digest;
        let diff_id = diff_id.unwrap_or(DiffId(blob));
        let source = self.source.open_blob(&blob)?;
        let from: Box<dyn std::io::Read + Send> = match (&descriptor.data, &source) {
            (Some(data), _) => Box::new(data.as_slice()),
            (None, Some(source)) => Box::new(source.reader()),
            (None, None) => return Err(Error::malformed("import", blob, "the blob is missing")),
        };
        let job = |from, keep| {
            Ok(LayerJob {
                blob,
                compression,
                diff_id,
                from,
                keep,
            })
        };
        if blobs == Blobs::Drop || self.writer.store().blob_size(&blob)? == Some(descriptor.size) {
            return job(from, Keep::Drop(DigestHasher::new(blob.algorithm())));
        }
        let mut stage = self.writer.stage_blob(&blob)?;
        let file = source.as_ref().and_then(|source| source.whole_file());
        match file.and_then(|file| stage.reflink(file)) {
            Some(copy) => job(Box::new(copy), Keep::Check(stage)),
            None => job(from, Keep::Write(stage)),
        }
    }

    /// Proves that what is not kept can be made again, before anything relies on it.
    fn prove(&self, gathered: &Gathered, layers: &[Layer]) -> Result<()> {
        let dropped = |diff_id: &DiffId| {
            gathered.layers.values().any(|l| {
                l.diff_id == *diff_id
                    && (self.options.blobs == Blobs::Drop || l.descriptor.digest == diff_id.0)
            })
        };
        for layer in layers.iter().filter(|layer| dropped(&layer.diff_id)) {
            self.watch.check()?;
            let recipe = self.writer.recipe(&layer.diff_id)?;
            assemble(
                &recipe,
                &|id| self.writer.open_object(id),
                &mut std::io::sink(),
            )?;
        }
        Ok(())
    }
}

/// How far several threads are with a list of tasks.
#[derive(Default)]
struct Progress {
    next: AtomicUsize,
    done: Mutex<Vec<Layer>>,
    failed: Mutex<Option<Error>>,
}

impl Progress {
    /// Returns the next task, unless one has failed.
    fn next<'t, T>(&self, tasks: &'t [T]) -> Option<&'t T> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        if lock(&self.failed).is_some() {
            None
        } else {
            tasks.get(at)
        }
    }

    fn note(&self, outcome: Result<Option<Layer>>) {
        match outcome {
            Ok(layer) => lock(&self.done).extend(layer),
            Err(e) => {
                // The first is told; others may only have followed from it.
                lock(&self.failed).get_or_insert(e);
            }
        }
    }

    fn finish(self) -> Result<Vec<Layer>> {
        match lock(&self.failed).take() {
            Some(e) => Err(e),
            None => Ok(std::mem::take(&mut *lock(&self.done))),
        }
    }
}

/// A thread that panicked while holding one of these left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Decides what each root is called.
fn name_roots(
    source: &Source,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<Vec<(ImageName, Digest)>> {
    let roots = source.roots();
    if let Some(name) = &options.name {
        return match roots {
            [root] => Ok(vec![(name.clone(), root.descriptor.digest)]),
            _ => Err(Error::usage(
                "name",
                source.what(),
                format!("it holds {} images, and --name names one", roots.len()),
            )
            .hint("pick one, as in oci:DIR:REF")),
        };
    }
    if roots.is_empty() {
        warnings.note(Warning::NoImages, || source.what().to_owned());
    }
    let mut named: Vec<(ImageName, Digest)> = Vec::new();
    for root in roots {
        let name = name_root(source, root, warnings)?;
        let digest = root.descriptor.digest;
        match named.iter().find(|(other, _)| *other == name) {
            Some((_, other)) if *other == digest => {}
            Some((_, other)) => {
                let why = format!("two images are called {name}: {other} and {digest}");
                return Err(Error::malformed("import", source.what(), why)
                    .hint("pick one, as in oci:DIR@DIGEST"));
            }
            None => named.push((name, digest)),
        }
    }
    Ok(named)
}

fn name_root(source: &Source, root: &Root, warnings: &mut Warnings) -> Result<ImageName> {
    let digest = &root.descriptor.digest;
    let full = |hint: &str| hint.contains(['/', ':', '@']);
    if let Some(hint) = root.name_hint.as_deref().filter(|hint| full(hint))
        && let Ok(name) = ImageName::parse(hint)
    {
        return Ok(name);
    }
    let Some(repository) = source.default_repository() else {
        return Err(
            Error::usage("name", digest, "its source gives no name").hint("give one with --name")
        );
    };
    let by_digest = || ImageName::by_digest(repository, digest);
    let name = match &root.name_hint {
        Some(hint) => ImageName::tagged(repository, hint).or_else(|_| {
            warnings.note(Warning::InvalidName, || hint.escape_debug().to_string());
            by_digest()
        }),
        None if source.roots().len() == 1 => ImageName::tagged(repository, "latest"),
        None => by_digest(),
    };
    name.map_err(|e| Error::usage("name", digest, e.to_string()).hint("give a name with --name"))
}

fn name(store: &Store, images: &[(ImageName, Digest)], source: &Source) -> Result<()> {
    store.change_names(|names| {
        for (name, digest) in images {
            if let Some(root) = source
                .roots()
                .iter()
                .find(|root| root.descriptor.digest == *digest)
            {
                names.set(name, root.descriptor.clone());
            }
        }
        Ok(())
    })
}
