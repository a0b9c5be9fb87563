//! Owns levels 2 to 9: positions with the same hash of four bytes are chained, the nearest first, and the longest match
//! among some of them is taken, from level 4 on unless the next position has a longer one.

use std::io;

use super::blocks::Blocks;
use super::token::Token;
use super::zeros;
use crate::encoders::{Place, StreamEncoder};

/// How far back a match may lie.
const FAR: usize = 1 << 15;

/// The same, among the positions of chains.
const FAR_AS_POSITION: u32 = 1 << 15;

/// Nothing is chained before, or nothing near enough.
const END: u16 = u16::MAX;

/// How much is held: twice as far, so that it moves down seldom.
const HELD: usize = 2 * FAR;

/// Bytes behind those held, so that words can be read everywhere.
const PADDING: usize = 16;

/// The shortest match that is looked for.
const SHORTEST: usize = 4;

/// The longest match.
const LONGEST: usize = 258;

/// How far a match of the shortest length may lie back.
const FAR_FOR_SHORTEST: usize = 4096;

/// While more is to come, positions closer to the end than this are left alone.
const AHEAD: usize = SHORTEST + LONGEST;

/// How many tokens fill a block.
const BLOCK: usize = 1 << 14;

const HASH_BITS: u32 = 17;

/// Positions are counted up to about this, then again.
const HIGHEST: u32 = 1 << 30;

/// How a level searches.
#[derive(Clone, Copy)]
struct Search {
    take: Take,
    /// A match of this length ends the search.
    nice: usize,
    /// How many positions are looked at.
    chain: usize,
}

/// When a match is taken.
#[derive(Clone, Copy)]
enum Take {
    /// At once. Positions within a match of more than `hashed` bytes are not chained.
    Greedily { hashed: usize },
    /// When the next position has no longer one, which is not asked for from length `enough` on.
    Lazily { enough: usize },
}

impl Search {
    fn of(level: u8) -> Self {
        let (take, nice, chain) = match level {
            2 => (Take::Greedily { hashed: 5 }, 16, 8),
            3 => (Take::Greedily { hashed: 6 }, 32, 32),
            4 => (Take::Lazily { enough: 4 }, 16, 16),
            5 => (Take::Lazily { enough: 16 }, 32, 32),
            7 => (Take::Lazily { enough: 32 }, 128, 256),
            8 => (Take::Lazily { enough: 128 }, 258, 1024),
            9 => (Take::Lazily { enough: 258 }, 258, 4096),
            _ => (Take::Lazily { enough: 16 }, 128, 128),
        };
        Self { take, nice, chain }
    }
}

/// A match, or none: then its length is 3.
#[derive(Clone, Copy)]
struct Found {
    length: usize,
    distance: usize,
}

const NOTHING: Found = Found {
    length: SHORTEST - 1,
    distance: 0,
};

/// What is held of the plain bytes.
type Held = [u8; HELD + PADDING];

pub(super) struct Chained {
    search: Search,
    held: Box<Held>,
    end: usize,
    at: usize,
    chains: Chains,
    /// The match of the position before.
    before: Found,
    /// Whether the byte before is in no token yet.
    is_pending: bool,
    tokens: Vec<Token>,
    /// Where the block begins, if that is still held.
    begin: Option<usize>,
    blocks: Blocks,
}

impl Chained {
    /// `level` is 2 to 9.
    pub(super) fn new(level: u8) -> Self {
        Self {
            search: Search::of(level),
            held: zeros(),
            end: 0,
            at: 0,
            chains: Chains::new(),
            before: NOTHING,
            is_pending: false,
            tokens: Vec::with_capacity(BLOCK),
            begin: Some(0),
            blocks: Blocks::new(),
        }
    }

    /// Goes on up to `end`.
    fn compress(&mut self, end: usize, to: &mut Vec<u8>) {
        match self.search.take {
            Take::Greedily { hashed } => {
                while self.at < end {
                    self.step_greedily(hashed, to);
                }
            }
            Take::Lazily { enough } => {
                while self.at < end {
                    self.step_lazily(enough, to);
                }
            }
        }
    }

