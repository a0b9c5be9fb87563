//! The place: a folder that holds every file of every image once, and the handles that say who may do what in it.
//!
//! Reading takes nothing but the store; adding takes a [`Writer`]; deleting takes a [`Collector`].

pub mod catalog;
pub mod checkouts;
mod claims;
mod collector;
mod commit;
#[cfg(test)]
pub(crate) mod crash;
pub(crate) mod durable;
mod epochs;
pub mod find;
pub mod inodes;
pub mod locks;
pub(crate) mod lost;
mod made;
pub mod mounts;
pub mod names;
mod objects;
pub(crate) mod paths;
pub mod reach;
mod recipes;
mod streams;
pub mod trash;
pub(crate) mod variants;
pub mod verify;
mod writer;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Statx};

use crate::digest::{ContentId, DiffId, Digest, InodeId};
use crate::error::{Context, Error, Result, quoted};
use crate::watch::Unwatched;
use crate::wire;
use catalog::{Catalog, Change, View};
use epochs::{Counted, Epoch, Held};
use locks::{Gate, Lock, Mode as With, Wait};
use names::Names;

pub use collector::{Batch, Collector, Look, Roots};
pub(crate) use commit::Claimed;
pub use find::host_platform;
pub use made::NewBlob;
pub use objects::LargeObject;
pub use recipes::{RecipeFile, RecipeSink, Segments};
pub(crate) use streams::LONGEST as LONGEST_STREAM;
pub use writer::{BlobStage, Published, Writer};

/// The `format` file: one line of version, one of each kind of feature flag. See `docs/format.md`, "Versions".
const FORMAT: &str = "ocistore 1\ncompatible:\nread-only-compatible:\nincompatible:\n";

/// What a store may have beyond its version, that older programs must know of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feature {
    /// Mounts, which are roots of collections.
    Mounts,
    /// Blobs of layers that are not kept, but made again: who knows no compression recipes would give other digests.
    Streams,
}

impl Feature {
    const ALL: [Self; 2] = [Self::Mounts, Self::Streams];

    /// The line that it stands on: without knowing it a program must not write, or not even read.
    fn line(self) -> &'static str {
        match self {
            Self::Mounts => "read-only-compatible",
            Self::Streams => "incompatible",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mounts => "mounts",
            Self::Streams => "streams",
        }
    }

    /// Tells whether a store's `format` file says so.
    fn is_in(self, format: &str) -> bool {
        let lines = format.lines().filter_map(|line| line.split_once(':'));
        let mut lines = lines.filter(|(line, _)| *line == self.line());
        lines.any(|(_, flags)| flags.split_whitespace().any(|flag| flag == self.name()))
    }
}

/// Beyond so many folders one sync of the file system is cheaper than a sync of each. So few in the crate's own tests
/// that they go both ways.
const MANY_FOLDERS: usize = if cfg!(test) { 8 } else { 64 };

/// A store, open.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    folder: OwnedFd,
    catalog: Catalog,
    wait: Wait,
    held: Held,
}

/// The right to read objects: while it is held, what was in place when it was taken can be read.
#[derive(Debug)]
pub struct Reader<'s> {
    store: &'s Store,
    _epoch: Epoch,
    _counted: Counted<'s>,
}

