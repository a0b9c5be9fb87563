//! What cannot be mounted is said in one line, with what helps, and leaves nothing.

use std::fs;

use super::bench::{Mount, Who, can_run};
use super::image::Image;
use super::scene::{Scene, rich};

fn is_refused(scene: &Scene, args: &[&str], code: i32, words: &[&str]) {
    let (got, line) = scene.place.fails(args);
    assert_eq!(got, code, "{line}");
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(scene.folders().is_empty(), "{line}");
    let left = scene.place.names("work/store/tmp");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_target_that_is_used_or_in_the_store_is_refused() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    fs::create_dir(scene.at("full")).unwrap();
    fs::write(scene.at("full/file"), "").unwrap();
    let place = &scene.place;
    is_refused(
        &scene,
        &["mount", "image:1", &place.out("full")],
        2,
        &["not empty"],
    );
    is_refused(
        &scene,
        &["mount", "image:1", &place.out("store/trash/m")],
        2,
        &["in the store"],
    );
    assert!(!scene.at("store/trash/m").exists());
    is_refused(
        &scene,
        &["mount", "image:2", &place.out("m")],
        2,
        &["no such image"],
    );
    is_refused(
        &scene,
        &["mount", "image:1", &place.out("a/b")],
        1,
        &["a/b"],
    );
    is_refused(&scene, &["umount", &place.out("full")], 2, &["mounted"]);
    is_refused(&scene, &["umount", &place.out("none")], 2, &["mounted"]);
    is_refused(&scene, &["mount", &place.out("full")], 2, &["bundle"]);
}

#[test]
fn an_image_with_the_device_of_deletions_is_refused_by_its_path() {
    let image = Image::new()
        .dir("./", (0o755, 0, 0))
        .file("a", (0o644, 0, 0), "a")
        .char_device("gone", (0o000, 0, 0), (0, 0));
    let Some(scene) = Scene::with(image) else {
        return;
    };
    let args = ["mount", "image:1", &scene.place.out("m")];
    is_refused(&scene, &args, 1, &["'gone'", "0:0", "ocistore checkout"]);
    assert!(!scene.at("m").exists());
}

#[test]
fn a_store_in_memory_is_refused() {
    let Some(scene) = Scene::empty(rich()) else {
        return;
    };
    let _memory = Mount::tmpfs(scene.at("store"), "size=64m");
    scene.place.ok(&["import", &scene.place.text("image")]);
    // The kernel reads no image from a file there.
    let args = ["mount", "image:1", &scene.place.out("m")];
    is_refused(&scene, &args, 1, &["tmpfs", "ocistore checkout"]);
}

#[test]
fn a_mount_that_is_in_use_stays() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    scene.mount("m", &[]);
    let held = fs::File::open(scene.at("m/bin/ping")).unwrap();
    let (code, line) = scene.place.fails(&["umount", &scene.place.out("m")]);
    assert!(code == 75 && line.contains("in use"), "{line}");
    assert_eq!(scene.folders().len(), 1);
    drop(held);
    scene.umount("m", &[]);
}

#[test]
fn who_is_not_root_is_told_and_shown_the_way_out() {
    if !can_run(&["setpriv", "unshare"]) {
        return;
    }
    for who in [Who::User, Who::Namespaced] {
        let place = super::bench::Place::with(who, rich());
        let (code, line) = place.fails(&["mount", "image:1", &place.out("m")]);
        assert_eq!(code, 1, "{line}");
        assert!(
            line.contains("root") && line.contains("ocistore checkout"),
            "{line}"
        );
        assert!(!place.path("work/store/mounts").exists());
        assert!(!place.path("work/m").exists());
        place.ok(&["gc"]);
    }
}
