//! Owns the way through a directory of the host, beside the base's nodes, its directories side by side.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Dir, FileType, Statx};
use rustix::io::Errno;

use super::super::host;
use super::super::record::{self, Block, NOT_MADE, Record, fingerprint};
use super::entry::{Eye, FoundLeaf, Place, key, refuse_mount, went_away};
use super::found::{Found, FoundDir, FoundItem, Links, append, expand, join, keep};
use super::{Base, Options};
use crate::digest::TreeId;
use crate::error::{Context as _, Error, Result};
use crate::path::{Name, TreePath};
use crate::tree::{Item, Node};
use crate::watch::Watch;

/// Looks at everything in `dir`.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    base: Option<&Base<'_>>,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Found> {
    let record = base.and_then(|base| base.record.filter(|record| *record.root() == base.root));
    let eye = Eye::new(options);
    let sight = eye.sight;
    let walk = Walk {
        base,
        record,
        eye,
        watch,
        state: Mutex::new(State {
            dirs: vec![FoundDir::default()],
            failure: None,
        }),
    };
    let handle = dir.try_clone_to_owned();
    let root = Visit {
        number: 0,
        dir: Arc::new(handle.context("open", "the directory")?),
        path: Vec::new(),
        depth: 0,
        before: base.map(|base| Before {
            id: base.root,
            block: Block::ROOT,
            own: Own::Touched,
        }),
    };
    let stat = record::stat(dir, b"").context("look at", "the directory")?;
    let root = Visit {
        before: root.before.map(|before| Before {
            own: match record {
                Some(record) if record.has_root(&stat) => Own::Same,
                _ => Own::Touched,
            },
            ..before
        }),
        ..root
    };
    rayon::scope(|scope| walk.enter(scope, root));
    let state = walk.state.into_inner();
    let State { dirs, failure } = state.unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = failure {
        return Err(failure);
    }
    record::outlast_the_tick();
    Ok(Found {
        dirs,
        sight,
        links: Links::Looked,
    })
}

struct Walk<'a> {
    base: Option<&'a Base<'a>>,
    record: Option<&'a Record>,
    eye: Eye<'a>,
    watch: &'a dyn Watch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    dirs: Vec<FoundDir>,
    failure: Option<Error>,
}

/// A directory's turn.
struct Visit {
    number: usize,
    dir: Arc<OwnedFd>,
    path: Vec<u8>,
    depth: usize,
    before: Option<Before>,
}

/// What the base has in a directory's place.
#[derive(Clone, Copy)]
struct Before {
    id: TreeId,
    /// Where the record has what is in it.
    block: Block,
    /// How its own metadata is.
    own: Own,
}

/// How something is, to its record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// As it was.
    Same,
    /// Another, or nobody knows.
    Touched,
}

/// One entry of the base.
struct Known<'n> {
    name: &'n Name,
    item: &'n Item,
    /// Its place in its node.
    at: usize,
    /// Where the record has what is in it, where it is a directory.
    below: Option<Block>,
}

