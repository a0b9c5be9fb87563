//! Owns trying an encoder on the beginning of a compressed stream: it is out at its first byte that differs.

use std::io;

use crate::encoders::{Engine, Method, Place, StreamEncoder};

/// How much of the plain bytes goes into an encoder before what comes out is compared.
const STEP: usize = 64 << 10;

/// The beginning of a part, compressed and not.
pub(super) struct Trial<'a> {
    pub(super) plain: &'a [u8],
    /// Whether there is no more of it.
    pub(super) is_all: bool,
    pub(super) packed: &'a [u8],
    /// The length of all that is compressed.
    pub(super) len: u64,
}

impl Trial<'_> {
    /// Returns how many bytes are the same, or `None` where none shows to be another.
    pub(super) fn run(&self, method: Method) -> Option<usize> {
        let mut made = Vec::new();
        // An encoder that fails has not made it.
        let ran = match method.engine() {
            Engine::Stream(mut stream) => self.run_stream(&mut *stream, &mut made),
            Engine::Blocks(blocks) => {
                let shape = blocks.shape();
                let (mut at, len) = (0usize, self.plain.len() as u64);
                let mut ran = Ok(());
                while ran.is_ok() && self.fits(&made) && shape.is_inner(at as u64, len) {
                    let before = &self.plain[at.saturating_sub(shape.before)..at];
                    let plain = &self.plain[at..at + shape.block];
                    ran = blocks.block(before, plain, Place::Inner, &mut made);
                    at += shape.block;
                }
                if ran.is_ok() && self.is_all && self.fits(&made) {
                    let before = &self.plain[at.saturating_sub(shape.before)..at];
                    ran = blocks.block(before, &self.plain[at..], Place::Last, &mut made);
                }
                ran
            }
        };
        let is_whole = !self.is_all || made.len() as u64 == self.len;
        let fits = ran.is_ok() && self.fits(&made) && is_whole;
        let same = || made.iter().zip(self.packed).take_while(|(a, b)| a == b);
        (!fits).then(|| same().count())
    }

    fn run_stream(&self, stream: &mut dyn StreamEncoder, made: &mut Vec<u8>) -> io::Result<()> {
        for piece in self.plain.chunks(STEP) {
            stream.write(piece, made)?;
            if !self.fits(made) {
                return Ok(());
            }
        }
        match self.is_all {
            true => stream.finish(made),
            false => Ok(()),
        }
    }

    fn fits(&self, made: &[u8]) -> bool {
        let len = made.len().min(self.packed.len());
        made[..len] == self.packed[..len]
    }
}
