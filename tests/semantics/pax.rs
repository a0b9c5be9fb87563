//! The table "Headers": PAX records and GNU's long names.

use crate::tarball::{Header, Tar, record};
use crate::world::{accepts, refuses_at, refuses_last};

#[test]
fn an_empty_pax_value_makes_the_header_field_count_again() {
    let header = Header::new(b'0', "header").uid(1).gid(2).mtime(3);
    let empty = [
        ("path", &b""[..]),
        ("size", b""),
        ("uid", b""),
        ("gid", b""),
        ("mtime", b""),
    ];
    accepts([Tar::new().pax(&empty).add(header.clone(), "four")])
        .tree(&["header=four"])
        .stat("header", "0644 1:2 3.000000000");
    // After a value in the same header, and in one before.
    let value = [
        ("path", &b"no"[..]),
        ("uid", b"7"),
        ("gid", b"8"),
        ("mtime", b"9"),
    ];
    let both = [value.to_vec(), empty.to_vec()].concat();
    for tar in [Tar::new().pax(&both), Tar::new().pax(&value).pax(&empty)] {
        accepts([tar.add(header.clone(), "four")])
            .tree(&["header=four"])
            .stat("header", "0644 1:2 3.000000000")
            .warns(&[("repeated-header", 1)]);
    }
    let link = Tar::new()
        .file("a", "a")
        .pax(&[("linkpath", b"")])
        .link("b", "a");
    accepts([link]).tree(&["a=a ~1", "b=a ~1"]);
    let long = Tar::new()
        .long_name("long")
        .pax(&[("path", b"")])
        .file("short", "x");
    accepts([long]).tree(&["long=x"]).warns(&[]);
}

#[test]
fn an_empty_pax_value_makes_the_header_field_count_again_over_a_global_one() {
    let header = Header::new(b'0', "a").uid(1).gid(2).mtime(3);
    let tar = Tar::new()
        .global(&[("uid", b"7"), ("gid", b"8"), ("mtime", b"9")])
        .pax(&[("uid", b""), ("mtime", b"")])
        .add(header.clone(), "")
        .pax(&[("gid", b"")])
        .add(header.field(0, b"b"), "");
    accepts([tar])
        .stat("a", "0644 1:8 3.000000000")
        .stat("b", "0644 7:2 9.000000000")
        .warns(&[]);
}

#[test]
fn a_key_twice_two_pax_headers_or_two_long_names_are_merged_and_the_last_wins_with_a_warning() {
    let tars = [
        Tar::new().pax(&[("path", b"one"), ("path", b"real")]),
        Tar::new()
            .pax(&[("path", b"one")])
            .pax(&[("path", b"real")]),
        Tar::new().pax(&[("path", b"real")]).pax(&[("mtime", b"1")]),
        Tar::new()
            .pax(&[("path", b"real")])
            .raw_extension(b'X', record("uid", b"0")),
        Tar::new().long_name("one").long_name("real"),
    ];
    for tar in tars {
        accepts([tar.file("other", "x")])
            .tree(&["real=x"])
            .warns(&[("repeated-header", 1)])
            .strictly_refused(&["' at byte 0: an extension header or key comes twice"]);
    }
    let targets = Tar::new()
        .long_link("one")
        .long_link("real")
        .symlink("s", "other");
    accepts([targets])
        .tree(&["s@real"])
        .warns(&[("repeated-header", 1)]);
    let merged = Tar::new()
        .pax(&[("uid", b"1"), ("gid", b"1")])
        .pax(&[("gid", b"2")]);
    accepts([merged.file("x", "")]).stat("x", "0644 1:2 0.000000000");
    let global = Tar::new()
        .global(&[("uid", b"1"), ("uid", b"2")])
        .file("x", "");
    accepts([global])
        .stat("x", "0644 2:0 0.000000000")
        .warns(&[("repeated-header", 1)]);
}

#[test]
fn of_a_long_name_and_a_pax_path_the_pax_one_wins_with_a_warning() {
    let pax = [("path", &b"real"[..]), ("linkpath", b"target")];
    let tars = [
        Tar::new().long_name("long").pax(&pax).file("short", "x"),
        Tar::new().pax(&pax).long_name("long").file("short", "x"),
    ];
    for tar in tars {
        accepts([tar])
            .tree(&["real=x"])
            .warns(&[("long-name-and-pax", 1)])
            .strictly_refused(&["entry 'real' at byte 0: a long name or target and a PAX one"]);
    }
    let tars = [
        Tar::new().long_link("long").pax(&pax).symlink("short", "x"),
        Tar::new().pax(&pax).long_link("long").symlink("short", "x"),
    ];
    for tar in tars {
        accepts([tar])
            .tree(&["real@target"])
            .warns(&[("long-name-and-pax", 1)]);
    }
    let apart = Tar::new()
        .long_link("target")
        .pax(&[("path", b"real")])
        .symlink("short", "x");
    accepts([apart]).tree(&["real@target"]).warns(&[]);
}
