//! Owns the documents of the OCI image-spec (and Docker's schema 2) as they travel: JSON in, typed parts out.
//! The one home of `oci-spec`. Documents themselves are kept and given back as the bytes they came in.

use std::fmt;

use serde_json::{Map, Value};

use crate::compress::Compression;
use crate::digest::{DiffId, Digest};
use crate::error::Error;
use crate::json::{JsonError, strict_json};

/// The annotation that names an image in a layout (image-spec annotations.md).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of an OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The media type of a plain OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The largest document read at all, in bytes; an import takes less, as its limits say.
pub const DOCUMENT_MAX: u64 = 64 << 20;

/// Why a document is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// It is malformed.
    #[error("{0}")]
    Malformed(String),
    /// Bytes that it carries are not what their digest or size names.
    #[error("{0}")]
    Mismatch(String),
}

impl From<JsonError> for WireError {
    fn from(e: JsonError) -> Self {
        Self::Malformed(e.to_string())
    }
}

impl WireError {
    /// Returns it as the error of an `act` on `object`.
    pub fn into_error(self, act: &'static str, object: impl fmt::Display) -> Error {
        match self {
            Self::Malformed(why) => Error::malformed(act, object, why),
            Self::Mismatch(why) => Error::damaged(act, object, why),
        }
    }

    /// Says in which document it was.
    #[must_use]
    pub fn within(self, document: &str) -> Self {
        match self {
            Self::Malformed(why) => Self::Malformed(format!("{document}: {why}")),
            Self::Mismatch(why) => Self::Mismatch(format!("{document}: {why}")),
        }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, WireError> {
    Err(WireError::Malformed(why.into()))
}

fn malformed(why: impl fmt::Display) -> WireError {
    WireError::Malformed(why.to_string())
}

/// What a media type says of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// An image index or a Docker manifest list.
    Index,
    /// An image manifest, OCI's or Docker's.
    Manifest,
    /// An image config, OCI's or Docker's.
    Config,
    /// A layer's tar.
    Layer(Compression),
    /// Anything else.
    Other,
}

impl Media {
    /// Classifies a media type.
    pub fn of(media_type: &str) -> Self {
        const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.";
        let plain = media_type
            .strip_suffix("+gzip")
            .or(media_type.strip_suffix("+zstd"))
            .unwrap_or(media_type);
        match media_type {
            OCI_INDEX | "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
            OCI_MANIFEST | "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
            OCI_CONFIG | "application/vnd.docker.container.image.v1+json" => Self::Config,
            _ if plain == OCI_LAYER
                || plain == "application/vnd.oci.image.layer.nondistributable.v1.tar" =>
            {
                Self::Layer(match media_type.rsplit_once('+') {
                    Some((_, "gzip")) => Compression::Gzip,
                    Some((_, "zstd")) => Compression::Zstd,
                    _ => Compression::None,
                })
            }
            _ => match media_type.strip_prefix(DOCKER_LAYER) {
                Some("diff.tar" | "foreign.diff.tar") => Self::Layer(Compression::None),
                Some("diff.tar.gzip" | "foreign.diff.tar.gzip") => Self::Layer(Compression::Gzip),
                Some("diff.tar.zstd") => Self::Layer(Compression::Zstd),
                _ => Self::Other,
            },
        }
    }
}

/// The media type of an OCI layer of this compression.
pub fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => OCI_LAYER,
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

/// Returns the OCI media type that says the same as Docker's `media_type`; any other one as it is.
pub fn oci_media_type(media_type: &str) -> &str {
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.";
    match Media::of(media_type) {
        Media::Index => OCI_INDEX,
        Media::Manifest => OCI_MANIFEST,
        Media::Config => OCI_CONFIG,
        Media::Layer(compression) if media_type.starts_with(FOREIGN) => match compression {
            Compression::None => "application/vnd.oci.image.layer.nondistributable.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        },
        Media::Layer(compression) if media_type.starts_with("application/vnd.docker.") => {
            layer_media_type(compression)
        }
        Media::Layer(_) | Media::Other => media_type,
    }
}

/// A descriptor (image-spec descriptor.md).
#[derive(Clone, PartialEq, Debug)]
pub struct Descriptor {
    /// The media type of what it points to.
    pub media_type: String,
    /// The digest of what it points to.
    pub digest: Digest,
    /// The length of what it points to, in bytes.
    pub size: u64,
    /// What it points to, where it carries it.
    pub data: Option<Vec<u8>>,
    /// `os/architecture[/variant]`, where it says so.
    pub platform: Option<String>,
    /// All of it, with the fields that nobody knows.
    pub raw: Map<String, Value>,
}

impl Descriptor {
    /// Reads a descriptor out of a document.
    pub fn from_value(value: &Value) -> Result<Self, WireError> {
        let Value::Object(raw) = value else {
            return refuse("expected a descriptor, got something else");
        };
        let digest = raw
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let digest = Digest::parse(digest).map_err(malformed)?;
        let typed: oci_spec::image::Descriptor = serde_json::from_value(value.clone())
            .map_err(|e| malformed(format!("malformed descriptor of {digest}: {e}")))?;
        let data = match typed.data() {
            None => None,
            Some(text) => Some(decode_data(text, &digest, typed.size())?),
        };
        Ok(Self {
            media_type: typed.media_type().to_string(),
            digest,
            size: typed.size(),
            data,
            platform: typed.platform().as_ref().map(platform_text),
            raw: raw.clone(),
        })
    }

    /// Reads what a descriptor in an unknown document points to, and nothing else of it: descriptors may be nested
    /// in descriptors, and each keeping all that is in it would multiply the document.
    fn bare(map: &Map<String, Value>) -> Option<Self> {
        let media_type = map.get("mediaType")?.as_str()?;
        let digest = Digest::parse(map.get("digest")?.as_str()?).ok()?;
        let size = map.get("size")?.as_u64()?;
        let data = map.get("data").and_then(Value::as_str);
        Some(Self {
            data: data
                .map(|text| decode_data(text, &digest, size))
                .transpose()
                .ok()?,
            ..Self::new(media_type, digest, size)
        })
    }

    /// Returns a descriptor of our own making.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let mut raw = Map::new();
        raw.insert("mediaType".to_owned(), media_type.into());
        raw.insert("digest".to_owned(), digest.to_string().into());
        raw.insert("size".to_owned(), size.into());
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            data: None,
            platform: None,
            raw,
        }
    }

