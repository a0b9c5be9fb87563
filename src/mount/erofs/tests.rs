//! What an image of a tree promises, one sentence a test. That a kernel shows it is in `tests/mount/`.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use super::*;
use crate::digest::{ContentId, LinkGroup};
use crate::error::Error;
use crate::meta::{Meta, Mtime};
use crate::path::Name;
use crate::tree::{Content, Device, Item, Kind, Layered, Leaf, NewNodes, Node};

struct Nothing;

impl Nodes for Nothing {
    fn node(&self, id: &TreeId) -> Result<Node> {
        Err(Error::missing(
            "read",
            format!("tree node {id}"),
            "there are no others",
        ))
    }
}

/// A tree while it grows, from the leaves up.
#[derive(Default)]
struct Tree(NewNodes);

impl Tree {
    fn dir(&mut self, meta: Meta, entries: Vec<(Name, Item)>) -> Item {
        let mut node = Node { meta, entries };
        node.entries.sort_by(|one, other| one.0.cmp(&other.0));
        Item::Dir(node.encode_into(&mut self.0))
    }

    /// Writes the image of a tree; returns its bytes and what was written.
    fn image(&self, root: &Item) -> (Vec<u8>, Written) {
        let file = tempfile::tempfile().unwrap();
        let written = self.write(root, file.try_clone().unwrap()).unwrap();
        let mut bytes = vec![0; usize::try_from(written.bytes).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), written.bytes);
        (bytes, written)
    }

    fn write(&self, root: &Item, file: File) -> Result<Written> {
        let under = &Nothing;
        write(
            &Layered {
                over: &self.0,
                under,
            },
            &id(root),
            file,
            &Unwatched,
        )
    }

    fn places(&self, root: &Item) -> Vec<(u64, String)> {
        let (mut found, under) = (Vec::new(), &Nothing);
        let nodes = Layered {
            over: &self.0,
            under,
        };
        let mut note = |nid, path: &[u8]| found.push((nid, path::escape(path)));
        places(&nodes, &id(root), &mut note).unwrap();
        found
    }
}

fn id(root: &Item) -> TreeId {
    match root {
        Item::Dir(subtree) => subtree.id,
        Item::Leaf(_) => panic!("a root is a directory"),
    }
}

fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::parse(bytes.as_ref()).unwrap()
}

fn meta(mode: u16) -> Meta {
    let mtime = Mtime {
        secs: -11,
        nanos: 500_000_000,
    };
    Meta {
        mode,
        uid: 70_000,
        gid: 42,
        mtime,
        ..Meta::default()
    }
}

fn leaf(kind: Kind, meta: Meta) -> Item {
    Item::Leaf(Leaf {
        kind,
        meta,
        group: None,
    })
}

fn linked(item: Item, group: u8) -> Item {
    match item {
        Item::Leaf(leaf) => Item::Leaf(Leaf {
            group: Some(LinkGroup([group; 16])),
            ..leaf
        }),
        Item::Dir(_) => panic!("no directory has two names"),
    }
}

fn file(bytes: &[u8]) -> Item {
    let (id, size) = (ContentId::of(bytes), bytes.len() as u64);
    leaf(Kind::File(Content::Object { id, size }), meta(0o644))
}

fn with_xattr(name: &[u8], value: &[u8]) -> Meta {
    let mut meta = meta(0o755);
    meta.xattrs.insert(name.into(), value.into());
    meta
}

fn tiny(tree: &mut Tree) -> Item {
    let symlink = Kind::Symlink((*b"hello").into());
    let entries = vec![
        (name("hello"), file(b"hello\n")),
        (name("link"), leaf(symlink, meta(0o777))),
    ];
    tree.dir(with_xattr(b"user.note", b"x"), entries)
}

/// Everything that an image can hold, and what is awkward.
fn rich(tree: &mut Tree) -> Item {
    let device = |minor| Device { major: 1, minor };
    let mut entries = vec![
        (name("empty"), leaf(Kind::File(Content::Empty), meta(0o600))),
        (name("null"), leaf(Kind::Char(device(3)), meta(0o666))),
        (
            name("disk"),
            leaf(Kind::Block(device(0xf_ffff)), meta(0o660)),
        ),
        (name("fifo"), leaf(Kind::Fifo, meta(0o622))),
        (name(b"\xff\xfe"), linked(file(b"linked"), 7)),
        (name("!before the dots"), linked(file(b"linked"), 7)),
        (name(b".\x01between"), file(b"between")),
        (
            name([b'x'; 255]),
            leaf(Kind::Symlink([b't'; 4095].into()), meta(0o777)),
        ),
        (
            name("short"),
            leaf(Kind::Symlink([b't'; 4032].into()), meta(0o777)),
        ),
        (
            name("huge"),
            leaf(
                Kind::File(Content::Object {
                    id: ContentId([9; 32]),
                    size: 20 << 40,
                }),
                meta(0o400),
            ),
        ),
    ];
    let many = |count: usize, width: usize| {
        let names = (0..count).map(move |at| name(format!("{at:0width$}")));
        names
            .map(|name| (name, file(b"one of many")))
            .collect::<Vec<_>>()
    };
    for (count, width) in [
        (0, 1),
        (1, 200),
        (40, 80),
        (41, 80),
        (45, 80),
        (5_000, 20),
        (3_000, 251),
    ] {
        let folder = tree.dir(meta(0o755), many(count, width));
        entries.push((name(format!("folder-{count}-{width}")), folder));
    }
    let large = tree.dir(with_xattr(b"trusted.large", &[5; 60_000]), many(90, 30));
    entries.push((name("large"), large));
    tree.dir(with_xattr(b"security.capability", b"\x01\0\0\x02"), entries)
}

