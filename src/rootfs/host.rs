//! Owns the system calls that write below one directory handle.
//! Refuses to follow a symlink, whoever put it there, and to leave the directory.
//!
//! Nobody but processes of our own user can enter the directory while it is filled. Whatever those swap in it: a name
//! is only ever made new, or opened without following it and looked at before it is changed through that handle. A
//! symlink or a link to another file in the place of what was made is an error. A directory of theirs, moved here
//! whole, is written into: that takes the right to write there themselves.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Statx, StatxFlags, Uid};
use rustix::io::{Errno, Result};

use crate::meta::Meta;
use crate::store::inodes::{self, Has, RefusedXattr, Stat};
use crate::tree::Device;

/// The longest path that one system call takes, without its NUL.
const PATH_MAX: usize = 4095;

/// What directories are while they are filled: nobody else's business.
const PRIVATE_DIR: Mode = Mode::RWXU;

/// The same as a number.
pub(super) const PRIVATE: u16 = 0o700;

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

/// Makes a directory with these permission bits, as far as the host lets new ones have them. Nobody else can get to it
/// as long as one above it is private.
pub(super) fn make_dir_as(at: BorrowedFd<'_>, name: &[u8], mode: u16) -> Result<()> {
    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(u32::from(mode)))
}

/// Opens a directory in another one.
pub(super) fn open_child(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    rustix::fs::openat(at, name, dir_flags(), Mode::empty())
}

/// Lets its owner into an open directory again.
pub(super) fn open_up(dir: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fchmod(dir, PRIVATE_DIR)
}

/// Lets its owner into a directory again, whatever mode it was given.
pub(super) fn unlock_dir(at: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match rustix::fs::openat(at, name, dir_flags(), Mode::empty()) {
        Ok(dir) => rustix::fs::fchmod(&dir, PRIVATE_DIR),
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(at, name, flags, Mode::empty())?;
            chmod_unopened(&dir, PRIVATE_DIR)
        }
        Err(e) => Err(e),
    }
}

/// Changes the mode of what a handle of `O_PATH` leads to: the kernel takes no such handle itself, but what stands
/// for it in `/proc`.
fn chmod_unopened(pinned: &OwnedFd, mode: Mode) -> Result<()> {
    rustix::fs::chmodat(
        rustix::fs::CWD,
        inodes::path_of(pinned.as_fd()),
        mode,
        AtFlags::empty(),
    )
}

/// What tells one file from all others: its file system and its number there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Identity {
    device: (u32, u32),
    inode: u64,
}

impl Identity {
    /// Returns the one that the system told.
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
        }
    }
}

/// Returns what `name` in `at` is; the empty name is `at` itself.
pub(super) fn identify(at: BorrowedFd<'_>, name: &[u8]) -> Result<Identity> {
    let flags = match name.is_empty() {
        true => AtFlags::EMPTY_PATH,
        false => AtFlags::SYMLINK_NOFOLLOW,
    };
    let stat = rustix::fs::statx(at, name, flags, StatxFlags::INO)?;
    Ok(Identity::of(&stat))
}

/// Tells whether a directory is our own, and nobody else can enter it.
pub(super) fn is_private(dir: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, inodes::stat_flags())?;
    let others = Mode::RWXG | Mode::RWXO;
    let mode = Mode::from_raw_mode(u32::from(stat.stx_mode));
    Ok(stat.stx_uid == rustix::process::geteuid().as_raw() && !mode.intersects(others))
}

/// Makes a new regular file that nobody else can open.
pub(super) fn make_file(at: BorrowedFd<'_>, name: &[u8]) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

/// Makes a new regular file with these permission bits, as far as the host lets new ones have them. Nobody else can
/// get to it as long as a directory above it is private.
pub(super) fn make_file_as(at: BorrowedFd<'_>, name: &[u8], mode: u16) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::from_raw_mode(u32::from(mode))).map(File::from)
}

/// What the host gives new entries by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Born {
    uid: u32,
    gid: u32,
    /// The permission bits that they can have: a umask or a default ACL takes the others away.
    bits: u16,
}

impl Born {
    /// Returns what an entry has that was made with these permission bits.
    pub(super) fn with_mode(self, mode: u16) -> Has {
        let Self { uid, gid, bits } = self;
        Has {
            mode: mode & bits,
            uid,
            gid,
        }
    }
}

