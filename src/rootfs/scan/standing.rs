//! Owns looking at a checkout: what in it is what its image gave it, by type, size, mode, owner and time alone, and what
//! somebody changed. Nothing is read but names and targets of symlinks.
//!
//! Of what was changed it is only told that it was: it becomes a thing that no image has.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Statx, StatxAttributes};
use rustix::io::Errno;

use super::super::host::{self, Identity};
use super::super::owners::Ownership;
use super::super::record::{self, NOT_MADE};
use super::entry::{FoundLeaf, Place, Sight, key};
use super::found::{Found, FoundDir, FoundItem, Links, join};
use super::walk::names_in;
use crate::digest::{ContentId, TreeId};
use crate::error::{Context as _, Error, Result};
use crate::meta::{Meta, Mtime};
use crate::path::Name;
use crate::store::inodes::Stat;
use crate::tree::{Content, Device, Item, Kind, Leaf, NewNodes, Node, Nodes};
use crate::watch::Watch;

/// An owner that no file has: `chown` takes the number for none.
const NOBODY: u32 = u32::MAX;

/// What a checkout should be.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// Where nodes come from.
    pub(crate) nodes: &'a (dyn Nodes + Sync),
    /// The tree that was laid out; `None` where nobody knows it any more: then all of it was changed.
    pub(crate) root: Option<TreeId>,
    /// The trees that it was about to become. What differs in them may be anything.
    pub(crate) toward: &'a [TreeId],
    /// Whose its files are.
    pub(crate) owners: &'a Ownership,
    /// Whether devices could not be made.
    pub(crate) lacks_devices: bool,
    /// What is in its root and no part of it.
    pub(crate) except: Option<&'a str>,
}

/// What a checkout is.
#[derive(Debug)]
pub(crate) struct Stood {
    /// Its tree, where what was changed is a thing that no image has.
    pub(crate) root: TreeId,
    /// The nodes of it.
    pub(crate) nodes: NewNodes,
    /// What was seen of it.
    pub(crate) seen: Seen,
}

/// What is to be seen of a checkout beside its tree.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What somebody changed, sorted; of a directory that was added only itself.
    pub(crate) changed: Vec<Vec<u8>>,
    /// Files that may share their inode with one of the store, by their paths.
    pub(crate) linked: Vec<(Vec<u8>, Identity)>,
    /// Its directories, by their paths.
    pub(crate) dirs: HashMap<Vec<u8>, Identity>,
}

/// Looks at all of the checkout at `dir`.
pub(crate) fn stand(
    dir: BorrowedFd<'_>,
    standing: &Standing<'_>,
    watch: &dyn Watch,
) -> Result<Stood> {
    let look = Look {
        dir,
        standing,
        watch,
        state: Mutex::new(State {
            dirs: vec![FoundDir::default()],
            seen: Seen::default(),
            failure: None,
        }),
    };
    let root = Visit {
        number: 0,
        path: Vec::new(),
        before: standing.root,
        toward: standing.toward.to_vec(),
    };
    rayon::scope(|scope| look.enter(scope, root));
    let state = look.state.into_inner();
    let State {
        dirs,
        mut seen,
        failure,
    } = state.unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let found = Found {
        dirs,
        sight: Sight::All,
        links: Links::Looked,
    };
    let tree = found.into_tree();
    seen.changed.sort_unstable();
    Ok(Stood {
        root: tree.root,
        nodes: tree.nodes,
        seen,
    })
}

struct Look<'a> {
    dir: BorrowedFd<'a>,
    standing: &'a Standing<'a>,
    watch: &'a dyn Watch,
    state: Mutex<State>,
}

struct State {
    dirs: Vec<FoundDir>,
    seen: Seen,
    failure: Option<Error>,
}

/// A directory's turn.
struct Visit {
    number: usize,
    path: Vec<u8>,
    before: Option<TreeId>,
    /// What it was about to become, where that is not the same.
    toward: Vec<TreeId>,
}

/// What a directory was, and was about to become.
struct Known {
    before: Option<Node>,
    toward: Vec<Node>,
}

impl Known {
    fn item(&self, name: &Name) -> Option<&Item> {
        self.before.as_ref()?.get(name.as_bytes())
    }

    /// Tells whether a name was about to become something else.
    fn may_differ(&self, name: &Name) -> bool {
        let before = self.item(name);
        let same = |node: &Node| node.get(name.as_bytes()) == before;
        !self.toward.iter().all(same)
    }