    #[inline]
    fn step_greedily(&mut self, hashed: usize, to: &mut Vec<u8>) {
        let Found { length, distance } = self.find(SHORTEST - 1);
        if length < SHORTEST {
            self.tokens.push(Token::literal(self.held[self.at]));
            self.at += 1;
        } else {
            self.tokens.push(Token::found(length, distance));
            if length <= hashed {
                self.chain(self.at + 1, self.at + length);
            }
            self.at += length;
        }
        self.end_full_block(to);
    }

    #[inline]
    fn step_lazily(&mut self, enough: usize, to: &mut Vec<u8>) {
        let before = self.before;
        let longer_than = if before.length < enough {
            before.length
        } else {
            LONGEST
        };
        let found = self.find(longer_than);
        if before.length >= SHORTEST && found.length <= before.length {
            let token = Token::found(before.length, before.distance);
            self.tokens.push(token);
            let end = self.at + before.length - 1;
            self.chain(self.at + 1, end);
            self.at = end;
            self.is_pending = false;
            self.before = NOTHING;
            self.end_full_block(to);
            return;
        }
        if self.is_pending {
            self.tokens.push(Token::literal(self.held[self.at - 1]));
            self.end_full_block(to);
        }
        self.at += 1;
        self.is_pending = true;
        self.before = found;
    }

    /// Chains this position, and searches a match if there is room for one of more than `longer_than` bytes.
    #[inline]
    fn find(&mut self, longer_than: usize) -> Found {
        let ahead = self.end - self.at;
        if ahead < SHORTEST {
            return NOTHING;
        }
        let hash = hash(&self.held, self.at);
        let first = self.chains.insert(hash, self.at);
        let longest = ahead.min(LONGEST);
        if first > self.at.min(FAR) || longest <= longer_than {
            return NOTHING;
        }
        let place = Around {
            held: &self.held,
            at: self.at,
            longest,
        };
        self.chains.longest(&place, first, self.search)
    }

    /// Chains positions within a match.
    #[inline]
    fn chain(&mut self, from: usize, end: usize) {
        for at in from..end.min(self.end - (SHORTEST - 1)) {
            let hash = hash(&self.held, at);
            self.chains.insert(hash, at);
        }
    }

    #[inline]
    fn end_full_block(&mut self, to: &mut Vec<u8>) {
        if self.tokens.len() == BLOCK {
            self.end_block(to);
        }
    }

    /// Ends the block before this position.
    fn end_block(&mut self, to: &mut Vec<u8>) {
        let plain = self.begin.map(|begin| &self.held[begin..self.at]);
        self.blocks.smallest(&self.tokens, plain, to);
        self.begin = Some(self.at);
        self.tokens.clear();
    }

    /// Makes room for as much as a match may lie back.
    fn move_down(&mut self) {
        self.held.copy_within(FAR..HELD, 0);
        self.at -= FAR;
        self.end -= FAR;
        self.begin = self.begin.and_then(|begin| begin.checked_sub(FAR));
        self.chains.move_down();
    }
}

impl StreamEncoder for Chained {
    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        while !plain.is_empty() {
            // It moves down only when there is more: the end of the stream finds all of it.
            if self.end == HELD {
                self.compress(HELD - AHEAD + 1, to);
                self.move_down();
            }
            let (taken, rest) = plain.split_at(plain.len().min(HELD - self.end));
            self.held[self.end..self.end + taken.len()].copy_from_slice(taken);
            self.end += taken.len();
            plain = rest;
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.compress(self.end, to);
        if self.is_pending {
            self.tokens.push(Token::literal(self.held[self.at - 1]));
        }
        if !self.tokens.is_empty() {
            self.end_block(to);
        }
        self.blocks.stored(&[], Place::Last, to);
        Ok(())
    }
}

