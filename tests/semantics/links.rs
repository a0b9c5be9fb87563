//! The table "Links".

use std::os::unix::fs::MetadataExt as _;

use crate::layout::Layer;
use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{World, accepts, refuses_at, refuses_last};

fn lower() -> Tar {
    Tar::new().dir("d").file("d/x", "x").file("y", "y")
}

#[test]
fn a_link_to_a_file_of_a_lower_layer_makes_both_names_one_inode() {
    let upper = Tar::new().link("new", "d/x");
    accepts([lower(), upper.clone()]).tree(&["d/", "d/x=x ~1", "new=x ~1", "y=y"]);
    let layers = [Layer::gzip(&lower().end()), Layer::zstd(&upper.end())];
    accepts(layers).tree(&["d/", "d/x=x ~1", "new=x ~1", "y=y"]);
    let third = Tar::new().link("third", "new").link("d/fourth", "d/x");
    accepts([lower(), Tar::new().link("new", "./d//x"), third]).tree(&[
        "d/",
        "d/fourth=x ~1",
        "d/x=x ~1",
        "new=x ~1",
        "third=x ~1",
        "y=y",
    ]);
}

#[test]
fn a_link_is_one_however_its_target_is_spelled_and_in_every_dialect() {
    let far = ["n".repeat(120), "x".to_owned()].join("/");
    let lower = || lower().long_name(&far).file("short", "far");
    let tars = [
        Tar::new().link("new", "/d/../d/./x"),
        Tar::new().link("new", "d/x/"),
        Tar::new().add(Header::v7("new").field(156, b"1").link("d/x"), ""),
        Tar::new().add(Header::gnu(b'1', "new").link("d/x"), ""),
        Tar::new().long_link("d/x").link("new", "other"),
        Tar::new().pax(&[("linkpath", b"d/x")]).link("new", "other"),
    ];
    for tar in tars {
        let imported = accepts([lower(), tar]).warns(&[]);
        let ino = |name| std::fs::metadata(imported.path(name)).unwrap().ino();
        assert_eq!(ino("new"), ino("d/x"));
    }
    for tar in [
        Tar::new().long_link(&far).link("new", "other"),
        Tar::new()
            .pax(&[("linkpath", far.as_bytes())])
            .link("new", "other"),
    ] {
        let imported = accepts([lower(), tar]);
        assert_eq!(std::fs::read(imported.path("new")).unwrap(), b"far");
    }
}

#[test]
fn a_link_to_what_its_own_layer_whites_out_is_refused_before_and_after() {
    let why = "a link to 'd/x', which is not there";
    let lower = &[lower()];
    refuses_last(
        lower,
        Tar::new().file("d/.wh.x", "").link("a", "d/x"),
        "a",
        why,
    );
    refuses_last(
        lower,
        Tar::new().file(".wh.d", "").link("a", "d/x"),
        "a",
        why,
    );
    refuses_last(
        lower,
        Tar::new().file("d/.wh..wh..opq", "").link("a", "d/x"),
        "a",
        why,
    );
    let late = Tar::new().link("a", "d/x").file("d/.wh.x", "").end();
    refuses_at(lower, &late, 0, "a", why);
    let late = Tar::new().link("a", "d/x").file("d/.wh..wh..opq", "").end();
    refuses_at(lower, &late, 0, "a", why);
}

#[test]
fn a_link_to_what_its_own_layer_whites_out_and_brings_again_is_one_to_the_new() {
    let upper = Tar::new()
        .file("d/.wh.x", "")
        .file("d/x", "new")
        .link("a", "d/x");
    accepts([lower(), upper]).tree(&["a=new ~1", "d/", "d/x=new ~1", "y=y"]);
}

#[test]
fn a_link_to_a_directory_is_refused() {
    let lower = &[lower()];
    let to = |target| Tar::new().link("a", target);
    refuses_last(lower, to("d"), "a", "a link to the directory 'd'");
    refuses_last(lower, to("d/.."), "a", "a link to the directory 'd/..'");
    refuses_last(lower, to("/"), "a", "a link to the directory '.'");
    refuses_last(lower, to("../.."), "a", "a link to the directory '../..'");
}

#[test]
fn a_link_to_itself_is_refused_however_it_is_spelled() {
    let lower = &[lower().symlink("way", "d")];
    for (name, target) in [("d/x", "d/x"), ("d/x", "./d/../d/x"), ("way/x", "d/x")] {
        refuses_last(
            lower,
            Tar::new().link(name, target),
            name,
            "a link to itself",
        );
    }
    let why = "a link to 'new', which is not there";
    refuses_last(lower, Tar::new().link("new", "new"), "new", why);
}

