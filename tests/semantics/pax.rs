//! The table "Headers": PAX records and GNU's long names.

use crate::tarball::{Header, Tar, record};
use crate::world::{accepts, refuses_at, refuses_last};

#[test]
fn pax_records_override_the_header() {
    let tar = Tar::new()
        .dir("real")
        .pax(&[
            ("path", b"real/name"),
            ("size", b"4"),
            ("uid", b"12"),
            ("gid", b"34"),
            ("mtime", b"56.789"),
            ("comment", b"of no effect"),
            ("VENDOR.key", b"of no effect"),
            ("atime", b"1"),
        ])
        .add(
            Header::new(b'0', "other").uid(1).gid(2).mtime(3).size(0),
            "data",
        )
        .pax(&[("linkpath", b"real/name")])
        .link("link", "other")
        .pax(&[("linkpath", b"real")])
        .symlink("symlink", "other");
    accepts([tar])
        .tree(&["link=data ~1", "real/", "real/name=data ~1", "symlink@real"])
        .stat("real/name", "0644 12:34 56.789000000")
        .warns(&[]);
}

#[test]
fn a_pax_header_of_type_capital_x_is_one_like_any_other() {
    let records = [record("path", b"real"), record("mtime", b"7.5")].concat();
    accepts([Tar::new().raw_extension(b'X', records).file("other", "x")])
        .tree(&["real=x"])
        .stat("real", "0644 0:0 7.500000000")
        .warns(&[]);
}

#[test]
fn pax_records_apply_to_the_next_entry_only() {
    let tar = Tar::new()
        .pax(&[
            ("path", b"one"),
            ("mtime", b"1"),
            ("SCHILY.xattr.user.a", b"1"),
        ])
        .file("other", "1")
        .file("two", "2");
    accepts([tar])
        .tree(&["one=1", "two=2"])
        .stat("two", "0644 0:0 0.000000000")
        .xattrs("one", &["user.a=1"])
        .xattrs("two", &[]);
}

#[test]
fn a_pax_size_never_applies_to_a_long_name_or_target_in_between() {
    let data = [b'd'; 600];
    let name = "n".repeat(150);
    for size in ["600", "1"] {
        let data = &data[..size.parse().unwrap()];
        let before = Tar::new()
            .pax(&[("size", size.as_bytes())])
            .long_name(&name);
        let tar = before
            .long_link("unused")
            .add(Header::new(b'0', "x").size(0), data);
        let imported = accepts([tar.file("y", "y")]);
        assert_eq!(std::fs::read(imported.path(&name)).unwrap(), data);
        assert_eq!(std::fs::read(imported.path("y")).unwrap(), b"y");
    }
}

#[test]
fn a_pax_record_that_is_none_is_refused() {
    for (records, why) in [
        (
            &b"11 path=abc\n"[..],
            "a PAX record that does not end with a newline",
        ),
        (b"13 path=abc\n", "a PAX record whose length does not fit"),
        (b"99 path=abc\n", "a PAX record whose length does not fit"),
        (
            b"18446744073709551615 path=abc\n",
            "a PAX record without its length",
        ),
        (
            b"1844674407370955161 path=abc\n",
            "a PAX record whose length does not fit",
        ),
        (b"0 path=abc\n", "a PAX record whose length does not fit"),
        (
            b"-1 path=abc\n",
            "a PAX record's length: '-1' is not a number that fits",
        ),
        (
            b"x path=abc\n",
            "a PAX record's length: 'x' is not a number that fits",
        ),
        (
            b" path=abc\n",
            "a PAX record's length: '' is not a number that fits",
        ),
        (b"path=abc\n", "a PAX record without its length"),
        (b"6 abc\n", "a PAX record without '='"),
        (b"5 =a\n", "a PAX record with an empty key"),
        (b"12 path=a\0c\n", "NUL in a PAX path"),
        (b"12 path=abc\n\n", "a PAX record without its length"),
        (
            b"12 path=abc\n\0\0x",
            "bytes after the padding of a PAX header",
        ),
        (
            b"12 path=abc\n12 path=d",
            "a PAX record whose length does not fit",
        ),
    ] {
        let tar = Tar::new().raw_extension(b'x', records).file("x", "x");
        refuses_last(&[], tar, "", why);
    }
}

#[test]
fn nuls_after_the_last_pax_record_are_padding() {
    for padding in [&b"\0"[..], &[0; 100], &[0; 511]] {
        let records = [record("path", b"real"), padding.to_vec()].concat();
        accepts([Tar::new().raw_extension(b'x', records).file("other", "x")])
            .tree(&["real=x"])
            .warns(&[]);
    }
    accepts([Tar::new().raw_extension(b'x', "").file("x", "x")])
        .tree(&["x=x"])
        .warns(&[]);
}

