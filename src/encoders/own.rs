//! Owns the streams that this program makes itself: blocks of deflate or frames of zstd, as `commit` writes them.

use std::io::{self, Write as _};

use super::libzstd::{self, FrameHints, Version};
use super::{BlockEncoder, Engine, Hints, LastBlock, Place, Shape, StreamEncoder};
use crate::codec::{Cursor, DecodeError, put_varint};
use crate::compress::{Blocks, Compression, Deflater, deflater};

/// Which of our streams it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Settings {
    /// Deflate in blocks of 1 MiB.
    Gzip,
    /// Frames of zstd, 4 MiB each: the whole blob, and no single frame.
    Zstd {
        /// The version of libzstd, as [`libzstd::linked_version`] has it.
        version: u32,
    },
    /// Deflate in one go, as `export --recompress gzip` writes it; its zstd is that of [`libzstd::Settings`].
    GzipStream,
}

impl Settings {
    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        match self {
            Self::Gzip => to.push(0),
            Self::Zstd { version } => {
                to.push(1);
                put_varint(to, u64::from(version));
            }
            Self::GzipStream => to.push(2),
        }
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => Ok(Self::Gzip),
            1 => Ok(Self::Zstd {
                version: cursor.number("version")?,
            }),
            2 => Ok(Self::GzipStream),
            _ => Err(cursor.bad("settings")),
        }
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        match self {
            Self::Gzip => Engine::Blocks(Box::new(OwnGzip)),
            Self::Zstd { version } => Engine::Blocks(Box::new(OwnZstd { version })),
            Self::GzipStream => Engine::Stream(Box::new(OwnGzipStream(deflater(Vec::new())))),
        }
    }

    /// Our own headers say nothing: no time, no name, an unknown system.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        let is_ours = hints.system == 0xff && hints.extra_flags == 0 && !hints.has_name;
        match is_ours {
            true => vec![Self::Gzip, Self::GzipStream],
            false => Vec::new(),
        }
    }

    /// Returns what may have made a whole blob that begins with this frame.
    pub(in crate::encoders) fn of_blob(first: FrameHints) -> Option<Self> {
        let most = Blocks::new(Compression::Zstd).block_len() as u64;
        let is_ours = first.size.is_some_and(|size| size <= most) && !first.has_checksum;
        is_ours.then(|| Self::Zstd {
            version: libzstd::linked_version(),
        })
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gzip => f.write_str("ocistore"),
            Self::GzipStream => f.write_str("ocistore, one stream"),
            Self::Zstd { version } => write!(f, "ocistore, libzstd {}", Version(*version)),
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

struct OwnZstd {
    version: u32,
}

impl BlockEncoder for OwnZstd {
    fn shape(&self) -> Shape {
        Shape {
            block: Blocks::new(Compression::Zstd).block_len(),
            before: 0,
            last: LastBlock::Full,
        }
    }

    fn block(&self, _: &[u8], plain: &[u8], _: Place, to: &mut Vec<u8>) -> io::Result<()> {
        libzstd::check_version(self.version)?;
        to.extend_from_slice(&Compression::Zstd.block(plain)?.bytes);
        Ok(())
    }
}

struct OwnGzipStream(Deflater);

impl StreamEncoder for OwnGzipStream {
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.0.write_all(plain)?;
        to.append(self.0.get_mut().get_mut());
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.0.hand_on()?;
        let stream = self.0.get_mut();
        stream.try_finish()?;
        to.append(stream.get_mut());
        Ok(())
    }
}
