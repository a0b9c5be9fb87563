//! The table "Paths".

use std::os::unix::fs::MetadataExt as _;

use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{accepts, is_root, refuses_at, refuses_last};

#[test]
fn spellings_of_one_path_are_the_same_path() {
    for name in [
        "a/b",
        "./a/b",
        "a//b",
        "/a/b",
        "a/./b",
        "././/a///.//b",
        "//a/b",
    ] {
        let upper = Tar::new().file(name, "upper");
        accepts([Tar::new().dir("a").file("a/b", "lower"), upper])
            .tree(&["a/", "a/b=upper"])
            .warns(&[]);
    }
    for name in ["a/", "./a/", "a//", "/a/./"] {
        accepts([Tar::new().dir(name).file("a/b", "b")]).tree(&["a/", "a/b=b"]);
        accepts([Tar::new().symlink(name, "t")]).tree(&["a@t"]);
        accepts([Tar::new().fifo(name)]).tree(&["a|"]);
    }
}

#[test]
fn spellings_of_one_path_are_the_same_path_in_every_dialect() {
    let name = "./a//b";
    let tars = [
        Tar::new().add(Header::v7(name), "x"),
        Tar::new().add(Header::gnu(b'0', name), "x"),
        Tar::new().add(Header::new(b'0', "b").prefix("./a/"), "x"),
        Tar::new()
            .long_name(name)
            .add(Header::gnu(b'0', "other"), "x"),
        Tar::new()
            .pax(&[("path", name.as_bytes())])
            .file("other", "x"),
    ];
    for tar in tars {
        accepts([tar]).tree(&["a/", "a/b=x"]).warns(&[]);
    }
}

#[test]
fn two_dots_are_resolved_in_the_tree_and_stop_at_its_root() {
    let lower = || Tar::new().dir("a").dir("a/b").file("x", "x");
    for name in ["a/b/../c", "../../a/c", "/../a/b/../../a/c", "a/../a/c"] {
        accepts([lower(), Tar::new().file(name, "c")]).tree(&["a/", "a/b/", "a/c=c", "x=x"]);
    }
    let outside = Tar::new().file("../../../../../../tmp/escaped", "caught");
    accepts([outside]).tree(&["tmp/", "tmp/escaped=caught"]);
    accepts([lower(), Tar::new().file("a/../.wh.x", "")]).tree(&["a/", "a/b/"]);
    accepts([lower(), Tar::new().link("a/y", "a/b/../../x")])
        .tree(&["a/", "a/b/", "a/y=x ~1", "x=x ~1"]);
}

#[test]
fn two_dots_after_a_symlink_go_up_from_where_it_leads() {
    let lower = || {
        Tar::new()
            .dir("a")
            .dir("a/b")
            .dir("c")
            .symlink("c/way", "../a/b")
    };
    let tree = ["a/", "a/b/", "a/x=x", "c/", "c/way@../a/b"];
    accepts([lower(), Tar::new().file("c/way/../x", "x")]).tree(&tree);
    let link = Tar::new().file("a/x", "x").link("c/y", "c/way/../x");
    accepts([lower(), link]).tree(&["a/", "a/b/", "a/x=x ~1", "c/", "c/way@../a/b", "c/y=x ~1"]);
}

#[test]
fn two_dots_as_the_last_step_are_a_directory_and_nothing_else() {
    let lower = Tar::new().dir("a").dir("a/b");
    let meta = |name| Tar::new().add(Header::new(b'5', name).mode(0o711).mtime(3), "");
    accepts([lower.clone(), meta("a/b/..")]).stat("a", "0711 0:0 3.000000000");
    let root = accepts([lower.clone(), meta("a/..")]);
    assert_eq!(tree::stat(&root.root), "0711 0:0 3.000000000");
    for tar in [
        Tar::new().file("a/b/..", "x"),
        Tar::new().symlink("a/b/..", "x"),
    ] {
        let why = "a directory is there, by way of '..' or the root";
        refuses_last(std::slice::from_ref(&lower), tar, "a/b/..", why);
    }
}

#[test]
fn two_dots_after_a_name_that_is_not_there_or_no_directory_are_refused() {
    let lower = Tar::new().file("f", "f").symlink("dangling", "none");
    for (name, end) in [
        ("none/../x", "none"),
        ("f/../x", "f"),
        ("dangling/../x", "none"),
        ("none/deep/../x", "deep"),
    ] {
        let why = format!("the way to its parent ends at '{end}', which is no directory");
        let lower = std::slice::from_ref(&lower);
        refuses_last(lower, Tar::new().file(name, "x"), name, &why);
        refuses_last(lower, Tar::new().dir(name), name, &why);
    }
}

