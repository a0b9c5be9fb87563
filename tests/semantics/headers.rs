//! The table "Headers": types, dialects, names of owners, devices.

use crate::tarball::{BLOCK, Header, Tar};
use crate::tree;
use crate::world::{World, accepts, is_root, refuses_at, refuses_last};

#[test]
fn user_and_group_names_are_ignored() {
    let header = Header::new(b'0', "x").uid(1).gid(2);
    let header = header.field(265, b"root").field(297, b"wheel");
    accepts([Tar::new().add(header, "x")]).stat("x", "0644 1:2 0.000000000");
    let pax = Tar::new().pax(&[("uname", b"root"), ("gname", b"root")]);
    accepts([pax.add(Header::new(b'0', "x").uid(1).gid(2), "x")])
        .stat("x", "0644 1:2 0.000000000")
        .warns(&[]);
}

#[test]
fn a_trailing_slash_without_data_is_a_directory() {
    accepts([Tar::new()
        .add(Header::v7("d/").mode(0o755), "")
        .file("d/x", "x")])
    .tree(&["d/", "d/x=x"])
    .stat("d", "0755 0:0 0.000000000")
    .warns(&[]);
    for kind in [b'0', b'7'] {
        accepts([Tar::new()
            .add(Header::new(kind, "d/").mode(0o700), "")
            .file("d/x", "x")])
        .tree(&["d/", "d/x=x"])
        .stat("d", "0700 0:0 0.000000000")
        .warns(&[("trailing-slash", 1)])
        .strictly_refused(&["entry 'd/' at byte 0: a file without data whose name ends"]);
    }
    let long = Tar::new().long_name("d/").add(Header::new(b'0', "x"), "");
    accepts([long])
        .tree(&["d/"])
        .warns(&[("trailing-slash", 1)]);
    let pax = Tar::new()
        .pax(&[("path", b"d/")])
        .add(Header::new(b'0', "x"), "");
    accepts([pax]).tree(&["d/"]).warns(&[("trailing-slash", 1)]);
}

#[test]
fn a_trailing_slash_with_data_is_refused() {
    let why = "a directory's name with a file's data";
    refuses_last(&[], Tar::new().add(Header::v7("d/"), "x"), "d/", why);
    for kind in [0, b'0', b'7'] {
        refuses_last(&[], Tar::new().add(Header::new(kind, "d/"), "x"), "d/", why);
    }
    let pax = Tar::new()
        .pax(&[("size", b"1")])
        .add(Header::new(b'0', "d/").size(0), "x");
    refuses_last(&[], pax, "d/", why);
    refuses_last(&[], Tar::new().add(Header::gnu(b'S', "d/"), ""), "d/", why);
}

#[test]
fn type_7_is_a_regular_file() {
    for header in [Header::new(b'7', "x"), Header::gnu(b'7', "x")] {
        accepts([Tar::new().add(header, "x").file("y", "y")])
            .tree(&["x=x", "y=y"])
            .warns(&[]);
    }
}

#[test]
fn a_volume_label_is_skipped_and_so_is_its_data() {
    for data in ["", "data of a label"] {
        let tar = Tar::new()
            .add(Header::gnu(b'V', "label"), data)
            .file("x", "x");
        let tar = tar.add(Header::gnu(b'V', "another/"), data).file("y", "y");
        accepts([tar]).tree(&["x=x", "y=y"]).warns(&[]);
    }
    accepts([Tar::new().add(Header::gnu(b'V', "only"), "")]).tree(&[]);
    let cut = Tar::new()
        .add(Header::gnu(b'V', "label").size(600), "")
        .bytes;
    refuses_at(&[], &cut, 0, "", "the tar is cut off within its 600 bytes");
}

#[test]
fn an_extension_header_before_a_volume_label_is_refused() {
    // For some readers it is the label's, for others that of the entry after it.
    let why = "an extension header before a volume label";
    let label = |tar: Tar| tar.add(Header::gnu(b'V', "label"), "").file("x", "x").end();
    refuses_at(
        &[],
        &label(Tar::new().pax(&[("path", b"real")])),
        0,
        "",
        why,
    );
    refuses_at(&[], &label(Tar::new().long_name("real")), 0, "", why);
}

#[test]
fn other_types_are_refused() {
    for kind in *b"DMNZ89AEIga-" {
        if kind == b'g' {
            continue;
        }
        let tar = Tar::new()
            .file("before", "")
            .add(Header::gnu(kind, "x"), "");
        let why = format!("type '{}' is not known", char::from(kind));
        refuses_last(&[], tar, "x", &why);
    }
    refuses_last(
        &[],
        Tar::new().add(Header::new(0xff, "x"), ""),
        "x",
        r"type '\xff' is not known",
    );
}

#[test]
fn the_prefix_field_counts_under_the_posix_magic_only() {
    let posix = Header::new(b'0', "x").prefix("some/where");
    accepts([Tar::new().add(posix.clone(), "x")]).tree(&["some/", "some/where/", "some/where/x=x"]);
    for magic in [&[0; 8][..], b"ustar  \0", b"ustar \0\0", b"ustar\x0100"] {
        let other = posix.clone().field(257, magic);
        accepts([Tar::new().add(other, "x")]).tree(&["x=x"]);
    }
    // Without its version, as some write it; a file's data after it shows that the block was read whole.
    let bare = posix.clone().field(257, b"ustar\0\0\0");
    accepts([Tar::new().add(bare, "x")]).tree(&["some/", "some/where/", "some/where/x=x"]);
    let long = Header::new(b'0', "n".repeat(100)).prefix(&"p".repeat(155));
    let imported = accepts([Tar::new().add(long, "x")]);
    assert!(
        imported
            .path(&format!("{}/{}", "p".repeat(155), "n".repeat(100)))
            .exists()
    );
}

