//! Owns the walk over a source's documents: every one is checked against its descriptor and staged, and what they
//! lead to is listed. After it, only layers and opaque blobs are left to take in.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::Read as _;

use super::source::Source;
use crate::compress::{Compression, Mislabelled};
use crate::digest::{DiffId, Digest};
use crate::error::{Context, Error, Result};
use crate::json::strict_json;
use crate::limits::Limits;
use crate::store::Writer;
use crate::store::reach::Role;
use crate::watch::Watch;
use crate::wire::{self, Config, Descriptor, Document, Manifest, Media};

/// How deep indexes may nest; `index.json` is depth 0.
const DEPTH_MAX: usize = 8;

/// What a source's documents lead to.
#[derive(Default)]
pub(in crate::convert) struct Gathered {
    /// The images, in the order in which they were found.
    pub(in crate::convert) images: Vec<GatheredImage>,
    /// Their layers' blobs.
    pub(in crate::convert) layers: BTreeMap<Digest, GatheredLayer>,
    /// Blobs that are kept as they are.
    pub(in crate::convert) blobs: BTreeMap<Digest, Descriptor>,
    /// Documents that were read.
    documents: HashSet<Digest>,
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
    limits: &'a Limits,
    mislabelled: Mislabelled,
    pub(in crate::convert) gathered: Gathered,
    line: Line,
}

/// What is still to be followed, in the order in which it was found: so an index's depth is that of the shortest way to
/// it, and each document is read once for each role it has, however often others name it.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(Descriptor, usize)>,
    /// What documents hold besides: followed once all else is, unless that led to it.
    rest: Vec<(Descriptor, usize)>,
    /// The sizes of what came into line.
    known: HashMap<(Digest, Role), u64>,
}

impl<'a> Gatherer<'a> {
    pub(in crate::convert) fn new(
        source: &'a Source,
        writer: &'a Writer<'a>,
        watch: &'a dyn Watch,
        (limits, mislabelled): (&'a Limits, Mislabelled),
    ) -> Self {
        Self {
            source,
            writer,
            watch,
            limits,
            mislabelled,
            gathered: Gathered::default(),
            line: Line::default(),
        }
    }

    /// Follows the source's roots through all that they lead to.
    pub(in crate::convert) fn follow_roots(mut self) -> Result<Gathered> {
        for root in self.source.roots() {
            self.enlist(&root.descriptor, 1)?;
        }
        loop {
            while let Some((descriptor, depth)) = self.line.waiting.pop_front() {
                self.follow(&descriptor, depth)?;
            }
            for (child, depth) in std::mem::take(&mut self.line.rest) {
                if !self.has(&child.digest) {
                    self.enlist(&child, depth)?;
                }
            }
            if self.line.waiting.is_empty() {
                return Ok(self.gathered);
            }
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        self.gathered.documents.contains(digest)
            || self.gathered.blobs.contains_key(digest)
            || self.gathered.layers.contains_key(digest)
    }

    /// Puts in line what has to be there, unless it is known; so the line is never longer than the source is large.
    fn enlist(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let key = (descriptor.digest, Role::of(descriptor));
        if let Some(size) = self.line.known.get(&key) {
            return self.same_size(descriptor, *size);
        }
        self.must_be_there(descriptor)?;
        self.line.known.insert(key, descriptor.size);
        self.line.waiting.push_back((descriptor.clone(), depth));
        Ok(())
    }

    fn enlist_present(&mut self, children: &[Descriptor], depth: usize) -> Result<()> {
        for child in children {
            if child.data.is_some() || self.source.open_blob(&child.digest)?.is_some() {
                self.enlist(child, depth)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        self.watch.check()?;
        let role = Role::of(descriptor);
        if role == Role::Index && depth > DEPTH_MAX {
            return Err(self.malformed(
                &descriptor.digest,
                format!("indexes nest over {DEPTH_MAX} deep"),
            ));
        }
        match role {
            Role::Index | Role::Manifest => self.follow_document(descriptor, depth),
            Role::Leaf => self.keep(descriptor),
            Role::Unknown => self.follow_unknown(descriptor, depth),
        }
    }

    fn follow_document(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let bytes = self.document(descriptor)?;
        let document = Document::parse(&bytes, &descriptor.media_type)
            .map_err(|e| e.into_error("import", self.object(&descriptor.digest)))?;
        // Every descriptor found in a document is an edge: an index's subject, and fields of a later image-spec.
        let mut named: HashSet<Digest> = document.descriptors().iter().map(|d| d.digest).collect();
        let rest = strict_json(&bytes).map(|v| wire::descriptors_in(&v));
        for child in rest.unwrap_or_default() {
            if named.insert(child.digest) && self.source.open_blob(&child.digest)?.is_some() {
                self.line.rest.push((child, depth + 1));
            }
        }
        match document {
            Document::Index(children) => {
                children.iter().try_for_each(|c| self.enlist(c, depth + 1))
            }
            Document::Manifest(manifest) => self.follow_manifest(descriptor, manifest, depth),
            Document::Unknown(children) => self.enlist_present(&children, depth + 1),
        }
    }

    fn follow_manifest(
        &mut self,
        descriptor: &Descriptor,
        manifest: Manifest,
        depth: usize,
    ) -> Result<()> {
        // A subject need not be there (image-spec manifest.md, "subject").
        self.enlist_present(manifest.subject.as_slice(), depth + 1)?;
        if !manifest.is_image() {
            self.keep(&manifest.config)?;
            return manifest
                .layers
                .iter()
                .try_for_each(|layer| self.enlist(layer, depth + 1));
        }
        if manifest.layers.len() as u64 > self.limits.layers {
            let (layers, most) = (manifest.layers.len(), self.limits.layers);
            let why = format!("{layers} layers, over {most} (--max-layers)");
            return Err(self.malformed(&descriptor.digest, why));
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
    fn follow_unknown(&mut self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        if descriptor.size > self.limits.document_bytes {
            return self.keep(descriptor);
        }
        let bytes = self.document(descriptor)?;
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Unknown(children)) => self.enlist_present(&children, depth + 1),
            _ => Ok(()),
        }
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
        self.gathered.documents.insert(*digest);
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
