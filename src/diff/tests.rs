//! Trees made by hand and at random: what differs, how many nodes are read for it, and a second opinion by reading
//! both trees whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::{ContentId, LinkGroup};
use crate::meta::{Meta, Mtime};
use crate::path::escape;
use crate::store::Store;
use crate::store::catalog::View;
use crate::store::locks::Wait;
use crate::tree::{Content, Device, Kind, Leaf};
use crate::watch::Unwatched;

/// A directory.
#[derive(Clone, PartialEq, Debug, Default)]
struct Folder {
    meta: Meta,
    things: BTreeMap<Vec<u8>, Thing>,
}

#[derive(Clone, PartialEq, Debug)]
enum Thing {
    Folder(Folder),
    Leaf(Leaf),
}

impl Folder {
    fn with(mut self, name: &str, thing: Thing) -> Self {
        self.things.insert(name.as_bytes().to_vec(), thing);
        self
    }

    /// Changes what is at a path, whose directories have to be there.
    fn set(&mut self, path: &str, thing: Option<Thing>) {
        let (mut here, mut rest) = (self, path);
        while let Some((name, below)) = rest.split_once('/') {
            let Some(Thing::Folder(folder)) = here.things.get_mut(name.as_bytes()) else {
                panic!("no directory {name}");
            };
            (here, rest) = (folder, below);
        }
        match thing {
            Some(thing) => here.things.insert(rest.as_bytes().to_vec(), thing),
            None => here.things.remove(rest.as_bytes()),
        };
    }
}

fn dir(folder: Folder) -> Thing {
    Thing::Folder(folder)
}

fn leaf(kind: Kind) -> Leaf {
    Leaf {
        kind,
        meta: Meta::default(),
        group: None,
    }
}

fn file(bytes: &str) -> Leaf {
    leaf(Kind::File(match bytes.len() as u64 {
        0 => Content::Empty,
        size => Content::Object {
            id: ContentId::of(bytes.as_bytes()),
            size,
        },
    }))
}

/// A store of trees alone.
struct Trees {
    store: Store,
    _dir: TempDir,
}

impl Trees {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        store.create_catalog(|_| Ok(())).unwrap();
        Self { store, _dir: dir }
    }

    fn put(&self, folder: &Folder) -> TreeId {
        let mut nodes = BTreeMap::new();
        let root = put(folder, &mut nodes).id;
        let rows = nodes.iter().map(|(id, bytes)| (id, bytes.as_slice()));
        self.store
            .change_catalog(|change| change.put_nodes(rows))
            .unwrap();
        root
    }

    fn diff(&self, roots: (TreeId, TreeId), options: Options) -> Told {
        let walk = |view: &View| {
            let mut diff = Diff::new(view, roots, options, &Unwatched);
            let mut lines = Vec::new();
            while let Some(change) = diff.next_change()? {
                lines.push(line(&change));
            }
            assert!(diff.next_change()?.is_none(), "the end is the end");
            Ok(Told {
                lines,
                stat: diff.stat(),
                nodes_read: diff.nodes_read(),
            })
        };
        self.store.view(walk).unwrap()
    }

    fn lines(&self, before: &Folder, after: &Folder) -> Vec<String> {
        let roots = (self.put(before), self.put(after));
        self.diff(roots, Options::default()).lines
    }
}

/// All that a walk said.
struct Told {
    lines: Vec<String>,
    stat: Stat,
    nodes_read: u64,
}

fn line(change: &Change<'_>) -> String {
    let Change { path, what, kind } = change;
    let (path, kind) = (escape(path), kind.name());
    match what {
        What::Added => format!("A /{path} {kind}"),
        What::Deleted => format!("D /{path} {kind}"),
        What::Changed(aspects) => {
            let names: Vec<&str> = aspects.iter().map(|aspect| aspect.name()).collect();
            format!("C /{path} {kind} {}", names.join(","))
        }
    }
}

