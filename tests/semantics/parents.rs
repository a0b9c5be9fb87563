//! The table "Paths": parents without an entry, and parents that are symlinks.

use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{accepts, refuses_last};

#[test]
fn parents_without_an_entry_are_what_the_lower_layer_had() {
    let lower = Tar::new().add(
        Header::new(b'5', "a").mode(0o2750).uid(3).gid(4).mtime(5),
        "",
    );
    accepts([lower, Tar::new().file("a/b/c", "c")])
        .tree(&["a/", "a/b/", "a/b/c=c"])
        .stat("a", "2750 3:4 5.000000000")
        .stat("a/b", "0755 0:0 0.000000000");
}

#[test]
fn parents_without_an_entry_are_the_same_on_every_run_and_in_every_order() {
    let names = ["a/b/c", "a/d", "e/f/g"];
    let forward = names
        .iter()
        .fold(Tar::new(), |tar, name| tar.file(name, ""));
    let backward = names
        .iter()
        .rev()
        .fold(Tar::new(), |tar, name| tar.file(name, ""));
    for tar in [forward.clone(), backward, forward] {
        let imported = accepts([tar]);
        for dir in ["a", "a/b", "e", "e/f"] {
            assert_eq!(tree::stat(&imported.path(dir)), "0755 0:0 0.000000000");
        }
    }
}

#[test]
fn a_later_entry_for_an_implicit_parent_sets_its_metadata() {
    let dir = || Header::new(b'5', "a").mode(0o700).mtime(9);
    let after = Tar::new().file("a/b/x", "x").add(dir(), "");
    let before = Tar::new().add(dir(), "").file("a/b/x", "x");
    for tar in [after, before] {
        accepts([tar])
            .tree(&["a/", "a/b/", "a/b/x=x"])
            .stat("a", "0700 0:0 9.000000000")
            .warns(&[]);
    }
}

#[test]
fn a_parent_that_is_a_symlink_is_resolved_inside_the_tree() {
    let lower = || {
        let tar = Tar::new()
            .dir("usr")
            .dir("usr/lib")
            .symlink("lib", "usr/lib");
        tar.symlink("abs", "/usr/lib")
            .symlink("out", "../../../usr")
            .symlink("twice", "lib")
    };
    let rest = [
        "abs@/usr/lib",
        "lib@usr/lib",
        "out@../../../usr",
        "twice@lib",
        "usr/",
        "usr/lib/",
    ];
    for way in ["lib", "abs", "out/lib", "twice", "out/../lib"] {
        let mut tree = rest.to_vec();
        tree.push("usr/lib/new/");
        tree.push("usr/lib/new/x=x");
        let name = format!("{way}/new/x");
        accepts([lower(), Tar::new().file(&name, "x")]).tree(&tree);
        // And in the same layer.
        accepts([lower().file(&name, "x")]).tree(&tree);
    }
}

#[test]
fn a_parent_that_is_a_symlink_into_the_host_leads_inside_the_tree() {
    let tar = Tar::new()
        .symlink("way", "/tmp")
        .dir("tmp")
        .file("way/x", "caught");
    accepts([tar]).tree(&["tmp/", "tmp/x=caught", "way@/tmp"]);
}

#[test]
fn a_parent_that_dangles_loops_or_leads_to_no_directory_is_refused() {
    let lower = || {
        let tar = Tar::new()
            .file("f", "f")
            .symlink("dangling", "none")
            .symlink("self", "self");
        let tar = tar
            .symlink("one", "two")
            .symlink("two", "one")
            .symlink("file", "f");
        tar.symlink("below", "f/x")
            .symlink("up", "none/../f")
            .fifo("p")
            .symlink("fifo", "p")
    };
    for (parent, why) in [
        (
            "dangling",
            "the way to its parent ends at 'none', which is no directory",
        ),
        (
            "file",
            "the way to its parent ends at 'f', which is no directory",
        ),
        (
            "below",
            "the way to its parent ends at 'f', which is no directory",
        ),
        (
            "up",
            "the way to its parent ends at 'none', which is no directory",
        ),
        (
            "fifo",
            "the way to its parent ends at 'p', which is no directory",
        ),
        ("self", "a parent leads through too many symlinks"),
        ("one", "a parent leads through too many symlinks"),
    ] {
        let name = format!("{parent}/x");
        refuses_last(&[lower()], Tar::new().file(&name, "x"), &name, why);
        refuses_last(&[], lower().file(&name, "x"), &name, why);
    }
}

#[test]
fn a_way_of_40_symlinks_is_fine_and_one_of_41_is_refused() {
    let chain = |count: usize| {
        (0..count).fold(Tar::new().dir("way0"), |tar, n| {
            tar.symlink(format!("way{}", n + 1), format!("way{n}"))
        })
    };
    let accepted = accepts([chain(40).file("way40/x", "x")]);
    assert!(accepted.path("way0/x").exists());
    let why = "a parent leads through too many symlinks";
    refuses_last(&[], chain(41).file("way41/x", "x"), "way41/x", why);
}
