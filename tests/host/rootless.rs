//! Checkouts whose files are not to be the image's owners': without root, by maps, in a user namespace.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::bench::{Place, Tree, Who, can_run, look};
use super::image::{Image, rich};

const MODES: [&str; 3] = ["hardlink", "reflink", "copy"];
const UIDS: &str = "--uid-map=0:200000:65536";
const GIDS: &str = "--gid-map=0:300000:65536";

/// The tree without devices.
fn without_devices(mut tree: Tree) -> Tree {
    tree.retain(|_, entry| entry.kind != 'c');
    tree
}

/// The tree as if somebody else had made it.
fn owned(mut tree: Tree, owner: impl Fn((u32, u32)) -> (u32, u32)) -> Tree {
    for entry in tree.values_mut() {
        entry.owner = owner(entry.owner);
    }
    tree
}

/// What root gets without any flag: the image itself.
fn as_the_image_has_it() -> Tree {
    let place = Place::with(Who::Root, rich());
    place.ok(&["checkout", "image:1", &place.out("tree")]);
    place.tree("work/tree")
}

#[test]
fn an_ordinary_users_checkout_is_his_own_with_the_images_modes() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let id = Who::User.id();
    let wanted = owned(without_devices(as_the_image_has_it()), |_| (id, id));
    let place = Place::with(Who::User, rich());
    for mode in MODES {
        let plain = place.ok(&["checkout", "--link", mode, "image:1", &place.out(mode)]);
        let flagged = place.out(&format!("{mode}-rootless"));
        let said = place.ok(&[
            "checkout",
            "--link",
            mode,
            "--rootless",
            "image:1",
            &flagged,
        ]);
        assert_eq!(said, plain);
        assert_eq!(place.tree(&format!("work/{mode}")), wanted, "{mode}");
        assert_eq!(look(flagged.as_ref()), wanted, "{mode}");
        // Two devices of three names, and two attributes that take root, a line each.
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("dev/null: "), "{said}");
        assert!(said.contains("(and 1 more): device skipped"), "{said}");
        assert!(said.contains("(and 1 more): xattr refused"), "{said}");
    }
    place.is_sound();
}

#[test]
fn what_an_ordinary_user_could_not_check_again_is_no_link() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let place = Place::with(Who::User, rich());
    let report = place.json(&["checkout", "image:1", &place.out("tree")]);
    assert_eq!(report["report"]["reasons"]["unreadable by its mode"], 2);
    place.is_sound();
    let output = Place::with(Who::Root, rich());
    let report = output.json(&["checkout", "image:1", &output.out("tree")]);
    assert_eq!(
        report["report"]["reasons"]["unreadable by its mode"],
        serde_json::Value::Null
    );
}

#[test]
fn root_makes_of_a_rootless_checkout_what_anybody_would() {
    if !can_run(&[]) {
        return;
    }
    let wanted = owned(without_devices(as_the_image_has_it()), |_| (0, 0));
    let place = Place::with(Who::Root, rich());
    for mode in MODES {
        let target = place.out(mode);
        let report = place.json(&["checkout", "--rootless", "--link", mode, "image:1", &target]);
        assert_eq!(look(target.as_ref()), wanted, "{mode}");
        let report = &report["report"];
        let skipped = &report["warnings"]["device skipped"];
        assert_eq!(
            (&skipped["count"], skipped["first"].as_str()),
            (&2.into(), Some("dev/null: it takes root to make it"))
        );
        let linked = report["linked"]["files"].as_u64().unwrap();
        assert_eq!(linked > 0, mode == "hardlink");
        assert_eq!(
            report["copied"]["files"].as_u64().unwrap() > 0,
            mode == "copy" || linked == 0 && report["reflinked"]["files"] == 0
        );
    }
    place.is_sound();
    place.ok(&["checkout", "image:1", &place.out("plain")]);
    assert_eq!(place.tree("work/plain"), as_the_image_has_it());
}

