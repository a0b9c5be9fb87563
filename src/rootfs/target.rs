//! Owns where a checkout goes: a directory beside the target, which takes its place whole or goes away whole.
//!
//! Whoever may write to the directory that both are in, its owner for example, may rename either and put something
//! else under its name, at any time. So the name is only trusted where it leads to the directory that was made, and
//! the way there and back goes through handles.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, StatxAttributes};
use rustix::io::Errno;

use super::host;
use super::plan::path_from_root;
use crate::error::{Cause, Context, Error, Result, quoted};
use crate::store::Store;
use crate::store::paths::FOLDERS;

/// A directory on its way to its place.
#[derive(Debug)]
pub(crate) struct Staging {
    target: Target,
    parent: OwnedFd,
    name: OsString,
    /// Its name until then.
    staged: Vec<u8>,
    /// Whether an empty directory is in its place.
    replaces: bool,
    root: OwnedFd,
}

/// A place, and what is done there, for errors.
#[derive(Debug)]
struct Target {
    act: &'static str,
    path: PathBuf,
}

impl Target {
    fn fails(&self, why: impl Into<String>) -> Error {
        Error::failed(self.act, quoted(&self.path), why)
    }

    /// Returns the directory that it is in.
    fn above(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn is_mount_point(&self) -> Error {
        self.fails("it is a mount point")
            .hint("name a new directory inside it")
    }
}

impl Staging {
    /// Makes a directory beside `target`, which must be a new name or an empty directory outside the store.
    ///
    /// `act` is what is done there, as errors say it.
    pub(crate) fn beside(store: &Store, target: &Path, act: &'static str) -> Result<Self> {
        // Without `.` and slashes at the end, so that a symlink in its place is looked at, not followed.
        let path = std::path::absolute(target)
            .context(act, quoted(target))?
            .components()
            .collect();
        let target = Target { act, path };
        let Some(name) = target.path.file_name() else {
            return Err(target
                .fails("it has no name in a directory")
                .hint("name a new or an empty directory"));
        };
        let name = name.to_owned();
        let parent = open_parent(target.above()).map_err(|e| no_parent(e, &target))?;
        refuse_store(store, &parent, &name, &target)?;
        let replaces = is_empty_dir(&parent, &name, &target)?;
        let staged = make_sibling(&parent, &name, &target)?;
        let root = open_staged(&parent, &staged, &target)?;
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
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes a directory in it, for us alone.
    pub(crate) fn make_dir(&self, name: &str) -> Result<OwnedFd> {
        let path = || self.target.path.join(name);
        host::make_dir(self.root(), name.as_bytes())
            .and_then(|()| host::open_child(self.root(), name.as_bytes()))
            .map_err(|e| Error::new("make the directory", quoted(&path()), Cause::Io(e.into())))
    }

    /// Writes a new file in it, which whoever can get there may read.
    pub(crate) fn put_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let made = host::make_file_as(self.root(), name.as_bytes(), 0o644);
        let written = made
            .map_err(io::Error::from)
            .and_then(|mut file| file.write_all(bytes));
        written.context("write", quoted(&self.target.path.join(name)))
    }

    /// Lets those of one more group go through it, to what they know to be in it.
    pub(crate) fn let_through(&self, gid: u32) -> Result<()> {
        let mode = Mode::RWXU | Mode::XGRP;
        rustix::fs::fchown(&self.root, None, Some(Gid::from_raw(gid)))
            .and_then(|()| rustix::fs::fchmod(&self.root, mode))
            .context("set the group of", quoted(&self.target.path))
    }

    /// Makes durable all that is in it.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.root).context("sync the file system of", "the new directory")
    }

