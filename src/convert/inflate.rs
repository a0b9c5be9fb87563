//! Owns reading a layer's blob: hash and keep what passes, inflate it within its limits.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use crate::compress::{Compression, Mislabelled};
use crate::digest::{Digest, DigestHasher};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::store::BlobStage;
use crate::warning::{Warning, Warnings};
use crate::watch::Watch;

/// How much of the tar goes from thread to thread at a time.
const CHUNK: usize = 256 << 10;

/// What happens to a layer's blob.
pub(in crate::convert) enum Keep<'a> {
    /// Its bytes are written here.
    Write(BlobStage<'a>),
    /// They are there already, by reflink.
    Check(BlobStage<'a>),
    /// They are only hashed.
    Drop(DigestHasher),
}

/// Reads a blob, hashing and keeping what passes.
pub(super) struct Tee<'a> {
    from: Box<dyn Read + Send + 'a>,
    keep: Keep<'a>,
    /// How many bytes came so far.
    read: Arc<AtomicU64>,
    watch: &'a dyn Watch,
    /// Why reading stopped, where the decoder would only say that it did.
    failed: Option<Error>,
}

impl<'a> Tee<'a> {
    pub(super) fn new(
        from: Box<dyn Read + Send + 'a>,
        keep: Keep<'a>,
        watch: &'a dyn Watch,
    ) -> Self {
        Self {
            from,
            keep,
            read: Arc::default(),
            watch,
            failed: None,
        }
    }
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

/// Inflates a layer.
pub(super) struct Inflater<'a> {
    pub(super) tee: Tee<'a>,
    pub(super) limits: Limits,
    pub(super) mislabelled: Mislabelled,
    /// What was odd so far.
    pub(super) warnings: Warnings,
    pub(super) blob: Digest,
}

/// A chunk, and how much of it is filled.
pub(super) type Filled = (Vec<u8>, usize);

impl<'a> Inflater<'a> {
    /// Inflates everything into `chunks`; returns what was odd.
    pub(super) fn run(
        mut self,
        compression: Compression,
        chunks: &mpsc::SyncSender<Filled>,
        spare: &mpsc::Receiver<Vec<u8>>,
    ) -> Result<Warnings> {
        let inflated = self.inflate(compression, &mut |data, n| {
            // A parser that stopped takes no more; why, it says itself.
            chunks.send((data, n)).ok()?;
            Some(spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]))
        });
        self.end(inflated)
    }

    /// Reads what is left, so that the digest is known whatever happened, and checks it first.
    pub(super) fn end(mut self, inflated: Result<()>) -> Result<Warnings> {
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
        inflated.map(|()| self.warnings)
    }

    /// Begins to read; returns how the bytes are compressed, where that may be.
    pub(super) fn open(
        &mut self,
        said: Compression,
    ) -> Result<(Compression, BufReader<&mut Tee<'a>>)> {
        let blob = self.blob;
        let refuse = |why: String| Error::malformed("read the layer", blob, why);
        let mut from = BufReader::with_capacity(CHUNK, &mut self.tee);
        let head = from.fill_buf();
        let actual = Compression::sniff(head.map_err(|e| refuse(broken(said, &e)))?);
        let (said, is) = (said.name(), actual.name());
        let differs = format!("its media type says compression {said}, its bytes {is}");
        if said == is {
            return Ok((actual, from));
        }
        match self.mislabelled {
            Mislabelled::Refuse => Err(refuse(differs).hint("with --lenient its bytes decide")),
            Mislabelled::BytesDecide => {
                self.warnings.note(Warning::CompressionDiffers, || {
                    format!("layer {blob}, {differs}")
                });
                Ok((actual, from))
            }
        }
    }

    /// Inflates everything, chunk by chunk, until `take` wants no more.
    pub(super) fn inflate(
        &mut self,
        compression: Compression,
        take: &mut dyn FnMut(Vec<u8>, usize) -> Option<Vec<u8>>,
    ) -> Result<()> {
        let (blob, limits) = (self.blob, self.limits);
        let refuse = |why: String| Error::malformed("read the layer", blob, why);
        let read = Arc::clone(&self.tee.read);
        let (compression, from) = self.open(compression)?;
        let broken = |e: std::io::Error| refuse(broken(compression, &e));
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

fn broken(compression: Compression, e: &std::io::Error) -> String {
    format!("its {} stream is broken: {e}", compression.name())
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
pub(super) fn check_growth(total: u64, read: u64, limits: &Limits) -> Result<(), String> {
    if total > limits.layer_bytes {
        return Err(format!(
            "its tar is over {} bytes (--max-layer)",
            limits.layer_bytes
        ));
    }
    if total > limits.free_bytes && total / limits.expansion > read {
        return Err(format!(
            "its tar is over {} times larger than its blob (--max-expansion)",
            limits.expansion
        ));
    }
    Ok(())
}
