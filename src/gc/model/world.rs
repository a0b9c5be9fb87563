//! Owns what does not change in a run: who is there, what leads to what, which step is left out; and the invariants.

use super::omissions::Omission;
use super::state::{
    ACTORS, Actor, EPOCHS, FILES, IMAGE_A, IMAGE_B, INDEX, LAST, LAYER_A, LAYER_B, NAMES, NONE,
    OBJECT, ROW_CHAIN_A, ROW_CHAIN_B, ROW_IMAGE_A, ROW_IMAGE_B, ROW_NODE, ROW_OBJECT, Set, State,
    Step, TREE_ROOTS, Violation, bit, has, lowest,
};

/// What an actor is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Nobody,
    /// Reads what a name leads to.
    Reader {
        name: u8,
    },
    /// Imports an image and names it.
    Writer {
        image: u8,
        name: u8,
    },
    /// Names what a name leads to.
    Tagger {
        from: u8,
        name: u8,
    },
    /// Names the image below an index that a name leads to.
    ChildTagger {
        from: u8,
        name: u8,
    },
    Untagger {
        name: u8,
    },
    /// Collects, so many times.
    Collector {
        rounds: u8,
    },
}

/// What does not change in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) roles: [Role; ACTORS],
    pub(super) refs: [Set; FILES as usize],
    /// What is left out, a bit each.
    pub(super) omitted: u64,
    /// What is not looked for, to see what else goes wrong.
    pub(super) tolerated: &'static [Violation],
}

impl World {
    /// Two images; the second one has the layer `layer_b`, which may be that of the first.
    pub(super) fn new(actors: &[Role], layer_b: u8) -> Self {
        let mut roles = [Role::Nobody; ACTORS];
        roles[..actors.len()].copy_from_slice(actors);
        assert_eq!(roles[LAST], Role::Nobody);
        roles[LAST] = Role::Collector { rounds: 1 };
        let mut refs = [0; FILES as usize];
        refs[usize::from(IMAGE_A)] = bit(LAYER_A);
        refs[usize::from(IMAGE_B)] = bit(layer_b);
        refs[usize::from(INDEX)] = bit(IMAGE_A);
        refs[usize::from(LAYER_A)] = bit(OBJECT);
        refs[usize::from(LAYER_B)] = bit(OBJECT);
        Self {
            roles,
            refs,
            omitted: 0,
            tolerated: &[],
        }
    }

    pub(super) const fn omits(&self, omission: Omission) -> bool {
        self.omitted & (1 << omission as u32) != 0
    }

    pub(super) const fn without(self, omission: Omission) -> Self {
        Self {
            omitted: self.omitted | (1 << omission as u32),
            ..self
        }
    }

    /// Returns the store in which `names` are named, everybody at the beginning of their program.
    pub(super) fn start(&self, names: &[u8], deaths: u8) -> State {
        let mut state = State {
            place: 0,
            trash: [0; EPOCHS],
            rows: 0,
            names: [NONE; NAMES],
            epochs: bit(1),
            claims: 0,
            locked_claims: 0,
            sessions: 0,
            sweeps: 0,
            commits: 0,
            gc: NONE,
            collecting: NONE,
            publish_shared: 0,
            publish: NONE,
            catalog: NONE,
            deaths,
            actors: [Actor::default(); ACTORS],
            violation: None,
        };
        state.names[..names.len()].copy_from_slice(names);
        state.place = self.closure(state.named());
        state.rows = Self::rows_of(state.place, TREE_ROOTS | ROW_NODE);
        for (number, role) in self.roles.iter().enumerate().take(LAST) {
            state.actors[number] = Self::begin(*role);
        }
        state
    }

    pub(super) fn begin(role: Role) -> Actor {
        let (step, rounds) = match role {
            Role::Nobody => (Step::Done, 0),
            Role::Untagger { .. } => (Step::Untag, 0),
            Role::Collector { rounds } => (Step::LockGc, rounds),
            Role::Reader { .. }
            | Role::Writer { .. }
            | Role::Tagger { .. }
            | Role::ChildTagger { .. } => (Step::EnterRead, 0),
        };
        Actor {
            step,
            rounds,
            target: NONE,
            ..Actor::default()
        }
    }

    pub(super) fn refs(&self, file: u8) -> Set {
        self.refs[usize::from(file)]
    }

    /// Returns the files that `roots` lead to, they themselves with them.
    pub(super) fn closure(&self, roots: Set) -> Set {
        let mut all = 0;
        let mut waiting = roots;
        while waiting != 0 {
            let file = lowest(waiting);
            all |= bit(file);
            waiting = (waiting | self.refs(file)) & !all;
        }
        all
    }

    /// Returns the rows that are live where `files` are, given the rows there are: what leads to no tree makes none live.
    pub(super) fn rows_of(files: Set, rows: Set) -> Set {
        let mut live = 0;
        for (file, row) in [
            (IMAGE_A, ROW_IMAGE_A),
            (IMAGE_B, ROW_IMAGE_B),
            (LAYER_A, ROW_CHAIN_A),
            (LAYER_B, ROW_CHAIN_B),
            (OBJECT, ROW_OBJECT),
        ] {
            if has(files, file) {
                live |= row;
            }
        }
        if live & rows & TREE_ROOTS != 0 {
            live |= ROW_NODE;
        }
        live
    }

    /// Returns the row of an image, or of the one below the index.
    pub(super) const fn image_row(image: u8) -> Set {
        if image == IMAGE_B {
            ROW_IMAGE_B
        } else {
            ROW_IMAGE_A
        }
    }

    /// Returns the row of an image's stack of layers.
    pub(super) fn chain_row(&self, image: u8) -> Set {
        if has(self.closure(bit(image)), LAYER_A) {
            ROW_CHAIN_A
        } else {
            ROW_CHAIN_B
        }
    }

    /// I1, and what rows may not say.
    pub(super) fn check(&self, state: &mut State) {
        let named = self.closure(state.named());
        if named & !state.place != 0 {
            state.fail(Violation::NamedFileGone);
        }
        for image in [IMAGE_A, IMAGE_B] {
            let needed = Self::image_row(image) | ROW_NODE;
            if has(named, image) && state.rows & needed != needed {
                state.fail(Violation::NamedRowGone);
            }
        }
        let dangles = state.rows & TREE_ROOTS != 0 && state.rows & ROW_NODE == 0;
        if dangles && !self.tolerated.contains(&Violation::DanglingRow) {
            state.fail(Violation::DanglingRow);
        }
        let outlived = state.rows & ROW_OBJECT != 0 && !state.in_place(OBJECT);
        if outlived && !self.tolerated.contains(&Violation::RowOfFileGone) {
            state.fail(Violation::RowOfFileGone);
        }
    }

    /// I3, of a store in which a collection ran alone.
    pub(super) fn check_collected(&self, state: &mut State) {
        let live = self.closure(state.named());
        let rows = Self::rows_of(live, state.rows);
        let clean = state.place == live
            && state.trash == [0; EPOCHS]
            && state.rows & !rows == 0
            && state.epochs.is_power_of_two()
            && state.claims == 0
            && state.sessions == 0;
        if !clean {
            state.fail(Violation::NotCollected);
        }
    }
}
