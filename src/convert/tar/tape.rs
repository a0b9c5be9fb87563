//! Owns the seam between the parser and where a tar comes from: a stream at import, a recipe later.

use crate::error::Error;
use crate::meta::Meta;
use crate::recipe::Piece;

/// A tar that is read once, front to back.
pub(crate) trait Tape {
    /// Returns how many bytes were read so far.
    fn at(&self) -> u64;

    /// Reads up to `to.len()` bytes; fewer only at the end.
    fn read(&mut self, to: &mut [u8]) -> Result<usize, Error>;

    /// Passes over up to `len` bytes; returns how many there were.
    fn skip(&mut self, len: u64) -> Result<u64, Error>;

    /// Takes the next bytes as a file's content; returns whether they were all there.
    fn content(&mut self, content: &Stored<'_>) -> Result<bool, Error>;
}

/// A file's content as a tar stores it.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    /// Bytes in the tar.
    pub(crate) bytes: u64,
    /// Bytes of the file, its holes filled in; at least 1.
    pub(crate) size: u64,
    /// Where the stored bytes go, for a sparse file: in order, without overlap, as many as are stored.
    pub(crate) pieces: Option<&'a [Piece]>,
    /// The file's metadata.
    pub(crate) meta: &'a Meta,
}
