//! What is written through a mount stays in the mount: no object ever changes.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::bench::can_run;
use super::disk;
use super::scene::{Scene, rich};

/// Changes everything that can be changed, in every way.
fn change(scene: &Scene, name: &str) {
    let at = |path: &str| scene.at(name).join(path);
    fs::set_permissions(at("etc/noted"), Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(at("etc/drop"), Some(9), Some(9)).unwrap();
    xattr::set(at("etc/trusted"), "user.new", b"new").unwrap();
    File::open(at("bin/ping"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let mut append = OpenOptions::new()
        .append(true)
        .open(at("bin/tool"))
        .unwrap();
    append.write_all(b"more").unwrap();
    OpenOptions::new()
        .write(true)
        .open(at("zeros"))
        .unwrap()
        .set_len(3)
        .unwrap();
    fs::write(at("etc/shadow"), "all new").unwrap();
    fs::rename(at("bin/twin"), at("etc/twin")).unwrap();
    fs::rename(at("home"), at("houses")).unwrap();
    fs::remove_file(at("etc/empty")).unwrap();
    fs::remove_dir_all(at("many")).unwrap();
    fs::hard_link(at("etc/noted"), at("linked")).unwrap();
    symlink("nowhere", at("new-link")).unwrap();
    fs::write(at("houses/ada/new"), "new").unwrap();
    assert_eq!(
        fs::read(at("bin/tool-too")).unwrap(),
        b"a tool of many names\nmore"
    );
}

#[test]
fn no_object_changes_whatever_is_done_through_a_mount() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let before = scene.objects();
    scene.mount("rw", &["--rw"]);
    if can_run(&["python3"]) {
        let script = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\n\
m[0:4] = b'MMAP'\nm.flush()";
        let path = scene.at("rw/zeros");
        let done = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .status();
        assert!(done.unwrap().success());
        assert_eq!(fs::read(&path).unwrap()[..5], *b"MMAP\0");
    }
    change(&scene, "rw");
    assert_eq!(scene.objects(), before);
    scene.umount("rw", &["--discard"]);
    assert_eq!(scene.objects(), before);
    scene.place.is_sound();
}

#[test]
fn changes_are_there_when_it_is_mounted_again() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    scene.mount("rootfs", &["--rw"]);
    change(&scene, "rootfs");
    let before = scene.place.tree("work/rootfs");
    scene.system_umount("rootfs");
    let (bundle, id) = (scene.place.out(""), scene.folders().remove(0));
    fs::remove_file(scene.at(&format!("store/mounts/{id}/image.erofs"))).unwrap();
    scene.place.ok(&["mount", &bundle]);
    assert_eq!(scene.place.tree("work/rootfs"), before);
    let (code, line) = scene.place.fails(&["umount", &scene.place.out("rootfs")]);
    assert!(
        code == 1 && line.contains("commit") && line.contains("--discard"),
        "{line}"
    );
    assert_eq!(scene.place.tree("work/rootfs"), before);
    scene.umount("rootfs", &["--discard"]);
    assert_eq!(fs::read_dir(scene.at("rootfs")).unwrap().count(), 0);
}

#[test]
fn a_change_of_the_root_directory_alone_is_a_change() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    scene.mount("rw", &["--rw"]);
    fs::set_permissions(scene.at("rw"), Permissions::from_mode(0o711)).unwrap();
    assert_eq!(scene.place.fails(&["umount", &scene.place.out("rw")]).0, 1);
    fs::set_permissions(scene.at("rw"), Permissions::from_mode(0o755)).unwrap();
    scene.umount("rw", &[]);
}

/// To root, xfs shows an access list a second time, in the form in which it keeps it.
fn an_access_list_is_taken_in_once(scene: &Scene, kind: &str) {
    const LIST: &str = "system.posix_acl_access";
    let entries = [
        (1u16, 6u16, u32::MAX),
        (2, 4, 5),
        (4, 4, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 4, u32::MAX),
    ];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        value.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        value.extend(id.to_le_bytes());
    }
    let tree = scene.at("disk/tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "file").unwrap();
    xattr::set(tree.join("file"), LIST, &value).unwrap();
    let out = scene.place.text("work/disk/tree");
    scene.place.ok(&["commit", &out, "list:1"]);
    scene
        .place
        .ok(&["checkout", "list:1", &scene.place.text("work/disk/again")]);
    let layer = scene.place.text("work/disk/layer");
    let to = format!("oci:{layer}");
    scene
        .place
        .ok(&["export", "list:1", &to, "--recompress", "none"]);
    let blobs = fs::read_dir(Path::new(&layer).join("blobs/sha256")).unwrap();
    let blobs: Vec<Vec<u8>> = blobs
        .map(|blob| fs::read(blob.unwrap().path()).unwrap())
        .collect();
    let bytes = blobs.concat();
    let holds = |what: &str| {
        bytes
            .windows(what.len())
            .any(|bytes| bytes == what.as_bytes())
    };
    assert!(holds(LIST), "{kind}");
    assert!(!holds("SGI_ACL"), "{kind}");
    scene.place.is_sound();
}

#[test]
fn a_store_on_ext4_xfs_or_btrfs_is_mounted_from() {
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(scene) = Scene::empty(rich()) else {
            return;
        };
        let files = disk::in_memory();
        let file = files.path().join("disk");
        let at = scene.at("disk");
        if !disk::can_mount(kind) {
            return;
        }
        disk::make(&file, kind, 400);
        let _mount = disk::mount(&file, at);
        // The store is where the scene looks for it.
        symlink("disk/store", scene.at("store")).unwrap();
        fs::create_dir(scene.at("disk/store")).unwrap();
        let place = &scene.place;
        place.ok(&["import", &place.text("image")]);
        place.ok(&["checkout", "--link", "copy", "image:1", &place.out("copy")]);
        let before = scene.objects();
        scene.mount("ro", &[]);
        assert_eq!(place.tree("work/ro"), place.tree("work/copy"), "{kind}");
        scene.mount("rw", &["--rw"]);
        change(&scene, "rw");
        assert_eq!(scene.objects(), before, "{kind}");
        an_access_list_is_taken_in_once(&scene, kind);
        place.ok(&["untag", "image:1", "list:1"]);
        place.ok(&["gc"]);
        let after = scene.objects();
        assert!(
            before
                .iter()
                .all(|object| after.get(object.0) == Some(object.1)),
            "{kind}"
        );
        scene.umount("rw", &["--discard"]);
        scene.umount("ro", &[]);
        place.ok(&["gc"]);
        scene.is_empty();
    }
}
