//! Owns what the finders of levels 1 to 6 share: the block they look at, their tables, and where matches end.
//!
//! A table's entry is a position plus a base, so that zero, and all of before a reset, is out of reach.

use std::ops::{Deref, DerefMut};

use super::tokens::Tokens;

/// Matches reach less far back than this, but for some of levels 1 and 2 that reach exactly so far.
pub(super) const REACH: u32 = 1 << 15;

/// The base of the first position.
pub(super) const FIRST_BASE: u32 = 65535;

/// A block's last bytes are never where a match begins: eight are loaded at once.
const MARGIN: usize = 11;

/// A block, behind all that its matches may refer to.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// What came before, and the block.
    pub(super) bytes: &'a [u8],
    /// Where the block begins in `bytes`.
    pub(super) start: usize,
    /// What an entry of a table is above its position in `bytes`.
    pub(super) base: u32,
}

impl Block<'_> {
    /// Returns where no match begins any more, unless the block is too short for any.
    pub(super) fn limit(&self) -> Option<usize> {
        self.limit_within(MARGIN)
    }

    /// Returns where no match begins any more, in a block whose last bytes are `margin`.
    pub(super) fn limit_within(&self, margin: usize) -> Option<usize> {
        let is_long = self.bytes.len() - self.start > margin + 1;
        is_long.then(|| self.bytes.len() - margin)
    }

    #[inline]
    pub(super) fn load(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }

    #[inline]
    pub(super) fn load_half(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(word)
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "some blocks' worth of bytes"
    )]
    pub(super) fn entry(&self, at: usize) -> u32 {
        at as u32 + self.base
    }

    /// Returns whether four bytes are the same `back` before `at`, where that is in reach.
    #[inline]
    pub(super) fn has_four(&self, at: usize, word: u64, back: u32) -> bool {
        back < REACH && self.load_half(at - back as usize) == low(word)
    }

    /// Returns how many bytes are the same from `at` on and `back` before it, up to `end`.
    #[inline]
    pub(super) fn same(&self, at: usize, back: usize, end: usize) -> usize {
        let here = &self.bytes[at..end];
        let there = &self.bytes[at - back..end - back];
        common(here, there)
    }

    /// Returns the length of a match whose first four bytes are known, up to deflate's longest.
    #[inline]
    pub(super) fn length(&self, at: usize, back: u32) -> usize {
        let end = self.bytes.len().min(at + 258);
        4 + self.same(at + 4, back as usize, end)
    }

    /// Returns the length of a match whose first bytes are known, up to the end of the block.
    #[inline]
    pub(super) fn whole_length(&self, at: usize, back: u32, known: usize) -> usize {
        known + self.same(at + known, back as usize, self.bytes.len())
    }

    /// Returns the match whose first four bytes are known.
    #[inline]
    pub(super) fn match_at(&self, at: usize, back: u32) -> Match {
        let len = self.whole_length(at, back, 4);
        Match { at, back, len }
    }

    /// Returns a match as long as it is: what was found may be of four bytes, or of deflate's longest.
    #[inline]
    pub(super) fn whole(&self, found: Match) -> Match {
        let Match { at, back, len } = found;
        let len = match len {
            0 => self.whole_length(at, back, 4),
            258 => self.whole_length(at, back, 258),
            len => len,
        };
        Match { at, back, len }
    }

    /// Adds a match, longer by the same bytes before it, after the literals from `from` on. Returns its end and its length.
    #[inline]
    pub(super) fn tell(&self, found: Match, from: usize, to: &mut Tokens) -> (usize, usize) {
        let Match { at, back, len } = found;
        let before = self.same_before(at, back, from);
        to.literals(&self.bytes[from..at - before]);
        to.matched(len + before, back as usize);
        (at + len, len + before)
    }

    /// Returns how many bytes before a match are the same too, at most down to `from`.
    #[inline]
    fn same_before(&self, at: usize, back: u32, from: usize) -> usize {
        let most = (at - from).min(at - back as usize);
        let here = &self.bytes[at - most..at];
        let there = &self.bytes[at - most - back as usize..at - back as usize];
        let pairs = here.iter().rev().zip(there.iter().rev());
        pairs.take_while(|(one, two)| one == two).count()
    }

    /// Adds the bytes from `from` to the end as literals. Where nothing was found, nothing is added.
    pub(super) fn rest(&self, from: usize, to: &mut Tokens) {
        if !to.is_empty() {
            to.literals(&self.bytes[from..]);
        }
    }
}

