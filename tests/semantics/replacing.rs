//! The table "Paths": what replaces what, across layers and within one.

use crate::layout::Layer;
use crate::tarball::{Header, Tar};
use crate::world::{accepts, refuses_last};

#[test]
fn the_upper_of_file_directory_and_symlink_replaces_the_lower_across_five_layers() {
    let layers = [
        Tar::new().file("a", "file"),
        Tar::new().dir("a").file("a/x", "x"),
        Tar::new().file("a", "again"),
        Tar::new().symlink("a", "b").dir("b"),
        Tar::new().dir("a").file("a/y", "y"),
    ];
    let trees: [&[&str]; 5] = [
        &["a=file"],
        &["a/", "a/x=x"],
        &["a=again"],
        &["a@b", "b/"],
        &["a/", "a/y=y", "b/"],
    ];
    for (count, tree) in trees.iter().enumerate() {
        accepts(layers[..=count].to_vec()).tree(tree).warns(&[]);
    }
}

#[test]
fn every_kind_replaces_every_other_kind() {
    type Adds = fn(Tar) -> Tar;
    let kinds: [(Adds, &str); 4] = [
        (|t| t.file("a", "file"), "a=file"),
        (|t| t.dir("a"), "a/"),
        (|t| t.symlink("a", "t"), "a@t"),
        (|t| t.fifo("a"), "a|"),
    ];
    for (lower, _) in kinds {
        for (upper, wanted) in kinds {
            accepts([lower(Tar::new()), upper(Tar::new())]).tree(&[wanted]);
        }
    }
}

#[test]
fn a_directory_over_a_directory_takes_the_upper_metadata_and_keeps_the_children() {
    let xattr = ("SCHILY.xattr.user.old", &b"1"[..]);
    let lower = Tar::new()
        .pax(&[xattr])
        .add(Header::new(b'5', "a").mode(0o700), "");
    let upper = Header::new(b'5', "a/").mode(0o1777).uid(1).gid(2).mtime(3);
    accepts([lower.file("a/x", "x"), Tar::new().add(upper, "")])
        .tree(&["a/", "a/x=x"])
        .stat("a", "1777 1:2 3.000000000")
        .xattrs("a", &[]);
}

#[test]
fn a_child_below_a_file_of_a_lower_layer_makes_it_an_implicit_directory() {
    let kinds: [fn(Tar) -> Tar; 2] = [|t| t.file("a", "a"), |t| t.fifo("a")];
    for lower in kinds {
        accepts([lower(Tar::new()), Tar::new().file("a/b/x", "x")])
            .tree(&["a/", "a/b/", "a/b/x=x"])
            .stat("a", "0755 0:0 0.000000000")
            .warns(&[]);
    }
    // By way of a link to the very file.
    accepts([Tar::new().file("a", "a"), Tar::new().link("a/x", "a")]).tree(&["a/", "a/x=a"]);
}

#[test]
fn a_child_below_a_file_of_the_same_layer_is_refused() {
    let why = "its parent 'a' is no directory in the same layer";
    let file = Tar::new().file("a", "a");
    refuses_last(&[], file.clone().file("a/x", "x"), "a/x", why);
    refuses_last(
        &[Tar::new().dir("a")],
        file.clone().file("a/x", "x"),
        "a/x",
        why,
    );
    refuses_last(&[], Tar::new().fifo("a").dir("a/b"), "a/b", why);
    // A directory of the same layer that a file replaced is one no more.
    let replaced = Tar::new().dir("a").file("a/x", "x").file("a", "a");
    refuses_last(&[], replaced.file("a/y", "y"), "a/y", why);
}

#[test]
fn the_same_path_twice_in_one_layer_is_the_last_of_both_with_a_warning() {
    let twice = Tar::new().file("a", "one").file("./a", "two");
    accepts([twice])
        .tree(&["a=two"])
        .warns(&[("duplicate-path", 1)])
        .strictly_refused(&["entry 'a' at byte 1024: a path comes twice"]);
    let thrice = Tar::new().file("a", "one").symlink("a", "two").fifo("a");
    accepts([thrice])
        .tree(&["a|"])
        .warns(&[("duplicate-path", 2)]);
    let dirs = Tar::new()
        .dir("d")
        .add(Header::new(b'5', "d/").mode(0o700), "");
    accepts([dirs])
        .tree(&["d/"])
        .stat("d", "0700 0:0 0.000000000")
        .warns(&[("duplicate-path", 1)]);
    let by_symlink = Tar::new()
        .dir("d")
        .symlink("way", "d")
        .file("d/a", "one")
        .file("way/a", "two");
    accepts([by_symlink])
        .tree(&["d/", "d/a=two", "way@d"])
        .warns(&[("duplicate-path", 1)]);
}

#[test]
fn a_directory_that_a_file_of_its_own_layer_replaces_and_back_loses_its_children() {
    let there_and_back = Tar::new()
        .dir("a")
        .file("a/x", "x")
        .link("kept", "a/x")
        .file("a", "file")
        .dir("a")
        .file("a/y", "y");
    accepts([there_and_back])
        .tree(&["a/", "a/y=y", "kept=x"])
        .warns(&[("duplicate-path", 2)]);
}

#[test]
fn a_hundred_layers_are_one_tree() {
    let layers: Vec<Layer> = (0..100)
        .map(|n| {
            let tar = Tar::new()
                .file("same", format!("{n}"))
                .file(format!("d/f{n:02}"), "f");
            let tar = if n % 2 == 1 {
                tar.file(format!("d/.wh.f{:02}", n - 1), "")
            } else {
                tar
            };
            if n % 3 == 0 {
                tar.into()
            } else {
                Layer::gzip(&tar.end())
            }
        })
        .collect();
    let mut tree: Vec<String> = (1..100)
        .step_by(2)
        .map(|n| format!("d/f{n:02}=f"))
        .collect();
    tree.insert(0, "d/".to_owned());
    tree.push("same=99".to_owned());
    let tree: Vec<&str> = tree.iter().map(String::as_str).collect();
    accepts(layers).tree(&tree).warns(&[]);
}
