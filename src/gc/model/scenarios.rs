//! The scenarios that are explored: who meets whom, over which store.

use super::state::{IMAGE_A as A, IMAGE_B as B, INDEX as X, LAYER_A, LAYER_B, NONE as NO, State};
use super::world::{Role, World};

/// Who meets whom, over which store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    actors: &'static [Role],
    /// What names 0, 1 and 2 lead to.
    names: [u8; 3],
    /// How many actors may die.
    deaths: u8,
    /// The layer of the second image: that of the first, or one with the same object and the same tree.
    layer_b: u8,
}

impl Scenario {
    const fn of(names: [u8; 3], actors: &'static [Role]) -> Self {
        Self {
            actors,
            names,
            deaths: 0,
            layer_b: LAYER_B,
        }
    }

    const fn shared(self) -> Self {
        Self {
            layer_b: LAYER_A,
            ..self
        }
    }

    const fn mortal(self) -> Self {
        Self { deaths: 1, ..self }
    }

    const fn deaths(self, deaths: u8) -> Self {
        Self { deaths, ..self }
    }

    /// Returns the world and how it begins.
    pub(super) fn open(&self) -> (World, State) {
        let world = World::new(self.actors, self.layer_b);
        let start = world.start(&self.names, self.deaths);
        (world, start)
    }
}

const COLLECT: Role = Role::Collector { rounds: 1 };
const COLLECT_TWICE: Role = Role::Collector { rounds: 2 };
const COLLECT_THRICE: Role = Role::Collector { rounds: 3 };
const UNTAG_0: Role = Role::Untagger { name: 0 };
const UNTAG_1: Role = Role::Untagger { name: 1 };
const READ_0: Role = Role::Reader { name: 0 };
const READ_1: Role = Role::Reader { name: 1 };
const A_AS_1: Role = Role::Writer { image: A, name: 1 };
const A_AS_2: Role = Role::Writer { image: A, name: 2 };
const B_AS_1: Role = Role::Writer { image: B, name: 1 };
const X_AS_1: Role = Role::Writer { image: X, name: 1 };
const TAG_0_AS_1: Role = Role::Tagger { from: 0, name: 1 };
const CHILD_OF_0_AS_1: Role = Role::ChildTagger { from: 0, name: 1 };
const CHILD_OF_1_AS_2: Role = Role::ChildTagger { from: 1, name: 2 };

pub(super) const IMPORT_OF_AN_OBJECT: Scenario =
    Scenario::of([A, NO, NO], &[B_AS_1, UNTAG_0, COLLECT]).mortal();
pub(super) const IMPORT_OF_A_LAYER: Scenario = IMPORT_OF_AN_OBJECT.shared();
pub(super) const IMPORT_OF_THE_SAME: Scenario =
    Scenario::of([A, NO, NO], &[A_AS_1, UNTAG_0, COLLECT]).mortal();
pub(super) const IMPORT_TWO_COLLECTIONS: Scenario =
    Scenario::of([A, NO, NO], &[A_AS_1, UNTAG_0, COLLECT_TWICE]);
pub(super) const IMPORT_TWO_COLLECTORS: Scenario =
    Scenario::of([A, NO, NO], &[A_AS_1, UNTAG_0, COLLECT, COLLECT]).mortal();
pub(super) const IMPORT_UNTAGGED_AT_ONCE: Scenario =
    Scenario::of([A, NO, NO], &[A_AS_1, UNTAG_0, UNTAG_1, COLLECT]);
pub(super) const TWO_IMPORTS: Scenario =
    Scenario::of([NO, NO, NO], &[A_AS_1, B_AS_1, COLLECT]).shared();
pub(super) const TWO_IMPORTS_BESIDE: Scenario =
    Scenario::of([A, NO, NO], &[A_AS_1, B_AS_1, UNTAG_0, COLLECT]).shared();
pub(super) const TWO_IMPORTS_OF_ONE: Scenario =
    Scenario::of([NO, NO, NO], &[A_AS_1, A_AS_2, UNTAG_1, COLLECT]);
