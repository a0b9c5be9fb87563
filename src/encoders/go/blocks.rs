//! Owns writing blocks: which of deflate's kinds a block becomes, and its bits.

use super::token::{Counts, Parts, Token};
use crate::encoders::Place;
use crate::encoders::bits::Bits;
use crate::encoders::huffman::{Code, CodeLengths, DistanceCodes, LiteralCodes};
use crate::encoders::tables::{
    DISTANCE_BASE, DISTANCE_BITS, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BASE, LENGTH_BITS,
    LENGTH_SYMBOL, distance_symbol,
};

/// The longest stored block.
pub(super) const LONGEST_STORED: usize = 0xffff;

/// Writes blocks of one stream, one after another.
pub(super) struct Blocks {
    bits: Bits,
    own: Pair,
    fixed: Pair,
    lengths: CodeLengths,
}

/// The two codes of a block.
#[derive(Default)]
struct Pair {
    literals: LiteralCodes,
    distances: DistanceCodes,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self {
            bits: Bits::default(),
            own: Pair::default(),
            fixed: Pair {
                literals: LiteralCodes::fixed(),
                distances: DistanceCodes::fixed(),
            },
            lengths: CodeLengths::default(),
        }
    }

    /// Writes tokens as the kind that takes the fewest bits. `plain` is what they stand for, if it may be stored.
    pub(super) fn smallest(&mut self, tokens: &[Token], plain: Option<&[u8]>, to: &mut Vec<u8>) {
        let mut counts = Counts::of(tokens);
        let own_size = self.make_codes(&mut counts);
        let fixed_size = 3 + self.fixed.size(&counts);
        let plain = plain.filter(|plain| plain.len() <= LONGEST_STORED);
        if let Some(plain) = plain {
            // The bits that follow symbols are the same in both codes.
            let size = own_size.min(fixed_size) + extra_bits(&counts);
            if stored_size(plain) < size {
                self.stored(plain, Place::Inner, to);
                return;
            }
        }
        if own_size < fixed_size {
            self.lengths.write(Place::Inner, &mut self.bits, to);
            self.own.write(tokens, &mut self.bits, to);
        } else {
            self.bits.put(1 << 1, 3, to);
            self.fixed.write(tokens, &mut self.bits, to);
        }
    }

    /// Writes tokens with codes of their own, unless that wins less than a sixteenth.
    pub(super) fn dynamic(&mut self, tokens: &[Token], plain: &[u8], to: &mut Vec<u8>) {
        let size = self.make_codes(&mut Counts::of(tokens));
        if stored_size(plain) < size + (size >> 4) {
            self.stored(plain, Place::Inner, to);
            return;
        }
        self.lengths.write(Place::Inner, &mut self.bits, to);
        self.own.write(tokens, &mut self.bits, to);
    }

    /// Writes bytes as literals with codes of their own, unless that wins less than a sixteenth.
    pub(super) fn literals(&mut self, plain: &[u8], to: &mut Vec<u8>) {
        let size = self.make_codes(&mut Counts::of_bytes(plain));
        if stored_size(plain) < size + (size >> 4) {
            self.stored(plain, Place::Inner, to);
            return;
        }
        self.lengths.write(Place::Inner, &mut self.bits, to);
        let codes = self.own.literals.all();
        for byte in plain {
            put(codes[usize::from(*byte)], &mut self.bits, to);
        }
        put(codes[END_OF_BLOCK], &mut self.bits, to);
    }

    /// Writes a stored block of at most [`LONGEST_STORED`] bytes.
    pub(super) fn stored(&mut self, plain: &[u8], place: Place, to: &mut Vec<u8>) {
        self.bits.put(u32::from(place == Place::Last), 3, to);
        self.bits.align(to);
        let len = u16::try_from(plain.len()).unwrap_or(u16::MAX);
        to.extend_from_slice(&len.to_le_bytes());
        to.extend_from_slice(&(!len).to_le_bytes());
        to.extend_from_slice(plain);
    }

    /// Makes the block's own codes; returns its size in bits, without what follows symbols.
    fn make_codes(&mut self, counts: &mut Counts) -> usize {
        let used = |counts: &[u32]| counts.iter().rposition(|count| *count != 0);
        let literals = used(&counts.literals).map_or(0, |last| last + 1);
        let distances = used(&counts.distances).map_or(0, |last| last + 1);
        if distances == 0 {
            // A code needs a symbol, and it counts as used.
            counts.distances[0] = 1;
        }
        let own = &mut self.own;
        own.literals.generate(&counts.literals);
        own.distances.generate(&counts.distances);
        self.lengths.generate(
            &own.literals.all()[..literals],
            &own.distances.all()[..distances.max(1)],
        );
        self.lengths.size() + own.size(counts)
    }
}

impl Pair {
    fn size(&self, counts: &Counts) -> usize {
        self.literals.size(&counts.literals) + self.distances.size(&counts.distances)
    }

    /// Writes tokens and the end of their block.
    fn write(&self, tokens: &[Token], bits: &mut Bits, to: &mut Vec<u8>) {
        let (literals, distances) = (self.literals.all(), self.distances.all());
        for token in tokens {
            match token.parts() {
                Parts::Literal(byte) => put(literals[usize::from(byte)], bits, to),
                Parts::Match(length, distance) => {
                    let symbol = usize::from(LENGTH_SYMBOL[usize::from(length)]);
                    let code = literals[FIRST_LENGTH + symbol];
                    let extra = u32::from(length) + 3 - u32::from(LENGTH_BASE[symbol]);
                    put_with(code, extra, LENGTH_BITS[symbol], bits, to);
                    let symbol = distance_symbol(distance);
                    let extra = distance - u32::from(DISTANCE_BASE[symbol]);
                    put_with(distances[symbol], extra, DISTANCE_BITS[symbol], bits, to);
                }
            }
        }
        put(literals[END_OF_BLOCK], bits, to);
    }
}

#[inline]
fn put(code: Code, bits: &mut Bits, to: &mut Vec<u8>) {
    bits.put(code.bits.into(), code.len.into(), to);
}

/// Writes a code and the bits that follow it: at most 15 and 13.
#[inline]
fn put_with(code: Code, extra: u32, count: u8, bits: &mut Bits, to: &mut Vec<u8>) {
    let value = u32::from(code.bits) | extra << code.len;
    bits.put(value, u32::from(code.len) + u32::from(count), to);
}

/// Returns how many bits a stored block takes at most, as Go estimates.
fn stored_size(plain: &[u8]) -> usize {
    (plain.len() + 5) * 8
}

/// Returns how many bits follow the lengths and distances of a block.
fn extra_bits(counts: &Counts) -> usize {
    let sum = |counts: &[u32], bits: &[u8]| {
        let bits = counts.iter().zip(bits);
        bits.map(|(count, bits)| *count as usize * usize::from(*bits))
            .sum::<usize>()
    };
    sum(&counts.literals[FIRST_LENGTH..], &LENGTH_BITS) + sum(&counts.distances, &DISTANCE_BITS)
}
