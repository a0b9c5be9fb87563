//! The overlay's rules, one sentence a test, on entries made by hand.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::tree::{Item, Node, Nodes};

/// Nodes in memory.
#[derive(Default)]
struct Memory(RefCell<HashMap<TreeId, Vec<u8>>>);

impl Nodes for Memory {
    fn node(&self, id: &TreeId) -> Result<Node> {
        Ok(Node::decode(&self.0.borrow()[id]).unwrap())
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn entry(text: &str, action: Action) -> Entry {
    Entry {
        at: 0,
        path: path(text),
        action,
    }
}

fn file(text: &str) -> Entry {
    entry(
        text,
        Action::File(
            Meta::default(),
            Payload {
                ordinal: None,
                size: 0,
            },
        ),
    )
}

fn dir(text: &str) -> Entry {
    entry(
        text,
        Action::Dir(Meta {
            mode: 0o700,
            ..Meta::default()
        }),
    )
}

fn link(text: &str, target: &str) -> Entry {
    entry(text, Action::Link(path(target)))
}

fn symlink(text: &str, target: &str) -> Entry {
    entry(
        text,
        Action::Symlink(Meta::default(), target.as_bytes().into()),
    )
}

fn whiteout(text: &str) -> Entry {
    entry(text, Action::Whiteout)
}

fn opaque(text: &str) -> Entry {
    entry(text, Action::Opaque)
}

/// Applies layers one after another, each on the encoded tree of those below it, and lists the result.
fn merge(layers: &[&[Entry]]) -> Result<Vec<String>> {
    let memory = Memory::default();
    let mut root = None;
    let mut warnings = Warnings::default();
    let mut together = Overlay::new(&memory, None).unwrap();
    for entries in layers {
        let layer = LayerEntries {
            name: "layer",
            entries,
            contents: &[],
        };
        let mut overlay = Overlay::new(&memory, root)?;
        overlay.apply(&layer, &mut warnings)?;
        let merged = overlay.finish()?;
        memory.0.borrow_mut().extend(merged.nodes);
        // One overlay that takes all layers comes to the same tree as one a layer.
        together.apply(&layer, &mut warnings)?;
        assert_eq!(together.finish()?.root, merged.root);
        root = Some(merged.root);
    }
    let mut listed = Vec::new();
    list(&memory, &root.unwrap(), "", &mut listed);
    Ok(listed)
}

fn list(memory: &Memory, id: &TreeId, prefix: &str, listed: &mut Vec<String>) {
    for (name, item) in memory.node(id).unwrap().entries {
        let path = format!("{prefix}{name}");
        match item {
            Item::Dir(below) => {
                listed.push(format!("{path}/"));
                list(memory, &below.id, &format!("{path}/"), listed);
            }
            Item::Leaf(leaf) => listed.push(match (leaf.kind, leaf.group) {
                (Kind::Symlink(target), _) => format!("{path}@{}", crate::path::escape(&target)),
                (_, Some(group)) => format!("{path}={}", &crate::digest::hex(&group.0)[..4]),
                _ => path,
            }),
        }
    }
}

#[test]
fn a_whiteout_takes_the_lower_file_and_leaves_the_new_one_in_either_order() {
    let lower = [file("a/x"), file("a/y")];
    assert_eq!(merge(&[&lower, &[whiteout("a/x")]]).unwrap(), ["a/", "a/y"]);
    assert_eq!(
        merge(&[&lower, &[whiteout("a/x"), symlink("a/x", "n")]]).unwrap(),
        ["a/", "a/x@n", "a/y"]
    );
    assert_eq!(
        merge(&[&lower, &[symlink("a/x", "n"), whiteout("a/x")]]).unwrap(),
        ["a/", "a/x@n", "a/y"]
    );
}

#[test]
fn an_opaque_directory_hides_what_is_below_it_never_its_own_siblings() {
    let lower = [file("a/x"), file("a/b/y")];
    for upper in [[file("a/z"), opaque("a")], [opaque("a"), file("a/z")]] {
        assert_eq!(merge(&[&lower, &upper]).unwrap(), ["a/", "a/z"]);
    }
}

#[test]
fn a_child_added_below_a_directory_stays_when_the_directory_is_whited_out() {
    let merged = merge(&[&[file("sub/old")], &[file("sub/new"), whiteout("sub")]]).unwrap();
    assert_eq!(merged, ["sub/", "sub/new"]);
}

#[test]
fn marks_of_what_is_not_there_have_no_effect() {
    let lower = [file("f"), symlink("dangling", "nowhere")];
    let upper = [
        whiteout("no/x"),
        whiteout("f/x"),
        opaque("no"),
        opaque("f"),
        opaque("dangling"),
        whiteout("nothing"),
    ];
    assert_eq!(merge(&[&lower, &upper]).unwrap(), ["dangling@nowhere", "f"]);
}

#[test]
fn a_parent_that_is_a_symlink_leads_inside_the_tree() {
    let lower = [
        dir("usr/lib"),
        symlink("lib", "/usr/lib"),
        symlink("up", "../../../usr"),
    ];
    let merged = merge(&[
        &lower,
        &[file("lib/a"), file("up/lib/b"), whiteout("lib/none")],
    ])
    .unwrap();
    assert_eq!(
        merged,
        [
            "lib@/usr/lib",
            "up@../../../usr",
            "usr/",
            "usr/lib/",
            "usr/lib/a",
            "usr/lib/b"
        ]
    );
    let merged = merge(&[&lower, &[file("lib/a")], &[whiteout("lib/a")]]).unwrap();
    assert_eq!(
        merged,
        ["lib@/usr/lib", "up@../../../usr", "usr/", "usr/lib/"]
    );
}

#[test]
fn a_parent_that_dangles_loops_or_is_a_file_of_the_same_layer_is_refused() {
    for layer in [
        [symlink("a", "nowhere"), file("a/x")],
        [symlink("a", "a"), file("a/x")],
        [file("a"), file("a/x")],
        [file("b"), file("none/../x")],
        // `none` was made on the way to the root.
        [file("b"), dir("none/..")],
    ] {
        assert_eq!(merge(&[&layer]).unwrap_err().exit_code(), 4);
    }
}

#[test]
fn a_child_below_a_file_of_a_lower_layer_makes_it_a_directory() {
    assert_eq!(
        merge(&[&[file("a")], &[file("a/x")]]).unwrap(),
        ["a/", "a/x"]
    );
}

#[test]
fn a_file_and_a_directory_replace_each_other_across_layers() {
    let layers: [&[Entry]; 5] = [
        &[file("a")],
        &[dir("a"), file("a/x")],
        &[file("a")],
        &[dir("a")],
        &[symlink("a", "t")],
    ];
    assert_eq!(merge(&layers[..2]).unwrap(), ["a/", "a/x"]);
    assert_eq!(merge(&layers[..4]).unwrap(), ["a/"]);
    assert_eq!(merge(&layers).unwrap(), ["a@t"]);
}

#[test]
fn a_link_joins_its_target_in_a_lower_layer_too() {
    let merged = merge(&[&[file("a/x"), file("b/y")], &[link("z", "a/x")]]).unwrap();
    let group = merged[1].split_once('=').unwrap().1;
    assert_eq!(
        merged,
        [
            "a/",
            &format!("a/x={group}"),
            "b/",
            "b/y",
            &format!("z={group}")
        ]
    );
}

#[test]
fn what_has_one_name_left_is_linked_no_more() {
    let lower = [file("a/x"), link("b/y", "a/x"), link("c", "a/x")];
    let merged = merge(&[&lower, &[whiteout("a/x")]]).unwrap();
    assert_eq!(merged[2].split_once('=').unwrap().0, "b/y");
    let merged = merge(&[&lower, &[whiteout("a/x"), whiteout("b/y")]]).unwrap();
    assert_eq!(merged, ["a/", "b/", "c"]);
    let merged = merge(&[&lower, &[whiteout("c")], &[file("b/y")]]).unwrap();
    assert_eq!(merged, ["a/", "a/x", "b/", "b/y"]);
}

#[test]
fn a_group_is_named_by_its_first_path_however_it_came_about() {
    let one = merge(&[&[file("b"), link("a", "b"), link("c", "b")]]).unwrap();
    let other = merge(&[&[file("c")], &[link("b", "c")], &[link("a", "b")]]).unwrap();
    assert_eq!(one, other);
}

#[test]
fn a_link_to_nothing_a_directory_itself_or_what_is_whited_out_is_refused() {
    let lower = [file("x"), dir("d")];
    for upper in [
        &[link("y", "none")][..],
        &[link("y", "d")],
        &[link("x", "x")],
        &[link("y", "x"), whiteout("x")],
        &[whiteout("x"), link("y", "x")],
        &[link("y", "..")],
    ] {
        assert_eq!(
            merge(&[&lower, upper]).unwrap_err().exit_code(),
            4,
            "{upper:?}"
        );
    }
}

#[test]
fn a_link_to_a_symlink_is_one_to_the_symlink_itself() {
    let merged = merge(&[&[symlink("s", "nowhere"), link("t", "s")]]).unwrap();
    assert_eq!(merged, ["s@nowhere", "t@nowhere"]);
}

#[test]
fn links_into_what_aufs_kept_are_resolved() {
    let layer = [
        file(".wh..wh.plnk/1.2"),
        link("a", ".wh..wh.plnk/1.2"),
        link("b", ".wh..wh.plnk/1.2"),
    ];
    let merged = merge(&[&layer]).unwrap();
    assert_eq!(merged.len(), 2);
    assert!(merged[0].starts_with("a=") && merged[1].starts_with("b="));
}

#[test]
fn layers_that_replace_the_same_files_take_the_memory_of_one() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory, None).unwrap();
    let mut taken = Vec::new();
    for _ in 0..5 {
        let layer = LayerEntries {
            name: "l",
            entries: &[file("a/b/x"), file("a/y"), opaque("a"), file("a/c/d/z")],
            contents: &[],
        };
        overlay.apply(&layer, &mut Warnings::default()).unwrap();
        taken.push((overlay.arena.leaves.len(), overlay.arena.dirs.len()));
    }
    assert_eq!(taken, [taken[0]; 5]);
}

