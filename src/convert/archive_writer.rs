//! Owns writing archives of images: tars whose bytes depend on nothing but names and contents.

use std::io::{self, Write};

use super::archive::{BLOCK, Head, NAME_FITS, header_block};
use crate::error::{Context, Error, Result};

/// Writes a tar, member by member.
#[derive(Debug)]
pub(super) struct ArchiveWriter<W: Write> {
    to: W,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to }
    }

    /// Adds a folder.
    pub(super) fn folder(&mut self, name: &str) -> Result<()> {
        self.header(name, Head::Folder)
            .context("write the archive", name)
    }

    /// Adds a file of `size` bytes, which `fill` writes.
    pub(super) fn file(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        self.header(name, Head::File(size))
            .context("write the archive", name)?;
        let mut counted = Counted {
            to: &mut self.to,
            len: 0,
        };
        fill(&mut counted)?;
        let len = counted.len;
        if len != size {
            let why = format!("expected {size} bytes, got {len}");
            return Err(Error::damaged("write the archive", name, why));
        }
        self.pad(size).context("write the archive", name)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        let end = [0; 2 * BLOCK];
        self.to
            .write_all(&end)
            .and_then(|()| self.to.flush())
            .context("write", "the archive")?;
        Ok(self.to)
    }

    fn header(&mut self, name: &str, head: Head) -> io::Result<()> {
        if name.len() > NAME_FITS {
            // What does not fit into a header goes before it, as GNU tar does it.
            let len = name.len() as u64 + 1;
            self.to
                .write_all(&header_block("././@LongLink", Head::LongName(len)))?;
            self.to.write_all(name.as_bytes())?;
            self.to.write_all(&[0])?;
            self.pad(len)?;
        }
        self.to.write_all(&header_block(name, head))
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.to
            .write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])
    }
}

struct Counted<'a, W: Write> {
    to: &'a mut W,
    len: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::open;
    use super::*;

    #[test]
    fn what_is_written_is_found_again_under_long_names_too() {
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let mut writer = ArchiveWriter::new(Vec::new());
        writer.folder("blobs/").unwrap();
        for name in ["oci-layout", &long] {
            writer
                .file(name, 3, |to| to.write_all(b"abc").context("write", "x"))
                .unwrap();
        }
        let bytes = writer.finish().unwrap();
        let archive = open(&bytes).unwrap();
        assert_eq!(archive.read("oci-layout", 10).unwrap().unwrap(), b"abc");
        assert_eq!(archive.read(&long, 10).unwrap().unwrap(), b"abc");
        assert_eq!(archive.read("oci-layout", 2).unwrap_err().exit_code(), 4);
        assert_eq!(archive.read("blobs", 10).unwrap_err().exit_code(), 4);
    }

    #[test]
    fn a_member_of_another_length_than_its_header_says_is_an_error() {
        let mut writer = ArchiveWriter::new(Vec::new());
        assert!(
            writer
                .file("a", 3, |to| to.write_all(b"ab").context("write", "x"))
                .is_err()
        );
    }
}
