//! Owns the walk through the window: at each byte a match or a literal, as zlib's `deflate_fast` and `deflate_slow` and
//! GNU gzip's `deflate` decide it.

use super::block::Coder;
use super::level::{Level, Search};
use super::tokens::{Ending, Room, Tokens};
use super::window::{AHEAD, Effort, LONGEST, Match, REACH, SHORTEST, TOP, Window};
use crate::encoders::Place;

/// A match of three bytes that is farther away costs more than its literals.
const TOO_FAR: usize = 4096;

/// Whose decisions they are, where the two differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// Nothing is compared or noted beyond the input's end.
    Zlib,
    /// The last matches depend on what is left in the window behind the input's end.
    Gnu,
    /// As GNU gzip's beginnings were: what is left is not even made zeros.
    Busybox,
}

/// What makes an encoder of this family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) family: Family,
    pub(super) level: Level,
    pub(super) hash_bits: u32,
    /// Blocks have fewer tokens.
    pub(super) tokens: usize,
    pub(super) ending: Ending,
}

/// Compresses one stream.
pub(super) struct Deflate {
    shape: Shape,
    window: Window,
    tokens: Tokens,
    pub(super) coder: Coder,
    waiting: Waiting,
}

/// The byte before this one, in a lazy search.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Its match, or one of 2 bytes.
    found: Match,
    /// Whether it is not coded yet.
    is_there: bool,
}

/// How far to go through the window.
#[derive(Clone, Copy, Debug)]
struct Until {
    /// Fewer bytes ahead end it.
    ahead: usize,
    /// This place ends it.
    at: usize,
}

const NOTHING: Match = Match {
    len: SHORTEST - 1,
    distance: 0,
};

const NOBODY: Waiting = Waiting {
    found: NOTHING,
    is_there: false,
};