#[test]
fn an_empty_name_is_refused_in_every_dialect() {
    refuses_last(&[], Tar::new().file("", "x"), "", "empty name");
    refuses_last(&[], Tar::new().dir(""), "", "empty name");
    refuses_last(&[], Tar::new().add(Header::v7(""), ""), "", "empty name");
    let long = Tar::new().raw_extension(b'L', "").file("x", "x");
    refuses_last(&[], long, "", "empty name");
    let long = Tar::new().raw_extension(b'L', "\0\0").file("x", "x");
    refuses_last(&[], long, "", "empty name");
}

#[test]
fn nul_in_a_name_is_refused_where_it_can_be_written() {
    let pax = Tar::new().pax(&[("path", b"a\0b")]).file("x", "x");
    refuses_last(&[], pax, "", "NUL in a PAX path");
    let long = Tar::new().raw_extension(b'L', "a\0b\0").file("x", "x");
    refuses_last(&[], long, "", "NUL in a long name");
}

#[test]
fn a_component_of_255_bytes_is_fine_and_one_of_256_is_refused() {
    let (fits, too_long) = ("n".repeat(255), "n".repeat(256));
    for name in [fits.clone(), format!("d/{fits}"), format!("{fits}/{fits}")] {
        let accepted = accepts([Tar::new().long_name(&name).file("short", "x")]);
        assert!(accepted.path(&name).exists());
    }
    for name in [
        too_long.clone(),
        format!("d/{too_long}"),
        format!("{too_long}/x"),
    ] {
        let why = "a name of 256 bytes, more than 255";
        let long = Tar::new().long_name(&name).file("short", "x");
        refuses_last(&[], long, &name, why);
        let pax = Tar::new().pax(&[("path", name.as_bytes())]).file("x", "x");
        refuses_last(&[], pax, &name, why);
    }
}

#[test]
fn other_bytes_are_kept_as_they_are() {
    let names: [&[u8]; 6] = [
        b"\xff\xfe",
        b"a\nb",
        b"\\x0a",
        b" ",
        b"k\xc3\xa4se",
        b"-rf *",
    ];
    let mut tar = Tar::new();
    for name in names {
        tar = tar.file(name, name);
        tar = tar.symlink([b"s", name].concat(), name);
    }
    let imported = accepts([tar]);
    for name in names {
        use std::os::unix::ffi::OsStrExt as _;
        let path = imported.root.join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(std::fs::read(path).unwrap(), name);
        let link = std::ffi::OsStr::from_bytes(&[b"s", name].concat()).to_owned();
        let target = std::fs::read_link(imported.root.join(link)).unwrap();
        assert_eq!(target.as_os_str().as_bytes(), name);
    }
}

#[test]
fn names_that_are_no_text_are_told_escaped_so_that_every_byte_can_be_told() {
    let layer = Tar::new().file(b"\xff\\\n", "one").file(b"\xff\\\n", "two");
    let imported = accepts([layer]).warns(&[("duplicate-path", 1)]);
    let first = imported.report["warnings"][0]["first"].as_str().unwrap();
    assert!(
        first.ends_with(r"entry '\xff\\\x0a' at byte 1024"),
        "{first}"
    );
    let refused = Tar::new().add(Header::new(b'Z', b"\xff\\\n"), "");
    refuses_last(&[], refused, r"\xff\\\x0a", "type 'Z' is not known");
}

