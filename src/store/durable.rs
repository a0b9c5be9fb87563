//! Owns durable writes: what is named has its bytes, after a power cut too.
//! The one place that creates, renames and removes files of a store; `clippy.toml` keeps others out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::RenameFlags;

use crate::error::{Context, Result, quoted};

/// Creates a file that must not be there yet, for its owner alone.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .context("create", quoted(path))
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
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context("create the folder", quoted(path))
}

/// Puts `bytes` in place of the file at `path`: whoever reads it sees the old bytes or the new ones.
pub(crate) fn replace(path: &Path, staged: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create_new(staged)?;
    file.write_all(bytes).context("write", quoted(staged))?;
    file.sync_all().context("sync", quoted(staged))?;
    rename(staged, path)?;
    sync_parent(path)
}

/// Renames, replacing what is there.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the layer that the ban leads to"
)]
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("rename a file to", quoted(to))
}

/// Renames into place unless something is there already; makes the folder where it is missing.
///
/// Returns whether it was renamed.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool> {
    let attempt = || {
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE)
    };
    let mut outcome = attempt();
    if outcome == Err(rustix::io::Errno::NOENT)
        && let Some(folder) = to.parent()
    {
        create_folder(folder)?;
        outcome = attempt();
    }
    match outcome {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(e) => Err(e).context("rename a file to", quoted(to)),
    }
}

/// Removes a file; that it is gone already is fine.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the layer that the ban leads to"
)]
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).context("remove", quoted(path)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; that it is gone already is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).context("remove the folder", quoted(path))
        }
        _ => Ok(()),
    }
}

/// Makes a folder's names durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
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
pub(crate) fn sync_all(path: &Path) -> Result<()> {
    let folder = File::open(path).context("open", quoted(path))?;
    rustix::fs::syncfs(&folder).context("sync the file system of", quoted(path))
}

/// Creates a file that must not be there yet, for whoever the umask lets read it: it is not the store's.
pub(crate) fn create_shared(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .context("create", quoted(path))
}

#[cfg(test)]
mod tests {
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
    fn opening_a_fifo_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(open_regular(&path).is_err());
    }
}
