//! Owns what follows from a layer that was made anew: manifests and indexes that name the new digests and keep
//! every other field as it was. Configs stay, because `diff_ids` do.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Job;
use super::plan::{Item, Made, Origin};
use crate::compress::Compression;
use crate::digest::{Algorithm, Digest, DigestHasher};
use crate::error::{Error, Result};
use crate::json::strict_json;
use crate::wire::Descriptor;

/// Annotations of a layer that tell where things are within the compressed bytes, by their beginnings.
const ABOUT_BYTES: [&str; 3] = [
    "io.github.containers.zstd-chunked.",
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
];

/// The annotation that ties a builder's attestation to the manifest it is about, in their index.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// The documents that had to change, by their old digests.
pub(super) struct Rewritten {
    pub(super) documents: HashMap<Digest, Document>,
}

/// A document that had to change.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) digest: Digest,
    bytes: Arc<[u8]>,
}

impl Document {
    /// Returns the blob that goes out.
    pub(super) fn item(&self) -> Item {
        let bytes = Arc::clone(&self.bytes);
        Item {
            digest: self.digest,
            size: bytes.len() as u64,
            origin: Origin::Bytes(bytes),
        }
    }
}

impl Rewritten {
    /// Returns a descriptor of the document as it goes out.
    pub(super) fn descriptor(&self, old: &Descriptor) -> Descriptor {
        let mut new = old.clone();
        if let Some(document) = self.documents.get(&old.digest) {
            new.digest = document.digest;
            new.size = document.bytes.len() as u64;
            new.data = None;
            point(&mut new.raw, &new.digest, new.size);
        }
        new
    }
}

/// Rewrites every document that leads to one of `layers`.
pub(super) fn documents(job: &Job<'_>, layers: &HashMap<Digest, Made>) -> Result<Rewritten> {
    let mut rewriter = Rewriter {
        job,
        layers,
        done: HashMap::new(),
    };
    if layers.iter().any(|(old, made)| *old != made.digest) {
        for digest in job.reach.documents.keys() {
            rewriter.document(digest)?;
        }
    }
    let documents = rewriter
        .done
        .into_iter()
        .filter_map(|(old, new)| Some((old, new?)));
    Ok(Rewritten {
        documents: documents.collect(),
    })
}

struct Rewriter<'a> {
    job: &'a Job<'a>,
    layers: &'a HashMap<Digest, Made>,
    /// What each document became; `None` where it stays.
    done: HashMap<Digest, Option<Document>>,
}