impl Walk<'_> {
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
        let node = match (self.base, visit.before) {
            (Some(base), Some(before)) => Some(base.nodes.node(&before.id)?),
            _ => None,
        };
        let mut known = known(node.as_ref(), visit.before).into_iter().peekable();
        let mut entries = Vec::new();
        for name in names_in(visit.place(b"", &visit.path))? {
            // What the base has before this name the directory has no more.
            while let Some(gone) = known.next_if(|known| *known.name < name) {
                entries.extend(self.keep_unmade(&visit, &gone)?);
            }
            let known = known.next_if(|known| *known.name == name);
            let item = self.look(scope, &visit, &name, known.as_ref())?;
            entries.extend(item.map(|item| (name, item)));
        }
        for gone in known {
            entries.extend(self.keep_unmade(&visit, &gone)?);
        }
        let stat = visit.stat()?;
        let is_same = visit.before.is_some_and(|before| before.own == Own::Same);
        let meta = match node.as_ref().filter(|_| is_same) {
            Some(node) => node.meta.clone(),
            None => {
                let place = visit.place(b"", &visit.path);
                let before = node.as_ref().map(|node| &node.meta);
                self.eye.meta(place, &stat, before)?
            }
        };
        let done = FoundDir {
            path: visit.path,
            meta,
            base: visit.before.map(|before| before.id),
            entries,
            print: fingerprint(&stat),
        };
        self.state().dirs[visit.number] = done;
        Ok(())
    }

    /// Keeps what the base has, is not there, and never was, or is left out.
    fn keep_unmade(&self, visit: &Visit, gone: &Known<'_>) -> Result<Option<(Name, FoundItem)>> {
        let path = join(&visit.path, gone.name);
        let is_lacked = match (self.record, visit.before) {
            (Some(record), Some(before)) => record.lacked(before.block, gone.at),
            _ => false,
        };
        if !is_lacked && !self.eye.options.mask.covers(&path) {
            return Ok(None);
        }
        let mut kept = self.keep(gone.item, path)?;
        if let (FoundItem::Leaf(leaf), true) = (&mut kept, is_lacked) {
            leaf.print = NOT_MADE;
        }
        Ok(Some((gone.name.clone(), kept)))
    }

    /// Returns what the base has, as it is; names of hard links in it one by one, since they may have others elsewhere.
    fn keep(&self, item: &Item, path: Vec<u8>) -> Result<FoundItem> {
        match (item, self.base) {
            (Item::Dir(subtree), Some(base)) if subtree.totals.linked > 0 => {
                let dirs = expand(base.nodes, subtree.id, path)?;
                Ok(FoundItem::Dir(append(&mut self.state().dirs, dirs)))
            }
            _ => Ok(keep(item)),
        }
    }

    /// Looks at one name; `None` where it is left out and the base does not have it.
    fn look<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        visit: &Visit,
        name: &Name,
        known: Option<&Known<'_>>,
    ) -> Result<Option<FoundItem>> {
        let path = join(&visit.path, name);
        if self.eye.options.mask.covers(&path) {
            return known.map(|known| self.keep(known.item, path)).transpose();
        }
        let place = visit.place(name.as_bytes(), &path);
        let stat = match record::stat(place.at, place.name) {
            Err(Errno::NOENT) => return Err(went_away(place)),
            other => other.context("look at", place.show())?,
        };
        let own = match (self.record, visit.before, known) {
            (Some(record), Some(before), Some(known))
                if record.has(before.block, known.at, &stat) =>
            {
                Own::Same
            }
            _ => Own::Touched,
        };
        if FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory {
            refuse_mount(place, &stat)?;
            let before = known.and_then(|known| known.as_dir(own));
            let number = self.go_below(scope, visit, place, before)?;
            return Ok(Some(FoundItem::Dir(number)));
        }
        if let (Own::Same, Some(Item::Leaf(leaf))) = (own, known.map(|known| known.item)) {
            refuse_mount(place, &stat)?;
            return Ok(Some(FoundItem::Leaf(FoundLeaf {
                leaf: leaf.clone(),
                key: key(&stat),
                unread: None,
                was: None,
                print: fingerprint(&stat),
            })));
        }
        let leaf = self.eye.leaf(place, &stat, known.map(|known| known.item))?;
        Ok(Some(FoundItem::Leaf(leaf)))
    }

    /// Has a directory looked at by whoever is free; returns its number.
    fn go_below<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        visit: &Visit,
        place: Place<'_>,
        before: Option<Before>,
    ) -> Result<usize> {
        if visit.depth == TreePath::MAX_DEPTH {
            let why = format!("directories nest over {} deep", TreePath::MAX_DEPTH);
            return Err(Error::failed("take in", place.show(), why));
        }
        let dir = match host::open_child(place.at, place.name) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(went_away(place)),
            other => other.context("open", place.show())?,
        };
        let number = {
            let mut state = self.state();
            state.dirs.push(FoundDir::default());
            state.dirs.len() - 1
        };
        let below = Visit {
            number,
            dir: Arc::new(dir),
            path: place.path.to_vec(),
            depth: visit.depth + 1,
            before,
        };
        scope.spawn(move |scope| self.enter(scope, below));
        Ok(number)
    }
}

impl Visit {
    fn place<'p>(&'p self, name: &'p [u8], path: &'p [u8]) -> Place<'p> {
        Place {
            at: self.dir.as_fd(),
            name,
            path,
        }
    }

    fn stat(&self) -> Result<Statx> {
        let place = self.place(b"", &self.path);
        record::stat(place.at, b"").context("look at", place.show())
    }
}

impl Known<'_> {
    /// Returns it as a directory, where it is one.
    fn as_dir(&self, own: Own) -> Option<Before> {
        match (self.item, self.below) {
            (Item::Dir(subtree), Some(block)) => Some(Before {
                id: subtree.id,
                block,
                own,
            }),
            _ => None,
        }
    }
}

/// Returns what the base has in a directory, each with its place in the record.
fn known(node: Option<&Node>, before: Option<Before>) -> Vec<Known<'_>> {
    let (Some(node), Some(before)) = (node, before) else {
        return Vec::new();
    };
    let mut blocks = before.block.below(node);
    let entries = node.entries.iter().enumerate();
    let known = entries.map(|(at, (name, item))| Known {
        name,
        item,
        at,
        below: match item {
            Item::Dir(_) => blocks.next(),
            Item::Leaf(_) => None,
        },
    });
    known.collect()
}

/// Returns the names in a directory, sorted.
pub(super) fn names_in(place: Place<'_>) -> Result<Vec<Name>> {
    let read = || -> rustix::io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(place.at)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    let names = read().context("read the directory", place.show())?;
    let parse = |name: Vec<u8>| {
        Name::parse(&name).map_err(|e| {
            let place = Place {
                path: &name,
                ..place
            };
            Error::failed("take in", place.show(), e.to_string())
        })
    };
    names.into_iter().map(parse).collect()
}
