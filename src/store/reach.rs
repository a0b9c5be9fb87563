//! Owns reachability: which documents and blobs a set of names leads to.
//!
//! Fails closed: a document that cannot be read or followed is an error, never "no children". How deep documents nest
//! does not matter here: whether an image may come in is for the import to say, and what is in is followed to its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Store, paths};
use crate::digest::{DiffId, Digest};
use crate::error::{Cause, Error, Result};
use crate::json::strict_json;
use crate::wire::{self, Config, Descriptor, Document, Manifest, Media};

/// What a set of names leads to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Every document by digest, with the descriptor that led to it.
    pub documents: BTreeMap<Digest, (Descriptor, Document)>,
    /// The images among them.
    pub images: BTreeMap<Digest, ImageDocs>,
    /// Those images that only their own word, that they refer to something live, leads to.
    pub referring: BTreeSet<Digest>,
    /// Every other blob that has to be kept: configs, artifacts' layers, what unknown documents point to.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// The blobs of images' layers, which may be regenerated instead of kept, by what they hold.
    pub layers: BTreeMap<Digest, DiffId>,
    /// What was followed already, and as what: one digest may be a layer here and a manifest there.
    followed: BTreeSet<(Digest, Role)>,
    /// What refers to something that is not reached, and to what.
    referrers: Vec<(Descriptor, Digest)>,
    lead: Lead,
    /// What is still to be followed.
    waiting: Vec<Descriptor>,
    /// What documents hold besides: followed once all else is, unless that led to it.
    rest: Vec<Descriptor>,
}

/// What led to what is being followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Lead {
    /// A name: all of it has to be there.
    #[default]
    Name,
    /// Its own word that it refers to something live. Nobody vouches for that: whatever of it is there is kept, and what
    /// is not is nobody's loss. Any blob can say so, also one that was only ever garbage.
    Subject,
}

/// What a descriptor's media type makes of a blob, as far as following it goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Role {
    Index,
    Manifest,
    Leaf,
    Unknown,
}

impl Role {
    pub(crate) fn of(descriptor: &Descriptor) -> Self {
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
        reach.wait_for(roots.iter().cloned());
        reach.follow_waiting(store)?;
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
        Self::with_referrers(store, &roots, &store.blobs()?)
    }

    /// Follows `roots` as a collector does, for whom a referrer may be in the trash: who claims its subject may be about
    /// to bring it back.
    pub fn with_referrers_anywhere(store: &Store, roots: &[Descriptor]) -> Result<Self> {
        let mut among = store.blobs()?;
        among.extend(discarded_blobs(store)?);
        Self::with_referrers(store, roots, &among)
    }

    /// Follows `roots`, and those of some blobs that refer to what they lead to.
    fn with_referrers(store: &Store, roots: &[Descriptor], among: &[Digest]) -> Result<Self> {
        let mut reach = Self::of(store, roots)?;
        reach.referrers = reach.possible_referrers(store, among)?;
        reach.follow_referrers(store)?;
        Ok(reach)
    }

    /// Follows more roots, and what of the blobs that were there before refers to what they lead to.
    ///
    /// They are followed to their ends, whatever was followed before: where not all was there then, it may be now.
    pub fn follow_also(&mut self, store: &Store, roots: &[Descriptor]) -> Result<()> {
        let mut more = Self::of(store, roots)?;
        more.referrers = std::mem::take(&mut self.referrers);
        more.follow_referrers(store)?;
        let Self {
            documents,
            images,
            referring,
            blobs,
            layers,
            followed,
            referrers,
            lead: _,
            waiting: _,
            rest: _,
        } = more;
        self.documents.extend(documents);
        self.referring.retain(|image| !images.contains_key(image));
        self.referring.extend(referring);
        self.images.extend(images);
        self.blobs.extend(blobs);
        self.layers.extend(layers);
        self.followed.extend(followed);
        self.referrers = referrers;
        Ok(())
    }

    /// Follows `roots`, and what refers to what they lead to but was moved to the trash with it.
    pub(super) fn with_discarded_referrers(store: &Store, roots: &[Descriptor]) -> Result<Self> {
        Self::with_referrers(store, roots, &discarded_blobs(store)?)
    }

    /// Tells whether it followed a descriptor, as what its media type says it is.
    pub fn followed(&self, descriptor: &Descriptor) -> bool {
        let role = Role::of(descriptor);
        self.followed.contains(&(descriptor.digest, role))
    }

    /// Tells whether the blob is reached, in whatever role.
    pub fn has(&self, digest: &Digest) -> bool {
        self.documents.contains_key(digest)
            || self.blobs.contains_key(digest)
            || self.layers.contains_key(digest)
    }

    /// Tells whether the blob itself has to be there: it is reached otherwise than as an image's layer.
    pub fn needs_blob(&self, digest: &Digest) -> bool {
        self.documents.contains_key(digest) || self.blobs.contains_key(digest)
    }

    /// Returns the layers that are reached.
    pub fn diff_ids(&self) -> BTreeSet<DiffId> {
        self.images
            .values()
            .flat_map(|image| image.config.diff_ids.iter().copied())
            .collect()
    }

    /// Returns the layers that only images need which refer to something live, and which nothing else leads to.
    pub fn layers_of_referrers(&self) -> BTreeSet<DiffId> {
        let of = |referring: bool| {
            let images = self.images.iter();
            let images = images.filter(move |(id, _)| self.referring.contains(id) == referring);
            images.flat_map(|(_, image)| image.config.diff_ids.iter().copied())
        };
        let vouched: BTreeSet<DiffId> = of(false).collect();
        of(true).filter(|layer| !vouched.contains(layer)).collect()
    }

