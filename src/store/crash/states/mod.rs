//! Owns the model of a disk: the states that a power cut may leave, from the log of what was done.
//!
//! Names that no later sync covers may be there or not, each by itself; a rename is two of them, the new name and the
//! loss of the old one, and never the second without the first. A renamed folder has those names that were durable in it,
//! and each other or not. Bytes that no sync covers may be there, lost, half
//! there, or zeros. Of the catalog's writes since its last sync any may be there, a last one in part.

mod bytes;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use self::bytes::{Bytes, Fate};
use super::log::{FileId, Log, Node, Op, Snapshot};

/// Small, seeded, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// One name that comes or goes.
#[derive(Debug)]
struct Change {
    /// The operation that it is part of.
    op: usize,
    path: usize,
    /// What is there after it.
    node: Option<Node>,
    /// The change without which this one cannot be: the new name of what was renamed.
    after: Option<usize>,
    /// From how many operations on it is durable.
    durable: usize,
}

/// Which of the changes that are not durable a disk has.
#[derive(Clone, Copy, Debug)]
enum Pick {
    First(usize),
    AllBut(usize),
    Only(usize),
    Some(u64),
}

/// How to make one state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// How many operations were done before the power cut.
    pub(crate) done: usize,
    pick: Pick,
    fate: Fate,
}

/// A state of the disk.
#[derive(Debug)]
pub(crate) struct State {
    /// How many operations were done.
    pub(crate) done: usize,
    /// How many commands had finished.
    pub(crate) finished: usize,
    names: Vec<(usize, Option<(FileId, Bytes)>)>,
}

/// All states of one log.
pub(crate) struct Disk {
    log: Log,
    paths: Vec<PathBuf>,
    parents: Vec<Option<usize>>,
    /// Where the session folders' names are: what is in them only the sweep of leftovers looks at.
    in_session: Vec<bool>,
    first: Vec<Option<Node>>,
    changes: Vec<Change>,
    /// Of each file, after how many operations it was synced.
    syncs: Vec<Vec<usize>>,
    /// Of each file, its writes.
    writes: Vec<Vec<usize>>,
}

impl Disk {
    pub(crate) fn new(log: Log) -> Self {
        let mut disk = Self {
            paths: Vec::new(),
            parents: Vec::new(),
            in_session: Vec::new(),
            first: Vec::new(),
            changes: Vec::new(),
            syncs: vec![Vec::new(); log.files.len()],
            writes: vec![Vec::new(); log.files.len()],
            log,
        };
        let mut known = HashMap::new();
        for (path, node) in std::mem::take(&mut disk.log.first) {
            let id = disk.path(&mut known, &path);
            disk.first[id] = Some(node);
        }
        for op in 0..disk.log.ops.len() {
            disk.take_op(&mut known, op);
        }
        disk.note_syncs(&known);
        disk
    }

    /// How many operations there were.
    pub(crate) fn len(&self) -> usize {
        self.log.ops.len()
    }

    /// How many files came back from the trash.
    pub(crate) fn brought_back(&self) -> usize {
        let is_from_trash = |op: &&Op| match op {
            Op::Rename(_, from, to) => {
                let trash = Path::new("store/trash");
                from.starts_with(trash) && !to.starts_with(trash)
            }
            _ => false,
        };
        self.log.ops.iter().filter(is_from_trash).count()
    }

    /// Says what one operation was.
    pub(crate) fn describe(&self, op: usize) -> String {
        match &self.log.ops[op] {
            Op::Write(file, at, bytes) => format!("Write({file}, {at}, {} bytes)", bytes.len()),
            other => format!("{other:?}"),
        }
    }