fn put(folder: &Folder, nodes: &mut BTreeMap<TreeId, Vec<u8>>) -> Subtree {
    let mut entries = Vec::new();
    for (name, thing) in &folder.things {
        let item = match thing {
            Thing::Folder(folder) => Item::Dir(put(folder, nodes)),
            Thing::Leaf(leaf) => Item::Leaf(leaf.clone()),
        };
        entries.push((Name::parse(name).unwrap(), item));
    }
    let node = Node {
        meta: folder.meta.clone(),
        entries,
    };
    node.encode_into(nodes)
}

const CONTENT: Options = Options {
    question: Question::Content,
    below: Below::Listed,
};

const COUNTED: Options = Options {
    question: Question::All,
    below: Below::Counted,
};

#[test]
fn a_tree_does_not_differ_from_itself_and_nothing_is_read_to_tell() {
    let trees = Trees::new();
    let root = trees.put(&Folder::default().with("a", Thing::Leaf(file("1"))));
    let told = trees.diff((root, root), Options::default());
    assert_eq!(told.lines, Vec::<String>::new());
    assert!(told.stat.is_empty());
    assert_eq!(told.nodes_read, 0);
}

#[test]
fn a_whole_directory_that_comes_or_goes_is_told_path_by_path_in_the_order_of_a_walk() {
    let trees = Trees::new();
    let below = Folder::default()
        .with("y", Thing::Leaf(file("1")))
        .with("x", dir(Folder::default().with("z", Thing::Leaf(file("")))));
    let with = Folder::default()
        .with("a", dir(below))
        .with("a.b", Thing::Leaf(file("2")));
    let without = Folder::default();
    assert_eq!(
        trees.lines(&without, &with),
        [
            "A /a directory",
            "A /a/x directory",
            "A /a/x/z file",
            "A /a/y file",
            "A /a.b file",
        ]
    );
    assert_eq!(
        trees.lines(&with, &without),
        [
            "D /a directory",
            "D /a/x directory",
            "D /a/x/z file",
            "D /a/y file",
            "D /a.b file",
        ]
    );
}

#[test]
fn a_directory_is_changed_by_its_own_metadata_and_not_by_what_is_in_it() {
    let trees = Trees::new();
    let tree = |bytes, mode| {
        let meta = Meta {
            mode,
            ..Meta::default()
        };
        let folder = Folder {
            meta,
            ..Folder::default()
        };
        Folder::default().with("d", dir(folder.with("f", Thing::Leaf(file(bytes)))))
    };
    assert_eq!(
        trees.lines(&tree("1", 0o755), &tree("2", 0o755)),
        ["C /d/f file content"]
    );
    assert_eq!(
        trees.lines(&tree("1", 0o755), &tree("1", 0o700)),
        ["C /d directory mode"]
    );
}

#[test]
fn the_root_itself_is_a_path_that_may_differ() {
    let trees = Trees::new();
    let other = Folder {
        meta: Meta::implicit_dir(),
        ..Folder::default()
    };
    assert_eq!(
        trees.lines(&Folder::default(), &other),
        ["C / directory mode"]
    );
}

#[test]
fn every_aspect_of_an_entry_is_told_by_its_name() {
    let trees = Trees::new();
    let of = |leaf: Leaf| Folder::default().with("f", Thing::Leaf(leaf));
    let told = |before: Leaf, after: Leaf| trees.lines(&of(before), &of(after)).join("\n");
    let with = |change: &dyn Fn(&mut Meta)| {
        let mut leaf = file("1");
        change(&mut leaf.meta);
        leaf
    };
    let plain = || file("1");
    let linked = Leaf {
        group: Some(LinkGroup([1; 16])),
        ..plain()
    };
    for (after, aspects) in [
        (file("2"), "content"),
        (file(""), "content"),
        (linked, "links"),
        (with(&|meta| meta.mode = 0o600), "mode"),
        (with(&|meta| meta.uid = 1), "owner"),
        (with(&|meta| meta.gid = 1), "owner"),
        (with(&|meta| meta.mtime.nanos = 1), "mtime"),
        (
            with(&|meta| drop(meta.xattrs.insert(b"user.x"[..].into(), b""[..].into()))),
            "xattrs",
        ),
    ] {
        assert_eq!(told(plain(), after), format!("C /f file {aspects}"));
    }
    let device = |minor| Device { major: 1, minor };
    let (one, two) = (Kind::Char(device(1)), Kind::Char(device(2)));
    assert_eq!(
        told(leaf(one.clone()), leaf(two)),
        "C /f char content",
        "a device's numbers"
    );
    let target = |target: &[u8]| leaf(Kind::Symlink(target.into()));
    assert_eq!(told(target(b"a"), target(b"b")), "C /f symlink content");
    assert_eq!(
        told(leaf(one), leaf(Kind::Block(device(1)))),
        "C /f block type"
    );
    let mut other = leaf(Kind::Fifo);
    other.meta.uid = 7;
    assert_eq!(told(plain(), other), "C /f fifo type");
}