    /// Returns what its media type says.
    pub fn media(&self) -> Media {
        Media::of(&self.media_type)
    }

    /// Returns the annotation `key`.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.raw.get("annotations")?.get(key)?.as_str()
    }

    /// Returns the descriptor with its name in a layout set or taken away.
    #[must_use]
    pub fn named(mut self, name: Option<&str>) -> Self {
        let mut annotations = match self.raw.remove("annotations") {
            Some(Value::Object(annotations)) => annotations,
            _ => Map::new(),
        };
        match name {
            Some(name) => {
                annotations.insert(REF_NAME.to_owned(), name.into());
            }
            None => {
                annotations.remove(REF_NAME);
            }
        }
        if !annotations.is_empty() {
            self.raw
                .insert("annotations".to_owned(), Value::Object(annotations));
        }
        self
    }
}

fn platform_text(platform: &oci_spec::image::Platform) -> String {
    let variant = platform
        .variant()
        .as_ref()
        .map(|v| format!("/{v}"))
        .unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture())
}

fn decode_data(text: &str, digest: &Digest, size: u64) -> Result<Vec<u8>, WireError> {
    let data = crate::base64::decode_padded(text.as_bytes())
        .map_err(|e| malformed(format!("the data of {digest} is not base64: {e}")))?;
    if data.len() as u64 != size || !digest.matches(&data) {
        return Err(WireError::Mismatch(format!(
            "the data of {digest} is not what its digest and size name"
        )));
    }
    Ok(data)
}

/// A document that points to others.
#[derive(Clone, PartialEq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "documents are few and short-lived: a box would only be in the way of matching"
)]
pub enum Document {
    /// An index: its children in order.
    Index(Vec<Descriptor>),
    /// A manifest.
    Manifest(Manifest),
    /// A document of a type nobody here knows, and every descriptor found in it.
    Unknown(Vec<Descriptor>),
}

/// A manifest, an image's or an artifact's.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Its config.
    pub config: Descriptor,
    /// Its layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// What kind of artifact it says it is.
    pub artifact_type: Option<String>,
}

