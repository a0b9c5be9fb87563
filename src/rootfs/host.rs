//! Owns the system calls that write below one directory handle.
//! Refuses to follow a symlink, whoever put it there, and to leave the directory.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Statx, Uid};
use rustix::io::{Errno, Result};

use crate::meta::Meta;
use crate::store::inodes::{self, RefusedXattr};
use crate::tree::Device;

/// The longest path that one system call takes, without its NUL.
const PATH_MAX: usize = 4095;

/// What directories are while they are filled: nobody else's business.
const PRIVATE_DIR: Mode = Mode::RWXU;

/// Opens the directory at `path` below `root`; the empty path is `root` itself.
pub(super) fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    if path.len() <= PATH_MAX {
        return open_piece(root, path);
    }
    let mut rest = path;
    let mut folder: Option<OwnedFd> = None;
    loop {
        let at = folder.as_ref().map_or(root, AsFd::as_fd);
        // Names are shorter than a piece, so that there is always a place to cut.
        let cut = rest
            .get(..PATH_MAX)
            .and_then(|piece| piece.iter().rposition(|b| *b == b'/'));
        let Some(cut) = cut.filter(|_| rest.len() > PATH_MAX) else {
            return open_piece(at, rest);
        };
        folder = Some(open_piece(at, &rest[..cut])?);
        rest = &rest[cut + 1..];
    }
}

fn open_piece(at: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(at, path, dir_flags(), Mode::empty(), resolve) {
        // Older kernels and sandboxes do not know the call; one step at a time is as safe.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(at, path),
        other => other,
    }
}

fn open_stepwise(at: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    let mut folder: Option<OwnedFd> = None;
    for name in path.split(|b| *b == b'/') {
        let above = folder.as_ref().map_or(at, AsFd::as_fd);
        folder = Some(rustix::fs::openat(above, name, dir_flags(), Mode::empty())?);
    }
    folder.ok_or(Errno::NOENT)
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Makes a directory that nobody else can enter.
pub(super) fn make_dir(at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    rustix::fs::mkdirat(at, name, PRIVATE_DIR)
}

/// Lets its owner into a directory again, whatever mode it was given.
pub(super) fn unlock_dir(at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    rustix::fs::chmodat(at, name, PRIVATE_DIR, AtFlags::empty())
}

/// Makes a new regular file that nobody else can open.
pub(super) fn make_file(at: BorrowedFd<'_>, name: &[u8]) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Makes a symlink, without its metadata.
pub(super) fn make_symlink(at: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<()> {
    rustix::fs::symlinkat(target, at, name)
}

/// Makes a fifo or a device, without its metadata.
pub(super) fn make_node(
    at: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    device: Device,
) -> Result<()> {
    let Device { major, minor } = device;
    rustix::fs::mknodat(
        at,
        name,
        kind,
        Mode::RUSR | Mode::WUSR,
        rustix::fs::makedev(major, minor),
    )
}

/// Makes another name of what `from` is, a symlink too.
pub(super) fn link(
    (from_at, from): (BorrowedFd<'_>, &[u8]),
    (to_at, to): (BorrowedFd<'_>, &[u8]),
) -> Result<()> {
    rustix::fs::linkat(from_at, from, to_at, to, AtFlags::empty())
}

/// Removes a name that is no directory's; that it is gone already is fine.
pub(super) fn unlink(at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Returns what the system says of a name itself.
pub(super) fn stat(at: BorrowedFd<'_>, name: &[u8]) -> Result<Statx> {
    rustix::fs::statx(at, name, AtFlags::SYMLINK_NOFOLLOW, inodes::stat_flags())
}

/// Gives what must not be opened (a symlink, a fifo, a device) its metadata: owner, mode, xattrs, times.
pub(super) fn give_unopened(
    at: BorrowedFd<'_>,
    name: &[u8],
    meta: &Meta,
    kind: FileType,
) -> Result<Vec<RefusedXattr>> {
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = meta;
    let owner = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
    rustix::fs::chownat(at, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        // Follows symlinks, but this is none: it was made a moment ago in a directory of our own.
        rustix::fs::chmodat(
            at,
            name,
            Mode::from_raw_mode(u32::from(*mode)),
            AtFlags::empty(),
        )?;
    }
    let mut refused = Vec::new();
    if !xattrs.is_empty() {
        let path = PathBuf::from(format!("/proc/self/fd/{}", at.as_raw_fd()))
            .join(OsStr::from_bytes(name));
        for (key, value) in xattrs {
            if let Err(e) = inodes::set_xattr(&path, key, value) {
                refused.push(RefusedXattr {
                    name: key.clone(),
                    why: e.to_string(),
                });
            }
        }
    }
    rustix::fs::utimensat(
        at,
        name,
        &inodes::timestamps(*mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dir: &tempfile::TempDir) -> OwnedFd {
        rustix::fs::open(dir.path(), dir_flags(), Mode::empty()).unwrap()
    }

    #[test]
    fn a_directory_is_never_reached_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(&dir);
        make_dir(root.as_fd(), b"a").unwrap();
        make_symlink(root.as_fd(), b"b", b"a").unwrap();
        make_symlink(root.as_fd(), b"out", b"/").unwrap();
        for open in [open_piece, open_stepwise] {
            open(root.as_fd(), b"a").unwrap();
            assert!(open(root.as_fd(), b"b").is_err());
            assert!(open(root.as_fd(), b"out").is_err());
            assert!(open(root.as_fd(), b"out/etc").is_err());
        }
        assert!(open_piece(root.as_fd(), b"..").is_err());
    }

    #[test]
    fn a_path_longer_than_the_system_takes_is_opened_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(&dir);
        let name = [b'n'; 255];
        let mut path = Vec::new();
        for _ in 0..40 {
            let at = open_dir(root.as_fd(), &path).unwrap();
            make_dir(at.as_fd(), &name).unwrap();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
        }
        assert!(path.len() > 2 * PATH_MAX);
        open_dir(root.as_fd(), &path).unwrap();
    }
}
