//! Owns durable writes: what is named has its bytes, after a power cut too.
//! The one place that creates, renames and removes files of a store; `clippy.toml` keeps others out.
//!
//! All of it goes through one seam, [`Disk`]. Tests of crashes record there what a store does to its disk.

mod host;
#[cfg(test)]
pub(crate) mod recorder;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::IFlags;
use rustix::io::Errno;

use crate::error::{Cause, Context, Error, Result, quoted};

/// The seam between a store and its disk: every operation that a power cut can undo.
trait Disk {
    /// Creates a file that must not be there yet.
    fn create(&self, path: &Path, access: Access) -> io::Result<File>;
    /// Creates one folder for its owner alone.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder whose name begins with `prefix` and is nobody else's.
    fn make_own_folder(&self, parent: &Path, prefix: &str) -> io::Result<PathBuf>;
    /// Renames a file, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file unless something is there.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a folder; only an empty one is replaced.
    fn rename_folder(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all that is in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes an open file's bytes durable.
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Makes a folder's names durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes everything on a file system durable; `folder` is open at `path`.
    fn sync_all(&self, folder: BorrowedFd<'_>, path: &Path) -> io::Result<()>;
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// Its owner alone.
    Owner,
    /// Whoever the umask lets.
    Umask,
}

/// Returns the disk that `path` is on.
#[cfg(not(test))]
fn disk(_path: &Path) -> host::Host {
    host::Host
}

#[cfg(test)]
fn disk(path: &Path) -> recorder::Watched {
    recorder::Watched::at(path)
}

/// Creates a file that must not be there yet, for its owner alone.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    disk(path)
        .create(path, Access::Owner)
        .context("create", quoted(path))
}

/// Creates a file as [`create_new`] does, and the folder it is in where that is missing.
pub(crate) fn create_new_below(path: &Path) -> Result<File> {
    let create = || disk(path).create(path, Access::Owner);
    with_folder_of(path, create)?.context("create", quoted(path))
}

/// Opens a file to read, whatever it turns out to be, without ever waiting for a fifo's writer.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

/// Creates a folder and those above it, for their owner alone.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    make_folders(path).context("create the folder", quoted(path))
}

fn make_folders(path: &Path) -> io::Result<()> {
    let make = || match disk(path).make_folder(path) {
        Err(_) if path.is_dir() => Ok(()),
        other => other,
    };
    match (make(), path.parent()) {
        (Err(e), Some(above)) if e.kind() == io::ErrorKind::NotFound => {
            make_folders(above)?;
            make()
        }
        (other, _) => other,
    }
}

/// Asks for each folder that will be made in this one to get a place of its own on the disk.
///
/// ext4 looks at each inode that was freed in the last minutes before it takes another near by, and takes one near the
/// folder: creating files beside many deleted ones is up to ten times slower. Other file systems have no such wish, and
/// nothing depends on it.
pub(crate) fn spread_folders_in(path: &Path) {
    let set = |folder: File| {
        let flags = rustix::fs::ioctl_getflags(&folder)?;
        rustix::fs::ioctl_setflags(&folder, flags | IFlags::TOPDIR)
    };
    File::open(path)
        .map_err(|_| Errno::NOENT)
        .and_then(set)
        .ok();
}

/// Creates a folder as [`create_folder`] does, and makes its name durable, and those of the folders made above it.
pub(crate) fn create_root(path: &Path) -> Result<()> {
    let missing = path
        .ancestors()
        .take_while(|p| !p.as_os_str().is_empty() && !p.exists());
    let missing: Vec<&Path> = missing.collect();
    create_folder(path)?;
    if missing.is_empty() {
        // Whoever made it may have died before its name was durable. Where we may not look, it was not us.
        let synced = sync_parent(path);
        let refused = |e: &Error| matches!(e.cause(), Cause::Io(e) if e.kind() == io::ErrorKind::PermissionDenied);
        return synced.or_else(|e| if refused(&e) { Ok(()) } else { Err(e) });
    }
    missing.into_iter().try_for_each(sync_parent)
}

