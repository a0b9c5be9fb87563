//! Owns archives as `docker save` writes them: a `manifest.json` that lists configs and layers by member name.
//! They have no manifests; each image is given one, the same for the same archive.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::archive::{Archive, Range};
use super::source::Root;
use crate::compress::Compression;
use crate::digest::{Algorithm, Digest, DigestHasher};
use crate::error::{Context, Error, Result};
use crate::json::strict_json;
use crate::limits::Limits;
use crate::wire::{self, Config, Descriptor};

/// The blobs of a Docker archive by digest. What the digests promise is for the importer to check.
#[derive(Debug, Default)]
pub(super) struct Blobs(HashMap<Digest, Held>);

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Bytes(Arc<[u8]>),
    Range(Range),
}

impl Blobs {
    pub(super) fn get(&self, digest: &Digest) -> Option<&Held> {
        self.0.get(digest)
    }
}

/// Reads `manifest.json`: the images, and everything they need.
pub(super) fn read(archive: &Archive, limits: &Limits) -> Result<(Vec<Root>, Blobs)> {
    let malformed = |why: String| {
        Error::malformed(
            "read the archive",
            format!("{}, manifest.json", archive.what()),
            why,
        )
    };
    let bytes = archive
        .read("manifest.json", limits.document_bytes)?
        .ok_or_else(|| malformed("it is missing: no archive of `docker save`".to_owned()))?;
    let Value::Array(images) = strict_json(&bytes).map_err(|e| malformed(e.to_string()))? else {
        return Err(malformed("expected a list".to_owned()));
    };
    let images = images
        .iter()
        .map(Saved::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)?;
    let mut members = Members {
        archive,
        limits,
        configs: HashMap::new(),
        layers: HashMap::new(),
        blobs: Blobs::default(),
    };
    let configs = images
        .iter()
        .map(|image| members.config(image))
        .collect::<Result<Vec<_>>>()?;
    members.hash_layers(&images, &configs)?;
    let mut roots = Vec::new();
    for (image, config) in images.iter().zip(&configs) {
        let descriptor = members.manifest(image, config)?;
        if image.tags.is_empty() {
            roots.push(Root {
                descriptor: descriptor.clone(),
                name_hint: None,
            });
        }
        for tag in &image.tags {
            roots.push(Root {
                descriptor: descriptor.clone(),
                name_hint: Some(tag.clone()),
            });
        }
    }
    Ok((roots, members.blobs))
}

/// One image of `manifest.json`.
struct Saved {
    config: String,
    tags: Vec<String>,
    layers: Vec<String>,
}

impl Saved {
    fn parse(value: &Value) -> Result<Self, String> {
        let Some(config) = value.get("Config").and_then(Value::as_str) else {
            return Err("an image without a Config".to_owned());
        };
        let mut tags = texts(value, "RepoTags")?;
        tags.retain(|tag| tag != "<none>:<none>");
        Ok(Self {
            config: config.to_owned(),
            tags,
            layers: texts(value, "Layers")?,
        })
    }
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>, String> {
    let texts = match value.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|v| v.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    };
    texts.ok_or_else(|| format!("'{key}' is not a list of texts"))
}

/// An image's config: what names it, and what it says its layers are.
struct SavedConfig {
    descriptor: Descriptor,
    diff_ids: Vec<Digest>,
}

/// A layer's member.
#[derive(Clone)]
struct Layer {
    range: Range,
    compression: Compression,
    /// What it says its digest is, where anything does.
    claim: Option<Digest>,
}

struct Members<'a> {
    archive: &'a Archive,
    limits: &'a Limits,
    /// Configs by where they begin: any number of images may name one, which is read once.
    configs: HashMap<u64, Arc<SavedConfig>>,
    /// Descriptors by where the layer begins: legacy archives lead several names to one member.
    layers: HashMap<u64, Descriptor>,
    blobs: Blobs,
}

