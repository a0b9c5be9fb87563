//! Owns what is mended of objects and inodes, from each source.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::harm::{Damage, HARMS, chmod, flip, is_root, open};
use crate::place::{NAMES, PASSWD, Place, kinds_of, only, sample};

#[test]
fn a_damaged_object_is_mended_from_a_kept_layer() {
    let place = Place::with_sample();
    for (what, kind, harm) in HARMS {
        harm(&place.object(PASSWD));
        let repairs = place.repair(&[]);
        let from = only(&repairs, kind);
        assert!(from.starts_with("the kept layer sha256:"), "{what}: {from}");
        assert_eq!(repairs[0]["paths"][0], "/etc/passwd", "{what}");
        let kept = repairs[0]["kept_as"].as_str();
        assert_eq!(kept.is_some(), kind != "missing", "{what}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_damaged_object_is_mended_from_every_kind_of_source() {
    let other = Place::with_sample();
    let archive = format!("oci-archive:{}", other.text("a.tar"));
    let docker = format!("docker-archive:{}", other.text("d.tar"));
    other.ok(&["export", "sample:1", &archive]);
    other.ok(&["export", "sample:1", &docker]);
    for source in [format!("oci:{}:1", sample()), sample(), archive, docker] {
        let place = Place::plain();
        for (what, kind, harm) in HARMS {
            harm(&place.object(PASSWD));
            let left = place.fsck(&["--repair"], 3);
            assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
            // The plain image and the first have the same tars: of another blob, but of one diff_id.
            let from = only(&place.repair(&["--from", &source]), kind);
            assert!(from.contains(", layer sha256:"), "{what}, {source}: {from}");
            assert!(place.object(PASSWD).is_file(), "{what}, {source}");
            place.fsck(&[], 0);
        }
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn a_damaged_object_is_mended_from_an_inode_of_the_same_bytes() {
    let place = Place::plain();
    place.ok(&["checkout", "sample:plain", &place.text("tree")]);
    for (what, kind, harm) in HARMS {
        harm(&place.object("bin/hello"));
        let from = only(&place.repair(&[]), kind);
        assert!(from.starts_with("inodes/"), "{what}: {from}");
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn what_was_changed_through_a_link_but_not_its_bytes_is_mended_from_them() {
    let harms: [Damage; 3] = [
        |path| chmod(path, 0o600),
        |path| open(path).set_modified(std::time::UNIX_EPOCH).unwrap(),
        |path| {
            if is_root() {
                std::os::unix::fs::chown(path, Some(7), Some(7)).unwrap();
            } else {
                chmod(path, 0o600);
            }
        },
    ];
    for harm in harms {
        let place = Place::plain();
        place.ok(&["checkout", "sample:plain", &place.text("tree")]);
        let link = place.path("tree").join(PASSWD);
        harm(&link);
        assert_eq!(place.kinds(&["--quick"]), ["changed"]);
        let before = fs::metadata(&link).unwrap();
        let repairs = place.repair(&[]);
        assert_eq!(only(&repairs, "changed"), "its own bytes");
        let kept = place
            .path("store")
            .join(repairs[0]["kept_as"].as_str().unwrap());
        // The checkout keeps its file as it is, and it is the one in lost+found.
        let after = fs::metadata(&link).unwrap();
        assert_eq!((before.mode(), before.ino()), (after.mode(), after.ino()));
        assert_eq!(fs::metadata(kept).unwrap().ino(), after.ino());
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn a_changed_inode_is_made_again_from_its_object() {
    let place = Place::plain();
    place.ok(&["checkout", "sample:plain", &place.text("tree")]);
    let inode = place.files("inodes")[0].clone();
    flip(&inode);
    let repairs = place.repair(&[]);
    assert!(only(&repairs, "flipped").starts_with("objects/"));
    assert!(inode.is_file());
    place.is_as_new(&["sample:plain"]);
    chmod(&inode, 0o640);
    assert_eq!(place.kinds(&["--quick"]), ["changed"]);
    assert!(only(&place.repair(&[]), "flipped").starts_with("objects/"));
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn an_object_and_its_inode_are_mended_together() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    flip(&place.object("bin/hello"));
    for inode in place.files("inodes") {
        flip(&inode);
    }
    let repairs = place.repair(&[]);
    assert_eq!(repairs.len(), 1 + place.files("inodes").len());
    place.is_as_new(&NAMES);
}