/// Creates a folder in `parent` whose name begins with `prefix` and is nobody else's.
pub(crate) fn create_own_folder(parent: &Path, prefix: &str) -> Result<PathBuf> {
    disk(parent)
        .make_own_folder(parent, prefix)
        .context("make a folder in", quoted(parent))
}

/// Puts `bytes` in place of the file at `path`: whoever reads it sees the old bytes or the new ones.
pub(crate) fn replace(path: &Path, staged: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create_new(staged)?;
    file.write_all(bytes).context("write", quoted(staged))?;
    sync_file(&file, staged)?;
    rename(staged, path)?;
    sync_parent(path)
}

/// Renames, replacing what is there.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    disk(from)
        .rename(from, to)
        .context("rename a file to", quoted(to))
}

/// Renames, replacing what is there; makes the folder where it is missing.
pub(crate) fn rename_below(from: &Path, to: &Path) -> Result<()> {
    let rename = || disk(from).rename(from, to);
    with_folder_of(to, rename)?.context("rename a file to", quoted(to))
}

/// Renames a folder with all that is in it, where there is none of that name, or an empty one.
///
/// Returns whether it was renamed. Where it was not, its files have to be moved one by one, and then say why.
pub(crate) fn rename_folder(from: &Path, to: &Path) -> bool {
    disk(from).rename_folder(from, to).is_ok()
}

/// Does `act`, a second time where the folder of `path` was missing and had to be made.
fn with_folder_of<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> Result<io::Result<T>> {
    match (act(), path.parent()) {
        (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => {
            create_folder(folder)?;
            Ok(act())
        }
        (other, _) => Ok(other),
    }
}

/// Renames into place unless something is there already; makes the folder where it is missing.
///
/// Returns whether it was renamed.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool> {
    match with_folder_of(to, || disk(from).rename_new(from, to))? {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e).context("rename a file to", quoted(to)),
    }
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    fine_if_gone(disk(path).remove(path)).context("remove", quoted(path))
}

/// Removes a folder and all that is in it; that it is gone already is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    fine_if_gone(disk(path).remove_folder(path)).context("remove the folder", quoted(path))
}

fn fine_if_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the bytes of a file durable that is open and has the name `path`.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<()> {
    disk(path)
        .sync_file(file, path)
        .context("sync", quoted(path))
}

/// Makes a folder's names durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    disk(path)
        .sync_folder(path)
        .context("sync the folder", quoted(path))
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

/// Makes everything on the file system of `path` durable: one call for a whole batch.
///
/// `folder` is what is open there, since before the batch began: a write that failed meanwhile, where the system wrote
/// on its own, is told to who had the file system open then. Who opens it later may not be told.
pub(crate) fn sync_all(folder: &impl AsFd, path: &Path) -> Result<()> {
    disk(path)
        .sync_all(folder.as_fd(), path)
        .context("sync the file system of", quoted(path))
}

/// Creates a file that must not be there yet, for whoever the umask lets read it: it is not the store's.
pub(crate) fn create_shared(path: &Path) -> Result<File> {
    disk(path)
        .create(path, Access::Umask)
        .context("create", quoted(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rename_new_makes_folders_and_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, to) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("x/y/to"),
        );
        create_new(&a).unwrap().write_all(b"first").unwrap();
        create_new(&b).unwrap().write_all(b"second").unwrap();
        assert!(rename_new(&a, &to).unwrap());
        assert!(!rename_new(&b, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"first");
    }

    #[test]
    fn a_folder_is_renamed_where_none_or_an_empty_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (from, file) in [("a", "a/1"), ("b", "b/1"), ("c", "c/1")] {
            create_new_below(&at(file)).unwrap();
            create_folder(&at("there")).unwrap();
            let to = if from == "a" { "new" } else { "there" };
            assert_eq!(rename_folder(&at(from), &at(to)), from != "c");
        }
        let names = |folder: &str| fs::read_dir(at(folder)).unwrap().count();
        assert_eq!((names("new"), names("there"), names("c")), (1, 1, 1));
    }

    #[test]
    fn opening_a_fifo_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(open_regular(&path).is_err());
    }
}
