//! From layers to the merged tree, in memory: the lower tree first loses what a layer whites out, then takes the
//! layer's entries (image-spec layer.md, "Applying Changesets"). No host file system is asked anything.
//!
//! A lower tree is read from its nodes as far as a layer touches it; what is not touched keeps its ids.

mod arena;
mod finish;
mod walk;

use std::collections::HashMap;

use arena::{Arena, Child, DirId, LeafId};
use walk::{Missing, Place};

use crate::digest::TreeId;
use crate::entry::{self, Action, Entry, Payload};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::path::{Name, Step, TreePath};
use crate::recipe::ContentRef;
use crate::tree::{Content, Kind, Leaf, Nodes};
use crate::warning::{Warning, Warnings};
use crate::watch::{Unwatched, Watch};

/// A tree that takes layers.
pub(crate) struct Overlay<'a> {
    arena: Arena<'a>,
    watch: &'a dyn Watch,
    /// What AUFS kept for links of the layer at hand.
    plink: HashMap<TreePath, LeafId>,
}

/// A layer as the overlay takes it.
pub(crate) struct LayerEntries<'a> {
    /// What errors and warnings call it: the digest of its blob.
    pub(crate) name: &'a str,
    /// The entries, in tar order.
    pub(crate) entries: &'a [Entry],
    /// The contents, by ordinal.
    pub(crate) contents: &'a [ContentRef],
}

/// What a layer takes out of the lower tree.
#[derive(Default)]
struct Marked {
    names: Vec<(DirId, Name)>,
    /// Directories that lose all that is in them.
    opaque: Vec<DirId>,
}

/// How many entries are taken between two looks at whether to go on.
const CHECK_EVERY: usize = 256;

/// Why an entry cannot be.
pub(crate) type Why = String;

/// An entry that cannot be, or a lower tree that cannot be read.
pub(crate) enum Stop {
    Entry(Why),
    Nodes(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Nodes(e)
    }
}

fn stop<T>(why: impl Into<Why>) -> Result<T, Stop> {
    Err(Stop::Entry(why.into()))
}

impl<'a> Overlay<'a> {
    /// Begins with the tree of `lower`, or with an empty one.
    pub(crate) fn new(source: &'a dyn Nodes, lower: Option<TreeId>) -> Result<Self> {
        Ok(Self {
            arena: Arena::new(source, lower)?,
            watch: &Unwatched,
            plink: HashMap::new(),
        })
    }

    /// Has `watch` asked, between entries, whether to go on.
    pub(crate) fn watched(&mut self, watch: &'a dyn Watch) {
        self.watch = watch;
    }

    /// Bounds how many directories one layer may make, those that no entry describes too: a path of a few hundred bytes
    /// can ask for a hundred of them.
    pub(crate) fn limit_directories(&mut self, most: u64) {
        self.arena.most_made = most;
    }

    /// Puts a layer on top.
    pub(crate) fn apply(
        &mut self,
        layer: &LayerEntries<'_>,
        warnings: &mut Warnings,
    ) -> Result<()> {
        let place = |entry: &Entry| format!("entry '{}' at byte {}", entry.path, entry.at);
        let refuse = |entry: &Entry, reason: Stop| match reason {
            Stop::Entry(why) => Error::malformed(
                "read the layer",
                layer.name,
                format!("{}: {why}", place(entry)),
            ),
            Stop::Nodes(e) => e,
        };
        self.arena.begin_layer();
        self.plink.clear();
        self.white_out(layer)
            .map_err(|(entry, reason)| refuse(entry, reason))?;
        for (at, entry) in layer.entries.iter().enumerate() {
            if at % CHECK_EVERY == 0 {
                self.watch.check()?;
            }
            let again = self
                .add(entry, layer.contents)
                .map_err(|reason| refuse(entry, reason))?;
            if again {
                warnings.note(Warning::DuplicatePath, || {
                    format!("layer {} {}", layer.name, place(entry))
                });
            }
        }
        Ok(())
    }