#[test]
fn a_rootless_checkout_is_what_umoci_unpacks_without_root() {
    if !can_run(&["setpriv", "umoci"]) {
        return;
    }
    let place = Place::with(Who::User, rich());
    place.ok(&["checkout", "image:1", &place.out("ours")]);
    let id = place.who.id();
    let done = Command::new("setpriv")
        .args([&format!("--reuid={id}"), &format!("--regid={id}")])
        .args(["--clear-groups", "umoci", "raw", "unpack", "--rootless"])
        .args(["--image", &place.text("image:1"), &place.out("theirs")])
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let mut theirs = place.tree("work/theirs");
    // It makes empty files of devices.
    for device in ["dev/null", "dev/null-too", "dev/zero"] {
        assert!(theirs.remove(device).unwrap().body.is_empty());
    }
    assert_eq!(place.tree("work/ours"), theirs);
}

#[test]
fn mapped_owners_are_those_that_stand_for_the_images_as_umoci_maps_them() {
    if !can_run(&["umoci"]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    let image = as_the_image_has_it();
    let wanted = owned(image.clone(), |(uid, gid)| (200_000 + uid, 300_000 + gid));
    for mode in MODES {
        let target = place.out(mode);
        place.ok(&["checkout", "--link", mode, UIDS, GIDS, "image:1", &target]);
        assert_eq!(look(target.as_ref()), wanted, "{mode}");
    }
    let done = Command::new("umoci")
        .args([
            "raw",
            "unpack",
            UIDS,
            GIDS,
            "--image",
            &place.text("image:1"),
        ])
        .arg(place.out("umoci"))
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(place.tree("work/umoci"), wanted);
    place.is_sound();
    // The next one links to what the first one made, and one without maps is not touched by them.
    let before = place.names("work/store/inodes");
    place.ok(&["checkout", UIDS, GIDS, "image:1", &place.out("again")]);
    assert_eq!(place.names("work/store/inodes"), before);
    let ino = |name: &str| {
        fs::metadata(place.path(&format!("work/{name}/bin/tool")))
            .unwrap()
            .ino()
    };
    assert_eq!(ino("again"), ino("hardlink"));
    place.ok(&["checkout", "image:1", &place.out("plain")]);
    assert_eq!(place.tree("work/plain"), image);
}

#[test]
fn without_a_map_of_their_own_groups_stay_as_they_are() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    place.ok(&["checkout", UIDS, "image:1", &place.out("tree")]);
    let wanted = owned(as_the_image_has_it(), |(uid, gid)| (200_000 + uid, gid));
    assert_eq!(place.tree("work/tree"), wanted);
}

#[test]
fn an_id_that_no_range_holds_is_named_before_anything_is_written() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    let maps = ["--uid-map=0:200000:65536", "--gid-map=0:300000:1001"];
    let (code, line) = place.fails(&["checkout", maps[0], maps[1], "image:1", &place.out("tree")]);
    assert_eq!(code, 1);
    assert_eq!(
        line,
        "ocistore: cannot check out 'etc/noted': its group id 65535 is in no range of --gid-map; \
         add a --gid-map that holds 65535, or leave owners out with --rootless"
    );
    let (_, line) = place.fails(&["checkout", "--uid-map=5:6", "image:1", &place.out("tree")]);
    assert!(
        line.contains("cannot check out '.': its user id 0 is in no range of --uid-map"),
        "{line}"
    );
    assert_eq!(place.names("work"), ["store"]);
    assert!(place.names("work/store/inodes").is_empty());
    // Of a part of the image only that part counts.
    place.ok(&[
        "checkout",
        "--path",
        "bin",
        maps[0],
        maps[1],
        "image:1",
        &place.out("bin"),
    ]);
}

