//! Owns level 1: of each hash of four bytes only the last position is known, and the longer nothing is found, the more
//! positions are passed over. It works on blocks of 65535 bytes, and finds matches in the one before too.

use std::io;

use super::blocks::{Blocks, LONGEST_STORED};
use super::token::Token;
use super::zeros;
use crate::encoders::{Place, StreamEncoder};

/// How many bytes a block has.
const BLOCK: usize = LONGEST_STORED;

/// How far back a match may lie.
const FAR: usize = 1 << 15;

/// The longest match.
const LONGEST: usize = 258;

/// Nothing is looked up closer to the end of a block than this.
const MARGIN: usize = 15;

/// A last block shorter than this is not searched.
const SHORTEST_SEARCHED: usize = 128;

/// A last block up to this is stored.
const LONGEST_JUST_STORED: usize = 16;

const TABLE_BITS: u32 = 14;

/// Positions are counted up to about this, then again.
const HIGHEST: usize = 1 << 30;

/// Four bytes, and where they were. Positions count from the first block on, from `FAR` more than 0.
#[derive(Clone, Copy, Default)]
struct Entry {
    bytes: u32,
    position: u32,
}

pub(super) struct Fast {
    /// What a block may refer to, then the block.
    held: Vec<u8>,
    /// Where the block begins in what is held: 0 or [`FAR`].
    begin: usize,
    table: Box<[Entry; 1 << TABLE_BITS]>,
    /// The position of the first byte held.
    base: usize,
    tokens: Vec<Token>,
    blocks: Blocks,
}

impl Fast {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::with_capacity(FAR + BLOCK),
            begin: 0,
            table: zeros(),
            // So that an entry that is not set is too far away.
            base: FAR + 1,
            tokens: Vec::with_capacity(BLOCK),
            blocks: Blocks::new(),
        }
    }

    fn block(&mut self, to: &mut Vec<u8>) {
        self.tokens.clear();
        let mut search = Search {
            held: &self.held,
            table: &mut self.table,
            base: self.base,
            tokens: &mut self.tokens,
        };
        search.run(self.begin);
        let plain = &self.held[self.begin..];
        if self.tokens.len() > plain.len() - (plain.len() >> 4) {
            self.blocks.literals(plain, to);
        } else {
            self.blocks.dynamic(&self.tokens, plain, to);
        }
    }

    /// Keeps what the next block may refer to.
    fn move_down(&mut self) {
        let gone = self.held.len() - FAR;
        self.held.drain(..gone);
        self.begin = FAR;
        self.base += gone;
        if self.base > HIGHEST {
            let less = u32::try_from(self.base - FAR - 1).unwrap_or(u32::MAX);
            self.base = FAR + 1;
            for entry in self.table.iter_mut() {
                // What gets to 0 is too far away, as it was.
                entry.position = entry.position.saturating_sub(less);
            }
        }
    }
}

impl StreamEncoder for Fast {
    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        while !plain.is_empty() {
            if self.held.len() == self.begin + BLOCK {
                self.block(to);
                self.move_down();
            }
            let room = self.begin + BLOCK - self.held.len();
            let (taken, rest) = plain.split_at(plain.len().min(room));
            self.held.extend_from_slice(taken);
            plain = rest;
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        let plain = &self.held[self.begin..];
        if plain.len() >= SHORTEST_SEARCHED {
            self.block(to);
        } else if plain.len() > LONGEST_JUST_STORED {
            self.blocks.literals(plain, to);
        } else if !plain.is_empty() {
            self.blocks.stored(plain, Place::Inner, to);
        }
        self.blocks.stored(&[], Place::Last, to);
        Ok(())
    }
}

/// One block, and what it may refer to.
struct Search<'a> {
    held: &'a [u8],
    table: &'a mut [Entry; 1 << TABLE_BITS],
    base: usize,
    tokens: &'a mut Vec<Token>,
}

impl Search<'_> {
    /// Makes tokens of what is held from `begin` on: more than [`MARGIN`] bytes.
    fn run(&mut self, begin: usize) {
        let mut done = begin;
        let mut at = begin;
        while let Some((place, mut from)) = self.next_match(at) {
            self.literals(done, place);
            at = place;
            // One match right after another, as long as there is one.
            loop {
                let length = common(self.held, from, at);
                self.tokens.push(Token::found(length, at - from));
                at += length;
                done = at;
                if at >= self.held.len() - MARGIN {
                    self.literals(done, self.held.len());
                    return;
                }
                self.replace(word(self.held, at - 1), at - 1);
                match self.replace(word(self.held, at), at) {
                    Some(next) => from = next,
                    None => break,
                }
            }
            at += 1;
        }
        self.literals(done, self.held.len());
    }

    /// Returns where a match begins, and where the same four bytes were.
    fn next_match(&mut self, mut at: usize) -> Option<(usize, usize)> {
        let last = self.held.len() - MARGIN;
        // Every 32 positions without a match, one more is passed over.
        let mut passed = 32;
        loop {
            let step = passed >> 5;
            passed += step;
            if at + step > last {
                return None;
            }
            if let Some(from) = self.replace(word(self.held, at), at) {
                return Some((at, from));
            }
            at += step;
        }
    }

    /// Enters a position, and returns the one that was there if it has the same bytes and is near enough.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "positions are below HIGHEST and a block"
    )]
    fn replace(&mut self, bytes: u32, at: usize) -> Option<usize> {
        let hash = bytes.wrapping_mul(0x1e35_a7bd) >> (32 - TABLE_BITS);
        let entry = &mut self.table[hash as usize & ((1 << TABLE_BITS) - 1)];
        let position = (self.base + at) as u32;
        let before = std::mem::replace(entry, Entry { bytes, position });
        let distance = (position - before.position) as usize;
        (before.bytes == bytes && distance <= FAR).then(|| at - distance)
    }

    fn literals(&mut self, from: usize, end: usize) {
        let bytes = self.held[from..end].iter();
        self.tokens.extend(bytes.map(|byte| Token::literal(*byte)));
    }
}

#[inline]
fn word(held: &[u8], at: usize) -> u32 {
    let at = &held[at..at + 4];
    u32::from_le_bytes([at[0], at[1], at[2], at[3]])
}

/// Returns how many bytes are the same at both places, the first of them the earlier one.
fn common(held: &[u8], a: usize, b: usize) -> usize {
    let b = &held[b..held.len().min(b + LONGEST)];
    let a = &held[a..a + b.len()];
    let differ = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
    let (a_words, a_rest) = a.as_chunks();
    let (b_words, b_rest) = b.as_chunks();
    for (at, words) in a_words.iter().zip(b_words).enumerate() {
        let differ = differ(words);
        if differ != 0 {
            return at * 8 + differ.trailing_zeros() as usize / 8;
        }
    }
    let rest = a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b);
    a_words.len() * 8 + rest.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_count_again_are_found_as_ever() {
        let line = |number: u32| format!("{} is {}\n", number % 977, number % 31);
        let plain: String = (0..40_000).map(line).collect();
        let compress = |base| {
            let (mut fast, mut to) = (Fast::new(), Vec::new());
            fast.base = base;
            fast.write(plain.as_bytes(), &mut to).unwrap();
            fast.finish(&mut to).unwrap();
            (to, fast.base)
        };
        let (first, _) = compress(FAR + 1);
        let (again, base) = compress(HIGHEST - 2 * BLOCK);
        assert!(first == again);
        assert!(base < HIGHEST / 2);
    }
}