    fn path(&mut self, known: &mut HashMap<PathBuf, usize>, path: &Path) -> usize {
        if let Some(id) = known.get(path) {
            return *id;
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map(|parent| self.path(known, parent));
        let id = self.paths.len();
        let in_session = path
            .components()
            .any(|c| c.as_os_str().to_string_lossy().starts_with("session-"));
        self.paths.push(path.to_owned());
        self.parents.push(parent);
        self.in_session.push(in_session);
        self.first.push(None);
        known.insert(path.to_owned(), id);
        id
    }

    fn take_op(&mut self, known: &mut HashMap<PathBuf, usize>, op: usize) {
        match self.log.ops[op].clone() {
            Op::Create(file, at) => self.change(known, op, &at, Some(Node::File(file))),
            Op::MakeFolder(at) => self.change(known, op, &at, Some(Node::Folder)),
            Op::Rename(file, from, to) => {
                self.change(known, op, &to, Some(Node::File(file)));
                let new_name = self.changes.len() - 1;
                self.change(known, op, &from, None);
                self.changes[new_name + 1].after = Some(new_name);
            }
            Op::RenameFolder(from, to, files) => {
                self.change(known, op, &to, Some(Node::Folder));
                let new_name = self.changes.len() - 1;
                for (file, name) in files {
                    let durable = match self.was_durable(known, op, &from.join(&name)) {
                        true => op + 1,
                        false => usize::MAX,
                    };
                    self.change(known, op, &to.join(&name), Some(Node::File(file)));
                    self.changes.last_mut().unwrap().durable = durable;
                }
                self.change(known, op, &from, None);
                self.changes.last_mut().unwrap().after = Some(new_name);
            }
            Op::Remove(at) | Op::RemoveFolder(at) => self.change(known, op, &at, None),
            Op::SyncFile(file) => self.syncs[file].push(op + 1),
            Op::SyncAll => self.syncs.iter_mut().for_each(|syncs| syncs.push(op + 1)),
            Op::Write(file, ..) | Op::SetLen(file, _) => self.writes[file].push(op),
            Op::SyncFolder(_) | Op::Finished => {}
        }
    }

    fn change(
        &mut self,
        known: &mut HashMap<PathBuf, usize>,
        op: usize,
        path: &Path,
        node: Option<Node>,
    ) {
        let path = self.path(known, path);
        self.changes.push(Change {
            op,
            path,
            node,
            after: None,
            durable: usize::MAX,
        });
    }

    /// Tells whether the last change of the name `path` was durable before `op`.
    fn was_durable(&self, known: &HashMap<PathBuf, usize>, op: usize, path: &Path) -> bool {
        let folder = path.parent();
        let path = known[path];
        let covers = |later: &Op| match later {
            Op::SyncAll => true,
            Op::SyncFolder(synced) => Some(synced.as_path()) == folder,
            _ => false,
        };
        let last = self.changes.iter().rfind(|change| change.path == path);
        last.is_none_or(|change| self.log.ops[change.op..op].iter().any(covers))
    }

    /// Finds for each change the sync that makes it durable.
    fn note_syncs(&mut self, known: &HashMap<PathBuf, usize>) {
        for at in (0..self.changes.len()).rev() {
            let Change { op, path, .. } = self.changes[at];
            let parent = self.parents[path];
            let covers = |later: &Op| match later {
                Op::SyncAll => true,
                Op::SyncFolder(folder) if folder.as_os_str().is_empty() => parent.is_none(),
                Op::SyncFolder(folder) => known.get(folder).copied() == parent && parent.is_some(),
                _ => false,
            };
            let found = self.log.ops[op..].iter().position(covers);
            let durable = found.map_or(usize::MAX, |found| op + found + 1);
            let change = &mut self.changes[at];
            change.durable = change.durable.min(durable);
            // A lost old name means that the new one is there.
            if let (Some(new_name), durable) = (change.after, change.durable) {
                let new_name = &mut self.changes[new_name];
                new_name.durable = new_name.durable.min(durable);
            }
        }
    }

    /// Calls `take` with recipes for states after each operation; `rounds` says how many random ones.
    pub(crate) fn each_recipe(&self, rounds: usize, seed: u64, take: &mut dyn FnMut(Recipe)) {
        let mut dice = Dice(seed);
        for done in 0..=self.len() {
            let open = self.open(done);
            for fate in Fate::SAME {
                let pick = Pick::First(open);
                take(Recipe { done, pick, fate });
            }
            let mut picks: Vec<Pick> = (0..open).map(Pick::First).collect();
            picks.extend((0..open).map(Pick::AllBut));
            picks.extend((0..open).map(Pick::Only));
            picks.extend((0..rounds).map(|_| Pick::Some(dice.next())));
            for pick in picks {
                let fate = match dice.below(8) {
                    at @ 0..5 => Fate::SAME[at],
                    _ => Fate::Mixed(dice.next()),
                };
                take(Recipe { done, pick, fate });
            }
            for _ in 0..rounds {
                let (pick, fate) = (Pick::First(open), Fate::Mixed(dice.next()));
                take(Recipe { done, pick, fate });
            }
        }
    }

    /// The state that there is without a power cut.
    pub(crate) fn last(&self) -> State {
        let done = self.len();
        let (pick, fate) = (Pick::First(self.open(done)), Fate::Whole);
        self.state(Recipe { done, pick, fate })
    }

    /// How many changes are not durable after `done` operations.
    fn open(&self, done: usize) -> usize {
        let changes = self.changes.iter().take_while(|change| change.op < done);
        changes.filter(|change| change.durable > done).count()
    }

    /// Makes the state of a recipe.
    pub(crate) fn state(&self, recipe: Recipe) -> State {
        let Recipe { done, pick, fate } = recipe;
        let mut names = self.first.clone();
        let mut has = vec![true; self.changes.len()];
        let (mut open, mut dice) = (0, Dice(0));
        if let Pick::Some(seed) = pick {
            dice = Dice(seed);
        }
        for (at, change) in self.changes.iter().enumerate() {
            if change.op >= done {
                break;
            }
            if change.durable > done {
                has[at] = match pick {
                    Pick::First(some) => open < some,
                    Pick::AllBut(one) => open != one,
                    Pick::Only(one) => open == one,
                    Pick::Some(_) => dice.below(2) == 0,
                };
                open += 1;
            }
            if has[at] && change.after.is_none_or(|new_name| has[new_name]) {
                names[change.path] = change.node;
            }
        }
        let mut reached = vec![false; names.len()];
        let mut found = Vec::new();
        for (path, node) in names.iter().enumerate() {
            // Parents come before what is in them.
            let above = self.parents[path];
            let Some(node) = node.filter(|_| above.is_none_or(|above| reached[above])) else {
                continue;
            };
            match node {
                Node::Folder => {
                    reached[path] = true;
                    found.push((path, None));
                }
                Node::File(file) => found.push((path, Some((file, self.bytes(file, done, fate))))),
            }
        }
        let finished = |op: &&Op| matches!(op, Op::Finished);
        State {
            done,
            finished: self.log.ops[..done].iter().filter(finished).count(),
            names: found,
        }
    }

    /// Tells states apart: whole, and by what is outside of sessions.
    pub(crate) fn hashes(&self, state: &State) -> (u64, u64) {
        let (mut all, mut outside) = (DefaultHasher::new(), DefaultHasher::new());
        state.finished.hash(&mut all);
        state.finished.hash(&mut outside);
        for (path, file) in &state.names {
            (path, file).hash(&mut all);
            if !self.in_session[*path] {
                (path, file).hash(&mut outside);
            }
        }
        (all.finish(), outside.finish())
    }

    /// Returns the paths of a state, with what files hold.
    pub(crate) fn names<'a>(
        &'a self,
        state: &'a State,
    ) -> impl Iterator<Item = (&'a Path, Option<Snapshot>)> {
        state.names.iter().map(|(path, file)| {
            let held = file.map(|(file, bytes)| self.held(file, bytes));
            (self.paths[*path].as_path(), held)
        })
    }
}
