//! Owns the disk as the system gives it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::{Access, Disk};

/// The system's own calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the layer that the ban leads to"
)]
impl Disk for Host {
    fn create(&self, path: &Path, access: Access) -> io::Result<File> {
        let mode = match access {
            Access::Owner => 0o600,
            Access::Umask => 0o666,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        options.open(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn make_own_folder(&self, parent: &Path, prefix: &str) -> io::Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        Ok(folder.keep())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let here = rustix::fs::CWD;
        Ok(rustix::fs::renameat_with(
            here,
            from,
            here,
            to,
            RenameFlags::NOREPLACE,
        )?)
    }

    fn rename_folder(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_file(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, folder: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
        rustix::fs::syncfs(folder)?;
        // An ext4 without a journal has the disk empty its cache before the last names have come to it: once more then.
        Ok(rustix::fs::fsync(folder)?)
    }
}
