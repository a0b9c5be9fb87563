//! Targets that are none, and disks that are full or shut: the host is as it was, and the message says what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::bench::{Mount, Place, Who, can_run};
use super::image::{Image, rich};
use super::midway::{broad, catch};

#[test]
fn targets_that_are_none_are_refused_with_the_next_step() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let place = Place::with(Who::User, rich());
    for dir in ["empty", "full", "full/x", "shut"] {
        fs::create_dir(place.path(&format!("work/{dir}"))).unwrap();
    }
    fs::write(place.path("work/file"), "a file").unwrap();
    symlink("empty", place.path("work/link")).unwrap();
    symlink("nowhere", place.path("work/dangling")).unwrap();
    let before = place.tree("work");
    let new = "name a directory that is empty or not there yet";
    for (target, why) in [
        ("link", format!("/link': it is a symlink; {new}")),
        ("link/", format!("/link': it is a symlink; {new}")),
        ("dangling", format!("/dangling': it is a symlink; {new}")),
        ("file", format!("/file': it is not a directory; {new}")),
        ("full", format!("/full': it is not empty; {new}")),
        (
            "missing/x",
            format!(
                "its directory '{}' is not there; make it first",
                place.out("missing")
            ),
        ),
        (
            "file/x",
            format!(
                "its directory '{}' is not a directory; name another",
                place.out("file")
            ),
        ),
        (
            "shut/x",
            "/shut/x': permission denied; name a directory where you may make one".to_owned(),
        ),
        (
            "store",
            "/store': it is inside the store; name a directory elsewhere".to_owned(),
        ),
        (
            "store/tmp/x",
            "/store/tmp/x': it is inside the store; ".to_owned(),
        ),
    ] {
        let (code, line) = place.fails(&["checkout", "image:1", &place.out(target)]);
        assert_eq!(code, 1, "{line}");
        assert!(line.contains(&why), "{line}");
        let mut after = place.tree("work");
        // A command that looks at the catalog may write to it.
        let mut wanted = before.clone();
        for tree in [&mut after, &mut wanted] {
            tree.retain(|path, _| !path.starts_with("store"));
        }
        assert_eq!(after, wanted, "{target}");
    }
    place.is_sound();
}

#[test]
fn a_mount_point_is_refused_before_anything_is_made() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    let mount = Mount::tmpfs(place.path("work/mount"), "size=4m");
    let (code, line) = place.fails(&["checkout", "image:1", &place.out("mount")]);
    assert_eq!(code, 1);
    assert!(
        line.ends_with("/mount': it is a mount point; name a new directory inside it"),
        "{line}"
    );
    assert_eq!(place.names("work"), ["mount", "store"]);
    place.ok(&["checkout", "image:1", &place.out("mount/inside")]);
    drop(mount);
}

#[test]
fn the_store_is_refused_by_whatever_path_it_is_reached() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    symlink("store/tmp", place.path("work/way")).unwrap();
    let mounts = [
        Mount::bind(&place.text("work/store"), place.path("whole")),
        Mount::bind(&place.text("work/store/tmp"), place.path("part")),
        Mount::bind(&place.text("work"), place.path("around")),
    ];
    for target in [
        "work/way/x",
        "work/way/../x",
        "whole/x",
        "whole/objects/x",
        "part/x",
        "around/store",
        "around/store/x",
        "around/store/tmp/x",
    ] {
        let (code, line) = place.fails(&["checkout", "image:1", &place.text(target)]);
        assert_eq!(code, 1, "{target}");
        assert!(
            line.contains("it is inside the store; name a directory elsewhere"),
            "{target}: {line}"
        );
    }
    place.ok(&["checkout", "image:1", &place.text("around/tree")]);
    drop(mounts);
    assert!(place.names("work/store/tmp").is_empty());
    place.is_sound();
}

