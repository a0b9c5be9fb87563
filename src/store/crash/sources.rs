//! Owns the images that tests of crashes import: small layouts with real layers.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::compress::Compression;
use crate::digest::Digest;
use crate::store::durable;
use crate::wire;

/// A layout with one image.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) layout: PathBuf,
    /// The digest of its manifest.
    pub(super) digest: Digest,
    /// The files of its blobs, named by digest.
    pub(super) blobs: BTreeSet<String>,
}

/// A file of a layer: path, mode, bytes.
type File<'a> = (&'a str, u32, &'a [u8]);

/// The layers that images are made of, and how each is compressed.
const LAYERS: [(&[File<'_>], Compression); 4] = [
    (
        &[
            ("bin/sh", 0o755, b"a shell, more or less"),
            ("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n"),
            ("bin/su", 0o4755, b"a program of root's"),
        ],
        Compression::Gzip,
    ),
    (
        &[
            (
                "etc/passwd",
                0o600,
                b"root:x:0:0::/:/bin/sh\nme:x:1:1::/:\n",
            ),
            ("usr/same", 0o644, b"a shell, more or less"),
        ],
        Compression::None,
    ),
    (
        &[
            ("usr/lib", 0o644, b"a library of this image alone"),
            ("etc/.wh.passwd", 0o644, b""),
        ],
        Compression::Gzip,
    ),
    (
        &[("srv/data", 0o640, b"data of the third")],
        Compression::Gzip,
    ),
];

/// Makes the three images that all scenarios are about: the first two share a layer, as do the last two.
pub(super) fn make(folder: &Path) -> Vec<Source> {
    let stacks: [&[usize]; 3] = [&[0, 1], &[0, 2], &[0, 2, 3]];
    let made = stacks.iter().enumerate();
    made.map(|(at, layers)| image(&folder.join(format!("image{at}")), layers))
        .collect()
}

fn image(layout: &Path, layers: &[usize]) -> Source {
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    let mut source = Source {
        layout: layout.to_owned(),
        digest: Digest::sha256(b""),
        blobs: BTreeSet::new(),
    };
    let mut diff_ids = Vec::new();
    let mut described = Vec::new();
    for layer in layers {
        let (files, compression) = &LAYERS[*layer];
        let tar = tar(files);
        diff_ids.push(Digest::sha256(&tar).to_string());
        let mut packer = compression.writer(Vec::new()).unwrap();
        packer.write_all(&tar).unwrap();
        let packed = packer.finish().unwrap();
        let media = match compression {
            Compression::None => wire::OCI_LAYER.to_owned(),
            _ => format!("{}+gzip", wire::OCI_LAYER),
        };
        described.push(source.put(&media, &packed));
    }
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = source.put(wire::OCI_CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "mediaType": wire::OCI_MANIFEST, "config": config,
        "layers": described });
    let manifest = manifest.to_string();
    let entry = source.put(wire::OCI_MANIFEST, manifest.as_bytes());
    source.digest = Digest::sha256(manifest.as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    put(&layout.join("index.json"), index.to_string().as_bytes());
    put(&layout.join("oci-layout"), wire::LAYOUT_FILE);
    source
}

impl Source {
    fn put(&mut self, media: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256(bytes);
        put(
            &self.layout.join(format!("blobs/sha256/{}", digest.hex())),
            bytes,
        );
        self.blobs.insert(digest.hex());
        json!({ "mediaType": media, "digest": digest.to_string(), "size": bytes.len() })
    }
}

fn put(path: &Path, bytes: &[u8]) {
    durable::create_new(path).unwrap().write_all(bytes).unwrap();
}

/// A tar of files, each with an attribute.
fn tar(files: &[File<'_>]) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let attribute = ("SCHILY.xattr.user.origin", path.as_bytes());
        tar.append_pax_extensions([attribute]).unwrap();
        let mut header = ::tar::Header::new_ustar();
        header.set_mode(*mode);
        header.set_mtime(1_600_000_000);
        header.set_uid(3);
        header.set_gid(4);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}
