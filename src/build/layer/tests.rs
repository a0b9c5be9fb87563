//! Two random trees, the entries between them, and what comes of putting those over the first; then the rules for hard
//! links, one by one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::convert::overlay::{LayerEntries, Overlay};
use crate::digest::ContentId;
use crate::entry::{Action, Entry, Payload};
use crate::meta::Mtime;
use crate::recipe::ContentRef;
use crate::tree::{Content, Device, Kind};
use crate::warning::Warnings;
use crate::watch::Unwatched;

/// Nodes in memory, and how many were read.
#[derive(Default)]
struct Memory {
    nodes: BTreeMap<TreeId, Vec<u8>>,
    read: RefCell<u64>,
}

impl Nodes for Memory {
    fn node(&self, id: &TreeId) -> Result<Node> {
        *self.read.borrow_mut() += 1;
        Ok(Node::decode(&self.nodes[id]).unwrap())
    }
}

/// A tree as it is edited: names lead to inodes.
#[derive(Clone)]
enum There {
    Dir(Dir),
    Inode(usize),
}

#[derive(Clone)]
struct Dir {
    meta: Meta,
    children: BTreeMap<Name, There>,
}

#[derive(Clone)]
struct Model {
    root: Dir,
    inodes: Vec<(Kind, Meta)>,
}

