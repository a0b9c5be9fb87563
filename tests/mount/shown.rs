//! A mount shows what a checkout lays out, entry by entry.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::scene::{Scene, more, rich};

#[test]
fn a_mount_shows_the_image_as_a_checkout_does() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let place = &scene.place;
    place.ok(&["checkout", "--link", "copy", "image:1", &place.out("copy")]);
    for (name, flags) in [("ro", &[][..]), ("rw", &["--rw"])] {
        scene.mount(name, flags);
        assert_eq!(place.tree(&format!("work/{name}")), place.tree("work/copy"));
        let (mut seen, wanted) = (more(&scene.at(name)), more(&scene.at("copy")));
        // What a checkout cannot set, since a host's overlay would obey it, a mount shows.
        for (path, attribute) in [("opaque", "opaque"), ("opaque/in", "redirect")] {
            let (_, xattrs) = seen.get_mut(std::path::Path::new(path)).unwrap();
            assert!(
                xattrs
                    .remove(&format!("trusted.overlay.{attribute}"))
                    .is_some()
            );
        }
        assert_eq!(seen, wanted);
    }
    assert_eq!(fs::read(scene.at("ro/opaque/in")).unwrap(), b"in");
    assert!(fs::write(scene.at("ro/new"), "").is_err());
}

#[test]
fn all_of_a_mount_is_of_one_device_and_inodes_stay_when_they_are_changed() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    scene.mount("rw", &["--rw"]);
    let look = |path: &str| fs::symlink_metadata(scene.at(path)).unwrap();
    let root = look("rw").dev();
    for path in ["rw/bin", "rw/bin/tool", "rw/etc/link", "rw/dev/null"] {
        assert_eq!(look(path).dev(), root, "{path}");
    }
    let before = look("rw/bin/tool").ino();
    fs::write(scene.at("rw/bin/tool"), "another").unwrap();
    let after = look("rw/bin/tool");
    assert_eq!((after.ino(), after.dev(), after.nlink()), (before, root, 2));
    assert_eq!(look("rw/bin/tool-too").ino(), before);
    assert_eq!(fs::read(scene.at("rw/bin/tool-too")).unwrap(), b"another");
}

#[test]
fn one_image_is_mounted_many_times_and_each_has_changes_of_its_own() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    for name in ["one", "two", "three"] {
        scene.mount(name, &["--rw"]);
        fs::write(scene.at(name).join("etc/noted"), name).unwrap();
    }
    for name in ["one", "two", "three"] {
        assert_eq!(
            fs::read_to_string(scene.at(name).join("etc/noted")).unwrap(),
            name
        );
        scene.umount(name, &["--discard"]);
    }
    assert!(scene.folders().is_empty());
}

#[test]
fn mounts_are_listed_and_found_where_they_were_bound_or_moved_to() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let id = scene.mount("first", &[]);
    let listed = scene.place.json(&["mount"]);
    let mounts = listed["mounts"].as_array().unwrap();
    assert_eq!(
        (mounts.len(), mounts[0]["id"].as_str().unwrap()),
        (1, id.as_str())
    );
    assert_eq!(mounts[0]["target"], scene.place.out("first"));
    fs::rename(scene.at("store"), scene.at("store")).unwrap();
    fs::create_dir(scene.at("above")).unwrap();
    scene.umount("first", &[]);
    scene.mount("above/in", &[]);
    fs::rename(scene.at("above"), scene.at("elsewhere")).unwrap();
    scene.umount("elsewhere/in", &[]);
    assert_eq!(
        scene.place.json(&["mount"])["mounts"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}