    fn follow_waiting(&mut self, store: &Store) -> Result<()> {
        loop {
            while let Some(descriptor) = self.waiting.pop() {
                self.follow(store, &descriptor)?;
            }
            let mut rest = std::mem::take(&mut self.rest);
            rest.retain(|child| !self.has(&child.digest));
            self.wait_for(rest);
            if self.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    /// Puts documents in line, the first of them next.
    fn wait_for(&mut self, found: impl IntoIterator<Item = Descriptor>) {
        let line = self.waiting.len();
        self.waiting.extend(found);
        self.waiting[line..].reverse();
    }

    fn follow(&mut self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        let role = Role::of(descriptor);
        if !self.followed.insert((descriptor.digest, role)) {
            return Ok(());
        }
        let followed = match role {
            Role::Index | Role::Manifest => self.follow_document(store, descriptor),
            Role::Leaf => self.keep(store, descriptor),
            Role::Unknown => self.follow_unknown(store, descriptor),
        };
        match followed {
            Err(e) if self.lead == Lead::Subject && matches!(e.cause(), Cause::Damaged(_)) => {
                self.keep_what_is_there(store, descriptor)
            }
            other => other,
        }
    }

    fn keep_what_is_there(&mut self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        let Some(size) = store.blob_size(&descriptor.digest)? else {
            return Ok(());
        };
        self.keep(store, descriptor)?;
        if !store.may_be_document(&descriptor.digest, size)? {
            return Ok(());
        }
        let parsed = store
            .document(&descriptor.digest)
            .map(|bytes| strict_json(&bytes).map(|value| wire::descriptors_in(&value)));
        match parsed {
            Ok(children) => self.follow_present(store, children.unwrap_or_default()),
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn follow_document(&mut self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        let bytes = store.document(&descriptor.digest)?;
        let document = Document::parse(&bytes, &descriptor.media_type)
            .map_err(|e| Error::damaged("follow", descriptor.digest, e.to_string()))?;
        self.documents
            .insert(descriptor.digest, (descriptor.clone(), document.clone()));
        // Every descriptor found in a document is an edge: an index's subject, and fields of a later image-spec.
        let mut named: HashSet<Digest> = document.descriptors().iter().map(|d| d.digest).collect();
        let rest = strict_json(&bytes).map(|v| wire::descriptors_in(&v));
        for child in rest.unwrap_or_default() {
            if named.insert(child.digest) && store.blob_size(&child.digest)?.is_some() {
                self.rest.push(child);
            }
        }
        match document {
            Document::Index(children) => self.wait_for(children),
            Document::Manifest(manifest) => self.follow_manifest(store, descriptor, manifest)?,
            Document::Unknown(children) => self.follow_present(store, children)?,
        }
        Ok(())
    }

    fn follow_manifest(
        &mut self,
        store: &Store,
        descriptor: &Descriptor,
        manifest: Manifest,
    ) -> Result<()> {
        let Manifest {
            config,
            layers,
            subject,
            artifact_type: _,
        } = &manifest;
        self.keep(store, config)?;
        // A subject need not be there (image-spec manifest.md, "subject").
        self.follow_present(store, subject.clone())?;
        if !manifest.is_image() {
            self.wait_for(layers.iter().cloned());
            return Ok(());
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
        if self.lead == Lead::Subject {
            self.referring.insert(descriptor.digest);
        }
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
    fn follow_unknown(&mut self, store: &Store, descriptor: &Descriptor) -> Result<()> {
        self.keep(store, descriptor)?;
        if !store.may_be_document(&descriptor.digest, descriptor.size)? {
            return Ok(());
        }
        let bytes = store.document(&descriptor.digest)?;
        match Document::parse(&bytes, &descriptor.media_type) {
            Ok(Document::Unknown(children)) => self.follow_present(store, children),
            _ => Ok(()),
        }
    }

    fn follow_present(
        &mut self,
        store: &Store,
        children: impl IntoIterator<Item = Descriptor>,
    ) -> Result<()> {
        let mut present = Vec::new();
        for child in children {
            if store.blob_size(&child.digest)?.is_some() {
                present.push(child);
            }
        }
        self.wait_for(present);
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
        self.lead = Lead::Subject;
        loop {
            let (live, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.referrers)
                .into_iter()
                .partition(|(_, subject)| self.has(subject));
            self.referrers = rest;
            if live.is_empty() {
                return Ok(());
            }
            self.wait_for(live.into_iter().map(|(descriptor, _)| descriptor));
            self.follow_waiting(store)?;
        }
    }

    fn possible_referrers(
        &self,
        store: &Store,
        among: &[Digest],
    ) -> Result<Vec<(Descriptor, Digest)>> {
        let mut found = Vec::new();
        for digest in among.iter().copied() {
            let Some(size) = store.blob_size(&digest)?.filter(|_| !self.has(&digest)) else {
                continue;
            };
            let read = || match store.may_be_document(&digest, size)? {
                true => store.document(&digest).map(Some),
                false => Ok(None),
            };
            let document = match read() {
                // Nothing that is live needs it: a collector may have freed it meanwhile.
                Err(_) if store.blob_size(&digest)?.is_none() => continue,
                read => read?,
            };
            if let Some((media_type, subject)) = document.and_then(|bytes| subject_of(&bytes)) {
                found.push((Descriptor::new(&media_type, digest, size), subject));
            }
        }
        Ok(found)
    }
}

fn discarded_blobs(store: &Store) -> Result<Vec<Digest>> {
    let places = store.in_trash("blobs")?;
    Ok(places.iter().filter_map(|p| paths::blob_at(p)).collect())
}

/// Returns the media type and the subject of a manifest or index that refers to another.
fn subject_of(bytes: &[u8]) -> Option<(String, Digest)> {
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let value = strict_json(bytes).ok()?;
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