impl Manifest {
    /// Tells whether it is an image: an image config over nothing but layers.
    pub fn is_image(&self) -> bool {
        self.config.media() == Media::Config
            && self
                .layers
                .iter()
                .all(|l| matches!(l.media(), Media::Layer(_)))
    }
}

impl Document {
    /// Parses the document of a descriptor, whose media type decides what it is.
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self, WireError> {
        let kind = Media::of(media_type);
        if !matches!(kind, Media::Index | Media::Manifest) {
            return Ok(Self::Unknown(
                strict_json(bytes)
                    .map(|v| descriptors_in(&v))
                    .unwrap_or_default(),
            ));
        }
        let value = strict_json(bytes)?;
        let Value::Object(map) = &value else {
            return refuse("expected a JSON object");
        };
        if map.contains_key("layers") && map.contains_key("manifests") {
            return refuse("a document with both 'layers' and 'manifests'");
        }
        if let Some(inside) = map.get("mediaType")
            && inside.as_str() != Some(media_type)
        {
            return refuse(format!(
                "expected mediaType {media_type} as its descriptor says, got {inside}"
            ));
        }
        match kind {
            Media::Index => Ok(Self::Index(descriptor_list(map, "manifests")?)),
            _ => Ok(Self::Manifest(parse_manifest(map)?)),
        }
    }

    /// Returns every descriptor it holds.
    pub fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Self::Index(children) | Self::Unknown(children) => children.iter().collect(),
            Self::Manifest(Manifest {
                config,
                layers,
                subject,
                artifact_type: _,
            }) => std::iter::once(config)
                .chain(layers)
                .chain(subject)
                .collect(),
        }
    }
}

fn parse_manifest(map: &Map<String, Value>) -> Result<Manifest, WireError> {
    if let Some(version) = map.get("schemaVersion")
        && version.as_u64() != Some(2)
    {
        return refuse(format!("expected schemaVersion 2, got {version}"));
    }
    let Some(config) = map.get("config") else {
        return refuse("a manifest without a config");
    };
    Ok(Manifest {
        config: Descriptor::from_value(config)?,
        layers: descriptor_list(map, "layers")?,
        subject: map.get("subject").map(Descriptor::from_value).transpose()?,
        artifact_type: map
            .get("artifactType")
            .and_then(Value::as_str)
            .map(str::to_owned),
    })
}

fn descriptor_list(map: &Map<String, Value>, key: &str) -> Result<Vec<Descriptor>, WireError> {
    match map.get(key) {
        Some(Value::Array(items)) => items.iter().map(Descriptor::from_value).collect(),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(_) => refuse(format!("'{key}' is not a list")),
    }
}

/// Finds every descriptor in any JSON, so that nothing an unknown document needs is swept.
pub fn descriptors_in(value: &Value) -> Vec<Descriptor> {
    let mut found = Vec::new();
    collect_descriptors(value, &mut found);
    found
}

fn collect_descriptors(value: &Value, found: &mut Vec<Descriptor>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| collect_descriptors(v, found)),
        Value::Object(map) => {
            found.extend(Descriptor::bare(map));
            map.values().for_each(|v| collect_descriptors(v, found));
        }
        _ => {}
    }
}

/// What this program reads of an image config (image-spec config.md).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The digests of the layers' tars, bottom first.
    pub diff_ids: Vec<DiffId>,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// RFC 3339, or empty.
    pub created: String,
}

impl Config {
    /// Parses an image config.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut value = strict_json(bytes)?;
        // What Go writes of a list without items.
        if let Some(diff_ids) = value
            .pointer_mut("/rootfs/diff_ids")
            .filter(|v| v.is_null())
        {
            *diff_ids = Value::Array(Vec::new());
        }
        let typed: oci_spec::image::ImageConfiguration = serde_json::from_value(value)
            .map_err(|e| malformed(format!("malformed image config: {e}")))?;
        let variant = typed
            .variant()
            .as_ref()
            .map(|v| format!("/{v}"))
            .unwrap_or_default();
        let diff_ids = typed.rootfs().diff_ids().iter();
        Ok(Self {
            diff_ids: diff_ids
                .map(|d| Digest::parse(d).map(DiffId).map_err(malformed))
                .collect::<Result<_, _>>()?,
            platform: format!("{}/{}{variant}", typed.os(), typed.architecture()),
            created: typed.created().clone().unwrap_or_default(),
        })
    }
}

