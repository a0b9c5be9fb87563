//! Owns taking a layer apart while it streams past: inflate, check both digests, split into contents and recipe.
//!
//! One thread reads and inflates, one hashes the tar and parses it, and the workers that all layers share hash
//! contents and write the new ones. What waits between them is bounded, whatever the layer's or a file's size.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use super::tar::{Stored, Tape, TarError, parse_layer};
use super::workers::{Batch, LayerResults, Piecemeal, Workers};
use crate::compress::Compression;
use crate::digest::{DiffId, Digest, DigestHasher};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::recipe::{ContentRef, Piece};
use crate::store::{BlobStage, RecipeSink, Writer};
use crate::warning::Warnings;
use crate::watch::Watch;

/// How much of the tar goes from thread to thread at a time.
const CHUNK: usize = 256 << 10;

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

/// What happens to a layer's blob.
pub(in crate::convert) enum Keep<'a> {
    /// Its bytes are written here.
    Write(BlobStage<'a>),
    /// They are there already, by reflink.
    Check(BlobStage<'a>),
    /// They are only hashed.
    Drop(DigestHasher),
}

/// What is still to be proved of a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::convert) enum Proof {
    /// That its bytes are what its digest names.
    Blob,
    /// That its tar is what its diff_id names, too.
    Tar,
}

/// A layer, taken apart.
pub(in crate::convert) struct Layer {
    pub(in crate::convert) diff_id: DiffId,
    pub(in crate::convert) entries: Vec<Entry>,
    pub(in crate::convert) contents: Vec<ContentRef>,
    pub(in crate::convert) warnings: Warnings,
}

/// What does not change from layer to layer.
pub(in crate::convert) struct Bench<'a> {
    pub(in crate::convert) writer: &'a Writer<'a>,
    pub(in crate::convert) workers: &'a Workers<'a>,
    pub(in crate::convert) limits: &'a Limits,
    pub(in crate::convert) watch: &'a dyn Watch,
}

impl Bench<'_> {
    /// Takes a layer apart. Bytes that are not what the blob's digest names are told before anything else.
    pub(in crate::convert) fn disassemble(&self, job: LayerJob<'_>) -> Result<Layer> {
        let (chunks, arriving) = mpsc::sync_channel(CHUNKS);
        let (used, spare) = mpsc::channel();
        let (blob, diff_id, compression) = (job.blob, job.diff_id, job.compression);
        let inflater = Inflater {
            tee: Tee {
                from: job.from,
                keep: job.keep,
                read: Arc::default(),
                watch: self.watch,
                failed: None,
            },
            limits: *self.limits,
            blob,
        };
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
            inflated.and(parsed)
        })
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
            self.workers.submit(batch, &results)?;
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
                    entries,
                    contents,
                    warnings,
                })
            }
            Err(e) => {
                recipe.discard()?;
                Err(e)
            }
        }
    }

    /// Checks a blob whose layer is there already: its digest, and its tar's where that is not proved yet.
    pub(in crate::convert) fn check(&self, job: LayerJob<'_>, proof: Proof) -> Result<()> {
        let (blob, diff_id) = (job.blob, job.diff_id);
        let tee = Tee {
            from: job.from,
            keep: job.keep,
            read: Arc::default(),
            watch: self.watch,
            failed: None,
        };
        let mut inflater = Inflater {
            tee,
            limits: *self.limits,
            blob,
        };
        let mut tar = DigestHasher::new(diff_id.0.algorithm());
        let inflated = match proof {
            Proof::Tar => inflater.inflate(job.compression, &mut |data, n| {
                tar.update(&data[..n]);
                Some(data)
            }),
            Proof::Blob => Ok(()),
        };
        inflater.end(inflated)?;
        let actual = DiffId(tar.finish());
        if proof == Proof::Tar && actual != diff_id {
            let why = format!("its config says diff_id {diff_id}, its tar has {actual}");
            return Err(Error::damaged("take in the layer", blob, why));
        }
        Ok(())
    }
}