/// Files of 64 KiB that have nothing in common.
fn heavy(files: u64, owner: u64) -> Image {
    let mut image = Image::new()
        .dir("./", (0o755, 0, 0))
        .dir("big/", (0o755, 0, 0));
    for at in 0..files {
        let bytes: Vec<u8> = (0..8192u64)
            .flat_map(|n| (at * 8192 + n).to_le_bytes())
            .collect();
        image = image.file(&format!("big/{at}"), (0o644, owner, 0), bytes);
    }
    image
}

#[test]
fn a_disk_that_fills_up_midway_is_left_empty() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::with(Who::Root, heavy(64, 0));
    for (options, what) in [
        ("size=1m", "cannot copy the bytes of 'big/"),
        ("size=8m,nr_inodes=20", "cannot make the file 'big/"),
    ] {
        let mount = Mount::tmpfs(place.path("work/small"), options);
        for mode in ["hardlink", "reflink", "copy"] {
            let target = place.out("small/tree");
            let (code, line) = place.fails(&["checkout", "--link", mode, "image:1", &target]);
            assert_eq!(code, 1, "{line}");
            assert!(line.contains(what), "{line}");
            assert!(line.ends_with("no space left on device; make room there, or name a directory on another file system"), "{line}");
            assert!(place.names("work/small").is_empty());
        }
        drop(mount);
    }
    place.is_sound();
}

#[test]
fn a_store_whose_disk_fills_up_with_inodes_for_a_checkout_stays_sound() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::empty(Who::Root, heavy(96, 1000));
    let mount = Mount::tmpfs(place.path("work"), "size=11m");
    place.ok(&["import", &place.text("image")]);
    let (code, line) = place.fails(&["checkout", "--rootless", "image:1", &place.out("tree")]);
    assert_eq!(code, 1);
    assert!(
        line.contains("cannot make an inode in the store for 'big/"),
        "{line}"
    );
    assert!(
        line.contains("no space left on device; make room there"),
        "{line}"
    );
    assert_eq!(place.names("work"), ["store"]);
    assert!(place.names("work/store/tmp").is_empty());
    place.is_sound();
    place.ok(&["checkout", "image:1", &place.out("tree")]);
    drop(mount);
}

#[test]
fn a_directory_that_is_shut_midway_gets_nothing_and_what_is_left_is_named() {
    if !can_run(&["setpriv", "mount"]) {
        return;
    }
    let place = Place::in_memory(Who::User, broad());
    fs::create_dir(place.path("work/yard")).unwrap();
    place.give("work/yard");
    let caught = catch(&place, Who::User, "work/yard");
    let staging = caught.staging.clone();
    fs::set_permissions(place.path("work/yard"), Permissions::from_mode(0o555)).unwrap();
    let (code, line) = caught.go_on();
    assert_eq!(code, 1);
    assert!(
        line.contains("permission denied; cannot remove the unfinished directory"),
        "{line}"
    );
    assert!(line.contains(staging.to_str().unwrap()), "{line}");
    // All that could be removed is.
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
    assert!(!place.path("work/yard/tree").exists());
    place.is_sound();
}

#[test]
fn a_file_system_that_becomes_read_only_midway_gets_nothing() {
    if !can_run(&["mount"]) {
        return;
    }
    // Without contents, so that no file is open to be written, which would keep it from becoming read-only.
    let mut image = Image::new().dir("./", (0o755, 0, 0));
    for at in 0..6000 {
        image = image.symlink(&format!("s{at}"), "nowhere");
    }
    let place = Place::with(Who::Root, image);
    let mount = Mount::tmpfs(place.path("work/yard"), "size=64m");
    for _ in 0..20 {
        let caught = catch(&place, Who::Root, "work/yard");
        let staging = caught.staging.clone();
        let shut = mount.remount("ro");
        let (code, line) = caught.go_on();
        mount.remount("rw");
        if !shut {
            fs::remove_dir_all(place.path("work/yard/tree")).ok();
            continue;
        }
        assert_eq!(code, 1);
        assert!(line.contains("read-only file system"), "{line}");
        assert!(line.contains(staging.to_str().unwrap()), "{line}");
        assert!(!place.path("work/yard/tree").exists());
        place.is_sound();
        return;
    }
    eprintln!("skipped: the file system could not be made read-only in time");
}
