//! Mounts: a tree shown as a file system, without a copy of any file.
//!
//! ```text
//! upper/        changes             mounts/ID/upper of the store
//! image.erofs   all metadata        written from the tree, by `erofs/`
//! objects/      the files' bytes    the store's own, which nobody ever writes to through a mount
//! ```
//!
//! What is recorded, and what of it lives, is `store::mounts`. A mount that lives is a root of collections.

pub mod erofs;
mod kernel;
mod proof;
mod table;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::{Digest, TreeId};
use crate::error::{Cause, Context as _, Error, Result, quoted};
use crate::store::mounts::{Life, Locked};
use crate::store::{Reader, Store, inodes::RefusedXattr};
use crate::watch::Watch;
use crate::wire::Descriptor;
use kernel::Layers;

pub use crate::store::mounts::{Access, MountId, Record};

/// What to mount.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// What keeps it from being collected: the image as its name leads to it.
    pub descriptor: &'a Descriptor,
    /// The manifest of the image.
    pub manifest: Digest,
    /// Its tree.
    pub root: TreeId,
    /// Where: a folder that is empty, or not there yet.
    pub target: &'a Path,
    /// Whether it can be written to.
    pub access: Access,
    /// The bundle that it is the root filesystem of.
    pub bundle: Option<&'a Path>,
}

/// What was mounted.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Which mount it is.
    pub id: MountId,
    /// Its record.
    pub record: Record,
    /// What its image has.
    pub image: erofs::Written,
    /// Attributes of the root directory that the store's file system does not take.
    pub refused: Vec<RefusedXattr>,
}

/// What an unmount left.
#[derive(Clone, Debug)]
pub struct Unmounted {
    /// Which mount it was.
    pub id: MountId,
    /// Its record.
    pub record: Record,
    /// Whether it is kept, for its bundle.
    pub kept: bool,
}

/// What to do with changes that nobody has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changes {
    /// Refuse to remove them.
    Keep,
    /// Remove them.
    Discard,
}

/// How long to wait for a kernel to have done with what was unmounted.
const PATIENCE: Duration = Duration::from_millis(500);
const NAP: Duration = Duration::from_millis(5);

/// Mounts an image. Where anything fails, nothing is left: no mount, no record.
///
/// `reader` must have found the image, so that it is in place. Recorded before it is mounted, it is a root of collections
/// from then on.
pub fn mount(reader: &Reader<'_>, spec: &Spec<'_>, watch: &dyn Watch) -> Result<Mounted> {
    kernel::check()?;
    let store = reader.store();
    let made = Target::prepare(store, spec.target)?;
    let record = Record {
        descriptor: spec.descriptor.clone(),
        manifest: spec.manifest,
        root: spec.root,
        target: made.path.clone(),
        access: spec.access,
        bundle: spec.bundle.map(absolute).transpose()?,
        layout: erofs::LAYOUT,
        upper_root: String::new(),
    };
    let recorded = store
        .view(|view| view.node(&spec.root))
        .and_then(|node| reader.record_mount(&record, &node.meta));
    let (locked, refused) = recorded.inspect_err(|_| made.remove())?;
    let done = write_image(&locked, &spec.root, watch).and_then(|image| {
        let mount = raise(&locked, &record)?;
        kernel::attach(&mount, &made.path)?;
        Ok(image)
    });
    match done {
        Ok(image) => Ok(Mounted {
            id: locked.id(),
            record: locked.record()?,
            image,
            refused,
        }),
        Err(e) => {
            // What it was mounted from has no changes: nobody could see it.
            let left = locked.remove_all();
            made.remove();
            left.and(Err(e))
        }
    }
}

