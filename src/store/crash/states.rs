//! Owns the model of a disk: the states that a power cut may leave, from the log of what was done.
//!
//! Names that no later sync covers may be there or not, each by itself; a rename is two of them, the new name and the
//! loss of the old one, and never the second without the first. Bytes that no sync covers may be there, lost, half
//! there, or zeros. Of the catalog's writes since its last sync any may be there, a last one in part.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

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

/// What became of bytes that no sync covers.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    /// As at the last sync; empty where there was none.
    Lost,
    Half,
    Zeros,
    /// The bytes are there, their file's metadata is not.
    Bare,
    /// Each file for itself.
    Mixed(u64),
}

/// How to make one state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// How many operations were done before the power cut.
    pub(crate) done: usize,
    pick: Pick,
    fate: Fate,
}

/// What a file is found to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Bytes {
    /// A snapshot: 0 is the first.
    Whole(usize),
    Half(usize),
    Zeros(usize),
    Bare(usize),
    /// The catalog: what it held after so many operations, and by a seed some of its writes up to `done`.
    Written {
        synced: usize,
        upto: usize,
        some: Option<u64>,
    },
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
        let mut change = |disk: &mut Self, path: &Path, node, after| {
            let path = disk.path(known, path);
            disk.changes.push(Change {
                op,
                path,
                node,
                after,
                durable: usize::MAX,
            });
        };
        match self.log.ops[op].clone() {
            Op::Create(file, at) => change(self, &at, Some(Node::File(file)), None),
            Op::MakeFolder(at) => change(self, &at, Some(Node::Folder), None),
            Op::Rename(file, from, to) => {
                change(self, &to, Some(Node::File(file)), None);
                let new_name = self.changes.len() - 1;
                change(self, &from, None, Some(new_name));
            }
            Op::Remove(at) | Op::RemoveFolder(at) => change(self, &at, None, None),
            Op::SyncFile(file) => self.syncs[file].push(op + 1),
            Op::SyncAll => self.syncs.iter_mut().for_each(|syncs| syncs.push(op + 1)),
            Op::Write(file, ..) | Op::SetLen(file, _) => self.writes[file].push(op),
            Op::SyncFolder(_) | Op::Finished => {}
        }
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
            let fates = [Fate::Whole, Fate::Lost, Fate::Half, Fate::Zeros, Fate::Bare];
            for fate in fates {
                let pick = Pick::First(open);
                take(Recipe { done, pick, fate });
            }
            let mut picks: Vec<Pick> = (0..open).map(Pick::First).collect();
            picks.extend((0..open).map(Pick::AllBut));
            picks.extend((0..open).map(Pick::Only));
            picks.extend((0..rounds).map(|_| Pick::Some(dice.next())));
            for pick in picks {
                let fate = match dice.below(8) {
                    at @ 0..5 => fates[at],
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

    fn bytes(&self, file: FileId, done: usize, fate: Fate) -> Bytes {
        let known = &self.log.files[file];
        let synced = self.syncs[file].iter().rev().find(|at| **at <= done);
        let fate = match fate {
            Fate::Mixed(seed) => {
                let mut dice = Dice(seed ^ file as u64);
                let fates = [Fate::Whole, Fate::Lost, Fate::Half, Fate::Zeros, Fate::Bare];
                match dice.below(6) {
                    at @ 0..5 => fates[at],
                    _ => Fate::Mixed(dice.next()),
                }
            }
            other => other,
        };
        if known.is_written {
            return self.written(file, (synced.copied().unwrap_or(0), done), fate);
        }
        // The first snapshot that was taken later may be in part what is being written now.
        let later = &known.later;
        let now = later.iter().position(|(at, _)| *at >= done);
        let now = now.map_or(later.len(), |at| at + 1);
        let safe = synced.map_or(0, |synced| {
            later.iter().take_while(|(at, _)| at < synced).count()
        });
        match fate {
            _ if safe >= now => Bytes::Whole(safe),
            Fate::Whole | Fate::Mixed(_) => Bytes::Whole(now),
            Fate::Lost => Bytes::Whole(safe),
            Fate::Half => Bytes::Half(now),
            Fate::Zeros => Bytes::Zeros(now),
            Fate::Bare => Bytes::Bare(now),
        }
    }

    fn written(&self, file: FileId, (synced, done): (usize, usize), fate: Fate) -> Bytes {
        let open = self.writes[file]
            .iter()
            .filter(|op| (synced..done).contains(*op));
        let open: Vec<usize> = open.copied().collect();
        let Some(last) = open.last() else {
            return Bytes::Written {
                synced,
                upto: synced,
                some: None,
            };
        };
        let (upto, some) = match fate {
            Fate::Whole => (last + 1, None),
            Fate::Lost => (synced, None),
            Fate::Half => (open[open.len() / 2], None),
            // The last in part.
            Fate::Zeros => (last + 1, Some(0)),
            Fate::Bare => (last + 1, Some((done as u64) | 1)),
            Fate::Mixed(seed) => (last + 1, Some(seed | 1)),
        };
        Bytes::Written { synced, upto, some }
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

    fn snapshot(&self, file: FileId, number: usize) -> &Snapshot {
        let known = &self.log.files[file];
        match number {
            0 => &known.base,
            later => &known.later[later - 1].1,
        }
    }

    fn held(&self, file: FileId, bytes: Bytes) -> Snapshot {
        let base = &self.log.files[file].base;
        let with = |bytes: Vec<u8>, of: &Snapshot| Snapshot {
            bytes: bytes.into(),
            meta: of.meta.clone(),
        };
        match bytes {
            Bytes::Whole(at) => self.snapshot(file, at).clone(),
            Bytes::Half(at) => {
                let whole = &self.snapshot(file, at).bytes;
                with(whole[..whole.len() / 2].to_vec(), base)
            }
            Bytes::Zeros(at) => {
                let whole = self.snapshot(file, at);
                with(vec![0; whole.bytes.len()], whole)
            }
            Bytes::Bare(at) => with(self.snapshot(file, at).bytes.to_vec(), base),
            Bytes::Written { synced, upto, some } => {
                let mut held = base.bytes.to_vec();
                let writes = self.writes[file].iter().take_while(|op| **op < upto);
                let writes: Vec<usize> = writes.copied().collect();
                let mut dice = Dice(some.unwrap_or_default());
                for op in &writes {
                    let is_last = Some(op) == writes.last();
                    let part = match some {
                        Some(0) if is_last => Part::Half,
                        Some(1..) if *op >= synced => Part::any(&mut dice),
                        _ => Part::Whole,
                    };
                    part.put(&mut held, &self.log.ops[*op]);
                }
                with(held, base)
            }
        }
    }
}

/// How much of one of the catalog's writes there is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Half,
    /// Each sector by itself.
    Sectors(u64),
    Nothing,
}

impl Part {
    fn any(dice: &mut Dice) -> Self {
        match dice.below(5) {
            0 | 1 => Self::Whole,
            2 | 3 => Self::Nothing,
            _ => Self::Sectors(dice.next()),
        }
    }

    fn put(self, held: &mut Vec<u8>, op: &Op) {
        match (op, self) {
            (_, Self::Nothing) => {}
            (Op::Write(_, offset, bytes), part) => {
                let mut at = usize::try_from(*offset).unwrap();
                let sectors = bytes.chunks(512);
                let half = sectors.len() / 2;
                for (number, sector) in sectors.enumerate() {
                    let there = match part {
                        Self::Half => number < half,
                        Self::Sectors(seed) => Dice(seed ^ number as u64).below(2) == 0,
                        _ => true,
                    };
                    let end = at + sector.len();
                    if there {
                        held.resize(held.len().max(end), 0);
                        held[at..end].copy_from_slice(sector);
                    }
                    at = end;
                }
            }
            (Op::SetLen(_, len), _) => held.resize(usize::try_from(*len).unwrap(), 0),
            (other, _) => panic!("no write: {other:?}"),
        }
    }
}