impl Rewriter<'_> {
    /// Rewrites a document after those it names; digests cannot go in a circle.
    fn document(&mut self, digest: &Digest) -> Result<()> {
        let Some((_, parsed)) = self.job.reach.documents.get(digest) else {
            return Ok(());
        };
        if self.done.contains_key(digest) {
            return Ok(());
        }
        for child in parsed.descriptors() {
            self.document(&child.digest)?;
        }
        let bytes = self.job.reader.store().document(digest)?;
        let mut value =
            strict_json(&bytes).map_err(|e| Error::damaged("rewrite", digest, e.to_string()))?;
        let changed = self.rewrite(digest, &mut value);
        let new = changed.then(|| {
            let bytes = value.to_string().into_bytes();
            Document {
                digest: digest_of(digest.algorithm(), &bytes),
                bytes: bytes.into(),
            }
        });
        self.done.insert(*digest, new);
        Ok(())
    }

    /// Points every descriptor at what it became; returns whether any moved.
    fn rewrite(&self, digest: &Digest, value: &mut Value) -> bool {
        let mut changed = false;
        if let Some(Value::Object(subject)) = value.get_mut("subject") {
            changed |= self.move_document(subject);
        }
        for child in objects(value.get_mut("manifests")) {
            changed |= self.move_document(child);
        }
        if self.job.reach.images.contains_key(digest) {
            for layer in objects(value.get_mut("layers")) {
                changed |= self.move_layer(layer);
            }
        }
        changed
    }

    fn move_document(&self, descriptor: &mut Map<String, Value>) -> bool {
        let attested = self.move_attested(descriptor);
        let Some(new) = self.became(descriptor.get("digest")) else {
            return attested;
        };
        point(descriptor, &new.digest, new.bytes.len() as u64);
        true
    }

    fn move_attested(&self, descriptor: &mut Map<String, Value>) -> bool {
        let annotation = descriptor
            .get_mut("annotations")
            .and_then(|a| a.get_mut(ATTESTED));
        let Some(annotation) = annotation else {
            return false;
        };
        let Some(new) = self.became(Some(annotation)) else {
            return false;
        };
        *annotation = new.digest.to_string().into();
        true
    }

    fn became(&self, digest: Option<&Value>) -> Option<&Document> {
        let digest = Digest::parse(digest?.as_str()?).ok()?;
        self.done.get(&digest)?.as_ref()
    }

    fn move_layer(&self, descriptor: &mut Map<String, Value>) -> bool {
        let text = descriptor
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Ok(digest) = Digest::parse(text) else {
            return false;
        };
        let Some(made) = self
            .layers
            .get(&digest)
            .filter(|made| made.digest != digest)
        else {
            return false;
        };
        if let Some(Value::String(media_type)) = descriptor.get_mut("mediaType") {
            *media_type = media_type_of(media_type, made.compression);
        }
        point(descriptor, &made.digest, made.size);
        // The new bytes are not at the old ones' addresses.
        descriptor.shift_remove("urls");
        if let Some(Value::Object(annotations)) = descriptor.get_mut("annotations") {
            annotations.retain(|key, _| !ABOUT_BYTES.iter().any(|about| key.starts_with(about)));
        }
        true
    }
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Points a descriptor at other bytes; every other field stays, and stays where it is.
fn point(descriptor: &mut Map<String, Value>, digest: &Digest, size: u64) {
    descriptor.insert("digest".to_owned(), digest.to_string().into());
    descriptor.insert("size".to_owned(), size.into());
    descriptor.shift_remove("data");
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = DigestHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Returns the media type of the same family for another compression.
fn media_type_of(old: &str, compression: Compression) -> String {
    let docker = old.starts_with("application/vnd.docker.");
    let separator = if docker { '.' } else { '+' };
    let cut = |ending: &str| {
        old.strip_suffix(ending)
            .and_then(|rest| rest.strip_suffix(separator))
    };
    let plain = cut("gzip").or_else(|| cut("zstd")).unwrap_or(old);
    match compression {
        Compression::None => plain.to_owned(),
        // Docker's foreign layers have no zstd; bytes made here are not foreign anyway.
        Compression::Zstd if docker => format!("{}.zstd", plain.replace(".foreign.", ".")),
        Compression::Gzip | Compression::Zstd => {
            format!("{plain}{separator}{}", compression.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Media;

    #[test]
    fn a_media_type_stays_in_its_family() {
        let oci = "application/vnd.oci.image.layer.v1.tar";
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let docker = "application/vnd.docker.image.rootfs.diff.tar";
        for (old, compression, new) in [
            (
                format!("{oci}+gzip"),
                Compression::Zstd,
                format!("{oci}+zstd"),
            ),
            (format!("{oci}+zstd"), Compression::None, oci.to_owned()),
            (oci.to_owned(), Compression::Gzip, format!("{oci}+gzip")),
            (
                format!("{foreign}+gzip"),
                Compression::Zstd,
                format!("{foreign}+zstd"),
            ),
            (
                format!("{docker}.gzip"),
                Compression::None,
                docker.to_owned(),
            ),
            (
                docker.to_owned(),
                Compression::Gzip,
                format!("{docker}.gzip"),
            ),
            (
                format!("{docker}.gzip"),
                Compression::Zstd,
                format!("{docker}.zstd"),
            ),
        ] {
            assert_eq!(media_type_of(&old, compression), new);
            assert_eq!(Media::of(&new), Media::Layer(compression));
        }
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        assert_eq!(
            Media::of(&media_type_of(foreign, Compression::Zstd)),
            Media::Layer(Compression::Zstd)
        );
    }
}
