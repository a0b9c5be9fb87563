//! Owns the calls that make a mount: an EROFS image from its file, an overlay over it whose data-only layer is the
//! store's `objects/`, and its place in the tree of the system.
//!
//! Nothing here is attached anywhere until [`attach`], so a mount that fails leaves nothing.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

use crate::error::{Cause, Context as _, Error, Result, quoted};
use crate::store::inodes::path_of;
use crate::store::mounts::Access;

/// What an overlay is made of.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    /// The image of the tree.
    pub(super) image: &'a File,
    /// The store's `objects/`.
    pub(super) objects: &'a OwnedFd,
    pub(super) upper: &'a OwnedFd,
    pub(super) work: &'a OwnedFd,
    /// An empty folder: kernels before 6.15 want the image attached somewhere while the overlay is made.
    pub(super) spare: &'a Path,
    /// What mount tables call it.
    pub(super) source: &'a str,
    pub(super) access: Access,
}

/// Fails where the kernel has not what a mount takes, or does not let this process use it: before anything is done.
pub(super) fn check() -> Result<()> {
    for (kind, what) in [("erofs", "EROFS"), ("overlay", "overlayfs")] {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC);
        context.map(drop).map_err(|e| refused(e, what, ""))?;
    }
    Ok(())
}

/// Makes the overlay, attached nowhere.
pub(super) fn overlay(layers: &Layers<'_>) -> Result<OwnedFd> {
    let image = erofs(layers.image)?;
    let lower = Lower::Handle(&image);
    match overlay_over(layers, &lower) {
        // Before 6.13 an overlay takes no handles, before 6.15 none of what is attached nowhere.
        Err((Errno::INVAL, _)) => {
            let attached = Attached::at(&image, layers.spare)?;
            overlay_over(layers, &Lower::Path(attached.0))
        }
        other => other,
    }
    .map_err(|(e, said)| refused(e, "overlayfs", &said))
}

/// The image, as an overlay is told where it is.
enum Lower<'a> {
    Handle(&'a OwnedFd),
    Path(&'a Path),
}

/// An image that is attached for a moment.
struct Attached<'a>(&'a Path);

