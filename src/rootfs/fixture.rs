//! Trees made by hand for the tests: put into a store of their own, checked out, and compared with what the host has.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Options, Report, checkout};
use crate::digest::{ContentId, LinkGroup, TreeId};
use crate::error::Result;
use crate::meta::{Meta, Mtime};
use crate::path::Name;
use crate::store::inodes::Owners;
use crate::store::locks::Wait;
use crate::store::{Store, inodes};
use crate::tree::{Content, Device, Item, Kind, Leaf, Node, Subtree};
use crate::watch::Unwatched;

/// A directory of an image: its metadata and what is in it.
#[derive(Clone, Default)]
pub(super) struct Folder {
    meta: Meta,
    items: BTreeMap<Vec<u8>, Thing>,
}

#[derive(Clone)]
pub(super) enum Thing {
    Folder(Folder),
    File(Meta, Vec<u8>),
    Linked(Meta, Vec<u8>, u8),
    Symlink(Meta, Vec<u8>),
    Fifo(Meta, Option<u8>),
    Char(Meta, Device),
}

impl Folder {
    pub(super) fn new(meta: Meta) -> Self {
        Self {
            meta,
            ..Self::default()
        }
    }

    pub(super) fn with(mut self, name: impl AsRef<[u8]>, thing: Thing) -> Self {
        self.items.insert(name.as_ref().to_vec(), thing);
        self
    }
}

pub(super) fn file(meta: Meta, bytes: impl AsRef<[u8]>) -> Thing {
    Thing::File(meta, bytes.as_ref().to_vec())
}

pub(super) fn meta(mode: u16, secs: i64) -> Meta {
    Meta {
        mode,
        mtime: Mtime {
            secs,
            nanos: 123_456_789,
        },
        ..Meta::default()
    }
}

pub(super) fn owned(mode: u16, uid: u32, gid: u32) -> Meta {
    Meta {
        uid,
        gid,
        ..meta(mode, 1_000_000)
    }
}

pub(super) fn with_xattr(mut meta: Meta, name: &str, value: &[u8]) -> Meta {
    meta.xattrs.insert(name.as_bytes().into(), value.into());
    meta
}

pub(super) struct Fixture {
    dir: tempfile::TempDir,
    pub(super) store: Store,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        store.create_catalog(|_| Ok(())).unwrap();
        Self { dir, store }
    }

    /// Puts a tree into the store as an import does: contents first, then the records.
    pub(super) fn put(&self, folder: &Folder) -> TreeId {
        let writer = self.store.write().unwrap();
        let mut nodes = BTreeMap::new();
        let mut add = |bytes: &[u8], meta: &Meta| writer.add_object(bytes, meta).unwrap();
        let root = put_folder(folder, &mut nodes, &mut add).id;
        let published = writer.publish().unwrap();
        self.store
            .change_catalog(|change| {
                change.put_nodes(nodes.iter().map(|(id, bytes)| (id, bytes.as_slice())))?;
                change.put_givens(published.objects.iter())
            })
            .unwrap();
        root
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn out(&self, root: &TreeId, name: &str, options: &Options) -> Result<Report> {
        checkout(
            &self.store.write().unwrap(),
            root,
            &self.path(name),
            options,
            &Unwatched,
        )
    }

    /// Checks out by links and compares with `folder`.
    pub(super) fn proves(&self, folder: &Folder, name: &str, options: &Options) -> Report {
        let report = self.out(&self.put(folder), name, options).unwrap();
        let mut wanted = BTreeMap::new();
        expect(folder, b"", &mut wanted);
        let wanted = name_inodes(wanted);
        let seen = look(&self.path(name));
        for (path, entry) in &wanted {
            assert_eq!(seen.get(path), Some(entry), "{}", crate::path::escape(path));
        }
        assert_eq!(seen.len(), wanted.len());
        report
    }

    pub(super) fn object(&self, bytes: &[u8]) -> PathBuf {
        self.store
            .root()
            .join(self.store.object_path(&ContentId::of(bytes)))
    }

    /// What is beside the store: targets, and what checkouts left behind.
    pub(super) fn neighbours(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "store")
            .collect();
        names.sort();
        names
    }
}

fn put_folder(
    folder: &Folder,
    nodes: &mut BTreeMap<TreeId, Vec<u8>>,
    add: &mut dyn FnMut(&[u8], &Meta) -> ContentId,
) -> Subtree {
    let mut entries = Vec::new();
    for (name, thing) in &folder.items {
        let leaf = |kind, meta: &Meta, group: Option<u8>| {
            Item::Leaf(Leaf {
                kind,
                meta: meta.clone(),
                group: group.map(|g| LinkGroup([g; 16])),
            })
        };
        let mut content = |bytes: &[u8], meta: &Meta| match bytes.len() as u64 {
            0 => Kind::File(Content::Empty),
            size => Kind::File(Content::Object {
                id: add(bytes, meta),
                size,
            }),
        };
        let item = match thing {
            Thing::Folder(folder) => Item::Dir(put_folder(folder, nodes, add)),
            Thing::File(meta, bytes) => leaf(content(bytes, meta), meta, None),
            Thing::Linked(meta, bytes, group) => leaf(content(bytes, meta), meta, Some(*group)),
            Thing::Symlink(meta, target) => {
                leaf(Kind::Symlink(target.as_slice().into()), meta, None)
            }
            Thing::Fifo(meta, group) => leaf(Kind::Fifo, meta, *group),
            Thing::Char(meta, device) => leaf(Kind::Char(*device), meta, None),
        };
        entries.push((Name::parse(name).unwrap(), item));
    }
    let node = Node {
        meta: folder.meta.clone(),
        entries,
    };
    node.encode_into(nodes)
}

