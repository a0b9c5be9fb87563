//! Owns levels 1 and 2: one table, of five bytes; the next match is looked for right behind the last one. Level 2's table
//! is larger, and has more of a match's positions.

use super::fast::{Block, Finder, Match, REACH, Table, hash4, hash4_by, hash5, low};
use super::tokens::Tokens;

/// Level 1's bits of a hash.
const FEW: u32 = 15;

/// Level 2's bits of a hash.
const MANY: u32 = 17;

/// The factor of level 1's hashes of four bytes.
const OLD_FACTOR: u32 = 0x1e35_a7bd;

/// Level 1's table.
pub(super) type Level1 = Quick<5, FEW, { 1 << FEW }>;

/// Level 2's table.
pub(super) type Level2 = Quick<5, MANY, { 1 << MANY }>;

/// Level 1's table up to 1.15.10.
pub(super) type OldLevel1 = Quick<4, FEW, { 1 << FEW }>;

/// Level 2's table up to 1.15.10.
pub(super) type OldLevel2 = Quick<4, MANY, { 1 << MANY }>;

/// A table by hashes of so many bytes, in so many bits.
#[derive(Default)]
pub(super) struct Quick<const BYTES: u32, const BITS: u32, const SIZE: usize> {
    table: Table<u32, SIZE>,
}

impl<const BYTES: u32, const BITS: u32, const SIZE: usize> Quick<BYTES, BITS, SIZE> {
    /// How many bytes have to follow the end of a match for it to be entered.
    const LOADED: usize = if BYTES == 5 { 8 } else { 4 };

    #[inline]
    fn hash(word: u64) -> usize {
        match (BYTES, BITS) {
            (5, _) => hash5::<BITS>(word),
            (_, FEW) => hash4_by::<BITS>(word, OLD_FACTOR),
            _ => hash4::<BITS>(word),
        }
    }

    /// Looks for a match from `at` on, of which the literals from `from` on are not yet told. Returns it and the position
    /// after it that was looked at last.
    #[inline]
    fn search(
        &mut self,
        block: &Block<'_>,
        mut at: usize,
        from: usize,
        limit: usize,
    ) -> Option<(Match, usize)> {
        let mut word = block.load(at);
        loop {
            let mut next = at + 2 + ((at - from) >> 5);
            if next > limit {
                return None;
            }
            let ahead = block.load(next);
            let back = self.replace(word, block.entry(at));
            if block.has_four(at, word, back) {
                self.table[Self::hash(ahead)] = block.entry(next);
                return Some((block.match_at(at, back), next));
            }
            (at, word) = (next, ahead);
            next += 1;
            let back = self.replace(word, block.entry(at));
            if block.has_four(at, word, back) {
                if BITS == FEW {
                    self.table[Self::hash(word)] = block.entry(next);
                }
                return Some((block.match_at(at, back), next));
            }
            (at, word) = (next, word >> 8);
        }
    }

    /// Enters a position. Returns how far back the last one of the same hash is.
    #[inline]
    fn replace(&mut self, word: u64, entry: u32) -> u32 {
        entry - std::mem::replace(&mut self.table[Self::hash(word)], entry)
    }

    /// Enters positions of a match that ends at `at`. Returns the match that begins there, if there is one.
    #[inline]
    fn after(&mut self, block: &Block<'_>, at: usize, len: usize) -> Option<Match> {
        if BITS == MANY {
            let mut next = at + 2 - len;
            while next + 5 < at {
                let (word, entry) = (block.load(next), block.entry(next));
                for skipped in [0, 2, 4] {
                    self.table[Self::hash(word >> (8 * skipped))] = entry + skipped;
                }
                next += 7;
            }
        }
        let (word, entry) = (block.load(at - 2), block.entry(at));
        self.table[Self::hash(word)] = entry - 2;
        if BITS == MANY {
            self.table[Self::hash(word >> 8)] = entry - 1;
        }
        let back = self.replace(word >> 16, entry);
        let is_match = back <= REACH && block.load_half(at - back as usize) == low(word >> 16);
        is_match.then(|| block.match_at(at, back))
    }
}

impl<const BYTES: u32, const BITS: u32, const SIZE: usize> Finder for Quick<BYTES, BITS, SIZE> {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens) {
        let Some(limit) = block.limit() else {
            return;
        };
        let (mut at, mut from) = (block.start, block.start);
        'block: while let Some((mut found, next)) = self.search(&block, at, from, limit) {
            loop {
                let len;
                (from, len) = block.tell(found, from, to);
                at = from.max(next + 1);
                if at >= limit {
                    if at + len + Self::LOADED < block.bytes.len() {
                        self.table[Self::hash(block.load(at))] = block.entry(at);
                    }
                    break 'block;
                }
                match self.after(&block, at, len) {
                    Some(another) => found = another,
                    None => break,
                }
            }
            at += 1;
        }
        block.rest(from, to);
    }

    fn reset(&mut self) {
        self.table.reset();
    }

    fn lower(&mut self, by: u32) {
        self.table.lower(by);
    }
}
