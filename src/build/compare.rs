//! Owns reading a directory of the host, or a bundle, as what an image is compared with.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::bundle::{Bundle, Rootfs};
use super::mounted::{Opened, open_at, open_bundle};
use crate::digest::TreeId;
use crate::error::{Context as _, Result, quoted};
use crate::rootfs::Ownership;
use crate::rootfs::record::Record;
use crate::rootfs::scan::{self, Base, Found, Intake, Mask, Mounted, Options, Scanned};
use crate::store::catalog::View;
use crate::store::{Reader, Store};
use crate::watch::Watch;

/// What is to be read.
enum Side {
    /// A directory.
    Directory {
        dir: File,
        owners: Ownership,
        /// The tree that was laid out there, and how it lay, where that is known.
        laid: Option<(TreeId, Option<Record>)>,
    },
    /// A mount of the store.
    Mount(Opened),
}

/// Reads the directory, or the root filesystem of the bundle, or the mount, at `path`; its contents go to `intake`. Of
/// `image` and of what the bundle was made from nothing is read again that is known to be the same.
pub fn directory(
    (store, path): (&Store, &Path),
    image: &TreeId,
    intake: &dyn Intake,
    watch: &dyn Watch,
) -> Result<Scanned> {
    let reader = store.read()?;
    let side = open(&reader, path, watch)?;
    let found = store.view(|view| look(view, &side, image, watch))?;
    watch.begin("reading", Some(found.unread()));
    let scanned = found.take_in(side.dir(), intake, watch);
    watch.end();
    scanned
}

fn look(view: &View, side: &Side, image: &TreeId, watch: &dyn Watch) -> Result<Found> {
    let options = |owners: &Ownership| Options {
        owners: owners.clone(),
        mask: Mask::default(),
        clamp: None,
    };
    let base = |root, record| Base {
        nodes: view,
        root,
        record,
    };
    match side {
        Side::Mount(opened) => {
            let mounted = Mounted {
                merged: opened.merged.as_fd(),
                upper: opened.upper.as_fd(),
            };
            let options = options(&Ownership::AsImage);
            scan::look_at_mount(mounted, &base(opened.root, None), &options, watch)
        }
        Side::Directory { dir, owners, laid } => {
            let laid = laid.as_ref().filter(|(root, _)| view.node(root).is_ok());
            let base = match laid {
                Some((root, record)) => base(*root, record.as_ref()),
                None => base(*image, None),
            };
            scan::look(dir.as_fd(), Some(&base), &options(owners), watch)
        }
    }
}

impl Side {
    fn dir(&self) -> BorrowedFd<'_> {
        match self {
            Self::Directory { dir, .. } => dir.as_fd(),
            Self::Mount(opened) => opened.merged.as_fd(),
        }
    }
}

fn open(reader: &Reader<'_>, path: &Path, watch: &dyn Watch) -> Result<Side> {
    if Bundle::is_at(path) {
        let bundle = Bundle::open(path)?;
        return match &bundle.info.rootfs {
            Rootfs::Mount(_) => open_bundle(reader, &bundle, watch).map(Side::Mount),
            Rootfs::Plain => Ok(Side::Directory {
                dir: bundle.rootfs()?,
                laid: Some((bundle.info.root, bundle.record()?)),
                owners: bundle.info.owners,
            }),
        };
    }
    if let Some(opened) = open_at(reader, path, watch)? {
        return Ok(Side::Mount(opened));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    Ok(Side::Directory {
        dir: opened.map(File::from).context("open", quoted(path))?,
        owners: Ownership::of_process(),
        laid: None,
    })
}
