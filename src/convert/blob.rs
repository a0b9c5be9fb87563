//! Owns a blob as a source has it: a file, a part of an archive, or bytes in memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::archive::{Archive, Range};
use crate::error::{Context, Result};

/// A blob in a source: a file, a part of one, or bytes in memory.
#[derive(Clone, Debug)]
pub struct SourceBlob {
    data: Data,
    size: u64,
}

#[derive(Clone, Debug)]
enum Data {
    Whole(Arc<File>),
    Range(Arc<File>, u64),
    Bytes(Arc<[u8]>),
}

impl SourceBlob {
    pub(super) fn whole(file: File) -> Result<Self> {
        let size = file.metadata().context("read", "a blob")?.len();
        Ok(Self {
            data: Data::Whole(Arc::new(file)),
            size,
        })
    }

    pub(super) fn range(archive: &Archive, range: Range) -> Self {
        Self {
            data: Data::Range(Arc::clone(archive.file()), range.offset),
            size: range.size,
        }
    }

    pub(super) fn bytes(bytes: Arc<[u8]>) -> Self {
        Self {
            size: bytes.len() as u64,
            data: Data::Bytes(bytes),
        }
    }

    /// Returns how many bytes are there, which is not yet what the descriptor promises.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the file that is exactly this blob, which can be shared by reflink; `None` where there is none.
    pub fn whole_file(&self) -> Option<&File> {
        match &self.data {
            Data::Whole(file) => Some(file),
            Data::Range(..) | Data::Bytes(_) => None,
        }
    }

    /// Returns a reader of its own: several may read one blob, or one archive, side by side.
    pub fn reader(&self) -> BlobReader {
        BlobReader {
            data: self.data.clone(),
            at: 0,
            size: self.size,
        }
    }
}

/// Reads a blob from its first byte to its last, by positioned reads.
#[derive(Debug)]
pub struct BlobReader {
    data: Data,
    at: u64,
    size: u64,
}

impl Read for BlobReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let most = left.min(to.len());
        let to = &mut to[..most];
        let n = match &self.data {
            Data::Whole(file) => file.read_at(to, self.at)?,
            Data::Range(file, offset) => file.read_at(to, offset + self.at)?,
            Data::Bytes(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                to.copy_from_slice(&bytes[at..at + to.len()]);
                to.len()
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}
