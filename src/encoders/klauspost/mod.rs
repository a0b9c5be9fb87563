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
mod tokens;
mod writer;

use self::fast::Finder;
use self::lazy::{Effort, Lazy};
use self::stream::{Compressor, Fast, Kind, Pieces, Plain, TAIL, Whole};
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

/// Versions that do not differ in what they make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Generation {
    /// 1.15.11 to 1.15.14.
    V1_15_11,
    /// 1.15.15 to 1.18.0.
    V1_15_15,
    /// 1.18.1.
    V1_18_1,
    /// 1.18.2 to 1.19.1.
    V1_18_2,
}

/// Levels by what they do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// 0: nothing is compressed.
    Stored,
    /// 1, the fastest with matches.
    One,
    /// 2.
    Two,
    /// 3.
    Three,
    /// 4.
    Four,
    /// 5, the default.
    Five,
    /// 6.
    Six,
    /// 7.
    Seven,
    /// 8.
    Eight,
    /// 9, the slowest.
    Nine,
    /// -2: no matches, only codes.
    Huffman,
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

impl Generation {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::V1_15_11, Self::V1_15_15, Self::V1_18_1, Self::V1_18_2];

    fn byte(self) -> u8 {
        match self {
            Self::V1_15_11 => 11,
            Self::V1_15_15 => 15,
            Self::V1_18_1 => 21,
            Self::V1_18_2 => 22,
        }
    }

    /// Whether a header that may serve again has no more symbols than occur.
    fn has_exact_headers(self) -> bool {
        self >= Self::V1_18_1
    }

    /// Whether levels 7 to 9 try a better match two bytes later, and extend it back.
    fn extends_back(self) -> bool {
        self >= Self::V1_15_15
    }

    /// Whether level 9 weighs literals by at most half a window of them.
    fn weighs_half_a_window(self) -> bool {
        self >= Self::V1_18_2
    }
}

impl Level {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 11] = [
        Self::Five,
        Self::Nine,
        Self::One,
        Self::Six,
        Self::Three,
        Self::Seven,
        Self::Eight,
        Self::Two,
        Self::Four,
        Self::Huffman,
        Self::Stored,
    ];

    /// Returns the library's number for it.
    pub fn number(self) -> i8 {
        match self {
            Self::Stored => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Seven => 7,
            Self::Eight => 8,
            Self::Nine => 9,
            Self::Huffman => -2,
        }
    }
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

/// pgzip's own block, and umoci's.
const BLOCKS: [u32; 2] = [1 << 20, 1 << 18];

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
            Level::One => self.fast(level1::Level1::default()),
            Level::Two => self.fast(level1::Level2::default()),
            Level::Three => self.fast(level3::Level3::default()),
            Level::Four => self.fast(level4::Level4::default()),
            Level::Five => self.fast(level5::Level5::new(2)),
            Level::Six => self.fast(level6::Level6::new(2)),
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

    /// Returns what may have made a stream with such a header, the likeliest first: pgzip's blocks of 1 MiB and of 256 KiB,
    /// then streams in one piece; the newest common generation first.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        if hints.extra_flags != 0 {
            return Vec::new();
        }
        let framings = BLOCKS.map(Framing::Blocks).into_iter();
        let mut all = Vec::new();
        for framing in framings.chain([Framing::Whole]) {
            for level in Level::ALL {
                all.extend(Generation::ALL.map(|generation| Self {
                    generation,
                    level,
                    rounding: Rounding::Twice,
                    framing,
                }));
            }
        }
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
        let level = level.number();
        write!(f, "klauspost/compress {generation}, level {level}")?;
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

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1_15_11 => "1.15.11 to 1.15.14",
            Self::V1_15_15 => "1.15.15 to 1.18.0",
            Self::V1_18_1 => "1.18.1",
            Self::V1_18_2 => "1.18.2 to 1.19.1",
        })
    }
}