impl Store {
    /// Opens the store at `root`, which must be one. Whether its catalog is there is another matter: see [`Self::create`].
    pub fn open(root: &Path, wait: Wait) -> Result<Self> {
        let format = match fs::read_to_string(root.join("format")) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(
                    Error::missing("open the store", quoted(root), "there is no store")
                        .hint("`ocistore import` makes one, or name another with --store"),
                );
            }
            other => other.context("open the store", quoted(root))?,
        };
        check_format(root, &format)?;
        make_missing_folders(root)?;
        // Not by `O_PATH`: such a handle cannot sync the file system.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(root, flags, Mode::empty()).context("open the store", quoted(root))?;
        Ok(Self {
            root: root.to_owned(),
            folder,
            catalog: Catalog::at(root),
            wait,
            held: Held::default(),
        })
    }

    /// Opens the store at `root`, after making it where there is none.
    ///
    /// A new store has no catalog, and an old one may have lost it. [`crate::convert::rebuild::rebuild_if_lost`] makes it,
    /// and has to be called before anything is looked up.
    pub fn create(root: &Path, wait: Wait) -> Result<Self> {
        let format = root.join("format");
        if !format.try_exists().context("look at", quoted(&format))? {
            Self::make(root)?;
        }
        Self::open(root, wait)
    }

    fn make(root: &Path) -> Result<()> {
        durable::create_root(root)?;
        // Contents carry setuid bits and secrets: nobody else reaches them, in a folder that was there before too.
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(root, only_owner).context("keep others out of", quoted(root))?;
        let empty = fs::read_dir(root)
            .context("read the folder", quoted(root))?
            .flatten();
        let ours: Vec<_> = empty.map(|entry| entry.file_name()).collect();
        let known = |name: &std::ffi::OsString| {
            paths::FOLDERS.iter().any(|f| name == f)
                || ["oci-layout", "index.json", "catalog.redb"]
                    .iter()
                    .any(|f| name == f)
        };
        if !ours.iter().all(known) {
            if root.join("format").exists() {
                // Another was faster: it is a whole store by now, with all that others put there since.
                return Ok(());
            }
            return Err(Error::missing(
                "make a store in",
                quoted(root),
                "the folder holds other files",
            )
            .hint("name an empty or a new folder"));
        }
        for folder in paths::FOLDERS {
            make_folder(&root.join(folder))?;
        }
        let _lock = Lock::take(&root.join("locks/names"), With::Exclusive, Wait::Forever)?;
        if root.join("format").exists() {
            return Ok(());
        }
        let staged = root.join("tmp/new");
        durable::remove(&staged)?;
        if !root.join("index.json").exists() {
            Names::empty().write(&root.join("index.json"), &staged)?;
        }
        durable::replace(&root.join("oci-layout"), &staged, wire::LAYOUT_FILE)?;
        // The format file comes last: what has one is a whole store.
        durable::replace(&root.join("format"), &staged, FORMAT.as_bytes())
    }

    /// Returns the store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a handle on the store's folder, for `statx` and `linkat` below it.
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Takes the right to read objects. Never waits: a collector keeps what its holder may have seen.
    pub fn read(&self) -> Result<Reader<'_>> {
        let epoch = Epoch::enter(&self.path("epochs"))?;
        Ok(Reader {
            store: self,
            _counted: self.held.count(epoch.number()),
            _epoch: epoch,
        })
    }

    /// Takes the right to add. Never waits for longer than others need to begin.
    pub fn write(&self) -> Result<Writer<'_>> {
        Writer::new(self, Epoch::enter(&self.path("epochs"))?)
    }

    /// Passes the gate of what is put in place for names, and of what is moved away from there.
    fn publishing(&self, with: With) -> Result<Lock> {
        Gate::at(self.path("locks/publish")).pass(with)
    }

    /// Returns the names there are now.
    pub fn names(&self) -> Result<Names> {
        Names::read(&self.path("index.json"))
    }

    /// Changes names: all that `change` does becomes visible at once, durably.
    pub fn change_names<T>(&self, change: impl FnOnce(&mut Names) -> Result<T>) -> Result<T> {
        // Held for one small file at a time: waiting is shorter than any answer that nobody waits for.
        let _lock = Lock::take(&self.path("locks/names"), With::Exclusive, Wait::Forever)?;
        let mut names = self.names()?;
        let before = names.encode();
        let done = change(&mut names)?;
        if names.encode() != before {
            let staged = self.path("tmp/index.json");
            durable::remove(&staged)?;
            names.write(&self.path("index.json"), &staged)?;
        }
        Ok(done)
    }

    /// Has it say, before it has the first of them, that programs must know of something.
    fn need(&self, feature: Feature) -> Result<()> {
        let path = self.path("format");
        let read = || fs::read_to_string(&path).context("read", quoted(&path));
        if feature.is_in(&read()?) {
            return Ok(());
        }
        // An ocistore that knows no mounts may be collecting. It refuses the store from now on. Of compression recipes it
        // takes none.
        let _nobody_collects = match feature {
            Feature::Mounts => Some(self.lock_gc(&Unwatched)?),
            Feature::Streams => None,
        };
        let _lock = Lock::take(&self.path("locks/names"), With::Exclusive, Wait::Forever)?;
        let format = read()?;
        if feature.is_in(&format) {
            return Ok(());
        }
        let line = |line: &str| match line.split_once(':') {
            Some((kind, _)) if kind == feature.line() => format!("{line} {}\n", feature.name()),
            _ => format!("{line}\n"),
        };
        let format: String = format.lines().map(line).collect();
        let staged = self.path("tmp/new");
        durable::remove(&staged)?;
        durable::replace(&path, &staged, format.as_bytes())
    }

    /// Tells whether there is a catalog that can be read.
    pub fn has_catalog(&self) -> Result<bool> {
        self.catalog.exists()
    }

    /// Makes the catalog anew, with what `fill` puts in.
    pub fn create_catalog(&self, fill: impl FnOnce(&Change<'_>) -> Result<()>) -> Result<()> {
        self.catalog.create(&self.path("tmp/catalog.redb"), fill)
    }

    /// Has the catalog take no more of the disk than it needs.
    pub(crate) fn shrink_catalog(&self) -> Result<()> {
        self.catalog.shrink()
    }

    /// Reads the catalog in one transaction.
    pub fn view<T>(&self, read: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        self.catalog.view(read)
    }

    /// Changes the catalog in one transaction, durable when this returns.
    pub fn change_catalog<T>(&self, write: impl FnOnce(&Change<'_>) -> Result<T>) -> Result<T> {
        self.catalog.change(write)
    }

    /// Changes the catalog in one transaction, unless `write` returns `None`: then nothing is changed.
    pub fn change_catalog_if<T>(
        &self,
        write: impl FnOnce(&Change<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.catalog.change_if(write)
    }

    /// Returns the length of a kept blob, or `None` where it is not kept.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let found = self.wherever(&paths::blob(digest), |place| fs::metadata(self.path(place)));
        match found? {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("look at the blob", digest),
        }
    }

    /// Tells whether a blob of this size is in its place, where it need not be written again.
    pub fn has_blob_in_place(&self, digest: &Digest, size: u64) -> Result<bool> {
        let path = self.path(paths::blob(digest));
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len() == size),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).context("look at", quoted(&path)),
        }
    }

    /// Opens a kept blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let below = paths::blob(digest);
        match self.wherever(&below, |place| durable::open_regular(&self.path(place)))? {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(
                    Error::damaged("read the blob", digest, "the store does not have it")
                        .hint("import its image again"),
                )
            }
            other => other.context("open the blob", quoted(&self.path(below))),
        }
    }

    /// Tells by its first byte whether a blob can be a document: nobody's media type says what a dead or unknown one
    /// is, and a large one that is none is not worth reading.
    pub fn may_be_document(&self, digest: &Digest, size: u64) -> Result<bool> {
        use std::io::Read as _;
        if size == 0 || size > wire::DOCUMENT_MAX {
            return Ok(false);
        }
        let mut first = [0];
        self.open_blob(digest)?
            .read_exact(&mut first)
            .context("read the blob", digest)?;
        Ok(matches!(
            first[0],
            b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n'
        ))
    }

    /// Reads a document, checked against its digest.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(wire::DOCUMENT_MAX + 1)
            .read_to_end(&mut bytes)
            .context("read the blob", digest)?;
        if !digest.matches(&bytes) {
            return Err(Error::damaged(
                "read the blob",
                digest,
                "its bytes are not what its digest names",
            )
            .hint("import its image again from its source"));
        }
        Ok(bytes)
    }

    /// Opens an object's file.
    pub fn open_object(&self, id: &ContentId) -> Result<File> {
        let below = paths::object(id);
        match self.wherever(&below, |place| File::open(self.path(place)))? {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::damaged("read the object", id, "it is missing")
                    .hint("`ocistore fsck` names the images that need it"))
            }
            other => other.context("open the object", quoted(&self.path(below))),
        }
    }

    /// Tells whether an object's file is there, in its place or in the trash.
    pub fn has_object(&self, id: &ContentId) -> Result<bool> {
        Ok(self.object_size(id)?.is_some())
    }

    /// Returns the length of an object's file, in its place or in the trash, or `None` where it is nowhere.
    pub fn object_size(&self, id: &ContentId) -> Result<Option<u64>> {
        let look = |place: &Path| fs::symlink_metadata(self.path(place));
        match self.wherever(&paths::object(id), look)? {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("look at the object", id),
        }
    }

    /// Returns what the system says of the object's own file that is in place, or `None` where there is none.
    pub fn stat_object(&self, id: &ContentId) -> Result<Option<Statx>> {
        self.stat_file(&paths::object(id))
    }

    /// Returns what the system says of an inode made for a checkout, or `None` where there is none.
    pub fn stat_inode(&self, id: &InodeId) -> Result<Option<Statx>> {
        self.stat_file(&paths::inode(id))
    }

    pub(crate) fn stat_file(&self, below: &Path) -> Result<Option<Statx>> {
        match rustix::fs::statx(
            &self.folder,
            below,
            AtFlags::SYMLINK_NOFOLLOW,
            inodes::stat_flags(),
        ) {
            Ok(stat) => Ok(Some(stat)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context("look at", quoted(below)),
        }
    }

    /// Returns where an object's file is, below [`Store::folder`].
    pub fn object_path(&self, id: &ContentId) -> PathBuf {
        paths::object(id)
    }

    /// Returns where an inode made for a checkout is, below [`Store::folder`].
    pub fn inode_path(&self, id: &InodeId) -> PathBuf {
        paths::inode(id)
    }

    /// Returns where a blob is kept.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path(paths::blob(digest))
    }

    /// Tells whether the layer's recipe is in its place.
    pub fn has_recipe(&self, layer: &DiffId) -> bool {
        self.path(paths::recipe(layer)).is_file()
    }

    /// Tells whether the layer's recipe is there, in its place or in the trash.
    pub fn recipe_is_anywhere(&self, layer: &DiffId) -> Result<bool> {
        let look = |place: &Path| fs::symlink_metadata(self.path(place));
        match self.wherever(&paths::recipe(layer), look)? {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).context("look at the recipe of", layer),
        }
    }

    /// Opens a layer's recipe, checked against its checksum.
    pub fn recipe(&self, layer: &DiffId) -> Result<RecipeFile> {
        let below = paths::recipe(layer);
        let open = |place: &Path| durable::open_regular(&self.path(place));
        RecipeFile::read(self.wherever(&below, open)?, &self.path(&below), layer)
    }

    /// Makes the names of files at these places durable, and those of the folders they are in.
    fn sync_folders(&self, places: impl Iterator<Item = PathBuf>) -> Result<()> {
        use rayon::prelude::*;
        let mut folders: std::collections::HashSet<PathBuf> = std::collections::HashSet::new();
        for place in places {
            folders.extend(place.ancestors().skip(1).map(|folder| self.path(folder)));
        }
        if folders.len() > MANY_FOLDERS {
            return durable::sync_all(&self.folder, &self.root);
        }
        folders
            .par_iter()
            .try_for_each(|folder| durable::sync_folder(folder))
    }

    /// Returns the layers there are.
    pub fn recipes(&self) -> Result<Vec<DiffId>> {
        let digests = verify::digests_in(&self.path("layers"))?;
        Ok(digests.into_iter().map(DiffId).collect())
    }

    /// Returns the blobs that are kept.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        verify::digests_in(&self.path("blobs"))
    }
}

