//! Owns what sources offer for a repair: blobs by digest, and layers by diff_id. Nothing of it is trusted: a blob is
//! hashed before it is used, and what does not fit its digest is refused and named.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read as _;

use super::report::Refused;
use crate::convert::blob::SourceBlob;
use crate::convert::source::Source;
use crate::digest::{DiffId, Digest, DigestHasher};
use crate::error::{Cause, Error, Result};
use crate::limits::Limits;
use crate::watch::Watch;
use crate::wire::{Config, Descriptor, Document};

/// Sources, and what was found out about them.
pub(super) struct Offers<'a> {
    sources: &'a [Source],
    watch: &'a dyn Watch,
    /// For each source, the blobs that its images say hold a layer.
    layers: Vec<HashMap<DiffId, BTreeSet<Digest>>>,
    hashed: RefCell<HashMap<(usize, Digest), bool>>,
    refused: RefCell<Vec<Refused>>,
}

/// A blob of a source whose bytes are what its digest names.
pub(super) struct Offered {
    pub(super) blob: SourceBlob,
    /// What the source is called.
    pub(super) from: String,
}

impl<'a> Offers<'a> {
    pub(super) fn of(sources: &'a [Source], watch: &'a dyn Watch) -> Result<Self> {
        let mut offers = Self {
            sources,
            watch,
            layers: Vec::new(),
            hashed: RefCell::default(),
            refused: RefCell::default(),
        };
        for at in 0..sources.len() {
            let layers = offers.layers_of(at)?;
            offers.layers.push(layers);
        }
        Ok(offers)
    }

    /// Returns what was refused so far.
    pub(super) fn refused(&self) -> Vec<Refused> {
        self.refused.borrow().clone()
    }

    /// Notes that what a blob holds is not what it should.
    pub(super) fn refuse(&self, from: &str, digest: &Digest, why: &str) {
        let refused = Refused {
            from: from.to_owned(),
            object: digest.to_string(),
            why: why.to_owned(),
        };
        let mut all = self.refused.borrow_mut();
        if !all.contains(&refused) {
            all.push(refused);
        }
    }

    /// Returns the blob of `digest` from every source that has it.
    pub(super) fn blobs(&self, digest: &Digest) -> Result<Vec<Offered>> {
        let mut found = Vec::new();
        for at in 0..self.sources.len() {
            found.extend(self.blob(at, digest)?);
        }
        Ok(found)
    }

    /// Returns every blob that may hold a layer: those of its known digests, and those that a source's images name.
    pub(super) fn layers(
        &self,
        layer: &DiffId,
        known: &BTreeSet<Digest>,
    ) -> Result<Vec<(Digest, Offered)>> {
        let mut found = Vec::new();
        for (at, layers) in self.layers.iter().enumerate() {
            let named = layers.get(layer).into_iter().flatten();
            let digests: BTreeSet<Digest> = named.chain(known).copied().collect();
            for digest in digests {
                found.extend(self.blob(at, &digest)?.map(|blob| (digest, blob)));
            }
        }
        Ok(found)
    }

    /// Opens a blob and hashes it, once.
    fn blob(&self, at: usize, digest: &Digest) -> Result<Option<Offered>> {
        let source = &self.sources[at];
        let from = source.what().to_owned();
        let Some(blob) = self.open(source, digest)? else {
            return Ok(None);
        };
        let known = self.hashed.borrow().get(&(at, *digest)).copied();
        let is_right = match known {
            Some(is_right) => is_right,
            None => self.hash(&blob, &from, digest)?,
        };
        self.hashed.borrow_mut().insert((at, *digest), is_right);
        Ok(is_right.then_some(Offered { blob, from }))
    }

    fn open(&self, source: &Source, digest: &Digest) -> Result<Option<SourceBlob>> {
        match source.open_blob(digest) {
            Err(e) if !is_ours(&e) => {
                self.refuse(source.what(), digest, &e.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    fn hash(&self, blob: &SourceBlob, from: &str, digest: &Digest) -> Result<bool> {
        let mut hasher = DigestHasher::new(digest.algorithm());
        let mut reader = blob.reader();
        let mut chunk = vec![0; 256 << 10];
        loop {
            self.watch.check()?;
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => hasher.update(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.refuse(from, digest, &e.to_string());
                    return Ok(false);
                }
            }
        }
        let actual = hasher.finish();
        if actual != *digest {
            self.refuse(from, digest, &format!("its bytes are those of {actual}"));
        }
        Ok(actual == *digest)
    }

    /// Follows a source's documents as far as they go; those that cannot be read offer nothing.
    fn layers_of(&self, at: usize) -> Result<HashMap<DiffId, BTreeSet<Digest>>> {
        let roots = self.sources[at].roots().iter();
        let mut waiting: Vec<Descriptor> = roots.map(|root| root.descriptor.clone()).collect();
        let (mut seen, mut layers) = (HashSet::new(), HashMap::new());
        while let Some(descriptor) = waiting.pop() {
            self.watch.check()?;
            if !seen.insert(descriptor.digest) {
                continue;
            }
            let Some(bytes) = self.document(at, &descriptor)? else {
                continue;
            };
            match Document::parse(&bytes, &descriptor.media_type) {
                Ok(Document::Index(children)) => waiting.extend(children),
                Ok(Document::Manifest(manifest)) if manifest.is_image() => {
                    let config = self.document(at, &manifest.config)?;
                    let config = config.and_then(|bytes| Config::parse(&bytes).ok());
                    let diff_ids = config.into_iter().flat_map(|config| config.diff_ids);
                    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
                        layers
                            .entry(diff_id)
                            .or_insert_with(BTreeSet::new)
                            .insert(layer.digest);
                    }
                }
                Ok(Document::Manifest(_) | Document::Unknown(_)) | Err(_) => {}
            }
        }
        Ok(layers)
    }

    fn document(&self, at: usize, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let most = Limits::default().document_bytes;
        let Some(offered) = self.blob(at, &descriptor.digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = offered
            .blob
            .reader()
            .take(most.saturating_add(1))
            .read_to_end(&mut bytes);
        let fits = read.is_ok() && bytes.len() as u64 <= most;
        Ok((fits && descriptor.digest.matches(&bytes)).then_some(bytes))
    }
}

/// Tells whether an error is about this process or this store, and not about what a source holds.
pub(super) fn is_ours(e: &Error) -> bool {
    match e.cause() {
        Cause::Damaged(_) | Cause::Malformed(_) | Cause::Missing(_) => false,
        Cause::Io(_) | Cause::Busy(_) | Cause::Usage(_) | Cause::Interrupted | Cause::Failed(_) => {
            true
        }
    }
}