/// All that is to be seen of one entry; `same` is the first path of the same inode.
#[derive(PartialEq, Eq, Debug)]
struct Entry {
    kind: &'static str,
    body: Vec<u8>,
    meta: Meta,
    same: Vec<u8>,
}

type Entries<K> = BTreeMap<Vec<u8>, (K, Entry)>;

/// Says of each entry which path is the first of its inode, by what tells inodes apart.
fn name_inodes<K: Ord>(all: Entries<K>) -> BTreeMap<Vec<u8>, Entry> {
    let mut first = BTreeMap::new();
    let name = |(path, (inode, entry)): (Vec<u8>, (K, Entry))| {
        let same = first.entry(inode).or_insert_with(|| path.clone()).clone();
        (path, Entry { same, ..entry })
    };
    all.into_iter().map(name).collect()
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        name.to_vec()
    } else {
        [path, b"/", name].concat()
    }
}

/// What a checkout has to be: inodes are told apart by group, or by path.
fn expect(folder: &Folder, path: &[u8], all: &mut Entries<(Option<u8>, Vec<u8>)>) {
    let owners = Owners::of_process();
    let mut enter = |path: &[u8], kind, body: &[u8], meta: &Meta, group: Option<u8>| {
        let mut meta = owners.apply(meta);
        meta.xattrs.retain(|name, _| inodes::is_settable(name));
        let inode = (
            group,
            if group.is_some() {
                Vec::new()
            } else {
                path.to_vec()
            },
        );
        let entry = Entry {
            kind,
            body: body.to_vec(),
            meta,
            same: Vec::new(),
        };
        all.insert(path.to_vec(), (inode, entry));
    };
    enter(path, "dir", b"", &folder.meta, None);
    let mut below = Vec::new();
    for (name, thing) in &folder.items {
        let child = join(path, name);
        match thing {
            Thing::Folder(folder) => below.push((folder, child)),
            Thing::File(meta, bytes) => enter(&child, "file", bytes, meta, None),
            Thing::Linked(meta, bytes, group) => enter(&child, "file", bytes, meta, Some(*group)),
            Thing::Symlink(meta, target) => {
                let meta = Meta {
                    mode: 0o777,
                    ..meta.clone()
                };
                enter(&child, "symlink", target, &meta, None);
            }
            Thing::Fifo(meta, group) => enter(&child, "fifo", b"", meta, *group),
            Thing::Char(meta, Device { major, minor }) => {
                let device = format!("{major}:{minor}");
                enter(&child, "char", device.as_bytes(), meta, None);
            }
        }
    }
    for (folder, path) in below {
        expect(folder, &path, all);
    }
}

/// What the host has.
fn look(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let here = root.join(OsStr::from_bytes(&path));
        let stat = fs::symlink_metadata(&here).unwrap();
        let (kind, body) = match stat.file_type() {
            t if t.is_dir() => ("dir", Vec::new()),
            t if t.is_symlink() => (
                "symlink",
                fs::read_link(&here)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
            ),
            t if t.is_fifo() => ("fifo", Vec::new()),
            t if t.is_char_device() => {
                let (major, minor) = (
                    rustix::fs::major(stat.rdev()),
                    rustix::fs::minor(stat.rdev()),
                );
                ("char", format!("{major}:{minor}").into_bytes())
            }
            _ => ("file", fs::read(&here).unwrap()),
        };
        if stat.is_dir() {
            let names = fs::read_dir(&here)
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            waiting.extend(names.map(|name| join(&path, name.as_bytes())));
        }
        let entry = Entry {
            kind,
            body,
            meta: meta_of(&here, &stat),
            same: Vec::new(),
        };
        all.insert(path, (stat.ino(), entry));
    }
    name_inodes(all)
}

fn meta_of(path: &Path, stat: &fs::Metadata) -> Meta {
    let mut xattrs = crate::meta::Xattrs::new();
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    for name in names[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
    {
        let value = inodes::get_xattr(path, name).unwrap().unwrap();
        xattrs.insert(name.into(), value.into());
    }
    let mtime = Mtime {
        secs: stat.mtime(),
        nanos: u32::try_from(stat.mtime_nsec()).unwrap(),
    };
    Meta {
        mode: u16::try_from(stat.mode() & 0o7777).unwrap(),
        uid: stat.uid(),
        gid: stat.gid(),
        mtime,
        xattrs,
    }
}

/// Tells whether a test that needs root can run; where it has to, that it cannot is a failure.
pub(super) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs root"
    );
    if !root {
        writeln!(std::io::stderr(), "skipped: this test needs root").unwrap();
    }
    root
}
