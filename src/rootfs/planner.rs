//! Owns turning a merged tree into a plan.
//!
//! All that depends on order is decided here, in tree order (level by level, then by name), so that two checkouts
//! of a tree are the same whatever the threads do.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::host::{self, Identity};
use super::owners::{Gate, Ownership, Unmapped};
use super::plan::{Dir, Group, Known, Leaf, Make, Object, Plan, Variant};
use super::probe::Probe;
use super::report::Reason;
use super::tally::{Spot, Tally};
use crate::digest::{ContentId, InodeId, LinkGroup, TreeId};
use crate::error::{Context as _, Error, Result, quoted};
use crate::meta::Meta;
use crate::path::Name;
use crate::store::Store;
use crate::store::catalog::View;
use crate::store::inodes::{self, Given, Owners, RefusedXattr};
use crate::tree::{Content, Device, Item, Kind, Leaf as TreeLeaf, Nodes};

/// Where a plan begins.
#[derive(Debug)]
pub(super) struct Start {
    /// The directory that becomes the root.
    pub(super) id: TreeId,
    /// The one name of it that is wanted, or all.
    pub(super) only: Option<Name>,
    /// Where it is in the image.
    pub(super) base: Vec<u8>,
}

/// Whether files can be links into the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Linking {
    /// They can.
    Allowed,
    /// They cannot, or are not to; the reason where links were asked for.
    Never(Option<Reason>),
}

/// What a plan is made with.
pub(super) struct Planner<'a> {
    /// The tree.
    pub(super) nodes: &'a (dyn Nodes + Sync),
    /// What is known of objects.
    pub(super) view: &'a View,
    /// Whose the files are to be.
    pub(super) owners: &'a Ownership,
    /// Whose the store's are.
    pub(super) stored: Owners,
    /// Whether to link.
    pub(super) linking: Linking,
    /// What attributes the host takes.
    pub(super) probe: Probe,
    /// The inodes that nothing is to be linked to.
    pub(super) taken: Taken<'a>,
}

/// Inodes that stay in a directory which others come into: a link to one would make two files one.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    pub(super) store: &'a Store,
    pub(super) inodes: Option<&'a HashSet<Identity>>,
}

impl Taken<'_> {
    /// Tells whether a file of the store is one of them.
    fn has(&self, below: impl FnOnce(&Store) -> PathBuf) -> Result<bool> {
        let Some(inodes) = self.inodes.filter(|inodes| !inodes.is_empty()) else {
            return Ok(false);
        };
        let below = below(self.store);
        match host::identify(self.store.folder().as_fd(), below.as_os_str().as_bytes()) {
            Ok(there) => Ok(inodes.contains(&there)),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e).context("look at", quoted(&self.store.path(&below))),
        }
    }
}