/// Positions with the same hash.
struct Chains {
    /// The last position of each hash.
    last: Box<[u32; 1 << HASH_BITS]>,
    /// For each position the one before it with the same hash, both modulo [`FAR`], or [`END`].
    before: Box<[u16; FAR]>,
    /// What is added to positions, so that they stay valid when bytes move down: a multiple of [`FAR`], so that those
    /// modulo `FAR` stay valid too, and not 0, so that a hash's position of 0 is too far away from all.
    base: u32,
}

/// Where a match is searched.
struct Around<'a> {
    held: &'a Held,
    at: usize,
    /// How many bytes a match may have.
    longest: usize,
}

impl Chains {
    fn new() -> Self {
        Self {
            last: zeros(),
            before: zeros(),
            base: FAR_AS_POSITION,
        }
    }

    /// Chains a position, and returns how far back the last one with the same hash is, which may be too far.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "positions are below 2^16, and those of chains below 2^15"
    )]
    fn insert(&mut self, hash: u32, at: usize) -> usize {
        let last = &mut self.last[hash as usize & ((1 << HASH_BITS) - 1)];
        let position = at as u32 + self.base;
        let step = position - *last;
        self.before[at % FAR] = if step < FAR_AS_POSITION {
            (*last % FAR_AS_POSITION) as u16
        } else {
            END
        };
        *last = position;
        step as usize
    }

    /// Returns the longest match, the nearest of those. `first` is how far back the first candidate is.
    #[inline]
    fn longest(&self, place: &Around<'_>, first: usize, search: Search) -> Found {
        let Around { held, at, longest } = *place;
        let nice = search.nice.min(longest);
        let farthest = at.min(FAR);
        let mut found = NOTHING;
        let mut distance = first;
        let mut slot = (at - first) % FAR;
        // The last four bytes of a longer match.
        let mut wanted = word(held, at);
        for _ in 0..search.chain {
            // At the farthest position this is already what comes before `at`, and leads beyond.
            let before = self.before[slot];
            let candidate = at - distance;
            if word(held, candidate + found.length - 3) == wanted {
                let length = common(held, candidate, at, longest);
                let is_near = length > SHORTEST || distance <= FAR_FOR_SHORTEST;
                if length > found.length && is_near {
                    found = Found { length, distance };
                    if length >= nice {
                        break;
                    }
                    wanted = word(held, at + length - 3);
                }
            }
            if before == END {
                break;
            }
            let next = usize::from(before) % FAR;
            distance += slot.wrapping_sub(next) % FAR;
            if distance > farthest {
                break;
            }
            slot = next;
        }
        found
    }

    fn move_down(&mut self) {
        self.base += FAR_AS_POSITION;
        if self.base > HIGHEST {
            let less = self.base - FAR_AS_POSITION;
            self.base = FAR_AS_POSITION;
            for position in &mut self.last[..] {
                *position = position.saturating_sub(less);
            }
        }
    }
}

/// Returns the four bytes at a position; the first one is the lowest.
#[inline]
fn word(held: &Held, at: usize) -> u32 {
    // The masks say that no index is beyond the end.
    let at = at & (HELD - 1);
    let at = &held[at..at + 4];
    u32::from_le_bytes([at[0], at[1], at[2], at[3]])
}

#[inline]
fn hash(held: &Held, at: usize) -> u32 {
    word(held, at).swap_bytes().wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS)
}

/// Returns how many bytes are the same at both places, at most `longest`.
#[inline]
fn common(held: &Held, a: usize, b: usize, longest: usize) -> usize {
    let double = |at: usize| {
        let at = at & (HELD - 1);
        let at = &held[at..at + 8];
        u64::from_le_bytes([at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]])
    };
    let mut same = 0;
    while same < longest {
        let differ = double(a + same) ^ double(b + same);
        if differ != 0 {
            return longest.min(same + differ.trailing_zeros() as usize / 8);
        }
        same += 8;
    }
    longest
}
