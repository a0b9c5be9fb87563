//! Owns how a block is coded: with the codes of the block before it, with codes of its own, with the fixed ones, or stored.
//!
//! A block whose codes may serve the next one too is not ended until that is decided: its end is owed.

use super::tokens::{Said, Tokens};
use super::{Generation, Rounding, Settings};
use crate::encoders::Place;
use crate::encoders::bits::Bits;
use crate::encoders::huffman::{Code, CodeLengths, DistanceCodes, LiteralCodes};
use crate::encoders::tables::{
    DISTANCE_BASE, DISTANCE_BITS, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, LENGTH_BASE, LENGTH_BITS,
    LENGTH_SYMBOL, LITERALS,
};

/// The longest stored block.
pub(super) const LONGEST_STORED: usize = 65535;

/// From so many tokens on, the fixed codes are not tried.
const MANY_TOKENS: usize = 250;

/// What the header of a block of literals is taken to need: 70 bytes.
const GUESSED_HEADER: usize = 70 * 8;

/// Whether the codes of a block may serve the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// More blocks follow at once.
    Goes,
    /// All is to be written: a flush, or the end of the stream.
    Stops,
}

/// What codes blocks.
pub(super) struct Writer {
    bits: Bits,
    literals: LiteralCodes,
    /// Codes that are tried, and take the place of the others if they win.
    tried: LiteralCodes,
    distances: DistanceCodes,
    header: CodeLengths,
    fixed: (LiteralCodes, DistanceCodes),
    no_distances: DistanceCodes,
    /// The bits of the last header whose codes may serve again. Zero if there are none, and so no end is owed.
    last_header: usize,
    /// Whether the last header has codes for literals only.
    is_literals_only: bool,
    /// New codes are taken to cost this much more: the size shifted right by it.
    penalty: u32,
    generation: Generation,
    rounding: Rounding,
}

impl Writer {
    pub(super) fn new(settings: &Settings, penalty: u32) -> Self {
        Self {
            bits: Bits::default(),
            literals: LiteralCodes::default(),
            tried: LiteralCodes::default(),
            distances: DistanceCodes::default(),
            header: CodeLengths::default(),
            fixed: (LiteralCodes::fixed(), DistanceCodes::fixed()),
            no_distances: DistanceCodes::of_none(),
            last_header: 0,
            is_literals_only: false,
            penalty,
            generation: settings.generation,
            rounding: settings.rounding,
        }
    }

    pub(super) fn reset(&mut self) {
        self.bits = Bits::default();
        self.last_header = 0;
        self.is_literals_only = false;
    }

    /// Writes the end of the block whose codes might have served again.
    fn pay(&mut self, to: &mut Vec<u8>) {
        if self.last_header > 0 {
            let end = self.literals.all()[END_OF_BLOCK];
            self.bits.put(end.bits.into(), end.len.into(), to);
            self.last_header = 0;
        }
    }

    /// Writes a stored block. An empty one is what a flush ends with.
    pub(super) fn stored(&mut self, plain: &[u8], to: &mut Vec<u8>) {
        self.pay(to);
        self.bits.put(0, 3, to);
        self.bits.align(to);
        #[expect(clippy::cast_possible_truncation, reason = "callers have checked it")]
        let len = plain.len() as u16;
        to.extend_from_slice(&len.to_le_bytes());
        to.extend_from_slice(&(!len).to_le_bytes());
        to.extend_from_slice(plain);
    }

    /// Ends the stream with an empty block of the fixed codes.
    pub(super) fn end_stream(&mut self, to: &mut Vec<u8>) {
        self.pay(to);
        self.bits.put(0b011, 3, to);
        self.bits.put(0, 7, to);
        self.bits.align(to);
    }

    /// Writes tokens. `plain` is what they stand for, where it may be stored instead.
    pub(super) fn tokens(
        &mut self,
        tokens: &mut Tokens,
        plain: Option<&[u8]>,
        then: Then,
        to: &mut Vec<u8>,
    ) {
        if then == Then::Stops {
            tokens.end();
        }
        if self.last_header > 0 {
            if self.is_literals_only {
                self.is_literals_only = false;
                self.pay(to);
            } else if !self.can_serve(tokens) {
                self.pay(to);
            }
        }
        let numbers = self.numbers(tokens, then);
        let stored = plain.filter(|plain| plain.len() <= LONGEST_STORED);
        let mut extra = 0;
        if stored.is_some() || self.last_header > 0 {
            extra = tokens.extra_bits();
        }
        let cost = Cost { extra, stored };
        if self.last_header > 0 && self.is_done_without_codes(tokens, cost, then, to) {
            return;
        }
        if self.last_header == 0 {
            if self.is_done_or_has_codes(tokens, numbers, (cost, then), to) {
                return;
            }
            if then == Then::Goes {
                self.last_header = self.header.size();
            }
            self.is_literals_only = false;
        }
        if then == Then::Stops {
            self.last_header = 0;
        }
        put_tokens(&mut self.bits, tokens, &self.literals, &self.distances, to);
    }

