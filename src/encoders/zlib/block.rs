//! Owns coding a block: stored, with the fixed codes or with its own, whichever is shortest, as zlib's `trees.c` counts.

use super::huffman::{Code, Heap};
use super::tokens::Tokens;
use crate::encoders::Place;
use crate::encoders::bits::Bits;
use crate::encoders::tables::{
    CODE_ORDER, DISTANCE_BASE, DISTANCE_BITS, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BASE,
    LENGTH_BITS, LENGTH_SYMBOL, LITERALS, distance_symbol, fixed_literal_lengths,
};

/// The code of code lengths has 19 symbols.
const LENGTH_CODES: usize = CODE_ORDER.len();

/// How many further bits the last three of them have: those that repeat.
const REPEAT_BITS: [u8; LENGTH_CODES] = {
    let mut bits = [0; LENGTH_CODES];
    (bits[16], bits[17], bits[18]) = (2, 3, 7);
    bits
};

/// Codes blocks, one after another.
pub(super) struct Coder {
    bits: Bits,
    heap: Heap,
    literals: Code,
    distances: Code,
    fixed_literals: Code,
    fixed_distances: Code,
    header: Header,
}

/// How the code lengths of a block are written: runs are shortened, and what is left has a code too.
struct Header {
    /// Symbols of code lengths, each with the value of its further bits.
    symbols: Vec<(u8, u8)>,
    code: Code,
    /// How many lengths of that code are written, in their own order.
    lengths: usize,
}

impl Coder {
    pub(super) fn new() -> Self {
        Self {
            bits: Bits::default(),
            heap: Heap::default(),
            literals: Code::default(),
            distances: Code::default(),
            fixed_literals: Code::fixed(&fixed_literal_lengths()),
            fixed_distances: Code::fixed(&[5; DISTANCES]),
            header: Header {
                symbols: Vec::with_capacity(LITERALS + DISTANCES),
                code: Code::default(),
                lengths: 0,
            },
        }
    }

    /// Returns how many bits follow the last whole byte.
    pub(super) fn odd(&self) -> u32 {
        self.bits.odd()
    }

    /// Fills the last byte up.
    pub(super) fn align(&mut self, to: &mut Vec<u8>) {
        self.bits.align(to);
    }

    /// Appends an empty block with the fixed codes: 10 bits.
    pub(super) fn empty_fixed(&mut self, to: &mut Vec<u8>) {
        self.bits.put(2, 10, to);
    }

    /// Appends a stored block.
    pub(super) fn stored(&mut self, plain: &[u8], place: Place, to: &mut Vec<u8>) {
        self.bits.put(u32::from(place == Place::Last), 3, to);
        self.bits.align(to);
        let [low, high, ..] = plain.len().to_le_bytes();
        to.extend_from_slice(&[low, high, !low, !high]);
        to.extend_from_slice(plain);
    }

    /// Appends a block of tokens. `plain` are its bytes, `len` in number, unless they are no longer known.
    pub(super) fn block(
        &mut self,
        tokens: &Tokens,
        plain: (Option<&[u8]>, usize),
        place: Place,
        to: &mut Vec<u8>,
    ) {
        self.literals
            .build(&tokens.literals[..LITERALS], 15, &mut self.heap);
        self.distances
            .build(&tokens.distances[..DISTANCES], 15, &mut self.heap);
        self.header
            .build(&self.literals, &self.distances, &mut self.heap);
        let own = cost(tokens, &self.literals, &self.distances) + self.header.cost();
        let fixed = cost(tokens, &self.fixed_literals, &self.fixed_distances);
        // With the block's own three bits, in whole bytes.
        let [own, fixed] = [own, fixed].map(|bits| (bits + 3).div_ceil(8));
        let last = u32::from(place == Place::Last);
        match plain {
            (Some(bytes), len) if len + 4 <= own.min(fixed) => self.stored(bytes, place, to),
            _ if fixed <= own => {
                self.bits.put(1 << 1 | last, 3, to);
                put_tokens(
                    &mut self.bits,
                    tokens,
                    [&self.fixed_literals, &self.fixed_distances],
                    to,
                );
            }
            _ => {
                self.bits.put(2 << 1 | last, 3, to);
                self.header
                    .put([&self.literals, &self.distances], &mut self.bits, to);
                put_tokens(
                    &mut self.bits,
                    tokens,
                    [&self.literals, &self.distances],
                    to,
                );
            }
        }
        if place == Place::Last {
            self.bits.align(to);
        }
    }
}

/// Returns how many bits the tokens have with given codes.
fn cost(tokens: &Tokens, literals: &Code, distances: &Code) -> usize {
    let coded = |counts: &[u32], lengths: &[u8]| -> usize {
        let each = counts.iter().zip(lengths);
        each.map(|(count, bits)| *count as usize * usize::from(*bits))
            .sum()
    };
    coded(&tokens.literals[..LITERALS], &literals.lengths)
        + coded(&tokens.literals[FIRST_LENGTH..], &LENGTH_BITS)
        + coded(&tokens.distances, &distances.lengths)
        + coded(&tokens.distances, &DISTANCE_BITS)
}

