//! Owns what a block says before it is coded: literals and matches in order, and how often each symbol occurs.

use super::Rounding;
use crate::encoders::tables::{
    DISTANCE_BITS, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BITS, LENGTH_SYMBOL, LITERALS,
    distance_symbol,
};

/// One literal, match, or the end of the block, in the order of the output.
///
/// Below 512 it is a symbol. A match has its highest bit set, then: from bit 24 on the symbol of its distance, from bit
/// 16 on its length less 3, and below that its distance less 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token(u32);

/// What a token says.
pub(super) enum Said {
    /// A literal, or the end of the block.
    Symbol(usize),
    /// A match: its length less 3, the symbol of its distance, its distance less 1.
    Match(usize, usize, u32),
}

impl Token {
    #[inline]
    pub(super) fn said(self) -> Said {
        if self.0 >> 31 == 0 {
            return Said::Symbol(self.0 as usize);
        }
        let length = self.0 >> 16 & 0xff;
        let symbol = self.0 >> 24 & 0x1f;
        Said::Match(length as usize, symbol as usize, self.0 & 0xffff)
    }
}

/// The longest match that deflate has.
const LONGEST: usize = 258;

/// The shortest match that deflate has.
const SHORTEST: usize = 3;

/// The tokens of one block.
pub(super) struct Tokens {
    list: Vec<Token>,
    /// How often each literal, the end of the block, and each length occurs.
    pub(super) symbols: [u16; LITERALS],
    /// How often each distance occurs.
    pub(super) distances: [u16; DISTANCES],
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            list: Vec::with_capacity(1 << 16),
            symbols: [0; LITERALS],
            distances: [0; DISTANCES],
        }
    }
}

impl Tokens {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.symbols.fill(0);
        self.distances.fill(0);
    }

    pub(super) fn list(&self) -> &[Token] {
        &self.list
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[inline]
    pub(super) fn literals(&mut self, plain: &[u8]) {
        for &byte in plain {
            self.symbols[usize::from(byte)] += 1;
        }
        let tokens = plain.iter().map(|&byte| Token(byte.into()));
        self.list.extend(tokens);
    }

    #[inline]
    pub(super) fn literal(&mut self, byte: u8) {
        self.symbols[usize::from(byte)] += 1;
        self.list.push(Token(byte.into()));
    }

    /// Adds a match, as several where it is longer than deflate's longest.
    #[inline]
    pub(super) fn matched(&mut self, mut length: usize, distance: usize) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a match reaches 32 KiB back at most"
        )]
        let distance = distance as u32;
        let symbol = distance_symbol(distance);
        #[expect(clippy::cast_possible_truncation, reason = "there are 30 symbols")]
        let token = 1 << 31 | (symbol as u32) << 24 | (distance - 1);
        while length > LONGEST {
            // What is left has to be a match too.
            let taken = match length > LONGEST + SHORTEST {
                true => LONGEST,
                false => LONGEST - SHORTEST,
            };
            self.one_match(taken - SHORTEST, symbol, token);
            length -= taken;
        }
        self.one_match(length - SHORTEST, symbol, token);
    }

    #[inline]
    fn one_match(&mut self, length: usize, symbol: usize, token: u32) {
        self.symbols[FIRST_LENGTH + usize::from(LENGTH_SYMBOL[length])] += 1;
        self.distances[symbol] += 1;
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        self.list.push(Token(token | (length as u32) << 16));
    }

    /// Adds the end of the block.
    pub(super) fn end(&mut self) {
        self.symbols[END_OF_BLOCK] += 1;
        #[expect(clippy::cast_possible_truncation, reason = "it is 256")]
        self.list.push(Token(END_OF_BLOCK as u32));
    }

    /// Returns how many bits follow the symbols of lengths and distances.
    pub(super) fn extra_bits(&self) -> usize {
        let lengths = self.symbols[FIRST_LENGTH..].iter().zip(&LENGTH_BITS);
        let distances = self.distances.iter().zip(&DISTANCE_BITS);
        let bits = |(count, bits): (&u16, &u8)| usize::from(*count) * usize::from(*bits);
        lengths.chain(distances).map(bits).sum()
    }

    /// Estimates how many bits the tokens take with the best of codes, without a header.
    ///
    /// Each rounding of the sum counts: it decides whether a block gets codes of its own.
    pub(super) fn estimated_bits(&self, rounding: Rounding) -> usize {
        let mut sum = Sum {
            rounding,
            bits: 0.0,
        };
        if self.list.is_empty() {
            return 0;
        }
        let (literals, lengths) = (&self.symbols[..256], &self.symbols[FIRST_LENGTH..]);
        sum.add(literals, self.list.len());
        sum.bits += 15.0;
        sum.add(lengths, self.list.len());
        let matches = lengths.iter().map(|count| usize::from(*count)).sum();
        if matches > 0 {
            sum.add(&self.distances, matches);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 15 bits for each of 65536 tokens, and more than none"
        )]
        let bits = sum.bits as usize;
        bits + self.extra_bits()
    }
}

/// A sum of entropies in single precision.
struct Sum {
    rounding: Rounding,
    bits: f32,
}

impl Sum {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the original loses none either: counts are below 2^24"
    )]
    fn add(&mut self, counts: &[u16], total: usize) {
        let share = 1.0 / total as f32;
        for &count in counts.iter().filter(|count| **count > 0) {
            let count = f32::from(count);
            let bits = -self.log2(count * share);
            // As `if v < 1 { 1 } else if v > 15 { 15 }` has it.
            let bits = bits.clamp(1.0, 15.0);
            self.bits = self.rounding.multiply_add(bits, count, self.bits);
        }
    }

    /// Returns about the logarithm: the exponent, and a parabola over the mantissa.
    fn log2(&self, value: f32) -> f32 {
        let bits = value.to_bits();
        #[expect(clippy::cast_precision_loss, reason = "it is below 256")]
        let exponent = (bits >> 23 & 255) as f32 - 128.0;
        let mantissa = f32::from_bits((bits & 0x807f_ffff) + (127 << 23));
        let fit = self
            .rounding
            .multiply_add(-0.344_848_43, mantissa, 2.024_665_8);
        exponent + self.rounding.multiply_add(fit, mantissa, -0.674_877_6)
    }
}
