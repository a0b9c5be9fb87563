//! Owns the Huffman codes of Go's compressors: the lengths of codes, the codes, and how a block's header says them.
//!
//! The decisions are those of Go's `compress/flate` and of `github.com/klauspost/compress/flate`, both BSD-3-Clause: a
//! package-merge bounded in length that prefers a pair to a leaf of the same weight, shorter codes for later symbols of
//! the same count, and run lengths that go on from the literals into the distances.

use super::Place;
use super::bits::Bits;
use super::tables::{CODE_ORDER, DISTANCES, LITERALS, fixed_literal_lengths};

/// The longest code of a literal, a length or a distance.
const LONGEST: usize = 15;

/// The longest code of a code length.
const LONGEST_OF_LENGTHS: usize = 7;

/// More than any weight: there is no such node.
const NONE: u32 = u32::MAX;

/// How one symbol is written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Code {
    /// The bits, the first one lowest.
    pub bits: u16,
    /// How many there are; 0 for a symbol that has no code.
    pub len: u8,
}

impl Code {
    #[inline]
    fn put(self, bits: &mut Bits, to: &mut Vec<u8>) {
        bits.put(self.bits.into(), self.len.into(), to);
    }
}

/// The codes of symbols 0 to N.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Codes<const N: usize>([Code; N]);

/// Codes of literals, the end of a block, and lengths.
pub type LiteralCodes = Codes<LITERALS>;

/// Codes of distances.
pub type DistanceCodes = Codes<DISTANCES>;

impl<const N: usize> Default for Codes<N> {
    fn default() -> Self {
        Self([Code::default(); N])
    }
}

impl<const N: usize> Codes<N> {
    /// Makes the codes of the symbols that are counted. Those beyond the counts stay as they were.
    pub fn generate<C: Copy + Into<u32>>(&mut self, counts: &[C]) {
        self.generate_within(counts, LONGEST);
    }

    fn generate_within<C: Copy + Into<u32>>(&mut self, counts: &[C], longest: usize) {
        // Sorted as numbers: by the count, then by the symbol.
        let mut sorted = [0u64; N];
        let mut used = 0;
        for (symbol, (code, count)) in self.0.iter_mut().zip(counts).enumerate() {
            *code = Code::default();
            let count: u32 = (*count).into();
            if count != 0 {
                sorted[used] = u64::from(count) << 32 | symbol as u64;
                used += 1;
            }
        }
        let sorted = &mut sorted[..used];
        if used <= 2 {
            for (bits, key) in (0..).zip(sorted) {
                self.0[symbol_of(*key)] = Code { bits, len: 1 };
            }
            return;
        }
        sorted.sort_unstable();
        let numbers = how_many_of_each_length(sorted, longest);
        let mut rest = &sorted[..];
        for (len, number) in (0..).zip(numbers) {
            let (less, of_this_length) = rest.split_at(rest.len() - usize::from(number));
            for key in of_this_length {
                self.0[symbol_of(*key)].len = len;
            }
            rest = less;
        }
        assign(&mut self.0[..counts.len().min(N)], &numbers);
    }

    /// Returns all codes.
    #[inline]
    pub fn all(&self) -> &[Code; N] {
        &self.0
    }

    /// Returns how many bits the counted symbols take, without what follows lengths and distances.
    pub fn size<C: Copy + Into<u32>>(&self, counts: &[C]) -> usize {
        let size = |(code, count): (&Code, &C)| {
            let count: u32 = (*count).into();
            usize::from(code.len) * count as usize
        };
        self.0.iter().zip(counts).map(size).sum()
    }

    fn of_lengths(lengths: &[u8]) -> Self {
        let mut codes = Self::default();
        let mut numbers = [0; LONGEST + 1];
        for &len in lengths {
            numbers[usize::from(len)] += 1;
        }
        // All symbols take part in numbering the codes, and there may be some that are never used.
        let mut next = first_codes(&numbers);
        for (code, &len) in codes.0.iter_mut().zip(lengths) {
            *code = next_code(&mut next, len);
        }
        codes
    }
}

impl LiteralCodes {
    /// Returns the fixed codes.
    pub fn fixed() -> Self {
        Self::of_lengths(&fixed_literal_lengths())
    }
}

impl DistanceCodes {
    /// Returns the fixed codes.
    pub fn fixed() -> Self {
        Self::of_lengths(&[5; DISTANCES])
    }

    /// Returns the codes of a block that has no distances: it says one all the same.
    pub fn of_none() -> Self {
        let mut codes = Self::default();
        codes.generate(&[1u32]);
        codes
    }
}

fn symbol_of(key: u64) -> usize {
    (key & 0xffff) as usize
}

fn weight_of(key: u64) -> u32 {
    (key >> 32) as u32
}

/// How many codes there are of each length.
type Numbers = [u16; LONGEST + 1];

/// One level of the package-merge: which nodes it takes next.
#[derive(Clone, Copy)]
struct Level {
    /// The weight of the node taken last.
    last: u32,
    /// The weight of the next symbol.
    leaf: u32,
    /// The weight of the next two nodes of the level below.
    pair: u32,
    /// How many nodes are still to be taken.
    needed: usize,
}

