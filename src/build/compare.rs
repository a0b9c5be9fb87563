//! Owns reading a directory of the host, or a bundle, as what an image is compared with.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::bundle::Bundle;
use crate::digest::TreeId;
use crate::error::{Context as _, Result, quoted};
use crate::rootfs::Ownership;
use crate::rootfs::record::Record;
use crate::rootfs::scan::{self, Base, Intake, Mask, Options, Scanned};
use crate::store::Store;
use crate::store::catalog::View;
use crate::watch::Watch;

/// A directory to be read.
struct Directory {
    dir: File,
    owners: Ownership,
    /// The tree that was laid out there, and how it lay, where that is known.
    laid: Option<(TreeId, Option<Record>)>,
}

/// Reads the directory, or the root filesystem of the bundle, at `path`; its contents go to `intake`. Of `image` and of
/// what the bundle was made from nothing is read again that is known to be the same.
pub fn directory(
    (store, path): (&Store, &Path),
    image: &TreeId,
    intake: &dyn Intake,
    watch: &dyn Watch,
) -> Result<Scanned> {
    let Directory { dir, owners, laid } = open(path)?;
    let options = Options {
        owners,
        mask: Mask::default(),
        clamp: None,
    };
    let found = store.view(|view| {
        let laid = laid.as_ref().filter(|(root, _)| is_there(view, root));
        let (root, record) = match laid {
            Some((root, record)) => (*root, record.as_ref().filter(|r| r.root() == root)),
            None => (*image, None),
        };
        let base = Base {
            nodes: view,
            root,
            record,
        };
        scan::look(dir.as_fd(), Some(&base), &options, watch)
    })?;
    watch.begin("reading", Some(found.unread()));
    let scanned = found.take_in(dir.as_fd(), intake, watch);
    watch.end();
    scanned
}

fn is_there(view: &View, root: &TreeId) -> bool {
    view.node(root).is_ok()
}

fn open(path: &Path) -> Result<Directory> {
    if Bundle::is_at(path) {
        let bundle = Bundle::open(path)?;
        return Ok(Directory {
            dir: bundle.rootfs()?,
            laid: Some((bundle.info.root, bundle.record()?)),
            owners: bundle.info.owners,
        });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    Ok(Directory {
        dir: opened.map(File::from).context("open", quoted(path))?,
        owners: Ownership::of_process(),
        laid: None,
    })
}