#[test]
fn a_directory_that_becomes_something_else_is_changed_and_what_was_in_it_deleted() {
    let trees = Trees::new();
    let full = Folder::default()
        .with("f", Thing::Leaf(file("1")))
        .with("g", Thing::Leaf(leaf(Kind::Fifo)));
    let was = Folder::default().with("d", dir(full));
    let is = Folder::default().with("d", Thing::Leaf(file("longer")));
    assert_eq!(
        trees.lines(&was, &is),
        ["C /d file type", "D /d/f file", "D /d/g fifo"]
    );
    assert_eq!(
        trees.lines(&is, &was),
        ["C /d directory type", "A /d/f file", "A /d/g fifo"]
    );
    let sum = |paths, files, bytes| Sum {
        paths,
        files,
        bytes,
    };
    let roots = (trees.put(&was), trees.put(&is));
    let told = trees.diff(roots, COUNTED);
    assert_eq!(told.lines, ["C /d file type"]);
    assert_eq!(told.nodes_read, 2, "the roots alone");
    assert_eq!(told.stat, trees.diff(roots, Options::default()).stat);
    let stat = Stat {
        added: sum(0, 0, 0),
        deleted: sum(2, 1, 1),
        changed: sum(1, 1, 6),
    };
    assert_eq!(told.stat, stat);
}

#[test]
fn where_only_content_is_asked_for_metadata_is_neither_told_nor_read() {
    let trees = Trees::new();
    let tree = |mode, bytes| {
        let mut touched = file("same");
        touched.meta.mode = mode;
        let folder = Folder {
            meta: touched.meta.clone(),
            ..Folder::default()
        };
        Folder::default()
            .with("d", dir(folder.with("f", Thing::Leaf(touched))))
            .with("g", Thing::Leaf(file(bytes)))
    };
    let roots = (trees.put(&tree(0o644, "1")), trees.put(&tree(0o755, "2")));
    let told = trees.diff(roots, CONTENT);
    assert_eq!(told.lines, ["C /g file content"]);
    assert_eq!(told.nodes_read, 2);
    let told = trees.diff(roots, Options::default());
    assert_eq!(
        told.lines,
        [
            "C /d directory mode",
            "C /d/f file mode",
            "C /g file content"
        ]
    );
    assert_eq!(told.nodes_read, 4);
}

#[test]
fn ten_paths_that_differ_among_forty_thousand_cost_some_tens_of_nodes() {
    let trees = Trees::new();
    let number = |at: usize| format!("{at:02}");
    let mut before = Folder::default();
    for a in 0..20 {
        let mut folder = Folder::default();
        for b in 0..20 {
            let mut below = Folder::default();
            for c in 0..100 {
                below = below.with(&number(c), Thing::Leaf(file(&format!("{a} {b} {c}"))));
            }
            folder = folder.with(&number(b), dir(below));
        }
        before = before.with(&number(a), dir(folder));
    }
    let mut after = before.clone();
    let mut wanted = Vec::new();
    for at in 0..10 {
        let path = format!("{:02}/{:02}/{:02}", 2 * at, at, 7 * at);
        let changed = (at % 3 != 0).then(|| Thing::Leaf(file("other")));
        wanted.push(match changed {
            Some(_) => format!("C /{path} file content"),
            None => format!("D /{path} file"),
        });
        after.set(&path, changed);
    }
    let roots = (trees.put(&before), trees.put(&after));
    let told = trees.diff(roots, Options::default());
    assert_eq!(told.lines, wanted);
    // Of each tree the root, and two directories a path.
    assert_eq!(told.nodes_read, 2 * (1 + 2 * 10));
}

