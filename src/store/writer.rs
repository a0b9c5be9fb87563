//! Owns adding: everything is staged in a session's own folder, made durable in one go, then put in place.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use super::commit::Claimed;
use super::epochs::{Counted, Epoch};
use super::inodes::{Given, Owners, Stat};
use super::locks::{Lock, Mode, Wait};
use super::{Store, durable, paths};
use crate::digest::{ContentId, DiffId, Digest, DigestHasher, InodeId};
use crate::error::{Context, Error, Result, quoted};
use crate::wire::Descriptor;

/// The right to add to a store, and the folder that additions wait in.
///
/// Dropped before [`Writer::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer<'s> {
    pub(super) store: &'s Store,
    pub(super) epoch: Epoch,
    _counted: Counted<'s>,
    /// Held as long as the session lives, so that others can tell it from one that died.
    _session: Option<Lock>,
    pub(super) folder: PathBuf,
    /// The folder, open since before anything was staged in it; `None` where nothing can be.
    disk: Option<File>,
    pub(super) owners: Owners,
    /// After a writer died, what it left in place is not trusted by its size alone.
    pub(super) distrust: bool,
    pub(super) staged: Mutex<Staged>,
}

/// What waits in a session.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Contents that this session has seen, so that each is written once.
    pub(super) seen: HashSet<ContentId>,
    pub(super) objects: HashMap<ContentId, Given>,
    /// Contents whose stored objects are not as they should be.
    pub(super) suspects: HashSet<ContentId>,
    /// Large contents by size, so that a second one like it can be compared instead of written.
    pub(super) large: HashMap<u64, Vec<ContentId>>,
    pub(super) inodes: Vec<InodeId>,
    pub(super) blobs: HashSet<Digest>,
    pub(super) recipes: HashSet<DiffId>,
    /// Compression recipes, by their blobs.
    pub(super) streams: HashSet<Digest>,
}

/// What publishing put in place.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// New contents, and what their files were given.
    pub objects: HashMap<ContentId, Given>,
    /// New blobs.
    pub blobs: u64,
    /// New layers.
    pub recipes: u64,
}

/// From this many links on a file is replaced by a fresh one where that is wanted: half of what any file system takes.
const MANY_LINKS: u32 = 32_000;

/// Tells a session's lock file from what it guards.
const LOCK: &str = "lock";

/// Removes what writers that died left behind; returns whether there was any.
pub(super) fn sweep_leftovers(store: &Store) -> Result<bool> {
    let _starting = starting(store)?;
    sweep_dead_sessions(store)
}

/// Under this lock nobody takes a session for dead between its folder and its lock.
fn starting(store: &Store) -> Result<Lock> {
    Lock::take(
        &store.path("locks/sessions"),
        Mode::Exclusive,
        Wait::Forever,
    )
}

/// Makes a folder in `tmp/` that nobody takes for one of the dead as long as the lock in it is held.
pub(super) fn own_folder(store: &Store, prefix: &str) -> Result<(PathBuf, Lock)> {
    let _starting = starting(store)?;
    let folder = durable::create_own_folder(&store.path("tmp"), prefix)?;
    let lock = Lock::take(&folder.join(LOCK), Mode::Exclusive, Wait::Forever)?;
    Ok((folder, lock))
}

fn sweep_dead_sessions(store: &Store) -> Result<bool> {
    let tmp = store.path("tmp");
    let mut found = false;
    for entry in fs::read_dir(&tmp).context("read the folder", quoted(&tmp))? {
        let path = entry.context("read the folder", quoted(&tmp))?.path();
        if !path.is_dir() {
            continue;
        }
        let lock = path.join(LOCK);
        if let Some(_dead) = Lock::of_existing(&lock, Mode::Exclusive, Wait::Never)? {
            found = true;
            durable::remove_folder(&path)?;
        } else if !lock.exists() {
            // Its writer is just removing it, or died before it had added anything.
            durable::remove_folder(&path)?;
        }
    }
    Ok(found)
}

