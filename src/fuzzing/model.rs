//! Owns a second, slow interpretation of layers, written from the policy and not from the code: a map from paths to
//! nodes, searched from the root again at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::digest::LinkGroup;
use crate::entry::{Action, Entry, PLINK};
use crate::meta::Meta;
use crate::path::{Step, TreePath};
use crate::recipe::ContentRef;
use crate::tree::{Content, Kind};

/// A path without links and dots: its names from the root.
pub(super) type Path = Vec<Vec<u8>>;

/// A tree as both interpretations show it.
pub(super) type Shown = Vec<(Path, Thing)>;

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Thing {
    Dir(Meta),
    Leaf(Kind, Meta, Option<LinkGroup>),
}

/// A layer that cannot be.
#[derive(Debug)]
pub(super) struct Refused;

#[derive(Clone)]
enum Node {
    Dir(Meta),
    /// By the inode's number.
    Leaf(usize),
}

#[derive(Default)]
pub(super) struct Model {
    /// Everything but the root.
    nodes: BTreeMap<Path, Node>,
    root: Option<Meta>,
    inodes: Vec<(Kind, Meta)>,
    /// What the layer at hand put where it stands.
    own: BTreeSet<Path>,
    /// Symlinks of the lower tree that the layer at hand replaces by something else: no mark's way leads through them.
    replaced: BTreeSet<Path>,
    kept_by_aufs: BTreeMap<Vec<Turn>, usize>,
}

/// A step: a name, or up.
type Turn = Option<Vec<u8>>;

/// Where a way through the tree leads.
enum Way {
    To(Path),
    /// It comes to a name that is no directory.
    Ends {
        path: Path,
        /// The name is of the entry's path, not of a symlink on the way.
        written: bool,
        then_up: bool,
    },
    /// It leads through too many symlinks, or through one that is none any more.
    Nowhere,
}

const SYMLINKS_MAX: usize = 40;

impl Model {
    pub(super) fn apply(
        &mut self,
        layer: &[Entry],
        contents: &[ContentRef],
    ) -> Result<(), Refused> {
        self.own.clear();
        self.kept_by_aufs.clear();
        self.note_replaced(layer);
        self.hide(layer);
        self.replaced.clear();
        for entry in layer {
            self.add(entry, contents)?;
        }
        Ok(())
    }

    fn note_replaced(&mut self, layer: &[Entry]) {
        let is_own = |entry: &&Entry| {
            !matches!(
                entry.action,
                Action::Symlink(..) | Action::Whiteout | Action::Opaque
            )
        };
        let mut own: Vec<Vec<Turn>> = layer
            .iter()
            .filter(is_own)
            .map(|e| turns(&e.path))
            .collect();
        // What is nearer to the root may stand in the way of what is below it.
        own.sort_by_key(Vec::len);
        for steps in own {
            if let Some((Some(name), parents)) = steps.split_last()
                && let Way::To(mut path) = self.way(parents)
            {
                path.push(name.clone());
                self.replaced.insert(path);
            }
        }
    }

    /// All markers mean the lower tree as it was; then all of them are applied.
    fn hide(&mut self, layer: &[Entry]) {
        let mut gone = Vec::new();
        let mut emptied = Vec::new();
        for entry in layer {
            match &entry.action {
                Action::Whiteout => {
                    let steps = turns(&entry.path);
                    let Some((Some(name), parents)) = steps.split_last() else {
                        continue;
                    };
                    if let Way::To(mut path) = self.way(parents) {
                        path.push(name.clone());
                        gone.push(path);
                    }
                }
                Action::Opaque => {
                    if let Way::To(path) = self.way(&turns(&entry.path)) {
                        emptied.push(path);
                    }
                }
                _ => {}
            }
        }
        let hidden = |path: &Path| {
            gone.iter().any(|top| path.starts_with(top))
                || emptied
                    .iter()
                    .any(|top| path.starts_with(top) && path.len() > top.len())
        };
        self.nodes.retain(|path, _| !hidden(path));
    }

    fn add(&mut self, entry: &Entry, contents: &[ContentRef]) -> Result<(), Refused> {
        let steps = &turns(&entry.path);
        if matches!(steps.first(), Some(Some(name)) if name == PLINK) {
            let inode = match &entry.action {
                Action::Link(target) => self.target(&turns(target)).ok().map(|(inode, _)| inode),
                action => self.inode_of(action, contents),
            };
            if let Some(inode) = inode {
                self.kept_by_aufs.insert(steps.clone(), inode);
            }
            return Ok(());
        }
        match &entry.action {
            Action::Whiteout | Action::Opaque => Ok(()),
            Action::Dir(meta) => self.add_dir(steps, meta),
            Action::Link(target) => {
                let (inode, from) = self.target(&turns(target))?;
                let to = self.place(steps)?;
                if from.as_ref() == Some(&to) {
                    return Err(Refused);
                }
                self.put(to, Node::Leaf(inode));
                Ok(())
            }
            action => {
                let inode = self.inode_of(action, contents).ok_or(Refused)?;
                let to = self.place(steps)?;
                self.put(to, Node::Leaf(inode));
                Ok(())
            }
        }
    }