#[test]
fn a_pax_number_that_is_none_is_refused() {
    for (key, value) in [
        ("size", "x"),
        ("size", "-1"),
        ("size", "+1"),
        ("size", " 1"),
        ("size", "0x1"),
        ("size", "1.0"),
        ("size", "18446744073709551616"),
        ("uid", "-1"),
        ("uid", "1.5"),
        ("gid", "root"),
        ("gid", "1 "),
    ] {
        let tar = Tar::new().pax(&[(key, value.as_bytes())]).file("x", "x");
        refuses_last(
            &[],
            tar,
            "",
            &format!("'{value}' is not a number that fits"),
        );
    }
    for value in [
        "x",
        "1.x",
        "--1",
        "1.-5",
        ".",
        "-",
        "1e3",
        "9223372036854775808",
    ] {
        let tar = Tar::new()
            .pax(&[("mtime", value.as_bytes())])
            .file("x", "x");
        refuses_last(&[], tar, "", &format!("'{value}' is not a time"));
    }
}

#[test]
fn a_pax_size_beyond_the_tar_is_refused() {
    for size in ["18446744073709551615", "9223372036854775807", "68719476737"] {
        let pax = || Tar::new().pax(&[("size", size.as_bytes())]);
        let why = "files of over 68719476736 bytes in one layer";
        refuses_last(&[], pax().add(Header::new(b'0', "x"), ""), "x", why);
        let why = format!("the tar is cut off within its {size} bytes");
        for name in [".wh.x", ".wh..wh.aufs"] {
            refuses_last(&[], pax().add(Header::new(b'0', name), ""), name, &why);
        }
    }
}

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
fn a_second_pax_header_that_does_not_repeat_the_size_of_the_first_is_refused() {
    // Others forget the first header: for them the next entry begins elsewhere.
    let why = "a second PAX header that does not repeat the size of the first";
    let size = Tar::new().pax(&[("size", b"3")]);
    let tar = size.clone().pax(&[("mtime", b"1")]).file("x", "abc");
    refuses_last(&[], tar, "", why);
    let map = [("GNU.sparse.size", &b"9"[..]), ("GNU.sparse.map", b"0,1")];
    let tar = Tar::new().pax(&map).pax(&[("uid", b"1")]).file("x", "a");
    refuses_last(&[], tar, "", why);
    let both = size
        .pax(&[("size", b"3"), ("mtime", b"1")])
        .file("x", "abc");
    accepts([both])
        .tree(&["x=abc"])
        .warns(&[("repeated-header", 1)]);
    let second = Tar::new().pax(&[("mtime", b"1")]).pax(&[("size", b"3")]);
    accepts([second.file("x", "abc")]).tree(&["x=abc"]);
}

#[test]
fn an_extension_header_that_no_entry_follows_is_refused() {
    for kind in [b'x', b'X', b'L', b'K'] {
        let data = if kind.eq_ignore_ascii_case(&b'x') {
            record("path", b"a")
        } else {
            b"a\0".to_vec()
        };
        let tar = Tar::new().file("before", "").raw_extension(kind, data);
        let why = "an extension header that no entry follows";
        refuses_last(&[], tar.clone(), "", why);
        refuses_at(&[], &tar.bytes, 512, "", why);
    }
    let cut = Tar::new()
        .file("before", "")
        .long_name("n".repeat(300))
        .cut(300);
    let why = "the tar is cut off within an extension header";
    refuses_at(&[], &cut.bytes, 512, "", why);
}

#[test]
fn a_gnu_long_name_and_target_are_fine() {
    let (name, target) = ("d/".repeat(100) + &"n".repeat(200), "t".repeat(300));
    for header in [
        Header::gnu(b'0', "short"),
        Header::new(b'0', "short"),
        Header::v7("short"),
    ] {
        let imported = accepts([Tar::new().long_name(&name).add(header, "x")]).warns(&[]);
        assert_eq!(std::fs::read(imported.path(&name)).unwrap(), b"x");
    }
    let both = Tar::new()
        .long_link(&target)
        .long_name(&name)
        .symlink("short", "short");
    let imported = accepts([both]).warns(&[]);
    let seen = std::fs::read_link(imported.path(&name)).unwrap();
    assert_eq!(seen.to_str(), Some(&*target));
    // Without the NUL at its end, as some write it; with more of them, as others do.
    for data in ["real", "real\0\0\0"] {
        accepts([Tar::new().raw_extension(b'L', data).file("short", "x")]).tree(&["real=x"]);
    }
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

#[test]
fn an_extension_header_of_over_one_mebibyte_is_refused() {
    let fits = vec![b'c'; (1 << 20) - 100];
    accepts([Tar::new().pax(&[("comment", &fits)]).file("x", "x")]).tree(&["x=x"]);
    for kind in [b'x', b'g', b'L', b'K'] {
        let header = Header::new(kind, "x").size((1 << 20) + 1);
        let tar = Tar::new().add(header, "").end();
        let why = "an extension header of 1048577 bytes, over 1048576";
        refuses_at(&[], &tar, 0, "", why);
    }
}
