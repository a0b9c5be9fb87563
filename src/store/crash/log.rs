//! Owns the log of what a store did to its disk, in order: names, syncs, and the bytes that files held meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::meta::{Meta, Mtime};
use crate::store::{durable, inodes};

/// A file of the log, whatever its names.
pub(crate) type FileId = usize;

/// One thing that was done.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A new file got its first name.
    Create(FileId, PathBuf),
    /// A new folder.
    MakeFolder(PathBuf),
    /// A file moved from one name to another.
    Rename(FileId, PathBuf, PathBuf),
    /// A folder moved from one name to another, with the files in it.
    RenameFolder(PathBuf, PathBuf, Vec<(FileId, PathBuf)>),
    /// A file's name went.
    Remove(PathBuf),
    /// A folder went.
    RemoveFolder(PathBuf),
    /// A file's bytes and metadata were made durable.
    SyncFile(FileId),
    /// The names in a folder were made durable.
    SyncFolder(PathBuf),
    /// Everything was made durable.
    SyncAll,
    /// The catalog wrote.
    Write(FileId, u64, Arc<[u8]>),
    /// The catalog changed its length.
    SetLen(FileId, u64),
    /// A command said that it had done its work.
    Finished,
}

/// What a file held at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) meta: Meta,
}

/// What is known of a file.
#[derive(Debug)]
pub(crate) struct FileLog {
    /// What it held when it came to be, or when the log began.
    pub(crate) base: Snapshot,
    /// What it held later, each with the number of operations done by then.
    pub(crate) later: Vec<(usize, Snapshot)>,
    /// Whether each of its writes is in the log; then there are no snapshots.
    pub(crate) is_written: bool,
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Folder,
    File(FileId),
}

/// The log of one folder.
#[derive(Debug, Default)]
pub(crate) struct Log {
    root: PathBuf,
    /// What there was when the log began, all of it durable.
    pub(crate) first: BTreeMap<PathBuf, Node>,
    pub(crate) ops: Vec<Op>,
    pub(crate) files: Vec<FileLog>,
    /// What there is now; of files, with their inode numbers.
    now: BTreeMap<PathBuf, (Node, u64)>,
}

impl Snapshot {
    /// A file that was just made.
    fn empty() -> Self {
        let meta = Meta {
            mode: 0o600,
            ..Meta::default()
        };
        let bytes = Arc::from([]);
        Self { bytes, meta }
    }

    /// Makes a file of it.
    pub(crate) fn put(&self, path: &Path) {
        let Self { bytes, meta } = self;
        let mut file = durable::create_new(path).unwrap();
        file.write_all(bytes).unwrap();
        assert!(inodes::give(&file, meta).unwrap().is_empty());
    }

    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let stat = file.metadata()?;
        let meta = Meta {
            mode: u16::try_from(stat.mode() & 0o7777).unwrap(),
            uid: stat.uid(),
            gid: stat.gid(),
            mtime: Mtime {
                secs: stat.mtime(),
                nanos: u32::try_from(stat.mtime_nsec()).unwrap(),
            },
            xattrs: inodes::read_xattrs(&file)?,
        };
        let bytes = fs::read(path)?.into();
        Ok(Self { bytes, meta })
    }
}

