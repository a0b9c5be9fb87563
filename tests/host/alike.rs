//! Files of an image that are equal without being links of each other: each is an inode of its own, in every checkout.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::bench::{Place, Who};
use super::image::Image;

const PATHS: [&str; 4] = ["a/licence", "b/licence", "c/licence", "licence"];

/// Four files with the same bytes and metadata, one of them with another name; one with other metadata, twice.
fn image() -> Image {
    let own = owner();
    let file = (0o644, own.0, own.1);
    let dir = (0o755, own.0, own.1);
    Image::new()
        .dir("./", dir)
        .dir("a/", dir)
        .dir("b/", dir)
        .dir("c/", dir)
        .file("a/licence", file, "licence")
        .file("b/licence", file, "licence")
        .hard_link("b/linked", "b/licence")
        .file("c/licence", file, "licence")
        .file("c/other", (0o600, own.0, own.1), "licence")
        .file("c/other-too", (0o600, own.0, own.1), "licence")
        .file("licence", file, "licence")
}

fn owner() -> (u64, u64) {
    let own = fs::metadata("/proc/self").unwrap();
    (own.uid().into(), own.gid().into())
}

fn place() -> Place {
    Place::with(Who::Root, image())
}

fn inode(place: &Place, path: &str) -> u64 {
    fs::metadata(place.path(&format!("work/{path}")))
        .unwrap()
        .ino()
}

/// The files below `inodes/`.
fn made(place: &Place) -> Vec<String> {
    let mut made = Vec::new();
    for fan in place.names("work/store/inodes") {
        let names = place.names(&format!("work/store/inodes/{fan}"));
        made.extend(
            names
                .into_iter()
                .map(|name| format!("work/store/inodes/{fan}/{name}")),
        );
    }
    made
}

#[test]
fn every_checkout_has_the_links_of_the_image_and_no_others() {
    let place = place();
    for name in ["one", "two", "three"] {
        let report = place.json(&["checkout", "image:1", &place.out(name)]);
        assert_eq!(report["report"]["linked"]["files"], 6);
        assert_eq!(report["report"]["copied"]["files"], 0);
        assert_eq!(report["report"]["names"], 1);
        let tree = place.tree(&format!("work/{name}"));
        for (path, entry) in &tree {
            let same = if path == "b/linked" {
                "b/licence"
            } else {
                path
            };
            assert_eq!(&entry.same, same);
        }
        assert_eq!(tree, place.tree("work/one"));
    }
    for path in PATHS {
        assert_eq!(
            inode(&place, &format!("one/{path}")),
            inode(&place, &format!("three/{path}"))
        );
    }
    // One of six is the object itself.
    assert_eq!(made(&place).len(), 5);
    for args in [&["fsck"][..], &["fsck", "--quick"]] {
        place.ok(args);
    }
    // A part of the image counts for itself, and needs none that is not there.
    place.ok(&["checkout", "--path", "c", "image:1", &place.out("part")]);
    assert_eq!(made(&place).len(), 5);
}

#[test]
fn gc_keeps_them_as_long_as_a_checkout_holds_them() {
    let place = place();
    place.ok(&["checkout", "image:1", &place.out("one")]);
    place.ok(&["checkout", "image:1", &place.out("two")]);
    place.ok(&["gc"]);
    assert_eq!(made(&place).len(), 5);
    fs::remove_dir_all(place.path("work/one")).unwrap();
    // What only one file of the other holds stays, and no other.
    fs::remove_file(place.path("work/two/c/licence")).unwrap();
    place.ok(&["gc"]);
    assert_eq!(made(&place).len(), 4);
    fs::remove_dir_all(place.path("work/two")).unwrap();
    place.ok(&["gc"]);
    assert!(made(&place).is_empty());
    place.is_sound();
    place.ok(&["checkout", "image:1", &place.out("again")]);
    assert_eq!(made(&place).len(), 5);
    place.is_sound();
}

#[test]
fn one_that_was_written_to_is_found_and_mended_and_never_handed_out() {
    let place = place();
    place.ok(&["checkout", "image:1", &place.out("one")]);
    let objects: BTreeSet<u64> = PATHS
        .map(|path| inode(&place, &format!("one/{path}")))
        .into();
    assert_eq!(objects.len(), PATHS.len());
    let written = fs::OpenOptions::new()
        .write(true)
        .open(place.path("work/one/c/licence"))
        .unwrap();
    written.write_all_at(b"LICENCE", 0).unwrap();
    let (code, line) = place.fails(&["checkout", "image:1", &place.out("two")]);
    assert_eq!(code, 3);
    assert!(line.contains("'c/licence'"), "{line}");
    for args in [&["fsck"][..], &["fsck", "--quick"]] {
        let found = place.run(place.who, args);
        let said = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(found.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("inodes/"), "{said}");
        assert!(said.contains("image:1"), "{said}");
    }
    place.ok(&["fsck", "--repair"]);
    place.ok(&["checkout", "image:1", &place.out("two")]);
    for path in PATHS {
        let bytes = fs::read(place.path(&format!("work/two/{path}"))).unwrap();
        assert_eq!(bytes, b"licence", "{path}");
    }
    place.is_sound();
}
