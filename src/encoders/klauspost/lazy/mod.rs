//! Owns levels 7 to 9: chains of positions with the same four bytes, and a match that waits for a better one at the next
//! byte.

mod search;

use super::Generation;
use super::fast::{Table, hash4};
use super::stream::Compressor;
use super::tokens::Tokens;
use super::writer::{Then, Writer};
use crate::encoders::huffman::LiteralCodes;

/// How far back matches reach.
const WINDOW: usize = 1 << 15;

const HASH_BITS: u32 = 17;

/// The shortest match that is looked for.
const SHORTEST: usize = 4;

/// The longest match.
const LONGEST: usize = 258;

/// How much has to be there for a search, unless no more comes.
const LOOKAHEAD: usize = SHORTEST + LONGEST;

/// A block has so many tokens.
const FULL: usize = 1 << 15;

/// Beyond this, what the entries of tables are above positions is made less.
const MOST_OFFSET: u32 = 1 << 28;

/// How long a level looks.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// A match of this length is taken without waiting.
    pub(super) lazy: usize,
    /// A match of this length ends the search.
    pub(super) nice: usize,
    /// How many positions are looked at.
    pub(super) chain: usize,
}

/// A match, or none where it is shorter than [`SHORTEST`].
#[derive(Clone, Copy)]
struct Found {
    len: usize,
    back: usize,
}

const NOTHING: Found = Found {
    len: SHORTEST - 1,
    back: 0,
};

/// What compresses at levels 7 to 9.
pub(super) struct Lazy {
    effort: Effort,
    generation: Generation,
    window: Vec<u8>,
    /// Where the next byte comes.
    end: usize,
    /// Where the search is.
    at: usize,
    /// Where the block begins, unless that has left the window.
    start: Option<usize>,
    /// From here on no position is entered.
    insert_end: usize,
    /// Each hash's last position, plus `offset`.
    heads: Table<u32, { 1 << HASH_BITS }>,
    /// Each position's predecessor of the same hash, plus `offset`.
    before: Table<u32, WINDOW>,
    offset: u32,
    /// The predecessor of the position entered last.
    chain: u32,
    /// The match of the position before.
    held: Found,
    /// How many literals came since the last match, within 16 bits.
    missed: u16,
    /// Whether the byte before is not yet told.
    owes_byte: bool,
    tokens: Tokens,
    writer: Writer,
    /// What literals would take: level 9 weighs matches with it.
    literals: LiteralCodes,
}

impl Lazy {
    pub(super) fn new(effort: Effort, generation: Generation, writer: Writer) -> Self {
        Self {
            effort,
            generation,
            window: vec![0; 2 * WINDOW],
            end: 0,
            at: 0,
            start: Some(0),
            insert_end: 0,
            heads: Table::default(),
            before: Table::default(),
            offset: 1,
            chain: 0,
            held: NOTHING,
            missed: 0,
            owes_byte: false,
            tokens: Tokens::default(),
            writer,
            literals: LiteralCodes::default(),
        }
    }

