//! Owns what can happen to a file.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

pub(crate) type Damage = fn(&Path);

pub(crate) type Harm = (&'static str, &'static str, Damage);

/// What can happen to a file, as what it is found, for objects.
pub(crate) const HARMS: [Harm; 4] = [
    ("a flipped bit", "flipped", flip),
    ("a file cut off", "truncated", |path| {
        open(path).set_len(1).unwrap();
    }),
    ("a file that is gone", "missing", |path| {
        fs::remove_file(path).unwrap();
    }),
    ("bytes appended", "flipped", |path| {
        let file = open(path);
        let len = file.metadata().unwrap().len();
        file.write_all_at(b"more", len).unwrap();
    }),
];

pub(crate) fn open(path: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Flips a bit and puts the time back, as bad hardware does.
pub(crate) fn flip(path: &Path) {
    let file = open(path);
    let time = file.metadata().unwrap().modified().unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.set_modified(time).unwrap();
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