impl Planner<'_> {
    /// Returns the plan of the tree at `start`; what the host is known to refuse is noted in `tally`.
    ///
    /// Directories are read side by side, in whatever order, while those that are read are put in theirs.
    pub(super) fn plan(&self, start: Start, tally: &mut Tally) -> Result<Plan> {
        let Start { id, only, base } = start;
        let mut layout = Layout::new(Gate::new(self.owners, &self.probe), base, self.taken);
        let stop = AtomicBool::new(false);
        let placed = rayon::scope(|scope| {
            let root = self.start_reading(scope, (id, only), &stop);
            let placed = layout.place_all(root, tally);
            stop.store(true, Ordering::Relaxed);
            placed
        });
        placed.map(|()| layout.finish())
    }

    /// Has a directory read, and those below it, by whoever is free.
    fn start_reading<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        (id, only): (TreeId, Option<Name>),
        stop: &'s AtomicBool,
    ) -> Slot {
        let slot = Slot::default();
        let filled = Arc::clone(&slot);
        scope.spawn(move |scope| {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let below = |id| self.start_reading(scope, (id, None), stop);
            filled.get_or_init(|| self.read(&id, only.as_ref(), below));
        });
        slot
    }

    /// Reads one directory: all that does not depend on order. `below` is called for each of its subdirectories.
    fn read(
        &self,
        id: &TreeId,
        only: Option<&Name>,
        below: impl Fn(TreeId) -> Slot,
    ) -> Result<Read> {
        let node = self.nodes.node(id)?;
        let (mut dirs, mut leaves) = (Vec::new(), Vec::with_capacity(node.entries.len()));
        let wanted = |name: &Name| only.is_none_or(|only| only == name);
        for (name, item) in node.entries.into_iter().filter(|(name, _)| wanted(name)) {
            match item {
                Item::Dir(subtree) => dirs.push((name, subtree.id)),
                Item::Leaf(leaf) => leaves.push((name, leaf)),
            }
        }
        // The last one is begun last, and what was begun last is read first by whoever does not wait for another.
        let mut below: Vec<(Name, Slot)> = dirs
            .into_iter()
            .rev()
            .map(|(name, id)| (name, below(id)))
            .collect();
        below.reverse();
        Ok(Read {
            meta: self.host_meta(&node.meta),
            dirs: below,
            leaves: self.read_leaves(leaves)?,
        })
    }

    fn read_leaves(&self, leaves: Vec<(Name, TreeLeaf)>) -> Result<Vec<(Name, ReadLeaf)>> {
        let contents = leaves.iter().filter_map(|(_, leaf)| object_of(leaf));
        let contents: Vec<ContentId> = contents.map(|(id, _)| id).collect();
        let mut givens = self.view.givens(&contents)?.into_iter();
        let mut read = Vec::with_capacity(leaves.len());
        for (name, leaf) in leaves {
            let given = object_of(&leaf).and_then(|_| givens.next().flatten());
            read.push((name, self.read_leaf(leaf, given)));
        }
        Ok(read)
    }

    fn read_leaf(&self, leaf: TreeLeaf, given: Option<Given>) -> ReadLeaf {
        let content = object_of(&leaf);
        let TreeLeaf { kind, meta, group } = leaf;
        let meta = self.host_meta(&meta);
        let wanted = match (content, self.linking) {
            (None, _) => Wanted::Private(None),
            (Some(_), Linking::Never(why)) => Wanted::Private(why),
            (Some(_), Linking::Allowed) if !self.stored.can_read(meta.meta.mode) => {
                Wanted::Private(Some(Reason::Unreadable))
            }
            (Some((id, _)), Linking::Allowed) => Wanted::Link(inodes::inode_id(&id, &meta.meta)),
        };
        // A record of another size is of no use: the object is read before it is used then.
        let fits = |given: &Given| content.is_some_and(|(_, size)| size == given.stat.size);
        ReadLeaf {
            kind,
            meta,
            group,
            wanted,
            given: given.filter(fits),
        }
    }

    fn host_meta(&self, meta: &Meta) -> HostMeta {
        host_meta(self.owners, &self.probe, meta)
    }
}

/// Returns metadata as this host can have it.
pub(super) fn host_meta(owners: &Ownership, probe: &Probe, meta: &Meta) -> HostMeta {
    let (mut meta, unmapped) = owners.apply(meta);
    let mut refused = Vec::new();
    meta.xattrs.retain(|name, value| {
        if !inodes::is_settable(name) {
            return false;
        }
        let why = probe.refuses(name, value);
        let taken = why.is_none();
        refused.extend(why.map(|why| RefusedXattr {
            name: name.clone(),
            why,
        }));
        taken
    });
    HostMeta {
        meta,
        refused,
        unmapped,
    }
}

/// Returns the content of a file that has bytes, and its size.
fn object_of(leaf: &TreeLeaf) -> Option<(ContentId, u64)> {
    match leaf.kind {
        Kind::File(content) => inodes::object_of(content),
        Kind::Symlink(_) | Kind::Char(_) | Kind::Block(_) | Kind::Fifo => None,
    }
}

/// Where a directory is put once it is read.
type Slot = Arc<OnceLock<Result<Read>>>;

