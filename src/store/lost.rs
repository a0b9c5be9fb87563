//! Owns `lost+found/` and what a repair stages: files that are not as their names say are moved there by rename, never
//! removed, and what takes their place is read back and hashed before it is named.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};

use super::catalog::Change;
use super::inodes;
use super::{Store, Writer, durable, paths};
use crate::digest::{Algorithm, ContentHasher, ContentId, DiffId, Digest, InodeId};
use crate::error::{Context, Result, quoted};
use crate::meta::Meta;
use crate::recipe::ContentRef;

/// The folder, below the store.
pub(crate) const FOLDER: &str = "lost+found";

/// A file of the store, by what it is named by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Stored {
    /// A document or a kept layer.
    Blob(Digest),
    /// The recipe of a layer.
    Recipe(DiffId),
    /// The compression recipe of a layer's blob.
    Stream(Digest),
    /// A content.
    Object(ContentId),
    /// A content with other metadata.
    Inode(InodeId),
    /// `catalog.redb`.
    Catalog,
}

impl Stored {
    /// Reads a path below the store.
    pub(crate) fn parse(below: &str) -> Option<Self> {
        if below == "catalog.redb" {
            return Some(Self::Catalog);
        }
        let (folder, rest) = below.split_once('/')?;
        let (first, last) = rest.split_once('/')?;
        let digest = || {
            let known = Algorithm::ALL.into_iter().find(|a| a.name() == first)?;
            Digest::parse(&format!("{}:{last}", known.name())).ok()
        };
        let hex = format!("{first}{last}");
        match folder {
            "blobs" => digest().map(Self::Blob),
            "layers" => digest().map(|digest| Self::Recipe(DiffId(digest))),
            "streams" => digest().map(Self::Stream),
            "objects" => ContentId::from_hex(&hex).map(Self::Object),
            "inodes" => InodeId::from_hex(&hex).map(Self::Inode),
            _ => None,
        }
    }

    /// Returns where it is, below the store.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Blob(digest) => paths::blob(digest),
            Self::Recipe(layer) => paths::recipe(layer),
            Self::Stream(blob) => paths::stream(blob),
            Self::Object(id) => paths::object(id),
            Self::Inode(id) => paths::inode(id),
            Self::Catalog => PathBuf::from("catalog.redb"),
        }
    }

    /// Returns what its file is called in `lost+found/`, without the number.
    fn stem(&self) -> String {
        let named = |kind: &str, digest: &Digest| {
            format!("{kind}-{}-{}", digest.algorithm().name(), digest.hex())
        };
        match self {
            Self::Blob(digest) => named("blob", digest),
            Self::Recipe(layer) => named("recipe", &layer.0),
            Self::Stream(blob) => named("stream", blob),
            Self::Object(id) => format!("object-{}", id.hex()),
            Self::Inode(id) => format!("inode-{}", id.hex()),
            Self::Catalog => "catalog.redb".to_owned(),
        }
    }
}

impl Store {
    /// Returns the files that contents' objects were moved to `lost+found/` as, in order, below the store.
    pub(crate) fn lost_objects(&self) -> Result<HashMap<ContentId, Vec<PathBuf>>> {
        let folder = self.path(FOLDER);
        let context = || quoted(&folder);
        let mut found: HashMap<ContentId, Vec<PathBuf>> = HashMap::new();
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other.context("read the folder", context())?,
        };
        for entry in entries {
            let name = entry.context("read the folder", context())?.file_name();
            let id = name.to_str().and_then(|name| {
                let (hex, _) = name.strip_prefix("object-")?.split_once('.')?;
                ContentId::from_hex(hex)
            });
            if let Some(id) = id {
                found
                    .entry(id)
                    .or_default()
                    .push(Path::new(FOLDER).join(name));
            }
        }
        found.values_mut().for_each(|files| files.sort());
        Ok(found)
    }
}

/// A content that is to be staged, and the metadata that its file gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mending<'a> {
    pub(crate) content: ContentRef,
    pub(crate) meta: &'a Meta,
}

/// Writes the bytes of a content to an empty file; returns whether they were all to be had.
pub(crate) type Fill<'a> = dyn FnMut(&mut File) -> Result<bool> + 'a;