#[test]
fn a_link_to_nothing_or_before_its_target_is_refused() {
    let why = "a link to 'none', which is not there";
    refuses_last(&[lower()], Tar::new().link("a", "none"), "a", why);
    let early = Tar::new().link("a", "none").file("none", "late").end();
    refuses_at(&[lower()], &early, 0, "a", why);
    for target in ["none/x", "y/x", "d/none", "none/../y"] {
        let why = format!("a link to '{target}', which is not there");
        refuses_last(&[lower()], Tar::new().link("a", target), "a", &why);
    }
    refuses_last(&[], Tar::new().link("a", ""), "a", "a link to nothing");
}

#[test]
fn a_link_to_a_target_too_odd_to_be_there_is_refused() {
    let long = "n".repeat(256);
    let tar = Tar::new().long_link(&long).link("a", "x");
    refuses_last(
        &[],
        tar,
        "a",
        "its target: a name of 256 bytes, more than 255",
    );
    let tar = Tar::new().link("a", ".wh.x").file("b", "").end();
    refuses_at(&[], &tar, 0, "a", "a link to '.wh.x', which is not there");
    let tar = Tar::new().symlink("loop", "loop").link("a", "loop/x");
    refuses_last(&[], tar, "a", "a link to 'loop/x', which is not there");
}

#[test]
fn a_link_to_a_fifo_or_device_is_a_link() {
    accepts([Tar::new().fifo("p").link("q", "p")]).tree(&["p| ~1", "q| ~1"]);
    if !crate::world::is_root() {
        return;
    }
    let tar = Tar::new()
        .char("c", 1, 3)
        .block("b", 7, 0)
        .link("d", "c")
        .link("a", "b");
    accepts([tar]).tree(&["a#7,0 ~1", "b#7,0 ~1", "c%1,3 ~2", "d%1,3 ~2"]);
    let lower = Tar::new().char("c", 1, 3);
    accepts([lower, Tar::new().link("d", "c")]).tree(&["c%1,3 ~1", "d%1,3 ~1"]);
}

#[test]
fn a_link_to_an_empty_file_is_a_link() {
    accepts([Tar::new().file("a", "").file("b", "").link("c", "a")])
        .tree(&["a= ~1", "b=", "c= ~1"]);
}

#[test]
fn a_link_to_a_symlink_is_a_link_to_the_symlink_itself() {
    let tar = Tar::new().symlink("s", "nowhere").link("t", "s");
    accepts([tar]).tree(&["s@nowhere ~1", "t@nowhere ~1"]);
    let lower = lower().symlink("s", "d/x");
    let upper = Tar::new().link("t", "s");
    accepts([lower, upper]).tree(&["d/", "d/x=x", "s@d/x ~1", "t@d/x ~1", "y=y"]);
}

#[test]
fn a_link_through_a_symlinked_directory_is_resolved_inside_the_tree() {
    let lower = || lower().symlink("way", "/d").symlink("up", "d/..");
    for (name, target) in [
        ("d/new", "way/x"),
        ("way/new", "d/x"),
        ("way/new", "up/way/x"),
    ] {
        accepts([lower(), Tar::new().link(name, target)]).tree(&[
            "d/",
            "d/new=x ~1",
            "d/x=x ~1",
            "up@d/..",
            "way@/d",
            "y=y",
        ]);
    }
}

#[test]
fn metadata_on_the_link_entry_that_differs_is_ignored() {
    let lower = Tar::new().add(
        Header::new(b'0', "x").mode(0o640).uid(1).gid(2).mtime(3),
        "x",
    );
    let link = Header::new(b'1', "y")
        .link("x")
        .mode(0o4777)
        .uid(9)
        .gid(9)
        .mtime(9);
    let upper = Tar::new()
        .pax(&[("SCHILY.xattr.user.a", b"1")])
        .add(link, "");
    accepts([lower, upper])
        .tree(&["x=x ~1", "y=x ~1"])
        .stat("x", "0640 1:2 3.000000000")
        .xattrs("y", &[])
        .warns(&[]);
}

#[test]
fn a_link_entry_with_a_size_is_refused() {
    let header = || Header::new(b'1', "a").link("d/x");
    let why = "an entry of type 1 with 512 bytes";
    let lower = &[lower()];
    refuses_last(lower, Tar::new().add(header(), [b'x'; 512]), "a", why);
    let claimed = Tar::new().add(header().size(512), "").file("b", "").end();
    refuses_at(lower, &claimed, 0, "a", why);
    refuses_last(
        lower,
        Tar::new().pax(&[("size", b"512")]).add(header(), ""),
        "a",
        why,
    );
}