    /// Takes what there is room for. Returns how much that was.
    fn fill(&mut self, plain: &[u8]) -> usize {
        if self.at >= 2 * WINDOW - LOOKAHEAD {
            self.slide();
        }
        let taken = plain.len().min(self.window.len() - self.end);
        self.window[self.end..self.end + taken].copy_from_slice(&plain[..taken]);
        self.end += taken;
        taken
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW.., 0);
        self.at -= WINDOW;
        self.end -= WINDOW;
        self.start = self.start.and_then(|start| start.checked_sub(WINDOW));
        self.offset += 1 << 15;
        if self.offset > MOST_OFFSET {
            let by = self.offset - 1;
            self.offset -= by;
            self.chain = self.chain.saturating_sub(by);
            self.heads.lower(by);
            self.before.lower(by);
        }
    }

    fn load(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word[..4].copy_from_slice(&self.window[at..at + 4]);
        u64::from_le_bytes(word)
    }

    /// Enters a position. Returns the entry of its predecessor.
    #[expect(clippy::cast_possible_truncation, reason = "the window is short")]
    fn enter(&mut self, at: usize) -> u32 {
        let hash = hash4::<HASH_BITS>(self.load(at));
        let before = std::mem::replace(&mut self.heads[hash], at as u32 + self.offset);
        self.before[at % WINDOW] = before;
        before
    }

    fn enter_here(&mut self) {
        if self.at < self.insert_end {
            self.chain = self.enter(self.at);
        }
    }

    /// Returns the position of an entry, unless it has left the window.
    fn position(&self, entry: u32) -> Option<usize> {
        entry.checked_sub(self.offset).map(|at| at as usize)
    }

    fn block(&mut self, then: Then, to: &mut Vec<u8>) {
        let start = self.start.filter(|start| *start <= self.at);
        let plain = start.map(|start| &self.window[start..self.at]);
        self.writer.tokens(&mut self.tokens, plain, then, to);
        self.start = Some(self.at);
        self.tokens.clear();
    }

    fn block_if_full(&mut self, then: Then, to: &mut Vec<u8>) {
        if self.tokens.len() == FULL {
            self.block(then, to);
        }
    }

    /// Searches what was taken. What is near its end is left, unless no more comes.
    fn search(&mut self, then: Then, to: &mut Vec<u8>) {
        if self.end - self.at < LOOKAHEAD && then == Then::Goes {
            return;
        }
        if self.end != self.at && self.effort.chain > 100 {
            self.weigh_literals();
        }
        self.insert_end = self.end.saturating_sub(SHORTEST - 1);
        loop {
            let ahead = self.end - self.at;
            if ahead < LOOKAHEAD && then == Then::Goes {
                return;
            }
            if ahead == 0 {
                break;
            }
            self.one(then, to);
        }
        if self.owes_byte {
            self.tokens.literal(self.window[self.at - 1]);
            self.owes_byte = false;
        }
        if !self.tokens.is_empty() {
            self.block(then, to);
        }
    }

    fn weigh_literals(&mut self) {
        let most = match self.generation.weighs_half_a_window() {
            true => FULL,
            false => 2 * FULL,
        };
        let mut counts = [0u16; 256];
        for byte in self.window[self.at..self.end].iter().take(most) {
            // A full window of one byte comes to none of it.
            let count = &mut counts[usize::from(*byte)];
            *count = count.wrapping_add(1);
        }
        self.literals.generate(&counts);
    }

    /// Searches at one position.
    fn one(&mut self, then: Then, to: &mut Vec<u8>) {
        self.enter_here();
        let held = std::mem::replace(&mut self.held, NOTHING);
        let ahead = self.end - self.at;
        let least = self.at.saturating_sub(WINDOW);
        let first = self.position(self.chain).filter(|first| *first >= least);
        if let Some(first) = first
            && ahead > held.len
            && held.len < self.effort.lazy
        {
            self.held = match self.effort.chain > 100 {
                true => self.find_by_gain(first, ahead.min(LONGEST)),
                false => self.find_by_length(first, ahead.min(LONGEST)),
            };
        }
        if held.len >= SHORTEST && self.held.len <= held.len {
            let held = match self.generation.extends_back() {
                true => self.by_its_end(held, (least, then), to),
                false => self.by_nearly_its_end(held, least),
            };
            self.take(held);
            self.block_if_full(then, to);
        } else {
            self.pass(then, to);
        }
    }

    /// Tells a match that begins a byte before, and enters its positions.
    fn take(&mut self, held: Found) {
        self.tokens.matched(held.len, held.back);
        let next = self.at + held.len - 1;
        for at in self.at + 1..next.min(self.insert_end) {
            self.enter(at);
        }
        self.at = next;
        self.owes_byte = false;
        self.held = NOTHING;
        self.missed = 0;
    }

    /// Goes on by a byte, or by more where nothing was found for long.
    fn pass(&mut self, then: Then, to: &mut Vec<u8>) {
        if self.held.len >= SHORTEST {
            self.missed = 0;
        }
        if !self.owes_byte {
            self.at += 1;
            self.owes_byte = true;
            return;
        }
        self.missed = self.missed.wrapping_add(1);
        self.byte(then, to);
        self.at += 1;
        let missed = usize::from(self.missed);
        if missed <= self.effort.chain {
            return;
        }
        for _ in 0..=(missed - self.effort.chain) >> 6 {
            if self.at + 1 >= self.end {
                break;
            }
            self.byte(then, to);
            self.enter_here();
            self.at += 1;
        }
        self.owes_byte = false;
        self.byte(then, to);
    }

    /// Tells the byte before.
    fn byte(&mut self, then: Then, to: &mut Vec<u8>) {
        self.tokens.literal(self.window[self.at - 1]);
        self.block_if_full(then, to);
    }
}

impl Compressor for Lazy {
    fn begin(&mut self, before: &[u8]) {
        self.heads.reset();
        self.before.reset();
        (self.end, self.at, self.start) = (0, 0, Some(0));
        (self.offset, self.chain, self.insert_end) = (1, 0, 0);
        (self.held, self.missed, self.owes_byte) = (NOTHING, 0, false);
        self.tokens.clear();
        self.writer.reset();
        // The first block is taken to begin here too: the original has it so.
        self.at = self.fill(before);
        for at in 0..before.len().saturating_sub(SHORTEST - 1) {
            self.enter(at);
        }
    }

    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.end == self.window.len() {
                self.search(Then::Goes, to);
            }
            let taken = self.fill(plain);
            plain = &plain[taken..];
        }
    }

    fn flush(&mut self, to: &mut Vec<u8>) {
        self.search(Then::Stops, to);
    }

    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }
}