pub(super) const TAG: Scenario =
    Scenario::of([A, NO, NO], &[TAG_0_AS_1, UNTAG_0, COLLECT]).mortal();
pub(super) const TAG_TWO_COLLECTIONS: Scenario =
    Scenario::of([A, NO, NO], &[TAG_0_AS_1, UNTAG_0, COLLECT_TWICE]);
pub(super) const CHILD_TAG: Scenario =
    Scenario::of([X, NO, NO], &[CHILD_OF_0_AS_1, UNTAG_0, COLLECT]).mortal();
pub(super) const CHILD_TAG_TWO_COLLECTIONS: Scenario =
    Scenario::of([X, NO, NO], &[CHILD_OF_0_AS_1, UNTAG_0, COLLECT_TWICE]);
pub(super) const CHILD_TAG_OF_AN_IMPORT: Scenario =
    Scenario::of([NO, NO, NO], &[X_AS_1, CHILD_OF_1_AS_2, UNTAG_1, COLLECT]);
pub(super) const CHILD_TAG_BESIDE: Scenario = Scenario::of(
    [A, NO, NO],
    &[X_AS_1, CHILD_OF_1_AS_2, UNTAG_0, UNTAG_1, COLLECT],
);
pub(super) const READER: Scenario = Scenario::of([A, NO, NO], &[READ_0, UNTAG_0, COLLECT_TWICE]);
pub(super) const READER_TWO_COLLECTORS: Scenario =
    Scenario::of([A, NO, NO], &[READ_0, UNTAG_0, COLLECT, COLLECT]).mortal();
pub(super) const READER_OF_AN_IMPORT: Scenario =
    Scenario::of([NO, NO, NO], &[READ_1, A_AS_1, UNTAG_1, COLLECT]);
pub(super) const READER_OF_A_TAG: Scenario =
    Scenario::of([X, NO, NO], &[READ_1, CHILD_OF_0_AS_1, UNTAG_1, COLLECT]);
pub(super) const READER_AND_IMPORT: Scenario =
    Scenario::of([A, NO, NO], &[READ_0, A_AS_1, UNTAG_0, COLLECT_TWICE]);
pub(super) const READER_AND_TAG: Scenario = Scenario::of(
    [A, NO, NO],
    &[READ_0, TAG_0_AS_1, UNTAG_0, UNTAG_1, COLLECT_TWICE],
);
pub(super) const READER_AND_CHILD_TAG: Scenario = Scenario::of(
    [X, NO, NO],
    &[READ_0, CHILD_OF_0_AS_1, UNTAG_0, UNTAG_1, COLLECT_TWICE],
);

pub(super) const CHILD_TAG_TWO_DEATHS: Scenario = CHILD_TAG_TWO_COLLECTIONS.deaths(2);
pub(super) const IMPORT_TWO_DEATHS: Scenario = IMPORT_TWO_COLLECTORS.deaths(2);
pub(super) const IMPORT_TWICE_MORTAL: Scenario = IMPORT_TWO_COLLECTIONS.mortal();
pub(super) const TWO_IMPORTS_MORTAL: Scenario = TWO_IMPORTS_BESIDE.mortal();
pub(super) const READER_AND_IMPORT_MORTAL: Scenario =
    Scenario::of([A, NO, NO], &[READ_0, A_AS_1, UNTAG_0, COLLECT]).mortal();
pub(super) const READER_OF_AN_IMPORT_MORTAL: Scenario = READER_OF_AN_IMPORT.mortal();
pub(super) const READER_THREE_COLLECTIONS: Scenario =
    Scenario::of([A, B, NO], &[READ_0, UNTAG_0, UNTAG_1, COLLECT_THRICE]);
pub(super) const READER_IMPORT_THREE: Scenario =
    Scenario::of([A, NO, NO], &[READ_0, B_AS_1, UNTAG_0, COLLECT_THRICE]);