    fn inode_of(&mut self, action: &Action, contents: &[ContentRef]) -> Option<usize> {
        let inode = match action {
            Action::File(meta, payload) => {
                let content = payload.ordinal.map_or(Content::Empty, |n| Content::Object {
                    id: contents[n as usize].id,
                    size: contents[n as usize].size,
                });
                (Kind::File(content), meta.clone())
            }
            Action::Symlink(meta, target) => (Kind::Symlink(target.clone()), meta.clone()),
            Action::Char(meta, device) => (Kind::Char(*device), meta.clone()),
            Action::Block(meta, device) => (Kind::Block(*device), meta.clone()),
            Action::Fifo(meta) => (Kind::Fifo, meta.clone()),
            Action::Dir(_) | Action::Link(_) | Action::Whiteout | Action::Opaque => return None,
        };
        self.inodes.push(inode);
        Some(self.inodes.len() - 1)
    }

    /// A directory over a directory gives it its metadata; anything else goes.
    fn add_dir(&mut self, steps: &[Turn], meta: &Meta) -> Result<(), Refused> {
        let path = match steps.split_last() {
            None => Vec::new(),
            Some((None, _)) => self.parent(steps)?,
            Some((Some(_), _)) => self.place(steps)?,
        };
        if path.is_empty() {
            self.root = Some(meta.clone());
        } else if let Some(Node::Dir(there)) = self.nodes.get_mut(&path) {
            there.clone_from(meta);
        } else {
            self.put(path, Node::Dir(meta.clone()));
        }
        Ok(())
    }

    /// Finds what a hard link leads to, and where that stands.
    fn target(&self, steps: &[Turn]) -> Result<(usize, Option<Path>), Refused> {
        if let Some(inode) = self.kept_by_aufs.get(steps) {
            return Ok((*inode, None));
        }
        let Some((Some(name), parents)) = steps.split_last() else {
            return Err(Refused);
        };
        let Way::To(mut path) = self.way(parents) else {
            return Err(Refused);
        };
        path.push(name.clone());
        match self.nodes.get(&path) {
            Some(Node::Leaf(inode)) => Ok((*inode, Some(path))),
            Some(Node::Dir(_)) | None => Err(Refused),
        }
    }

    /// Finds where a new name stands; what is missing on the way is made.
    fn place(&mut self, steps: &[Turn]) -> Result<Path, Refused> {
        let Some((Some(name), parents)) = steps.split_last() else {
            return Err(Refused);
        };
        let mut path = self.parent(parents)?;
        path.push(name.clone());
        Ok(path)
    }

    /// Finds a directory; as long as the way to it ends early, one more directory is made.
    fn parent(&mut self, steps: &[Turn]) -> Result<Path, Refused> {
        loop {
            let (path, written, then_up) = match self.way(steps) {
                Way::To(path) => return Ok(path),
                Way::Nowhere => return Err(Refused),
                Way::Ends {
                    path,
                    written,
                    then_up,
                } => (path, written, then_up),
            };
            if !written || then_up {
                return Err(Refused);
            }
            if self.nodes.contains_key(&path) && self.own.contains(&path) {
                return Err(Refused);
            }
            self.put(path, Node::Dir(Meta::implicit_dir()));
        }
    }

    fn put(&mut self, path: Path, node: Node) {
        self.nodes.retain(|other, _| !other.starts_with(&path));
        self.own.insert(path.clone());
        self.nodes.insert(path, node);
    }

    fn way(&self, steps: &[Turn]) -> Way {
        let mut left: VecDeque<(Turn, bool)> =
            steps.iter().map(|step| (step.clone(), true)).collect();
        let mut at = Path::new();
        let mut symlinks = 0;
        while let Some((step, written)) = left.pop_front() {
            let Some(name) = step else {
                at.pop();
                continue;
            };
            let mut path = at.clone();
            path.push(name);
            let target = match self.nodes.get(&path) {
                Some(Node::Dir(_)) => {
                    at = path;
                    continue;
                }
                Some(Node::Leaf(inode)) => match &self.inodes[*inode].0 {
                    Kind::Symlink(target) => Some(target),
                    _ => None,
                },
                None => None,
            };
            let Some(target) = target else {
                let then_up = matches!(left.front(), Some((None, _)));
                return Way::Ends {
                    path,
                    written,
                    then_up,
                };
            };
            if self.replaced.contains(&path) {
                return Way::Nowhere;
            }
            symlinks += 1;
            if symlinks > SYMLINKS_MAX {
                return Way::Nowhere;
            }
            if target.starts_with(b"/") {
                at.clear();
            }
            let steps = TreePath::parse(target).expect("targets are made of good names");
            for step in turns(&steps).into_iter().rev() {
                left.push_front((step, false));
            }
        }
        Way::To(at)
    }

    /// Shows the tree in order, every inode with several names under its first.
    pub(super) fn show(&self) -> Shown {
        let mut names: BTreeMap<usize, Vec<&Path>> = BTreeMap::new();
        for (path, node) in &self.nodes {
            if let Node::Leaf(inode) = node {
                names.entry(*inode).or_default().push(path);
            }
        }
        let root = self.root.clone().unwrap_or_else(Meta::implicit_dir);
        let mut shown = vec![(Path::new(), Thing::Dir(root))];
        for (path, node) in &self.nodes {
            shown.push((
                path.clone(),
                match node {
                    Node::Dir(meta) => Thing::Dir(meta.clone()),
                    Node::Leaf(inode) => {
                        let (kind, meta) = self.inodes[*inode].clone();
                        let names = &names[inode];
                        let group = (names.len() > 1)
                            .then(|| LinkGroup::of_first_path(&names[0].join(&b'/')));
                        Thing::Leaf(kind, meta, group)
                    }
                },
            ));
        }
        shown
    }
}

fn turns(path: &TreePath) -> Vec<Turn> {
    path.steps()
        .map(|step| match step {
            Step::Child(name) => Some(name.as_bytes().to_vec()),
            Step::Up => None,
        })
        .collect()
}
