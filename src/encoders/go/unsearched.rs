//! Owns what looks for no matches: level 0, which stores, and `HuffmanOnly`. Both cut blocks of 65535 bytes.

use std::io;

use super::blocks::{Blocks, LONGEST_STORED};
use crate::encoders::{Place, StreamEncoder};

/// What becomes of a block.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// It is stored.
    Stored,
    /// Its bytes get codes, unless they would win too little.
    Coded,
}

pub(super) struct Unsearched {
    kind: Kind,
    held: Vec<u8>,
    blocks: Blocks,
}

impl Unsearched {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            held: Vec::with_capacity(LONGEST_STORED),
            blocks: Blocks::new(),
        }
    }

    fn block(&mut self, to: &mut Vec<u8>) {
        match self.kind {
            Kind::Stored => self.blocks.stored(&self.held, Place::Inner, to),
            Kind::Coded => self.blocks.literals(&self.held, to),
        }
        self.held.clear();
    }
}

impl StreamEncoder for Unsearched {
    fn write(&mut self, mut plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        while !plain.is_empty() {
            if self.held.len() == LONGEST_STORED {
                self.block(to);
            }
            let room = LONGEST_STORED - self.held.len();
            let (taken, rest) = plain.split_at(plain.len().min(room));
            self.held.extend_from_slice(taken);
            plain = rest;
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        if !self.held.is_empty() {
            self.block(to);
        }
        self.blocks.stored(&[], Place::Last, to);
        Ok(())
    }
}
