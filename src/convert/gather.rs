//! Owns the walk over a source's documents: every one is checked against its descriptor and staged, and what they
//! lead to is listed. After it, only layers and opaque blobs are left to take in.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::source::Source;
use crate::compress::{Compression, Mislabelled};
use crate::digest::{DiffId, Digest};
use crate::error::{Context, Error, Result};
use crate::limits::Limits;
use crate::store::Writer;
use crate::store::reach::DEPTH_MAX;
use crate::watch::Watch;
use crate::wire::{Config, Descriptor, Document, Manifest, Media};

/// What a source's documents lead to.
#[derive(Default)]
pub(in crate::convert) struct Gathered {
    /// The images, in the order in which they were found.
    pub(in crate::convert) images: Vec<GatheredImage>,
    /// Their layers' blobs.
    pub(in crate::convert) layers: BTreeMap<Digest, GatheredLayer>,
    /// Blobs that are kept as they are.
    pub(in crate::convert) blobs: BTreeMap<Digest, Descriptor>,
    /// Documents that were read: each once.
    documents: BTreeMap<Digest, u64>,
}

pub(in crate::convert) struct GatheredImage {
    pub(in crate::convert) manifest: Digest,
    pub(in crate::convert) config: Digest,
    /// What its config says.
    pub(in crate::convert) read: Config,
    /// Its layers' descriptors, bottom first.
    pub(in crate::convert) layers: Vec<Descriptor>,
}

pub(in crate::convert) struct GatheredLayer {
    pub(in crate::convert) descriptor: Descriptor,
    pub(in crate::convert) diff_id: DiffId,
    pub(in crate::convert) compression: Compression,
}

pub(in crate::convert) struct Gatherer<'a> {
    pub(in crate::convert) source: &'a Source,
    pub(in crate::convert) writer: &'a Writer<'a>,
    pub(in crate::convert) watch: &'a dyn Watch,
    pub(in crate::convert) limits: &'a Limits,
    pub(in crate::convert) mislabelled: Mislabelled,
    pub(in crate::convert) gathered: Gathered,
}