    /// Does something in it, and puts it in its place; where either fails, it goes away, and its place is as it was.
    pub(crate) fn conclude<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = work().and_then(|done| self.put_in_place().map(|()| done));
        done.map_err(|failure| match self.discard() {
            Ok(()) => with_next_step(failure),
            Err(left) => failure.hint(left.to_string()),
        })
    }

    /// Puts it in its place, all at once.
    pub(super) fn put_in_place(&self) -> Result<()> {
        self.check_parent()?;
        self.check_is(&self.staged, "the new directory beside it was moved away")?;
        self.rename()?;
        match self.is_at(self.name.as_bytes()) {
            Ok(false) | Err(Errno::NOENT) => Err(self.swapped("something else was put there")),
            // It is in its place: where that cannot be looked at any more, it must not be emptied for it.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Makes its place durable.
    pub(crate) fn sync_place(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = match rustix::fs::openat(&self.parent, c".", flags, Mode::empty()) {
            Ok(parent) => rustix::fs::fsync(parent),
            // It may be written to and not read.
            Err(Errno::ACCESS) => rustix::fs::syncfs(self.root()),
            Err(e) => Err(e),
        };
        match synced {
            // Not every file system has something to sync there.
            Err(Errno::INVAL) => Ok(()),
            other => other.context("sync the directory of", quoted(&self.target.path)),
        }
    }

    /// Fails where the target's directory is not the one that it was.
    fn check_parent(&self) -> Result<()> {
        let above = self.target.above();
        let now = open_parent(above).and_then(|now| host::identify(now.as_fd(), b""));
        let then = host::identify(self.parent.as_fd(), b"").context("look at", quoted(above))?;
        match now {
            Ok(now) if now == then => return Ok(()),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
            Err(e) => return Err(e).context("look at", quoted(above)),
        }
        Err(self.swapped(&format!("its directory {} is another now", quoted(above))))
    }

    /// Fails where a name does not lead to the directory that was made.
    fn check_is(&self, name: &[u8], why: &str) -> Result<()> {
        match self.is_at(name) {
            Ok(true) => Ok(()),
            Ok(false) | Err(Errno::NOENT) => Err(self.swapped(why)),
            Err(e) => Err(e).context("look at", quoted(&self.target.path)),
        }
    }

    fn is_at(&self, name: &[u8]) -> rustix::io::Result<bool> {
        Ok(host::identify(self.parent.as_fd(), name)? == host::identify(self.root(), b"")?)
    }

    fn swapped(&self, why: &str) -> Error {
        self.target
            .fails(why)
            .hint("run it again where nobody else moves directories")
    }

    fn rename(&self) -> Result<()> {
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
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Err(self
                .target
                .fails("something else appeared there meanwhile")
                .hint("run it again with another directory")),
            Err(Errno::BUSY) => Err(self.target.is_mount_point()),
            other => other.context("rename the new directory to", quoted(&self.target.path)),
        }
    }

    /// Removes it and all that is in it.
    pub(super) fn discard(&self) -> Result<()> {
        const ACT: &str = "remove the unfinished directory";
        let staged = self
            .target
            .path
            .with_file_name(OsStr::from_bytes(&self.staged));
        let mut gone = host::open_up(self.root()).and_then(|()| remove_below(self.root()));
        for _ in 0..2 {
            // Somebody may have moved things while they were removed: another look finds what there is now.
            gone = gone.or_else(|_| remove_below(self.root()));
        }
        gone.context(ACT, quoted(&staged))?;
        if self.is_at(&self.staged) != Ok(true) {
            return Err(Error::failed(
                ACT,
                quoted(&staged),
                "it was moved away, empty",
            ));
        }
        rustix::fs::unlinkat(&self.parent, self.staged.as_slice(), AtFlags::REMOVEDIR)
            .context(ACT, quoted(&staged))
    }
}

fn with_next_step(failure: Error) -> Error {
    match failure.cause() {
        Cause::Io(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            failure.hint("make room there, or name a directory on another file system")
        }
        _ => failure,
    }
}

fn open_parent(above: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(above, flags, Mode::empty())
}

fn no_parent(e: Errno, target: &Target) -> Error {
    let above = target.above();
    let (why, hint) = match e {
        Errno::NOENT => ("is not there", "make it first"),
        Errno::NOTDIR => ("is not a directory", "name another directory"),
        _ => return Error::new("open the directory", quoted(above), Cause::Io(e.into())),
    };
    let why = format!("its directory {} {why}", quoted(above));
    target.fails(why).hint(hint)
}