/// Returns how many symbols have codes of each length. There are three symbols at least, the rarest first.
fn how_many_of_each_length(sorted: &[u64], longest: usize) -> Numbers {
    let weight = |at: usize| sorted.get(at).map_or(NONE, |key| weight_of(*key));
    let top = longest.min(sorted.len() - 1);
    let mut levels = [Level {
        last: weight(1),
        leaf: weight(2),
        pair: weight(0) + weight(1),
        needed: 0,
    }; LONGEST + 2];
    levels[1].pair = NONE;
    levels[top].needed = 2 * sorted.len() - 4;
    // Of each level's last node: how many leaves lie left of it, on its level and on those below.
    let mut leaves = [[0u16; LONGEST + 1]; LONGEST + 1];
    for (at, leaves) in leaves.iter_mut().enumerate().skip(1) {
        leaves[at] = 2;
    }

    let mut at = top;
    loop {
        let Level {
            last, leaf, pair, ..
        } = levels[at];
        if leaf == NONE && pair == NONE {
            levels[at].needed = 0;
            levels[at + 1].pair = NONE;
            at += 1;
            continue;
        }
        let own = leaves[at][at];
        if leaf < pair {
            leaves[at][at] = own + 1;
            levels[at].last = leaf;
            levels[at].leaf = weight(usize::from(own) + 1);
        } else {
            leaves[at] = leaves[at - 1];
            leaves[at][at] = own;
            levels[at].last = pair;
            levels[at - 1].needed = 2;
        }
        levels[at].needed -= 1;
        if levels[at].needed > 0 {
            // What was taken from below is made up for first.
            while levels[at - 1].needed > 0 {
                at -= 1;
            }
            continue;
        }
        if at == top {
            break;
        }
        levels[at + 1].pair = last + levels[at].last;
        at += 1;
    }

    let mut numbers = [0; LONGEST + 1];
    for (len, number) in numbers.iter_mut().enumerate().skip(1).take(top) {
        *number = leaves[top][top + 1 - len] - leaves[top][top - len];
    }
    numbers
}

fn assign(codes: &mut [Code], numbers: &Numbers) {
    let mut next = first_codes(numbers);
    for code in codes {
        *code = next_code(&mut next, code.len);
    }
}

/// Returns the first code of each length (RFC 1951, 3.2.2).
fn first_codes(numbers: &Numbers) -> [u16; LONGEST + 1] {
    let mut first = [0u16; LONGEST + 1];
    for len in 2..=LONGEST {
        // Beyond the longest code this overflows, and nobody asks for it.
        first[len] = first[len - 1].wrapping_add(numbers[len - 1]) << 1;
    }
    first
}

fn next_code(next: &mut [u16; LONGEST + 1], len: u8) -> Code {
    if len == 0 {
        return Code::default();
    }
    let code = next[usize::from(len)];
    next[usize::from(len)] = code.wrapping_add(1);
    Code {
        bits: code.reverse_bits() >> (16 - len),
        len,
    }
}

/// How a block says the lengths of its codes: run lengths, and a code for those (RFC 1951, 3.2.7).
#[derive(Clone, Debug)]
pub struct CodeLengths {
    /// Symbols, and the bits that follow those for runs.
    runs: Vec<(u8, u16)>,
    counts: [u32; CODE_ORDER.len()],
    codes: Codes<{ CODE_ORDER.len() }>,
    literals: usize,
    distances: usize,
}

impl Default for CodeLengths {
    fn default() -> Self {
        Self {
            runs: Vec::with_capacity(LITERALS + DISTANCES),
            counts: [0; CODE_ORDER.len()],
            codes: Codes::default(),
            literals: 0,
            distances: 0,
        }
    }
}

impl CodeLengths {
    /// Takes the codes of a block: at least 257 literals and one distance.
    pub fn generate(&mut self, literals: &[Code], distances: &[Code]) {
        self.literals = literals.len();
        self.distances = distances.len();
        self.runs.clear();
        self.counts = [0; CODE_ORDER.len()];
        let mut lengths = literals.iter().chain(distances).map(|code| code.len);
        let Some(mut of) = lengths.next() else {
            return;
        };
        let mut count = 1;
        for len in lengths {
            if len == of {
                count += 1;
            } else {
                self.run(of, count);
                (of, count) = (len, 1);
            }
        }
        self.run(of, count);
        self.codes.generate_within(&self.counts, LONGEST_OF_LENGTHS);
    }

    fn run(&mut self, of: u8, mut count: u16) {
        if of == 0 {
            while count >= 11 {
                let taken = count.min(138);
                self.push(18, taken - 11);
                count -= taken;
            }
            if count >= 3 {
                self.push(17, count - 3);
                count = 0;
            }
        } else {
            self.push(of, 0);
            count -= 1;
            while count >= 3 {
                let taken = count.min(6);
                self.push(16, taken - 3);
                count -= taken;
            }
        }
        for _ in 0..count {
            self.push(of, 0);
        }
    }

