//! Owns level 4: a table of four bytes and one of seven.

use super::Generation;
use super::fast::{Block, Finder, Match, Table, common, hash4, hash7};
use super::tokens::Tokens;

const BITS: u32 = 15;
const SIZE: usize = 1 << BITS;

/// Level 4's tables.
pub(super) struct Level4 {
    short: Table<u32, SIZE>,
    long: Table<u32, SIZE>,
    generation: Generation,
}

impl Level4 {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            short: Table::default(),
            long: Table::default(),
            generation,
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
            let next = at + 1 + ((at - from) >> 6);
            if next > limit {
                return None;
            }
            let entry = block.entry(at);
            let short = std::mem::replace(&mut self.short[hash4::<BITS>(word)], entry);
            let long = std::mem::replace(&mut self.long[hash7::<BITS>(word)], entry);
            let ahead = block.load(next);
            let back = entry - long;
            if block.has_four(at, word, back) {
                return Some((block.match_at(at, back), next));
            }
            let back = entry - short;
            if block.has_four(at, word, back) {
                let found = block.match_at(at, back);
                let back = block.entry(next) - self.long[hash7::<BITS>(ahead)];
                if block.has_four(next, ahead, back)
                    && self.looked_length(block, next, back) > found.len
                {
                    return Some((block.match_at(next, back), next));
                }
                return Some((found, next));
            }
            (at, word) = (next, ahead);
        }
    }

    /// Returns the length by which a match at the next position is preferred.
    #[inline]
    fn looked_length(&self, block: &Block<'_>, at: usize, back: u32) -> usize {
        if !self.generation.takes_distances_for_positions() {
            return block.whole_length(at, back, 4);
        }
        // It looks that far behind the first byte that it still has: what is kept of the past has to be the same too.
        let here = &block.bytes[at + 4..];
        let there = &block.bytes[back as usize + 4..];
        4 + common(here, &there[..here.len()])
    }

    #[inline]
    fn enter(&mut self, word: u64, entry: u32) {
        self.short[hash4::<BITS>(word)] = entry;
        self.long[hash7::<BITS>(word)] = entry;
    }

    /// Enters two of three positions from `next` to the match's end.
    #[inline]
    fn index(&mut self, block: &Block<'_>, mut next: usize, end: usize) {
        while next + 1 < end {
            let (word, entry) = (block.load(next), block.entry(next));
            self.long[hash7::<BITS>(word)] = entry;
            self.long[hash7::<BITS>(word >> 8)] = entry + 1;
            self.short[hash4::<BITS>(word >> 8)] = entry + 1;
            next += 3;
        }
        self.enter(block.load(end - 1), block.entry(end - 1));
    }
}

impl Finder for Level4 {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens) {
        let Some(limit) = block.limit() else {
            return;
        };
        let (mut at, mut from) = (block.start, block.start);
        while let Some((found, next)) = self.search(&block, at, from, limit) {
            (from, _) = block.tell(found, from, to);
            at = from.max(next + 1);
            if at >= limit {
                if at + 8 < block.bytes.len() {
                    self.enter(block.load(at), block.entry(at));
                }
                break;
            }
            self.index(&block, next, at);
        }
        block.rest(from, to);
    }

    fn reset(&mut self) {
        self.short.reset();
        self.long.reset();
    }

    fn lower(&mut self, by: u32) {
        self.short.lower(by);
        self.long.lower(by);
    }
}
