//! Owns what a block is made of before it is coded: literals and matches, and how often each symbol comes.

use super::window::zeros;
use crate::encoders::tables::{
    DISTANCE_BITS, END_OF_BLOCK, FIRST_LENGTH, LENGTH_SYMBOL, distance_symbol,
};

/// The most tokens of a block: those of the largest memory level, and of GNU gzip.
const MOST: usize = 1 << 15;

/// Which tokens end a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The one that leaves one place free.
    Full,
    /// That, or one in 4096 of them when the block does well with few matches: code lengths might do better afresh.
    Early,
}

/// Literals and matches.
pub(super) struct Tokens {
    /// The distance above the length less 3; or 0 above the literal.
    buffer: Box<[u32; MOST]>,
    len: usize,
    /// How many end a block.
    limit: usize,
    ending: Ending,
    /// How often each literal or length symbol comes; of as many as can be looked up without a check.
    pub(super) literals: [u32; 512],
    /// How often each distance symbol comes.
    pub(super) distances: [u32; 32],
}

/// Whether the block is to be ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Left,
    None,
}

impl Tokens {
    /// Returns none; blocks have fewer than `size` of them, at most 32768.
    pub(super) fn new(size: usize, ending: Ending) -> Self {
        let mut tokens = Self {
            buffer: zeros(),
            len: 0,
            limit: size.min(MOST) - 1,
            ending,
            literals: [0; 512],
            distances: [0; 32],
        };
        tokens.clear();
        tokens
    }

    /// Begins a block.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.literals = [0; 512];
        self.literals[END_OF_BLOCK] = 1;
        self.distances = [0; 32];
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all of the block.
    pub(super) fn all(&self) -> &[u32] {
        &self.buffer[..self.len]
    }

    /// Adds a literal; `covered` is how many plain bytes the block has so far.
    #[inline]
    pub(super) fn literal(&mut self, byte: u8, covered: usize) -> Room {
        self.literals[usize::from(byte)] += 1;
        self.push(u32::from(byte), covered)
    }

    /// Adds a match of a length less 3.
    #[inline]
    pub(super) fn matched(&mut self, less: u8, distance: u32, covered: usize) -> Room {
        self.literals[usize::from(LENGTH_SYMBOL[usize::from(less)]) + FIRST_LENGTH] += 1;
        self.distances[distance_symbol(distance) & 31] += 1;
        self.push(distance << 16 | u32::from(less), covered)
    }

    #[inline]
    fn push(&mut self, token: u32, covered: usize) -> Room {
        self.buffer[self.len & (MOST - 1)] = token;
        self.len += 1;
        if self.len == self.limit || (self.len.is_multiple_of(4096) && self.does_well(covered)) {
            Room::None
        } else {
            Room::Left
        }
    }

    /// Whether even a crude code halves the block, although most tokens are literals.
    #[cold]
    fn does_well(&self, covered: usize) -> bool {
        if self.ending == Ending::Full {
            return false;
        }
        let matches: u32 = self.distances.iter().sum();
        let coded = self.distances.iter().zip(DISTANCE_BITS);
        let distance_bits: u32 = coded
            .map(|(count, bits)| count * (5 + u32::from(bits)))
            .sum();
        let bytes = (self.len * 8 + distance_bits as usize) / 8;
        (matches as usize) < self.len / 2 && bytes < covered / 2
    }
}
