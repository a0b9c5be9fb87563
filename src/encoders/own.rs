//! Owns the streams that this program makes itself: blocks of deflate or frames of zstd, as `commit` writes them.

use std::io;

use super::{BlockEncoder, Engine, Hints, LastBlock, Place, Shape};
use crate::codec::{Cursor, DecodeError};
use crate::compress::{Blocks, Compression};

/// Which of our streams it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Settings {
    /// Deflate in blocks of 1 MiB.
    Gzip,
}

impl Settings {
    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        match self {
            Self::Gzip => to.push(0),
        }
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => Ok(Self::Gzip),
            _ => Err(cursor.bad("settings")),
        }
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        match self {
            Self::Gzip => Engine::Blocks(Box::new(OwnGzip)),
        }
    }

    /// Our own headers say nothing: no time, no name, an unknown system.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        let is_ours = hints.system == 0xff && hints.extra_flags == 0 && !hints.has_name;
        is_ours.then_some(Self::Gzip).into_iter().collect()
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gzip => f.write_str("ocistore"),
        }
    }
}

struct OwnGzip;

impl BlockEncoder for OwnGzip {
    fn shape(&self) -> Shape {
        Shape {
            block: Blocks::new(Compression::Gzip).block_len(),
            before: 0,
            last: LastBlock::Full,
        }
    }

    fn block(&self, _: &[u8], plain: &[u8], place: Place, to: &mut Vec<u8>) -> io::Result<()> {
        if !plain.is_empty() {
            to.extend_from_slice(&Compression::Gzip.block(plain)?.bytes);
        }
        if place == Place::Last {
            to.extend_from_slice(&crate::compress::DEFLATE_END);
        }
        Ok(())
    }
}
