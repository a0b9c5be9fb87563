//! Owns level 6: level 5's tables, looked at longer, and the distance of the last match.

use super::Generation;
use super::fast::{Block, Finder, Match, Pair, REACH, Table, hash4, hash7, low, two};
use super::tokens::Tokens;

const BITS: u32 = 15;
const SIZE: usize = 1 << BITS;

/// Level 6's tables.
pub(super) struct Level6 {
    short: Table<u32, SIZE>,
    long: Table<Pair, SIZE>,
    /// How many bytes at a match's beginning may differ from a better one's.
    skipped: usize,
}

/// Where a search is.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    /// Where the literals begin that are not yet told.
    from: usize,
    /// The distance of the last match.
    last: usize,
}

impl Level6 {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            short: Table::default(),
            long: Table::default(),
            skipped: generation.skipped(),
        }
    }

    /// Looks for a match. Returns it and the position after it that was entered last.
    #[inline]
    fn search(&mut self, block: &Block<'_>, place: Place, limit: usize) -> Option<(Match, usize)> {
        let mut at = place.at;
        let mut word = block.load(at);
        loop {
            let next = at + 1 + ((at - place.from) >> 7);
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
                let found = by_last(block, place.last, word, found)
                    .unwrap_or_else(|| longest_at(block, next, ahead, long, found));
                return Some((found, next));
            }
            (at, word) = (next, ahead);
        }
    }

    #[inline]
    fn enter(&mut self, word: u64, entry: u32) {
        self.short[hash4::<BITS>(word)] = entry;
        self.long[hash7::<BITS>(word)].push(entry);
    }

    /// Looks for longer matches by what follows the one found.
    #[inline]
    fn by_its_end(&self, block: &Block<'_>, mut found: Match, limit: usize) -> Match {
        let (start, end) = (found.at, found.at + found.len);
        if end >= limit {
            return found;
        }
        let Pair { last, other } = self.long[hash7::<BITS>(block.load(end))];
        let at = start + self.skipped;
        for entry in [last, other] {
            // The second one is tried at the end of what the first one has found.
            let back = block.entry(start + found.len).wrapping_sub(entry);
            // What was entered may lie behind the end.
            if (REACH..1 << 31).contains(&back) {
                break;
            }
            if back == 0 || back >= REACH || back as usize > at {
                continue;
            }
            let len = block.whole_length(at, back, 0);
            if len > found.len {
                found = Match { at, back, len };
            }
        }
        found
    }

    /// Enters positions from `next` on: each for seven bytes, every second one for four.
    #[inline]
    fn index(&mut self, block: &Block<'_>, mut next: usize, end: usize) {
        while next + 1 < end {
            let (word, entry) = (block.load(next), block.entry(next));
            self.short[hash4::<BITS>(word)] = entry;
            self.long[hash7::<BITS>(word)].push(entry);
            self.long[hash7::<BITS>(word >> 8)].push(entry + 1);
            next += 2;
        }
    }

    /// Enters every second position up to the block's end.
    fn index_rest(&mut self, block: &Block<'_>, mut next: usize) {
        while next + 8 < block.bytes.len() {
            self.enter(block.load(next), block.entry(next));
            next += 2;
        }
    }
}

/// Returns the match at the distance of the last one, a byte later, if it is longer.
#[inline]
fn by_last(block: &Block<'_>, last: usize, word: u64, found: Match) -> Option<Match> {
    let at = found.at + 1;
    if block.load_half(at - last) != low(word >> 8) {
        return None;
    }
    let end = block.bytes.len().min(at + 258);
    let len = 4 + block.same(at + 4, last, end);
    #[expect(clippy::cast_possible_truncation, reason = "it is within reach")]
    let back = last as u32;
    (len > found.len).then_some(Match { at, back, len })
}

/// Returns the longest of a pair's matches at `at` and of the one found.
#[inline]
fn longest_at(block: &Block<'_>, at: usize, word: u64, pair: Pair, mut found: Match) -> Match {
    let entry = block.entry(at);
    if entry - pair.last >= REACH {
        return found;
    }
    for back in [entry - pair.last, entry - pair.other] {
        if block.has_four(at, word, back) {
            let len = block.length(at, back);
            if len > found.len {
                found = Match { at, back, len };
            }
        }
    }
    found
}

impl Finder for Level6 {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens) {
        let Some(limit) = block.limit() else {
            return;
        };
        let mut place = Place {
            at: block.start,
            from: block.start,
            last: 1,
        };
        while let Some((found, next)) = self.search(&block, place, limit) {
            let found = self.by_its_end(&block, block.whole(found), limit);
            (place.from, _) = block.tell(found, place.from, to);
            place.last = found.back as usize;
            place.at = place.from.max(next + 1);
            if place.at >= limit {
                self.index_rest(&block, next + 1);
                break;
            }
            self.index(&block, next + 1, place.at);
        }
        block.rest(place.from, to);
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
