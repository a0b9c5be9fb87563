//! Owns asking the host what it takes at all, once instead of once a file: extended attributes by name, owners.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Gid, Uid, XattrFlags};
use rustix::io::Errno;

use super::host;
use crate::error::{Context, Result, io_text};

/// A file without a name to try things on.
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
        // Only a directory takes this one, where files take the other.
        let tried = match name {
            b"system.posix_acl_default" => b"system.posix_acl_access",
            other => other,
        };
        let answer = match rustix::fs::fsetxattr(&self.file, tried, value, XattrFlags::empty()) {
            Err(e @ (Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)) => {
                Some(std::io::Error::from(e).to_string())
            }
            _ => None,
        };
        known.insert(name.into(), answer.clone());
        answer
    }

    /// Returns why the host does not let a file be this user's and group's.
    pub(super) fn refuses_owner(&self, (uid, gid): (u32, u32)) -> Option<String> {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let done = rustix::fs::fchown(&self.file, owner.0, owner.1);
        done.err().map(|e| match e {
            Errno::INVAL | Errno::OVERFLOW => "this user namespace has no such id".to_owned(),
            other => io_text(&other.into()),
        })
    }
}
