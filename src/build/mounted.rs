//! Owns bundles whose root filesystem is a mount of the store, and how what was written to one is found.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::bundle::{Bundle, BundleInfo, CONFIG, INFO, ROOTFS, Rootfs};
use crate::digest::{Digest, TreeId};
use crate::error::{Cause, Context as _, Error, Result, quoted};
use crate::mount::{self, Access, Changes, MountId, Mounted, Record, Spec};
use crate::rootfs::Staging;
use crate::store::{Reader, Store, durable};
use crate::watch::Watch;
use crate::wire::{Descriptor, Document, Media};

/// What is to be seen of a mount, and what was written to it.
#[derive(Debug)]
pub struct Opened {
    /// What is to be seen.
    pub merged: OwnedFd,
    /// What was written.
    pub upper: OwnedFd,
    /// The manifest of the image that it shows.
    pub manifest: Descriptor,
    /// That image's tree.
    pub root: TreeId,
}

/// Mounts the root filesystem of a bundle that is made in `staging`, puts it in its place, and says so in it.
///
/// The bundle is in its place before anything is mounted: what is mounted in a directory on its way would have to be
/// found again to be unmounted, wherever somebody moved that.
pub(super) fn make(
    reader: &Reader<'_>,
    (staging, bundle): (&Staging, &Path),
    (info, config): (BundleInfo, &[u8]),
    watch: &dyn Watch,
) -> Result<Mounted> {
    let folder = staging.root().try_clone_to_owned();
    let folder = folder.context("open", quoted(bundle))?;
    staging.conclude(|| {
        staging.make_dir(ROOTFS)?;
        staging.put_file(CONFIG, config)?;
        staging.sync()
    })?;
    staging.sync_place()?;
    let made = fill(reader, bundle, info, watch);
    if made.is_err() {
        remove(&folder, bundle);
    }
    made
}

fn fill(
    reader: &Reader<'_>,
    bundle: &Path,
    info: BundleInfo,
    watch: &dyn Watch,
) -> Result<Mounted> {
    let spec = Spec {
        descriptor: &info.manifest,
        manifest: info.manifest.digest,
        root: info.root,
        target: &bundle.join(ROOTFS),
        access: Access::ReadWrite,
        bundle: Some(bundle),
    };
    let mounted = mount::mount(reader, &spec, watch)?;
    let info = BundleInfo {
        rootfs: Rootfs::Mount(mounted.id.to_string()),
        ..info
    };
    let staged = bundle.join(format!(".{INFO}.new"));
    let said = durable::replace(&bundle.join(INFO), &staged, &info.encode());
    match said.and_then(|()| watch.check()) {
        Ok(()) => Ok(mounted),
        Err(e) => match mount::remove(reader.store(), mounted.id, Changes::Discard) {
            Ok(_) => Err(e),
            Err(left) => Err(e.hint(left.to_string())),
        },
    }
}

/// Removes a bundle that nothing is in but what was made here; what others put there stays, and the bundle with it.
fn remove(folder: &OwnedFd, bundle: &Path) {
    for name in [INFO, CONFIG] {
        rustix::fs::unlinkat(folder, name, AtFlags::empty()).ok();
    }
    rustix::fs::unlinkat(folder, ROOTFS, AtFlags::REMOVEDIR).ok();
    rustix::fs::unlinkat(rustix::fs::CWD, bundle, AtFlags::REMOVEDIR).ok();
}

/// Opens the mount of a bundle: where it is mounted, or, where it is not, by mounting it for ourselves.
pub fn open_bundle(reader: &Reader<'_>, bundle: &Bundle, watch: &dyn Watch) -> Result<Opened> {
    let (id, record) = mount_of(reader.store(), bundle)?;
    let at = bundle.path.join(ROOTFS);
    open(reader, (id, &record), &at, watch)
}

