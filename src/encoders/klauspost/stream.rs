//! Owns how input becomes blocks: for levels 1 to 6, for stored blocks and for those of literals only; and the streams made
//! of them, in one piece or in pgzip's.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::Settings;
use super::fast::{Block, FIRST_BASE, Finder, REACH};
use super::tokens::Tokens;
use super::writer::{LONGEST_STORED, Then, Writer};
use crate::encoders::{BlockEncoder, LastBlock, Place, Shape, StreamEncoder};

/// How many bytes of the block before it a block of pgzip refers to.
pub(super) const TAIL: usize = 16 << 10;

/// Compresses plain bytes, block by block of deflate.
pub(super) trait Compressor: Send {
    /// Forgets everything, and then takes what matches may refer to.
    fn begin(&mut self, before: &[u8]);

    /// Takes plain bytes. A block that is full is written when more comes.
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>);

    /// Writes all that was taken.
    fn flush(&mut self, to: &mut Vec<u8>);

    fn writer(&mut self) -> &mut Writer;
}

/// What a finder and its tables compress: levels 1 to 6.
pub(super) struct Fast<F> {
    finder: F,
    tokens: Tokens,
    writer: Writer,
    /// What matches refer to, and the block that is not yet full.
    bytes: Vec<u8>,
    /// Where that block begins.
    start: usize,
    base: u32,
}

/// The bases beyond which entries are made less again.
const HIGH_BASE: u32 = 1 << 30;

/// A block that would end beyond this is moved, with what its matches may reach.
const CAPACITY: usize = 5 * LONGEST_STORED;

impl<F: Finder> Fast<F> {
    pub(super) fn new(finder: F, writer: Writer) -> Self {
        Self {
            finder,
            tokens: Tokens::default(),
            writer,
            bytes: Vec::with_capacity(CAPACITY + LONGEST_STORED),
            start: 0,
            base: FIRST_BASE,
        }
    }

    fn find(&mut self) {
        if self.bytes.len() > CAPACITY {
            self.slide();
        }
        let block = Block {
            bytes: &self.bytes,
            start: self.start,
            base: self.base,
        };
        self.tokens.clear();
        self.finder.find(block, &mut self.tokens);
    }

    fn slide(&mut self) {
        let gone = self.start - REACH as usize;
        self.bytes.drain(..gone);
        self.start -= gone;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "some blocks' worth of bytes"
        )]
        let gone = gone as u32;
        self.base += gone;
        if self.base > HIGH_BASE {
            self.finder.lower(self.base - FIRST_BASE);
            self.base = FIRST_BASE;
        }
    }

    fn block(&mut self, then: Then, to: &mut Vec<u8>) {
        self.find();
        let plain = &self.bytes[self.start..];
        let tokens = &mut self.tokens;
        if tokens.is_empty() {
            self.writer.stored(plain, to);
        } else if tokens.len() > plain.len() - (plain.len() >> 4) {
            self.writer.literals(plain, then, to);
        } else {
            self.writer.tokens(tokens, Some(plain), then, to);
        }
        self.start = self.bytes.len();
    }
}

impl<F: Finder> Compressor for Fast<F> {
    fn begin(&mut self, before: &[u8]) {
        self.finder.reset();
        self.writer.reset();
        self.bytes.clear();
        self.bytes.extend_from_slice(before);
        (self.start, self.base) = (0, FIRST_BASE);
        // The tables get to know what came before; what is found in it is of no use.
        self.find();
        self.start = self.bytes.len();
    }

    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.bytes.len() - self.start == LONGEST_STORED {
                self.block(Then::Goes, to);
            }
            let room = LONGEST_STORED - (self.bytes.len() - self.start);
            let (taken, rest) = plain.split_at(room.min(plain.len()));
            self.bytes.extend_from_slice(taken);
            plain = rest;
        }
    }

    fn flush(&mut self, to: &mut Vec<u8>) {
        let plain = &self.bytes[self.start..];
        match plain.len() {
            0 => return,
            1..=32 => self.writer.stored(plain, to),
            33..=127 => self.writer.literals(plain, Then::Stops, to),
            _ => self.block(Then::Stops, to),
        }
        self.start = self.bytes.len();
    }

    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

/// What compresses without matches: blocks are stored, or of literals only.
pub(super) struct Plain {
    writer: Writer,
    pending: Vec<u8>,
    kind: Kind,
}

/// How blocks without matches are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stored,
    Literals,
}

impl Plain {
    pub(super) fn new(kind: Kind, writer: Writer) -> Self {
        Self {
            writer,
            pending: Vec::with_capacity(LONGEST_STORED),
            kind,
        }
    }

    fn room(&self) -> usize {
        match self.kind {
            Kind::Stored => LONGEST_STORED,
            Kind::Literals => 32 << 10,
        }
    }

    fn block(&mut self, then: Then, to: &mut Vec<u8>) {
        match self.kind {
            Kind::Stored => self.writer.stored(&self.pending, to),
            Kind::Literals => self.writer.literals(&self.pending, then, to),
        }
        self.pending.clear();
    }
}

impl Compressor for Plain {
    fn begin(&mut self, _: &[u8]) {
        self.writer.reset();
        self.pending.clear();
    }

    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) {
        while !plain.is_empty() {
            if self.pending.len() == self.room() {
                self.block(Then::Goes, to);
            }
            let room = self.room() - self.pending.len();
            let (taken, rest) = plain.split_at(room.min(plain.len()));
            self.pending.extend_from_slice(taken);
            plain = rest;
        }
    }

    fn flush(&mut self, to: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.block(Then::Stops, to);
        }
    }

    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }
}

/// A stream in one piece.
pub(super) struct Whole(pub(super) Box<dyn Compressor>);

impl StreamEncoder for Whole {
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.0.write(plain, to);
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.0.flush(to);
        self.0.writer().end_stream(to);
        Ok(())
    }
}

/// A stream in pgzip's blocks.
pub(super) struct Pieces {
    settings: Settings,
    len: usize,
    /// Compressors at rest: their tables are large.
    idle: Mutex<Vec<Box<dyn Compressor>>>,
}

impl Pieces {
    pub(super) fn new(settings: Settings, len: usize) -> Self {
        Self {
            settings,
            len,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Compressor>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockEncoder for Pieces {
    fn shape(&self) -> Shape {
        Shape {
            block: self.len,
            before: TAIL,
            last: LastBlock::Short,
        }
    }

    fn block(&self, before: &[u8], plain: &[u8], place: Place, to: &mut Vec<u8>) -> io::Result<()> {
        let idle = self.idle().pop();
        let mut compressor = idle.unwrap_or_else(|| self.settings.compressor());
        compressor.begin(before);
        compressor.write(plain, to);
        compressor.flush(to);
        compressor.writer().stored(&[], to);
        if place == Place::Last {
            compressor.writer().end_stream(to);
        }
        self.idle().push(compressor);
        Ok(())
    }
}