impl Writer<'_> {
    /// Returns the path of a file that only this writer has, and that goes with it.
    pub(super) fn own_file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl<'s> Writer<'s> {
    pub(super) fn new(store: &'s Store, epoch: Epoch) -> Result<Self> {
        let starting = starting(store)?;
        let (folder, session) = match durable::create_own_folder(&store.path("tmp"), "session-") {
            // Who only reads what is there, as a checkout elsewhere does, needs no folder; who adds is told without.
            Err(e) if e.is_read_only() => (store.path("tmp/session"), None),
            folder => {
                let folder = folder?;
                let lock = Lock::take(&folder.join(LOCK), Mode::Exclusive, Wait::Forever)?;
                (folder, Some(lock))
            }
        };
        let disk = match session {
            Some(_) => Some(File::open(&folder).context("open the folder", quoted(&folder))?),
            None => None,
        };
        let distrust = match session {
            Some(_) => sweep_dead_sessions(store)?,
            None => false,
        };
        drop(starting);
        let staged = Mutex::default();
        let owners = Owners::of_process();
        Ok(Self {
            store,
            _counted: store.held.count(epoch.number()),
            epoch,
            _session: session,
            folder,
            disk,
            owners,
            distrust,
            staged,
        })
    }

    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Returns whose the files of this store are.
    pub fn owners(&self) -> Owners {
        self.owners
    }

    /// Returns what is staged; a thread that panicked while holding it left it whole.
    pub(super) fn staged(&self) -> std::sync::MutexGuard<'_, Staged> {
        self.staged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a file of this session's that no name in the store will lead to.
    pub fn scratch(&self) -> Result<File> {
        tempfile::tempfile_in(&self.folder).context("make a file in", quoted(&self.folder))
    }

    /// Returns a stage for the blob of `digest`.
    pub fn stage_blob(&self, digest: &Digest) -> Result<BlobStage<'_>> {
        let stem = format!("blob-{}", digest.hex());
        let path = self.unique(&stem);
        let file = durable::create_new(&path)?;
        Ok(BlobStage {
            writer: self,
            digest: *digest,
            path,
            file,
            hasher: DigestHasher::new(digest.algorithm()),
        })
    }

    /// Stages a document that was read already.
    pub fn stage_document(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.store.has_blob_in_place(digest, bytes.len() as u64)?
            && self.store.document(digest).is_ok()
        {
            return Ok(());
        }
        let mut stage = self.stage_blob(digest)?;
        stage.write(bytes)?;
        stage.finish()
    }

    /// A path of its own for what may be staged twice at a time.
    pub(super) fn unique(&self, stem: &str) -> PathBuf {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.folder
            .join(format!("{stem}.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes all that is staged durable, so that putting it in place afterwards takes but a moment.
    pub(crate) fn sync_staged(&self) -> Result<()> {
        match &self.disk {
            Some(disk) => durable::sync_all(disk, &self.folder),
            None => Ok(()),
        }
    }

    /// Makes everything staged durable, then puts it in place; after that it only needs a name.
    pub fn publish(&self) -> Result<Published> {
        let staged = std::mem::take(&mut *self.staged());
        let Staged {
            seen: _,
            objects,
            suspects,
            large: _,
            inodes,
            blobs,
            recipes,
            streams,
        } = staged;
        if objects.len() + inodes.len() + blobs.len() + recipes.len() + streams.len() > 0 {
            self.sync_staged()?;
        }
        // From the bottom up: whoever finds a recipe takes its contents as there, after a crash in between too.
        let objects = self.place_fans(
            objects,
            |(id, _)| paths::object(id),
            |(id, given)| Ok((id, self.place_object(&id, given, &suspects)?)),
        )?;
        let objects: HashMap<ContentId, Given> = objects.into_iter().collect();
        self.place_fans(inodes, paths::inode, |id| {
            self.place_inode(&id).map(|()| id)
        })?;
        for layer in &recipes {
            place(
                &self.staged_recipe(layer),
                &self.store.path(paths::recipe(layer)),
            )?;
        }
        self.store.sync_folders(recipes.iter().map(paths::recipe))?;
        for blob in &streams {
            place(
                &self.staged_stream(blob),
                &self.store.path(paths::stream(blob)),
            )?;
        }
        self.store.sync_folders(streams.iter().map(paths::stream))?;
        for digest in &blobs {
            place(
                &self.staged_blob(digest),
                &self.store.path(paths::blob(digest)),
            )?;
        }
        self.store.sync_folders(blobs.iter().map(paths::blob))?;
        Ok(Published {
            objects,
            blobs: blobs.len() as u64,
            recipes: recipes.len() as u64,
        })
    }

    /// Puts files in place that are fanned out: a whole folder at once where the store has none of its name, else one by
    /// one; and makes that durable. Returns what `place` made of each, and as they are those that went with their folder.
    fn place_fans<T: Send>(
        &self,
        files: impl IntoIterator<Item = T>,
        below: impl Fn(&T) -> PathBuf,
        place: impl Fn(T) -> Result<T> + Sync + Send,
    ) -> Result<Vec<T>> {
        let mut fans: HashMap<PathBuf, Vec<T>> = HashMap::new();
        for file in files {
            let mut fan = below(&file);
            fan.pop();
            fans.entry(fan).or_default().push(file);
        }
        let (mut placed, mut left, mut changed) = (Vec::new(), Vec::new(), HashSet::new());
        for (fan, files) in fans {
            match self.place_folder(&fan, files.len())? {
                true => placed.extend(files),
                false => {
                    left.extend(files);
                    changed.insert(fan.join("any"));
                }
            }
            changed.insert(fan);
        }
        let left: Vec<T> = left.into_par_iter().map(place).collect::<Result<_>>()?;
        placed.extend(left);
        self.store.sync_folders(changed.into_iter())?;
        Ok(placed)
    }

    /// Puts a folder in place with all that is staged in it, where the store has none of its name or an empty one; its
    /// names are durable already. Returns whether it did.
    fn place_folder(&self, fan: &Path, expected: usize) -> Result<bool> {
        let from = self.folder.join(fan);
        let staged = fs::read_dir(&from).context("read the folder", quoted(&from))?;
        // What failed half-way would come along.
        Ok(staged.count() == expected && durable::rename_folder(&from, &self.store.path(fan)))
    }

    /// Tells whether a collector moved anything away since this session began.
    pub(crate) fn is_beside_a_collection(&self) -> Result<bool> {
        let newest = self.store.trash()?.pop();
        Ok(newest.is_some_and(|newest| newest >= self.epoch.number()))
    }

    /// Claims what `roots` lead to, and brings back what of it a collector moved away since this session began.
    ///
    /// `published` is what this session put in place.
    pub(crate) fn claim(
        &self,
        roots: &[Descriptor],
        published: &HashMap<ContentId, Given>,
    ) -> Result<Claimed<'s>> {
        self.store.claim(&self.epoch, roots, published)
    }

    /// Puts an object in place; returns what the file that is in place was given.
    ///
    /// Another writer may have been faster, with other metadata: its file stays, since it may be recorded and linked
    /// already. Only one that is known to be wrong, or that is full of links, is replaced.
    fn place_object(
        &self,
        id: &ContentId,
        given: Given,
        suspects: &HashSet<ContentId>,
    ) -> Result<Given> {
        let (from, to) = (self.staged_object(id), self.store.path(paths::object(id)));
        if durable::rename_new(&from, &to)? {
            return Ok(given);
        }
        let there = self.store.stat_object(id)?;
        let full = there.is_some_and(|stat| stat.stx_nlink >= MANY_LINKS);
        let kept = match full || suspects.contains(id) {
            true => None,
            false => self.store.object_as_it_is(id)?,
        };
        match kept {
            Some(kept) => durable::remove(&from).map(|()| kept),
            None => durable::rename(&from, &to).map(|()| given),
        }
    }

    /// Puts an inode in place. One that is there has the same content and metadata by its name: it stays, since
    /// others may be about to link it, unless it was changed or is full of links.
    fn place_inode(&self, id: &InodeId) -> Result<()> {
        let (from, to) = (self.staged_inode(id), self.store.path(paths::inode(id)));
        if durable::rename_new(&from, &to)? {
            return Ok(());
        }
        let ours = self.store.stat_file(&from)?.map(|stat| Stat::seen(&stat));
        let there = self.store.stat_inode(id)?;
        match there {
            Some(stat) if stat.stx_nlink < MANY_LINKS && ours == Some(Stat::seen(&stat)) => {
                durable::remove(&from)
            }
            _ => durable::rename(&from, &to),
        }
    }

    pub(super) fn staged_object(&self, id: &ContentId) -> PathBuf {
        self.folder.join(paths::object(id))
    }

    pub(super) fn staged_inode(&self, id: &InodeId) -> PathBuf {
        self.folder.join(paths::inode(id))
    }

    pub(super) fn staged_blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!(
            "blob-{}-{}",
            digest.algorithm().name(),
            digest.hex()
        ))
    }

    pub(super) fn staged_recipe(&self, layer: &DiffId) -> PathBuf {
        self.folder.join(format!(
            "recipe-{}-{}",
            layer.0.algorithm().name(),
            layer.0.hex()
        ))
    }
}