    /// Takes out what the layer whites out. All marks are resolved before the first is applied: their order is no
    /// meaning.
    fn white_out<'e>(&mut self, layer: &LayerEntries<'e>) -> Result<(), (&'e Entry, Stop)> {
        let mut marked = self.marked(layer)?;
        if self.arena.followed {
            // A symlink that the layer replaces by something of its own leads a mark nowhere.
            self.note_replaced(layer)?;
            marked = self.marked(layer)?;
            self.arena.replaced.clear();
        }
        let Marked { names, opaque } = marked;
        names
            .iter()
            .for_each(|(dir, name)| self.arena.remove(*dir, name));
        opaque.iter().for_each(|dir| self.arena.clear(*dir));
        Ok(())
    }

    /// Finds what the layer's marks mean in the lower tree.
    fn marked<'e>(&mut self, layer: &LayerEntries<'e>) -> Result<Marked, (&'e Entry, Stop)> {
        self.arena.followed = false;
        let mut marked = Marked::default();
        for entry in layer.entries {
            let name = |e| (entry, e);
            match &entry.action {
                Action::Whiteout => {
                    let found = self.lower_name(&entry.path).map_err(name)?;
                    marked.names.extend(found);
                }
                Action::Opaque => {
                    let found = self.arena.find_dir(&entry.path).map_err(name)?;
                    marked.opaque.extend(found);
                }
                _ => {}
            }
        }
        Ok(marked)
    }

    /// Notes where the layer has something of its own that is no symlink; the upper ones first, since they may
    /// stand in the way of those below.
    fn note_replaced<'e>(&mut self, layer: &LayerEntries<'e>) -> Result<(), (&'e Entry, Stop)> {
        let own = layer.entries.iter().filter(|entry| {
            let action = &entry.action;
            !matches!(
                action,
                Action::Symlink(..) | Action::Whiteout | Action::Opaque
            )
        });
        let mut own: Vec<&Entry> = own.collect();
        own.sort_by_key(|entry| entry.path.steps().count());
        for entry in own {
            if let Some(place) = self.lower_name(&entry.path).map_err(|e| (entry, e))? {
                self.arena.replaced.insert(place);
            }
        }
        Ok(())
    }

    /// Finds the lower directory and the name in it that a whiteout means.
    fn lower_name(&mut self, path: &TreePath) -> Result<Option<(DirId, Name)>, Stop> {
        Ok(match self.arena.find_parent(path, Missing::Tell)? {
            Some(Place::Name(dir, name)) => Some((dir, name)),
            Some(Place::Dir(_)) | None => None,
        })
    }

    /// Adds one entry; returns whether this layer had the path already.
    fn add(&mut self, entry: &Entry, contents: &[ContentRef]) -> Result<bool, Stop> {
        if is_plink(&entry.path) {
            return self.add_plink(entry, contents);
        }
        match &entry.action {
            Action::Whiteout | Action::Opaque => Ok(false),
            Action::Dir(meta) => self.add_dir(&entry.path, meta),
            Action::Link(target) => self.add_link(&entry.path, target),
            action => {
                let leaf = leaf_of(action, contents)?;
                let place = self.place(&entry.path)?;
                let id = self.arena.new_leaf(leaf);
                self.put(place, Child::Leaf(id))
            }
        }
    }

    fn add_plink(&mut self, entry: &Entry, contents: &[ContentRef]) -> Result<bool, Stop> {
        let id = match &entry.action {
            Action::Dir(_) | Action::Whiteout | Action::Opaque => return Ok(false),
            // The name in the tree may have come first, so that AUFS's is the link.
            Action::Link(target) => match self.target(target) {
                Ok((_, id)) => {
                    self.arena.linked.insert(id);
                    id
                }
                Err(Stop::Entry(_)) => return Ok(false),
                Err(e) => return Err(e),
            },
            action => {
                let leaf = leaf_of(action, contents)?;
                self.arena.new_leaf(leaf)
            }
        };
        self.plink.insert(entry.path.clone(), id);
        Ok(false)
    }

    fn add_dir(&mut self, path: &TreePath, meta: &Meta) -> Result<bool, Stop> {
        let (dir, name) = match self.place(path)? {
            Place::Dir(dir) => return Ok(self.arena.set_meta(dir, meta)),
            Place::Name(dir, name) => (dir, name),
        };
        if let Some(Child::Dir(there)) = self.arena.child(dir, name.as_bytes())? {
            return Ok(self.arena.set_meta(there, meta));
        }
        let new = self.arena.new_dir(dir, meta.clone())?;
        let again = self.put(Place::Name(dir, name), Child::Dir(new))?;
        self.arena.set_meta(new, meta);
        Ok(again)
    }

    fn add_link(&mut self, path: &TreePath, target: &TreePath) -> Result<bool, Stop> {
        let (from, leaf) = self.target(target)?;
        // Before its other name is given up: the way to the new one may replace that by a directory.
        self.arena.linked.insert(leaf);
        let place = self.place(path)?;
        if from.as_ref() == Some(&place) {
            return stop("a link to itself");
        }
        if let Some(Place::Name(dir, _)) = from {
            // Its other name changes too: it becomes one of several.
            self.arena.touch(dir);
        }
        self.put(place, Child::Leaf(leaf))
    }

    /// Finds what a link leads to, and where in the tree that is; what AUFS kept is nowhere in it.
    fn target(&mut self, target: &TreePath) -> Result<(Option<Place>, LeafId), Stop> {
        if is_plink(target)
            && let Some(leaf) = self.plink.get(target)
        {
            return Ok((None, *leaf));
        }
        let nothing = || format!("a link to '{target}', which is not there");
        let Some(from) = self.arena.find_parent(target, Missing::Tell)? else {
            return stop(nothing());
        };
        let child = match &from {
            Place::Name(dir, name) => self.arena.child(*dir, name.as_bytes())?,
            Place::Dir(dir) => Some(Child::Dir(*dir)),
        };
        match child {
            Some(Child::Leaf(leaf)) => Ok((Some(from), leaf)),
            Some(Child::Dir(_)) => stop(format!("a link to the directory '{target}'")),
            None => stop(nothing()),
        }
    }

    fn place(&mut self, path: &TreePath) -> Result<Place, Stop> {
        match self.arena.find_parent(path, Missing::Make)? {
            Some(place) => Ok(place),
            None => stop("its parent is not there"),
        }
    }

    fn put(&mut self, place: Place, child: Child) -> Result<bool, Stop> {
        match place {
            Place::Name(dir, name) => Ok(self.arena.put(dir, name, child)),
            Place::Dir(_) => stop("a directory is there, by way of '..' or the root"),
        }
    }
}

