//! Owns reachability: which documents and blobs a set of names leads to.
//!
//! Fails closed: a document that cannot be read or followed is an error, never "no children".

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result};
use crate::wire::{self, Config, Descriptor, Document, Manifest, Media};

/// How deep indexes may nest; `index.json` is depth 0.
pub const DEPTH_MAX: usize = 8;

/// What a set of names leads to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Every document by digest, with the descriptor that led to it.
    pub documents: BTreeMap<Digest, (Descriptor, Document)>,
    /// The images among them.
    pub images: BTreeMap<Digest, ImageDocs>,
    /// Every other blob that has to be kept: configs, artifacts' layers, what unknown documents point to.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// The blobs of images' layers, which may be regenerated instead of kept, by what they hold.
    pub layers: BTreeMap<Digest, DiffId>,
    /// What was followed already, and as what: one digest may be a layer here and a manifest there.
    followed: BTreeSet<(Digest, Role)>,
}

/// What a descriptor's media type makes of a blob, as far as following it goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Role {
    Index,
    Manifest,
    Leaf,
    Unknown,
}

impl Role {
    fn of(descriptor: &Descriptor) -> Self {
        match descriptor.media() {
            Media::Index => Self::Index,
            Media::Manifest => Self::Manifest,
            Media::Config | Media::Layer(_) => Self::Leaf,
            Media::Other => Self::Unknown,
        }
    }
}

/// An image's documents, read.
#[derive(Clone, Debug)]
pub struct ImageDocs {
    /// The descriptor that led to it.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
}

impl ImageDocs {
    /// Returns each layer's descriptor and diff_id, bottom first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &DiffId)> {
        self.manifest.layers.iter().zip(&self.config.diff_ids)
    }
}

impl Reach {
    /// Follows `roots` through everything they need.
    pub fn of(store: &Store, roots: &[Descriptor]) -> Result<Self> {
        let mut reach = Self::default();
        for root in roots {
            reach.follow(store, root, 0)?;
        }
        Ok(reach)
    }

    /// Follows every name there is, and what refers to what they lead to.
    pub fn of_all(store: &Store) -> Result<Self> {
        let names = store.names()?;
        let roots: Vec<Descriptor> = names
            .entries()
            .iter()
            .map(|e| e.descriptor.clone())
            .collect();
        let mut reach = Self::of(store, &roots)?;
        reach.follow_referrers(store)?;
        Ok(reach)
    }

    /// Tells whether the blob is reached, in whatever role.
    pub fn has(&self, digest: &Digest) -> bool {
        self.documents.contains_key(digest)
            || self.blobs.contains_key(digest)
            || self.layers.contains_key(digest)
    }

    /// Returns the layers that are reached.
    pub fn diff_ids(&self) -> BTreeSet<DiffId> {
        self.images
            .values()
            .flat_map(|image| image.config.diff_ids.iter().copied())
            .collect()
    }

    fn follow(&mut self, store: &Store, descriptor: &Descriptor, depth: usize) -> Result<()> {
        let role = Role::of(descriptor);
        if !self.followed.insert((descriptor.digest, role)) {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(Error::damaged(
                "follow",
                descriptor.digest,
                format!("indexes nest over {DEPTH_MAX} deep"),
            ));
        }
        match role {
            Role::Index | Role::Manifest => self.follow_document(store, descriptor, depth),
            Role::Leaf => self.keep(store, descriptor),
            Role::Unknown => self.follow_unknown(store, descriptor, depth),
        }
    }

