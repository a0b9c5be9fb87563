//! Owns what an update has to do: of the entries that lead from what is there to what is wanted, which directories stay
//! and change, what goes from them, and a tree of what comes.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::super::layer::changes;
use crate::digest::TreeId;
use crate::entry::{LayerEntry, What};
use crate::error::{Error, Result};
use crate::path::{Name, Step, escape};
use crate::rootfs::scan::{Stood, join, staying};
use crate::rootfs::update::{Touched, Was, Work};
use crate::store::catalog::View;
use crate::tree::{Item, Layered, NewNodes, Node, Nodes, Subtree};
use crate::watch::Watch;

/// How many paths an update does something to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Paths that were not there.
    pub added: u64,
    /// Paths that are another file, or have other metadata.
    pub changed: u64,
    /// Paths that are gone.
    pub removed: u64,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) work: Work,
    pub(super) counts: Counts,
}

/// Returns what makes the tree `wanted` of what is there.
pub(super) fn plan(
    view: &View,
    stood: &Stood,
    wanted: &TreeId,
    watch: &dyn Watch,
) -> Result<Planned> {
    let nodes = Layered {
        over: &stood.nodes,
        under: view,
    };
    let entries = changes(&nodes, (Some(stood.root), *wanted), watch)?;
    let mut growing = Growing::new(&nodes, stood, wanted)?;
    for entry in &entries {
        growing.add(entry)?;
    }
    let mut planned = growing.finish()?;
    if entries.is_empty() {
        planned.work.dirs.clear();
    }
    Ok(planned)
}

impl Planned {
    /// Has the root get its metadata, where nothing else is to be done.
    pub(super) fn touch_root(&mut self, view: &View, stood: &Stood, wanted: &TreeId) -> Result<()> {
        if self.work.dirs.is_empty() {
            let nodes = Layered {
                over: &stood.nodes,
                under: view,
            };
            self.work = Growing::new(&nodes, stood, wanted)?.finish()?.work;
        }
        Ok(())
    }
}

fn impossible(entry: &LayerEntry) -> Error {
    let path = format!("'{}'", entry.path);
    Error::damaged("update", path, "the trees do not fit together")
}

/// A directory that stays.
struct Folder {
    touched: Touched,
    before: Node,
    after: Node,
    /// What comes.
    comes: BTreeMap<Name, Item>,
    /// Those in it that stay and change.
    below: Vec<(Name, usize)>,
}

struct Growing<'a> {
    nodes: &'a dyn Nodes,
    stood: &'a Stood,
    /// Each after its parent.
    folders: Vec<Folder>,
    /// Where each is, by its path.
    places: HashMap<Vec<u8>, usize>,
    /// What goes, or is replaced.
    gone: HashSet<Vec<u8>>,
    counts: Counts,
}

impl<'a> Growing<'a> {
    fn new(nodes: &'a dyn Nodes, stood: &'a Stood, wanted: &TreeId) -> Result<Self> {
        let mut growing = Self {
            nodes,
            stood,
            folders: Vec::new(),
            places: HashMap::new(),
            gone: HashSet::new(),
            counts: Counts::default(),
        };
        growing.stay(Vec::new(), (&stood.root, wanted))?;
        Ok(growing)
    }

    /// Takes note of a directory that stays; returns its number.
    fn stay(&mut self, path: Vec<u8>, (before, after): (&TreeId, &TreeId)) -> Result<usize> {
        let number = self.folders.len();
        let (before, after) = (self.nodes.node(before)?, self.nodes.node(after)?);
        let Some(identity) = self.stood.seen.dirs.get(&path) else {
            let why = "it was not looked at";
            return Err(Error::failed("update", format!("'{}'", escape(&path)), why));
        };
        self.places.insert(path.clone(), number);
        self.folders.push(Folder {
            touched: Touched {
                path,
                identity: *identity,
                meta: after.meta.clone(),
                gone: Vec::new(),
                comes: Vec::new(),
            },
            before,
            after,
            comes: BTreeMap::new(),
            below: Vec::new(),
        });
        Ok(number)
    }