#[test]
fn a_link_below_what_it_links_to_keeps_the_inode_that_its_way_replaces() {
    let upper = [link("x/y", "x"), symlink("s", "t"), symlink("u", "v")];
    let merged = merge(&[&[file("x")], &upper]).unwrap();
    assert_eq!(merged, ["s@t", "u@v", "x/", "x/y"]);
}

#[test]
fn a_layer_makes_no_more_directories_than_it_may() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory, None).unwrap();
    overlay.limit_directories(3);
    let mut apply = |entries: &[Entry]| {
        let layer = LayerEntries {
            name: "l",
            entries,
            contents: &[],
        };
        overlay.apply(&layer, &mut Warnings::default())
    };
    // Those that no entry describes count too, and each layer begins anew.
    apply(&[file("a/b/c/x"), file("a/b/c/y")]).unwrap();
    apply(&[file("b/x"), dir("c"), dir("d")]).unwrap();
    let refused = apply(&[dir("e"), file("f/g/h/x")]).unwrap_err();
    assert_eq!(refused.exit_code(), 4);
    assert!(refused.to_string().contains("--max-entries"), "{refused}");
}

#[test]
fn a_directory_that_comes_back_as_an_implicit_parent_is_a_new_one() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory, None).unwrap();
    let mut warnings = Warnings::default();
    let meta = Meta {
        mode: 0o700,
        uid: 5,
        ..Meta::default()
    };
    for entries in [
        vec![entry("d", Action::Dir(meta)), file("d/x")],
        vec![whiteout("d"), file("d/y")],
    ] {
        overlay
            .apply(
                &LayerEntries {
                    name: "l",
                    entries: &entries,
                    contents: &[],
                },
                &mut warnings,
            )
            .unwrap();
    }
    let merged = overlay.finish().unwrap();
    memory.0.borrow_mut().extend(merged.nodes);
    let root = memory.node(&merged.root).unwrap();
    let Some(Item::Dir(d)) = root.get(b"d") else {
        panic!("no directory")
    };
    assert_eq!(memory.node(&d.id).unwrap().meta, Meta::implicit_dir());
}