    fn follow_document(
        &mut self,
        store: &Store,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<()> {
        let bytes = store.document(&descriptor.digest)?;
        let document = Document::parse(&bytes, &descriptor.media_type)
            .map_err(|e| Error::damaged("follow", descriptor.digest, e.to_string()))?;
        self.documents
            .insert(descriptor.digest, (descriptor.clone(), document.clone()));
        match document {
            Document::Index(children) => children
                .iter()
                .try_for_each(|c| self.follow(store, c, depth + 1))?,
            Document::Manifest(manifest) => {
                self.follow_manifest(store, descriptor, manifest, depth)?;
            }
            Document::Unknown(children) => self.follow_present(store, &children, depth)?,
        }
        self.follow_rest(store, &bytes, depth)
    }

    /// Every descriptor found in a document is an edge: an index's subject, and fields of a later image-spec.
    fn follow_rest(&mut self, store: &Store, bytes: &[u8], depth: usize) -> Result<()> {
        let mut rest = wire::strict_json(bytes)
            .map(|v| wire::descriptors_in(&v))
            .unwrap_or_default();
        rest.retain(|child| !self.has(&child.digest));
        self.follow_present(store, &rest, depth)
    }

    fn follow_manifest(
        &mut self,
        store: &Store,
        descriptor: &Descriptor,
        manifest: Manifest,
        depth: usize,
    ) -> Result<()> {
        let Manifest {
            config,
            layers,
            subject,
            artifact_type: _,
        } = &manifest;
        self.keep(store, config)?;
        // A subject need not be there (image-spec manifest.md, "subject").
        self.follow_present(store, subject.as_slice(), depth)?;
        if !manifest.is_image() {
            return layers
                .iter()
                .try_for_each(|layer| self.follow(store, layer, depth + 1));
        }
        let config = Config::parse(&store.document(&config.digest)?)
            .map_err(|e| Error::damaged("follow", descriptor.digest, e.to_string()))?;
        if config.diff_ids.len() != layers.len() {
            return Err(Error::damaged(
                "follow",
                descriptor.digest,
                format!(
                    "{} layers but {} diff_ids",
                    layers.len(),
                    config.diff_ids.len()
                ),
            ));
        }
        let layers = layers.iter().zip(&config.diff_ids);
        self.layers
            .extend(layers.map(|(layer, diff_id)| (layer.digest, *diff_id)));
        self.images.insert(
            descriptor.digest,
            ImageDocs {
                descriptor: descriptor.clone(),
                manifest,
                config,
            },
        );
        Ok(())
    }

    /// A blob of a type nobody here knows may be a document of a future one: what it points to stays.
    fn follow_unknown(
        &mut self,
        store: &Store,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<()> {
        self.keep(store, descriptor)?;
        if !store.may_be_document(&descriptor.digest, descriptor.size)? {
            return Ok(());
        }
        let bytes = store.document(&descriptor.digest)?;
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Unknown(children)) => self.follow_present(store, &children, depth),
            _ => Ok(()),
        }
    }

    fn follow_present(
        &mut self,
        store: &Store,
        children: &[Descriptor],
        depth: usize,
    ) -> Result<()> {
        for child in children {
            if store.blob_size(&child.digest)?.is_some() {
                self.follow(store, child, depth + 1)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        let digest = descriptor.digest;
        if store.blob_size(&digest)?.is_none() {
            return Err(
                Error::damaged("follow", digest, "the store does not have the blob")
                    .hint("import its image again"),
            );
        }
        self.blobs
            .entry(digest)
            .or_insert_with(|| descriptor.clone());
        Ok(())
    }

    /// A live subject keeps its referrers: looks through the blobs that nothing else keeps until no more turn up.
    fn follow_referrers(&mut self, store: &Store) -> Result<()> {
        let mut waiting = self.possible_referrers(store)?;
        loop {
            let (live, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(_, subject)| self.has(subject));
            if live.is_empty() {
                return Ok(());
            }
            for (descriptor, _) in &live {
                self.follow(store, descriptor, 0)?;
            }
            waiting = rest;
        }
    }

    fn possible_referrers(&self, store: &Store) -> Result<Vec<(Descriptor, Digest)>> {
        let mut found = Vec::new();
        for digest in store.blobs()? {
            let Some(size) = store.blob_size(&digest)?.filter(|_| !self.has(&digest)) else {
                continue;
            };
            if !store.may_be_document(&digest, size)? {
                continue;
            }
            if let Some((media_type, subject)) = subject_of(&store.document(&digest)?) {
                found.push((Descriptor::new(&media_type, digest, size), subject));
            }
        }
        Ok(found)
    }
}

/// Returns the media type and the subject of a manifest or index that refers to another.
fn subject_of(bytes: &[u8]) -> Option<(String, Digest)> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let value = wire::strict_json(bytes).ok()?;
    let subject = Digest::parse(value.get("subject")?.get("digest")?.as_str()?).ok()?;
    let fallback = if value.get("manifests").is_some() {
        wire::OCI_INDEX
    } else {
        wire::OCI_MANIFEST
    };
    let media_type = value
        .get("mediaType")
        .and_then(|m| m.as_str())
        .unwrap_or(fallback);
    Some((media_type.to_owned(), subject))
}
