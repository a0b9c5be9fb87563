//! Owns new image documents from old ones: a config and a manifest with changes, as values. No I/O, and no clock.
//!
//! What nobody changes stays: fields that are not known here, their order, a manifest's `subject`, annotations, and
//! the descriptors of layers with their `urls`. A document that nothing changed keeps its bytes. One that is changed is
//! an OCI document: Docker's media types become those that say the same, all of them, so that no manifest is of both
//! kinds.

mod apply;
mod change;
mod checks;
mod fields;
mod history;

use serde_json::{Map, Value};

pub use change::{Changes, ConfigChange};
pub use history::History;

use crate::digest::{DiffId, Digest};
use crate::error::{Error, Result};
use crate::json::{JsonError, check_numbers, strict_json};
use crate::time::Time;
use crate::wire::{
    Config, Descriptor, Document, OCI_CONFIG, OCI_MANIFEST, WireError, oci_media_type,
};
use apply::{apply, in_list, in_object, put};
use fields::Home;
use history::{Stands, stands_for_layer};

/// The documents of an image that is being made.
#[derive(Clone, Debug)]
pub struct Draft {
    config: Map<String, Value>,
    manifest: Map<String, Value>,
    base: Option<Base>,
}

/// The documents that a draft began with.
#[derive(Clone, Debug)]
struct Base {
    descriptor: Descriptor,
    manifest: (Vec<u8>, Map<String, Value>),
    config: (Vec<u8>, Map<String, Value>),
}

/// The documents of a new image.
#[derive(Clone, PartialEq, Debug)]
pub struct NewDocuments {
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// What the manifest says of the config.
    pub config_descriptor: Descriptor,
    /// What an index or a name says of the manifest.
    pub manifest_descriptor: Descriptor,
    /// The layers' descriptors, bottom first.
    pub layers: Vec<Descriptor>,
    /// What the config says: the layers' diff_ids, the platform, the time.
    pub read: Config,
}

impl Draft {
    /// Begins with the documents of an image, whose manifest `descriptor` points to.
    ///
    /// Fails where they are no image's, or hold a number that could not be kept as it is.
    pub fn of(descriptor: &Descriptor, manifest: &[u8], config: &[u8]) -> Result<Self> {
        let refused = |e: WireError| e.into_error("change", descriptor.digest);
        let Document::Manifest(parsed) =
            Document::parse(manifest, &descriptor.media_type).map_err(refused)?
        else {
            return Err(no_image(descriptor));
        };
        if !parsed.is_image() {
            return Err(no_image(descriptor));
        }
        let read = Config::parse(config).map_err(|e| refused(e.within("its config")))?;
        if read.diff_ids.len() != parsed.layers.len() {
            let (layers, diff_ids) = (parsed.layers.len(), read.diff_ids.len());
            let why = format!("{layers} layers but {diff_ids} diff_ids");
            return Err(Error::malformed("change", descriptor.digest, why));
        }
        let object = |bytes| object(bytes).map_err(|e| refused(e.into()));
        let (manifest, config) = (
            (manifest.to_vec(), object(manifest)?),
            (config.to_vec(), object(config)?),
        );
        Ok(Self {
            config: config.1.clone(),
            manifest: manifest.1.clone(),
            base: Some(Base {
                descriptor: descriptor.clone(),
                manifest,
                config,
            }),
        })
    }

    /// Begins an image without layers, for `platform`: `os/architecture[/variant]`.
    pub fn empty(platform: &str) -> Result<Self> {
        let parts: Vec<&str> = platform.split('/').collect();
        let whole = parts.iter().all(|part| checks::is_platform_part(part));
        let (2..=3, true) = (parts.len(), whole) else {
            let why = "expected OS/ARCH[/VARIANT], as in linux/amd64";
            return Err(Error::usage(
                "make an image for",
                format!("'{platform}'"),
                why,
            ));
        };
        let mut config = Map::new();
        for (key, part) in ["os", "architecture", "variant"].into_iter().zip(parts) {
            put(&mut config, key, part);
        }
        put(&mut config, "config", Map::new());
        in_object(&mut config, "rootfs", |rootfs| {
            put(rootfs, "type", "layers");
            put(rootfs, "diff_ids", Vec::<Value>::new());
        });
        let mut manifest = Map::new();
        put(&mut manifest, "schemaVersion", 2);
        put(&mut manifest, "mediaType", OCI_MANIFEST);
        put(&mut manifest, "config", Value::Null);
        put(&mut manifest, "layers", Vec::<Value>::new());
        Ok(Self {
            config,
            manifest,
            base: None,
        })
    }

    /// Makes changes to the config and the manifest's annotations.
    pub fn change(&mut self, changes: &Changes) {
        for ConfigChange { field, action } in &changes.0 {
            let (key, shape) = (field.key, field.shape);
            match field.home {
                Home::Image => apply(&mut self.config, (key, shape), action),
                Home::Manifest => apply(&mut self.manifest, (key, shape), action),
                Home::Run if action.takes_away() && !self.has_run() => {}
                Home::Run => in_object(&mut self.config, "config", |run| {
                    apply(run, (key, shape), action);
                }),
            }
        }
    }

