//! Owns making compressed streams again as the programs that made them did, bit for bit. Values in, bytes out.
//!
//! An encoder takes decisions that no format prescribes: which match it takes, where a block ends, how long a code is.
//! Each folder here takes those of one program, and [`Method`] names a program with its settings. Nothing here is a
//! guess that anybody relies on: whoever drops a blob has made all of it again first, and compared its digest.

pub mod bits;
pub mod go;
#[cfg(test)]
mod golden;
pub mod huffman;
/// The inputs of tests beside other programs, for the streams that these made once.
#[cfg(test)]
#[path = "../../tests/encoders/inputs.rs"]
mod inputs;
pub mod klauspost;
pub mod libzstd;
pub mod method;
pub mod own;
pub mod tables;
pub mod zlib;

use std::io;

pub use method::{Hints, Method};

/// Compresses one stream from its first byte to its last. What comes out does not depend on how the input is cut.
pub trait StreamEncoder: Send {
    /// Takes plain bytes; appends what is ready of the stream.
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()>;

    /// Ends the stream; appends what is left of it.
    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()>;
}

/// Compresses blocks, each by itself, so that several can be at a time. Joined in order they are the stream.
pub trait BlockEncoder: Send + Sync {
    /// Returns how the plain bytes are cut.
    fn shape(&self) -> Shape;

    /// Appends one block. `before` is what comes before it in the plain bytes, as much as there is and the shape asks for.
    fn block(&self, before: &[u8], plain: &[u8], place: Place, to: &mut Vec<u8>) -> io::Result<()>;
}

/// How plain bytes are cut into blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// How many plain bytes each block has, but for the last.
    pub block: usize,
    /// How many of the plain bytes before it a block refers to.
    pub before: usize,
    /// Whether plain bytes that fill their blocks exactly are followed by an empty block.
    pub last: LastBlock,
}

/// What the last block may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastBlock {
    /// At least one byte, where there is any at all: a program that knows its input's end when it cuts.
    Full,
    /// Shorter than the others, and so possibly empty: a program that is told of the end later.
    Short,
}

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Others follow.
    Inner,
    /// It ends the stream.
    Last,
}

/// An encoder that is ready to begin.
#[expect(missing_debug_implementations, reason = "encoders are large tables")]
pub enum Engine {
    /// One byte after another.
    Stream(Box<dyn StreamEncoder>),
    /// Blocks side by side.
    Blocks(Box<dyn BlockEncoder>),
}

impl Engine {
    /// Compresses all of `plain`, on this thread.
    pub fn run(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                stream.write(plain, to)?;
                stream.finish(to)
            }
            Self::Blocks(blocks) => {
                let shape = blocks.shape();
                let mut at = 0;
                while shape.is_inner(at as u64, plain.len() as u64) {
                    let end = at + shape.block;
                    let before = &plain[at.saturating_sub(shape.before)..at];
                    blocks.block(before, &plain[at..end], Place::Inner, to)?;
                    at = end;
                }
                let before = &plain[at.saturating_sub(shape.before)..at];
                blocks.block(before, &plain[at..], Place::Last, to)
            }
        }
    }
}

impl Shape {
    /// Tells whether others follow the block that begins at `at`, of `len` bytes in all.
    pub fn is_inner(&self, at: u64, len: u64) -> bool {
        let end = at.saturating_add(self.block as u64);
        match self.last {
            LastBlock::Full => end < len,
            LastBlock::Short => end <= len,
        }
    }
}