impl Writer<'_> {
    /// Moves a file of the store to `lost+found/`; returns where it is now, or `None` where there was none.
    ///
    /// Whoever has a link to it keeps it. Its name is free afterwards: what dies then leaves it missing, not damaged.
    /// Before anything takes its place [`Writer::sync_detached`] has to make that durable.
    pub(crate) fn detach(&self, what: &Stored) -> Result<Option<PathBuf>> {
        let from = self.store.path(what.path());
        let folder = self.store.path(FOLDER);
        if is_gone(&from) {
            return Ok(None);
        }
        let mut number = 0u64;
        loop {
            let below = Path::new(FOLDER).join(format!("{}.{number}", what.stem()));
            let to = self.store.path(&below);
            durable::create_folder(&folder)?;
            match durable::rename_new(&from, &to) {
                Ok(true) => return Ok(Some(below)),
                Ok(false) => number += 1,
                // Another repair may have moved it, too.
                Err(_) if is_gone(&from) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes it durable that files were moved from and to these places.
    pub(crate) fn sync_detached(&self, places: impl Iterator<Item = PathBuf>) -> Result<()> {
        self.store.sync_folders(places)
    }

    /// Makes the catalog anew; returns where the one that was there is now.
    pub(crate) fn replace_catalog(
        &self,
        fill: impl FnOnce(&Change<'_>) -> Result<()>,
    ) -> Result<Option<PathBuf>> {
        let staged = self.folder.join("catalog.redb");
        let clear = || {
            let kept_as = self.detach(&Stored::Catalog)?;
            self.sync_detached(kept_as.iter().cloned())?;
            Ok(kept_as)
        };
        self.store.catalog.replace(&staged, clear, fill)
    }

    /// Returns the contents that wait to be put in place, in order.
    pub(crate) fn staged_contents(&self) -> Vec<ContentId> {
        let mut ids: Vec<ContentId> = self.staged().objects.keys().copied().collect();
        ids.sort();
        ids
    }

    /// Stages an object of whatever `fill` writes; returns whether that were the content's bytes.
    pub(crate) fn mend_object(&self, what: Mending<'_>, fill: &mut Fill<'_>) -> Result<bool> {
        let Mending { content, meta } = what;
        if self.is_staged(&content.id) {
            return Ok(true);
        }
        let Some((path, file)) = self.fill_anew(&content, fill)? else {
            return Ok(false);
        };
        durable::rename_below(&path, &self.staged_object(&content.id))?;
        self.stage_object(&file, content.id, content.size, meta)?;
        Ok(true)
    }

    /// Stages the inode `id` of a content; the metadata is as the host is to have it. Returns whether it could be made.
    pub(crate) fn mend_inode(
        &self,
        id: &InodeId,
        what: Mending<'_>,
        fill: &mut Fill<'_>,
    ) -> Result<bool> {
        let Mending { content, meta } = what;
        let Some((path, file)) = self.fill_anew(&content, fill)? else {
            return Ok(false);
        };
        let refused = inodes::give(&file, meta).context("set the metadata of", quoted(&path))?;
        if !refused.is_empty() {
            durable::remove(&path)?;
            return Ok(false);
        }
        durable::rename_below(&path, &self.staged_inode(id))?;
        self.staged().inodes.push(*id);
        Ok(true)
    }

    /// Fills a new file and reads it back; nothing stays of one that is not the content.
    fn fill_anew(
        &self,
        content: &ContentRef,
        fill: &mut Fill<'_>,
    ) -> Result<Option<(PathBuf, File)>> {
        let path = self.unique("mended");
        let mut file = durable::create_new(&path)?;
        let mut is_right = false;
        if fill(&mut file)? {
            file.rewind().context("read", quoted(&path))?;
            is_right = hash_of(&mut file).context("read", quoted(&path))? == content.id;
        }
        if !is_right {
            durable::remove(&path)?;
            return Ok(None);
        }
        Ok(Some((path, file)))
    }
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Returns the content that these bytes are.
pub(crate) fn hash_of(from: &mut dyn Read) -> io::Result<ContentId> {
    let mut hasher = ContentHasher::default();
    let mut chunk = vec![0; 256 << 10];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::verify::sample::{Sample, meta};
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn every_kind_of_file_is_told_by_its_path() {
        let digest = Digest::sha256(b"x");
        let id = ContentId::of(b"x");
        for what in [
            Stored::Blob(digest),
            Stored::Recipe(DiffId(digest)),
            Stored::Object(id),
            Stored::Inode(InodeId(id.0)),
            Stored::Catalog,
        ] {
            let below = what.path().display().to_string();
            assert_eq!(Stored::parse(&below), Some(what), "{below}");
        }
        for other in ["", "index.json", "blobs/md5/00", "objects/ab", "tmp/a/b"] {
            assert_eq!(Stored::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_detached_keeps_its_inode_and_never_replaces_what_was_lost_before() {
        let sample = Sample::new();
        sample.image("a:1", &[&[("x", b"bytes")]]);
        let object = Stored::Object(ContentId::of(b"bytes"));
        let path = sample.object(b"bytes");
        let before = fs::metadata(&path).unwrap().ino();
        let writer = sample.store.write().unwrap();
        let first = writer.detach(&object).unwrap().unwrap();
        assert_eq!(writer.detach(&object).unwrap(), None);
        durable::create_new(&path).unwrap();
        let second = writer.detach(&object).unwrap().unwrap();
        assert_ne!(first, second);
        let root = sample.store.root();
        assert_eq!(fs::metadata(root.join(&first)).unwrap().ino(), before);
        let lost = sample.store.lost_objects().unwrap();
        assert_eq!(lost[&ContentId::of(b"bytes")], [first, second]);
    }

    #[test]
    fn wrong_bytes_are_not_staged() {
        let sample = Sample::new();
        let writer = sample.store.write().unwrap();
        let meta = meta();
        let what = Mending {
            content: ContentRef {
                id: ContentId::of(b"right"),
                size: 5,
            },
            meta: &meta,
        };
        let write = |bytes: &'static [u8]| {
            move |file: &mut File| -> Result<bool> {
                file.write_all(bytes).unwrap();
                Ok(true)
            }
        };
        assert!(!writer.mend_object(what, &mut write(b"wrong")).unwrap());
        assert!(!writer.mend_object(what, &mut |_| Ok(false)).unwrap());
        assert!(writer.staged_contents().is_empty());
        assert!(writer.mend_object(what, &mut write(b"right")).unwrap());
        assert_eq!(writer.staged_contents(), [what.content.id]);
        writer.publish().unwrap();
        assert_eq!(fs::read(sample.object(b"right")).unwrap(), b"right");
    }
}