/// Opens what was just made, and nothing that was put in its place since: its owner could get in.
fn open_staged(parent: &OwnedFd, staged: &[u8], target: &Target) -> Result<OwnedFd> {
    let opened = host::open_dir(parent.as_fd(), staged).and_then(|dir| {
        let ours = host::is_private(dir.as_fd())?;
        let names = names_in(host::open_dir(dir.as_fd(), b"")?)?;
        Ok((ours && names.is_empty()).then_some(dir))
    });
    match opened {
        Ok(Some(dir)) => Ok(dir),
        Ok(None) | Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT | Errno::ACCESS) => {
            let why = "the new directory beside it is not ours alone";
            Err(target
                .fails(why)
                .hint("run it again where files are your own and nobody else moves directories"))
        }
        Err(e) => Err(e).context("open the new directory beside", quoted(&target.path)),
    }
}

/// Refuses what is inside the store, whatever path leads there: a symlink, or another mount of it.
fn refuse_store(store: &Store, parent: &OwnedFd, name: &OsStr, target: &Target) -> Result<()> {
    let look = || -> rustix::io::Result<bool> {
        let store = store.folder().as_fd();
        let mut inside = vec![host::identify(store, b"")?];
        let folders = FOLDERS.map(|folder| host::identify(store, folder.as_bytes()));
        inside.extend(folders.into_iter().flatten());
        let mut here = host::identify(parent.as_fd(), b"")?;
        let mut met = vec![here];
        match host::identify(parent.as_fd(), name.as_bytes()) {
            Err(Errno::NOENT) => {}
            other => met.push(other?),
        }
        let mut folder = open_above(parent.as_fd())?;
        loop {
            let above = host::identify(folder.as_fd(), b"")?;
            if above == here {
                return Ok(met.iter().any(|met| inside.contains(met)));
            }
            met.push(above);
            here = above;
            folder = open_above(folder.as_fd())?;
        }
    };
    if look().context("look at the directories above", quoted(&target.path))? {
        return Err(target
            .fails("it is inside the store")
            .hint("name a directory elsewhere"));
    }
    Ok(())
}

fn open_above(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, c"..", flags, Mode::empty())
}

/// Tells an empty directory from a name that is free; anything else is refused.
fn is_empty_dir(parent: &OwnedFd, name: &OsStr, target: &Target) -> Result<bool> {
    let stat = match host::stat(parent.as_fd(), name.as_bytes()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.context("look at", quoted(&target.path))?,
    };
    let refuse = |why: &str| {
        Err(target
            .fails(why)
            .hint("name a directory that is empty or not there yet"))
    };
    match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        FileType::Directory if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => {
            return Err(target.is_mount_point());
        }
        FileType::Directory => {}
        FileType::Symlink => return refuse("it is a symlink"),
        _ => return refuse("it is not a directory"),
    }
    let dir = host::open_dir(parent.as_fd(), name.as_bytes())
        .context("open the directory", quoted(&target.path))?;
    let names = names_in(dir).context("read the directory", quoted(&target.path))?;
    if names.is_empty() {
        Ok(true)
    } else {
        refuse("it is not empty")
    }
}

/// Makes a directory for its owner alone, with a name that says whose it is.
fn make_sibling(parent: &OwnedFd, name: &OsStr, target: &Target) -> Result<Vec<u8>> {
    let stem = &name.as_bytes()[..name.len().min(200)];
    loop {
        let random = RandomState::new().build_hasher().finish() & 0xffff_ffff;
        let mut staged = b".".to_vec();
        staged.extend_from_slice(stem);
        staged.extend_from_slice(format!(".ocistore-{random:08x}").as_bytes());
        match host::make_dir(parent.as_fd(), &staged) {
            Ok(()) => return Ok(staged),
            Err(Errno::EXIST) => {}
            Err(e) => {
                let error = Error::new(
                    "make a directory beside",
                    quoted(&target.path),
                    Cause::Io(e.into()),
                );
                return Err(match e {
                    Errno::ACCESS | Errno::PERM | Errno::ROFS => {
                        error.hint("name a directory where you may make one")
                    }
                    _ => error,
                });
            }
        }
    }
}

/// Removes all that is below `root`, however deep, without ever holding more than two handles.
pub(super) fn remove_below(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
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
