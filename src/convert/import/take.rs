//! Owns taking blobs in: what of them is known, several at a time, and proved before it is relied on.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::{Blobs, Options, Report};
use crate::compress::Compression;
use crate::convert::assemble::assemble;
use crate::convert::disassemble::{Bench, Layer, LayerJob, Proof};
use crate::convert::gather::{Gathered, GatheredLayer};
use crate::convert::inflate::Keep;
use crate::convert::source::Source;
use crate::convert::workers::Workers;
use crate::digest::{ContentId, DiffId, DigestHasher};
use crate::error::{Error, Result};
use crate::store::Writer;
use crate::store::catalog::View;
use crate::store::inodes::Given;
use crate::warning::Warnings;
use crate::watch::Watch;
use crate::wire::Descriptor;

/// How many entries of new layers are held until they are merged; those of further layers are read from their recipes
/// again. An image has any number of layers, each of up to millions of entries. So few in the crate's own tests that they
/// go both ways.
const HELD_ENTRIES: usize = if cfg!(test) { 8 } else { 2 << 20 };

/// The part of an import that takes blobs in.
pub(super) struct Work<'a> {
    pub(super) writer: &'a Writer<'a>,
    pub(super) source: &'a Source,
    pub(super) options: &'a Options,
    pub(super) watch: &'a dyn Watch,
}

/// One blob's turn.
enum Task<'a> {
    Blob(&'a Descriptor),
    /// A layer, and whether its recipe is new.
    Layer(&'a GatheredLayer, Known),
}

/// Whether any content of a layer is not as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Suspects {
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
    pub(super) fn take_layers(
        &self,
        gathered: &'a Gathered,
        report: &mut Report,
    ) -> Result<Vec<Layer>> {
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
        let (layers, warnings) = self.run(&tasks)?;
        report.warnings.merge(warnings);
        Ok(layers)
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
    pub(super) fn suspect_contents(&self, layer: &DiffId) -> Result<Suspects> {
        let store = self.writer.store();
        let contents = store.recipe(layer)?.contents()?;
        let givens: Vec<Option<Given>> = store.view(|view| {
            let each = contents.iter().map(|content| view.given(&content.id));
            each.collect()
        })?;
        self.watch.check()?;
        let looked = contents.par_iter().zip(givens).map(|(content, given)| {
            let fits = match given {
                Some(given) => store.object_changes(&content.id, &given)?.is_empty(),
                None => false,
            };
            Ok((!fits).then_some(content.id))
        });
        let odd: Vec<Option<ContentId>> = looked.collect::<Result<_>>()?;
        let odd: Vec<ContentId> = odd.into_iter().flatten().collect();
        match odd.is_empty() {
            true => Ok(Suspects::None),
            false => store.view(|view| self.suspect(view, &odd)),
        }
    }

    /// Looks again, with nothing between a record and its file: since the first look a collector may have taken both, and
    /// another import have put the content in place with a record of its own.
    fn suspect(&self, view: &View, odd: &[ContentId]) -> Result<Suspects> {
        let mut found = Suspects::None;
        for id in odd {
            match view.given(id)? {
                // Another import may be about to record it: it is read again, not replaced.
                None => found = Suspects::Some,
                Some(given) if self.writer.store().object_changes(id, &given)?.is_empty() => {}
                Some(_) => {
                    self.writer.suspect(*id);
                    found = Suspects::Some;
                }
            }
        }
        Ok(found)
    }

    fn run(&self, tasks: &[Task<'a>]) -> Result<(Vec<Layer>, Warnings)> {
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
                mislabelled: self.options.mislabelled,
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

    fn take(&self, bench: &Bench<'_>, task: &Task<'_>) -> Result<Taken> {
        match task {
            Task::Blob(descriptor) => {
                let job = self.job(descriptor, (Compression::None, None), Blobs::Keep)?;
                bench.check(job, Proof::Blob).map(Taken::Checked)
            }
            Task::Layer(layer, known) => {
                let GatheredLayer {
                    descriptor,
                    diff_id,
                    compression,
                } = layer;
                let blobs = match self.drops(layer) {
                    true => Blobs::Drop,
                    false => Blobs::Keep,
                };
                let job = self.job(descriptor, (*compression, Some(*diff_id)), blobs)?;
                match known {
                    Known::New => bench.disassemble(job).map(Taken::Layer),
                    Known::Tar => bench.check(job, Proof::Tar).map(Taken::Checked),
                    Known::All => bench.check(job, Proof::Label).map(Taken::Checked),
                }
            }
        }
    }

    /// Tells whether a layer's blob is not kept.
    fn drops(&self, layer: &GatheredLayer) -> bool {
        let blob = layer.descriptor.digest;
        // A plain layer is its own tar: recipe and contents are enough, kept it would be there twice.
        if blob == layer.diff_id.0 {
            return true;
        }
        match self.options.blobs {
            Blobs::Keep => false,
            Blobs::Drop => true,
            // A damaged compression recipe makes nothing, nor one for a library of another version.
            Blobs::Auto => {
                matches!(self.writer.store().stream(&blob), Ok(Some(recipe)) if recipe.can_be_made())
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
        if blobs == Blobs::Drop
            || self
                .writer
                .store()
                .has_blob_in_place(&blob, descriptor.size)?
        {
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
    pub(super) fn prove(&self, gathered: &Gathered, layers: &[Layer]) -> Result<()> {
        let mut dropped: HashSet<DiffId> = HashSet::new();
        for layer in gathered.layers.values() {
            if self.drops(layer) {
                dropped.insert(layer.diff_id);
            }
        }
        for layer in layers.iter().filter(|l| dropped.contains(&l.diff_id)) {
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

/// What came of a task.
enum Taken {
    /// A layer that is new.
    Layer(Layer),
    /// What was odd about a blob that is as it should be.
    Checked(Warnings),
}

/// How far several threads are with a list of tasks.
#[derive(Default)]
struct Progress {
    next: AtomicUsize,
    /// How many entries are held.
    held: AtomicUsize,
    done: Mutex<(Vec<Layer>, Warnings)>,
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

    fn note(&self, outcome: Result<Taken>) {
        match outcome {
            Ok(Taken::Layer(mut layer)) => {
                let more = layer
                    .parsed
                    .as_ref()
                    .map_or(0, |(entries, _)| entries.len());
                if self.held.fetch_add(more, Ordering::Relaxed) + more > HELD_ENTRIES {
                    self.held.fetch_sub(more, Ordering::Relaxed);
                    layer.parsed = None;
                }
                lock(&self.done).0.push(layer);
            }
            Ok(Taken::Checked(warnings)) => lock(&self.done).1.merge(warnings),
            Err(e) => {
                // The first is told; others may only have followed from it.
                lock(&self.failed).get_or_insert(e);
            }
        }
    }

    fn finish(self) -> Result<(Vec<Layer>, Warnings)> {
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