    fn has_run(&self) -> bool {
        self.config.get("config").is_some_and(Value::is_object)
    }

    /// Says when the image was made.
    pub fn set_created(&mut self, created: &Time) {
        put(&mut self.config, "created", created.as_str());
    }

    /// Returns who made the image, where it says so.
    pub fn author(&self) -> Option<&str> {
        self.config.get("author")?.as_str()
    }

    /// Puts a layer on top.
    ///
    /// Where layers below have no history of their own, they get empty entries: others count them.
    pub fn push_layer(&mut self, layer: &Descriptor, diff_id: &DiffId, history: Option<&History>) {
        self.push_entry(history, Stands::ForLayer);
        in_list(&mut self.manifest, "layers", |layers| {
            layers.push(Value::Object(layer.raw.clone()));
        });
        in_object(&mut self.config, "rootfs", |rootfs| {
            in_list(rootfs, "diff_ids", |all| {
                all.push(diff_id.to_string().into());
            });
        });
    }

    /// Adds a history entry for a change that brings no layer.
    pub fn push_history(&mut self, history: &History) {
        self.push_entry(Some(history), Stands::ForNoLayer);
    }

    /// Puts one layer in the place of all; the history that led to those goes with them.
    pub fn squash(&mut self, layer: &Descriptor, diff_id: &DiffId, history: Option<&History>) {
        self.config.shift_remove("history");
        in_list(&mut self.manifest, "layers", Vec::clear);
        in_object(&mut self.config, "rootfs", |rootfs| {
            in_list(rootfs, "diff_ids", Vec::clear);
        });
        self.push_layer(layer, diff_id, history);
    }

    fn push_entry(&mut self, history: Option<&History>, stands: Stands) {
        let Some(history) = history else { return };
        let layers = self.manifest.get("layers").and_then(Value::as_array);
        let layers = layers.map_or(0, Vec::len);
        in_list(&mut self.config, "history", |entries| {
            let told = entries.iter().filter(|e| stands_for_layer(e)).count();
            for _ in told..layers {
                entries.push(History::default().entry(Stands::ForLayer));
            }
            entries.push(history.entry(stands));
        });
    }

    /// Returns the documents: the same for the same draft, byte for byte.
    pub fn finish(mut self) -> Result<NewDocuments> {
        let base = self.base.take();
        let config = match &base {
            Some(base) if base.config.1 == self.config => base.config.0.clone(),
            _ => encode(&self.config),
        };
        let is_same = |base: &Base| base.config.0 == config && base.manifest.1 == self.manifest;
        let (descriptor, manifest) = match base {
            Some(base) if is_same(&base) => (base.descriptor, base.manifest.0),
            _ => {
                self.seal(&config);
                let manifest = encode(&self.manifest);
                (descriptor(OCI_MANIFEST, &manifest), manifest)
            }
        };
        let refused = |e: WireError| e.into_error("make", "the new image");
        let parsed = Document::parse(&manifest, &descriptor.media_type).map_err(refused)?;
        let Document::Manifest(parsed) = parsed else {
            return Err(no_image(&descriptor));
        };
        Ok(NewDocuments {
            read: Config::parse(&config).map_err(refused)?,
            config,
            manifest,
            config_descriptor: parsed.config,
            manifest_descriptor: descriptor,
            layers: parsed.layers,
        })
    }

    /// Points the manifest to the config, and makes its media types those of OCI.
    fn seal(&mut self, config: &[u8]) {
        if self.manifest.contains_key("mediaType") {
            put(&mut self.manifest, "mediaType", OCI_MANIFEST);
        }
        in_object(&mut self.manifest, "config", |raw| {
            let new = descriptor(OCI_CONFIG, config).raw;
            if raw.get("digest") != new.get("digest") {
                // Both give the bytes of the old one.
                raw.shift_remove("data");
                raw.shift_remove("urls");
            }
            raw.extend(new);
        });
        in_list(&mut self.manifest, "layers", |layers| {
            for layer in layers {
                if let Some(Value::String(media_type)) = layer.get_mut("mediaType") {
                    *media_type = oci_media_type(media_type).to_owned();
                }
            }
        });
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
}

fn encode(object: &Map<String, Value>) -> Vec<u8> {
    Value::Object(object.clone()).to_string().into_bytes()
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    check_numbers(bytes)?;
    match strict_json(bytes)? {
        Value::Object(map) => Ok(map),
        // What was parsed as a document is an object.
        _ => Ok(Map::new()),
    }
}

fn no_image(descriptor: &Descriptor) -> Error {
    let why = "it is no image with a root filesystem";
    Error::missing("change", descriptor.digest, why).hint("`ocistore inspect` shows what it is")
}

#[cfg(test)]
mod tests;
