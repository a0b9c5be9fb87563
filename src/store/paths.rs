//! Owns where things are in a store. See `docs/format.md`, "On disk".

use std::path::{Path, PathBuf};

use crate::digest::{ContentId, DiffId, Digest, InodeId};

/// What a store's folder holds beside files of its own root.
pub(crate) const FOLDERS: [&str; 9] = [
    "blobs", "objects", "inodes", "layers", "streams", "epochs", "locks", "tmp", "trash",
];

/// Where a content's object is, below the store.
pub(crate) fn object(id: &ContentId) -> PathBuf {
    fanned("objects", &id.hex())
}

/// Where an inode of a content with other metadata is.
pub(crate) fn inode(id: &InodeId) -> PathBuf {
    fanned("inodes", &id.hex())
}

/// Where a blob is (image-spec image-layout.md, "Blobs").
pub(crate) fn blob(digest: &Digest) -> PathBuf {
    PathBuf::from(format!(
        "blobs/{}/{}",
        digest.algorithm().name(),
        digest.hex()
    ))
}

/// Returns the blob that a place is of.
pub(crate) fn blob_at(place: &Path) -> Option<Digest> {
    let name = place.strip_prefix("blobs").ok()?.to_str()?;
    let (algorithm, hex) = name.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// Where a layer's recipe is.
pub(crate) fn recipe(layer: &DiffId) -> PathBuf {
    PathBuf::from(format!(
        "layers/{}/{}",
        layer.0.algorithm().name(),
        layer.0.hex()
    ))
}

/// Where the compression recipe of a layer's blob is.
pub(crate) fn stream(blob: &Digest) -> PathBuf {
    PathBuf::from(format!(
        "streams/{}/{}",
        blob.algorithm().name(),
        blob.hex()
    ))
}

/// Two digits of folder keep any folder small enough for every file system.
fn fanned(folder: &str, hex: &str) -> PathBuf {
    let (fan, rest) = hex.split_at(2);
    // A checkout makes one a file.
    let mut path = String::with_capacity(folder.len() + hex.len() + 2);
    for part in [folder, "/", fan, "/", rest] {
        path.push_str(part);
    }
    PathBuf::from(path)
}
