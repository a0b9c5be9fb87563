//! Owns the names of encoders with their settings: what a compression recipe says of a stream.

use super::libzstd::{self, FrameHints};
use super::{Engine, go, klauspost, own, zlib};
use crate::codec::{Cursor, DecodeError};

/// A program that compresses, and how it was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// This program.
    Own(own::Settings),
    /// `github.com/klauspost/compress`, with pgzip or without it.
    Klauspost(klauspost::Settings),
    /// Go's `compress/gzip`.
    Go(go::Settings),
    /// zlib, GNU gzip or pigz.
    Zlib(zlib::Settings),
    /// The library libzstd.
    Libzstd(libzstd::Settings),
}

/// What a gzip member's header says of who made it (RFC 1952, 2.3): reason to try one encoder before another, no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hints {
    /// XFL: 2 for the slowest, 4 for the fastest, as some programs see it.
    pub extra_flags: u8,
    /// OS: 255 for unknown, 3 for Unix, 0 for what began on DOS.
    pub system: u8,
    /// Whether there is an FNAME: programs that compress files give it.
    pub has_name: bool,
}

impl Method {
    /// Appends the canonical bytes.
    pub(crate) fn encode(self, to: &mut Vec<u8>) {
        match self {
            Self::Own(settings) => {
                to.push(0);
                settings.encode(to);
            }
            Self::Klauspost(settings) => {
                to.push(1);
                settings.encode(to);
            }
            Self::Go(settings) => {
                to.push(2);
                settings.encode(to);
            }
            Self::Zlib(settings) => {
                to.push(3);
                settings.encode(to);
            }
            Self::Libzstd(settings) => {
                to.push(4);
                settings.encode(to);
            }
        }
    }

    /// Decodes canonical bytes.
    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => own::Settings::decode(cursor).map(Self::Own),
            1 => klauspost::Settings::decode(cursor).map(Self::Klauspost),
            2 => go::Settings::decode(cursor).map(Self::Go),
            3 => zlib::Settings::decode(cursor).map(Self::Zlib),
            4 => libzstd::Settings::decode(cursor).map(Self::Libzstd),
            _ => Err(cursor.bad("encoder")),
        }
    }

    /// Returns the canonical bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut to = Vec::new();
        self.encode(&mut to);
        to
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn from_bytes(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        let method = Self::decode(&mut cursor)?;
        cursor.end()?;
        Ok(method)
    }

    /// Returns an encoder.
    pub fn engine(self) -> Engine {
        match self {
            Self::Own(settings) => settings.engine(),
            Self::Klauspost(settings) => settings.engine(),
            Self::Go(settings) => settings.engine(),
            Self::Zlib(settings) => settings.engine(),
            Self::Libzstd(settings) => settings.engine(),
        }
    }

    /// Tells whether what it made can be made here: of libraries there is one version.
    pub fn is_here(self) -> bool {
        let version = match self {
            Self::Libzstd(settings) => settings.version,
            Self::Own(own::Settings::Zstd { version }) => version,
            Self::Own(_) | Self::Klauspost(_) | Self::Go(_) | Self::Zlib(_) => return true,
        };
        version == libzstd::linked_version()
    }

    /// Returns what may have made a whole zstd blob, however many frames it has, that begins with this frame.
    pub fn of_blob(first: FrameHints) -> Option<Self> {
        own::Settings::of_blob(first).map(Self::Own)
    }

    /// Tells whether it makes a few megabytes a second at the most.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Libzstd(settings) if settings.level > 12)
    }

    /// Returns what may have made a zstd frame, the likeliest first.
    pub fn of_frame(hints: FrameHints) -> Vec<Self> {
        let settings = libzstd::Settings::candidates(hints).into_iter();
        settings.map(Self::Libzstd).collect()
    }

    /// Returns what may have made a deflate stream, the likeliest first.
    pub fn candidates(hints: Hints) -> Vec<Self> {
        let own = own::Settings::candidates(hints).into_iter().map(Self::Own);
        let klauspost = klauspost::Settings::candidates(hints).into_iter();
        let go = go::Settings::candidates(hints).into_iter().map(Self::Go);
        let zlib = zlib::Settings::candidates(hints)
            .into_iter()
            .map(Self::Zlib);
        own.chain(klauspost.map(Self::Klauspost))
            .chain(go)
            .chain(zlib)
            .collect()
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(settings) => settings.fmt(f),
            Self::Klauspost(settings) => settings.fmt(f),
            Self::Go(settings) => settings.fmt(f),
            Self::Zlib(settings) => settings.fmt(f),
            Self::Libzstd(settings) => settings.fmt(f),
        }
    }
}
