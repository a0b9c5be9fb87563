//! Owns the streams of Go's `compress/gzip`: docker, BuildKit, containerd, kaniko and ko write these.
//!
//! The decisions are those of Go's `compress/flate`, BSD-3-Clause, up to Go 1.26. What comes out is what a program gets
//! that writes pieces of 32 KiB, as `io.Copy` does, or all at once.

mod blocks;
mod chained;
mod fast;
mod token;
mod unsearched;

use super::{Engine, Hints};
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
        to.push(match generation {
            Generation::Until26 => 0,
        });
        to.push(level.0);
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let generation = match cursor.byte()? {
            0 => Generation::Until26,
            _ => return Err(cursor.bad("generation")),
        };
        let level = match cursor.byte()? {
            level @ 0..=HUFFMAN_ONLY => Level(level),
            _ => return Err(cursor.bad("level")),
        };
        Ok(Self { generation, level })
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        let Generation::Until26 = self.generation;
        match self.level.0 {
            0 => Engine::Stream(Box::new(unsearched::Unsearched::new(
                unsearched::Kind::Stored,
            ))),
            1 => Engine::Stream(Box::new(fast::Fast::new())),
            HUFFMAN_ONLY => Engine::Stream(Box::new(unsearched::Unsearched::new(
                unsearched::Kind::Coded,
            ))),
            level => Engine::Stream(Box::new(chained::Chained::new(level))),
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
        let of = |level: &u8| Self::new(Generation::Until26, Level(*level));
        levels.iter().map(of).collect()
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generation, level } = self;
        let versions = match generation {
            Generation::Until26 => "up to Go 1.26",
        };
        match level.0 {
            HUFFMAN_ONLY => write!(f, "compress/gzip {versions}, HuffmanOnly"),
            level => write!(f, "compress/gzip {versions}, level {level}"),
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