/// Puts a staged file in place; what is there already was found wanting or is the same, and is replaced whole.
fn place(from: &Path, to: &Path) -> Result<()> {
    if !durable::rename_new(from, to)? {
        durable::rename(from, to)?;
    }
    Ok(())
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next writer: it can tell that this session is over.
        durable::remove_folder(&self.folder).ok();
    }
}

/// A blob on its way in; it only counts once [`BlobStage::finish`] has checked it.
#[derive(Debug)]
pub struct BlobStage<'w> {
    writer: &'w Writer<'w>,
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: DigestHasher,
}

impl BlobStage<'_> {
    /// Makes the stage share the bytes of `source` where the file system can; returns a reader of the copy.
    ///
    /// What is read from then on is what will be kept, whatever happens to the source.
    pub fn reflink(&mut self, source: &File) -> Option<File> {
        rustix::fs::ioctl_ficlone(&self.file, source).ok()?;
        File::open(&self.path).ok()
    }

    /// Takes in bytes and keeps them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .context("write", quoted(&self.path))
    }

    /// Takes in bytes that a reflink keeps already.
    pub fn check(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Ends the blob: its bytes must be what its digest names.
    pub fn finish(self) -> Result<()> {
        let Self {
            writer,
            digest,
            path,
            file: _,
            hasher,
        } = self;
        let actual = hasher.finish();
        if actual != digest {
            durable::remove(&path)?;
            return Err(Error::damaged(
                "take in the blob",
                digest,
                format!("its bytes are {actual}"),
            ));
        }
        durable::rename(&path, &writer.staged_blob(&digest))?;
        writer.staged().blobs.insert(digest);
        Ok(())
    }
}