impl<'a> Attached<'a> {
    fn at(image: &OwnedFd, folder: &'a Path) -> Result<Self> {
        attach(image, folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        unmount(self.0, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).ok();
    }
}

/// Makes the file system of an image, attached nowhere.
fn erofs(image: &File) -> Result<OwnedFd> {
    let make = |said: &mut Said| {
        let erofs = said.of(fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?);
        fsconfig_set_string(erofs, "source", path_of(image.as_fd()).as_path())?;
        fsconfig_set_flag(erofs, "ro")?;
        fsconfig_create(erofs)?;
        fsmount(
            erofs,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_RDONLY,
        )
    };
    let mut said = Said::default();
    make(&mut said).map_err(|e| refused(e, "EROFS", &said.text()))
}

/// Makes the overlay; fails with what the system said, and what the file system said besides.
fn overlay_over(layers: &Layers<'_>, lower: &Lower<'_>) -> Result<OwnedFd, (Errno, String)> {
    let make = |said: &mut Said| {
        let overlay = said.of(fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?);
        fsconfig_set_string(overlay, "source", layers.source)?;
        for (key, value) in [
            // What files are is in the image, and where their bytes are; a change of metadata copies no bytes.
            ("metacopy", "on"),
            ("redirect_dir", "on"),
            // Names of one inode stay that when one of them is written to; and the upper folder cannot be shared.
            ("index", "on"),
            // All is of one device, with the numbers that the image has.
            ("xino", "on"),
        ] {
            fsconfig_set_string(overlay, key, value)?;
        }
        match lower {
            Lower::Handle(image) => {
                fsconfig_set_fd(overlay, "lowerdir+", image)?;
                fsconfig_set_fd(overlay, "datadir+", layers.objects)?;
                fsconfig_set_fd(overlay, "upperdir", layers.upper)?;
                fsconfig_set_fd(overlay, "workdir", layers.work)?;
            }
            Lower::Path(image) => {
                let place = |folder: &OwnedFd| path_of(folder.as_fd());
                fsconfig_set_string(overlay, "lowerdir+", *image)?;
                fsconfig_set_string(overlay, "datadir+", place(layers.objects).as_path())?;
                fsconfig_set_string(overlay, "upperdir", place(layers.upper).as_path())?;
                fsconfig_set_string(overlay, "workdir", place(layers.work).as_path())?;
            }
        }
        let attributes = match layers.access {
            Access::ReadWrite => MountAttrFlags::empty(),
            Access::ReadOnly => {
                fsconfig_set_flag(overlay, "ro")?;
                MountAttrFlags::MOUNT_ATTR_RDONLY
            }
        };
        fsconfig_create(overlay)?;
        fsmount(overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let mut said = Said::default();
    make(&mut said).map_err(|e| (e, said.text()))
}

/// A file system that is being set up, for what it says of why it cannot be.
#[derive(Default)]
struct Said(Option<OwnedFd>);

impl Said {
    fn of(&mut self, context: OwnedFd) -> &OwnedFd {
        self.0.insert(context)
    }

    /// Returns what it said, with a blank before it and in brackets, or nothing.
    fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut buffer = [0; 1024];
        while let Some(context) = &self.0
            && let Ok(length) = rustix::io::read(context, &mut buffer)
            && length > 0
        {
            // An `e`, `w` or `i` and a blank are before it.
            let line = String::from_utf8_lossy(&buffer[..length]);
            let line = line.trim().split_once(' ').map_or("", |(_, line)| line);
            lines.push(line.to_owned());
        }
        match lines.is_empty() {
            true => String::new(),
            false => format!(" ({})", lines.join("; ")),
        }
    }
}

/// Says what of the kernel is missing, and the way out.
fn refused(e: Errno, what: &str, said: &str) -> Error {
    let erofs = what == "EROFS";
    let why = match e {
        Errno::PERM | Errno::ACCESS => "only root may mount".to_owned(),
        Errno::NODEV => format!("this kernel has no {what}"),
        Errno::NOSYS => format!("this kernel cannot set up {what} by fsopen (Linux 5.2)"),
        Errno::NOTBLK | Errno::INVAL | Errno::OPNOTSUPP if erofs => {
            format!(
                "this kernel mounts no EROFS image from a file (Linux 6.12), or from none of the store's file system \
(tmpfs){said}"
            )
        }
        Errno::INVAL | Errno::OPNOTSUPP => format!(
            "this kernel, or the store's file system, does not do what it takes: data-only layers (Linux 6.8), \
and an upper layer in the store{said}"
        ),
        Errno::BUSY => {
            let busy = Cause::Busy("it is mounted already, or about to be".to_owned());
            return Error::new("mount", "the image", busy);
        }
        other => format!("{what}: {}{said}", crate::error::io_text(&other.into())),
    };
    Error::failed("mount", "the image", why).hint(WAY_OUT)
}

/// What works without a mount.
pub(super) const WAY_OUT: &str =
    "`ocistore checkout`, or `ocistore unpack` without --mount, need no mount";

/// Attaches a mount at a folder.
pub(super) fn attach(mount: &OwnedFd, target: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(target, flags, Mode::empty())
        .context("open the folder", quoted(target))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &folder, "", flags).context("mount at", quoted(target))
}

/// Takes a mount away from a folder.
pub(super) fn detach(target: &Path) -> Result<()> {
    match unmount(target, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => {
            let busy = Cause::Busy("something in it is in use".to_owned());
            Err(Error::new("unmount", quoted(target), busy)
                .hint("`fuser -vm DIR` shows who uses it"))
        }
        other => other.context("unmount", quoted(target)),
    }
}

/// Opens a folder of the host to look for what is mounted there, and for paths below it.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).context("open the folder", quoted(path))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::mount::erofs;
    use crate::store::verify::sample::Sample;
    use crate::watch::Unwatched;

    /// Tells whether this can mount; where it has to, that it cannot is a failure.
    fn can_mount() -> bool {
        let able = check().is_ok();
        let needed = std::env::var_os("OCISTORE_REQUIRE_PEERS").is_some();
        assert!(able || !needed, "this test needs root");
        if !able {
            writeln!(std::io::stderr(), "skipped: this test needs root").unwrap();
        }
        able
    }

    #[test]
    fn a_kernel_that_takes_no_handles_is_told_paths_and_shows_the_same() {
        if !can_mount() {
            return;
        }
        let sample = Sample::new();
        let root = sample.image("a:1", &[&[("usr/bin", b"bin")]]).root;
        let at = |name: &str| sample.dir.path().join(name);
        for folder in ["upper", "work", "spare"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        let image = File::create_new(at("image")).unwrap();
        let write = |file| {
            sample
                .store
                .view(|view| erofs::write(view, &root, file, &Unwatched))
        };
        write(image).unwrap();
        let layers = Layers {
            image: &File::open(at("image")).unwrap(),
            objects: &open_folder(&sample.store.root().join("objects")).unwrap(),
            upper: &open_folder(&at("upper")).unwrap(),
            work: &open_folder(&at("work")).unwrap(),
            spare: &at("spare"),
            source: "ocistore:test",
            access: Access::ReadWrite,
        };
        let read = |mount: &OwnedFd| {
            let file = rustix::fs::openat(mount, "usr/bin", OFlags::RDONLY, Mode::empty()).unwrap();
            std::io::read_to_string(File::from(file)).unwrap()
        };
        let lower = erofs(layers.image).unwrap();
        let attached = Attached::at(&lower, layers.spare).unwrap();
        let mount = overlay_over(&layers, &Lower::Path(attached.0)).unwrap();
        drop(attached);
        assert_eq!(std::fs::read_dir(at("spare")).unwrap().count(), 0);
        assert_eq!(read(&mount), "bin");
        drop(mount);
        assert_eq!(read(&overlay(&layers).unwrap()), "bin");
    }
}
