//! Owns disks: file systems in a file, how full they are, and an image that takes room.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

use super::bench::{Mount, can_run};
use super::image::Image;

/// An image of this many files of 64 KiB that have nothing in common, and one of 5 MiB.
pub(crate) fn heavy(files: u64) -> Image {
    let bytes = |seed: u64, words: u64| -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..words).flat_map(|_| next()).collect()
    };
    let mut image = Image::new().dir("./", (0o755, 0, 0));
    image = image.file("large", (0o644, 0, 0), bytes(files + 7, 5 << 17));
    for at in 0..files {
        image = image.file(&format!("f{at}"), (0o644, 0, 0), bytes(at + 1, 8192));
    }
    image
}

/// Returns where a file system's file goes: into memory where there is room in it.
pub(crate) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .unwrap()
}

/// Tells whether a file system of this kind can be made and mounted. Where it has to be, its lack is a failure.
pub(crate) fn can_mount(kind: &str) -> bool {
    if !can_run(&["mount", "losetup", &format!("mkfs.{kind}")]) {
        return false;
    }
    let free = Command::new("losetup").arg("--find").output().unwrap();
    let able = free.status.success();
    assert!(
        able || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs a loop device"
    );
    if !able {
        eprintln!("skipped: this test needs a loop device");
    }
    able
}

/// Makes a file system in a file.
pub(crate) fn make(file: &Path, kind: &str, megabytes: u64) {
    File::create(file)
        .unwrap()
        .set_len(megabytes << 20)
        .unwrap();
    let mut command = Command::new(format!("mkfs.{kind}"));
    command.arg(if kind == "ext4" { "-F" } else { "-f" });
    let done = command.arg("-q").arg(file).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Mounts the file system in a file.
pub(crate) fn mount(file: &Path, at: PathBuf) -> Mount {
    // A copy has the identity of its original, which xfs takes at most once at a time.
    let kind = Command::new("blkid")
        .args(["-p", "-o", "value", "-s", "TYPE"])
        .arg(file)
        .output()
        .unwrap();
    let options = match kind.stdout.starts_with(b"xfs") {
        true => "loop,nouuid",
        false => "loop",
    };
    Mount::new(at, &["-o", options, file.to_str().unwrap()])
}

/// Returns the smallest size of a file system, in megabytes.
pub(crate) fn smallest(kind: &str) -> u64 {
    match kind {
        "ext4" => 48,
        "btrfs" => 128,
        _ => 320,
    }
}

/// Returns how much room there is.
pub(crate) fn room(at: &Path) -> u64 {
    let stat = statvfs(at).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Makes a file that leaves about this much room.
pub(crate) fn leave(room_left: u64, ballast: &Path) {
    fs::remove_file(ballast).ok();
    rustix::fs::syncfs(File::open(ballast.parent().unwrap()).unwrap()).unwrap();
    let file = File::create(ballast).unwrap();
    let mut size = 0;
    let mut step = room(ballast).saturating_sub(room_left);
    // What a file system says of its room is not what it gives, so that it is taken bit by bit in the end.
    while step >= 4096 && room(ballast) > room_left {
        match fallocate(&file, FallocateFlags::empty(), size, step) {
            Ok(()) => size += step,
            Err(_) => step /= 2,
        }
        step = step.min(room(ballast).saturating_sub(room_left).max(4096));
    }
    if room_left == 0 {
        let block = [1; 4096];
        while file.write_all_at(&block, size).is_ok() {
            size += 4096;
        }
    }
    file.sync_all().ok();
}