/// A directory as it was read.
#[derive(Debug)]
struct Read {
    meta: HostMeta,
    /// Its subdirectories, which may not be read yet.
    dirs: Vec<(Name, Slot)>,
    leaves: Vec<(Name, ReadLeaf)>,
}

/// Metadata without what the host refuses, and that.
#[derive(Debug)]
pub(super) struct HostMeta {
    pub(super) meta: Meta,
    refused: Vec<RefusedXattr>,
    unmapped: Option<Unmapped>,
}

/// What a file with bytes is to be.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// A link to this inode.
    Link(InodeId),
    /// A file of its own; the reason where a link was asked for.
    Private(Option<Reason>),
}

#[derive(Debug)]
struct ReadLeaf {
    kind: Kind,
    meta: HostMeta,
    group: Option<LinkGroup>,
    wanted: Wanted,
    given: Option<Given>,
}

/// A plan while it grows, in tree order.
struct Layout<'a> {
    plan: Plan,
    gate: Gate<'a>,
    taken: Taken<'a>,
    objects: HashMap<ContentId, u32>,
    /// How often each inode was wanted so far.
    used: HashMap<InodeId, u32>,
    groups: HashMap<LinkGroup, Group>,
}

impl<'a> Layout<'a> {
    fn new(gate: Gate<'a>, base: Vec<u8>, taken: Taken<'a>) -> Self {
        let plan = Plan {
            dirs: vec![Dir::default()],
            base,
            ..Plan::default()
        };
        Self {
            plan,
            gate,
            taken,
            objects: HashMap::new(),
            used: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Puts all directories in order, level by level, each as soon as it is read.
    fn place_all(&mut self, root: Slot, tally: &mut Tally) -> Result<()> {
        let mut level = vec![root];
        while !level.is_empty() {
            let first = self.plan.dirs.len() - level.len();
            self.plan.levels.push(first..self.plan.dirs.len());
            let mut below = Vec::new();
            for (slot, dir) in level.into_iter().zip(first..) {
                self.place(dir, take(slot)?, &mut below, tally)?;
            }
            level = below;
        }
        Ok(())
    }

    fn place(
        &mut self,
        dir: usize,
        read: Read,
        below: &mut Vec<Slot>,
        tally: &mut Tally,
    ) -> Result<()> {
        let Read { meta, dirs, leaves } = read;
        let parent = index(dir)?;
        let spot = Spot {
            dir: parent,
            leaf: None,
        };
        let meta = self.admit(meta, spot, None, tally)?;
        let (child, leaf) = (index(self.plan.dirs.len())?, index(self.plan.leaves.len())?);
        for (name, slot) in dirs {
            below.push(slot);
            self.plan.dirs.push(Dir {
                parent,
                name: name.as_bytes().into(),
                ..Dir::default()
            });
        }
        for (name, leaf) in leaves {
            self.place_leaf(parent, name, leaf, tally)?;
        }
        let (children, leaves) = (
            child..index(self.plan.dirs.len())?,
            leaf..index(self.plan.leaves.len())?,
        );
        let here = &mut self.plan.dirs[dir];
        (here.meta, here.children, here.leaves) = (meta, children, leaves);
        Ok(())
    }

    fn place_leaf(
        &mut self,
        dir: u32,
        name: Name,
        leaf: ReadLeaf,
        tally: &mut Tally,
    ) -> Result<()> {
        let ReadLeaf {
            kind,
            meta,
            group,
            wanted,
            given,
        } = leaf;
        let at = index(self.plan.leaves.len())?;
        if let Some(group) = group {
            match self.groups.entry(group) {
                Entry::Occupied(mut there) => {
                    there.get_mut().names.push((dir, name));
                    return Ok(());
                }
                Entry::Vacant(free) => {
                    free.insert(Group {
                        first: at,
                        names: Vec::new(),
                    });
                }
            }
        }
        let spot = Spot {
            dir,
            leaf: Some(at),
        };
        let meta = self.admit(meta, spot, Some(&name), tally)?;
        let make = match kind {
            Kind::File(Content::Empty) => Make::Empty,
            Kind::File(Content::Object { id, size }) => self.choose((id, size), given, wanted)?,
            Kind::Symlink(target) => Make::Symlink(target),
            Kind::Char(device) => Make::Node(FileType::CharacterDevice, device),
            Kind::Block(device) => Make::Node(FileType::BlockDevice, device),
            Kind::Fifo => Make::Node(FileType::Fifo, Device { major: 0, minor: 0 }),
        };
        self.plan.leaves.push(Leaf {
            dir,
            name,
            meta,
            make,
        });
        Ok(())
    }

    /// Takes in metadata that the host can have, without the attributes that it refuses; `name` is that of a leaf.
    fn admit(
        &mut self,
        meta: HostMeta,
        spot: Spot,
        name: Option<&Name>,
        tally: &mut Tally,
    ) -> Result<Meta> {
        let HostMeta {
            meta,
            refused,
            unmapped,
        } = meta;
        let plan = &self.plan;
        let path = || plan.show_in(spot.dir, name.map(Name::as_bytes));
        self.gate.pass(&meta, unmapped, path)?;
        tally.refused(&refused, spot);
        Ok(meta)
    }

    /// Chooses what a file is made from; the first in tree order to want an inode gets it, others further ones of its
    /// kind, so that the image's links stay its only ones.
    fn choose(
        &mut self,
        (id, size): (ContentId, u64),
        given: Option<Given>,
        wanted: Wanted,
    ) -> Result<Make> {
        self.plan.bytes += size;
        let object = self.object(id, size, given)?;
        let wanted = match wanted {
            Wanted::Link(wanted) => wanted,
            Wanted::Private(why) => return Ok(Make::Private(object, why)),
        };
        let used = self.used.entry(wanted).or_default();
        let own = given.is_some_and(|given| given.inode == wanted);
        let nth = loop {
            let nth = *used;
            *used += 1;
            let path = |store: &Store| match own && nth == 0 {
                true => store.object_path(&id),
                false => store.inode_path(&wanted.nth(nth)),
            };
            if !self.taken.has(path)? {
                break nth;
            }
        };
        if own && nth == 0 {
            return Ok(Make::Object(object));
        }
        let variant = index(self.plan.variants.len())?;
        let leaf = index(self.plan.leaves.len())?;
        self.plan.variants.push(Variant {
            id: wanted.nth(nth),
            object,
            leaf,
        });
        Ok(Make::Variant(variant))
    }

    fn object(&mut self, id: ContentId, size: u64, given: Option<Given>) -> Result<u32> {
        let next = index(self.plan.objects.len())?;
        Ok(*self.objects.entry(id).or_insert_with(|| {
            let known = given.map_or(Known::Unproved, Known::Given);
            self.plan.objects.push(Object { id, size, known });
            next
        }))
    }

    fn finish(self) -> Plan {
        let Self {
            mut plan,
            gate: _,
            taken: _,
            objects: _,
            used: _,
            groups,
        } = self;
        plan.groups = groups
            .into_values()
            .filter(|group| !group.names.is_empty())
            .collect();
        plan.groups.sort_unstable_by_key(|group| group.first);
        plan
    }
}

/// Waits until a directory is read; meanwhile this thread reads others.
fn take(mut slot: Slot) -> Result<Read> {
    loop {
        // Whoever read it lets go of it right after.
        match Arc::try_unwrap(slot).map(OnceLock::into_inner) {
            Ok(Some(read)) => return read,
            Ok(None) => return Err(Error::failed("read", "the tree", "it was given up")),
            Err(shared) => slot = shared,
        }
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::yield_now();
        }
    }
}

/// Returns a position as plans hold it.
fn index(at: usize) -> Result<u32> {
    u32::try_from(at).map_err(|_| {
        Error::failed(
            "check out",
            "the tree",
            format!("it has more than {} entries", u32::MAX),
        )
    })
}
