//! Owns pigz: zlib over blocks, each after what came before it, or each by itself; and what it does with one thread.
//!
//! The decisions are those of Mark Adler's pigz from 2.3 on with a zlib from 1.2.6 on.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::block::Coder;
use super::deflate::{Deflate, Shape};
use super::window::SIZE;
use crate::codec::{Cursor, DecodeError};
use crate::encoders::{self, BlockEncoder, Engine, LastBlock, Place, StreamEncoder};

/// How blocks depend on each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Form {
    /// Each block refers to the 32 KiB before it.
    Parallel,
    /// Each block stands by itself (`--independent`).
    Independent,
    /// One encoder goes on from block to block (`--processes 1`).
    OneThread,
}

impl Form {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Parallel => 0,
            Self::Independent => 1,
            Self::OneThread => 2,
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => Ok(Self::Parallel),
            1 => Ok(Self::Independent),
            2 => Ok(Self::OneThread),
            _ => Err(cursor.bad("form")),
        }
    }
}

/// Returns pigz's encoder; blocks have `block` bytes.
pub(super) fn pigz(shape: Shape, form: Form, block: usize) -> Engine {
    match form {
        Form::Parallel | Form::Independent => Engine::Blocks(Box::new(Blocks {
            shape,
            form,
            block,
            idle: Mutex::new(Vec::new()),
        })),
        Form::OneThread => Engine::Stream(Box::new(OneThread {
            deflate: Deflate::new(shape),
            block,
            left: block,
        })),
    }
}

struct Blocks {
    shape: Shape,
    form: Form,
    block: usize,
    /// Encoders that wait for another block.
    idle: Mutex<Vec<Deflate>>,
}

impl Blocks {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Deflate>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockEncoder for Blocks {
    fn shape(&self) -> encoders::Shape {
        encoders::Shape {
            block: self.block,
            before: if self.form == Form::Independent {
                0
            } else {
                SIZE
            },
            last: LastBlock::Full,
        }
    }

    fn block(&self, before: &[u8], plain: &[u8], place: Place, to: &mut Vec<u8>) -> io::Result<()> {
        let idle = self.idle().pop();
        let mut deflate = idle.unwrap_or_else(|| Deflate::new(self.shape));
        deflate.restart(&before[before.len().saturating_sub(SIZE)..]);
        deflate.take(plain, to);
        deflate.end_block(place, to);
        if place == Place::Inner {
            end_on_byte(&mut deflate.coder, self.form, to);
        }
        self.idle().push(deflate);
        Ok(())
    }
}

/// Has the next block begin on a byte: by empty blocks of 10 bits where those come out even, else by a stored one.
fn end_on_byte(coder: &mut Coder, form: Form, to: &mut Vec<u8>) {
    if form == Form::Independent {
        coder.stored(&[], Place::Inner, to);
        coder.stored(&[], Place::Inner, to);
    } else if coder.odd() % 2 == 1 {
        coder.stored(&[], Place::Inner, to);
    } else {
        while coder.odd() != 0 {
            coder.empty_fixed(to);
        }
        coder.align(to);
    }
}

struct OneThread {
    deflate: Deflate,
    block: usize,
    /// How many bytes the block still takes.
    left: usize,
}

impl StreamEncoder for OneThread {
    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        while !plain.is_empty() {
            if self.left == 0 {
                self.deflate.end_block(Place::Inner, to);
                end_on_byte(&mut self.deflate.coder, Form::OneThread, to);
                self.left = self.block;
            }
            let (now, later) = plain.split_at(plain.len().min(self.left));
            self.deflate.take(now, to);
            self.left -= now.len();
            plain = later;
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.deflate.end_block(Place::Last, to);
        Ok(())
    }
}
