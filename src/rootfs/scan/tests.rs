//! What a directory is as a tree, one sentence a test.

#![expect(
    clippy::disallowed_methods,
    reason = "what users do to their files is no business of the store's"
)]

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::*;
use crate::rootfs::fixture::{Fixture, Folder, Thing, file, meta, owned, with_xattr};
use crate::rootfs::{self, LinkMode};
use crate::store::inodes;
use crate::tree::{Content, Item, Kind, Layered, Leaf, NewNodes};
use crate::watch::Unwatched;

/// An image, laid out to be written to.
struct Scene {
    fixture: Fixture,
    root: TreeId,
    options: Options,
    record: Record,
}

fn image() -> Folder {
    let sub = Folder::new(meta(0o750, 5))
        .with("x", file(meta(0o644, 7), "inside"))
        .with("y", file(meta(0o600, 8), vec![7; 5 << 20]));
    Folder::new(meta(0o755, 1))
        .with("a", file(owned(0o4755, 33, 44), "bytes"))
        .with(
            "attr",
            file(with_xattr(meta(0o644, 3), "user.k", b"v"), "k"),
        )
        .with("empty", file(meta(0o644, 2), ""))
        .with("fifo", Thing::Fifo(meta(0o600, 2), None))
        .with("link", Thing::Symlink(meta(0o777, 2), b"a".to_vec()))
        .with("sub", Thing::Folder(sub))
}

impl Scene {
    fn new(owners: Ownership) -> Self {
        let fixture = Fixture::new();
        let root = fixture.put(&image());
        let out = rootfs::Options {
            link: LinkMode::Copy,
            owners: owners.clone(),
            ..rootfs::Options::default()
        };
        fixture.out(&root, "out", &out).unwrap();
        let dir = fs::File::open(fixture.path("out")).unwrap();
        let record = fixture
            .store
            .view(|view| Record::take(dir.as_fd(), view, &root, &Unwatched));
        Self {
            fixture,
            root,
            options: Options {
                owners,
                mask: Mask::default(),
                clamp: None,
            },
            record: record.unwrap(),
        }
    }

    fn out(&self, path: &str) -> PathBuf {
        self.fixture.path("out").join(path)
    }

    fn found(&self, record: Option<&Record>) -> Result<Found> {
        let dir = fs::File::open(self.out("")).unwrap();
        self.fixture.store.view(|nodes| {
            let base = Base {
                nodes,
                root: self.root,
                record,
            };
            look(dir.as_fd(), Some(&base), &self.options, &Unwatched)
        })
    }

    fn scan(&self, record: Option<&Record>) -> Scanned {
        let dir = fs::File::open(self.out("")).unwrap();
        let found = self.found(record).unwrap();
        found.take_in(dir.as_fd(), &Hashing, &Unwatched).unwrap()
    }

    fn scan_again(&self) -> Scanned {
        self.scan(Some(&self.record))
    }