/// Something done to a tree; what does not fit does nothing.
#[derive(Clone, Debug)]
enum Edit {
    Put(&'static str, u8, u8),
    MakeDir(&'static str, u8),
    Link(&'static str, &'static str),
    /// The inode is copied for this name alone.
    Split(&'static str),
    Change(&'static str, u8),
    Remove(&'static str),
}

const PATHS: &[&str] = &[
    "a", "b", "a-", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "d/e/f", "d/e/f/a", "g", "g/a",
    "g/b", "g/h", "g/h/a", "z",
];

fn edit() -> impl Strategy<Value = Edit> {
    let path = || prop::sample::select(PATHS);
    prop_oneof![
        4 => (path(), 0..8u8, 0..3u8).prop_map(|(p, k, m)| Edit::Put(p, k, m)),
        2 => (path(), 0..3u8).prop_map(|(p, m)| Edit::MakeDir(p, m)),
        4 => (path(), path()).prop_map(|(p, q)| Edit::Link(p, q)),
        1 => path().prop_map(Edit::Split),
        1 => (path(), 0..3u8).prop_map(|(p, m)| Edit::Change(p, m)),
        2 => path().prop_map(Edit::Remove),
    ]
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn meta(number: u8) -> Meta {
    let mut meta = Meta {
        mode: 0o640 + u16::from(number % 2),
        mtime: Mtime {
            secs: i64::from(number) - 1,
            nanos: 5,
        },
        ..Meta::default()
    };
    if number == 2 {
        meta.xattrs.insert(b"user.x"[..].into(), b"1"[..].into());
    }
    meta
}

fn kind(number: u8) -> Kind {
    match number {
        0 => Kind::File(Content::Empty),
        1 | 2 => Kind::File(content(b"one")),
        3 => Kind::File(content(b"three")),
        4 => Kind::Symlink(b"d/e"[..].into()),
        5 => Kind::Symlink(b"../g"[..].into()),
        6 => Kind::Fifo,
        _ => Kind::Char(Device { major: 1, minor: 3 }),
    }
}

fn content(bytes: &[u8]) -> Content {
    Content::Object {
        id: ContentId::of(bytes),
        size: bytes.len() as u64,
    }
}

impl Model {
    fn new() -> Self {
        Self {
            root: Dir {
                meta: Meta::implicit_dir(),
                children: BTreeMap::new(),
            },
            inodes: Vec::new(),
        }
    }

    fn of(edits: &[Edit]) -> Self {
        let mut model = Self::new();
        model.edit(edits);
        model
    }

    fn edit(&mut self, edits: &[Edit]) {
        for edit in edits {
            match *edit {
                Edit::Put(path, k, m) => {
                    self.inodes.push((kind(k), meta(m)));
                    let inode = self.inodes.len() - 1;
                    self.put(path, There::Inode(inode));
                }
                Edit::MakeDir(path, m) => match self.get(path) {
                    Some(There::Dir(dir)) => dir.meta = meta(m),
                    _ => {
                        let (meta, children) = (meta(m), BTreeMap::new());
                        self.put(path, There::Dir(Dir { meta, children }));
                    }
                },
                Edit::Link(path, to) => {
                    if let Some(There::Inode(inode)) = self.get(to) {
                        let inode = *inode;
                        self.put(path, There::Inode(inode));
                    }
                }
                Edit::Split(path) => {
                    if let Some(There::Inode(inode)) = self.get(path) {
                        let copy = *inode;
                        self.inodes.push(self.inodes[copy].clone());
                        let inode = self.inodes.len() - 1;
                        self.put(path, There::Inode(inode));
                    }
                }
                Edit::Change(path, m) => match self.get(path) {
                    Some(There::Dir(dir)) => dir.meta = meta(m),
                    Some(There::Inode(inode)) => {
                        let inode = *inode;
                        self.inodes[inode].1 = meta(m);
                    }
                    None => self.root.meta = meta(m),
                },
                Edit::Remove(path) => {
                    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
                    let above = match above {
                        "" => Some(&mut self.root),
                        above => match self.get(above) {
                            Some(There::Dir(dir)) => Some(dir),
                            _ => None,
                        },
                    };
                    above.map(|dir| dir.children.remove(last.as_bytes()));
                }
            }
        }
    }

    fn get(&mut self, path: &str) -> Option<&mut There> {
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = match above {
            "" => &mut self.root,
            above => match self.get(above)? {
                There::Dir(dir) => dir,
                There::Inode(_) => return None,
            },
        };
        dir.children.get_mut(last.as_bytes())
    }

    fn put(&mut self, path: &str, there: There) {
        let mut dir = &mut self.root;
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        for part in above.split('/').filter(|part| !part.is_empty()) {
            let child = dir
                .children
                .entry(name(part))
                .or_insert(There::Inode(usize::MAX));
            if matches!(child, There::Inode(_)) {
                *child = There::Dir(Dir {
                    meta: meta(1),
                    children: BTreeMap::new(),
                });
            }
            let There::Dir(below) = child else { return };
            dir = below;
        }
        dir.children.insert(name(last), there);
    }

    /// Puts the tree's nodes into `memory`; returns the root's id.
    fn encode(&self, memory: &mut Memory) -> TreeId {
        let mut paths: HashMap<usize, Vec<String>> = HashMap::new();
        names(&self.root, "", &mut paths);
        self.encode_dir(&self.root, &paths, &mut memory.nodes).id
    }

    fn encode_dir(
        &self,
        dir: &Dir,
        paths: &HashMap<usize, Vec<String>>,
        nodes: &mut BTreeMap<TreeId, Vec<u8>>,
    ) -> crate::tree::Subtree {
        let mut entries = Vec::new();
        for (name, there) in &dir.children {
            let item = match there {
                There::Dir(dir) => Item::Dir(self.encode_dir(dir, paths, nodes)),
                There::Inode(inode) => {
                    let (kind, meta) = self.inodes[*inode].clone();
                    let names = &paths[inode];
                    let first = LinkGroup::of_first_path(names[0].as_bytes());
                    let group = (names.len() > 1).then_some(first);
                    Item::Leaf(Leaf { kind, meta, group })
                }
            };
            entries.push((name.clone(), item));
        }
        let meta = dir.meta.clone();
        Node { meta, entries }.encode_into(nodes)
    }
}

/// Lists the names of every inode, in the order of a walk.
fn names(dir: &Dir, prefix: &str, paths: &mut HashMap<usize, Vec<String>>) {
    for (name, there) in &dir.children {
        let path = format!("{prefix}{name}");
        match there {
            There::Dir(dir) => names(dir, &format!("{path}/"), paths),
            There::Inode(inode) => paths.entry(*inode).or_default().push(path),
        }
    }
}

/// Puts entries over a tree; returns the root of what comes of it.
fn apply(memory: &Memory, base: Option<TreeId>, layer: &[LayerEntry]) -> Result<TreeId> {
    let mut contents = Vec::new();
    let mut entries = Vec::new();
    for LayerEntry { path, what } in layer {
        let action = match what.clone() {
            What::Dir(meta) => Action::Dir(meta),
            What::Leaf(Kind::File(Content::Empty), meta) => Action::File(
                meta,
                Payload {
                    ordinal: None,
                    size: 0,
                },
            ),
            What::Leaf(Kind::File(Content::Object { id, size }), meta) => {
                let ordinal = u32::try_from(contents.len()).ok();
                contents.push(ContentRef { id, size });
                Action::File(meta, Payload { ordinal, size })
            }
            What::Leaf(Kind::Symlink(target), meta) => Action::Symlink(meta, target),
            What::Leaf(Kind::Char(device), meta) => Action::Char(meta, device),
            What::Leaf(Kind::Block(device), meta) => Action::Block(meta, device),
            What::Leaf(Kind::Fifo, meta) => Action::Fifo(meta),
            What::Link(to) => Action::Link(to),
            What::Whiteout => Action::Whiteout,
        };
        entries.push(Entry {
            at: 0,
            path: path.clone(),
            action,
        });
    }
    let mut overlay = Overlay::new(memory, base)?;
    let layer = LayerEntries {
        name: "layer",
        entries: &entries,
        contents: &contents,
    };
    overlay.apply(&layer, &mut Warnings::default())?;
    Ok(overlay.finish()?.root)
}

fn between(before: &Model, after: &Model) -> (Memory, TreeId, TreeId, Vec<LayerEntry>) {
    let mut memory = Memory::default();
    let base = before.encode(&mut memory);
    let new = after.encode(&mut memory);
    let entries = changes(&memory, (Some(base), new), &Unwatched).unwrap();
    (memory, base, new, entries)
}

fn is_below(path: &TreePath, above: &TreePath) -> bool {
    let (path, above) = (path.to_string(), above.to_string());
    path.starts_with(&format!("{above}/"))
}

/// Checks that nothing is said twice or for nothing.
fn check_least(
    memory: &Memory,
    (base, new): (TreeId, TreeId),
    entries: &[LayerEntry],
) -> Result<(), TestCaseError> {
    let mut sorted = entries.to_vec();
    sorted.sort_by(|a, b| names_of(&a.path).cmp(names_of(&b.path)));
    prop_assert_eq!(&sorted[..], entries);
    for pair in entries.windows(2) {
        prop_assert!(pair[0].path != pair[1].path, "{:?}", entries);
    }
    let gone: Vec<_> = entries
        .iter()
        .filter(|entry| entry.what == What::Whiteout)
        .collect();
    for entry in entries {
        prop_assert!(
            !gone.iter().any(|gone| is_below(&entry.path, &gone.path)),
            "{:?}",
            entries
        );
    }
    for at in 0..entries.len() {
        // A group is written whole, though a name of it could stay and be linked to from above.
        let mut linked = entries.iter().filter_map(|entry| match &entry.what {
            What::Link(to) => Some(to),
            _ => None,
        });
        if matches!(entries[at].what, What::Link(_)) || linked.any(|to| *to == entries[at].path) {
            continue;
        }
        let mut fewer = entries.to_vec();
        fewer.remove(at);
        let without = apply(memory, Some(base), &fewer);
        prop_assert!(
            without.is_err() || without.unwrap() != new,
            "{:?} says nothing",
            entries[at]
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2500),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_entries_between_two_trees_make_the_second_of_the_first(
        first in vec(edit(), 0..20),
        then in vec(edit(), 0..8),
        anew: bool,
    ) {
        let before = Model::of(&first);
        let mut after = if anew { Model::new() } else { before.clone() };
        after.edit(&then);
        let (memory, base, new, entries) = between(&before, &after);
        prop_assert_eq!(apply(&memory, Some(base), &entries).unwrap(), new, "{:#?}", entries);
        prop_assert_eq!(entries.is_empty(), base == new);
        check_least(&memory, (base, new), &entries)?;
    }

    #[test]
    fn the_entries_of_a_whole_tree_make_it_of_nothing(edits in vec(edit(), 0..25)) {
        let mut memory = Memory::default();
        let new = Model::of(&edits).encode(&mut memory);
        let entries = changes(&memory, (None, new), &Unwatched).unwrap();
        prop_assert_eq!(apply(&memory, None, &entries).unwrap(), new);
    }
}

/// Lists what a layer between two trees says.
fn said(first: &[Edit], then: &[Edit]) -> Vec<String> {
    let before = Model::of(first);
    let mut after = before.clone();
    after.edit(then);
    let (memory, base, new, entries) = between(&before, &after);
    assert_eq!(apply(&memory, Some(base), &entries).unwrap(), new);
    let say = |LayerEntry { path, what }: &LayerEntry| match what {
        What::Dir(_) => format!("{path}/"),
        What::Leaf(..) => path.to_string(),
        What::Link(to) => format!("{path} -> {to}"),
        What::Whiteout => format!("no {path}"),
    };
    entries.iter().map(say).collect()
}

const THREE: &[Edit] = &[
    Edit::Put("a", 1, 0),
    Edit::Link("d/b", "a"),
    Edit::Link("g/a", "a"),
];

#[test]
fn a_group_that_loses_a_name_needs_only_the_whiteout() {
    assert_eq!(said(THREE, &[Edit::Remove("g/a")]), ["no g/a"]);
    // The first name too, though all that is left of the group is called otherwise then.
    assert_eq!(said(THREE, &[Edit::Remove("a")]), ["no a"]);
    assert_eq!(
        said(THREE, &[Edit::Remove("a"), Edit::Remove("d/b")]),
        ["no a", "no d/b"]
    );
}

#[test]
fn a_group_that_gains_a_name_is_written_whole_even_from_a_directory_that_did_not_change() {
    let all = ["a", "d/b -> a", "g/a -> a", "z -> a"];
    assert_eq!(said(THREE, &[Edit::Link("z", "a")]), all);
    assert_eq!(
        said(&[Edit::Put("d/a", 1, 0)], &[Edit::Link("b", "d/a")]),
        ["b", "d/a -> b"]
    );
}

#[test]
fn a_group_that_changes_is_written_whole() {
    let all = ["a", "d/b -> a", "g/a -> a"];
    assert_eq!(said(THREE, &[Edit::Change("d/b", 1)]), all);
}

#[test]
fn a_link_that_is_broken_needs_only_the_name_that_left() {
    assert_eq!(said(THREE, &[Edit::Split("d/b")]), ["d/b"]);
    assert_eq!(said(THREE, &[Edit::Split("a")]), ["a"]);
    assert_eq!(
        said(&THREE[..2], &[Edit::Split("d/b")]),
        ["d/b"],
        "one of the two can stay"
    );
    assert_eq!(said(THREE, &[Edit::Put("d/b", 3, 0)]), ["d/b"]);
}

#[test]
fn one_of_the_parts_of_a_group_that_is_split_stays() {
    let four = [THREE, &[Edit::Link("z", "a")]].concat();
    let split = [Edit::Split("g/a"), Edit::Link("z", "g/a")];
    assert_eq!(said(&four, &split), ["g/a", "z -> g/a"]);
}

#[test]
fn what_left_its_group_stays_where_all_of_the_others_go() {
    assert_eq!(
        said(THREE, &[Edit::Remove("a"), Edit::Put("g/a", 3, 0)]),
        ["no a", "g/a"]
    );
}

#[test]
fn two_groups_that_become_one_are_written_whole() {
    let base = [THREE, &[Edit::Put("b", 1, 0), Edit::Link("d/e/a", "b")]].concat();
    let joined = [Edit::Link("b", "a"), Edit::Link("d/e/a", "a")];
    assert_eq!(
        said(&base, &joined),
        ["a", "b -> a", "d/b -> a", "d/e/a -> a", "g/a -> a"]
    );
}

#[test]
fn a_directory_that_keeps_its_metadata_has_no_entry_and_one_that_goes_is_one_whiteout() {
    let base = [Edit::Put("d/e/a", 1, 0), Edit::Put("d/e/b", 1, 0)];
    assert_eq!(said(&base, &[Edit::Put("d/e/f", 1, 0)]), ["d/e/f"]);
    assert_eq!(said(&base, &[Edit::Remove("d/e")]), ["no d/e"]);
    assert_eq!(said(&base, &[Edit::Put("d/e", 1, 0)]), ["d/e"]);
    assert_eq!(
        said(&base, &[Edit::Put("d/e/a/x", 1, 0)]),
        ["d/e/a/", "d/e/a/x"]
    );
    let made_again = [Edit::Remove("d"), Edit::Put("d/e/a", 1, 0)];
    assert_eq!(said(&base, &made_again), ["no d/e/b"]);
}

#[test]
fn what_is_the_same_in_both_trees_is_not_read() {
    let mut edits: Vec<Edit> = PATHS.iter().map(|path| Edit::MakeDir(path, 0)).collect();
    edits.push(Edit::Put("g/h/a", 1, 0));
    let before = Model::of(&edits);
    let mut after = before.clone();
    after.edit(&[Edit::Put("g/h/a", 3, 0)]);
    let (memory, _, _, entries) = between(&before, &after);
    assert_eq!(entries.len(), 1);
    // The root, `g` and `g/h`, of either tree.
    assert_eq!(*memory.read.borrow(), 6);
}

#[test]
fn a_path_deeper_than_a_layer_can_have_is_refused() {
    let mut memory = Memory::default();
    let mut node = Node::default();
    for _ in 0..=TreePath::MAX_DEPTH {
        let below = node.encode_into(&mut memory.nodes);
        node = Node {
            meta: Meta::default(),
            entries: vec![(name("d"), Item::Dir(below))],
        };
    }
    let new = node.encode_into(&mut memory.nodes).id;
    let refused = changes(&memory, (None, new), &Unwatched).unwrap_err();
    assert_eq!(refused.exit_code(), 4);
}