impl Gatherer<'_> {
    /// Follows one of the source's roots.
    pub(in crate::convert) fn follow(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<()> {
        self.watch.check()?;
        if depth > DEPTH_MAX {
            return Err(self.malformed(
                &descriptor.digest,
                format!("indexes nest over {DEPTH_MAX} deep"),
            ));
        }
        if let Some(size) = self.gathered.documents.get(&descriptor.digest) {
            return self.same_size(descriptor, *size);
        }
        match descriptor.media() {
            Media::Index | Media::Manifest => {}
            Media::Config | Media::Layer(_) => return self.keep(descriptor),
            Media::Other => return self.follow_other(descriptor, depth),
        }
        let bytes = self.document(descriptor)?;
        let document = Document::parse(&bytes, &descriptor.media_type)
            .map_err(|e| e.into_error("import", self.object(&descriptor.digest)))?;
        match document {
            Document::Index(children) => {
                children.iter().try_for_each(|c| self.follow(c, depth + 1))
            }
            Document::Manifest(manifest) => self.follow_manifest(descriptor, manifest, depth),
            Document::Unknown(children) => self.follow_present(&children, depth),
        }
    }

    fn follow_manifest(
        &mut self,
        descriptor: &Descriptor,
        manifest: Manifest,
        depth: usize,
    ) -> Result<()> {
        // A subject need not be there (image-spec manifest.md, "subject").
        self.follow_present(manifest.subject.as_slice(), depth)?;
        if !manifest.is_image() {
            self.keep(&manifest.config)?;
            return manifest
                .layers
                .iter()
                .try_for_each(|layer| self.follow(layer, depth + 1));
        }
        let bytes = self.document(&manifest.config)?;
        let config = Config::parse(&bytes)
            .map_err(|e| e.into_error("import", self.object(&manifest.config.digest)))?;
        let Manifest {
            config: config_descriptor,
            layers,
            ..
        } = manifest;
        if config.diff_ids.len() != layers.len() {
            let why = format!(
                "{} layers but {} diff_ids",
                layers.len(),
                config.diff_ids.len()
            );
            return Err(self.malformed(&descriptor.digest, why));
        }
        for (layer, diff_id) in layers.iter().zip(&config.diff_ids) {
            self.add_layer(layer, *diff_id)?;
        }
        let (manifest, config_digest) = (descriptor.digest, config_descriptor.digest);
        self.gathered.images.push(GatheredImage {
            manifest,
            config: config_digest,
            read: config,
            layers,
        });
        Ok(())
    }

    fn add_layer(&mut self, layer: &Descriptor, diff_id: DiffId) -> Result<()> {
        let Media::Layer(compression) = layer.media() else {
            return Err(self.malformed(&layer.digest, "a layer of no layer type".to_owned()));
        };
        if let Some(known) = self.gathered.layers.get(&layer.digest) {
            let other_type =
                known.compression != compression && self.mislabelled == Mislabelled::Refuse;
            if known.diff_id != diff_id || other_type {
                let why = format!(
                    "two images disagree on its media type or diff_id ({diff_id}, {})",
                    known.diff_id
                );
                return Err(self.malformed(&layer.digest, why));
            }
            return self.same_size(layer, known.descriptor.size);
        }
        self.must_be_there(layer)?;
        let descriptor = layer.clone();
        self.gathered.layers.insert(
            layer.digest,
            GatheredLayer {
                descriptor,
                diff_id,
                compression,
            },
        );
        Ok(())
    }

    /// A blob of a type nobody here knows may be a document: what it points to comes along where it is there.
    fn follow_other(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        if descriptor.size > self.limits.document_bytes {
            return self.keep(descriptor);
        }
        let bytes = self.document(descriptor)?;
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Unknown(children)) => self.follow_present(&children, depth),
            _ => Ok(()),
        }
    }

    fn follow_present(&mut self, children: &[Descriptor], depth: usize) -> Result<()> {
        for child in children {
            if child.data.is_some() || self.source.open_blob(&child.digest)?.is_some() {
                self.follow(child, depth + 1)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, descriptor: &Descriptor) -> Result<()> {
        if let Some(known) = self.gathered.blobs.get(&descriptor.digest) {
            let size = known.size;
            return self.same_size(descriptor, size);
        }
        self.must_be_there(descriptor)?;
        self.gathered
            .blobs
            .insert(descriptor.digest, descriptor.clone());
        Ok(())
    }

    fn must_be_there(&self, descriptor: &Descriptor) -> Result<()> {
        let size = match (&descriptor.data, self.source.open_blob(&descriptor.digest)?) {
            (Some(data), _) => data.len() as u64,
            (None, Some(blob)) => blob.size(),
            (None, None) => {
                return Err(self.malformed(&descriptor.digest, "the blob is missing".to_owned()));
            }
        };
        self.same_size(descriptor, size)
    }

    /// Reads, checks and stages a document.
    fn document(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let Descriptor {
            digest, size, data, ..
        } = descriptor;
        let most = self.limits.document_bytes;
        if *size > most {
            return Err(self.malformed(
                digest,
                format!("a document of {size} bytes, over {most} (--max-json)"),
            ));
        }
        self.must_be_there(descriptor)?;
        let bytes = match (data, self.source.open_blob(digest)?) {
            (Some(data), _) => data.clone(),
            (None, Some(blob)) => {
                let mut bytes = Vec::new();
                blob.reader()
                    .take(most.saturating_add(1))
                    .read_to_end(&mut bytes)
                    .context("read", digest)?;
                bytes
            }
            (None, None) => Vec::new(),
        };
        if !digest.matches(&bytes) {
            return Err(Error::damaged(
                "take in the blob",
                digest,
                "its bytes are not what its digest names",
            ));
        }
        self.writer.stage_document(digest, &bytes)?;
        self.gathered.documents.insert(*digest, *size);
        Ok(bytes)
    }

    fn same_size(&self, descriptor: &Descriptor, size: u64) -> Result<()> {
        if descriptor.size == size {
            return Ok(());
        }
        let why = format!(
            "its descriptor says {} bytes, it has {size}",
            descriptor.size
        );
        Err(Error::damaged(
            "take in the blob",
            self.object(&descriptor.digest),
            why,
        ))
    }

    fn malformed(&self, digest: &Digest, why: String) -> Error {
        Error::malformed("import", self.object(digest), why)
    }

    fn object(&self, digest: &Digest) -> String {
        format!("{digest} of {}", self.source.what())
    }
}