/// Makes a directory in `at` and looks at what it has; `None` where new entries get more than an owner and a mode.
pub(super) fn born(at: BorrowedFd<'_>) -> Result<Option<Born>> {
    const NAME: &[u8] = b"born";
    rustix::fs::mkdirat(at, NAME, Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
    let stat = stat(at, NAME)?;
    rustix::fs::unlinkat(at, NAME, AtFlags::REMOVEDIR)?;
    let Stat { mode, uid, gid, .. } = Stat::seen(&stat);
    // With setgid it follows from the directory that something is made in, and without these nothing could be made.
    let plain = mode & 0o7700 == 0o700;
    Ok(plain.then_some(Born {
        uid,
        gid,
        bits: mode,
    }))
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
) -> io::Result<Vec<RefusedXattr>> {
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = meta;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let stat = rustix::fs::statx(&pinned, c"", AtFlags::EMPTY_PATH, inodes::stat_flags())?;
    if FileType::from_raw_mode(u32::from(stat.stx_mode)) != kind || stat.stx_nlink > 1 {
        return Err(io::Error::other(
            "something else was put in its place meanwhile",
        ));
    }
    let owner = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
    rustix::fs::chownat(&pinned, c"", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
    if kind != FileType::Symlink {
        chmod_unopened(&pinned, Mode::from_raw_mode(u32::from(*mode)))?;
    }
    let mut refused = Vec::new();
    for (key, value) in xattrs {
        if let Err(e) = inodes::set_xattr_unopened(pinned.as_fd(), key, value) {
            refused.push(RefusedXattr {
                name: key.clone(),
                why: e.to_string(),
            });
        }
    }
    let times = inodes::timestamps(*mtime);
    match rustix::fs::utimensat(&pinned, c"", &times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8. This one follows no symlink either.
        Err(Errno::INVAL | Errno::NOENT) => {
            rustix::fs::utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        other => other?,
    }
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

    /// A directory with a fifo in it that something else was put in the place of, and what must not be touched.
    fn swapped(swap: impl Fn(&std::path::Path, &std::path::Path)) {
        let dir = tempfile::tempdir().unwrap();
        let (root, victim) = (root(&dir), dir.path().join("victim"));
        make_node(
            root.as_fd(),
            b"victim",
            FileType::Fifo,
            Device { major: 0, minor: 0 },
        )
        .unwrap();
        swap(&victim, &dir.path().join("fifo"));
        let before = stat(root.as_fd(), b"victim").unwrap();
        let meta = Meta {
            mode: 0o777,
            ..Meta::default()
        };
        let error = give_unopened(root.as_fd(), b"fifo", &meta, FileType::Fifo).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
        let after = stat(root.as_fd(), b"victim").unwrap();
        assert_eq!(Stat::seen(&after), Stat::seen(&before));
    }

    #[test]
    fn what_was_put_in_the_place_of_a_fifo_is_not_changed() {
        swapped(|victim, place| std::os::unix::fs::symlink(victim, place).unwrap());
        swapped(|victim, place| std::fs::hard_link(victim, place).unwrap());
        swapped(|_, place| std::fs::create_dir(place).unwrap());
    }

    #[test]
    fn a_symlink_in_the_place_of_a_directory_is_not_opened_up() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(&dir);
        make_dir(root.as_fd(), b"victim").unwrap();
        let shut = |name: &[u8], mode| {
            rustix::fs::chmodat(
                root.as_fd(),
                name,
                Mode::from_raw_mode(mode),
                AtFlags::empty(),
            )
        };
        shut(b"victim", 0o500).unwrap();
        make_symlink(root.as_fd(), b"link", b"victim").unwrap();
        unlock_dir(root.as_fd(), b"link").unwrap_err();
        let mode = || stat(root.as_fd(), b"victim").unwrap().stx_mode & Meta::MODE_BITS;
        assert_eq!(mode(), 0o500);
        for locked in [0, 0o500, 0o300] {
            shut(b"victim", locked).unwrap();
            unlock_dir(root.as_fd(), b"victim").unwrap();
            assert_eq!(mode(), 0o700);
        }
    }

    #[test]
    fn a_symlink_gets_its_own_metadata_and_what_it_leads_to_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(&dir);
        drop(make_file(root.as_fd(), b"victim").unwrap());
        make_symlink(root.as_fd(), b"link", b"victim").unwrap();
        let meta = Meta {
            mode: 0o777,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: crate::meta::Mtime { secs: 7, nanos: 5 },
            xattrs: [((*b"trusted.note").into(), (*b"of the link").into())].into(),
        };
        let before = stat(root.as_fd(), b"victim").unwrap();
        let refused = give_unopened(root.as_fd(), b"link", &meta, FileType::Symlink).unwrap();
        let after = stat(root.as_fd(), b"victim").unwrap();
        assert_eq!(Stat::seen(&after), Stat::seen(&before));
        let link = stat(root.as_fd(), b"link").unwrap().stx_mtime;
        assert_eq!((link.tv_sec, link.tv_nsec), (7, 5));
        let get = |name: &str| inodes::get_xattr(&dir.path().join(name), b"trusted.note");
        assert!(!matches!(get("victim"), Ok(Some(_))));
        // An ordinary user, and some file systems, have no such attributes.
        if refused.is_empty() {
            assert_eq!(get("link").unwrap().unwrap(), b"of the link");
        }
    }
}
