//! The table "Headers": extended attributes.

use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{World, accepts, is_root, refuses_last};

#[test]
fn xattrs_of_any_bytes_are_kept() {
    let all: Vec<u8> = (0..=255).collect();
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.user.all", &all),
            ("SCHILY.xattr.user.a=b", b"no: the key ends at the first ="),
            ("SCHILY.xattr.user.nl", b"\n\n"),
            ("SCHILY.xattr.user.empty", b""),
        ])
        .file("x", "x")
        .pax(&[("SCHILY.xattr.user.dir", b"1")])
        .dir("d");
    let imported = accepts([tar]).warns(&[]).xattrs("d", &["user.dir=1"]);
    let get = |name| xattr::get(imported.path("x"), name).unwrap().unwrap();
    assert_eq!(get("user.all"), all);
    assert_eq!(get("user.a"), b"b=no: the key ends at the first =");
    assert_eq!(get("user.nl"), b"\n\n");
    assert_eq!(get("user.empty"), b"");
}

#[test]
fn an_empty_value_sets_an_xattr_empty() {
    let twice: [(&str, &[u8]); 2] = [
        ("SCHILY.xattr.user.a", b"full"),
        ("SCHILY.xattr.user.a", b""),
    ];
    for tar in [
        Tar::new().pax(&twice),
        Tar::new().pax(&twice[..1]).pax(&twice[1..]),
    ] {
        accepts([tar.file("x", "x")])
            .xattrs("x", &["user.a="])
            .warns(&[("repeated-header", 1)]);
    }
    let libarchive = Tar::new()
        .pax(&[("LIBARCHIVE.xattr.user.a", b"")])
        .file("x", "x");
    accepts([libarchive]).xattrs("x", &["user.a="]).warns(&[]);
}

#[test]
fn libarchives_form_is_base64_with_or_without_padding_and_an_escaped_name() {
    let tar = Tar::new().pax(&[
        ("LIBARCHIVE.xattr.user.a", b"aGk"),
        ("LIBARCHIVE.xattr.user.b", b"aGk="),
        ("LIBARCHIVE.xattr.user.c%3Dd%25", b"/+8"),
    ]);
    accepts([tar.file("x", "x")])
        .xattrs("x", &["user.a=hi", "user.b=hi", "user.c=d%=\\xff\\xef"])
        .warns(&[]);
}

#[test]
fn xattrs_that_cannot_be_read_are_refused() {
    for (key, value, why) in [
        (
            "LIBARCHIVE.xattr.user.a",
            "!",
            "an attribute's value is not base64",
        ),
        (
            "LIBARCHIVE.xattr.user.a",
            "aGk\n",
            "an attribute's value is not base64",
        ),
        (
            "LIBARCHIVE.xattr.user.a",
            "a",
            "an attribute's value is not base64",
        ),
        (
            "LIBARCHIVE.xattr.user.%4",
            "",
            "bad escape in the attribute name 'user.%4'",
        ),
        (
            "LIBARCHIVE.xattr.user.%zz",
            "",
            "bad escape in the attribute name 'user.%zz'",
        ),
        (
            "LIBARCHIVE.xattr.user.%00",
            "",
            "is not the name of an extended attribute",
        ),
        (
            "LIBARCHIVE.xattr.",
            "",
            "is not the name of an extended attribute",
        ),
        (
            "SCHILY.xattr.",
            "",
            "is not the name of an extended attribute",
        ),
        (
            "SCHILY.xattr.user.\0",
            "",
            "is not the name of an extended attribute",
        ),
    ] {
        let tar = Tar::new().pax(&[(key, value.as_bytes())]).file("x", "x");
        refuses_last(&[], tar, "", why);
    }
}

#[test]
fn of_two_forms_in_conflict_schilys_wins_with_a_warning() {
    let schily = ("SCHILY.xattr.user.a", &b"schily"[..]);
    let other = ("LIBARCHIVE.xattr.user.a", &b"b3RoZXI"[..]);
    for records in [[schily, other], [other, schily]] {
        accepts([Tar::new().pax(&records).file("x", "x")])
            .xattrs("x", &["user.a=schily"])
            .warns(&[("xattr-conflict", 1)])
            .strictly_refused(&["entry 'x' at byte 0: two forms of one extended attribute"]);
    }
    let same = ("LIBARCHIVE.xattr.user.a", &b"c2NoaWx5"[..]);
    accepts([Tar::new().pax(&[schily, same]).file("x", "x")])
        .xattrs("x", &["user.a=schily"])
        .warns(&[]);
}

#[test]
fn one_attribute_in_two_spellings_is_one_that_comes_twice() {
    let tar = Tar::new().pax(&[
        ("LIBARCHIVE.xattr.user.a", b"b25l"),
        ("LIBARCHIVE.xattr.user%2Ea", b"dHdv"),
    ]);
    accepts([tar.file("x", "x")])
        .xattrs("x", &["user.a=two"])
        .warns(&[("repeated-header", 1)]);
}

