//! Owns the streams of Go's `compress/gzip`: docker, BuildKit, containerd, kaniko and ko write these.
//!
//! The decisions are those of Go's `compress/flate`, BSD-3-Clause. Up to Go 1.26 there is not a float in it; from Go 1.27 on
//! it is what its author made of it since, [`klauspost`] with a difference at level 9.
//!
//! What comes out is what a program gets that writes pieces of 32 KiB, as `io.Copy` does, or all at once, and never
//! flushes. Up to Go 1.26, levels 2 to 9, other pieces can make a difference, if hardly ever: where one ends within 262
//! bytes before the 64 KiB that are held are full, and a token begins 262 bytes before that, this token cannot be a match
//! that lies more than 32506 bytes back.

mod blocks;
mod chained;
mod fast;
#[cfg(test)]
mod tests;
mod token;
mod unsearched;

use self::chained::Chained;
use self::fast::Fast;
use self::unsearched::{Kind, Unsearched};
use super::klauspost::{self, Rounding};
use super::{Engine, Hints, StreamEncoder};
use crate::codec::{Cursor, DecodeError};

/// Which of Go's compressors it is, and how it was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Settings {
    generation: Generation,
    level: Level,
}

/// Versions of Go that make the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Generation {
    /// Up to Go 1.26.
    Until26,
    /// From Go 1.27 on: its compressor is a newer [`klauspost`], which estimates in single precision.
    From27(Rounding),
}

impl Generation {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 3] = [
        Self::Until26,
        Self::From27(Rounding::Twice),
        Self::From27(Rounding::Once),
    ];

    fn byte(self) -> u8 {
        match self {
            Self::Until26 => 0,
            Self::From27(Rounding::Twice) => 1,
            Self::From27(Rounding::Once) => 2,
        }
    }
}

/// A level of `compress/flate`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level(u8);

/// `HuffmanOnly`, among levels.
const HUFFMAN_ONLY: u8 = 10;

impl Level {
    /// Returns the level of a Go program's number: from -2, `HuffmanOnly`, to 9. -1 is 6.
    pub fn new(number: i8) -> Option<Self> {
        match number {
            -2 => Some(Self(HUFFMAN_ONLY)),
            -1 => Some(Self(6)),
            0..=9 => Some(Self(number.unsigned_abs())),
            _ => None,
        }
    }
}

impl Settings {
    /// Returns the settings of a generation and a level.
    pub fn new(generation: Generation, level: Level) -> Self {
        Self { generation, level }
    }

    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        let Self { generation, level } = self;
        to.extend_from_slice(&[generation.byte(), level.0]);
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let byte = cursor.byte()?;
        let generation = Generation::ALL.into_iter().find(|one| one.byte() == byte);
        let generation = generation.ok_or_else(|| cursor.bad("generation"))?;
        let level = match cursor.byte()? {
            level @ 0..=HUFFMAN_ONLY => Level(level),
            _ => return Err(cursor.bad("level")),
        };
        Ok(Self { generation, level })
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        match self.generation {
            Generation::Until26 => Engine::Stream(self.level.stream()),
            Generation::From27(rounding) => {
                let level = self.level.of_klauspost();
                klauspost::Settings {
                    generation: klauspost::Generation::Go1_27,
                    level,
                    rounding,
                    framing: klauspost::Framing::Whole,
                }
                .engine()
            }
        }
    }

    /// Go says levels 1 and 9 in the header. It says an unknown system unless its user sets one: then 0, as a rule.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        let levels: &[u8] = match (hints.system, hints.extra_flags) {
            (0 | 0xff, 0) => &[6, 5, 4, 3, 2, 7, 8, HUFFMAN_ONLY, 0],
            (0 | 0xff, 2) => &[9],
            (0 | 0xff, 4) => &[1],
            _ => &[],
        };
        let of = |level: &u8| {
            let level = Level(*level);
            Generation::ALL.map(|generation| Self::new(generation, level))
        };
        levels.iter().flat_map(of).collect()
    }
}

impl Level {
    fn stream(self) -> Box<dyn StreamEncoder> {
        match self.0 {
            0 => Box::new(Unsearched::new(Kind::Stored)),
            1 => Box::new(Fast::new()),
            HUFFMAN_ONLY => Box::new(Unsearched::new(Kind::Coded)),
            level => Box::new(Chained::new(level)),
        }
    }

    fn of_klauspost(self) -> klauspost::Level {
        match self.0 {
            0 => klauspost::Level::Stored,
            1 => klauspost::Level::One,
            2 => klauspost::Level::Two,
            3 => klauspost::Level::Three,
            4 => klauspost::Level::Four,
            5 => klauspost::Level::Five,
            7 => klauspost::Level::Seven,
            8 => klauspost::Level::Eight,
            9 => klauspost::Level::Nine,
            HUFFMAN_ONLY => klauspost::Level::Huffman,
            _ => klauspost::Level::Six,
        }
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generation, level } = self;
        let versions = match generation {
            Generation::Until26 => "up to Go 1.26",
            Generation::From27(_) => "from Go 1.27 on",
        };
        write!(f, "compress/gzip {versions}, ")?;
        match level.0 {
            HUFFMAN_ONLY => f.write_str("HuffmanOnly")?,
            level => write!(f, "level {level}")?,
        }
        match generation {
            Generation::From27(Rounding::Once) => f.write_str(", rounded as on arm64"),
            Generation::Until26 | Generation::From27(Rounding::Twice) => Ok(()),
        }
    }
}

/// Returns a table of zeros that was never on the stack.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "the box is what keeps it off the stack"
)]
fn zeros<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    let table = vec![T::default(); N].into_boxed_slice();
    table
        .try_into()
        .unwrap_or_else(|_| Box::new([T::default(); N]))
}