#[test]
fn maps_that_make_no_sense_are_a_wrong_call_that_names_flag_and_value() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::empty(Who::Root, rich());
    for (maps, what) in [
        (
            &["--uid-map=0"][..],
            "'--uid-map 0': expected CONTAINER:HOST:SIZE",
        ),
        (&["--gid-map=0:1:x"], "'--gid-map 0:1:x': 'x' is no number"),
        (&["--uid-map=0:1:0"], "'--uid-map 0:1:0': its size is 0"),
        (
            &["--uid-map=0:4294967295:1"],
            "'--uid-map 0:4294967295:1': it ends beyond",
        ),
        (
            &["--uid-map=0:9:2", "--uid-map=1:20"],
            "'--uid-map 1:20': it has ids of the image in common with 0:9:2",
        ),
        (
            &["--gid-map=0:9:2", "--gid-map=5:10"],
            "'--gid-map 5:10': it has ids of the host in common with 0:9:2",
        ),
        (
            &["--rootless", "--uid-map=0:1"],
            "'--rootless' cannot be used with '--uid-map",
        ),
        (&["--gid-map=0:1", "--rootless"], "'--gid-map"),
    ] {
        let (code, line) = place.fails(&[&["checkout"], maps, &["image:1", "x"]].concat());
        assert_eq!(code, 64, "{line}");
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn an_ordinary_user_maps_to_himself_and_to_nobody_else() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let own = Image::new()
        .dir("./", (0o755, 0, 0))
        .file("file", (0o640, 0, 0), "file");
    let place = Place::with(Who::User, own);
    let checkout = |uid: &str, gid: &str, name: &str| {
        let (uid, gid) = (format!("--uid-map={uid}"), format!("--gid-map={gid}"));
        let target = place.out(name);
        place.run(place.who, &["checkout", &uid, &gid, "image:1", &target])
    };
    assert!(checkout("0:12345", "0:12345:1", "own").status.success());
    let entry = &place.tree("work/own")["file"];
    assert_eq!((entry.owner, entry.mode), ((12_345, 12_345), 0o640));
    for (uid, gid, owner) in [("0:1", "0:12345", "1:12345"), ("0:12345", "0:1", "12345:1")] {
        let output = checkout(uid, gid, "other");
        assert_eq!(output.status.code(), Some(1));
        let line = String::from_utf8(output.stderr).unwrap();
        let why = format!(
            "cannot check out '.': the host does not let a file belong to {owner}: operation not permitted; map to"
        );
        assert!(line.contains(&why), "{line}");
    }
    assert_eq!(place.names("work"), ["own", "store"]);
    place.is_sound();
}

#[test]
fn the_root_of_a_user_namespace_gets_the_images_owners_but_no_devices() {
    if !can_run(&["setpriv", "unshare"]) {
        return;
    }
    let place = Place::with(Who::Namespaced, rich());
    let wanted = owned(without_devices(as_the_image_has_it()), |(uid, gid)| {
        (100_000 + uid, 100_000 + gid)
    });
    for mode in MODES {
        let target = place.out(mode);
        let said = place.ok(&["checkout", "--link", mode, "image:1", &target]);
        assert_eq!(look(target.as_ref()), wanted, "{mode}");
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(
            said.contains("dev/null: it takes root to make it (and 1 more)"),
            "{said}"
        );
        assert!(said.contains("etc/trusted: trusted.note: "), "{said}");
    }
    // Maps lead to ids of the namespace, not of the world around it.
    place.ok(&[
        "checkout",
        "--uid-map=0:1:65535",
        "--uid-map=65535:0",
        "image:1",
        &place.out("mapped"),
    ]);
    let shifted = owned(wanted, |(uid, gid)| {
        (100_000 + (uid - 100_000 + 1) % 65_536, gid)
    });
    assert_eq!(place.tree("work/mapped"), shifted);
    let (code, line) = place.fails(&["checkout", UIDS, "image:1", &place.out("beyond")]);
    assert_eq!(code, 1);
    assert!(line.contains("cannot check out '.': the host does not let a file belong to 200000:0: this user namespace has no such id"), "{line}");
    place.is_sound();
}

