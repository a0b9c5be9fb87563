//! Owns where a checkout goes: a directory beside the target, which takes its place whole or goes away whole.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::host;
use super::plan::path_from_root;
use crate::error::{Context, Error, Result, quoted};
use crate::store::Store;

const ACT: &str = "check out to";

/// A directory on its way to its place.
#[derive(Debug)]
pub(super) struct Staging {
    target: PathBuf,
    parent: OwnedFd,
    name: OsString,
    /// Its name until then.
    staged: Vec<u8>,
    /// Whether an empty directory is in its place.
    replaces: bool,
    root: OwnedFd,
}

impl Staging {
    /// Makes a directory beside `target`, which must be a new name or an empty directory outside the store.
    pub(super) fn beside(store: &Store, target: &Path) -> Result<Self> {
        // Without `.` and slashes at the end, so that a symlink in its place is looked at, not followed.
        let target: PathBuf = std::path::absolute(target)
            .context(ACT, quoted(target))?
            .components()
            .collect();
        let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(
                Error::failed(ACT, quoted(&target), "it has no name in a directory")
                    .hint("name a new or an empty directory"),
            );
        };
        let name = name.to_owned();
        refuse_store(store, above, &name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(above, flags, Mode::empty())
            .context("open the directory", quoted(above))?;
        let replaces = is_empty_dir(&parent, &name, &target)?;
        let staged = make_sibling(&parent, &name, &target)?;
        let root = host::open_dir(parent.as_fd(), &staged)
            .context("open the new directory beside", quoted(&target))?;
        Ok(Self {
            target,
            parent,
            name,
            staged,
            replaces,
            root,
        })
    }

    /// Returns the directory.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Puts it in its place, all at once.
    pub(super) fn put_in_place(&self) -> Result<()> {
        let (parent, to) = (&self.parent, self.name.as_os_str());
        let from = OsStr::from_bytes(&self.staged);
        let plain = || rustix::fs::renameat(parent, from, parent, to);
        let done = if self.replaces {
            plain()
        } else {
            match rustix::fs::renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
                // Not every file system knows the flag; a plain rename at least replaces nothing but an empty directory.
                Err(Errno::INVAL | Errno::NOSYS) => plain(),
                other => other,
            }
        };
        match done {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Error::failed(
                ACT,
                quoted(&self.target),
                "something else appeared there meanwhile",
            )
            .hint("run it again with another directory")),
            Err(Errno::BUSY) => {
                Err(
                    Error::failed(ACT, quoted(&self.target), "it is a mount point")
                        .hint("name a new directory inside it"),
                )
            }
            other => other.context("rename the new directory to", quoted(&self.target)),
        }
    }

    /// Removes it and all that is in it.
    pub(super) fn discard(&self) -> Result<()> {
        let gone = host::unlock_dir(self.parent.as_fd(), &self.staged)
            .and_then(|()| remove_below(self.root()))
            .and_then(|()| {
                rustix::fs::unlinkat(&self.parent, self.staged.as_slice(), AtFlags::REMOVEDIR)
            });
        let staged = self.target.with_file_name(OsStr::from_bytes(&self.staged));
        gone.context("remove the unfinished directory", quoted(&staged))
    }
}

fn refuse_store(store: &Store, above: &Path, name: &OsStr) -> Result<()> {
    let target = above.join(name);
    let real = above
        .canonicalize()
        .context("open the directory", quoted(above))?
        .join(name);
    let root = store
        .root()
        .canonicalize()
        .context("open the store", quoted(store.root()))?;
    if real.starts_with(root) {
        return Err(
            Error::failed(ACT, quoted(&target), "it is inside the store")
                .hint("name a directory elsewhere"),
        );
    }
    Ok(())
}

/// Tells an empty directory from a name that is free; anything else is refused.
fn is_empty_dir(parent: &OwnedFd, name: &OsStr, target: &Path) -> Result<bool> {
    let stat = match host::stat(parent.as_fd(), name.as_bytes()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.context("look at", quoted(target))?,
    };
    let refuse = |why: &str| {
        Err(Error::failed(ACT, quoted(target), why)
            .hint("name a directory that is empty or not there yet"))
    };
    match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory => {}
        FileType::Symlink => return refuse("it is a symlink"),
        _ => return refuse("it is not a directory"),
    }
    let dir = host::open_dir(parent.as_fd(), name.as_bytes())
        .context("open the directory", quoted(target))?;
    let names = names_in(dir).context("read the directory", quoted(target))?;
    if names.is_empty() {
        Ok(true)
    } else {
        refuse("it is not empty")
    }
}

/// Makes a directory for its owner alone, with a name that says whose it is.
fn make_sibling(parent: &OwnedFd, name: &OsStr, target: &Path) -> Result<Vec<u8>> {
    let stem = &name.as_bytes()[..name.len().min(200)];
    loop {
        let random = RandomState::new().build_hasher().finish() & 0xffff_ffff;
        let mut staged = b".".to_vec();
        staged.extend_from_slice(stem);
        staged.extend_from_slice(format!(".ocistore-{random:08x}").as_bytes());
        match host::make_dir(parent.as_fd(), &staged) {
            Ok(()) => return Ok(staged),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e).context("make a directory beside", quoted(target)),
        }
    }
}

/// Removes all that is below `root`, however deep, without ever holding more than two handles.
fn remove_below(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut dirs: Vec<(u32, Box<[u8]>)> = vec![(0, Box::default())];
    let mut next = 0;
    while next < dirs.len() {
        let parent = u32::try_from(next).map_err(|_| Errno::OVERFLOW)?;
        let path = removal_path(&dirs, parent);
        let dir = host::open_dir(root, &path)?;
        for name in names_in(host::open_dir(root, &path)?)? {
            match rustix::fs::unlinkat(&dir, name.as_ref(), AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    host::unlock_dir(dir.as_fd(), &name)?;
                    dirs.push((parent, name));
                }
                other => other?,
            }
        }
        next += 1;
    }
    for (parent, name) in dirs.iter().skip(1).rev() {
        let above = host::open_dir(root, &removal_path(&dirs, *parent))?;
        rustix::fs::unlinkat(&above, name.as_ref(), AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn removal_path(dirs: &[(u32, Box<[u8]>)], at: u32) -> Vec<u8> {
    path_from_root(at, |at| {
        let (parent, name) = &dirs[at as usize];
        (*parent, name)
    })
}

fn names_in(dir: OwnedFd) -> rustix::io::Result<Vec<Box<[u8]>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(dir)? {
        let name: Box<[u8]> = entry?.file_name().to_bytes().into();
        if !matches!(&*name, b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}
