//! Bundles whose root filesystem is a mount, and what `commit` makes of mounts.

use std::fs;

use super::image::Image;
use super::scene::{Scene, rich};

fn bundled() -> Option<Scene> {
    let scene = Scene::with(rich())?;
    let out = scene.place.out("bundle");
    let done = scene.place.json(&["unpack", "--mount", "image:1", &out]);
    assert_eq!(done["bundle"].as_str(), Some(out.as_str()));
    Some(scene)
}

fn commit(scene: &Scene, what: &str, name: &str) -> String {
    let done = scene.place.json(&[
        "commit",
        "--created",
        "2026-01-02T03:04:05Z",
        &scene.place.out(what),
        name,
    ]);
    done["images"][0]["digest"].as_str().unwrap().to_owned()
}

fn digest(scene: &Scene, name: &str) -> String {
    let image = scene.place.json(&["inspect", name]);
    image["descriptor"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_mounted_bundle_is_the_image_until_it_is_written_to_and_then_what_was_written() {
    let Some(scene) = bundled() else { return };
    let place = &scene.place;
    assert_eq!(
        place.names("work/bundle"),
        ["config.json", "ocistore.json", "rootfs"]
    );
    assert_eq!(
        commit(&scene, "bundle", "same:1"),
        digest(&scene, "image:1")
    );
    let before = scene.objects();
    let rootfs = scene.at("bundle/rootfs");
    fs::write(rootfs.join("new"), "new").unwrap();
    fs::remove_dir_all(rootfs.join("many")).unwrap();
    fs::rename(rootfs.join("home"), rootfs.join("houses")).unwrap();
    let changed = place
        .json(&["diff", "image:1", &place.out("bundle")])
        .to_string();
    assert!(
        changed.contains("\"/houses\"") && changed.contains("\"/many\""),
        "{changed}"
    );
    let made = commit(&scene, "bundle", "changed:1");
    place.ok(&["checkout", "changed:1", &place.out("tree")]);
    assert_eq!(place.tree("work/tree"), place.tree("work/bundle/rootfs"));
    assert!(before.keys().all(|path| path.exists()));
    // Unmounted, its changes are still the bundle's.
    place.ok(&["umount", &place.out("bundle")]);
    assert_eq!(place.names("work/bundle/rootfs"), Vec::<String>::new());
    assert_eq!(commit(&scene, "bundle", "changed:2"), made);
    place.ok(&["mount", &place.out("bundle")]);
    assert_eq!(place.tree("work/tree"), place.tree("work/bundle/rootfs"));
    place.ok(&["umount", "--discard", &place.out("bundle")]);
    let (code, line) = place.fails(&["commit", &place.out("bundle"), "gone:1"]);
    assert_eq!(code, 2, "{line}");
    place.is_sound();
}

#[test]
fn a_bundle_that_was_moved_while_it_was_not_mounted_is_the_same_bundle() {
    let Some(scene) = bundled() else { return };
    let place = &scene.place;
    fs::write(scene.at("bundle/rootfs/new"), "new").unwrap();
    let made = commit(&scene, "bundle", "changed:1");
    place.ok(&["umount", &place.out("bundle")]);
    fs::rename(scene.at("bundle"), scene.at("moved")).unwrap();
    assert_eq!(commit(&scene, "moved", "changed:2"), made);
    place.ok(&["mount", &place.out("moved")]);
    assert_eq!(fs::read(scene.at("moved/rootfs/new")).unwrap(), b"new");
    assert_eq!(commit(&scene, "moved", "changed:3"), made);
}

#[test]
fn a_mount_in_which_any_file_was_changed_is_mounted_and_committed_again() {
    let image = Image::new()
        .dir("./", (0o755, 0, 0))
        .dir("etc/", (0o755, 0, 0))
        .file("etc/only", (0o644, 0, 0), "the only file");
    let Some(scene) = Scene::with(image) else {
        return;
    };
    let place = &scene.place;
    place.ok(&["unpack", "--mount", "image:1", &place.out("bundle")]);
    fs::write(scene.at("bundle/rootfs/etc/only"), "another").unwrap();
    let made = commit(&scene, "bundle", "changed:1");
    place.ok(&["umount", &place.out("bundle")]);
    assert_eq!(commit(&scene, "bundle", "changed:2"), made);
    place.ok(&["mount", &place.out("bundle")]);
    assert_eq!(
        fs::read(scene.at("bundle/rootfs/etc/only")).unwrap(),
        b"another"
    );
}

#[test]
fn a_bundle_that_names_the_mount_of_another_does_not_get_it() {
    let Some(scene) = bundled() else { return };
    let place = &scene.place;
    fs::write(scene.at("bundle/rootfs/secret"), "secret").unwrap();
    place.ok(&["umount", &place.out("bundle")]);
    fs::create_dir_all(scene.at("thief/rootfs")).unwrap();
    for name in ["config.json", "ocistore.json"] {
        fs::copy(scene.at("bundle").join(name), scene.at("thief").join(name)).unwrap();
    }
    for args in [
        &["commit", &place.out("thief"), "stolen:1"][..],
        &["mount", &place.out("thief")],
    ] {
        let (code, line) = place.fails(args);
        assert_eq!(code, 1, "{line}");
        assert!(line.contains("that of"), "{line}");
    }
    commit(&scene, "bundle", "kept:1");
}

#[test]
fn a_mount_that_can_be_written_to_is_committed_where_it_is() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let place = &scene.place;
    scene.mount("rw", &["--rw"]);
    fs::write(scene.at("rw/new"), "new").unwrap();
    commit(&scene, "rw", "changed:1");
    place.ok(&["checkout", "changed:1", &place.out("tree")]);
    assert_eq!(place.tree("work/tree"), place.tree("work/rw"));
    let (code, line) = place.fails(&["commit", "--refresh", &place.out("rw"), "changed:2"]);
    assert_eq!(code, 64, "{line}");
    scene.umount("rw", &["--discard"]);
}

#[test]
fn a_base_that_was_swept_is_told_and_the_bundle_stays() {
    let Some(scene) = bundled() else { return };
    let place = &scene.place;
    fs::write(scene.at("bundle/rootfs/new"), "new").unwrap();
    place.ok(&["umount", &place.out("bundle")]);
    place.ok(&["untag", "image:1"]);
    place.ok(&["gc"]);
    let (code, line) = place.fails(&["commit", &place.out("bundle"), "changed:1"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("import"), "{line}");
    place.ok(&["import", &place.text("image")]);
    commit(&scene, "bundle", "changed:1");
    place.is_sound();
}

#[test]
fn where_nothing_can_be_mounted_nothing_is_left_of_the_bundle() {
    let Some(scene) = Scene::with(rich().char_device("zero", (0o600, 0, 0), (0, 0))) else {
        return;
    };
    let place = &scene.place;
    let (code, line) = place.fails(&["unpack", "--mount", "image:1", &place.out("bundle")]);
    assert_eq!(code, 1, "{line}");
    assert!(!scene.at("bundle").exists());
    assert_eq!(scene.folders(), Vec::<String>::new());
}
