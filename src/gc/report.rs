//! Owns the numbers of a collection: what goes, what stays, and what comes back of the disk.

use std::path::PathBuf;

use serde::Serialize;

use crate::store::trash::Unlinked;

/// What a plan finds, and what its sweep then did: a dry run reports the same numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// File contents.
    pub objects: Tally,
    /// Inodes that were made for checkouts: a cache, of which those that no checkout holds go.
    pub inodes: Tally,
    /// Layers' recipes.
    pub recipes: Tally,
    /// Compression recipes of layers' blobs.
    pub streams: Tally,
    /// Blobs that hold JSON: manifests, indexes, configs.
    pub documents: Tally,
    /// All other blobs: kept layers, artifacts' files.
    pub blobs: Tally,
    /// What the file system gets back at once.
    pub freed: Size,
    /// What is dead too, and deleted, but stays on the disk as long as a checkout holds a link to it.
    pub held_by_checkouts: Size,
    /// What is dead too, and in the trash, but may be needed by commands that began before it went there: the next
    /// collection frees it.
    pub in_trash: Size,
    /// Mounts that are no more, but have changes that nobody has taken, or belong to a bundle. They stay, and keep nothing
    /// else; `ocistore umount --discard` removes one.
    pub left_mounts: Vec<LeftMount>,
    /// Files in the store's folders that are not named as the store names files; they are left alone.
    pub strays: Vec<PathBuf>,
}

/// How many files of one kind go and stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Tally {
    /// Files that go.
    pub deleted: u64,
    /// The bytes of those that go.
    pub deleted_bytes: u64,
    /// Files that stay.
    pub kept: u64,
    /// The bytes of those that stay.
    pub kept_bytes: u64,
}

/// A mount that is no more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftMount {
    /// Its id.
    pub id: String,
    /// Where it was.
    pub target: PathBuf,
    /// The bundle that it belongs to.
    pub bundle: Option<PathBuf>,
}

/// An amount of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Size {
    /// Lengths of files, in bytes.
    pub bytes: u64,
    /// What they take of the disk, in bytes.
    pub disk_bytes: u64,
}

impl Report {
    /// Tells whether the sweep has nothing to do.
    pub fn is_clean(&self) -> bool {
        let Self {
            objects,
            inodes,
            recipes,
            streams,
            documents,
            blobs,
            freed: _,
            held_by_checkouts: _,
            in_trash: _,
            left_mounts: _,
            strays: _,
        } = self;
        [objects, inodes, recipes, streams, documents, blobs]
            .iter()
            .all(|tally| tally.deleted == 0)
    }

    /// Counts files of one kind that would go, and what comes back of the disk.
    pub(super) fn count_deleted(
        &mut self,
        files: Unlinked,
        tally: impl FnOnce(&mut Self) -> &mut Tally,
    ) {
        self.count_unlinked(files);
        tally(self).count_deleted(files);
    }

    /// Counts what was unlinked, or would be.
    pub(super) fn count_unlinked(&mut self, unlinked: Unlinked) {
        let Unlinked {
            files: _,
            freed,
            freed_disk,
            held,
            held_disk,
        } = unlinked;
        self.freed.add(Size {
            bytes: freed,
            disk_bytes: freed_disk,
        });
        self.held_by_checkouts.add(Size {
            bytes: held,
            disk_bytes: held_disk,
        });
    }

    /// Counts what stays in the trash.
    pub(super) fn count_trash(&mut self, trash: Unlinked) {
        self.in_trash.add(Size {
            bytes: trash.freed + trash.held,
            disk_bytes: trash.freed_disk + trash.held_disk,
        });
    }
}

impl Tally {
    pub(super) fn count_kept(&mut self, bytes: u64) {
        self.kept += 1;
        self.kept_bytes += bytes;
    }

    pub(super) fn count_deleted(&mut self, files: Unlinked) {
        self.deleted += files.files;
        self.deleted_bytes += files.bytes();
    }

    pub(super) fn add(&mut self, other: Self) {
        let Self {
            deleted,
            deleted_bytes,
            kept,
            kept_bytes,
        } = other;
        self.deleted += deleted;
        self.deleted_bytes += deleted_bytes;
        self.kept += kept;
        self.kept_bytes += kept_bytes;
    }
}

impl Size {
    fn add(&mut self, other: Self) {
        let Self { bytes, disk_bytes } = other;
        self.bytes += bytes;
        self.disk_bytes += disk_bytes;
    }
}