#[test]
fn paths_of_over_4096_bytes_work() {
    let deep = vec!["n".repeat(255); 40].join("/");
    let tar = Tar::new()
        .long_name(format!("{deep}/f"))
        .file("short", "deep")
        .long_link(format!("{deep}/f"))
        .link("other", "short")
        .pax(&[("path", format!("{deep}/sub/").as_bytes())])
        .add(Header::new(b'5', "short").mode(0o700), "")
        .long_name(format!("{deep}/s"))
        .symlink("short", "target");
    let imported = accepts([tar]);
    // No path reaches there: walk.
    let mut at = rustix::fs::open(
        &imported.root,
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for part in deep.split('/') {
        let flags = rustix::fs::OFlags::PATH;
        at = rustix::fs::openat(&at, part, flags, rustix::fs::Mode::empty()).unwrap();
    }
    let no_follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let stat = |name| rustix::fs::statat(&at, name, no_follow).unwrap();
    let other = std::fs::metadata(imported.path("other")).unwrap();
    assert_eq!(stat("f").st_ino, other.ino());
    assert_eq!(stat("sub").st_mode & 0o777, 0o700);
    assert_eq!(stat("s").st_size, 6);
}

#[test]
fn a_path_is_1024_deep_at_the_most_by_way_of_symlinks_too() {
    let deep = vec!["d"; 1024].join("/");
    accepts([Tar::new().long_name(&deep).dir("x")]);
    let why = "a path of more than 1024 components";
    let long = Tar::new().long_name(format!("{deep}/d")).dir("x");
    refuses_last(&[], long, &format!("{deep}/d"), why);
    let lower = Tar::new().long_name(&deep).dir("x");
    let lower = lower
        .long_link(vec!["d"; 1000].join("/"))
        .symlink("way", "x");
    let name = format!("way/{}", vec!["e"; 25].join("/"));
    let why = "directories nest over 1024 deep";
    refuses_last(
        std::slice::from_ref(&lower),
        Tar::new().dir(&name),
        &name,
        why,
    );
    refuses_last(
        &[lower],
        Tar::new().file(format!("{name}/x"), ""),
        &format!("{name}/x"),
        why,
    );
}

#[test]
fn the_root_entry_however_spelled_sets_the_roots_metadata() {
    for name in ["./", ".", "/", "//", "./.", "..", "/.."] {
        let root = Header::new(b'5', name).mode(0o1710).uid(3).gid(4).mtime(5);
        let imported = accepts([Tar::new().add(root, "").file("x", "x")]).tree(&["x=x"]);
        if is_root() {
            assert_eq!(tree::stat(&imported.root), "1710 3:4 5.000000000", "{name}");
        }
    }
    let upper = Tar::new().add(Header::new(b'5', "./").mode(0o700), "");
    let imported = accepts([Tar::new().dir("./").file("x", "x"), upper]).tree(&["x=x"]);
    assert_eq!(tree::stat(&imported.root), "0700 0:0 0.000000000");
    let imported = accepts([Tar::new().file("x", "x")]);
    assert_eq!(tree::stat(&imported.root), "0755 0:0 0.000000000");
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let of = |kind, name| Tar::new().add(Header::new(kind, name).link("etc"), "");
    for kind in *b"0123467" {
        refuses_last(
            &[],
            of(kind, "."),
            ".",
            "the root of the image is no directory",
        );
    }
    for name in ["/", "./", "//", "./."] {
        refuses_last(
            &[],
            of(b'2', name),
            name,
            "the root of the image is no directory",
        );
    }
    let why = "a directory is there, by way of '..' or the root";
    refuses_last(&[], of(b'2', "/.."), "..", why);
}

#[test]
fn a_symlink_target_of_4095_bytes_is_fine_and_an_empty_or_longer_one_is_refused() {
    let longest = "t".repeat(4095);
    let tars = [
        Tar::new().long_link(&longest).symlink("s", "x"),
        Tar::new()
            .pax(&[("linkpath", longest.as_bytes())])
            .symlink("s", "x"),
    ];
    for tar in tars {
        let accepted = accepts([tar]);
        let target = std::fs::read_link(accepted.path("s")).unwrap();
        assert_eq!(target.as_os_str().len(), 4095);
    }
    let why = |len| format!("a symlink's target of {len} bytes, expected 1 to 4095");
    refuses_last(&[], Tar::new().symlink("s", ""), "s", &why(0));
    let long = Tar::new().long_link("t".repeat(4096)).symlink("s", "x");
    refuses_last(&[], long, "s", &why(4096));
    let long = "t".repeat(4096);
    let pax = Tar::new()
        .pax(&[("linkpath", long.as_bytes())])
        .symlink("s", "x");
    refuses_last(&[], pax, "s", &why(4096));
}

#[test]
fn a_symlink_target_with_a_nul_is_refused() {
    let pax = Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("s", "x");
    refuses_last(&[], pax, "", "NUL in a PAX path");
    let long = Tar::new().raw_extension(b'K', "a\0b\0").symlink("s", "x");
    refuses_last(&[], long, "", "NUL in a long name");
}

#[test]
fn a_symlink_target_is_kept_as_it_is() {
    let targets = ["..//x/", "/", "../../../../etc/passwd", ".wh.x", "a/./b"];
    for target in targets {
        let accepted = accepts([Tar::new().symlink("s", target)]);
        let seen = std::fs::read_link(accepted.path("s")).unwrap();
        assert_eq!(seen.to_str(), Some(target));
    }
}

#[test]
fn a_symlink_directory_fifo_or_device_with_a_size_is_refused() {
    for kind in *b"23456" {
        let header = || Header::new(kind, "a").link("t").device(1, 3);
        let why = format!("an entry of type {} with 512 bytes", char::from(kind));
        let claimed = Tar::new().add(header().size(512), "").file("b", "").end();
        refuses_at(&[], &claimed, 0, "a", &why);
        refuses_last(&[], Tar::new().add(header(), [b'x'; 512]), "a", &why);
        let pax = Tar::new().pax(&[("size", b"512")]).add(header(), "");
        refuses_last(&[], pax, "a", &why);
        let pax = Tar::new()
            .pax(&[("size", b"0")])
            .add(header().size(512), "");
        accepts([pax.file("b", "b")]);
    }
}
