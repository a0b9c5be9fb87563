//! Owns building image layouts, malformed ones too: blobs, documents, and the index over them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ocistore::digest::{Algorithm, Digest, DigestHasher};
use serde_json::{Value, json};

use crate::tarball::Tar;
use crate::world::World;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layer: what its blob and its tar are, and what is said of them.
#[derive(Clone)]
pub struct Layer {
    pub media_type: String,
    pub blob: Vec<u8>,
    pub diff_id: String,
}

impl Layer {
    /// Returns an uncompressed one.
    pub fn plain(tar: &[u8]) -> Self {
        Self::of(LAYER, tar.to_vec(), tar)
    }

    pub fn gzip(tar: &[u8]) -> Self {
        Self::of(LAYER_GZIP, gzip(tar), tar)
    }

    pub fn zstd(tar: &[u8]) -> Self {
        Self::of(LAYER_ZSTD, zstd::encode_all(tar, 3).unwrap(), tar)
    }

    /// Returns one of any blob and type that is said to hold `tar`.
    pub fn of(media_type: &str, blob: Vec<u8>, tar: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            blob,
            diff_id: Digest::sha256(tar).to_string(),
        }
    }

    pub fn descriptor(&self) -> Value {
        descriptor(&self.media_type, &self.blob)
    }
}

impl From<Tar> for Layer {
    fn from(tar: Tar) -> Self {
        Self::plain(&tar.end())
    }
}

/// Returns one gzip member.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Returns the descriptor that `bytes` deserve.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::sha256(bytes).to_string(),
        "size": bytes.len(),
    })
}

/// Returns the digest of another algorithm.
pub fn digest_by(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = DigestHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Gives a descriptor its name in a layout.
pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

/// Returns the config of an image of these layers.
pub fn config(layers: &[Layer]) -> Value {
    let diff_ids: Vec<&str> = layers.iter().map(|l| l.diff_id.as_str()).collect();
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// Returns the manifest of an image.
pub fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": layers,
    })
}

/// A layout on the disk.
pub struct Layout {
    pub path: PathBuf,
}

impl Layout {
    /// Makes one without an index.
    pub fn make(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { path }
    }

    /// Puts a blob where its digest says; returns its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let descriptor = descriptor(media_type, bytes);
        fs::write(self.blob_path(&descriptor), bytes).unwrap();
        descriptor
    }

    /// Puts a blob there by the digest of another algorithm; returns its descriptor.
    pub fn blob_by(&self, algorithm: Algorithm, media_type: &str, bytes: &[u8]) -> Value {
        let mut descriptor = descriptor(media_type, bytes);
        descriptor["digest"] = digest_by(algorithm, bytes).to_string().into();
        let path = self.blob_path(&descriptor);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        descriptor
    }

    /// Puts a document there; returns its descriptor.
    pub fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Returns where the blob of a descriptor is.
    pub fn blob_path(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    /// Puts an image's blobs and documents there; returns its manifest's descriptor.
    pub fn image(&self, layers: &[Layer]) -> Value {
        let config = self.document(CONFIG, &config(layers));
        let layers = layers.iter().map(|l| self.blob(&l.media_type, &l.blob));
        let layers: Vec<Value> = layers.collect();
        self.document(MANIFEST, &manifest(&config, &layers))
    }

    /// Puts an image of one small file there.
    pub fn small_image(&self, text: &str) -> Value {
        self.image(&[Layer::from(Tar::new().file("f", text))])
    }

    /// Puts an index there; returns its descriptor.
    pub fn nested(&self, children: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.document(INDEX, &index)
    }

    /// Puts `depth` indexes there, one over another, the lowest over `child`; returns the uppermost.
    pub fn nested_deep(&self, child: Value, depth: usize) -> Value {
        (0..depth).fold(child, |child, _| self.nested(&[child]))
    }

    /// Writes `index.json` over these descriptors.
    pub fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.raw_index(&index.to_string());
    }

    pub fn raw_index(&self, text: &str) {
        fs::write(self.path.join("index.json"), text).unwrap();
    }

    /// Returns the layout's folder as an argument.
    pub fn source(&self) -> String {
        format!("oci:{}", self.path.display())
    }

    /// Imports all of it, which has to come back byte for byte; returns the import's report.
    #[track_caller]
    pub fn comes_back(&self, world: &World) -> Value {
        let report = world.ok(&["import", &self.source()]);
        let names = report["images"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|i| i["name"].as_str().unwrap()).collect();
        let copy = world.path("copy");
        let to = format!("oci:{}", copy.display());
        world.ok(&[&["export", "--full-names"], &names[..], &[&to]].concat());
        assert!(
            blobs_in(&copy) == self.blobs(),
            "the export is not what came"
        );
        let fsck = world.run(&["fsck"]);
        assert!(fsck.status.success(), "fsck: {fsck:?}");
        report
    }

    /// Returns every blob by its name.
    pub fn blobs(&self) -> Vec<(String, Vec<u8>)> {
        blobs_in(&self.path)
    }
}

/// Returns every blob of the layout at `path`, by name.
pub fn blobs_in(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut blobs = Vec::new();
    for algorithm in fs::read_dir(path.join("blobs")).unwrap() {
        for blob in fs::read_dir(algorithm.unwrap().path()).unwrap() {
            let path = blob.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            blobs.push((name, fs::read(path).unwrap()));
        }
    }
    blobs.sort();
    blobs
}