    /// Returns the directory called `name` in another, where it stays.
    fn child(&mut self, parent: usize, name: &Name) -> Result<Option<usize>> {
        let folder = &self.folders[parent];
        let path = join(&folder.touched.path, name);
        if let Some(number) = self.places.get(&path) {
            return Ok(Some(*number));
        }
        let sides = (
            folder.before.get(name.as_bytes()),
            folder.after.get(name.as_bytes()),
        );
        let (Some(Item::Dir(before)), Some(Item::Dir(after))) = sides else {
            return Ok(None);
        };
        let ids = (before.id, after.id);
        let number = self.stay(path, (&ids.0, &ids.1))?;
        self.folders[parent].below.push((name.clone(), number));
        Ok(Some(number))
    }

    fn add(&mut self, entry: &LayerEntry) -> Result<()> {
        let mut names = Vec::new();
        for step in entry.path.steps() {
            match step {
                Step::Child(name) => names.push(name.to_name()),
                Step::Up => return Err(impossible(entry)),
            }
        }
        let Some(last) = names.pop() else {
            self.counts.changed += 1;
            return Ok(());
        };
        let mut here = 0;
        for name in names {
            match self.child(here, &name)? {
                Some(below) => here = below,
                None => {
                    // It is in a directory that comes whole.
                    self.counts.added += 1;
                    return Ok(());
                }
            }
        }
        let stays = match entry.what {
            What::Dir(_) => self.child(here, &last)?.is_some(),
            What::Leaf(..) | What::Link(_) | What::Whiteout => false,
        };
        if stays {
            self.counts.changed += 1;
            return Ok(());
        }
        self.change(here, last, entry)
    }

    fn change(&mut self, here: usize, name: Name, entry: &LayerEntry) -> Result<()> {
        let folder = &mut self.folders[here];
        let was = folder.before.get(name.as_bytes());
        let below = match was {
            Some(Item::Dir(dir)) => dir.totals.names,
            Some(Item::Leaf(_)) | None => 0,
        };
        if was.is_some() {
            self.gone.insert(join(&folder.touched.path, &name));
        }
        if entry.what == What::Whiteout {
            self.counts.removed += 1 + below;
            folder.touched.gone.push(name);
            return Ok(());
        }
        let was = match was {
            Some(_) => Was::Something,
            None => Was::Nothing,
        };
        match was {
            Was::Something => self.counts.changed += 1,
            Was::Nothing => self.counts.added += 1,
        }
        self.counts.removed += below;
        let Some(item) = folder.after.get(name.as_bytes()) else {
            return Err(impossible(entry));
        };
        folder.comes.insert(name.clone(), item.clone());
        folder.touched.comes.push((name, was));
        Ok(())
    }

    fn finish(self) -> Result<Planned> {
        let mut nodes = NewNodes::new();
        let mut done: HashMap<usize, Subtree> = HashMap::new();
        let mut dirs = Vec::with_capacity(self.folders.len());
        for (number, folder) in self.folders.into_iter().enumerate().rev() {
            let mut entries = folder.comes;
            for (name, below) in folder.below {
                let subtree = done.remove(&below);
                entries.extend(subtree.map(|subtree| (name, Item::Dir(subtree))));
            }
            let node = Node {
                meta: folder.after.meta,
                entries: entries.into_iter().collect(),
            };
            done.insert(number, node.encode_into(&mut nodes));
            dirs.push(folder.touched);
        }
        dirs.reverse();
        let root = done.remove(&0).map(|root| root.id);
        let root = root.ok_or_else(|| Error::failed("update", "the root", "it is not there"))?;
        Ok(Planned {
            work: Work {
                root,
                nodes,
                dirs,
                staying: staying(&self.stood.seen.linked, &self.gone),
            },
            counts: self.counts,
        })
    }
}