/// Reads a blob, hashing and keeping what passes.
struct Tee<'a> {
    from: Box<dyn Read + Send + 'a>,
    keep: Keep<'a>,
    /// How many bytes came so far.
    read: Arc<AtomicU64>,
    watch: &'a dyn Watch,
    /// Why reading stopped, where the decoder would only say that it did.
    failed: Option<Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(to)?;
        let kept = self.watch.check().and_then(|()| match &mut self.keep {
            Keep::Write(stage) => stage.write(&to[..n]),
            Keep::Check(stage) => {
                stage.check(&to[..n]);
                Ok(())
            }
            Keep::Drop(hasher) => {
                hasher.update(&to[..n]);
                Ok(())
            }
        });
        if let Err(e) = kept {
            self.failed = Some(e);
            return Err(std::io::Error::other("stopped"));
        }
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        self.watch.advance(n as u64);
        Ok(n)
    }
}

struct Inflater<'a> {
    tee: Tee<'a>,
    limits: Limits,
    blob: Digest,
}

/// A chunk, and how much of it is filled.
type Filled = (Vec<u8>, usize);

impl Inflater<'_> {
    fn run(
        mut self,
        compression: Compression,
        chunks: &mpsc::SyncSender<Filled>,
        spare: &mpsc::Receiver<Vec<u8>>,
    ) -> Result<()> {
        let inflated = self.inflate(compression, &mut |data, n| {
            // A parser that stopped takes no more; why, it says itself.
            chunks.send((data, n)).ok()?;
            Some(spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]))
        });
        self.end(inflated)
    }

    /// Reads what is left, so that the digest is known whatever happened, and checks it first.
    fn end(mut self, inflated: Result<()>) -> Result<()> {
        if let Some(e) = self.tee.failed.take() {
            return Err(e);
        }
        let drained = std::io::copy(&mut self.tee, &mut std::io::sink());
        if let Some(e) = self.tee.failed.take() {
            return Err(e);
        }
        drained.map_err(|e| Error::new("read the layer", self.blob, crate::error::Cause::Io(e)))?;
        match self.tee.keep {
            Keep::Write(stage) | Keep::Check(stage) => stage.finish()?,
            Keep::Drop(hasher) => {
                let actual = hasher.finish();
                if actual != self.blob {
                    return Err(Error::damaged(
                        "take in the blob",
                        self.blob,
                        format!("its bytes are {actual}"),
                    ));
                }
            }
        }
        inflated
    }

    /// Inflates everything, chunk by chunk, until `take` wants no more.
    fn inflate(
        &mut self,
        compression: Compression,
        take: &mut dyn FnMut(Vec<u8>, usize) -> Option<Vec<u8>>,
    ) -> Result<()> {
        let (blob, limits) = (self.blob, self.limits);
        let refuse = |why: String| Error::malformed("read the layer", blob, why);
        let broken =
            |e: std::io::Error| refuse(format!("its {} stream is broken: {e}", compression.name()));
        let read = Arc::clone(&self.tee.read);
        let mut from = BufReader::with_capacity(CHUNK, &mut self.tee);
        let actual = Compression::sniff(from.fill_buf().map_err(broken)?);
        if actual != compression {
            let why = format!(
                "its media type says compression {}, its bytes {}",
                compression.name(),
                actual.name()
            );
            return Err(refuse(why));
        }
        let mut plain = compression.reader(from).map_err(broken)?;
        let mut chunk = vec![0; CHUNK];
        let mut total = 0u64;
        loop {
            let n = fill(&mut plain, &mut chunk).map_err(broken)?;
            if n == 0 {
                return Ok(());
            }
            total += n as u64;
            check_growth(total, read.load(Ordering::Relaxed), &limits).map_err(refuse)?;
            match take(chunk, n) {
                Some(next) => chunk = next,
                None => return Ok(()),
            }
        }
    }
}

/// Reads until the chunk is full or the stream ends.
fn fill(from: &mut dyn Read, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut at = 0;
    while at < chunk.len() {
        match from.read(&mut chunk[at..]) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

/// A small blob that grows without end is an attack.
fn check_growth(total: u64, read: u64, limits: &Limits) -> Result<(), String> {
    if total > limits.layer_bytes {
        return Err(format!("its tar is over {} bytes", limits.layer_bytes));
    }
    if total > limits.free_bytes && total / limits.expansion > read {
        return Err(format!(
            "its tar is over {} times larger than its blob",
            limits.expansion
        ));
    }
    Ok(())
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
