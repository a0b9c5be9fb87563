//! Owns telling whether a mount lives, in whatever mount namespace, also where it is attached nowhere.
//!
//! A kernel marks the upper folder of an overlay as in use exactly as long as the overlay lives, and has forgotten that
//! after a reboot. A second overlay over the same upper folder is refused with `EBUSY` where it asks for an index. The
//! second one that is asked for here has its upper folder as its work folder, which is refused too, with `EINVAL`, but
//! only after the first question: so nothing is ever mounted or written, and a folder that nobody uses stays as it is.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};

use crate::store::inodes::path_of;

/// Whether a mount lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It does, or that cannot be told.
    Alive,
    /// It does not.
    Dead,
}

/// Tells whether an overlay with this upper folder lives; `any` is any folder.
///
/// Every mount asks this of itself once it lives: a kernel that answered otherwise than this expects gets no mount.
pub(super) fn of(upper: &Path, any: &Path) -> Life {
    match ask(upper, any) {
        Ok(Errno::INVAL) => Life::Dead,
        // Not permitted, no memory, no overlayfs: whatever it is, it is no answer.
        Ok(_) | Err(_) => Life::Alive,
    }
}

/// Returns what the kernel says of a second overlay.
fn ask(upper: &Path, any: &Path) -> rustix::io::Result<Errno> {
    let (upper, any) = (open(upper)?, open(any)?);
    let place = |handle: &OwnedFd| path_of(std::os::fd::AsFd::as_fd(handle));
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "index", "on")?;
    fsconfig_set_string(&overlay, "lowerdir", place(&any).as_path())?;
    fsconfig_set_string(&overlay, "upperdir", place(&upper).as_path())?;
    fsconfig_set_string(&overlay, "workdir", place(&upper).as_path())?;
    match fsconfig_create(&overlay) {
        Err(e) => Ok(e),
        // No kernel should: then this is not the kernel that was meant.
        Ok(()) => Ok(Errno::ALREADY),
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