fn is_plink(path: &TreePath) -> bool {
    matches!(path.steps().next(), Some(Step::Child(name)) if name.as_bytes() == entry::PLINK)
}

fn leaf_of(action: &Action, contents: &[ContentRef]) -> Result<Leaf, Stop> {
    let (meta, kind) = match action {
        Action::File(meta, payload) => (meta, Kind::File(content_of(payload, contents)?)),
        Action::Symlink(meta, target) => (meta, Kind::Symlink(target.clone())),
        Action::Char(meta, device) => (meta, Kind::Char(*device)),
        Action::Block(meta, device) => (meta, Kind::Block(*device)),
        Action::Fifo(meta) => (meta, Kind::Fifo),
        Action::Dir(_) | Action::Link(_) | Action::Whiteout | Action::Opaque => {
            return stop("no file of its own");
        }
    };
    Ok(Leaf {
        kind,
        meta: meta.clone(),
        group: None,
    })
}

fn content_of(payload: &Payload, contents: &[ContentRef]) -> Result<Content, Stop> {
    let Some(ordinal) = payload.ordinal else {
        return Ok(Content::Empty);
    };
    match contents.get(ordinal as usize) {
        Some(content) if content.size == payload.size => Ok(Content::Object {
            id: content.id,
            size: content.size,
        }),
        _ => stop("its content is not the one that was stored"),
    }
}

#[cfg(test)]
mod tests;
