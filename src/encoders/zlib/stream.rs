//! Owns what comes as one stream: zlib's, GNU gzip's and BusyBox's.

use std::io;

use super::BusyboxSize;
use super::deflate::{Deflate, Family, Shape};
use super::level::Level;
use super::tokens::Ending;
use crate::encoders::{Engine, Place, StreamEncoder};

/// A stream without blocks that its program would have asked for.
struct Whole(Deflate);

impl StreamEncoder for Whole {
    fn write(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.0.take(plain, to);
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        self.0.end_block(Place::Last, to);
        Ok(())
    }
}

/// Returns zlib's encoder.
pub(super) fn zlib(level: u8, memory: u8) -> Engine {
    Engine::Stream(Box::new(Whole(Deflate::new(zlib_shape(level, memory)))))
}

/// Returns GNU gzip's encoder.
pub(super) fn gnu(level: u8) -> Engine {
    let shape = Shape {
        family: Family::Gnu,
        level: Level::of(level),
        hash_bits: 15,
        tokens: 1 << 15,
        ending: if level > 2 {
            Ending::Early
        } else {
            Ending::Full
        },
    };
    Engine::Stream(Box::new(Whole(Deflate::new(shape))))
}

/// Returns BusyBox's encoder.
pub(super) fn busybox(level: u8, size: BusyboxSize) -> Engine {
    let bits = match size {
        BusyboxSize::Small => 13,
        BusyboxSize::Medium => 14,
        BusyboxSize::Large => 15,
    };
    let shape = Shape {
        family: Family::Busybox,
        level: Level::of(level),
        hash_bits: bits,
        tokens: 1 << bits,
        ending: Ending::Early,
    };
    Engine::Stream(Box::new(Whole(Deflate::new(shape))))
}

/// Returns what a level and a memory level of zlib come to.
pub(super) fn zlib_shape(level: u8, memory: u8) -> Shape {
    Shape {
        family: Family::Zlib,
        level: Level::of(level),
        hash_bits: u32::from(memory) + 7,
        tokens: 1 << (memory + 6),
        ending: Ending::Full,
    }
}
