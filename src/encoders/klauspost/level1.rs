//! Owns levels 1 and 2: one table, of five bytes; the next match is looked for right behind the last one. Level 2's table
//! is larger, and has more of a match's positions.

use super::fast::{Block, Finder, Match, REACH, Table, hash5, low};
use super::tokens::Tokens;

/// Level 1's bits of a hash.
const FEW: u32 = 15;

/// Level 2's bits of a hash.
const MANY: u32 = 17;

/// Level 1's table.
pub(super) type Level1 = Quick<FEW, { 1 << FEW }>;

/// Level 2's table.
pub(super) type Level2 = Quick<MANY, { 1 << MANY }>;

/// A table of hashes of so many bits.
#[derive(Default)]
pub(super) struct Quick<const BITS: u32, const SIZE: usize> {
    table: Table<u32, SIZE>,
}

impl<const BITS: u32, const SIZE: usize> Quick<BITS, SIZE> {
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
                self.table[hash5::<BITS>(ahead)] = block.entry(next);
                return Some((block.match_at(at, back), next));
            }
            (at, word) = (next, ahead);
            next += 1;
            let back = self.replace(word, block.entry(at));
            if block.has_four(at, word, back) {
                if BITS == FEW {
                    self.table[hash5::<BITS>(word)] = block.entry(next);
                }
                return Some((block.match_at(at, back), next));
            }
            (at, word) = (next, word >> 8);
        }
    }

    /// Enters a position. Returns how far back the last one of the same hash is.
    #[inline]
    fn replace(&mut self, word: u64, entry: u32) -> u32 {
        entry - std::mem::replace(&mut self.table[hash5::<BITS>(word)], entry)
    }

    /// Enters positions of a match that ends at `at`. Returns the match that begins there, if there is one.
    #[inline]
    fn after(&mut self, block: &Block<'_>, at: usize, len: usize) -> Option<Match> {
        if BITS == MANY {
            let mut next = at + 2 - len;
            while next + 5 < at {
                let (word, entry) = (block.load(next), block.entry(next));
                for skipped in [0, 2, 4] {
                    self.table[hash5::<BITS>(word >> (8 * skipped))] = entry + skipped;
                }
                next += 7;
            }
        }
        let (word, entry) = (block.load(at - 2), block.entry(at));
        self.table[hash5::<BITS>(word)] = entry - 2;
        if BITS == MANY {
            self.table[hash5::<BITS>(word >> 8)] = entry - 1;
        }
        let back = self.replace(word >> 16, entry);
        let is_match = back <= REACH && block.load_half(at - back as usize) == low(word >> 16);
        is_match.then(|| block.match_at(at, back))
    }
}

impl<const BITS: u32, const SIZE: usize> Finder for Quick<BITS, SIZE> {
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
                    if at + len + 8 < block.bytes.len() {
                        self.table[hash5::<BITS>(block.load(at))] = block.entry(at);
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