    /// Returns what a name was as a directory, and what it was about to become, where that is one everywhere.
    fn dir(&self, name: &Name) -> Option<(TreeId, Vec<TreeId>)> {
        let Some(Item::Dir(before)) = self.item(name) else {
            return None;
        };
        let mut toward = Vec::new();
        for node in &self.toward {
            match node.get(name.as_bytes()) {
                Some(Item::Dir(there)) if there.id == before.id => {}
                Some(Item::Dir(there)) => toward.push(there.id),
                _ => return None,
            }
        }
        Some((before.id, toward))
    }
}

impl Look<'_> {
    fn enter<'s>(&'s self, scope: &rayon::Scope<'s>, visit: Visit) {
        if let Err(e) = self.visit(scope, visit) {
            self.state().failure.get_or_insert(e);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit<'s>(&'s self, scope: &rayon::Scope<'s>, visit: Visit) -> Result<()> {
        if self.state().failure.is_some() {
            return Ok(());
        }
        self.watch.check()?;
        let node = |id: &TreeId| self.standing.nodes.node(id);
        let known = Known {
            before: visit.before.as_ref().map(node).transpose()?,
            toward: visit.toward.iter().map(node).collect::<Result<_>>()?,
        };
        let mut at = Place {
            at: self.dir,
            name: b"",
            path: &visit.path,
        };
        let open = host::open_dir(self.dir, &visit.path).context("open", at.show())?;
        at.at = open.as_fd();
        let mut here = Here::default();
        let names = names_in(at)?;
        for name in &names {
            if visit.number == 0 && self.standing.except.map(str::as_bytes) == Some(name.as_bytes())
            {
                continue;
            }
            self.look(scope, (at, &known), name, &mut here)?;
        }
        let gone = known.before.iter().flat_map(|node| &node.entries);
        for (name, item) in gone.filter(|(name, _)| names.binary_search(name).is_err()) {
            self.miss((&visit.path, &known), (name, item), &mut here);
        }
        let stat = record::stat(at.at, b"").context("look at", at.show())?;
        let meta = self.own_meta(&known, &stat);
        let is_changed = meta.is_none() && known.before.is_some() && known.toward.is_empty();
        let time = Mtime {
            secs: stat.stx_mtime.tv_sec,
            nanos: stat.stx_mtime.tv_nsec,
        };
        // A time alone is no change: what is in it has changes of its own, and nothing is lost with it.
        let meta = match meta {
            Some(meta) if self.has_time(meta, time) => meta.clone(),
            _ => no_meta(),
        };
        here.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let done = FoundDir {
            path: visit.path.clone(),
            meta,
            base: None,
            entries: here.entries,
            print: NOT_MADE,
        };
        let mut state = self.state();
        state.dirs[visit.number] = done;
        let seen = &mut state.seen;
        seen.changed.extend(here.changed);
        seen.linked.extend(here.linked);
        if is_changed {
            seen.changed.push(visit.path.clone());
        }
        seen.dirs.insert(visit.path, Identity::of(&stat));
        Ok(())
    }

    /// Returns the image's metadata of a directory, where the directory has its mode and owner.
    fn own_meta<'k>(&self, known: &'k Known, stat: &Statx) -> Option<&'k Meta> {
        let node = known.before.as_ref()?;
        let (wanted, _) = self.standing.owners.apply(&node.meta);
        let seen = Stat::seen(stat);
        let same = (seen.mode, seen.uid, seen.gid) == (wanted.mode, wanted.uid, wanted.gid);
        same.then_some(&node.meta)
    }

    fn has_time(&self, meta: &Meta, time: Mtime) -> bool {
        let (wanted, _) = self.standing.owners.apply(meta);
        let wanted = Stat::wanted(0, &wanted);
        let seen = Stat {
            mtime: time,
            ..wanted
        };
        seen.differences(&wanted).is_empty()
    }

    /// Looks at one name that is there.
    fn look<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        (at, known): (Place<'_>, &Known),
        name: &Name,
        here: &mut Here,
    ) -> Result<()> {
        let path = join(at.path, name);
        let place = Place {
            name: name.as_bytes(),
            path: &path,
            ..at
        };
        let stat = match record::stat(place.at, place.name) {
            // It went away, which is for who wanted it to tell.
            Err(Errno::NOENT) => return Ok(()),
            other => other.context("look at", place.show())?,
        };
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            let why = "something is mounted there";
            return Err(Error::failed("update", place.show(), why).hint("unmount it first"));
        }
        let is_dir = FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory;
        if let (true, Some((before, toward))) = (is_dir, known.dir(name)) {
            let number = {
                let mut state = self.state();
                state.dirs.push(FoundDir::default());
                state.dirs.len() - 1
            };
            let below = Visit {
                number,
                path,
                before: Some(before),
                toward,
            };
            scope.spawn(move |scope| self.enter(scope, below));
            here.entries.push((name.clone(), FoundItem::Dir(number)));
            return Ok(());
        }
        let may_differ = known.may_differ(name);
        let leaf = match known.item(name) {
            Some(Item::Leaf(leaf)) if !may_differ && self.is(place, &stat, leaf)? => {
                if stat.stx_nlink > 1 {
                    here.linked.push((path, Identity::of(&stat)));
                }
                found(leaf.clone(), &stat)
            }
            _ => {
                if !may_differ {
                    here.changed.push(path);
                }
                nothing_known()
            }
        };
        here.entries.push((name.clone(), FoundItem::Leaf(leaf)));
        Ok(())
    }

    /// Takes note of a name that is not there.
    fn miss(&self, (path, known): (&[u8], &Known), (name, item): (&Name, &Item), here: &mut Here) {
        match item {
            _ if known.may_differ(name) => {}
            Item::Leaf(leaf) if self.standing.lacks_devices && is_device(&leaf.kind) => {
                let leaf = unmade(leaf.clone());
                here.entries.push((name.clone(), FoundItem::Leaf(leaf)));
            }
            _ => here.changed.push(join(path, name)),
        }
    }

    /// Tells whether a name is what the image gave it.
    fn is(&self, place: Place<'_>, stat: &Statx, leaf: &Leaf) -> Result<bool> {
        let device = Device {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        };
        let (wanted, _) = self.standing.owners.apply(&leaf.meta);
        let mut wanted = Stat::wanted(0, &wanted);
        let mut seen = Stat::seen(stat);
        let is_kind = match (
            FileType::from_raw_mode(u32::from(stat.stx_mode)),
            &leaf.kind,
        ) {
            (FileType::RegularFile, Kind::File(content)) => {
                wanted.size = content.size();
                true
            }
            (FileType::Symlink, Kind::Symlink(target)) => {
                (seen.size, seen.mode) = (0, wanted.mode);
                match rustix::fs::readlinkat(place.at, place.name, Vec::new()) {
                    Ok(there) => there.to_bytes() == &**target,
                    Err(Errno::INVAL | Errno::NOENT) => false,
                    Err(e) => return Err(e).context("read the link", place.show()),
                }
            }
            (FileType::CharacterDevice, Kind::Char(there))
            | (FileType::BlockDevice, Kind::Block(there)) => *there == device,
            (FileType::Fifo, Kind::Fifo) => true,
            _ => false,
        };
        Ok(is_kind && seen.differences(&wanted).is_empty())
    }
}