impl Members<'_> {
    fn find(&self, name: &str) -> Result<Range> {
        self.archive.find(name.as_bytes())?.ok_or_else(|| {
            let object = format!("{}, member '{}'", self.archive.what(), name.escape_debug());
            Error::malformed(
                "read the archive",
                object,
                "manifest.json names it, but it is missing",
            )
        })
    }

    fn config(&mut self, image: &Saved) -> Result<Arc<SavedConfig>> {
        let range = self.find(&image.config)?;
        if let Some(known) = self.configs.get(&range.offset) {
            return Ok(Arc::clone(known));
        }
        let bytes = self
            .archive
            .read(&image.config, self.limits.document_bytes)?
            .unwrap_or_default();
        let digest = Digest::sha256(&bytes);
        self.blobs.0.insert(digest, Held::Range(range));
        let diff_ids = Config::parse(&bytes).map(|c| c.diff_ids.iter().map(|d| d.0).collect());
        let config = Arc::new(SavedConfig {
            descriptor: Descriptor::new(wire::OCI_CONFIG, digest, range.size),
            diff_ids: diff_ids.unwrap_or_default(),
        });
        self.configs.insert(range.offset, Arc::clone(&config));
        Ok(config)
    }

    /// Learns the digest of every layer. Only what nothing names is read for it: the importer, who reads all
    /// layers anyway, refuses bytes that are not what a name or a config promises.
    fn hash_layers(&mut self, images: &[Saved], configs: &[Arc<SavedConfig>]) -> Result<()> {
        let mut found: HashMap<u64, Layer> = HashMap::new();
        for (image, config) in images.iter().zip(configs) {
            let counted = image.layers.len() == config.diff_ids.len();
            for (i, name) in image.layers.iter().enumerate() {
                let diff_id = config.diff_ids.get(i).filter(|_| counted);
                let layer = self.layer(name, diff_id)?;
                found.entry(layer.range.offset).or_insert(layer);
            }
        }
        let layers: Vec<Layer> = found.into_values().collect();
        let digests: Vec<Digest> = layers
            .par_iter()
            .map(|l| self.digest(l))
            .collect::<Result<_>>()?;
        for (layer, digest) in layers.iter().zip(digests) {
            let media_type = wire::layer_media_type(layer.compression);
            self.layers.insert(
                layer.range.offset,
                Descriptor::new(media_type, digest, layer.range.size),
            );
            self.blobs.0.insert(digest, Held::Range(layer.range));
        }
        Ok(())
    }

    fn layer(&self, name: &str, diff_id: Option<&Digest>) -> Result<Layer> {
        let range = self.find(name)?;
        let mut head = [0; 8];
        let head = &mut head[..usize::try_from(range.size.min(8)).unwrap_or(8)];
        self.archive
            .file()
            .read_exact_at(head, range.offset)
            .context("read the archive", self.archive.what())?;
        let compression = Compression::sniff(head);
        let claim = match compression {
            Compression::None => diff_id.copied(),
            Compression::Gzip | Compression::Zstd => digest_of_name(name),
        };
        Ok(Layer {
            range,
            compression,
            claim,
        })
    }

    fn digest(&self, layer: &Layer) -> Result<Digest> {
        if let Some(claim) = layer.claim {
            return Ok(claim);
        }
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; 256 << 10];
        let (mut at, mut left) = (layer.range.offset, layer.range.size);
        while left > 0 {
            let now = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let bytes = &mut buffer[..now];
            self.archive
                .file()
                .read_exact_at(bytes, at)
                .context("read the archive", self.archive.what())?;
            hasher.update(bytes);
            at += now as u64;
            left -= now as u64;
        }
        Ok(hasher.finish())
    }

    fn manifest(&mut self, image: &Saved, config: &SavedConfig) -> Result<Descriptor> {
        let mut layers = Vec::with_capacity(image.layers.len());
        for name in &image.layers {
            let range = self.find(name)?;
            layers.extend(
                self.layers
                    .get(&range.offset)
                    .map(|l| Value::Object(l.raw.clone())),
            );
        }
        let mut manifest = Map::new();
        manifest.insert("schemaVersion".to_owned(), 2.into());
        manifest.insert("mediaType".to_owned(), wire::OCI_MANIFEST.into());
        manifest.insert("config".to_owned(), json!(config.descriptor.raw));
        manifest.insert("layers".to_owned(), Value::Array(layers));
        let bytes = Value::Object(manifest).to_string().into_bytes();
        let digest = Digest::sha256(&bytes);
        let descriptor = Descriptor::new(wire::OCI_MANIFEST, digest, bytes.len() as u64);
        self.blobs.0.insert(digest, Held::Bytes(bytes.into()));
        Ok(descriptor)
    }
}

/// Modern archives are layouts too, and their members' names are digests.
fn digest_of_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}