#[test]
fn what_is_only_counted_is_not_read() {
    let trees = Trees::new();
    let mut deep = Folder::default().with("f", Thing::Leaf(file("12345")));
    for at in 0..50 {
        deep = Folder::default().with(&format!("d{at}"), dir(deep));
    }
    let roots = (trees.put(&Folder::default()), trees.put(&deep));
    let told = trees.diff(roots, COUNTED);
    assert_eq!(told.lines, ["A /d49 directory"]);
    assert_eq!(told.nodes_read, 2);
    let added = Sum {
        paths: 51,
        files: 1,
        bytes: 5,
    };
    assert_eq!(told.stat.added, added);
    let listed = trees.diff(roots, Options::default());
    assert_eq!(listed.nodes_read, 52);
    assert_eq!(listed.stat, told.stat);
}

#[test]
fn a_missing_node_is_damage() {
    let trees = Trees::new();
    let there = trees.put(&Folder::default());
    let walk = |view: &View| {
        let gone = TreeId::of(b"gone");
        Diff::new(view, (there, gone), Options::default(), &Unwatched)
            .next_change()
            .map(|_| ())
    };
    assert_eq!(trees.store.view(walk).unwrap_err().exit_code(), 3);
}

/// All of a tree, by names: the naive reading.
type Whole = BTreeMap<Vec<Vec<u8>>, Entry>;

#[derive(Clone, PartialEq, Debug)]
enum Entry {
    Dir(Meta),
    Leaf(Leaf),
}

fn whole(folder: &Folder) -> Whole {
    let mut all = Whole::new();
    read_all(folder, &[], &mut all);
    all
}

fn read_all(folder: &Folder, path: &[Vec<u8>], all: &mut Whole) {
    all.insert(path.to_vec(), Entry::Dir(folder.meta.clone()));
    for (name, thing) in &folder.things {
        let path = [path, std::slice::from_ref(name)].concat();
        match thing {
            Thing::Folder(folder) => read_all(folder, &path, all),
            Thing::Leaf(leaf) => drop(all.insert(path, Entry::Leaf(leaf.clone()))),
        }
    }
}

/// An entry without what does not count for [`Question::Content`].
fn bare(entry: &Entry) -> Entry {
    match entry {
        Entry::Dir(_) => Entry::Dir(Meta::default()),
        Entry::Leaf(leaf) => Entry::Leaf(Leaf {
            meta: Meta::default(),
            ..leaf.clone()
        }),
    }
}

/// What differs, by comparing every path of both trees.
fn naive(before: &Whole, after: &Whole, question: Question) -> Vec<String> {
    let mut paths: Vec<_> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let of = |entry: &Entry| match question {
        Question::All => entry.clone(),
        Question::Content => bare(entry),
    };
    let told = paths.into_iter().filter_map(|path| {
        let letter = match (before.get(path), after.get(path)) {
            (Some(_), None) => 'D',
            (None, Some(_)) => 'A',
            (Some(before), Some(after)) if of(before) == of(after) => return None,
            _ => 'C',
        };
        Some(format!("{letter} /{}", escape(&path.join(&b'/'))))
    });
    told.collect()
}

fn metas() -> impl Strategy<Value = Meta> {
    (0..3u16, 0..2u32, 0..2i64).prop_map(|(mode, uid, secs)| Meta {
        mode,
        uid,
        mtime: Mtime { secs, nanos: 0 },
        ..Meta::default()
    })
}