impl Log {
    /// Begins a log of the folder `root` as it is.
    pub(crate) fn begin(root: &Path) -> Self {
        let mut log = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        log.discover();
        for (path, (node, _)) in &log.now {
            log.first.insert(path.clone(), *node);
            if let Node::File(file) = node {
                let known = &mut log.files[*file];
                if let Some((_, seen)) = known.later.pop() {
                    known.base = seen;
                }
            }
        }
        log.ops.clear();
        log
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn file_at(&self, below: &Path) -> FileId {
        match self.now.get(below) {
            Some((Node::File(file), _)) => *file,
            other => panic!("no file was made at {}: {other:?}", below.display()),
        }
    }

    /// Takes in what was made and removed past the seam: locks, mostly.
    pub(crate) fn discover(&mut self) {
        let mut there = BTreeMap::new();
        walk(&self.root, &mut |path, is_folder, ino| {
            there.insert(self.below(path), (is_folder, ino));
        });
        let gone = |(path, (node, ino)): (&PathBuf, &(Node, u64))| {
            let same = there.get(path).is_some_and(|(is_folder, other)| {
                *is_folder == (*node == Node::Folder) && (*is_folder || other == ino)
            });
            (!same).then(|| path.clone())
        };
        let gone: Vec<PathBuf> = self.now.iter().filter_map(gone).collect();
        gone.iter().rev().for_each(|path| self.removed(path));
        for (path, (is_folder, _)) in there {
            if !self.now.contains_key(&path) {
                match is_folder {
                    true => self.made_folder(&path),
                    false => self.created(&path),
                }
            }
        }
    }

    fn created(&mut self, below: &Path) {
        let file = self.files.len();
        self.files.push(FileLog {
            base: Snapshot::empty(),
            later: Vec::new(),
            is_written: false,
        });
        let ino = fs::symlink_metadata(self.root.join(below)).map_or(0, |stat| stat.ino());
        self.now.insert(below.to_owned(), (Node::File(file), ino));
        self.ops.push(Op::Create(file, below.to_owned()));
        self.look(file, below);
        // Of a file that is empty yet, only its metadata is new.
        let known = &mut self.files[file];
        if known
            .later
            .last()
            .is_some_and(|(_, seen)| seen.bytes.is_empty())
        {
            known.base = known.later.remove(0).1;
        }
    }

    fn made_folder(&mut self, below: &Path) {
        self.now.insert(below.to_owned(), (Node::Folder, 0));
        self.ops.push(Op::MakeFolder(below.to_owned()));
    }

    fn removed(&mut self, below: &Path) {
        let op = match self.now.remove(below) {
            Some((Node::Folder, _)) => Op::RemoveFolder(below.to_owned()),
            _ => Op::Remove(below.to_owned()),
        };
        self.ops.push(op);
    }

    /// Keeps what a file holds, where it is not what it held before.
    fn look(&mut self, file: FileId, below: &Path) {
        let known = &mut self.files[file];
        if known.is_written {
            return;
        }
        let Ok(seen) = Snapshot::of(&self.root.join(below)) else {
            return;
        };
        let last = known.later.last().map_or(&known.base, |(_, last)| last);
        if *last != seen {
            known.later.push((self.ops.len(), seen));
        }
    }

    /// Keeps what the file at `path` holds before something is done with it.
    pub(crate) fn look_at(&mut self, path: &Path) {
        let below = self.below(path);
        if let Some((Node::File(file), _)) = self.now.get(&below) {
            self.look(*file, &below);
        }
    }

    pub(crate) fn create(&mut self, path: &Path) {
        self.created(&self.below(path));
    }

    pub(crate) fn make_folder(&mut self, path: &Path) {
        self.made_folder(&self.below(path));
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        let (from, to) = (self.below(from), self.below(to));
        let moved = self.now.remove(&from).unwrap();
        let Node::File(file) = moved.0 else {
            panic!("a folder was renamed, which no store does")
        };
        self.now.insert(to.clone(), moved);
        self.ops.push(Op::Rename(file, from, to));
    }

    /// Keeps what the files in a folder hold before something is done with it.
    pub(crate) fn look_below(&mut self, folder: &Path) {
        self.files_in(&self.below(folder))
            .into_iter()
            .for_each(|(file, name)| self.look(file, &self.below(&folder.join(name))));
    }

    /// Returns the files in a folder that has no folders in it, by their names there.
    fn files_in(&self, below: &Path) -> Vec<(FileId, PathBuf)> {
        let inside = |(path, (node, _)): (&PathBuf, &(Node, u64))| {
            let name = path.strip_prefix(below).ok()?;
            match node {
                _ if name.as_os_str().is_empty() => None,
                Node::File(file) => Some((*file, name.to_owned())),
                Node::Folder => panic!("a folder of folders was renamed, which no store does"),
            }
        };
        self.now.iter().filter_map(inside).collect()
    }

    pub(crate) fn rename_folder(&mut self, from: &Path, to: &Path) {
        let (from, to) = (self.below(from), self.below(to));
        let files = self.files_in(&from);
        for (_, name) in &files {
            let moved = self.now.remove(&from.join(name)).unwrap();
            self.now.insert(to.join(name), moved);
        }
        let moved = self.now.remove(&from).unwrap();
        self.now.insert(to.clone(), moved);
        self.ops.push(Op::RenameFolder(from, to, files));
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.removed(&self.below(path));
    }

    pub(crate) fn sync_file(&mut self, path: &Path) {
        let file = self.file_at(&self.below(path));
        self.ops.push(Op::SyncFile(file));
    }

    pub(crate) fn sync_folder(&mut self, path: &Path) {
        self.ops.push(Op::SyncFolder(self.below(path)));
    }

    /// Looks at every file: after a sync of all each holds what it holds now.
    pub(crate) fn look_at_all(&mut self) {
        let files: Vec<(FileId, PathBuf)> = self
            .now
            .iter()
            .filter_map(|(path, (node, _))| match node {
                Node::File(file) => Some((*file, path.clone())),
                Node::Folder => None,
            })
            .collect();
        files.iter().for_each(|(file, path)| self.look(*file, path));
    }

    pub(crate) fn sync_all(&mut self) {
        self.ops.push(Op::SyncAll);
    }

    pub(crate) fn finished(&mut self) {
        self.ops.push(Op::Finished);
    }

    /// Returns the file at `path`, whose writes come into the log from now on.
    pub(crate) fn open_written(&mut self, path: &Path) -> FileId {
        let file = self.file_at(&self.below(path));
        let known = &mut self.files[file];
        if !known.is_written {
            assert!(known.later.is_empty(), "it was written past the seam");
            known.is_written = true;
        }
        file
    }

    pub(crate) fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        self.ops.push(Op::Write(file, offset, bytes.into()));
    }

    pub(crate) fn set_len(&mut self, file: FileId, len: u64) {
        self.ops.push(Op::SetLen(file, len));
    }

    pub(crate) fn sync_written(&mut self, file: FileId) {
        self.ops.push(Op::SyncFile(file));
    }
}

/// Calls `each` for all below a folder, with whether it is a folder and with its inode number.
fn walk(folder: &Path, each: &mut dyn FnMut(&Path, bool, u64)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(stat) = entry.metadata() else { continue };
        each(&entry.path(), stat.is_dir(), stat.ino());
        if stat.is_dir() {
            walk(&entry.path(), each);
        }
    }
}
