//! Owns taking a layer apart while it streams past: inflate, check both digests, split into contents and recipe.
//!
//! One thread reads and inflates, one hashes the tar and parses it, and the workers that all layers share hash
//! contents and write the new ones. What waits between them is bounded, whatever the layer's or a file's size.

use std::io::Read;
use std::sync::mpsc;

use super::inflate::{Filled, Inflater, Keep, Tee};
use super::merge::Parsed;
use super::tar::{Stored, Tape, TarError, parse_layer};
use super::workers::{Batch, LayerResults, Piecemeal, Workers};
use crate::compress::{Compression, Mislabelled};
use crate::digest::{DiffId, Digest, DigestHasher};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::recipe::Piece;
use crate::store::{RecipeSink, Writer};
use crate::warning::Warnings;
use crate::watch::Watch;

/// How many chunks may wait.
const CHUNKS: usize = 8;

/// From this size on a content is not gathered in memory but handed on piece by piece.
const PIECEMEAL: u64 = 4 << 20;

/// A layer that is to be taken apart.
pub(in crate::convert) struct LayerJob<'a> {
    /// What its descriptor says.
    pub(in crate::convert) blob: Digest,
    /// Its compression.
    pub(in crate::convert) compression: Compression,
    /// What its image's config says.
    pub(in crate::convert) diff_id: DiffId,
    /// Where its bytes come from.
    pub(in crate::convert) from: Box<dyn Read + Send + 'a>,
    /// Where they are kept, if they are.
    pub(in crate::convert) keep: Keep<'a>,
}

/// What is still to be proved of a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::convert) enum Proof {
    /// That its bytes are what its digest names.
    Blob,
    /// That a layer is compressed as its media type says, too.
    Label,
    /// That its tar is what its diff_id names, too.
    Tar,
}

/// A layer, taken apart.
pub(in crate::convert) struct Layer {
    pub(in crate::convert) diff_id: DiffId,
    /// Its entries and contents; `None` where they were too many to hold and are read from its recipe again.
    pub(in crate::convert) parsed: Option<Parsed>,
    pub(in crate::convert) warnings: Warnings,
}

/// What does not change from layer to layer.
pub(in crate::convert) struct Bench<'a> {
    pub(in crate::convert) writer: &'a Writer<'a>,
    pub(in crate::convert) workers: &'a Workers<'a>,
    pub(in crate::convert) limits: &'a Limits,
    pub(in crate::convert) mislabelled: Mislabelled,
    pub(in crate::convert) watch: &'a dyn Watch,
}

impl Bench<'_> {
    /// Takes a layer apart. Bytes that are not what the blob's digest names are told before anything else.
    pub(in crate::convert) fn disassemble(&self, job: LayerJob<'_>) -> Result<Layer> {
        let (chunks, arriving) = mpsc::sync_channel(CHUNKS);
        let (used, spare) = mpsc::channel();
        let (blob, diff_id, compression) = (job.blob, job.diff_id, job.compression);
        let inflater = self.inflater(blob, job.from, job.keep);
        std::thread::scope(|scope| {
            let inflating = scope.spawn(move || inflater.run(compression, &chunks, &spare));
            let parsed = self.parse(
                &blob,
                &diff_id,
                Chunks {
                    arriving,
                    used,
                    now: Vec::new(),
                    len: 0,
                    at: 0,
                },
            );
            let inflated = inflating.join().unwrap_or_else(|_| {
                Err(Error::failed(
                    "read the layer",
                    blob,
                    "its reader stopped unexpectedly",
                ))
            });
            // That its bytes are not what its digest names is told before what they hold.
            let warnings = inflated?;
            let mut layer = parsed?;
            layer.warnings.merge(warnings);
            Ok(layer)
        })
    }

    fn inflater<'j>(
        &'j self,
        blob: Digest,
        from: Box<dyn Read + Send + 'j>,
        keep: Keep<'j>,
    ) -> Inflater<'j> {
        Inflater {
            tee: Tee::new(from, keep, self.watch),
            limits: *self.limits,
            mislabelled: self.mislabelled,
            warnings: Warnings::default(),
            blob,
        }
    }

    fn parse(&self, blob: &Digest, diff_id: &DiffId, chunks: Chunks) -> Result<Layer> {
        let results = Workers::begin_layer();
        let mut tape = StreamTape {
            chunks,
            at: 0,
            tar: DigestHasher::new(diff_id.0.algorithm()),
            recipe: self.writer.begin_recipe()?,
            batch: self.workers.new_batch(),
            results: &results,
            bench: self,
        };
        let mut warnings = Warnings::default();
        let parsed = parse_layer(&mut tape, self.limits, &mut warnings);
        let StreamTape {
            at,
            tar,
            recipe,
            batch,
            ..
        } = tape;
        let told = |e: TarError| {
            results
                .failure()
                .unwrap_or_else(|| e.in_layer(&blob.to_string()))
        };
        let finished = parsed.map_err(told).and_then(|entries| {
            // Where a worker has stopped, its reason is told and not that it stopped.
            let submitted = self.workers.submit(batch, &results);
            submitted.map_err(|e| results.failure().unwrap_or(e))?;
            let contents = results.collect()?;
            let actual = DiffId(tar.finish());
            if actual != *diff_id {
                let why = format!("its config says diff_id {diff_id}, its tar has {actual}");
                return Err(Error::damaged("take in the layer", blob, why));
            }
            Ok((entries, contents))
        });
        match finished {
            Ok((entries, contents)) => {
                recipe.finish(diff_id, at, entries.len() as u64, &contents)?;
                Ok(Layer {
                    diff_id: *diff_id,
                    parsed: Some((entries, contents)),
                    warnings: warnings.in_layer(&blob.to_string()),
                })
            }
            Err(e) => {
                recipe.discard()?;
                Err(e)
            }
        }
    }

    /// Checks a blob that need not be taken apart, as far as `proof` says.
    pub(in crate::convert) fn check(&self, job: LayerJob<'_>, proof: Proof) -> Result<Warnings> {
        let (blob, diff_id) = (job.blob, job.diff_id);
        let mut inflater = self.inflater(blob, job.from, job.keep);
        let mut tar = DigestHasher::new(diff_id.0.algorithm());
        let inflated = match proof {
            Proof::Tar => inflater.inflate(job.compression, &mut |data, n| {
                tar.update(&data[..n]);
                Some(data)
            }),
            Proof::Label => inflater.open(job.compression).map(drop),
            Proof::Blob => Ok(()),
        };
        let warnings = inflater.end(inflated)?;
        let actual = DiffId(tar.finish());
        if proof == Proof::Tar && actual != diff_id {
            let why = format!("its config says diff_id {diff_id}, its tar has {actual}");
            return Err(Error::damaged("take in the layer", blob, why));
        }
        Ok(warnings)
    }
}