#[test]
fn a_capability_survives_the_change_of_owner() {
    if !is_root() {
        return;
    }
    // Version 2, effective, cap_net_raw.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .add(Header::new(b'0', "ping").mode(0o755).uid(7).gid(8), "x");
    let imported = accepts([tar]).stat("ping", "0755 7:8 0.000000000");
    for link in ["hardlink", "reflink", "copy"] {
        let root = imported.world().path(&format!("by-{link}"));
        imported
            .world()
            .ok(&["checkout", "--link", link, "image", root.to_str().unwrap()]);
        let seen = xattr::get(root.join("ping"), "security.capability").unwrap();
        assert_eq!(seen.as_deref(), Some(&capability[..]), "{link}");
    }
}

#[test]
fn an_overlays_own_marks_are_kept_in_the_tree_and_not_set_on_a_checkout() {
    let marks = [
        ("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]),
        ("SCHILY.xattr.user.a", b"1"),
    ];
    let tar = Tar::new()
        .pax(&marks)
        .dir("d")
        .file("d/x", "x")
        .pax(&marks)
        .file("f", "f");
    accepts([tar])
        .xattrs("d", &["user.a=1"])
        .xattrs("f", &["user.a=1"])
        .tree(&["d/", "d/x=x", "f=f"])
        .warns(&[]);
}

/// Imports a layer and checks it out; returns what the checkout says of attributes.
fn refused(tar: Tar) -> (World, serde_json::Value) {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.image(&[tar.into()])]);
    let report = world.ok(&["import", &layout.source()]);
    assert_eq!(report["warnings"], serde_json::json!([]));
    let root = world.path("root");
    let report = world.ok(&["checkout", "image", root.to_str().unwrap()]);
    let copy = world.path("copy");
    world.ok(&["export", "image", &format!("oci:{}", copy.display())]);
    assert!(crate::layout::blobs_in(&copy) == layout.blobs());
    assert!(world.run(&["fsck"]).status.success());
    (world, report["report"]["warnings"]["xattr refused"].clone())
}

#[test]
fn an_xattr_the_host_does_not_take_is_a_warning_at_checkout_and_kept_in_the_tree() {
    let user = ("SCHILY.xattr.user.a", &b"1"[..]);
    let unknown = ("SCHILY.xattr.nobody.a", &b"1"[..]);
    let huge = vec![b'x'; 70_000];
    let long = format!("SCHILY.xattr.user.{}", "n".repeat(300));
    let tars = [
        ("s", Tar::new().pax(&[user]).symlink("s", "t")),
        ("p", Tar::new().pax(&[user]).fifo("p")),
        ("x", Tar::new().pax(&[user, unknown]).file("x", "x")),
        ("x", Tar::new().pax(&[user, unknown]).file("x", "")),
        ("d", Tar::new().pax(&[user, unknown]).dir("d")),
        (
            "x",
            Tar::new()
                .pax(&[user, ("SCHILY.xattr.user.huge", &huge)])
                .file("x", "x"),
        ),
        ("x", Tar::new().pax(&[user, (&long, b"1")]).file("x", "x")),
    ];
    for (name, tar) in tars {
        let (world, warned) = refused(tar);
        assert_eq!(warned["count"], 1, "{name}");
        let first = warned["first"].as_str().unwrap();
        assert!(first.starts_with(&format!("{name}: ")), "{first}");
        let root = world.path("root");
        let there = tree::list(&root);
        assert_eq!(there.len(), 1, "{there:?}");
        let kind = std::fs::symlink_metadata(root.join(name))
            .unwrap()
            .file_type();
        if kind.is_file() || kind.is_dir() {
            assert_eq!(
                tree::xattrs(&root.join(name)),
                ["user.a=1"],
                "what is taken is set"
            );
        }
    }
}

#[test]
fn trusted_and_security_xattrs_without_the_right_are_a_warning_at_checkout() {
    let attribute = [
        ("SCHILY.xattr.trusted.a", &b"1"[..]),
        ("SCHILY.xattr.user.a", b"1"),
    ];
    let tar = Tar::new().pax(&attribute).file("x", "x");
    if !is_root() {
        let (world, warned) = refused(tar);
        assert_eq!(warned["count"], 1);
        assert_eq!(tree::xattrs(&world.path("root").join("x")), ["user.a=1"]);
        return;
    }
    accepts([tar.clone()]).xattrs("x", &["trusted.a=1", "user.a=1"]);
    let world = World::shared();
    let layout = world.layout();
    layout.index(&[layout.image(&[tar.into()])]);
    world.ok_as_user(&["import", &layout.source()]);
    let root = world.path("root");
    let report = world.ok_as_user(&["checkout", "image", root.to_str().unwrap()]);
    assert_eq!(report["report"]["warnings"]["xattr refused"]["count"], 1);
    assert_eq!(tree::xattrs(&root.join("x")), ["user.a=1"]);
}
