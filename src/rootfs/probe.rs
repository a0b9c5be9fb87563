//! Owns asking the host which extended attributes it takes at all, once a name instead of once a file.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::host;
use crate::error::{Context, Result};

/// A file without a name to try attributes on.
#[derive(Debug)]
pub(super) struct Probe {
    file: std::fs::File,
    known: Mutex<HashMap<Box<[u8]>, Option<String>>>,
}

impl Probe {
    /// What the file is called until it is open.
    const NAME: &[u8] = b"probe";

    /// Makes the file on the file system of the directory `at`.
    pub(super) fn new(at: BorrowedFd<'_>) -> Result<Self> {
        let file =
            host::make_file(at, Self::NAME).context("create a file in", "the new directory")?;
        host::unlink(at, Self::NAME).context("remove a file from", "the new directory")?;
        Ok(Self {
            file,
            known: Mutex::default(),
        })
    }

    /// Returns why the host takes no attribute of this name; what it holds against one value does not count.
    pub(super) fn refuses(&self, name: &[u8], value: &[u8]) -> Option<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(name) {
            return answer.clone();
        }
        let answer = match rustix::fs::fsetxattr(&self.file, name, value, XattrFlags::empty()) {
            Err(e @ (Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)) => {
                Some(std::io::Error::from(e).to_string())
            }
            _ => None,
        };
        known.insert(name.into(), answer.clone());
        answer
    }
}
