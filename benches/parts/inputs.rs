//! Owns what the benches are fed: the same on every machine, made from a fixed seed.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use ocistore::compress::Compression;
use ocistore::digest::{DiffId, Digest};
use ocistore::parts::Packed;
use serde_json::json;

/// Numbers that look random, and are the same each time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `most`.
    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }
}

/// How many files a layer has.
pub(crate) const FILES: usize = 4000;

/// How many of them are in one directory.
const IN_ONE: usize = 20;

/// Returns a layer's tar: small files in a tree three deep, most of them text, of 4 KiB in the middle.
///
/// With `touched`, only every hundredth file, with other bytes, and a whiteout of the one after it.
pub(crate) fn tar(touched: Touched) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut numbers = Numbers::new(1);
    let words = words(&mut numbers);
    let mut parents = [String::new(), String::new()];
    for at in 0..FILES {
        let dirs = [
            format!("usr/lib{}/", at / (FILES / 8)),
            format!("usr/lib{}/part{:03}/", at / (FILES / 8), at / IN_ONE),
        ];
        let bytes = text(&mut numbers, &words);
        let changed = match touched {
            Touched::All => Some(bytes),
            Touched::Few if at % 100 == 0 => Some([b"other ", &bytes[..]].concat()),
            Touched::Few => None,
        };
        let gone = touched == Touched::Few && at % 100 == 1;
        if changed.is_none() && !gone {
            continue;
        }
        for (dir, last) in dirs.iter().zip(&mut parents) {
            if dir != last {
                append(&mut tar, dir, &[]);
                last.clone_from(dir);
            }
        }
        match changed {
            Some(bytes) => append(&mut tar, &format!("{}file{at:05}", dirs[1]), &bytes),
            None => append(&mut tar, &format!("{}.wh.file{at:05}", dirs[1]), &[]),
        }
    }
    tar.into_inner().unwrap()
}

/// Which files a layer has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    All,
    Few,
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    let (kind, mode) = match path.ends_with('/') {
        true => (tar::EntryType::Directory, 0o755),
        false => (tar::EntryType::Regular, 0o644),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).unwrap();
}

fn words(numbers: &mut Numbers) -> Vec<String> {
    let word = |numbers: &mut Numbers| {
        let letter =
            |numbers: &mut Numbers| char::from(b'a' + u8::try_from(numbers.below(26)).unwrap());
        let len = 2 + numbers.below(9);
        (0..len).map(|_| letter(numbers)).collect::<String>() + " "
    };
    (0..2000).map(|_| word(numbers)).collect()
}

/// Returns the bytes of a file: one in eight is no text and hardly gets smaller, as programs do not.
fn text(numbers: &mut Numbers, words: &[String]) -> Vec<u8> {
    let len = 64 << numbers.below(9);
    let mut bytes = Vec::with_capacity(len + 16);
    let plain = numbers.below(8) != 0;
    while bytes.len() < len {
        match plain {
            true => bytes.extend_from_slice(words[numbers.below(words.len())].as_bytes()),
            false => bytes.extend_from_slice(&numbers.next().to_le_bytes()),
        }
    }
    bytes
}

/// Packs a tar as a layer.
pub(crate) fn pack(tar: &[u8], compression: Compression) -> Packed {
    let blob = match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let level = flate2::Compression::new(6);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(tar, 3).unwrap(),
    };
    Packed {
        compression,
        digest: Digest::sha256(&blob),
        blob,
        diff_id: DiffId(Digest::sha256(tar)),
    }
}

/// Writes a layout whose only image, called `parts:1`, has these gzip layers.
pub(crate) fn layout(layers: &[Packed], to: &Path) {
    let blobs = to.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = Digest::sha256(bytes);
        write(&blobs.join(digest.hex()), bytes);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    };
    let kind = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let packed = kind("layer.v1.tar+gzip");
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| put(&layer.blob, &packed))
        .collect();
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(config.to_string().as_bytes(), &kind("config.v1+json"));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind("manifest.v1+json"),
        "config": config, "layers": descriptors,
    });
    let mut manifest = put(manifest.to_string().as_bytes(), &kind("manifest.v1+json"));
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "parts:1"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    write(&to.join("index.json"), index.to_string().as_bytes());
    write(&to.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
}

fn write(path: &Path, bytes: &[u8]) {
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
}
