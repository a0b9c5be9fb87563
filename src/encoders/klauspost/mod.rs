//! Owns streams as `github.com/klauspost/compress` makes them: what buildah, podman, skopeo and umoci write, by pgzip.
//!
//! The decisions are those of `github.com/klauspost/compress/flate` and of `github.com/klauspost/pgzip`, BSD-3-Clause and
//! MIT: which positions are entered into which table, which match is taken, which codes serve again. Streams whose bytes
//! depend on how they were written (its stateless mode, flushes in between) are not made here.

mod fast;
mod lazy;
mod level1;
mod level3;
mod level4;
mod level5;
mod level6;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod versions;
mod writer;

use self::fast::Finder;
use self::lazy::{Effort, Lazy};
use self::stream::{Compressor, Fast, Kind, Pieces, Plain, TAIL, Whole};
pub use self::versions::{Generation, Level};
use self::writer::Writer;
use super::{Engine, Hints};
use crate::codec::{Cursor, DecodeError};

/// How a stream was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Settings {
    /// The versions of the library that make the same of the same.
    pub generation: Generation,
    /// How hard it looked.
    pub level: Level,
    /// How the processor it ran on rounds.
    pub rounding: Rounding,
    /// How it was cut.
    pub framing: Framing,
}

/// How products are added to sums in single precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rounding {
    /// After the product, and again after the sum: amd64.
    Twice,
    /// Once: Go fuses both on arm64, ppc64le, s390x and riscv64.
    Once,
}

/// How a stream is cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Framing {
    /// In one piece.
    Whole,
    /// In blocks of so many bytes, as pgzip does.
    Blocks(u32),
}

impl Rounding {
    /// Returns `a * b + c`.
    fn multiply_add(self, a: f32, b: f32, c: f32) -> f32 {
        match self {
            Self::Twice => a * b + c,
            Self::Once => a.mul_add(b, c),
        }
    }
}

/// pgzip's own blocks, umoci's, and none.
const FRAMINGS: [Framing; 3] = [
    Framing::Blocks(1 << 20),
    Framing::Blocks(1 << 18),
    Framing::Whole,
];

/// The longest block that is taken for one.
const LONGEST_BLOCK: u32 = 1 << 26;

impl Settings {
    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        let Self {
            generation,
            level,
            rounding,
            framing,
        } = self;
        to.push(generation.byte());
        to.extend_from_slice(&level.number().to_le_bytes());
        to.push(match rounding {
            Rounding::Twice => 0,
            Rounding::Once => 1,
        });
        let len = match framing {
            Framing::Whole => 0,
            Framing::Blocks(len) => len,
        };
        to.extend_from_slice(&len.to_le_bytes());
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let byte = cursor.byte()?;
        let generation = Generation::ALL.into_iter().find(|one| one.byte() == byte);
        let number = i8::from_le_bytes(cursor.array()?);
        let level = Level::ALL.into_iter().find(|one| one.number() == number);
        let rounding = match cursor.byte()? {
            0 => Some(Rounding::Twice),
            1 => Some(Rounding::Once),
            _ => None,
        };
        let framing = match u32::from_le_bytes(cursor.array()?) {
            0 => Some(Framing::Whole),
            len => (len as usize > TAIL && len <= LONGEST_BLOCK).then_some(Framing::Blocks(len)),
        };
        match (generation, level, rounding, framing) {
            (Some(generation), Some(level), Some(rounding), Some(framing)) => Ok(Self {
                generation,
                level,
                rounding,
                framing,
            }),
            _ => Err(cursor.bad("settings")),
        }
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        match self.framing {
            Framing::Whole => Engine::Stream(Box::new(Whole(self.compressor()))),
            Framing::Blocks(len) => Engine::Blocks(Box::new(Pieces::new(self, len as usize))),
        }
    }

    fn compressor(&self) -> Box<dyn Compressor> {
        match self.level {
            Level::Stored => Box::new(Plain::new(Kind::Stored, Writer::new(self, 0))),
            Level::Huffman => Box::new(Plain::new(Kind::Literals, Writer::new(self, 10))),
            Level::One => match self.generation.hashes_five() {
                true => self.fast(level1::Level1::default()),
                false => self.fast(level1::OldLevel1::default()),
            },
            Level::Two => match self.generation.hashes_five() {
                true => self.fast(level1::Level2::default()),
                false => self.fast(level1::OldLevel2::default()),
            },
            Level::Three => match self.generation.hashes_five() {
                true => self.fast(level3::Level3::default()),
                false => self.fast(level3::OldLevel3::default()),
            },
            Level::Four => self.fast(level4::Level4::new(self.generation)),
            Level::Five => self.fast(level5::Level5::new(self.generation)),
            Level::Six => self.fast(level6::Level6::new(self.generation)),
            Level::Seven => self.lazy(12, 16, 24),
            Level::Eight => self.lazy(30, 40, 64),
            Level::Nine => self.lazy(258, 258, 1024),
        }
    }

    fn fast<F: Finder + 'static>(&self, finder: F) -> Box<dyn Compressor> {
        Box::new(Fast::new(finder, Writer::new(self, 7)))
    }

    fn lazy(&self, lazy: usize, nice: usize, chain: usize) -> Box<dyn Compressor> {
        let effort = Effort { lazy, nice, chain };
        let writer = Writer::new(self, 8);
        Box::new(Lazy::new(effort, self.generation, writer))
    }

    /// Returns what may have made a stream with such a header, the likeliest first: by level, pgzip's blocks of 1 MiB and of
    /// 256 KiB, then streams in one piece; each by the generations that differ there, and by arm64's rounding at last.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        let may_be = |level: &Level| match level {
            Level::Nine => hints.extra_flags == 2,
            Level::One => hints.extra_flags == 4,
            _ => hints.extra_flags == 0,
        };
        let mut all = Vec::new();
        for rounding in [Rounding::Twice, Rounding::Once] {
            for level in Level::ALL.into_iter().filter(may_be) {
                for framing in FRAMINGS {
                    let generations = level.generations().into_iter();
                    all.extend(generations.map(|generation| Self {
                        generation,
                        level,
                        rounding,
                        framing,
                    }));
                }
            }
        }
        // Without matches nothing is estimated.
        all.retain(|one| one.rounding == Rounding::Twice || one.level.has_matches());
        all
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            generation,
            level,
            rounding,
            framing,
        } = self;
        let (first, last) = level.span(*generation);
        let ((first, _), (_, last)) = (first.versions(), last.versions());
        write!(f, "klauspost/compress {first}")?;
        if first != last {
            write!(f, " to {last}")?;
        }
        write!(f, ", level {}", level.number())?;
        if *rounding == Rounding::Once {
            f.write_str(", rounded as on arm64")?;
        }
        match framing {
            Framing::Whole => Ok(()),
            Framing::Blocks(len) if len % (1 << 20) == 0 => {
                write!(f, ", in blocks of {} MiB (pgzip)", len >> 20)
            }
            Framing::Blocks(len) if len % (1 << 10) == 0 => {
                write!(f, ", in blocks of {} KiB (pgzip)", len >> 10)
            }
            Framing::Blocks(len) => write!(f, ", in blocks of {len} bytes (pgzip)"),
        }
    }
}
