//! Owns `mounts/`: what is mounted, or was and has changes that nobody has taken yet.
//!
//! ```text
//! mounts/ID/record        what it shows, where, and whether it can be written to
//! mounts/ID/lock          locked while somebody mounts or unmounts it
//! mounts/ID/image.erofs   the tree, without its files' bytes; can be made again
//! mounts/ID/upper, work   where an overlay puts changes; a read-only mount has them too, see `life.rs`
//! ```
//!
//! A folder gets its name when it is whole and on the disk. A mount that lives is a root of collections, as a name is.

mod life;
mod record;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode as Bits, OFlags};

use super::inodes::{self, RefusedXattr, Stat};
use super::locks::{Lock, Mode, Wait};
use super::{Feature, Reader, Store, durable, writer};
use crate::digest::ContentId;
use crate::error::{Cause, Context, Error, Result, quoted};
use crate::meta::Meta;
use crate::wire::Descriptor;

pub use life::Life;
pub use record::{Access, MountId, Record};
pub(super) use record::{path_of, path_value};

/// The folder of them all.
pub(super) const FOLDER: &str = "mounts";

const RECORD: &str = "record";
const LOCK: &str = "lock";
const IMAGE: &str = "image.erofs";
const UPPER: &str = "upper";
const WORK: &str = "work";

/// One mount's folder, which nobody else changes while this lives.
#[derive(Debug)]
pub struct Locked<'s> {
    store: &'s Store,
    id: MountId,
    folder: PathBuf,
    /// `None` where its file is gone, or the file system is read-only.
    _lock: Option<Lock>,
}

/// A mount that is no more and has something that somebody may want.
#[derive(Clone, PartialEq, Debug)]
pub struct Left {
    /// Which.
    pub id: MountId,
    /// What it was.
    pub record: Record,
}

/// What there is in `mounts/`.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Those that live, or may.
    pub live: Vec<(MountId, Record)>,
    /// Those that are no more and are kept for what they have.
    pub left: Vec<Left>,
    /// Those that are no more and have nothing.
    pub dead: Vec<MountId>,
}

impl Store {
    /// Returns the mounts there are, in order.
    pub fn mount_ids(&self) -> Result<Vec<MountId>> {
        let folder = self.path(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context("read the folder", quoted(&folder))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry
                .context("read the folder", quoted(&folder))?
                .file_name();
            ids.extend(name.to_str().and_then(MountId::parse));
        }
        ids.sort();
        Ok(ids)
    }

    /// Returns what a mount is; `None` where there is no such mount. A record that cannot be read is damage.
    pub fn mount_record(&self, id: MountId) -> Result<Option<Record>> {
        let path = self.mount_folder(id).join(RECORD);
        let bytes = match fs::read(&path) {
            // What has a folder has a record.
            Err(e)
                if e.kind() == std::io::ErrorKind::NotFound && !self.mount_folder(id).exists() =>
            {
                return Ok(None);
            }
            other => other.context("read the record of a mount", quoted(&path))?,
        };
        let damaged = |why: String| {
            Error::damaged("read the record of a mount", quoted(&path), why)
                .hint("where nothing is mounted from it, `ocistore umount --discard` removes it")
        };
        Record::decode(&bytes).map(Some).map_err(damaged)
    }

    /// Returns whether a mount lives; what cannot be told counts as alive.
    pub fn mount_life(&self, id: MountId) -> Life {
        life::of(&self.mount_folder(id).join(UPPER), &self.path("tmp"))
    }

    /// Locks a mount, after waiting for whoever is at it; `None` where there is no such mount.
    pub fn lock_mount(&self, id: MountId) -> Result<Option<Locked<'_>>> {
        let folder = self.mount_folder(id);
        loop {
            let lock = Lock::of_existing(&folder.join(LOCK), Mode::Exclusive, Wait::Forever)?;
            if !folder.exists() {
                return Ok(None);
            }
            // Whoever held it may have removed it with its folder; ids are not used again.
            if lock.is_none() && folder.join(LOCK).exists() {
                continue;
            }
            return Ok(Some(self.locked(id, folder, lock)));
        }
    }

    fn try_lock_mount(&self, id: MountId) -> Result<Option<Locked<'_>>> {
        let folder = self.mount_folder(id);
        let lock = Lock::of_existing(&folder.join(LOCK), Mode::Exclusive, Wait::Never)?;
        Ok(lock.map(|lock| self.locked(id, folder, Some(lock))))
    }

    fn locked(&self, id: MountId, folder: PathBuf, lock: Option<Lock>) -> Locked<'_> {
        Locked {
            store: self,
            id,
            folder,
            _lock: lock,
        }
    }

    /// Sorts out which mounts live, and which are no more.
    ///
    /// Fails closed: a record that cannot be read is an error, and what cannot be told to be dead lives.
    pub fn mounts(&self) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for id in self.mount_ids()? {
            // Who holds the lock is about to mount it, or to unmount it.
            let locked = self.try_lock_mount(id)?;
            let Some(record) = self.mount_record(id)? else {
                continue;
            };
            match &locked {
                Some(locked) if self.mount_life(id) == Life::Dead => {
                    match locked.is_wanted(&record)? {
                        true => mounts.left.push(Left { id, record }),
                        false => mounts.dead.push(id),
                    }
                }
                _ => mounts.live.push((id, record)),
            }
        }
        Ok(mounts)
    }

    /// Removes the mounts that are no more and have nothing that anybody could want.
    pub(super) fn drop_dead_mounts(&self) -> Result<()> {
        for id in self.mounts()?.dead {
            // Looked at again: it may have been mounted in between.
            let Some(locked) = self.try_lock_mount(id)? else {
                continue;
            };
            if let Some(record) = self.mount_record(id)?
                && self.mount_life(id) == Life::Dead
                && !locked.is_wanted(&record)?
            {
                locked.remove()?;
            }
        }
        Ok(())
    }

    fn mount_folder(&self, id: MountId) -> PathBuf {
        self.path(FOLDER).join(id.to_string())
    }
}

