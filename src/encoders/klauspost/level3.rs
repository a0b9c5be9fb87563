//! Owns level 3: one table of five bytes with two positions each; the next match is looked for right behind the last one.

use super::fast::{Block, Finder, Match, Pair, REACH, Table, hash4, hash5, low};
use super::tokens::Tokens;

const BITS: u32 = 16;
const SIZE: usize = 1 << BITS;

/// How far back matches reach: so that four bytes more are within.
const NEAR: u32 = REACH - 4;

/// Level 3 with hashes of five bytes.
pub(super) type Level3 = Paired<5>;

/// Level 3 with hashes of four bytes, up to 1.15.10.
pub(super) type OldLevel3 = Paired<4>;

/// Level 3's table, by hashes of so many bytes.
#[derive(Default)]
pub(super) struct Paired<const BYTES: u32> {
    table: Table<Pair, SIZE>,
}

impl<const BYTES: u32> Paired<BYTES> {
    /// How many bytes have to follow a position for it to be entered last.
    const LOADED: usize = if BYTES == 5 { 8 } else { 4 };

    /// How many of a block's last bytes are never where a match begins.
    const MARGIN: usize = if BYTES == 5 { 11 } else { 7 };

    /// Every so manyth position of a match is entered.
    const STEP: usize = if BYTES == 5 { 6 } else { 5 };

    /// How soon positions are skipped where nothing is found.
    const PATIENCE: u32 = if BYTES == 5 { 7 } else { 6 };

    #[inline]
    fn hash(word: u64) -> usize {
        match BYTES {
            5 => hash5::<BITS>(word),
            _ => hash4::<BITS>(word),
        }
    }

    #[inline]
    fn load(block: &Block<'_>, at: usize) -> u64 {
        match BYTES {
            5 => block.load(at),
            _ => block.load_half(at).into(),
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
        let mut word = Self::load(block, at);
        loop {
            let next = at + 1 + ((at - from) >> Self::PATIENCE);
            if next > limit {
                return None;
            }
            let entry = block.entry(at);
            let Pair { last, other } = self.enter(word, entry);
            let (back, other) = (entry - last, entry - other);
            let is_four = |back: u32| block.load_half(at - back as usize) == low(word);
            // The one before is looked at only if the last one is in reach.
            if back <= NEAR && is_four(back) {
                let found = block.match_at(at, back);
                let second = match other <= NEAR && is_four(other) {
                    true => block.match_at(at, other),
                    false => found,
                };
                let is_longer = second.len > found.len;
                return Some((if is_longer { second } else { found }, next));
            }
            if back <= NEAR && other < NEAR && is_four(other) {
                return Some((block.match_at(at, other), next));
            }
            (at, word) = (next, Self::load(block, next));
        }
    }

    /// Enters a position. Returns the last two of the same hash.
    #[inline]
    fn enter(&mut self, word: u64, entry: u32) -> Pair {
        let slot = &mut self.table[Self::hash(word)];
        let before = *slot;
        slot.push(entry);
        before
    }

    /// Enters positions of a match that ends at `at`. Returns the match that begins there, if there is one.
    #[inline]
    fn after(&mut self, block: &Block<'_>, at: usize, len: usize) -> Option<Match> {
        let mut next = at + 2 - len;
        while next + 5 < at {
            self.enter(Self::load(block, next), block.entry(next));
            next += Self::STEP;
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

impl<const BYTES: u32> Finder for Paired<BYTES> {
    fn find(&mut self, block: Block<'_>, to: &mut Tokens) {
        let Some(limit) = block.limit_within(Self::MARGIN) else {
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
                    if first_end + Self::LOADED < block.bytes.len() {
                        self.enter(Self::load(&block, first_end), block.entry(first_end));
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
