//! Owns taking contents out of a layer's tar by its recipe, which says where they are. What comes out is hashed by
//! whoever takes it: a tar that is not the layer's, or is damaged somewhere, gives what of it is right and no more.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::compress::Compression;
use crate::error::{Context, Result};
use crate::recipe::{ContentRef, Piece, Segment};
use crate::store::RecipeFile;
use crate::watch::Watch;

/// How much is in memory at a time.
const CHUNK: usize = 256 << 10;

/// A tar that may end, or break, anywhere.
pub(super) struct Tar<'a> {
    from: Box<dyn Read + 'a>,
    watch: &'a dyn Watch,
    chunk: Vec<u8>,
    /// Whether it ended too early.
    broken: bool,
}

impl<'a> Tar<'a> {
    /// Begins to read a layer's blob; its bytes say how it is compressed.
    pub(super) fn open(blob: Box<dyn Read + 'a>, watch: &'a dyn Watch) -> Option<Self> {
        let mut from = BufReader::with_capacity(CHUNK, blob);
        let compression = Compression::sniff(from.fill_buf().ok()?);
        Some(Self {
            from: compression.reader(from).ok()?,
            watch,
            chunk: vec![0; CHUNK],
            broken: false,
        })
    }

    /// Passes `len` bytes to `to`; returns whether they were there.
    fn pass(&mut self, mut len: u64, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        while len > 0 && !self.broken {
            self.watch.check()?;
            let most = usize::try_from(len).unwrap_or(CHUNK).min(CHUNK);
            match self.from.read(&mut self.chunk[..most]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(n) if n > 0 => {
                    to(&self.chunk[..n])?;
                    self.watch.advance(n as u64);
                    len -= n as u64;
                }
                Ok(_) | Err(_) => self.broken = true,
            }
        }
        Ok(!self.broken)
    }

    fn skip(&mut self, len: u64) -> Result<bool> {
        self.pass(len, &mut |_| Ok(()))
    }
}

/// A content at its place in a tar.
pub(super) struct Found<'t, 'a> {
    tar: &'t mut Tar<'a>,
    content: &'t ContentRef,
    pieces: &'t [Piece],
}

impl Found<'_, '_> {
    /// Writes it to an empty file; returns whether it was all there.
    pub(super) fn write(&mut self, file: &mut File) -> Result<bool> {
        let id = self.content.id;
        for piece in self.pieces {
            let mut at = piece.offset;
            let mut write = |bytes: &[u8]| {
                file.write_all_at(bytes, at)
                    .context("write the content", id)?;
                at += bytes.len() as u64;
                Ok(())
            };
            if !self.tar.pass(piece.len, &mut write)? {
                return Ok(false);
            }
        }
        file.set_len(self.content.size)
            .context("write the content", id)?;
        file.flush().context("write the content", id)?;
        Ok(true)
    }
}

/// What to do with a content that the tar comes to.
pub(super) enum Want {
    /// It is not wanted.
    Pass,
    /// It was taken.
    Taken,
    /// Nothing further is wanted.
    Enough,
}

/// Is asked about each content in turn.
pub(super) type Take<'t> = dyn FnMut(&ContentRef, &mut Found<'_, '_>) -> Result<Want> + 't;

/// Walks through a layer's tar; `take` is shown every content and reads it or not.
pub(super) fn walk(recipe: &RecipeFile, tar: &mut Tar<'_>, take: &mut Take<'_>) -> Result<()> {
    // Contents first: reading them moves the file that the segments come from.
    let mut contents = recipe.contents()?.into_iter();
    let mut segments = recipe.segments()?;
    loop {
        let pieces = match segments.next_segment()? {
            Segment::Literal(bytes) => {
                if !tar.skip(bytes.len() as u64)? {
                    return Ok(());
                }
                continue;
            }
            Segment::Whole => None,
            Segment::Pieces(pieces) => Some(pieces),
            Segment::End => return Ok(()),
        };
        let Some(content) = contents.next() else {
            return Ok(());
        };
        let whole = [Piece {
            offset: 0,
            len: content.size,
        }];
        let pieces = pieces.as_deref().unwrap_or(&whole);
        let mut found = Found {
            tar,
            content: &content,
            pieces,
        };
        match take(&content, &mut found)? {
            Want::Taken => {}
            Want::Enough => return Ok(()),
            Want::Pass => {
                tar.skip(pieces.iter().map(|piece| piece.len).sum())?;
            }
        }
        if tar.broken {
            return Ok(());
        }
    }
}
