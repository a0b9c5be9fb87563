//! Owns level 3: one table of five bytes with two positions each; the next match is looked for right behind the last one.

use super::fast::{Block, Finder, Match, Pair, REACH, Table, hash5, low};
use super::tokens::Tokens;

const BITS: u32 = 16;
const SIZE: usize = 1 << BITS;

/// How far back matches reach: so that four bytes more are within.
const NEAR: u32 = REACH - 4;

/// Level 3's table.
#[derive(Default)]
pub(super) struct Level3 {
    table: Table<Pair, SIZE>,
}

impl Level3 {
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
            let next = at + 1 + ((at - from) >> 7);
            if next > limit {
                return None;
            }
            let entry = block.entry(at);
            let Pair { last, other } = self.enter(word, entry);
            let (back, other) = (entry - last, entry - other);
            let is_four = |back: u32| block.load_half(at - back as usize) == low(word);
            if back <= NEAR {
                if is_four(back) {
                    let mut found = block.match_at(at, back);
                    if other <= NEAR && is_four(other) {
                        let second = block.match_at(at, other);
                        found = if second.len > found.len {
                            second
                        } else {
                            found
                        };
                    }
                    return Some((found, next));
                }
                if other < NEAR && is_four(other) {
                    return Some((block.match_at(at, other), next));
                }
            }
            (at, word) = (next, block.load(next));
        }
    }

    /// Enters a position. Returns the last two of the same hash.
    #[inline]
    fn enter(&mut self, word: u64, entry: u32) -> Pair {
        let slot = &mut self.table[hash5::<BITS>(word)];
        let before = *slot;
        slot.push(entry);
        before
    }

    /// Enters positions of a match that ends at `at`. Returns the match that begins there, if there is one.
    #[inline]
    fn after(&mut self, block: &Block<'_>, at: usize, len: usize) -> Option<Match> {
        let mut next = at + 2 - len;
        while next + 5 < at {
            self.enter(block.load(next), block.entry(next));
            next += 6;
        }
        let (word, entry) = (block.load(at - 2), block.entry(at));
        self.enter(word, entry - 2);
        self.enter(word >> 8, entry - 1);
        let Pair { last, other } = self.enter(word >> 16, entry);
        let (back, other) = (entry - last, entry - other);
        let is_four = |back: u32| block.load_half(at - back as usize) == low(word >> 16);
        if back >= NEAR {
            return None;
        }
        let back = match is_four(back) {
            true => back,
            false if other < NEAR && is_four(other) => other,
            false => return None,
        };
        Some(block.match_at(at, back))
    }
}

impl Finder for Level3 {
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
                    let first_end = from - found.back as usize;
                    if first_end + 8 < block.bytes.len() {
                        self.enter(block.load(first_end), block.entry(first_end));
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
