//! The table "Headers": global PAX headers.

use crate::tarball::{Header, Tar};
use crate::world::{accepts, refuses_at};

#[test]
fn global_mtime_uid_and_gid_apply_to_the_entries_that_follow() {
    let header = |name| Header::new(b'0', name).uid(1).gid(2).mtime(3);
    let tar = Tar::new()
        .add(header("before"), "")
        .global(&[
            ("mtime", b"-10.5"),
            ("uid", b"7"),
            ("comment", b"c"),
            ("VENDOR.x", b""),
        ])
        .add(header("a"), "")
        .pax(&[("uid", b"5")])
        .add(header("own"), "")
        .global(&[("gid", b"8")])
        .add(header("b"), "")
        .global(&[("uid", b""), ("mtime", b"")])
        .add(header("c"), "");
    accepts([tar])
        .stat("before", "0644 1:2 3.000000000")
        .stat("a", "0644 7:2 -11.500000000")
        .stat("own", "0644 5:2 -11.500000000")
        .stat("b", "0644 7:8 -11.500000000")
        .stat("c", "0644 1:8 3.000000000")
        .warns(&[]);
}

#[test]
fn a_global_header_counts_in_its_own_layer_only() {
    let lower = Tar::new().global(&[("uid", b"7")]).file("a", "");
    accepts([lower, Tar::new().file("b", "")])
        .stat("a", "0644 7:0 0.000000000")
        .stat("b", "0644 0:0 0.000000000");
}

#[test]
fn global_comments_are_ignored_alone_at_the_end_too() {
    let comment = [("comment", &b"0123456789012345678901234567890123456789"[..])];
    accepts([Tar::new().global(&comment)]).tree(&[]).warns(&[]);
    accepts([Tar::new().global(&comment).file("x", "x").global(&comment)])
        .tree(&["x=x"])
        .warns(&[]);
}

#[test]
fn a_global_path_size_target_xattr_or_sparse_map_is_refused() {
    for key in [
        "path",
        "size",
        "linkpath",
        "SCHILY.xattr.user.a",
        "LIBARCHIVE.xattr.user.a",
        "GNU.sparse.major",
        "GNU.sparse.name",
    ] {
        let tar = Tar::new()
            .file("first", "")
            .global(&[(key, b"1")])
            .file("x", "")
            .end();
        refuses_at(
            &[],
            &tar,
            512,
            "",
            &format!("a global header that sets {key}"),
        );
    }
}

#[test]
fn a_global_header_between_an_extension_header_and_its_entry_is_refused() {
    // Go's reader forgets the first of them, others do not.
    let pax = Tar::new()
        .pax(&[("path", b"real")])
        .global(&[("comment", b"c")]);
    let why = "a global header between an extension header and its entry";
    refuses_at(&[], &pax.file("x", "").end(), 0, "", why);
    let long = Tar::new().long_name("real").global(&[("comment", b"c")]);
    refuses_at(&[], &long.file("x", "").end(), 0, "", why);
}