fn put_tokens(bits: &mut Bits, tokens: &Tokens, codes: [&Code; 2], to: &mut Vec<u8>) {
    let [literals, distances] = codes;
    let mut held = *bits;
    for &token in tokens.all() {
        let [low, _, distance @ ..] = token.to_le_bytes();
        let distance = u32::from(u16::from_le_bytes(distance));
        if distance == 0 {
            put_symbol(&mut held, literals, usize::from(low), to);
            continue;
        }
        let symbol = usize::from(LENGTH_SYMBOL[usize::from(low)]);
        let extra = u32::from(low) + 3 - u32::from(LENGTH_BASE[symbol]);
        put_with(
            &mut held,
            literals,
            (symbol + FIRST_LENGTH, extra, LENGTH_BITS[symbol]),
            to,
        );
        let symbol = distance_symbol(distance);
        let extra = distance - u32::from(DISTANCE_BASE[symbol]);
        put_with(
            &mut held,
            distances,
            (symbol, extra, DISTANCE_BITS[symbol]),
            to,
        );
    }
    put_symbol(&mut held, literals, END_OF_BLOCK, to);
    *bits = held;
}

#[inline]
fn put_symbol(bits: &mut Bits, code: &Code, symbol: usize, to: &mut Vec<u8>) {
    bits.put(
        u32::from(code.bits[symbol]),
        u32::from(code.lengths[symbol]),
        to,
    );
}

/// Appends a symbol and its further bits.
#[inline]
fn put_with(
    bits: &mut Bits,
    code: &Code,
    (symbol, extra, extra_bits): (usize, u32, u8),
    to: &mut Vec<u8>,
) {
    let length = u32::from(code.lengths[symbol]);
    bits.put(
        u32::from(code.bits[symbol]) | extra << length,
        length + u32::from(extra_bits),
        to,
    );
}

impl Header {
    fn build(&mut self, literals: &Code, distances: &Code, heap: &mut Heap) {
        self.symbols.clear();
        for code in [literals, distances] {
            shorten_runs(&code.lengths[..=code.last], &mut self.symbols);
        }
        let mut counts = [0; LENGTH_CODES];
        for (symbol, _) in &self.symbols {
            counts[usize::from(*symbol)] += 1;
        }
        self.code.build(&counts, 7, heap);
        let written = |symbol: &usize| self.code.lengths[*symbol] != 0;
        self.lengths = CODE_ORDER
            .iter()
            .rposition(written)
            .map_or(4, |last| (last + 1).max(4));
    }

    /// Returns how many bits it has.
    fn cost(&self) -> usize {
        let each = self.symbols.iter().map(|(symbol, _)| usize::from(*symbol));
        let symbols: usize = each
            .map(|symbol| usize::from(self.code.lengths[symbol] + REPEAT_BITS[symbol]))
            .sum();
        symbols + 3 * self.lengths + 5 + 5 + 4
    }

    fn put(&self, codes: [&Code; 2], bits: &mut Bits, to: &mut Vec<u8>) {
        let [literals, distances] = codes.map(|code| code.last + 1);
        for (number, least, width) in [(literals, 257, 5), (distances, 1, 5), (self.lengths, 4, 4)]
        {
            bits.put(u32::try_from(number - least).unwrap_or(0), width, to);
        }
        for &symbol in &CODE_ORDER[..self.lengths] {
            bits.put(u32::from(self.code.lengths[symbol]), 3, to);
        }
        for &(symbol, extra) in &self.symbols {
            let symbol = usize::from(symbol);
            put_with(
                bits,
                &self.code,
                (symbol, u32::from(extra), REPEAT_BITS[symbol]),
                to,
            );
        }
    }
}

/// Appends code lengths as symbols. Only runs within one alphabet are shortened.
fn shorten_runs(lengths: &[u8], to: &mut Vec<(u8, u8)>) {
    let mut before = None;
    let mut rest = lengths;
    while let Some(&length) = rest.first() {
        let (most, least) = match length {
            0 => (138, 3),
            _ if before == Some(length) => (6, 3),
            _ => (7, 4),
        };
        let same = rest
            .iter()
            .take(most)
            .take_while(|next| **next == length)
            .count();
        let [count, ..] = same.to_le_bytes();
        if same < least {
            to.extend((0..count).map(|_| (length, 0)));
        } else if length != 0 && before == Some(length) {
            to.push((16, count - 3));
        } else if length != 0 {
            to.extend([(length, 0), (16, count - 4)]);
        } else if count <= 10 {
            to.push((17, count - 3));
        } else {
            to.push((18, count - 11));
        }
        before = Some(length);
        rest = &rest[same..];
    }
}