#[test]
fn rewriting_one_name_of_a_linked_pair_detaches_that_name_only() {
    let lower = || Tar::new().file("a", "old").link("b", "a").link("c", "a");
    accepts([lower(), Tar::new().file("a", "new")]).tree(&["a=new", "b=old ~1", "c=old ~1"]);
    accepts([lower(), Tar::new().file("b", "new")]).tree(&["a=old ~1", "b=new", "c=old ~1"]);
    // The same bytes again are a new file too.
    accepts([lower(), Tar::new().file("b", "old")]).tree(&["a=old ~1", "b=old", "c=old ~1"]);
    accepts([
        lower(),
        Tar::new().file(".wh.a", ""),
        Tar::new().file(".wh.b", ""),
    ])
    .tree(&["c=old"]);
    // In one layer too.
    accepts([lower().file("a", "new")])
        .tree(&["a=new", "b=old ~1", "c=old ~1"])
        .warns(&[("duplicate-path", 1)]);
}

#[test]
fn a_link_to_something_in_a_directory_that_its_layer_replaces_later_keeps_it() {
    let upper = Tar::new().link("kept", "d/x").file("d", "file");
    accepts([lower(), upper]).tree(&["d=file", "kept=x", "y=y"]);
    let upper = Tar::new()
        .dir("e")
        .file("e/f", "f")
        .link("kept", "e/f")
        .symlink("e", "d");
    accepts([lower(), upper]).tree(&["d/", "d/x=x", "e@d", "kept=f", "y=y"]);
}

#[test]
fn a_checkout_has_exactly_the_images_link_groups() {
    let tar = Tar::new()
        .file("a", "same")
        .file("b", "same")
        .link("a2", "a")
        .link("b2", "b")
        .file("c", "same")
        .file("d", "");
    let imported = accepts([tar.file("e", "")]).tree(&[
        "a=same ~1",
        "a2=same ~1",
        "b=same ~2",
        "b2=same ~2",
        "c=same",
        "d=",
        "e=",
    ]);
    for link in ["hardlink", "reflink", "copy"] {
        let root = imported.world().path(&format!("by-{link}"));
        let args = ["checkout", "--link", link, "image", root.to_str().unwrap()];
        imported.world().ok(&args);
        assert_eq!(tree::list(&root), tree::list(&imported.root), "{link}");
    }
}

/// Checks out a file of many names, on a file system that cannot give one inode that many.
fn splits(world: &World, names: u64, prefix: &str, most: u64) {
    let mut tar = Tar::new().file("first", "linked");
    for n in 0..names {
        tar = tar.long_name(format!("{prefix}{n}")).link("short", "first");
    }
    let layout = world.layout();
    layout.index(&[layout.image(&[Layer::gzip(&tar.end())])]);
    world.ok(&["import", &layout.source()]);
    let root = world.path("root");
    let report = world.ok(&["checkout", "image", root.to_str().unwrap()]);
    let warned = &report["report"]["warnings"]["link group split"];
    let mut inodes = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(&root).unwrap() {
        *inodes
            .entry(entry.unwrap().metadata().unwrap().ino())
            .or_insert(0) += 1;
    }
    assert_eq!(inodes.values().sum::<u64>(), names + 1);
    let wanted = (names + 1).div_ceil(most);
    assert_eq!(
        inodes.len() as u64,
        wanted,
        "as many inodes as are needed: {inodes:?}"
    );
    assert_eq!(warned["count"], wanted - 1);
    let first = warned["first"].as_str().unwrap();
    assert!(
        first.ends_with("more names than an inode can have"),
        "{first}"
    );
}

#[test]
fn more_names_than_the_file_system_can_hold_are_as_many_inodes_as_are_needed_with_a_warning() {
    // Without `extref` a directory's names of one inode have to fit one item of a node.
    let mkfs = ["mkfs.btrfs", "-q", "-O", "^extref", "-n", "4096"];
    if let Some(world) = World::mounted(&mkfs) {
        splits(&world, 50, &"n".repeat(200), 18);
    }
}

#[test]
fn more_than_65000_names_on_ext4_are_two_inodes_with_a_warning() {
    if let Some(world) = World::mounted(&["mkfs.ext4", "-q", "-O", "^has_journal"]) {
        splits(&world, 65_010, "", 65_000);
    }
}
