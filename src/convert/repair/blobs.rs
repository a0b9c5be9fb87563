//! Mends blobs and recipes: blobs from sources, or put together from recipe and contents where they are plain layers;
//! recipes by taking the layer's blob apart again.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::offers::is_ours;
use super::{Mender, Open, Staged};
use crate::compress::{Compression, Mislabelled};
use crate::convert::assemble::assemble;
use crate::convert::disassemble::{Bench, LayerJob};
use crate::convert::inflate::Keep;
use crate::convert::workers::Workers;
use crate::digest::{DiffId, Digest, DigestHasher};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::store::lost::Stored;
use crate::store::{BlobStage, Writer};

/// A blob that may hold a layer.
struct Candidate<'c> {
    blob: Digest,
    from: String,
    reader: Box<dyn Read + Send + 'c>,
    limits: Limits,
}

impl Mender<'_> {
    /// Takes documents, artifacts' files and kept layers from the sources that have them.
    pub(super) fn mend_blobs_from_sources(&mut self, open: &Open) -> Result<()> {
        for what in open.keys() {
            let Stored::Blob(digest) = what else { continue };
            for offered in self.offers.blobs(digest)? {
                let writer = self.store.write()?;
                let stage = writer.stage_blob(digest)?;
                match copy(&mut offered.blob.reader(), stage) {
                    Ok(()) => {
                        let staged = vec![(*what, offered.from)];
                        self.put_in_place(&writer, staged, open)?;
                        break;
                    }
                    Err(e) if is_ours(&e) => return Err(e),
                    Err(e) => self.offers.refuse(&offered.from, digest, &e.to_string()),
                }
            }
        }
        Ok(())
    }

    /// Puts plain layers together again from their recipes and contents.
    pub(super) fn mend_blobs_from_contents(&mut self, open: &Open) -> Result<()> {
        for what in open.keys() {
            let Stored::Blob(digest) = what else { continue };
            let layer = DiffId(*digest);
            if self.mended.contains(what) || !self.store.has_recipe(&layer) {
                continue;
            }
            self.watch.check()?;
            let writer = self.store.write()?;
            let mut stage = Staging(writer.stage_blob(digest)?);
            let assembled = self
                .store
                .recipe(&layer)
                .and_then(|recipe| assemble(&recipe, &|id| self.store.open_object(id), &mut stage));
            match assembled.and_then(|_| stage.0.finish()) {
                Ok(()) => {
                    let from = "the recipe and the contents of the layer".to_owned();
                    self.put_in_place(&writer, vec![(*what, from)], open)?;
                }
                Err(e) if is_ours(&e) => return Err(e),
                // What is missing for it is told by itself.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes layers apart again whose recipes are damaged or missing.
    pub(super) fn mend_recipes(&mut self, open: &Open) -> Result<()> {
        let layers = open.keys().filter_map(|what| match what {
            Stored::Recipe(layer) => Some(*layer),
            Stored::Blob(_)
            | Stored::Stream(_)
            | Stored::Object(_)
            | Stored::Inode(_)
            | Stored::Catalog => None,
        });
        let layers: Vec<DiffId> = layers.collect();
        if layers.is_empty() {
            return Ok(());
        }
        let by_layer = self.blobs_by_layer()?;
        for layer in layers {
            let mut known = by_layer.get(&layer).cloned().unwrap_or_default();
            known.insert(layer.0);
            self.mend_recipe(&layer, &known, open)?;
        }
        Ok(())
    }

    fn mend_recipe(&mut self, layer: &DiffId, known: &BTreeSet<Digest>, open: &Open) -> Result<()> {
        let mut candidates = Vec::new();
        for blob in known {
            if self.is_kept_whole(blob)? {
                candidates.push(Candidate {
                    blob: *blob,
                    from: format!("the kept layer {blob}"),
                    reader: Box::new(self.store.open_blob(blob)?),
                    // It was within the limits when it was taken in.
                    limits: Limits::NONE,
                });
            }
        }
        for (blob, offered) in self.offers.layers(layer, known)? {
            candidates.push(Candidate {
                blob,
                from: format!("{}, layer {blob}", offered.from),
                reader: Box::new(offered.blob.reader()),
                limits: Limits::default(),
            });
        }
        for candidate in candidates {
            self.watch.check()?;
            // A session for each: of a blob that is not the layer's nothing stays.
            let writer = self.store.write()?;
            let (blob, from) = (candidate.blob, candidate.from.clone());
            match self.take_apart(&writer, layer, candidate) {
                Ok(()) => {
                    let staged = self.all_staged(&writer, layer, &from)?;
                    return self.put_in_place(&writer, staged, open);
                }
                Err(e) if is_ours(&e) => return Err(e),
                Err(e) => self.offers.refuse(&from, &blob, &e.to_string()),
            }
        }
        Ok(())
    }

    pub(super) fn is_kept_whole(&self, blob: &Digest) -> Result<bool> {
        if self.store.blob_size(blob)?.is_none() {
            return Ok(false);
        }
        let mut hasher = DigestHasher::new(blob.algorithm());
        let Ok(mut file) = self.store.open_blob(blob) else {
            return Ok(false);
        };
        let mut chunk = vec![0; 256 << 10];
        loop {
            self.watch.check()?;
            match file.read(&mut chunk) {
                Ok(0) => return Ok(hasher.finish() == *blob),
                Ok(n) => hasher.update(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // One that the disk does not give back is a finding already.
                Err(_) => return Ok(false),
            }
        }
    }

    fn take_apart(
        &self,
        writer: &Writer<'_>,
        layer: &DiffId,
        candidate: Candidate<'_>,
    ) -> Result<()> {
        let Candidate {
            blob,
            from: _,
            reader,
            limits,
        } = candidate;
        let job = LayerJob {
            blob,
            // Whatever its media type says: its bytes decide, and the digest of its tar is checked.
            compression: Compression::None,
            diff_id: *layer,
            from: reader,
            keep: Keep::Drop(DigestHasher::new(blob.algorithm())),
        };
        std::thread::scope(|scope| {
            let workers = Workers::new(writer, self.jobs.get());
            for _ in 0..self.jobs.get() {
                let desk = workers.desk();
                scope.spawn(move || desk.work());
            }
            let bench = Bench {
                writer,
                workers: &workers,
                limits: &limits,
                mislabelled: Mislabelled::BytesDecide,
                watch: self.watch,
            };
            bench.disassemble(job).map(drop)
        })
    }

    /// Returns what taking a layer apart has staged: its recipe, and contents that are not in place as they should be.
    fn all_staged(&self, writer: &Writer<'_>, layer: &DiffId, from: &str) -> Result<Staged> {
        let mut staged = vec![(Stored::Recipe(*layer), from.to_owned())];
        for id in writer.staged_contents() {
            if self.store.object_as_it_is(&id)?.is_none() {
                staged.push((Stored::Object(id), from.to_owned()));
            }
        }
        Ok(staged)
    }
}

/// Copies a blob into its stage, which checks its digest.
pub(super) fn copy(from: &mut dyn Read, mut stage: BlobStage<'_>) -> Result<()> {
    let mut chunk = vec![0; 256 << 10];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return stage.finish(),
            Ok(n) => stage.write(&chunk[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::damaged("read", "the blob", e.to_string())),
        }
    }
}

/// Writes into a blob's stage.
struct Staging<'w>(BlobStage<'w>);

impl Write for Staging<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes);
        written
            .map(|()| bytes.len())
            .map_err(|e| std::io::Error::other(e.to_string()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