#[test]
fn the_prefix_field_of_stars_dialect_is_shorter() {
    // Times follow it there.
    let star = Header::new(b'0', "x")
        .prefix("some")
        .field(476, b"14500000000\x0014500000000\0");
    accepts([Tar::new().add(star.field(508, b"tar\0"), "x")]).tree(&["some/", "some/x=x"]);
    let full = Header::new(b'0', "x")
        .prefix(&"p".repeat(131))
        .field(508, b"tar\0");
    let imported = accepts([Tar::new().add(full.field(476, b"14500000000\0"), "x")]);
    assert!(imported.path(&format!("{}/x", "p".repeat(131))).exists());
}

#[test]
fn a_long_name_or_pax_path_goes_before_name_and_prefix() {
    let header = || Header::new(b'0', "x").prefix("some/where");
    accepts([Tar::new().long_name("real").add(header(), "x")]).tree(&["real=x"]);
    accepts([Tar::new().pax(&[("path", b"real")]).add(header(), "x")]).tree(&["real=x"]);
}

#[test]
fn setuid_setgid_and_sticky_are_kept() {
    let tar = Tar::new()
        .add(Header::new(b'0', "suid").mode(0o4755).uid(1).gid(2), "x")
        .add(Header::new(b'0', "sgid").mode(0o2711).uid(3), "y")
        .add(Header::new(b'5', "tmp").mode(0o1777), "")
        .add(Header::new(b'5', "all").mode(0o7777).uid(5).gid(6), "")
        .add(Header::new(b'0', "none").mode(0), "z");
    accepts([tar])
        .stat("suid", "4755 1:2 0.000000000")
        .stat("sgid", "2711 3:0 0.000000000")
        .stat("tmp", "1777 0:0 0.000000000")
        .stat("all", "7777 5:6 0.000000000")
        .stat("none", "0000 0:0 0.000000000");
}

#[test]
fn fifos_are_kept() {
    let fifo = Header::new(b'6', "p").mode(0o620).uid(1).gid(2).mtime(3);
    accepts([Tar::new().add(fifo, "")])
        .tree(&["p|"])
        .stat("p", "0620 1:2 3.000000000")
        .warns(&[]);
}

#[test]
fn devices_are_kept() {
    if !is_root() {
        return;
    }
    let major: [u8; 8] = crate::tarball::base256(1 << 11);
    let tar = Tar::new()
        .char("null", 1, 3)
        .char("zero", 0, 0)
        .block("sda", 8, 0)
        .add(
            Header::gnu(b'3', "large")
                .device(0, 0x1234)
                .field(329, &major),
            "",
        )
        .add(
            Header::v7("old").field(156, b"3").field(329, b"0000007\0"),
            "",
        );
    accepts([tar])
        .tree(&[
            "large%2048,4660",
            "null%1,3",
            "old%0,0",
            "sda#8,0",
            "zero%0,0",
        ])
        .warns(&[]);
    let negative: [u8; 8] = crate::tarball::base256(-1);
    let tar = Tar::new().add(Header::gnu(b'3', "x").field(329, &negative), "");
    refuses_last(&[], tar, "x", "a device number of -1");
}

#[test]
fn a_device_without_the_right_to_make_it_is_left_out_with_a_warning() {
    if !is_root() {
        return;
    }
    let world = World::shared();
    let layout = world.layout();
    let tar = Tar::new()
        .char("c", 1, 3)
        .block("b", 8, 0)
        .link("d", "c")
        .file("x", "x")
        .fifo("p");
    layout.index(&[layout.image(&[tar.into()])]);
    world.ok_as_user(&["import", &layout.source()]);
    let root = world.path("root");
    let report = world.ok_as_user(&["checkout", "image", root.to_str().unwrap()]);
    let skipped = &report["report"]["warnings"]["device skipped"];
    // One device is one, whatever names it has.
    assert_eq!(skipped["count"], 2);
    assert_eq!(skipped["first"], "b: it takes root to make it");
    assert_eq!(tree::list(&root), ["p|", "x=x"]);
    // The store keeps them: the export is what came.
    let copy = world.path("copy");
    world.ok_as_user(&["export", "image", &format!("oci:{}", copy.display())]);
    assert!(crate::layout::blobs_in(&copy) == layout.blobs());
    // With `--strict` that is an error, and nothing is left of it.
    let strict = world.path("strict");
    let output = world.run_as_user(&["checkout", "--strict", "image", strict.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{said}"
    );
    assert!(said.contains("b: it takes root to make it"), "{said}");
    assert!(!strict.exists());
}

#[test]
fn a_header_is_512_bytes_and_fields_nobody_names_are_ignored() {
    let header = Header::new(b'0', "x").field(500, b"whatever");
    let tar = Tar::new().add(header, "x");
    assert_eq!(tar.bytes.len(), 2 * BLOCK);
    accepts([tar]).tree(&["x=x"]).warns(&[]);
}