#[test]
fn a_mark_in_a_directory_that_replaces_a_symlink_is_about_that_directory() {
    let lower = [file("d/x"), symlink("way", "d")];
    for upper in [
        [dir("way"), opaque("way"), whiteout("way/x")],
        [whiteout("way/x"), opaque("way"), dir("way")],
    ] {
        assert_eq!(merge(&[&lower, &upper]).unwrap(), ["d/", "d/x", "way/"]);
    }
}

/// Returns entries of few names, so that they meet.
fn any_entry() -> impl Strategy<Value = Entry> {
    let names = ["a", "b", "a/b", "b/a", "a/b/c", "a/../b", "b/../a/c", "c"];
    let name = proptest::sample::select(names.to_vec());
    (name.clone(), name, 0..5).prop_map(|(name, other, kind)| match kind {
        0 => file(name),
        1 => dir(name),
        2 => symlink(name, other),
        3 => link(name, other),
        _ => symlink(name, &format!("/{other}")),
    })
}

fn any_mark() -> impl Strategy<Value = Entry> {
    let names = ["a", "b", "a/b", "b/a", "a/b/c", "a/../b", "c/a", "b/c"];
    let name = proptest::sample::select(names.to_vec());
    (name, any::<bool>()).prop_map(|(name, all)| if all { opaque(name) } else { whiteout(name) })
}

proptest! {
    #[test]
    fn where_marks_stand_in_their_layer_means_nothing(
        lower in vec(any_entry(), 0..6),
        upper in vec(any_entry(), 0..5),
        marks in vec((any_mark(), any::<Index>()), 0..4),
    ) {
        let told = |layer: &[Entry]| merge(&[&lower[..], layer]).map_err(|e| e.to_string());
        let first: Vec<Entry> = marks.iter().map(|(mark, _)| mark.clone()).collect();
        let mut among = upper.clone();
        for (mark, at) in &marks {
            let at = at.index(among.len() + 1);
            among.insert(at, mark.clone());
        }
        prop_assert_eq!(told(&[&first[..], &upper].concat()), told(&among));
    }
}