/// What was found in a directory.
#[derive(Default)]
struct Here {
    entries: Vec<(Name, FoundItem)>,
    changed: Vec<Vec<u8>>,
    linked: Vec<(Vec<u8>, Identity)>,
}

fn is_device(kind: &Kind) -> bool {
    matches!(kind, Kind::Char(_) | Kind::Block(_))
}

fn found(leaf: Leaf, stat: &Statx) -> FoundLeaf {
    FoundLeaf {
        key: key(stat),
        ..unmade(leaf)
    }
}

fn unmade(leaf: Leaf) -> FoundLeaf {
    FoundLeaf {
        leaf,
        key: None,
        unread: None,
        was: None,
        print: NOT_MADE,
    }
}

/// Returns what no image has.
fn nothing_known() -> FoundLeaf {
    unmade(Leaf {
        kind: Kind::File(Content::Object {
            id: ContentId([0; 32]),
            size: 1,
        }),
        meta: no_meta(),
        group: None,
    })
}

fn no_meta() -> Meta {
    Meta {
        uid: NOBODY,
        gid: NOBODY,
        ..Meta::default()
    }
}

/// Returns which inodes stay where all at `gone` and below goes.
pub(crate) fn staying(
    linked: &[(Vec<u8>, Identity)],
    gone: &HashSet<Vec<u8>>,
) -> HashSet<Identity> {
    let goes = |path: &[u8]| {
        gone.contains(path)
            || path
                .iter()
                .enumerate()
                .any(|(at, byte)| *byte == b'/' && gone.contains(&path[..at]))
    };
    let stays = linked.iter().filter(|(path, _)| !goes(path));
    stays.map(|(_, identity)| *identity).collect()
}