impl<'s> Reader<'s> {
    /// Records a mount, durably; from then on it is a root of collections while the lock is held or it lives.
    ///
    /// `root` is what the image's root directory has: an overlay shows what the upper folder has in its place. Returns,
    /// beside the mount, the attributes of it that the store's file system does not take.
    pub fn record_mount(
        &self,
        record: &Record,
        root: &Meta,
    ) -> Result<(Locked<'s>, Vec<RefusedXattr>)> {
        let id = MountId::random()?;
        self.store.need(Feature::Mounts)?;
        let (staged, lock) = writer::own_folder(self.store, "mount-")?;
        let prepared = prepare(&staged, root).and_then(|(upper_root, refused)| {
            let record = Record {
                upper_root,
                ..record.clone()
            };
            let bytes = record.encode();
            durable::replace(&staged.join(RECORD), &staged.join("new"), &bytes)?;
            let folder = self.store.mount_folder(id);
            durable::create_folder(&self.store.path(FOLDER))?;
            durable::sync_parent(&self.store.path(FOLDER))?;
            self.while_in_place(&record.descriptor, || {
                durable::rename(&staged, &folder)?;
                durable::sync_parent(&folder)
            })?;
            Ok((self.store.locked(id, folder, Some(lock)), refused))
        });
        prepared.inspect_err(|_| {
            durable::remove_folder(&staged).ok();
        })
    }
}

impl Reader<'_> {
    /// Has what a recorded mount shows in place, as if it were named: before it is mounted again, while it is locked.
    pub fn keep_mount(&self, record: &Record) -> Result<()> {
        self.while_in_place(&record.descriptor, || Ok(()))
            .map_err(|e| e.or_hint("import its image again"))
    }
}

/// Makes the folders of a mount; returns what tells the upper one's own metadata from a later one, and what was refused.
fn prepare(staged: &Path, root: &Meta) -> Result<(String, Vec<RefusedXattr>)> {
    for folder in [UPPER, WORK] {
        durable::create_folder(&staged.join(folder))?;
    }
    let path = staged.join(UPPER);
    let upper = File::open(&path).context("open the folder", quoted(&path))?;
    let mut refused = inodes::give(&upper, root).context("set the metadata of", quoted(&path))?;
    for (name, value) in root
        .xattrs
        .iter()
        .filter(|(name, _)| !inodes::is_settable(name))
    {
        // An overlay shows `trusted.overlay.overlay.x` as `trusted.overlay.x`, and does not obey it.
        let rest = name.strip_prefix(b"trusted.overlay.").unwrap_or(name);
        let escaped = [b"trusted.overlay.overlay.", rest].concat();
        if let Err(e) = inodes::set_xattr(&path, &escaped, value) {
            let (name, why) = (name.clone(), e.to_string());
            refused.push(RefusedXattr { name, why });
        }
    }
    rustix::fs::futimens(&upper, &inodes::timestamps(root.mtime))
        .context("set the time of", quoted(&path))?;
    let shown = shown(&upper).context("look at", quoted(&path))?;
    durable::sync_folder(&path)?;
    durable::sync_folder(staged)?;
    Ok((shown, refused))
}

/// Returns a name for what a folder has of metadata, but for its time, which changes with what is put into it.
fn shown(folder: &File) -> std::io::Result<String> {
    let stat = rustix::fs::statx(
        folder,
        "",
        rustix::fs::AtFlags::EMPTY_PATH,
        inodes::stat_flags(),
    )?;
    let stat = Stat::seen(&stat);
    let mut xattrs = inodes::read_xattrs(folder)?;
    let of_the_overlay =
        |name: &[u8]| !inodes::is_settable(name) && !name.starts_with(b"trusted.overlay.overlay.");
    xattrs.retain(|name, _| !of_the_overlay(name) && !name.starts_with(b"security.selinux"));
    let meta = Meta {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        xattrs,
        ..Meta::default()
    };
    Ok(inodes::inode_id(&ContentId([0; 32]), &meta).hex())
}

