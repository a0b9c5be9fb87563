//! Owns sparse files: old GNU headers, and the three forms of PAX.

use super::{Block, Parser, TarError};
use crate::convert::tar::extended::{Extended, check_map, decimal};
use crate::convert::tar::header::{BLOCK, Header};
use crate::recipe::Piece;

/// A sparse file's layout.
pub(super) struct Sparse {
    /// Bytes of data in the tar.
    pub(super) stored: u64,
    /// Bytes of the file.
    pub(super) size: u64,
    pub(super) pieces: Vec<Piece>,
}

impl Parser<'_> {
    /// Returns the layout of a sparse file of any of the four forms, or `None` for a plain one.
    pub(super) fn sparse(
        &mut self,
        block: &Block,
        extended: &Extended,
        stored: u64,
    ) -> Result<Option<Sparse>, TarError> {
        let pax = &extended.pax.sparse;
        let (size, raw, stored) = if Header(block).kind() == b'S' {
            if pax.is_used() {
                return self.refuse("a sparse file with two maps");
            }
            let (size, pieces) = self.gnu_sparse(block)?;
            (size, pieces, stored)
        } else if pax.is_used() {
            let Some(size) = pax.real_size else {
                return self.refuse("a sparse file without its real size");
            };
            match (pax.major, pax.minor) {
                (Some(1), Some(0)) => {
                    let (pieces, used) = self.sparse_map_in_data(stored)?;
                    (size, pieces, stored - used)
                }
                (None | Some(0), None | Some(0 | 1)) => (size, pax.pieces.clone(), stored),
                (major, minor) => {
                    let (major, minor) = (major.unwrap_or(0), minor.unwrap_or(0));
                    return self.refuse(format!("a sparse file of format {major}.{minor}"));
                }
            }
        } else {
            return Ok(None);
        };
        let pieces = self.say(check_map(&raw, size, stored))?;
        Ok(Some(Sparse {
            stored,
            size,
            pieces,
        }))
    }

    fn gnu_sparse(&mut self, block: &Block) -> Result<(u64, Vec<Piece>), TarError> {
        let (real, mut part) = self.say(Header(block).gnu_sparse())?;
        let real = self.say(u64::try_from(real).map_err(|_| format!("a real size of {real}")))?;
        let mut pieces = std::mem::take(&mut part.pieces);
        while part.more {
            let mut block = [0; BLOCK];
            if self.tape.read(&mut block)? < BLOCK {
                return self.refuse("the tar is cut off within a sparse map");
            }
            part = self.say(Header(&block).gnu_sparse_more())?;
            pieces.append(&mut part.pieces);
            if pieces.len() as u64 > self.limits.sparse_pieces {
                return self.refuse(format!(
                    "over {} pieces of a sparse file (--max-sparse)",
                    self.limits.sparse_pieces
                ));
            }
        }
        Ok((real, pieces))
    }

    /// Reads the map that format 1.0 puts before the data; returns it and how many bytes it took.
    fn sparse_map_in_data(&mut self, stored: u64) -> Result<(Vec<Piece>, u64), TarError> {
        let mut map = MapInData {
            used: 0,
            stored,
            line: Vec::new(),
            block: [0; BLOCK],
            at: BLOCK,
        };
        let count = self.map_number(&mut map)?;
        if count > self.limits.sparse_pieces {
            return self.refuse(format!(
                "over {} pieces of a sparse file (--max-sparse)",
                self.limits.sparse_pieces
            ));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push(Piece {
                offset: self.map_number(&mut map)?,
                len: self.map_number(&mut map)?,
            });
        }
        Ok((pieces, map.used))
    }

    fn map_number(&mut self, map: &mut MapInData) -> Result<u64, TarError> {
        map.line.clear();
        loop {
            if map.at == BLOCK {
                if map.used + BLOCK as u64 > map.stored || self.tape.read(&mut map.block)? < BLOCK {
                    return self.refuse("a sparse map that is cut off");
                }
                map.used += BLOCK as u64;
                map.at = 0;
            }
            let byte = map.block[map.at];
            map.at += 1;
            if byte == b'\n' {
                return self.say(decimal(&map.line).map_err(|why| format!("sparse map: {why}")));
            }
            map.line.push(byte);
            if map.line.len() > 20 {
                return self.refuse("a sparse map with a number that is too long");
            }
        }
    }
}

/// The map of sparse format 1.0, read block by block.
struct MapInData {
    used: u64,
    stored: u64,
    line: Vec<u8>,
    block: Block,
    at: usize,
}