fn deep(tree: &mut Tree, levels: usize) -> Item {
    let bottom = tree.dir(meta(0o755), Vec::new());
    (0..levels).fold(bottom, |inner, _| {
        tree.dir(meta(0o755), vec![(name("d"), inner)])
    })
}

#[test]
fn the_bytes_of_a_tiny_tree_are_these() {
    let mut tree = Tree::default();
    let root = tiny(&mut tree);
    let (bytes, written) = tree.image(&root);
    assert_eq!((bytes.len(), written.inodes), (8192, 3));
    crate::golden::compare("image.erofs", &bytes[1024..1024 + 128]);
    crate::golden::compare("image-inodes.erofs", &bytes[4096..4096 + 512]);
    let used = [&bytes[1024..1024 + 128], &bytes[4096..4096 + 512]].concat();
    let rest = bytes.iter().filter(|byte| **byte != 0).count();
    assert_eq!(rest, used.iter().filter(|byte| **byte != 0).count());
}

#[test]
fn the_same_tree_gives_the_same_bytes_and_another_one_another_uuid() {
    let mut tree = Tree::default();
    let root = rich(&mut tree);
    let (first, written) = tree.image(&root);
    assert_eq!(tree.image(&root), (first.clone(), written));
    let other = tiny(&mut tree);
    let (other, _) = tree.image(&other);
    assert_ne!(first[1024 + 48..1024 + 64], other[1024 + 48..1024 + 64]);
}

#[test]
fn every_path_has_a_place_and_names_of_one_inode_have_one() {
    let mut tree = Tree::default();
    let root = rich(&mut tree);
    let (bytes, written) = tree.image(&root);
    let places = tree.places(&root);
    let of = |path: &str| places.iter().find(|(_, of)| of == path).unwrap().0;
    assert_eq!(of("/!before the dots"), of("/\\xff\\xfe"));
    let mut nids: Vec<u64> = places.iter().map(|(nid, _)| *nid).collect();
    nids.sort_unstable();
    nids.dedup();
    assert_eq!(nids.len() as u64, written.inodes);
    assert_eq!(nids.len(), places.len() - 1);
    // The number of links is where the number says.
    let at = usize::try_from(of("/\\xff\\xfe")).unwrap() * 32 + 44;
    assert_eq!(bytes[at..at + 4], 2_u32.to_le_bytes());
}

#[test]
fn a_deep_tree_takes_no_deep_stack() {
    let mut tree = Tree::default();
    let root = deep(&mut tree, 20_000);
    let work = || tree.image(&root).1.inodes;
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let inodes =
        std::thread::scope(|scope| small.spawn_scoped(scope, work).unwrap().join().unwrap());
    assert_eq!(inodes, 20_001);
}

#[test]
fn what_an_overlay_would_take_for_a_deletion_is_refused_by_its_path() {
    let mut tree = Tree::default();
    let device = |major, minor| leaf(Kind::Char(Device { major, minor }), meta(0o666));
    for (major, minor) in [(0, 0), (4096, 0), (0, 1 << 20)] {
        let dev = tree.dir(meta(0o755), vec![(name("zero"), device(major, minor))]);
        let root = tree.dir(meta(0o755), vec![(name("dev"), dev)]);
        let error = tree
            .write(&root, tempfile::tempfile().unwrap())
            .unwrap_err();
        assert!(error.to_string().contains("'dev/zero'"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn what_has_no_room_is_told_with_its_first_path() {
    let mut tree = Tree::default();
    let bad = || leaf(Kind::Fifo, with_xattr(b"user.x", b""));
    let inner = tree.dir(meta(0o755), vec![(name("a"), bad()), (name("b"), bad())]);
    let root = tree.dir(meta(0o755), vec![(name("in"), inner)]);
    let lacking = tree.image(&root).1.left_out;
    let expected = Lacking {
        count: 2,
        first: "in/a".to_owned(),
    };
    assert_eq!(lacking, [(LeftOut::NotOnThisType, expected)].into());
}

/// Runs `fsck.erofs`; where it is missing, the test is skipped, or fails where that is asked for.
fn fsck(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, bytes).unwrap();
    let Ok(output) = Command::new("fsck.erofs").arg("-d3").arg(&path).output() else {
        assert!(
            std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
            "no fsck.erofs"
        );
        return;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains("No errors found"), "{said}");
}

#[test]
fn fsck_erofs_finds_nothing() {
    let mut tree = Tree::default();
    for root in [tiny(&mut tree), rich(&mut tree), deep(&mut tree, 100)] {
        fsck(&tree.image(&root).0);
    }
}