    fn leaf(&self, scanned: &Scanned, name: &str) -> Leaf {
        let nodes: &NewNodes = &scanned.nodes;
        let found = self.fixture.store.view(|view| {
            let nodes = Layered {
                over: nodes,
                under: view,
            };
            Ok(nodes.node(&scanned.root)?.get(name.as_bytes()).cloned())
        });
        match found.unwrap() {
            Some(Item::Leaf(leaf)) => leaf,
            other => panic!("{name} is {other:?}"),
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_laid_out_is_the_tree_it_was_laid_out_from() {
    let scene = Scene::new(Ownership::of_process());
    let scanned = scene.scan(None);
    assert_eq!(scanned.root, scene.root);
    assert!(scanned.nodes.is_empty());
}

#[test]
fn what_has_its_fingerprint_is_not_read() {
    let scene = Scene::new(Ownership::of_process());
    assert_eq!(scene.found(Some(&scene.record)).unwrap().unread(), 0);
    assert_eq!(scene.scan_again().root, scene.root);
    assert!(scene.found(None).unwrap().unread() > 5 << 20);
}

#[test]
fn a_record_of_another_tree_vouches_for_nothing() {
    let scene = Scene::new(Ownership::of_process());
    let other = scene.fixture.put(&Folder::new(meta(0o755, 1)));
    let mut bytes = scene.record.encode();
    bytes[8..40].copy_from_slice(&other.0);
    assert!(Record::decode(&bytes).is_err(), "its sum is another");
    let lies = scene.fixture.store.view(|view| {
        let empty = fs::File::open(scene.out("sub")).unwrap();
        Record::take(empty.as_fd(), view, &other, &Unwatched)
    });
    assert!(scene.found(Some(&lies.unwrap())).unwrap().unread() > 5 << 20);
}

#[test]
fn bytes_changed_under_the_same_size_and_time_are_found() {
    let scene = Scene::new(Ownership::of_process());
    let path = scene.out("sub/x");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "INSIDE").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before).unwrap();
    let found = scene.found(Some(&scene.record)).unwrap();
    assert_eq!(found.unread(), 6);
    assert_ne!(scene.scan_again().root, scene.root);
}

#[test]
fn what_was_read_is_a_base_whose_record_is_known() {
    let mut scene = Scene::new(Ownership::of_process());
    fs::create_dir(scene.out("sub/deep")).unwrap();
    fs::write(scene.out("sub/deep/new"), "new").unwrap();
    fs::hard_link(scene.out("a"), scene.out("sub/a")).unwrap();
    scene.options.mask.add(b"empty").unwrap();
    let Scanned {
        root,
        nodes,
        record,
    } = scene.scan_again();
    assert_eq!(record.root(), &root);
    assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    let rows = nodes.iter().map(|(id, bytes)| (id, bytes.as_slice()));
    let store = &scene.fixture.store;
    store
        .change_catalog(|change| change.put_nodes(rows))
        .unwrap();
    scene.root = root;
    assert_eq!(scene.found(Some(&record)).unwrap().unread(), 0);
    assert_eq!(scene.scan(Some(&record)).root, root);
    fs::write(scene.out("sub/deep/new"), "wen").unwrap();
    assert_eq!(scene.found(Some(&record)).unwrap().unread(), 3);
}

#[test]
fn a_change_that_was_taken_back_is_none() {
    let scene = Scene::new(Ownership::of_process());
    chmod(&scene.out("sub/y"), 0o777);
    chmod(&scene.out("sub/y"), 0o600);
    assert_eq!(scene.scan_again().root, scene.root);
}

#[test]
fn with_and_without_a_record_a_changed_directory_is_one_tree() {
    let scene = Scene::new(Ownership::of_process());
    fs::remove_file(scene.out("a")).unwrap();
    fs::create_dir(scene.out("a")).unwrap();
    fs::write(scene.out("a/new"), vec![1; 5 << 20]).unwrap();
    fs::hard_link(scene.out("a/new"), scene.out("sub/again")).unwrap();
    fs::remove_file(scene.out("sub/y")).unwrap();
    symlink("nowhere", scene.out("sub/y")).unwrap();
    let (with, without) = (scene.scan_again(), scene.scan(None));
    assert_eq!(with.root, without.root);
    assert_eq!(with.nodes, without.nodes);
    assert_eq!(with.nodes.len(), 3);
}

#[test]
fn names_of_one_inode_are_a_group_only_where_two_are_in_the_tree() {
    let scene = Scene::new(Ownership::of_process());
    fs::hard_link(scene.out("a"), scene.fixture.path("outside")).unwrap();
    assert_eq!(scene.scan_again().root, scene.root);
    fs::hard_link(scene.out("a"), scene.out("b")).unwrap();
    let scanned = scene.scan_again();
    let (a, b) = (scene.leaf(&scanned, "a"), scene.leaf(&scanned, "b"));
    assert_eq!(a, b);
    assert_eq!(a.group, Some(crate::digest::LinkGroup::of_first_path(b"a")));
}

#[test]
fn holes_are_zeros() {
    let scene = Scene::new(Ownership::of_process());
    let sparse = fs::File::create(scene.out("sparse")).unwrap();
    sparse.set_len(6 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 5 << 20).unwrap();
    let scanned = scene.scan_again();
    let mut bytes = vec![0; 6 << 20];
    bytes[5 << 20..][..4].copy_from_slice(b"data");
    let expected = Content::Object {
        id: crate::digest::ContentId::of(&bytes),
        size: 6 << 20,
    };
    assert_eq!(scene.leaf(&scanned, "sparse").kind, Kind::File(expected));
}

#[test]
fn what_is_left_out_counts_as_the_base_has_it() {
    let mut scene = Scene::new(Ownership::of_process());
    fs::remove_dir_all(scene.out("sub")).unwrap();
    fs::write(scene.out("new"), "new").unwrap();
    chmod(&scene.out("a"), 0o600);
    for path in ["sub", "/new", "a/"] {
        scene.options.mask.add(path.as_bytes()).unwrap();
    }
    scene.options.clamp = None;
    let dir = fs::File::open(scene.out("")).unwrap();
    let times = inodes::timestamps(meta(0, 1).mtime);
    rustix::fs::futimens(&dir, &times).unwrap();
    assert_eq!(scene.scan_again().root, scene.root);
    assert!(scene.options.mask.add(b"a/../b").is_err());
    assert!(scene.options.mask.add(b"/").is_err());
}

#[test]
fn what_was_left_out_once_is_looked_at_the_next_time() {
    let mut scene = Scene::new(Ownership::of_process());
    scene.options.mask.add(b"sub").unwrap();
    fs::remove_file(scene.out("sub/x")).unwrap();
    let Scanned { root, record, .. } = scene.scan_again();
    assert_eq!(root, scene.root);
    // A commit that left something out vouches for nothing there: it may be gone since, or before.
    scene.options.mask = Mask::default();
    assert_eq!(scene.scan(Some(&record)).root, scene.scan(None).root);
    assert_ne!(scene.scan(None).root, scene.root);
}

#[test]
fn a_socket_is_refused_with_what_to_do() {
    let scene = Scene::new(Ownership::of_process());
    let _socket = UnixListener::bind(scene.out("sub/socket")).unwrap();
    let refused = scene.found(Some(&scene.record)).unwrap_err().to_string();
    assert!(refused.contains("'sub/socket'"), "{refused}");
    assert!(refused.contains("--mask-path"), "{refused}");
}

#[test]
fn one_users_files_belong_to_whom_they_belonged_in_the_base() {
    let scene = Scene::new(Ownership::rootless());
    chmod(&scene.out("a"), 0o700);
    fs::write(scene.out("mine"), "new").unwrap();
    let scanned = scene.scan_again();
    let owner = |name: &str| {
        let meta = scene.leaf(&scanned, name).meta;
        (meta.uid, meta.gid)
    };
    assert_eq!(owner("a"), (33, 44));
    assert_eq!(owner("mine"), (0, 0));
}

#[test]
fn new_times_are_clamped_and_old_ones_are_not() {
    let mut scene = Scene::new(Ownership::of_process());
    fs::write(scene.out("new"), "new").unwrap();
    chmod(&scene.out("a"), 0o700);
    let epoch = Mtime { secs: 6, nanos: 0 };
    scene.options.clamp = Some(epoch);
    let scanned = scene.scan_again();
    assert_eq!(scene.leaf(&scanned, "new").meta.mtime, epoch);
    assert_eq!(scene.leaf(&scanned, "a").meta.mtime.secs, 1_000_000);
}