/// The tar as its parser reads it.
struct Chunks {
    arriving: mpsc::Receiver<Filled>,
    used: mpsc::Sender<Vec<u8>>,
    now: Vec<u8>,
    /// The filled part of `now`.
    len: usize,
    at: usize,
}

impl Chunks {
    /// Returns up to `most` bytes that are here; none at the end.
    fn next(&mut self, most: u64, tar: &mut DigestHasher) -> &[u8] {
        if self.at == self.len {
            let Ok((chunk, len)) = self.arriving.recv() else {
                return &[];
            };
            let used = std::mem::replace(&mut self.now, chunk);
            if !used.is_empty() {
                // A reader that has ended needs no chunk back.
                self.used.send(used).ok();
            }
            (self.len, self.at) = (len, 0);
            tar.update(&self.now[..len]);
        }
        let from = self.at;
        let n = (self.len - from).min(usize::try_from(most).unwrap_or(usize::MAX));
        self.at += n;
        &self.now[from..from + n]
    }
}

/// A tape that is recorded while it plays: contents go to the workers, everything else into the recipe.
struct StreamTape<'a, 'w> {
    chunks: Chunks,
    at: u64,
    tar: DigestHasher,
    recipe: RecipeSink<'w>,
    batch: Batch,
    results: &'a LayerResults,
    bench: &'a Bench<'w>,
}

impl Tape for StreamTape<'_, '_> {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < to.len() {
            let bytes = self.chunks.next((to.len() - got) as u64, &mut self.tar);
            if bytes.is_empty() {
                break;
            }
            to[got..got + bytes.len()].copy_from_slice(bytes);
            got += bytes.len();
        }
        self.at += got as u64;
        self.recipe.literal(&to[..got])?;
        Ok(got)
    }

    fn skip(&mut self, len: u64) -> Result<u64> {
        let mut rest = len;
        while rest > 0 {
            let bytes = self.chunks.next(rest, &mut self.tar);
            if bytes.is_empty() {
                break;
            }
            self.recipe.literal(bytes)?;
            rest -= bytes.len() as u64;
        }
        self.at += len - rest;
        Ok(len - rest)
    }

    fn content(&mut self, content: &Stored<'_>) -> Result<bool> {
        self.recipe.content(content.pieces)?;
        let whole = match content.pieces {
            None if content.size < PIECEMEAL => self.gather(content)?,
            pieces => self.hand_on(content, pieces)?,
        };
        self.at += content.bytes;
        Ok(whole)
    }
}

impl StreamTape<'_, '_> {
    /// Gathers a small content in memory, next to others.
    fn gather(&mut self, content: &Stored<'_>) -> Result<bool> {
        if self.batch.is_full_for(content.size) {
            let full = std::mem::replace(&mut self.batch, self.bench.workers.new_batch());
            self.bench.workers.submit(full, self.results)?;
        }
        let mut rest = content.bytes;
        while rest > 0 {
            let bytes = self.chunks.next(rest, &mut self.tar);
            if bytes.is_empty() {
                return Ok(false);
            }
            self.batch.data.extend_from_slice(bytes);
            rest -= bytes.len() as u64;
        }
        self.batch
            .end_content(self.results.next_ordinal(), content.meta);
        Ok(true)
    }

    /// Hands a large or sparse content on as it arrives.
    fn hand_on(&mut self, content: &Stored<'_>, pieces: Option<&[Piece]>) -> Result<bool> {
        let plain = [Piece {
            offset: 0,
            len: content.size,
        }];
        let mut to =
            self.bench
                .workers
                .begin_piecemeal(self.results, content.size, content.meta)?;
        let mut end = 0;
        for piece in pieces.unwrap_or(&plain) {
            to.hole(piece.offset - end)?;
            if !self.pass(piece.len, &mut to)? {
                return Ok(false);
            }
            end = piece.offset + piece.len;
        }
        to.hole(content.size - end)?;
        Ok(true)
    }

    fn pass(&mut self, len: u64, to: &mut Piecemeal) -> Result<bool> {
        let mut rest = len;
        while rest > 0 {
            let bytes = self.chunks.next(rest, &mut self.tar);
            if bytes.is_empty() {
                return Ok(false);
            }
            to.data(bytes)?;
            rest -= bytes.len() as u64;
        }
        Ok(true)
    }
}
