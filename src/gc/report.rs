//! Owns the numbers of a collection: what goes, what stays, and what comes back of the disk.

use std::path::PathBuf;

use serde::Serialize;

use crate::store::trash::Unlinked;
use crate::store::verify::present::Present;

/// What a plan finds, and what its sweep then did: a dry run reports the same numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// File contents.
    pub objects: Tally,
    /// Inodes that were made for checkouts: a cache, of which those that no checkout holds go.
    pub inodes: Tally,
    /// Layers' recipes.
    pub recipes: Tally,
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

/// An amount of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Size {
    /// Lengths of files, in bytes.
    pub bytes: u64,
    /// What they take of the disk, in bytes.
    pub disk_bytes: u64,
}

/// Whether a file stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Stays,
    Goes,
}

impl Report {
    /// Tells whether the sweep has nothing to do.
    pub fn is_clean(&self) -> bool {
        let Self {
            objects,
            inodes,
            recipes,
            documents,
            blobs,
            freed: _,
            held_by_checkouts: _,
            in_trash: _,
            strays: _,
        } = self;
        [objects, inodes, recipes, documents, blobs]
            .iter()
            .all(|tally| tally.deleted == 0)
    }

    /// Counts a file that goes: its bytes come back unless somebody else has a link to it.
    pub(super) fn count_space<I>(&mut self, file: &Present<I>, fate: Fate) {
        let size = match (fate, file.links) {
            (Fate::Stays, _) => return,
            (Fate::Goes, 0 | 1) => &mut self.freed,
            (Fate::Goes, _) => &mut self.held_by_checkouts,
        };
        size.bytes += file.stat.size;
        size.disk_bytes += file.disk_bytes;
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

    /// Adds what another part of the walk counted.
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            objects,
            inodes,
            recipes,
            documents,
            blobs,
            freed,
            held_by_checkouts,
            in_trash,
            strays,
        } = other;
        self.objects.add(objects);
        self.inodes.add(inodes);
        self.recipes.add(recipes);
        self.documents.add(documents);
        self.blobs.add(blobs);
        self.freed.add(freed);
        self.held_by_checkouts.add(held_by_checkouts);
        self.in_trash.add(in_trash);
        self.strays.extend(strays);
    }
}

impl Tally {
    pub(super) fn count<I>(&mut self, file: &Present<I>, fate: Fate) {
        match fate {
            Fate::Stays => {
                self.kept += 1;
                self.kept_bytes += file.stat.size;
            }
            Fate::Goes => {
                self.deleted += 1;
                self.deleted_bytes += file.stat.size;
            }
        }
    }

    /// Takes back that a file goes: somebody named what needs it meanwhile.
    pub(super) fn spare(&mut self, bytes: u64) {
        self.deleted -= 1;
        self.deleted_bytes -= bytes;
        self.kept += 1;
        self.kept_bytes += bytes;
    }

    fn add(&mut self, other: Self) {
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