    /// Returns whether the last codes have all symbols of the tokens.
    fn can_serve(&self, tokens: &Tokens) -> bool {
        fn have(codes: &[Code], counts: &[u16]) -> bool {
            let mut pairs = codes.iter().zip(counts);
            pairs.all(|(code, count)| *count == 0 || code.len != 0)
        }
        have(self.distances.all(), &tokens.distances) && have(self.literals.all(), &tokens.symbols)
    }

    /// Returns how many literals and distances a header has.
    fn numbers(&self, tokens: &mut Tokens, then: Then) -> (usize, usize) {
        if then == Then::Goes && !self.generation.has_exact_headers() {
            return (LITERALS, DISTANCES);
        }
        if then == Then::Goes && self.generation.counts_every_end() {
            tokens.symbols[END_OF_BLOCK] = 1;
        }
        let used = |counts: &[u16]| {
            counts
                .iter()
                .rposition(|count| *count != 0)
                .map_or(0, |last| last + 1)
        };
        // 1.18.1 makes a broken header of fewer.
        let literals = used(&tokens.symbols).max(FIRST_LENGTH);
        let mut distances = used(&tokens.distances);
        if distances == 0 {
            // A header needs one.
            tokens.distances[0] = 1;
            distances = 1;
        }
        (literals, distances)
    }

    /// Decides whether the last codes serve again. Returns whether the block is written, in another way.
    fn is_done_without_codes(
        &mut self,
        tokens: &mut Tokens,
        cost: Cost<'_>,
        then: Then,
        to: &mut Vec<u8>,
    ) -> bool {
        let new = self.last_header + tokens.estimated_bits(self.rounding);
        let end = usize::from(self.literals.all()[END_OF_BLOCK].len);
        let new = new + end + (new >> self.penalty);
        let size = self.size(tokens) + cost.extra;
        let mut least = size;
        if new < size {
            self.pay(to);
            least = new;
        }
        if tokens.len() < MANY_TOKENS && self.fixed_size(tokens, cost) + 7 < least {
            self.stored_or_fixed(tokens, (cost, least), then, to);
            return true;
        }
        self.is_stored(cost, least, to)
    }