/// Mounts a mount again that is no more, as after a reboot, at `target`; its changes are in it.
///
/// Fails with [`Cause::Busy`] where it lives, and where its image is not in the store any more.
pub fn again(reader: &Reader<'_>, id: MountId, target: &Path, watch: &dyn Watch) -> Result<Record> {
    kernel::check()?;
    let locked = locked(reader.store(), id)?;
    let made = Target::prepare(reader.store(), target)?;
    let record = Record {
        target: made.path.clone(),
        ..locked.record()?
    };
    let done = revive(reader, &locked, watch).and_then(|mount| {
        locked.set_record(&record)?;
        kernel::attach(&mount, &made.path)
    });
    match done {
        Ok(()) => Ok(record),
        Err(e) => {
            made.remove();
            Err(e)
        }
    }
}

/// Mounts a mount that is no more without attaching it anywhere; it lives as long as what this returns.
///
/// Fails with [`Cause::Busy`] where it lives.
pub fn detached(reader: &Reader<'_>, id: MountId, watch: &dyn Watch) -> Result<OwnedFd> {
    revive(reader, &locked(reader.store(), id)?, watch)
}

/// Returns the mount at a path, which may have been renamed or bound elsewhere since; `None` where none of ours is.
///
/// A mount that is no more is found by the path that it was mounted at last.
pub fn find(store: &Store, path: &Path) -> Result<Option<(MountId, Record)>> {
    if let Some(id) = table::mount_at(path)?
        && let Some(record) = store.mount_record(id)?
    {
        return Ok(Some((id, record)));
    }
    let Ok(path) = absolute(path) else {
        return Ok(None);
    };
    for id in store.mount_ids()? {
        // One that lives elsewhere by now is not here any more.
        if let Some(record) = store.mount_record(id)?
            && record.target == path
            && store.mount_life(id) == Life::Dead
        {
            return Ok(Some((id, record)));
        }
    }
    Ok(None)
}

/// Tells whether a mount lives, in whatever mount namespace; what cannot be told counts as alive.
pub fn is_live(store: &Store, id: MountId) -> bool {
    store.mount_life(id) == Life::Alive
}

/// Opens the folder of a mount's changes: as overlayfs keeps them, with whiteouts and attributes `trusted.overlay.*`.
pub fn upper(store: &Store, id: MountId) -> Result<OwnedFd> {
    locked(store, id)?.upper()
}

/// Unmounts what is mounted at `target`, and removes its record and changes; a bundle's are kept.
///
/// Fails where there are changes that nobody has taken, unless these are to be discarded; and with [`Cause::Busy`] where
/// it is in use, or lives in another mount namespace too.
pub fn umount(store: &Store, target: &Path, changes: Changes) -> Result<Unmounted> {
    let found = find(store, target)?;
    let (id, _) = found.ok_or_else(|| {
        Error::missing(
            "unmount",
            quoted(target),
            "nothing of this store is mounted there",
        )
        .hint("`ocistore mount` lists what is")
    })?;
    let locked = locked(store, id)?;
    let at = table::mount_at(target)?
        .filter(|at| *at == id)
        .map(|_| target);
    take_down(locked, at, changes)
}

/// Removes a mount by its id, after unmounting it where its record says that it is.
///
/// Fails as [`umount`] does.
pub fn remove(store: &Store, id: MountId, changes: Changes) -> Result<Unmounted> {
    let locked = locked(store, id)?;
    let target = locked.record()?.target;
    let at = table::mount_at(&target)?
        .filter(|at| *at == id)
        .map(|_| target.as_path());
    take_down(locked, at, changes)
}

fn take_down(locked: Locked<'_>, at: Option<&Path>, changes: Changes) -> Result<Unmounted> {
    let (id, record) = (locked.id(), locked.record()?);
    let of_bundle = record.bundle.is_some() && changes == Changes::Keep;
    if !of_bundle
        && record.access == Access::ReadWrite
        && changes == Changes::Keep
        && locked.has_changes()?
    {
        let why = "it has changes that are in no image";
        return Err(Error::failed("unmount", quoted(&record.target), why)
            .hint("`ocistore commit` makes an image of them, --discard throws them away"));
    }
    if let Some(target) = at {
        kernel::detach(target)?;
    }
    if !ends(&locked) {
        let busy = Cause::Busy("it is mounted elsewhere too, or in use".to_owned());
        return Err(Error::new("remove", format!("the mount {id}"), busy)
            .hint("a later `ocistore gc` removes it, or run this again"));
    }
    if !of_bundle {
        locked.remove()?;
    }
    Ok(Unmounted {
        id,
        record,
        kept: of_bundle,
    })
}