impl<'s> Locked<'s> {
    /// Returns which mount it is.
    pub fn id(&self) -> MountId {
        self.id
    }

    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Returns its record.
    pub fn record(&self) -> Result<Record> {
        self.store
            .mount_record(self.id)?
            .ok_or_else(|| Error::missing("find", format!("the mount {}", self.id), "it is gone"))
    }

    /// Puts another record in place, durably.
    pub fn set_record(&self, record: &Record) -> Result<()> {
        let staged = self.folder.join("new");
        durable::remove(&staged)?;
        durable::replace(&self.folder.join(RECORD), &staged, &record.encode())
    }

    /// Returns where its image is, or is to be.
    pub fn image(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    /// Makes its image by `fill`, durably.
    pub fn make_image<T>(&self, fill: impl FnOnce(File) -> Result<T>) -> Result<T> {
        let staged = self.folder.join("image.new");
        durable::remove(&staged)?;
        let done = fill(durable::create_new(&staged)?)?;
        let file = File::open(&staged).context("open", quoted(&staged))?;
        durable::sync_file(&file, &staged)?;
        durable::rename(&staged, &self.image())?;
        durable::sync_folder(&self.folder)?;
        Ok(done)
    }

    /// Opens its upper folder.
    pub fn upper(&self) -> Result<OwnedFd> {
        self.open(UPPER)
    }

    /// Opens the folder that an overlay needs beside the upper one.
    pub fn work(&self) -> Result<OwnedFd> {
        self.open(WORK)
    }

    fn open(&self, name: &str) -> Result<OwnedFd> {
        let path = self.folder.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Bits::empty()).context("open the folder", quoted(&path))
    }

    /// Returns an empty folder of its own.
    pub fn own_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        durable::create_folder(&path)?;
        Ok(path)
    }

    /// Tells whether anything was changed through it.
    pub fn has_changes(&self) -> Result<bool> {
        let path = self.folder.join(UPPER);
        let mut entries = fs::read_dir(&path).context("read the folder", quoted(&path))?;
        if entries.next().is_some() {
            return Ok(true);
        }
        let upper = File::open(&path).context("open the folder", quoted(&path))?;
        let shown = shown(&upper).context("look at", quoted(&path))?;
        Ok(shown != self.record()?.upper_root)
    }

    /// Tells whether it is kept when it is not mounted: for a bundle, or for its changes.
    fn is_wanted(&self, record: &Record) -> Result<bool> {
        if record.access == Access::ReadOnly {
            return Ok(false);
        }
        Ok(record
            .bundle
            .as_ref()
            .is_some_and(|bundle| names_mount(bundle, self.id))
            || self.has_changes()?)
    }

    /// Removes it, with all changes that were made through it. It must not be mounted.
    pub fn remove(self) -> Result<()> {
        if self.store.mount_life(self.id) == Life::Alive {
            let busy = Cause::Busy("it is mounted".to_owned());
            return Err(Error::new("remove", format!("the mount {}", self.id), busy));
        }
        self.remove_all()
    }

    /// Removes it, whether it lives or not: after a mount that failed, or where the kernel cannot tell.
    pub(crate) fn remove_all(self) -> Result<()> {
        // In one step first: who finds a folder finds it whole. Leftovers in `tmp/` go with the next writer.
        let gone = self.store.path("tmp").join(format!("mount-{}", self.id));
        durable::rename(&self.folder, &gone)?;
        durable::sync_parent(&self.folder)?;
        durable::remove_folder(&gone)
    }
}

/// Tells whether a bundle is there and says that the mount is its own (`docs/format.md`, "Bundle").
fn names_mount(bundle: &Path, id: MountId) -> bool {
    const MOST: u64 = 4 << 20;
    let file = match durable::open_regular(&bundle.join("ocistore.json")) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return false,
        // What cannot be read may say so.
        Err(_) => return true,
        Ok(file) => file,
    };
    let mut bytes = Vec::new();
    let read = file.take(MOST).read_to_end(&mut bytes).is_ok();
    match crate::json::strict_json(&bytes) {
        Ok(value) if read => value["rootfs"]["id"].as_str() == Some(&id.to_string()),
        _ => true,
    }
}

/// Returns the roots of those that live.
pub(super) fn roots(store: &Store) -> Result<Vec<Descriptor>> {
    let live = store.mounts()?.live;
    Ok(live
        .into_iter()
        .map(|(_, record)| record.descriptor)
        .collect())
}