/// Finds the mount that is the root filesystem of a bundle, which may have been moved since. What a bundle says of itself
/// is anybody's word: a mount that another bundle has is not given to this one.
pub fn mount_of(store: &Store, bundle: &Bundle) -> Result<(MountId, Record)> {
    const ACT: &str = "use the bundle";
    let Rootfs::Mount(said) = &bundle.info.rootfs else {
        let why = "its root filesystem is no mount, but files of its own";
        return Err(Error::usage(ACT, quoted(&bundle.path), why));
    };
    let lost = || {
        let why = "its mount is not in this store: another store's, or it was discarded";
        Error::missing(ACT, quoted(&bundle.path), why)
            .hint("name the store that it came from with --store, or unpack the image anew")
    };
    let id = MountId::parse(said).ok_or_else(lost)?;
    let record = store.mount_record(id)?.ok_or_else(lost)?;
    let own = record.bundle.as_deref();
    let is_here = own.is_some_and(|own| is_same_folder(own, &bundle.path));
    let other = own.filter(|own| !is_here && Bundle::is_at(own));
    let other = other.and_then(|own| Bundle::open(own).ok());
    match (own, other) {
        (Some(_), Some(other)) if other.info.rootfs == bundle.info.rootfs => {
            let why = format!("its mount is that of {}", quoted(&other.path));
            Err(Error::failed(ACT, quoted(&bundle.path), why)
                .hint("name that bundle, or unpack the image anew"))
        }
        (Some(_), _) => Ok((id, record)),
        (None, _) => Err(lost()),
    }
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    let same = |path: &Path| std::fs::canonicalize(path).ok();
    same(one).is_some() && same(one) == same(other)
}

/// Opens the writable mount of the store at `path`, or the one that was there last, unless something else is there now;
/// `None` where there is none.
pub fn open_at(reader: &Reader<'_>, path: &Path, watch: &dyn Watch) -> Result<Option<Opened>> {
    let store = reader.store();
    let Some((id, record)) = mount::find(store, path)? else {
        return Ok(None);
    };
    let is_there = mount::is_live(store, id) || is_empty(path);
    match record.access == Access::ReadWrite && is_there {
        true => open(reader, (id, &record), path, watch).map(Some),
        false => Ok(None),
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn open(
    reader: &Reader<'_>,
    (id, record): (MountId, &Record),
    at: &Path,
    watch: &dyn Watch,
) -> Result<Opened> {
    let store = reader.store();
    let manifest = manifest(store, record)?;
    if store.view(|view| view.image(&manifest.digest))?.is_none() {
        let why = "the image that it shows is not in this store any more";
        return Err(Error::missing("use the mount", id, why).hint("import that image again"));
    }
    let here = mount::find(store, at)?.is_some_and(|(found, _)| found == id);
    let merged = match here && mount::is_live(store, id) {
        true => open_folder(at)?,
        false => mount::detached(reader, id, watch).map_err(elsewhere)?,
    };
    Ok(Opened {
        merged,
        upper: mount::upper(store, id)?,
        manifest,
        root: record.root,
    })
}

fn elsewhere(e: Error) -> Error {
    match e.cause() {
        Cause::Busy(_) => e.hint("run it where it is mounted, or unmount it there"),
        _ => e,
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context("open", quoted(path))
}

/// Finds the descriptor of the manifest that a mount shows: what was named, or below it where that is an index.
fn manifest(store: &Store, record: &Record) -> Result<Descriptor> {
    let mut waiting = vec![record.descriptor.clone()];
    let mut seen: Vec<Digest> = Vec::new();
    while let Some(at) = waiting.pop() {
        if at.digest == record.manifest {
            return Ok(at);
        }
        if at.media() != Media::Index || seen.contains(&at.digest) {
            continue;
        }
        seen.push(at.digest);
        let bytes = store.document(&at.digest)?;
        if let Ok(Document::Index(children)) = Document::parse(&bytes, &at.media_type) {
            waiting.extend(children);
        }
    }
    let why = "the index that it was mounted by does not have its image";
    Err(Error::damaged("use the mount of", record.manifest, why))
}
