//! Owns the image record: what the catalog knows of an image beside its documents.
//! Byte by byte in `docs/format.md`, "Image".

use crate::codec::{Cursor, DecodeError, put_bytes, put_varint};
use crate::digest::{Algorithm, DiffId, Digest, ImageSum, TreeId};

/// The version byte of a record.
const VERSION: u8 = 1;

/// An image: one manifest whose config is an image config and whose layers are all layer types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its config.
    pub config: Digest,
    /// Its layers, bottom first.
    pub layers: Vec<ImageLayer>,
    /// The root of the merged tree.
    pub root: TreeId,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// RFC 3339, as the config has it, or empty.
    pub created: String,
}

/// One layer of an image, under both its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageLayer {
    /// The digest of the blob, which may be compressed.
    pub blob: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// The digest of the tar.
    pub diff_id: DiffId,
}

impl Image {
    /// Returns the diff_ids, bottom first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|l| l.diff_id).collect()
    }

    /// Returns the canonical bytes, closed by their checksum.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            manifest,
            config,
            layers,
            root,
            platform,
            created,
        } = self;
        let mut to = vec![VERSION];
        put_digest(&mut to, manifest);
        put_digest(&mut to, config);
        put_varint(&mut to, layers.len() as u64);
        for ImageLayer {
            blob,
            size,
            diff_id,
        } in layers
        {
            put_digest(&mut to, blob);
            put_varint(&mut to, *size);
            put_digest(&mut to, &diff_id.0);
        }
        to.extend_from_slice(&root.0);
        put_bytes(&mut to, platform.as_bytes());
        put_bytes(&mut to, created.as_bytes());
        let sum = ImageSum::of(&to);
        to.extend_from_slice(&sum.0);
        to
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        match cursor.byte()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let (manifest, config) = (take_digest(&mut cursor)?, take_digest(&mut cursor)?);
        let count: u64 = cursor.varint()?;
        let mut layers = Vec::new();
        for _ in 0..count {
            let (blob, size) = (take_digest(&mut cursor)?, cursor.varint()?);
            layers.push(ImageLayer {
                blob,
                size,
                diff_id: DiffId(take_digest(&mut cursor)?),
            });
        }
        let root = TreeId(cursor.array()?);
        let (platform, created) = (take_text(&mut cursor)?, take_text(&mut cursor)?);
        let sum = ImageSum::of(&data[..cursor.at()]);
        if cursor.array()? != sum.0 {
            return Err(cursor.bad("checksum"));
        }
        cursor.end()?;
        Ok(Self {
            manifest,
            config,
            layers,
            root,
            platform,
            created,
        })
    }
}

/// Appends a digest: its algorithm's number, then its bytes.
pub(crate) fn put_digest(to: &mut Vec<u8>, digest: &Digest) {
    to.push(match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    });
    to.extend_from_slice(digest.as_bytes());
}

/// Reads what [`put_digest`] wrote.
pub(crate) fn take_digest(cursor: &mut Cursor<'_>) -> Result<Digest, DecodeError> {
    let algorithm = match cursor.byte()? {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha384,
        3 => Algorithm::Sha512,
        _ => return Err(cursor.bad("digest algorithm")),
    };
    let raw = cursor.take(algorithm.len_bytes())?;
    Digest::from_raw(algorithm, raw).ok_or_else(|| cursor.bad("digest"))
}

fn take_text(cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    let bytes = cursor.bytes()?;
    String::from_utf8(bytes.to_vec()).map_err(|_| cursor.bad("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let of = |text: &str| Digest::sha256(text.as_bytes());
        Image {
            manifest: of("manifest"),
            config: of("config"),
            layers: vec![ImageLayer {
                blob: of("blob"),
                size: 300,
                diff_id: DiffId(of("tar")),
            }],
            root: TreeId::of(b"root"),
            platform: "linux/amd64".to_owned(),
            created: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    #[test]
    fn an_image_comes_back_from_its_bytes() {
        assert_eq!(Image::decode(&image().encode()).unwrap(), image());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = image().encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Image::decode(&flipped).is_err(), "byte {at}");
        }
    }
}