    /// Makes codes for the block and writes its header, or all of it in another way: then it returns true.
    fn is_done_or_has_codes(
        &mut self,
        tokens: &mut Tokens,
        numbers: (usize, usize),
        (cost, then): (Cost<'_>, Then),
        to: &mut Vec<u8>,
    ) -> bool {
        tokens.symbols[END_OF_BLOCK] = 1;
        self.literals.generate(&tokens.symbols);
        self.distances.generate(&tokens.distances);
        let (literals, distances) = (self.literals.all(), self.distances.all());
        self.header
            .generate(&literals[..numbers.0], &distances[..numbers.1]);
        let size = self.header.size() + self.size(tokens) + cost.extra;
        let fixed = self.fixed_size(tokens, cost);
        if tokens.len() < MANY_TOKENS && fixed <= size {
            self.stored_or_fixed(tokens, (cost, fixed), then, to);
            return true;
        }
        if self.is_stored(cost, size, to) {
            return true;
        }
        self.header.write(Place::Inner, &mut self.bits, to);
        false
    }

    fn size(&self, tokens: &Tokens) -> usize {
        self.literals.size(&tokens.symbols) + self.distances.size(&tokens.distances)
    }

    fn fixed_size(&self, tokens: &Tokens, cost: Cost<'_>) -> usize {
        let (literals, distances) = &self.fixed;
        3 + literals.size(&tokens.symbols) + distances.size(&tokens.distances) + cost.extra
    }

    /// Stores the block if that takes no more than `size` bits. Returns whether it did.
    fn is_stored(&mut self, cost: Cost<'_>, size: usize, to: &mut Vec<u8>) -> bool {
        let Some(plain) = cost.stored else {
            return false;
        };
        let is_less = stored_size(plain) <= size;
        if is_less {
            self.stored(plain, to);
        }
        is_less
    }

    fn stored_or_fixed(
        &mut self,
        tokens: &mut Tokens,
        (cost, size): (Cost<'_>, usize),
        then: Then,
        to: &mut Vec<u8>,
    ) {
        if self.is_stored(cost, size, to) {
            return;
        }
        self.pay(to);
        self.bits.put(0b010, 3, to);
        if then == Then::Goes {
            tokens.end();
        }
        put_tokens(&mut self.bits, tokens, &self.fixed.0, &self.fixed.1, to);
    }

    /// Writes plain bytes as literals, or stored where that takes no more.
    pub(super) fn literals(&mut self, plain: &[u8], then: Then, to: &mut Vec<u8>) {
        let mut counts = [0u16; FIRST_LENGTH];
        for byte in plain {
            counts[usize::from(*byte)] += 1;
        }
        let can_store = plain.len() <= LONGEST_STORED;
        if can_store && plain.len() > 1024 && is_flat(&counts[..256], plain.len()) {
            self.stored(plain, to);
            return;
        }
        counts[END_OF_BLOCK] = 1;
        self.tried.generate(&counts);
        let mut new = self.tried.size(&counts);
        new += match self.last_header {
            0 => GUESSED_HEADER,
            last => last,
        };
        new += new >> self.penalty;
        if can_store && stored_size(plain) <= new {
            self.stored(plain, to);
            return;
        }
        if self.last_header > 0 {
            let again = self.size_if_coded(&counts[..256]);
            if again.is_none_or(|again| new < again) {
                self.pay(to);
            }
        }
        if self.last_header == 0 {
            std::mem::swap(&mut self.literals, &mut self.tried);
            let literals = &self.literals.all()[..FIRST_LENGTH];
            self.header
                .generate(literals, &self.no_distances.all()[..1]);
            self.header.write(Place::Inner, &mut self.bits, to);
            self.is_literals_only = true;
            self.last_header = self.header.size();
        }
        let codes = self.literals.all();
        let code = |byte: &u8| wide(codes[usize::from(*byte)]);
        self.bits.put_all(plain.iter().map(code), to);
        if then == Then::Stops {
            self.pay(to);
            self.is_literals_only = false;
        }
    }

    /// Returns how many bits the last codes take, if they have all symbols.
    fn size_if_coded(&self, counts: &[u16]) -> Option<usize> {
        let mut pairs = self.literals.all().iter().zip(counts);
        let are_all_coded = pairs.all(|(code, count)| *count == 0 || code.len != 0);
        are_all_coded.then(|| self.literals.size(counts))
    }
}

/// What a block costs whatever its codes are: the bits after its symbols, or what is to be stored.
#[derive(Clone, Copy)]
struct Cost<'a> {
    extra: usize,
    stored: Option<&'a [u8]>,
}

fn stored_size(plain: &[u8]) -> usize {
    (plain.len() + 5) * 8
}

/// Returns whether all bytes are about as frequent, so that codes cannot help.
fn is_flat(counts: &[u16], len: usize) -> bool {
    // Exact in double precision: in units of 2^-16 the sum stays below 2^49.
    #[expect(clippy::cast_precision_loss, reason = "blocks are below 2^32 bytes")]
    let (mean, most) = (len as f64 / 256.0, (2 * len) as f64);
    let mut sum = 0.0;
    for count in counts {
        let off = f64::from(*count) - mean;
        sum += off * off;
        if sum > most {
            break;
        }
    }
    sum < most
}

#[inline]
fn wide(code: Code) -> (u64, u32) {
    (code.bits.into(), code.len.into())
}

/// Appends tokens in the codes given.
fn put_tokens(
    bits: &mut Bits,
    tokens: &Tokens,
    literals: &LiteralCodes,
    distances: &DistanceCodes,
    to: &mut Vec<u8>,
) {
    let (literals, distances) = (literals.all(), distances.all());
    // Each length's code with what follows it.
    let mut lengths = [(0, 0); 256];
    for (length, code) in lengths.iter_mut().enumerate() {
        let symbol = usize::from(LENGTH_SYMBOL[length]);
        let (symbol_bits, len) = wide(literals[FIRST_LENGTH + symbol]);
        let extra = length as u64 + 3 - u64::from(LENGTH_BASE[symbol]);
        *code = (
            symbol_bits | extra << len,
            len + u32::from(LENGTH_BITS[symbol]),
        );
    }
    let code = |token: &super::tokens::Token| match token.said() {
        Said::Symbol(symbol) => wide(literals[symbol]),
        Said::Match(length, symbol, distance) => {
            let (length, len) = lengths[length];
            let (symbol_bits, symbol_len) = wide(distances[symbol]);
            let extra = u64::from(distance + 1 - u32::from(DISTANCE_BASE[symbol]));
            let distance = symbol_bits | extra << symbol_len;
            let distance_len = symbol_len + u32::from(DISTANCE_BITS[symbol]);
            (length | distance << len, len + distance_len)
        }
    };
    bits.put_all(tokens.list().iter().map(code), to);
}