    fn push(&mut self, symbol: u8, extra: u16) {
        self.runs.push((symbol, extra));
        self.counts[usize::from(symbol)] += 1;
    }

    /// Returns how many lengths of code length codes are said.
    fn said(&self) -> usize {
        let is_used = |symbol: &usize| self.counts[*symbol] != 0;
        let last = CODE_ORDER.iter().rposition(is_used);
        last.map_or(0, |last| last + 1).max(4)
    }

    /// Returns how many bits the block's header has, from its first one on.
    pub fn size(&self) -> usize {
        let runs = self.runs.iter().map(|(symbol, _)| extra_bits(*symbol));
        let extra: u32 = runs.sum();
        3 + 5 + 5 + 4 + 3 * self.said() + self.codes.size(&self.counts) + extra as usize
    }

    /// Writes the header of a block with these codes.
    pub fn write(&self, place: Place, bits: &mut Bits, to: &mut Vec<u8>) {
        let first = u32::from(place == Place::Last) | 2 << 1;
        bits.put(first, 3, to);
        bits.put(narrow(self.literals - 257), 5, to);
        bits.put(narrow(self.distances - 1), 5, to);
        let said = self.said();
        bits.put(narrow(said - 4), 4, to);
        for symbol in &CODE_ORDER[..said] {
            bits.put(self.codes.0[*symbol].len.into(), 3, to);
        }
        for (symbol, extra) in &self.runs {
            self.codes.0[usize::from(*symbol)].put(bits, to);
            bits.put((*extra).into(), extra_bits(*symbol), to);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it counts symbols, of which there are some hundreds"
)]
fn narrow(count: usize) -> u32 {
    count as u32
}

/// Returns how many bits follow a code length symbol.
fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths<const N: usize>(codes: &Codes<N>) -> Vec<u8> {
        codes.0.iter().map(|code| code.len).collect()
    }

    #[test]
    fn no_code_is_longer_than_the_limit() {
        // Weights that grow as Fibonacci's make the longest codes.
        let mut counts = [1u32; 19];
        for at in 2..19 {
            counts[at] = counts[at - 1] + counts[at - 2];
        }
        let mut codes = Codes::<19>::default();
        codes.generate(&counts);
        assert_eq!(lengths(&codes).into_iter().max(), Some(15));
        codes.generate_within(&counts, 7);
        assert_eq!(lengths(&codes).into_iter().max(), Some(7));
        let kraft: u32 = lengths(&codes).iter().map(|len| 1 << (7 - len)).sum();
        assert_eq!(kraft, 1 << 7);
    }

    #[test]
    fn later_symbols_of_a_count_have_shorter_codes() {
        let mut codes = Codes::<5>::default();
        codes.generate(&[3u16, 3, 0, 3, 0]);
        assert_eq!(lengths(&codes), [2, 2, 0, 1, 0]);
        assert_eq!(codes.0.map(|code| code.bits), [1, 3, 0, 0, 0]);
        assert_eq!(codes.size(&[3u16, 3, 0, 3, 0]), 15);
    }

    #[test]
    fn one_or_two_symbols_have_one_bit_each() {
        let mut codes = DistanceCodes::default();
        codes.generate(&[0u32, 9, 0, 1]);
        assert_eq!(lengths(&codes)[..4], [0, 1, 0, 1]);
        assert_eq!(codes.0[1].bits, 0);
        assert_eq!(codes.0[3].bits, 1);
        assert_eq!(lengths(&DistanceCodes::of_none())[..2], [1, 0]);
    }

    #[test]
    fn the_fixed_codes_are_those_of_the_rfc() {
        let codes = LiteralCodes::fixed();
        let reversed = |symbol: usize| {
            let Code { bits, len } = codes.0[symbol];
            (bits.reverse_bits() >> (16 - len), len)
        };
        assert_eq!(reversed(0), (0b0011_0000, 8));
        assert_eq!(reversed(143), (0b1011_1111, 8));
        assert_eq!(reversed(144), (0b1_1001_0000, 9));
        assert_eq!(reversed(256), (0, 7));
        assert_eq!(reversed(280), (0b1100_0000, 8));
        assert_eq!(DistanceCodes::fixed().0[1].bits, 0b10000);
    }

    #[test]
    fn a_header_is_as_long_as_it_says() {
        let mut literals = LiteralCodes::default();
        let mut counts = [0u32; LITERALS];
        for (at, count) in counts.iter_mut().enumerate() {
            *count = u32::from(at % 7 == 0 || at > 200) * (1 + narrow(at) % 40);
        }
        counts[256] = 1;
        literals.generate(&counts);
        let mut header = CodeLengths::default();
        header.generate(literals.all(), &DistanceCodes::of_none().all()[..1]);
        let (mut bits, mut to) = (Bits::default(), Vec::new());
        header.write(Place::Inner, &mut bits, &mut to);
        let odd = bits.odd();
        bits.align(&mut to);
        assert_eq!(header.size(), to.len() * 8 - ((8 - odd) % 8) as usize);
    }
}