impl Deflate {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            window: Window::new(shape.hash_bits),
            tokens: Tokens::new(shape.tokens, shape.ending),
            coder: Coder::new(),
            waiting: NOBODY,
        }
    }

    /// Begins another stream, or part of one, with what comes before it: at most 32 KiB.
    pub(super) fn restart(&mut self, before: &[u8]) {
        self.window.clear();
        self.tokens.clear();
        self.waiting = NOBODY;
        self.window.prime(before);
    }

    /// Takes plain bytes. Nothing is decided before the window is full, so that it does not matter how they are cut.
    pub(super) fn take(&mut self, mut plain: &[u8], to: &mut Vec<u8>) {
        loop {
            let taken = self.window.fill(plain);
            plain = &plain[taken..];
            if plain.is_empty() && !self.window.is_full() {
                return;
            }
            self.walk(
                Until {
                    ahead: AHEAD,
                    at: usize::MAX,
                },
                to,
            );
        }
    }

    /// Codes what was taken, and ends the block: the last one even if it is empty.
    pub(super) fn end_block(&mut self, place: Place, to: &mut Vec<u8>) {
        self.walk(
            Until {
                ahead: AHEAD,
                at: usize::MAX,
            },
            to,
        );
        self.window.fill(&[]);
        match self.shape.family {
            Family::Gnu | Family::Busybox => {
                if self.shape.family == Family::Gnu {
                    self.window.end_with_zeros();
                }
                self.walk(
                    Until {
                        ahead: 1,
                        at: usize::MAX,
                    },
                    to,
                );
            }
            Family::Zlib => {
                while self.window.ahead > 0 {
                    self.walk(Until { ahead: 1, at: TOP }, to);
                    self.window.fill(&[]);
                }
            }
        }
        if self.waiting.is_there {
            self.literal(self.window.at - 1);
            self.waiting.is_there = false;
        }
        self.window.late = self.window.at.min(SHORTEST - 1);
        if place == Place::Last || !self.tokens.is_empty() {
            self.flush(place, to);
        }
    }

    fn walk(&mut self, until: Until, to: &mut Vec<u8>) {
        match self.shape.level.search {
            Search::Greedy => self.greedy(until, to),
            Search::Lazy => self.lazy(until, to),
        }
    }

    /// Takes each match at once.
    fn greedy(&mut self, until: Until, to: &mut Vec<u8>) {
        let level = self.shape.level;
        while self.window.ahead >= until.ahead && self.window.at < until.at {
            let at = self.window.at;
            let head = self.note(at);
            let found = self
                .search(at, head, SHORTEST - 1)
                .filter(|found| found.len >= SHORTEST);
            let Some(found) = found else {
                let room = self.literal(at);
                self.go_on(1);
                self.flush_if(room, to);
                continue;
            };
            let room = self.matched(found);
            self.go_on(found.len);
            if found.len <= level.lazy
                && (self.window.ahead >= SHORTEST || self.shape.family != Family::Zlib)
            {
                for next in at + 1..at + found.len {
                    self.window.insert(next);
                }
            }
            self.flush_if(room, to);
        }
    }

    /// Takes a match when the next byte has no longer one.
    fn lazy(&mut self, until: Until, to: &mut Vec<u8>) {
        while self.window.ahead >= until.ahead && self.window.at < until.at {
            let at = self.window.at;
            let head = self.note(at);
            let before = self.waiting.found;
            let found = match before.len < self.shape.level.lazy {
                true => self
                    .search(at, head, before.len)
                    .filter(|found| !is_too_far(*found)),
                false => None,
            };
            self.waiting.found = found.unwrap_or(NOTHING);
            if before.len >= SHORTEST && self.waiting.found.len <= before.len {
                let room = self.matched(before);
                self.note_rest(at, before.len);
                self.go_on(before.len - 1);
                self.waiting = NOBODY;
                self.flush_if(room, to);
            } else {
                if self.waiting.is_there {
                    let room = self.literal(at - 1);
                    self.flush_if(room, to);
                }
                self.waiting.is_there = true;
                self.go_on(1);
            }
        }
    }

    /// Notes a place, if there are bytes enough, and returns the one before it.
    #[inline]
    fn note(&mut self, at: usize) -> usize {
        match self.window.ahead >= SHORTEST || self.shape.family != Family::Zlib {
            true => self.window.insert(at),
            false => 0,
        }
    }

    /// Notes the places of a match from its third byte on; it began before `at`.
    #[inline]
    fn note_rest(&mut self, at: usize, len: usize) {
        let end = at + len - 1;
        let end = match self.shape.family {
            Family::Zlib => end.min((at + self.window.ahead + 1).saturating_sub(SHORTEST)),
            Family::Gnu | Family::Busybox => end,
        };
        for next in at + 1..end {
            self.window.insert(next);
        }
    }

    /// Returns a match that is longer than `beat`, if there is one.
    #[inline]
    fn search(&self, at: usize, head: usize, beat: usize) -> Option<Match> {
        if head == 0 || at - head > REACH || (self.shape.family == Family::Gnu && at > TOP) {
            return None;
        }
        let (level, ahead) = (self.shape.level, self.window.ahead);
        let effort = Effort {
            beat,
            nice: match self.shape.family {
                Family::Zlib => level.nice.min(ahead),
                Family::Gnu | Family::Busybox => level.nice,
            },
            chain: match beat >= level.good {
                true => level.chain / 4,
                false => level.chain,
            },
        };
        let found = self.window.longest(at, head, effort)?;
        Some(Match {
            len: found.len.min(ahead),
            ..found
        })
    }

    /// Adds the literal at a place; all before `window.at` is in the block.
    #[inline]
    fn literal(&mut self, at: usize) -> Room {
        self.tokens.literal(self.window.byte(at), self.covered())
    }

    /// Adds a match.
    #[inline]
    fn matched(&mut self, found: Match) -> Room {
        let [less, ..] = (found.len - SHORTEST).min(LONGEST - SHORTEST).to_le_bytes();
        let [low, high, ..] = found.distance.to_le_bytes();
        self.tokens.matched(
            less,
            u32::from(u16::from_le_bytes([low, high])),
            self.covered(),
        )
    }

    #[inline]
    fn go_on(&mut self, by: usize) {
        self.window.at += by;
        self.window.ahead -= by;
    }

    /// Returns how many bytes lie between the block's begin and the byte that is looked at.
    #[inline]
    fn covered(&self) -> usize {
        (self.window.at.cast_signed() - self.window.block).cast_unsigned()
    }

    #[inline]
    fn flush_if(&mut self, room: Room, to: &mut Vec<u8>) {
        if room == Room::None {
            self.flush(Place::Inner, to);
        }
    }

    #[cold]
    fn flush(&mut self, place: Place, to: &mut Vec<u8>) {
        let len = self.covered();
        self.coder
            .block(&self.tokens, (self.window.block(len), len), place, to);
        self.window.block = self.window.at.cast_signed();
        self.tokens.clear();
    }
}

/// Whether a match is too short for how far away it is.
#[inline]
fn is_too_far(found: Match) -> bool {
    found.len <= SHORTEST && found.distance > TOO_FAR
}
