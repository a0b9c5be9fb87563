//! Owns the way of an image to its file: mostly forward, in large pieces, and back where a number was not known before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// How much is held back.
const ROOM: usize = 1 << 20;

/// A file while it is written.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// Where `held` begins: all before it is in the file.
    begin: u64,
    held: Vec<u8>,
}

impl Sink {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            begin: 0,
            held: Vec::new(),
        }
    }

    /// Puts bytes at a place; what is left out up to there is zeros.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let before = usize::try_from(self.begin.saturating_sub(at)).unwrap_or(usize::MAX);
        let (before, bytes) = bytes.split_at(before.min(bytes.len()));
        self.file.write_all_at(before, at)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let from = usize::try_from((at + before.len() as u64).saturating_sub(self.begin))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let end = from + bytes.len();
        if end > self.held.len() {
            self.held.resize(end, 0);
        }
        self.held[from..end].copy_from_slice(bytes);
        if self.held.len() >= ROOM {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.held, self.begin)?;
        self.begin += self.held.len() as u64;
        self.held.clear();
        Ok(())
    }

    /// Writes what is held back, and zeros up to `length`; returns the file.
    pub(super) fn finish(mut self, length: u64) -> io::Result<File> {
        self.flush()?;
        self.file.set_len(length)?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_put_anywhere_is_there_in_the_end() {
        let (mut wanted, mut sink) = (vec![0; 3 * ROOM], Sink::new(tempfile::tempfile().unwrap()));
        let mut put = |at: usize, bytes: &[u8]| {
            wanted[at..at + bytes.len()].copy_from_slice(bytes);
            sink.put(at as u64, bytes).unwrap();
        };
        put(5, b"first");
        put(ROOM - 2, b"over the edge");
        // Half of it is in the file by now.
        put(2, b"earlier");
        put(ROOM + 5, &[7; 100]);
        put(ROOM, b"in between, and back");
        put(2 * ROOM, &[9; ROOM]);
        put(2 * ROOM - 1, &[1; 10]);
        let file = sink.finish(3 * ROOM as u64).unwrap();
        let mut seen = vec![0; 4 * ROOM];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut seen[at..], at as u64).unwrap();
            if read == 0 {
                break;
            }
            at += read;
        }
        seen.truncate(at);
        assert!(seen == wanted);
        assert_eq!((&file).read(&mut [0]).unwrap(), 1);
    }
}
