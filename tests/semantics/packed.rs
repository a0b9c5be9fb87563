//! Owns building compressed streams byte by byte, as RFC 1952 and RFC 8878 have them.

use std::io::Write as _;

use flate2::{Compression, Crc};

/// A gzip member with all fields that one may have.
pub struct Member {
    data: Vec<u8>,
    pub level: Compression,
    pub text: bool,
    pub extra: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    pub comment: Option<Vec<u8>>,
    pub header_checksum: bool,
}

impl Member {
    pub fn of(data: &[u8]) -> Self {
        Self {
            data: data.to_vec(),
            level: Compression::new(6),
            text: false,
            extra: None,
            name: None,
            comment: None,
            header_checksum: false,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let flags = u8::from(self.text)
            | u8::from(self.header_checksum) << 1
            | u8::from(self.extra.is_some()) << 2
            | u8::from(self.name.is_some()) << 3
            | u8::from(self.comment.is_some()) << 4;
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 2, 255];
        if let Some(extra) = &self.extra {
            bytes.extend(u16::try_from(extra.len()).unwrap().to_le_bytes());
            bytes.extend(extra);
        }
        for text in [&self.name, &self.comment].into_iter().flatten() {
            bytes.extend(text);
            bytes.push(0);
        }
        if self.header_checksum {
            let [low, high, ..] = crc(&bytes).to_le_bytes();
            bytes.extend([low, high]);
        }
        let mut deflate = flate2::write::DeflateEncoder::new(bytes, self.level);
        deflate.write_all(&self.data).unwrap();
        let mut bytes = deflate.finish().unwrap();
        bytes.extend(crc(&self.data).to_le_bytes());
        bytes.extend(u32::try_from(self.data.len()).unwrap().to_le_bytes());
        bytes
    }
}

fn crc(data: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(data);
    crc.sum()
}

/// Returns one zstd frame.
pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

/// Returns a frame with this window descriptor, its data in one block as it is.
pub fn frame(window: u8, data: &[u8]) -> Vec<u8> {
    let block = u32::try_from(data.len()).unwrap() << 3 | 1;
    let head = [0x28, 0xb5, 0x2f, 0xfd, 0, window];
    [&head[..], &block.to_le_bytes()[..3], data].concat()
}

/// Returns a frame that inflates to `blocks` times 128 KiB of zeros, four bytes each.
pub fn zeros_frame(blocks: u32) -> Vec<u8> {
    // A window of 128 KiB, the largest block; type 1 is one byte, repeated.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    for left in (0..blocks).rev() {
        let block = (128 << 10) << 3 | 1 << 1 | u32::from(left == 0);
        bytes.extend(&block.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

/// Returns a skippable frame of one of the sixteen kinds.
pub fn skippable(kind: u8, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_le_bytes();
    [&[0x50 + kind, 0x2a, 0x4d, 0x18][..], &len, data].concat()
}

pub fn padded(mut bytes: Vec<u8>, zeros: usize) -> Vec<u8> {
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}