/// Checks the `oci-layout` file of a layout (image-spec image-layout.md).
pub fn check_layout_file(bytes: &[u8]) -> Result<(), WireError> {
    let value = strict_json(bytes)?;
    match value.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version == "1" || version.starts_with("1.") => Ok(()),
        Some(version) => refuse(format!(
            "expected an image layout of version 1, got {version}"
        )),
        None => refuse("no imageLayoutVersion"),
    }
}

/// The bytes of an `oci-layout` file.
pub const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_is_an_index_too_is_refused() {
        assert!(Document::parse(br#"{"layers":[],"manifests":[]}"#, OCI_INDEX).is_err());
        assert!(Document::parse(br#"{"mediaType":"x","manifests":[]}"#, OCI_INDEX).is_err());
        assert_eq!(
            Document::parse(br#"{"manifests":[]}"#, OCI_INDEX).unwrap(),
            Document::Index(Vec::new())
        );
    }

    #[test]
    fn descriptors_are_found_in_documents_nobody_knows() {
        let digest = Digest::sha256(b"");
        let text = format!(
            r#"{{"deep":[{{"blob":{{"mediaType":"a/b","digest":"{digest}","size":0}}}}]}}"#
        );
        let Document::Unknown(found) = Document::parse(text.as_bytes(), "x/y").unwrap() else {
            panic!()
        };
        assert_eq!(found[0].digest, digest);
    }

    #[test]
    fn descriptors_nested_in_descriptors_do_not_multiply_what_is_in_them() {
        let digest = Digest::sha256(b"");
        let around = |inner: String| {
            format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":0,"in":{inner}}}"#)
        };
        let text = (0..100).fold("[1,2,3]".to_owned(), |inner, _| around(inner));
        let found = descriptors_in(&strict_json(text.as_bytes()).unwrap());
        assert_eq!(found.len(), 100);
        assert!(found.iter().all(|descriptor| descriptor.raw.len() == 3));
    }

    #[test]
    fn media_types_of_oci_and_docker_are_known() {
        for (media_type, media) in [
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Media::Layer(Compression::Zstd),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Media::Layer(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Media::Layer(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Media::Layer(Compression::Gzip),
            ),
            (OCI_LAYER, Media::Layer(Compression::None)),
            ("application/vnd.in-toto+json", Media::Other),
        ] {
            assert_eq!(Media::of(media_type), media, "{media_type}");
        }
    }

    #[test]
    fn what_docker_calls_a_document_or_layer_has_a_name_in_oci() {
        let docker = "application/vnd.docker.";
        let oci = "application/vnd.oci.image.";
        for (from, to) in [
            ("distribution.manifest.v2+json", "manifest.v1+json"),
            ("distribution.manifest.list.v2+json", "index.v1+json"),
            ("container.image.v1+json", "config.v1+json"),
            ("image.rootfs.diff.tar", "layer.v1.tar"),
            ("image.rootfs.diff.tar.gzip", "layer.v1.tar+gzip"),
            ("image.rootfs.diff.tar.zstd", "layer.v1.tar+zstd"),
            (
                "image.rootfs.foreign.diff.tar.gzip",
                "layer.nondistributable.v1.tar+gzip",
            ),
        ] {
            let (from, to) = (format!("{docker}{from}"), format!("{oci}{to}"));
            assert_eq!(oci_media_type(&from), to);
            assert_eq!(oci_media_type(&to), to);
            assert_eq!(Media::of(&from), Media::of(&to));
        }
        assert_eq!(oci_media_type("a/b"), "a/b");
    }

    #[test]
    fn wrong_data_in_a_descriptor_is_refused() {
        let digest = Digest::sha256(b"hi");
        let of = |data: &str| {
            let text =
                format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":2,"data":"{data}"}}"#);
            Descriptor::from_value(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(of("aGk=").unwrap().data.unwrap(), b"hi");
        assert!(matches!(of("aGo="), Err(WireError::Mismatch(_))));
        assert!(matches!(of("!"), Err(WireError::Malformed(_))));
    }
}