/// Makes one of the store's folders.
fn make_folder(path: &Path) -> Result<()> {
    durable::create_folder(path)?;
    if path.ends_with("tmp") {
        // Each session's files are then made away from what a collection has just deleted.
        durable::spread_folders_in(path);
    }
    Ok(())
}

/// Makes the folders that are missing: tools that copy a store may leave out empty ones.
fn make_missing_folders(root: &Path) -> Result<()> {
    for folder in paths::FOLDERS {
        let folder = root.join(folder);
        if folder.try_exists().context("look at", quoted(&folder))? {
            continue;
        }
        match make_folder(&folder) {
            Err(e) if !e.is_read_only() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn check_format(root: &Path, format: &str) -> Result<()> {
    let mut lines = format.lines();
    let refuse = |why: String| {
        Err(Error::missing("open the store", quoted(root), why).hint("use a newer ocistore"))
    };
    match lines.next() {
        Some("ocistore 1") => {}
        other => {
            return refuse(format!(
                "expected format 'ocistore 1', got '{}'",
                other.unwrap_or_default()
            ));
        }
    }
    for line in lines {
        let (kind, flags) = line.split_once(':').unwrap_or((line, ""));
        // Unknown compatible ones do no harm, the others do.
        let is_known = |flag: &str| {
            let mut known = Feature::ALL.iter();
            known.any(|feature| (feature.line(), feature.name()) == (kind, flag))
        };
        let mut unknown: Vec<&str> = flags.split_whitespace().collect();
        unknown.retain(|flag| !is_known(flag));
        if kind != "compatible" && !unknown.is_empty() {
            return refuse(format!(
                "it needs features this version does not have: {}",
                unknown.join(" ")
            ));
        }
    }
    Ok(())
}

impl<'s> Reader<'s> {
    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        assert_eq!(
            Store::open(&root, Wait::Forever).unwrap_err().exit_code(),
            2
        );
        Store::create(&root, Wait::Forever).unwrap();
        Store::create(&root, Wait::Forever).unwrap();
        assert_eq!(
            fs::metadata(&root).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_store_that_was_copied_without_its_empty_folders_is_a_store() {
        let dir = tempfile::tempdir().unwrap();
        Store::create(dir.path(), Wait::Never).unwrap();
        for folder in paths::FOLDERS {
            durable::remove_folder(&dir.path().join(folder)).unwrap();
        }
        let store = Store::open(dir.path(), Wait::Never).unwrap();
        assert!(store.write().is_ok() && !store.has_catalog().unwrap());
    }

    #[test]
    fn few_folders_are_synced_and_many() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s"), Wait::Forever).unwrap();
        for count in [1, MANY_FOLDERS - 2, MANY_FOLDERS - 1, 2 * MANY_FOLDERS] {
            let fans = (0..count).map(|at| format!("objects/{at:02x}"));
            let places: Vec<PathBuf> = fans.map(|fan| Path::new(&fan).join("any")).collect();
            for place in &places {
                fs::create_dir_all(store.path(place.parent().unwrap())).unwrap();
            }
            store.sync_folders(places.into_iter()).unwrap();
        }
    }

    #[test]
    fn a_store_that_another_made_meanwhile_is_one() {
        let dir = tempfile::tempdir().unwrap();
        Store::make(dir.path()).unwrap();
        Store::make(dir.path()).unwrap();
        assert!(Store::open(dir.path(), Wait::Forever).is_ok());
    }

    #[test]
    fn a_folder_of_other_files_does_not_become_a_store() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("photos")).unwrap();
        assert_eq!(
            Store::create(dir.path(), Wait::Forever)
                .unwrap_err()
                .exit_code(),
            2
        );
    }

    #[test]
    fn unknown_features_stop_a_reader_unless_they_are_compatible() {
        let root = Path::new("x");
        assert!(check_format(root, "ocistore 1\ncompatible: new\n").is_ok());
        assert!(check_format(root, "ocistore 1\nincompatible: new\n").is_err());
        assert!(check_format(root, "ocistore 1\nread-only-compatible: mounts\n").is_ok());
        assert!(check_format(root, "ocistore 1\nread-only-compatible: mounts new\n").is_err());
        assert!(check_format(root, "ocistore 1\nincompatible: mounts\n").is_err());
        assert!(check_format(root, "ocistore 1\nincompatible: streams\n").is_ok());
        assert!(check_format(root, "ocistore 1\nread-only-compatible: streams\n").is_err());
        assert!(check_format(root, "ocistore 2\n").is_err());
    }
}
