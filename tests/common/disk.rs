//! A folder for tests on a file system that can be mounted from, as tmpfs cannot.

use std::path::PathBuf;

use tempfile::TempDir;

/// The kernel's number of tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// Returns a new folder: where temporary files go, unless that is in memory.
pub(crate) fn folder() -> TempDir {
    let usual = std::env::temp_dir();
    let is_memory = rustix::fs::statfs(&usual).is_ok_and(|stat| stat.f_type == TMPFS);
    let place = if is_memory {
        PathBuf::from("/var/tmp")
    } else {
        usual
    };
    tempfile::tempdir_in(place).unwrap()
}