#[test]
fn ids_that_a_user_namespace_does_not_have_come_in_and_are_refused_or_mapped_on_the_way_out() {
    if !can_run(&["setpriv", "unshare"]) {
        return;
    }
    let image = Image::new()
        .dir("./", (0o755, 0, 0))
        .file("a", (0o644, 0, 0), "a")
        .file("b", (0o644, 70_000, 4_294_967_294 >> 12), "b");
    let place = Place::with(Who::Namespaced, image);
    place.is_sound();
    let (code, line) = place.fails(&["checkout", "image:1", &place.out("plain")]);
    assert_eq!(code, 1);
    assert!(line.contains("'b': the host does not let a file belong to 70000:1048575: this user namespace has no such id; map owners"), "{line}");
    place.ok(&["checkout", "--rootless", "image:1", &place.out("rootless")]);
    assert_eq!(place.tree("work/rootless")["b"].owner, (100_000, 100_000));
    let maps = [
        "--uid-map=0:0",
        "--uid-map=70000:7",
        "--gid-map=0:0",
        "--gid-map=1048575:8",
    ];
    place.ok(&[&["checkout"], &maps[..], &["image:1", &place.out("mapped")]].concat());
    assert_eq!(place.tree("work/mapped")["b"].owner, (100_007, 100_008));
    place.is_sound();
    // The catalog is made again from what the files show.
    fs::remove_file(place.path("work/store/catalog.redb")).unwrap();
    place.is_sound();
}

#[test]
fn a_strict_checkout_fails_where_a_warning_would_be_said() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let place = Place::with(Who::User, rich());
    for mode in MODES {
        let target = place.out("tree");
        let (code, line) =
            place.fails(&["checkout", "--strict", "--link", mode, "image:1", &target]);
        assert_eq!(code, 1);
        assert!(
            line.contains("xattr refused at bin/ping: security.capability: "),
            "{line}"
        );
        assert!(line.contains("(2 in all); "), "{line}");
        assert_eq!(place.names("work"), ["store"]);
    }
    place.ok(&[
        "checkout",
        "--strict",
        "--path",
        "home",
        "image:1",
        &place.out("tree"),
    ]);
    place.is_sound();
    let root = Place::with(Who::Root, rich());
    let target = root.out("tree");
    root.ok(&["checkout", "--strict", "image:1", &target]);
    let target = root.out("rootless");
    let (code, line) = root.fails(&["checkout", "--strict", "--rootless", "image:1", &target]);
    assert_eq!(code, 1);
    assert!(
        line.contains("device skipped at dev/null: it takes root to make it (2 in all)"),
        "{line}"
    );
    assert_eq!(root.names("work"), ["store", "tree"]);
}

#[test]
fn a_damaged_file_of_other_owners_is_named_with_the_paths_that_need_it() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    place.ok(&["checkout", UIDS, GIDS, "image:1", &place.out("mapped")]);
    place.ok(&["checkout", "--rootless", "image:1", &place.out("rootless")]);
    for (tree, path) in [("mapped", "home/ada/notes"), ("rootless", "etc/drop")] {
        let file = fs::OpenOptions::new()
            .append(true)
            .open(place.path(&format!("work/{tree}/{path}")));
        std::io::Write::write_all(&mut file.unwrap(), b"!").unwrap();
    }
    let output = place.run(place.who, &["fsck", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["report"]["findings"].as_array().unwrap();
    let mut paths: Vec<_> = findings.iter().map(|found| &found["paths"][0]).collect();
    paths.sort_by_key(ToString::to_string);
    assert_eq!(paths, ["/etc/drop", "/home/ada/notes"]);
    for found in findings {
        assert_eq!(
            (&found["kind"], &found["images"][0]),
            (&"flipped".into(), &"image:1".into())
        );
    }
}

#[test]
fn a_device_of_many_names_is_one_that_is_left_out() {
    if !can_run(&[]) {
        return;
    }
    let image = Image::new()
        .dir("./", (0o755, 0, 0))
        .device("a", (0o666, 0, 0), 3)
        .hard_link("b", "a")
        .hard_link("c", "a");
    let place = Place::with(Who::Root, image);
    let report = place.json(&["checkout", "--rootless", "image:1", &place.out("tree")]);
    assert_eq!(report["report"]["warnings"]["device skipped"]["count"], 1);
    assert!(place.names("work/tree").is_empty());
}

#[test]
fn a_collection_by_root_does_not_lock_the_owner_of_a_store_out() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let place = Place::with(Who::User, rich());
    place.ok(&["untag", "image:1"]);
    let gc = place.run(Who::Root, &["gc"]);
    assert!(gc.status.success());
    place.ok(&["import", &place.text("image")]);
    place.ok(&["gc"]);
    place.is_sound();
}