fn leaves() -> impl Strategy<Value = Leaf> {
    let kinds = prop_oneof![
        4 => prop::sample::select(vec!["", "1", "22"]).prop_map(|bytes| file(bytes).kind),
        1 => prop::sample::select(vec!["t", "u"])
            .prop_map(|target| Kind::Symlink(target.as_bytes().into())),
        1 => Just(Kind::Fifo),
    ];
    let groups = prop_oneof![3 => Just(None), 1 => (0..2u8).prop_map(|n| Some(LinkGroup([n; 16])))];
    (kinds, metas(), groups).prop_map(|(kind, meta, group)| Leaf { kind, meta, group })
}

/// Names that are near each other, in order and in length; one that no terminal should see.
fn names() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![&b"a"[..], b"a.", b"a-b", b"b", b"b\n\x1b", b"\xff"])
        .prop_map(<[u8]>::to_vec)
}

fn things() -> impl Strategy<Value = Thing> {
    leaves()
        .prop_map(Thing::Leaf)
        .prop_recursive(4, 40, 5, |inner| {
            let things = prop::collection::btree_map(names(), inner, 0..5);
            (metas(), things).prop_map(|(meta, things)| Thing::Folder(Folder { meta, things }))
        })
}

fn folders() -> impl Strategy<Value = Folder> {
    (
        metas(),
        prop::collection::btree_map(names(), things(), 0..5),
    )
        .prop_map(|(meta, things)| Folder { meta, things })
}

/// A change of a tree: the way to a directory, and what becomes of a name there.
type Edit = (Vec<prop::sample::Index>, Vec<u8>, Option<Thing>);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let way = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    prop::collection::vec((way, names(), prop::option::of(things())), 0..4)
}

fn edit(tree: &mut Folder, (mut way, name, thing): Edit) {
    let is_folder = |(_, thing): &(&Vec<u8>, &Thing)| matches!(thing, Thing::Folder(_));
    let below: Vec<Vec<u8>> = tree
        .things
        .iter()
        .filter(is_folder)
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(step) = way.pop()
        && !below.is_empty()
        && let Some(Thing::Folder(folder)) = tree.things.get_mut(step.get(&below))
    {
        return edit(folder, (way, name, thing));
    }
    match thing {
        Some(thing) => tree.things.insert(name, thing),
        None => tree.things.remove(&name),
    };
}

/// How many paths a tree has, its root not counted.
fn count(tree: &Whole) -> u64 {
    tree.len() as u64 - 1
}

fn agree(trees: &Trees, before: &Folder, after: &Folder) -> Result<(), TestCaseError> {
    let roots = (trees.put(before), trees.put(after));
    let wholes = (whole(before), whole(after));
    for question in [Question::All, Question::Content] {
        let listed = Options {
            question,
            below: Below::Listed,
        };
        let told = trees.diff(roots, listed);
        let mut paths = Vec::new();
        for line in &told.lines {
            let kept = if line.starts_with('C') { 2 } else { 1 };
            paths.push(line.rsplitn(kept + 1, ' ').last().unwrap().to_owned());
        }
        prop_assert_eq!(paths, naive(&wholes.0, &wholes.1, question));
        let counted = Options {
            below: Below::Counted,
            ..listed
        };
        prop_assert_eq!(trees.diff(roots, counted).stat, told.stat);
        let Stat { added, deleted, .. } = told.stat;
        prop_assert_eq!(
            count(&wholes.0) + added.paths,
            count(&wholes.1) + deleted.paths
        );
    }
    Ok(())
}

#[test]
fn what_is_told_is_what_comparing_every_path_of_both_trees_tells() {
    let trees = Trees::new();
    let mut runner = proptest::test_runner::TestRunner::default();
    let edited = (folders(), edits());
    let few = |(before, edits): (Folder, Vec<Edit>)| {
        let mut after = before.clone();
        edits
            .into_iter()
            .for_each(|change| edit(&mut after, change));
        agree(&trees, &before, &after)
    };
    runner.run(&edited, few).unwrap();
    let strangers = (folders(), folders());
    runner
        .run(&strangers, |(before, after)| agree(&trees, &before, &after))
        .unwrap();
}
