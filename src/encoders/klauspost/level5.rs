//! Owns level 5, the default: a table of four bytes and one of seven with two positions each, and a look at what the end
//! of a match would match.

use super::Generation;
use super::fast::{Block, Finder, Match, Pair, REACH, Table, hash4, hash7, two};
use super::tokens::Tokens;

const BITS: u32 = 15;
const SIZE: usize = 1 << BITS;

/// From this length on, no better match is looked for.
const LONG: usize = 30;

/// Level 5's tables.
pub(super) struct Level5 {
    short: Table<u32, SIZE>,
    long: Table<Pair, SIZE>,
    /// How many bytes at a match's beginning may differ from a better one's.
    skipped: usize,
}

impl Level5 {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            short: Table::default(),
            long: Table::default(),
            skipped: generation.skipped(),
        }
    }

    /// Looks for a match from `at` on, of which the literals from `from` on are not yet told. Returns it and the position
    /// after it that was entered last.
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
            let slot = &mut self.long[hash7::<BITS>(word)];
            let long = *slot;
            slot.push(entry);
            let ahead = block.load(next);

            if let Some(found) = two(block, at, word, long) {
                self.enter(ahead, block.entry(next));
                return Some((found, next));
            }
            let back = entry - short;
            if block.has_four(at, word, back) {
                let found = Match {
                    at,
                    back,
                    len: block.length(at, back),
                };
                let long = self.long[hash7::<BITS>(ahead)];
                self.enter(ahead, block.entry(next));
                return Some((longer_at(block, next, ahead, long, found), next));
            }
            (at, word) = (next, ahead);
        }
    }

    #[inline]
    fn enter(&mut self, word: u64, entry: u32) {
        self.short[hash4::<BITS>(word)] = entry;
        self.long[hash7::<BITS>(word)].push(entry);
    }

    /// Looks for a longer match by what follows the one found.
    #[inline]
    fn by_its_end(&self, block: &Block<'_>, found: Match, limit: usize) -> Match {
        let end = found.at + found.len;
        if found.len >= LONG || end >= limit {
            return found;
        }
        let entry = self.long[hash7::<BITS>(block.load(end))].last;
        let at = found.at + self.skipped;
        let back = block.entry(end).wrapping_sub(entry);
        // What was entered may lie behind the end.
        if back == 0 || back >= REACH || back as usize > at {
            return found;
        }
        match block.whole_length(at, back, 0) {
            len if len > found.len => Match { at, back, len },
            _ => found,
        }
    }

    /// Enters every third position of a match that ends at `at`.
    #[inline]
    fn index(&mut self, block: &Block<'_>, at: usize, len: usize) {
        let mut next = at + 1 - len;
        if next + 1 < at {
            let (word, entry) = (block.load(next), block.entry(next));
            self.short[hash4::<BITS>(word)] = entry;
            self.long[hash7::<BITS>(word)].push(entry);
            self.long[hash7::<BITS>(word >> 8)].push(entry + 1);
            self.short[hash4::<BITS>(word >> 16)] = entry + 2;
            next += 4;
            while next + 1 < at {
                let (word, entry) = (block.load(next), block.entry(next));
                self.long[hash7::<BITS>(word)].push(entry);
                self.short[hash4::<BITS>(word >> 8)] = entry + 1;
                next += 3;
            }
        }
        self.enter(block.load(at - 1), block.entry(at - 1));
    }
}

/// Returns the first of a pair's matches at `at` that is longer than the one found, or that.
#[inline]
fn longer_at(block: &Block<'_>, at: usize, word: u64, pair: Pair, found: Match) -> Match {
    let entry = block.entry(at);
    if entry - pair.last >= REACH {
        return found;
    }
    for back in [entry - pair.last, entry - pair.other] {
        if block.has_four(at, word, back) {
            let len = block.length(at, back);
            if len > found.len {
                return Match { at, back, len };
            }
        }
    }
    found
}

impl Finder for Level5 {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens) {
        let Some(limit) = block.limit() else {
            return;
        };
        let (mut at, mut from) = (block.start, block.start);
        while let Some((found, next)) = self.search(&block, at, from, limit) {
            let found = self.by_its_end(&block, block.whole(found), limit);
            let len;
            (from, len) = block.tell(found, from, to);
            at = from.max(next + 1);
            if at >= limit {
                break;
            }
            self.index(&block, at, len);
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