/// Waits a moment for a mount to end: what was unmounted last may be with the kernel still.
fn ends(locked: &Locked<'_>) -> bool {
    let begin = std::time::Instant::now();
    while locked.store().mount_life(locked.id()) == Life::Alive {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(NAP);
    }
    true
}

fn locked(store: &Store, id: MountId) -> Result<Locked<'_>> {
    store.lock_mount(id)?.ok_or_else(|| {
        Error::missing(
            "find",
            format!("the mount {id}"),
            "the store has no such mount",
        )
    })
}

/// Makes a mount again that is no more.
fn revive(reader: &Reader<'_>, locked: &Locked<'_>, watch: &dyn Watch) -> Result<OwnedFd> {
    let (id, record) = (locked.id(), locked.record()?);
    if !ends(locked) {
        let busy = Cause::Busy("it is mounted, here or in another mount namespace".to_owned());
        return Err(Error::new("mount", format!("the mount {id}"), busy));
    }
    reader.keep_mount(&record)?;
    if !locked.image().exists() {
        if record.layout != erofs::LAYOUT {
            let why = "its image is lost, and was made by another version";
            return Err(Error::failed("mount", format!("the mount {id}"), why));
        }
        write_image(locked, &record.root, watch)?;
    }
    raise(locked, &record)
}

fn write_image(locked: &Locked<'_>, root: &TreeId, watch: &dyn Watch) -> Result<erofs::Written> {
    let write = |file| {
        locked
            .store()
            .view(|view| erofs::write(view, root, file, watch))
    };
    locked.make_image(write)
}

/// Makes the overlay, attached nowhere, and looks whether it can be seen to live, and shows bytes.
fn raise(locked: &Locked<'_>, record: &Record) -> Result<OwnedFd> {
    let path = locked.image();
    let image = File::open(&path).context("open", quoted(&path))?;
    let store = locked.store();
    let source = format!("ocistore:{}", locked.id());
    let mount = kernel::overlay(&Layers {
        image: &image,
        objects: &kernel::open_folder(&store.root().join("objects"))?,
        upper: &locked.upper()?,
        work: &locked.work()?,
        spare: &locked.own_folder("lower")?,
        source: &source,
        access: record.access,
    })?;
    if store.mount_life(locked.id()) == Life::Dead {
        let why = "this kernel does not tell that it is mounted, so a collection could not know";
        return Err(Error::failed("mount", "the image", why).hint(kernel::WAY_OUT));
    }
    let sample = store.view(|view| proof::sample(view, &record.root))?;
    proof::check(store, sample, (&mount, &locked.upper()?))?;
    Ok(mount)
}

/// Where to mount.
struct Target {
    path: PathBuf,
    is_new: bool,
}

impl Target {
    /// Makes the folder where it is missing; refuses one that holds anything, and the store itself.
    fn prepare(store: &Store, target: &Path) -> Result<Self> {
        let is_new = match fs::create_dir(target) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(e).context("make the folder", quoted(target)),
        };
        let made = Self {
            path: absolute(target)?,
            is_new,
        };
        let refuse = |why: &str| Err(Error::missing("mount at", quoted(target), why));
        let checked = match fs::read_dir(&made.path).map(|mut entries| entries.next().is_some()) {
            Err(e) => Err(e).context("read the folder", quoted(target)),
            Ok(true) => refuse("it is not empty"),
            Ok(false) if made.path.starts_with(absolute(store.root())?) => {
                refuse("it is in the store")
            }
            Ok(false) => Ok(()),
        };
        match checked {
            Ok(()) => Ok(made),
            Err(e) => {
                made.remove();
                Err(e)
            }
        }
    }

    /// Takes the folder away again, if it was made.
    fn remove(&self) {
        if self.is_new {
            fs::remove_dir(&self.path).ok();
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).context("find", quoted(path))
}
