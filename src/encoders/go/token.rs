//! Owns tokens: a literal byte, or a match that lies before.

use crate::encoders::tables::{
    DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTH_SYMBOL, LITERALS, distance_symbol,
};

/// The shortest match that deflate has.
const SHORTEST: usize = 3;

const MATCH: u32 = 1 << 31;

/// A literal byte, or a match: its length and its distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token(u32);

/// A token taken apart.
pub(super) enum Parts {
    Literal(u8),
    /// The length less 3, and the distance.
    Match(u8, u32),
}

impl Token {
    #[inline]
    pub(super) fn literal(byte: u8) -> Self {
        Self(byte.into())
    }

    /// `length` is 3 to 258, `distance` 1 to 32768.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "lengths have 8 bits here, distances 15"
    )]
    pub(super) fn found(length: usize, distance: usize) -> Self {
        Self(MATCH | ((length - SHORTEST) as u32) << 16 | (distance - 1) as u32)
    }

    #[inline]
    pub(super) fn parts(self) -> Parts {
        let [low, high, length, _] = self.0.to_le_bytes();
        if self.0 < MATCH {
            return Parts::Literal(low);
        }
        Parts::Match(length, u32::from(u16::from_le_bytes([low, high])) + 1)
    }
}

/// How often each symbol of a block occurs.
pub(super) struct Counts {
    pub(super) literals: [u32; LITERALS],
    pub(super) distances: [u32; DISTANCES],
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
        }
    }

    /// Counts a block's tokens and its end.
    pub(super) fn of(tokens: &[Token]) -> Self {
        let mut counts = Self::new();
        counts.literals[END_OF_BLOCK] = 1;
        for token in tokens {
            match token.parts() {
                Parts::Literal(byte) => counts.literals[usize::from(byte)] += 1,
                Parts::Match(length, distance) => {
                    let symbol = usize::from(LENGTH_SYMBOL[usize::from(length)]);
                    counts.literals[FIRST_LENGTH + symbol] += 1;
                    counts.distances[distance_symbol(distance)] += 1;
                }
            }
        }
        counts
    }

    /// Counts bytes as literals, and a block's end.
    pub(super) fn of_bytes(plain: &[u8]) -> Self {
        let mut counts = Self::new();
        counts.literals[END_OF_BLOCK] = 1;
        for byte in plain {
            counts.literals[usize::from(*byte)] += 1;
        }
        counts
    }
}
