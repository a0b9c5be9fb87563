//! Owns blobs that are made here: their digests are known when they are done.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use super::{Writer, durable};
use crate::digest::{Algorithm, Digest, DigestHasher};
use crate::error::{Context, Result, quoted};

/// A blob that is being made; it only counts once [`NewBlob::finish`] has named it.
#[derive(Debug)]
pub struct NewBlob<'w> {
    writer: &'w Writer<'w>,
    path: PathBuf,
    file: File,
    hasher: DigestHasher,
    size: u64,
}

impl Writer<'_> {
    /// Begins a blob whose digest is not known yet.
    pub fn begin_blob(&self) -> Result<NewBlob<'_>> {
        let path = self.unique("blob-new");
        let file = durable::create_new(&path)?;
        Ok(NewBlob {
            writer: self,
            path,
            file,
            hasher: DigestHasher::new(Algorithm::Sha256),
            size: 0,
        })
    }
}

impl NewBlob<'_> {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .context("write", quoted(&self.path))
    }

    /// Ends the blob and stages it; returns its digest and its size.
    pub fn finish(self) -> Result<(Digest, u64)> {
        let Self {
            writer,
            path,
            file: _,
            hasher,
            size,
        } = self;
        let digest = hasher.finish();
        durable::rename(&path, &writer.staged_blob(&digest))?;
        writer.staged().blobs.insert(digest);
        Ok((digest, size))
    }

    /// Gives up; nothing stays.
    pub fn discard(self) -> Result<()> {
        durable::remove(&self.path)
    }
}