/// Returns how many bytes are the same. There are as many of the second as of the first.
#[inline]
pub(super) fn common(one: &[u8], two: &[u8]) -> usize {
    let (words, rest) = one.as_chunks::<8>();
    let (others, other) = two.as_chunks::<8>();
    let mut len = 0;
    for (word, other) in words.iter().zip(others) {
        let different = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return len + (different.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let pairs = rest.iter().zip(other);
    len + pairs.take_while(|(one, two)| one == two).count()
}

/// What was found.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) at: usize,
    pub(super) back: u32,
    /// How many bytes are known to match; zero where only the first four were looked at.
    pub(super) len: usize,
}

/// Returns the longer of the two matches of a pair, if there is one.
#[inline]
pub(super) fn two(block: &Block<'_>, at: usize, word: u64, pair: Pair) -> Option<Match> {
    let entry = block.entry(at);
    let back = entry - pair.last;
    if back >= REACH {
        return None;
    }
    let other = entry - pair.other;
    if block.has_four(at, word, back) {
        let mut found = Match { at, back, len: 0 };
        if block.has_four(at, word, other) {
            found.len = block.length(at, back);
            let len = block.length(at, other);
            if len > found.len {
                (found.back, found.len) = (other, len);
            }
        }
        return Some(found);
    }
    block.has_four(at, word, other).then_some(Match {
        at,
        back: other,
        len: 0,
    })
}

/// Finds the matches of a block.
pub(super) trait Finder: Send {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens);

    /// Forgets all positions.
    fn reset(&mut self);

    /// Makes all entries less by `by`: those that get below zero are far out of reach.
    fn lower(&mut self, by: u32);
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
pub(super) fn low(word: u64) -> u32 {
    word as u32
}

/// Returns the hash of the first four bytes.
#[inline]
pub(super) fn hash4<const BITS: u32>(word: u64) -> usize {
    hash4_by::<BITS>(word, 2_654_435_761)
}

/// Returns a hash of the first four bytes.
#[inline]
pub(super) fn hash4_by<const BITS: u32>(word: u64, factor: u32) -> usize {
    (low(word).wrapping_mul(factor) >> (32 - BITS)) as usize
}

/// Returns the hash of the first five bytes.
#[inline]
pub(super) fn hash5<const BITS: u32>(word: u64) -> usize {
    hash(word << 24, 889_523_592_379, BITS)
}

/// Returns the hash of the first seven bytes.
#[inline]
pub(super) fn hash7<const BITS: u32>(word: u64) -> usize {
    hash(word << 8, 58_295_818_150_454_627, BITS)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "some bits are left")]
fn hash(word: u64, factor: u64, bits: u32) -> usize {
    (word.wrapping_mul(factor) >> (64 - bits)) as usize
}

/// Entries by hash.
pub(super) struct Table<T, const SIZE: usize>(Box<[T; SIZE]>);

impl<T: Copy + Default, const SIZE: usize> Default for Table<T, SIZE> {
    fn default() -> Self {
        Self(Box::new([T::default(); SIZE]))
    }
}

impl<T: Copy + Default + Lower, const SIZE: usize> Table<T, SIZE> {
    pub(super) fn reset(&mut self) {
        self.0.fill(T::default());
    }

    pub(super) fn lower(&mut self, by: u32) {
        self.0.iter_mut().for_each(|entry| entry.lower(by));
    }
}

impl<T, const SIZE: usize> Deref for Table<T, SIZE> {
    type Target = [T; SIZE];

    #[inline]
    fn deref(&self) -> &[T; SIZE] {
        &self.0
    }
}

impl<T, const SIZE: usize> DerefMut for Table<T, SIZE> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T; SIZE] {
        &mut self.0
    }
}

/// The last two positions of a hash.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) last: u32,
    pub(super) other: u32,
}

impl Pair {
    #[inline]
    pub(super) fn push(&mut self, entry: u32) {
        self.other = self.last;
        self.last = entry;
    }
}

/// Entries that can be made less.
pub(super) trait Lower {
    fn lower(&mut self, by: u32);
}

impl Lower for u32 {
    fn lower(&mut self, by: u32) {
        *self = self.saturating_sub(by);
    }
}

impl Lower for Pair {
    fn lower(&mut self, by: u32) {
        self.last.lower(by);
        self.other.lower(by);
    }
}
