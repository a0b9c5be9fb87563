//! Owns the compression recipe of a layer's blob: what makes the blob's bytes from those of the layer's tar. Byte by byte
//! in `docs/format.md`, "Compression recipe".
//!
//! A blob is parts, one after another: members of gzip, frames of zstd. Of each the recipe has the bytes before and behind
//! the compressed stream as they are, and who made the stream.

use crate::codec::{Cursor, DecodeError, put_bytes, put_varint};
use crate::digest::{DiffId, Digest, StreamSum};
use crate::encoders::Method;
use crate::image::{put_digest, take_digest};

/// The first bytes of every compression recipe; the last of them is the version.
pub const MAGIC: &[u8; 8] = b"ocistrm\x01";

/// How a layer's blob is made from its tar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRecipe {
    /// The blob.
    pub blob: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The layer whose tar it holds.
    pub layer: DiffId,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a blob: a member of gzip, a frame of zstd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The bytes before the compressed stream.
    pub head: Vec<u8>,
    /// What is compressed, or `None` where all of the part is in its head.
    pub body: Option<Body>,
    /// The bytes behind the compressed stream.
    pub tail: Vec<u8>,
}

/// A compressed stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Body {
    /// How many bytes of the tar are in it.
    pub plain: u64,
    /// Who made it.
    pub method: Method,
}

impl StreamRecipe {
    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            blob,
            size,
            layer,
            parts,
        } = self;
        let mut to = MAGIC.to_vec();
        put_digest(&mut to, blob);
        put_varint(&mut to, *size);
        put_digest(&mut to, &layer.0);
        put_varint(&mut to, parts.len() as u64);
        for Part { head, body, tail } in parts {
            put_bytes(&mut to, head);
            match body {
                None => to.push(0),
                Some(Body { plain, method }) => {
                    to.push(1);
                    put_varint(&mut to, *plain);
                    method.encode(&mut to);
                }
            }
            put_bytes(&mut to, tail);
        }
        let sum = StreamSum::of(&to);
        to.extend_from_slice(&sum.0);
        to
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        if cursor.array()? != *MAGIC {
            return Err(cursor.bad("magic"));
        }
        let (blob, size) = (take_digest(&mut cursor)?, cursor.varint()?);
        let layer = DiffId(take_digest(&mut cursor)?);
        let count: u64 = cursor.varint()?;
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(take_part(&mut cursor)?);
        }
        let sum = StreamSum::of(&data[..cursor.at()]);
        if cursor.array()? != sum.0 {
            return Err(cursor.bad("checksum"));
        }
        cursor.end()?;
        Ok(Self {
            blob,
            size,
            layer,
            parts,
        })
    }

    /// Tells whether this program has all encoders that the blob takes.
    pub fn can_be_made(&self) -> bool {
        let mut bodies = self.parts.iter().filter_map(|part| part.body);
        bodies.all(|body| body.method.is_here())
    }

    /// Returns who made the blob: of the first stream in it, which stands for all but odd ones.
    pub fn method(&self) -> Option<Method> {
        let bodies = self.parts.iter().filter_map(|part| part.body);
        bodies.map(|body| body.method).next()
    }
}

fn take_part(cursor: &mut Cursor<'_>) -> Result<Part, DecodeError> {
    let head = cursor.bytes()?.to_vec();
    let body = match cursor.byte()? {
        0 => None,
        1 => Some(Body {
            plain: cursor.varint()?,
            method: Method::decode(cursor)?,
        }),
        _ => return Err(cursor.bad("kind of part")),
    };
    let tail = cursor.bytes()?.to_vec();
    // Bytes behind nothing are bytes of the head.
    match (&body, tail.is_empty()) {
        (None, false) => Err(cursor.bad("tail")),
        _ => Ok(Part { head, body, tail }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoders::{libzstd, own};

    #[test]
    fn what_a_library_of_another_version_made_cannot_be_made() {
        let here = libzstd::linked_version();
        for (version, can_be) in [(here, true), (here + 1, false)] {
            let method = Method::Own(own::Settings::Zstd { version });
            let recipe = StreamRecipe {
                blob: Digest::sha256(b"blob"),
                size: 1,
                layer: DiffId(Digest::sha256(b"tar")),
                parts: vec![Part {
                    head: Vec::new(),
                    body: Some(Body { plain: 3, method }),
                    tail: Vec::new(),
                }],
            };
            assert_eq!(recipe.can_be_made(), can_be);
        }
    }
}
