//! Owns which match levels 7 to 9 find: down the chain of a hash, and by the end of the one that waits.

use super::super::fast::{common, hash4};
use super::{Found, HASH_BITS, LONGEST, Lazy, NOTHING, SHORTEST, Then, WINDOW};
use crate::encoders::tables::{DISTANCE_BITS, LENGTH_BITS, LENGTH_SYMBOL, distance_symbol};

/// How many bytes at a match's beginning may differ from a better one's.
const SKIPPED: usize = 2;

impl Lazy {
    pub(super) fn find_by_length(&self, first: usize, most: usize) -> Found {
        let mut found = NOTHING;
        let nice = self.effort.nice.min(most);
        self.each(first, most, |back, len, least| {
            if len > *least {
                found = Found { len, back };
                *least = len;
            }
            found.len >= nice
        });
        found
    }

    /// Weighs what a match saves against what it takes.
    pub(super) fn find_by_gain(&self, first: usize, most: usize) -> Found {
        let (cost, mut best) = match self.generation.extends_back() {
            true => (3, 4),
            false => (6, 0),
        };
        let least_literal = self.generation.least_literal();
        let mut found = NOTHING;
        let nice = self.effort.nice.min(most);
        let (codes, here) = (self.literals.all(), &self.window[self.at..]);
        self.each(first, most, |back, len, least| {
            if len <= *least {
                return false;
            }
            let of = |byte: &u8| i32::from(codes[usize::from(*byte)].len.max(least_literal));
            let literals: i32 = here[..len].iter().map(of).sum();
            // The original takes the distance for one more, and the furthest for a near one.
            let distance = match back {
                WINDOW => 6,
                #[expect(clippy::cast_possible_truncation, reason = "it is within the window")]
                back => i32::from(DISTANCE_BITS[distance_symbol(back as u32 + 1)]),
            };
            let length = i32::from(LENGTH_BITS[usize::from(LENGTH_SYMBOL[len - 3])]);
            let gain = literals - distance - cost - length;
            if gain <= best {
                return false;
            }
            found = Found { len, back };
            best = gain;
            *least = len;
            len >= nice
        });
        found
    }

    /// Goes down a chain: tells the distance and the length of each match that may be longer than the least, which may be
    /// raised, until it is told to stop.
    #[inline]
    fn each(
        &self,
        first: usize,
        most: usize,
        mut is_enough: impl FnMut(usize, usize, &mut usize) -> bool,
    ) {
        let oldest = self.at.saturating_sub(WINDOW);
        let here = &self.window[self.at..self.at + most];
        let mut least = SHORTEST - 1;
        let mut at = first;
        for _ in 0..self.effort.chain {
            if here[least] == self.window[at + least] {
                let len = common(here, &self.window[at..at + most]);
                if is_enough(self.at - at, len, &mut least) {
                    return;
                }
            }
            if at <= oldest {
                return;
            }
            match self.position(self.before[at % WINDOW]) {
                Some(next) if next >= oldest => at = next,
                _ => return,
            }
        }
    }

    /// Returns how many bytes are the same from `at` on, up to `end`, and from `there` on.
    fn common(&self, at: usize, there: usize, end: usize) -> usize {
        common(&self.window[at..end], &self.window[there..there + end - at])
    }

    /// Looks for a longer match by the last bytes of the one that is held.
    pub(super) fn by_nearly_its_end(&self, held: Found, least: usize) -> Found {
        let at = self.at - 1;
        if at + held.len + SKIPPED >= self.insert_end {
            return held;
        }
        let end = at + (self.end - self.at).min(LONGEST);
        let hash = hash4::<HASH_BITS>(self.load(at + held.len - SKIPPED));
        let there = self.position(self.heads[hash]);
        let there = there.and_then(|there| (there + SKIPPED).checked_sub(held.len));
        let Some(there) = there.filter(|there| *there > least) else {
            return held;
        };
        let len = self.common(at, there, end);
        match len > held.len {
            true => Found {
                len,
                back: at - there,
            },
            false => held,
        }
    }

    /// Looks for a longer match by what follows the one that is held. Its first bytes may be told as literals.
    pub(super) fn by_its_end(
        &mut self,
        held: Found,
        (least, then): (usize, Then),
        to: &mut Vec<u8>,
    ) -> Found {
        let at = self.at - 1;
        if held.len >= LONGEST - SKIPPED || at + held.len >= self.insert_end {
            return held;
        }
        let end = at + (self.end - self.at).min(LONGEST + SKIPPED);
        let hash = hash4::<HASH_BITS>(self.load(at + held.len));
        let there = self.position(self.heads[hash]);
        let there = there.and_then(|there| there.checked_sub(held.len));
        let Some(there) = there.filter(|there| *there > least + SKIPPED) else {
            return held;
        };
        let back = at - there;
        if back == held.back {
            return held;
        }
        let mut len = self.common(at + SKIPPED, there + SKIPPED, end);
        if len <= held.len {
            return held;
        }
        for skipped in (0..SKIPPED).rev() {
            if len >= LONGEST || self.window[at + skipped] != self.window[there + skipped] {
                for told in 0..=skipped {
                    self.tokens.literal(self.window[at + told]);
                    self.block_if_full(then, to);
                    self.at += 1;
                    self.enter_here();
                }
                break;
            }
            len += 1;
        }
        Found { len, back }
    }
}
