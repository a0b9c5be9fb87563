//! What is to be seen of a tree on the host, told by the system alone: nothing of the crate is asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// One path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    body: String,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of its inode.
    pub(crate) same: PathBuf,
}

pub(crate) type Tree = BTreeMap<PathBuf, Seen>;

/// Returns what is below `root`; times after `newest` are told as that.
pub(crate) fn tree(root: &Path, newest: i64) -> Tree {
    let mut paths = Vec::new();
    list(root, Path::new(""), &mut paths);
    paths.sort();
    let mut first: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut tree = Tree::new();
    for path in paths {
        let here = if path.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(&path)
        };
        let stat = fs::symlink_metadata(&here).unwrap();
        let same = first
            .entry((stat.dev(), stat.ino()))
            .or_insert_with(|| path.clone())
            .clone();
        let (kind, body) = body(&here, &stat);
        let mtime = match (stat.mtime(), stat.mtime_nsec()) {
            (secs, _) if secs >= newest => (newest, 0),
            times => times,
        };
        let seen = Seen {
            kind,
            body,
            mode: stat.mode() & 0o7777,
            owner: (stat.uid(), stat.gid()),
            mtime,
            xattrs: xattrs(&here),
            same,
        };
        tree.insert(path, seen);
    }
    tree
}

fn list(root: &Path, path: &Path, paths: &mut Vec<PathBuf>) {
    paths.push(path.to_owned());
    let here = if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    };
    if !fs::symlink_metadata(&here).unwrap().is_dir() {
        return;
    }
    for entry in fs::read_dir(&here).unwrap() {
        list(root, &path.join(entry.unwrap().file_name()), paths);
    }
}

fn body(path: &Path, stat: &fs::Metadata) -> (&'static str, String) {
    let kind = stat.file_type();
    if kind.is_dir() {
        ("directory", String::new())
    } else if kind.is_symlink() {
        (
            "symlink",
            fs::read_link(path).unwrap().display().to_string(),
        )
    } else if kind.is_fifo() {
        ("fifo", String::new())
    } else if kind.is_char_device() {
        ("char", format!("{:x}", stat.rdev()))
    } else if kind.is_block_device() {
        ("block", format!("{:x}", stat.rdev()))
    } else {
        let bytes = fs::read(path).unwrap();
        ("file", format!("{} {:x}", bytes.len(), sum(&bytes)))
    }
}

/// FNV-1a, which is enough to tell what a test wrote from what it did not.
fn sum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).unwrap();
    let value = |name: std::ffi::OsString| {
        let value = xattr::get(path, &name).unwrap().unwrap_or_default();
        (name.as_bytes().to_vec(), value)
    };
    names.map(value).collect()
}

/// Fails with the first path that differs.
pub(crate) fn assert_same(one: &Tree, other: &Tree, what: &str) {
    for (path, seen) in one {
        assert_eq!(Some(seen), other.get(path), "{what}: {}", path.display());
    }
    for path in other.keys() {
        assert!(
            one.contains_key(path),
            "{what}: {} is too much",
            path.display()
        );
    }
}
