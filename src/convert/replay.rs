//! Owns reading a layer's entries back from its recipe: the same parser, on a tape without contents.

use super::tar::{Stored, Tape, parse_layer};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::recipe::{ContentRef, Segment};
use crate::store::{RecipeFile, Segments};
use crate::warning::Warnings;

/// Reads a layer's entries and contents, and what was odd about it.
pub(crate) fn replay(
    recipe: &RecipeFile,
    warnings: &mut Warnings,
) -> Result<(Vec<Entry>, Vec<ContentRef>)> {
    let contents = recipe.contents()?;
    let layer = recipe.trailer().diff_id.to_string();
    let segments = recipe.segments()?;
    let mut tape = ReplayTape {
        segments,
        literal: Vec::new(),
        used: 0,
        at: 0,
        contents: &contents,
        next: 0,
        ended: false,
    };
    // What was taken in once was within its limits then.
    let entries =
        parse_layer(&mut tape, &Limits::NONE, warnings).map_err(|e| e.in_layer(&layer))?;
    if tape.next != contents.len() || tape.at != recipe.trailer().tar_size {
        return Err(Error::damaged(
            "read the recipe of the layer",
            layer,
            "it does not add up to its tar",
        ));
    }
    Ok((entries, contents))
}

struct ReplayTape<'a> {
    segments: Segments,
    literal: Vec<u8>,
    used: usize,
    at: u64,
    contents: &'a [ContentRef],
    next: usize,
    ended: bool,
}

impl ReplayTape<'_> {
    /// Makes sure that literal bytes are at hand; returns whether there are any before the next content.
    fn refill(&mut self) -> Result<bool> {
        while self.used == self.literal.len() && !self.ended {
            match self.segments.next_segment()? {
                Segment::Literal(bytes) => (self.literal, self.used) = (bytes, 0),
                Segment::End => self.ended = true,
                Segment::Whole | Segment::Pieces(_) => return Err(torn()),
            }
        }
        Ok(self.used < self.literal.len())
    }

    fn take(&mut self, most: u64) -> Result<&[u8]> {
        if !self.refill()? {
            return Ok(&[]);
        }
        let n = (self.literal.len() - self.used).min(usize::try_from(most).unwrap_or(usize::MAX));
        self.used += n;
        self.at += n as u64;
        Ok(&self.literal[self.used - n..self.used])
    }
}

fn torn() -> Error {
    Error::damaged("read", "a recipe", "a content where the tar has a header")
}

impl Tape for ReplayTape<'_> {
    fn at(&self) -> u64 {
        self.at
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < to.len() {
            let bytes = self.take((to.len() - got) as u64)?;
            if bytes.is_empty() {
                break;
            }
            to[got..got + bytes.len()].copy_from_slice(bytes);
            got += bytes.len();
        }
        Ok(got)
    }

    fn skip(&mut self, len: u64) -> Result<u64> {
        let mut rest = len;
        while rest > 0 {
            let bytes = self.take(rest)?;
            if bytes.is_empty() {
                break;
            }
            rest -= bytes.len() as u64;
        }
        Ok(len - rest)
    }

    fn content(&mut self, content: &Stored<'_>) -> Result<bool> {
        let known = self
            .contents
            .get(self.next)
            .is_some_and(|c| c.size == content.size);
        let segment = if self.used == self.literal.len() {
            self.segments.next_segment()?
        } else {
            Segment::End
        };
        let fits = match segment {
            Segment::Whole => content.pieces.is_none(),
            Segment::Pieces(pieces) => content.pieces == Some(&pieces[..]),
            Segment::Literal(_) | Segment::End => false,
        };
        if !known || !fits {
            return Err(torn());
        }
        self.next += 1;
        self.at += content.bytes;
        Ok(true)
    }
}
