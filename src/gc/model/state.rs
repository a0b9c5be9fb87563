//! Owns the state of the modelled store: small enough that millions of them can be looked at.
//!
//! Files, rows, epochs and actors are numbers, sets of them are bits. Files are numbered from the top down: who deletes
//! begins with the lowest, who adds with the highest.

/// A set of files, rows, epochs or actors, a bit each.
pub(super) type Set = u8;

/// How many actors there are at the most. The last place is the collection that runs alone when all others are done.
pub(super) const ACTORS: usize = 6;
pub(super) const LAST: usize = ACTORS - 1;
pub(super) const NAMES: usize = 3;
/// Epochs are counted from 1; trash 0 is not used.
pub(super) const EPOCHS: usize = 6;

/// Documents of two images and of an index that leads to the first one; recipes of two layers; one object.
pub(super) const IMAGE_A: u8 = 0;
pub(super) const IMAGE_B: u8 = 1;
pub(super) const INDEX: u8 = 2;
pub(super) const LAYER_A: u8 = 3;
pub(super) const LAYER_B: u8 = 4;
pub(super) const OBJECT: u8 = 5;
pub(super) const FILES: u8 = 6;

/// Rows of the catalog: images and stacks of one layer lead to the one tree node that all of them share.
pub(super) const ROW_IMAGE_A: Set = 1;
pub(super) const ROW_IMAGE_B: Set = 2;
pub(super) const ROW_CHAIN_A: Set = 4;
pub(super) const ROW_CHAIN_B: Set = 8;
pub(super) const ROW_NODE: Set = 16;
pub(super) const ROW_OBJECT: Set = 32;
pub(super) const TREE_ROOTS: Set = ROW_IMAGE_A | ROW_IMAGE_B | ROW_CHAIN_A | ROW_CHAIN_B;

/// No file, no lock's holder.
pub(super) const NONE: u8 = u8::MAX;

/// Where an actor is in its program: the step that it takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Step {
    EnterRead,
    EnterOpen,
    EnterLock,
    EnterCheck,
    ReadNames,
    LookInPlace,
    LookLock,
    LookInPlaceLocked,
    LookInTrash,
    LookInPlaceAgain,
    ReadImageRow,
    ReadNode,
    Find,
    NoteSweeps,
    MergeChain,
    MergeNode,
    Place,
    Claim,
    LockClaim,
    LookForTrash,
    Restore,
    PutRows,
    Name,
    DropClaim,
    Leave,
    Resolve,
    TagNamed,
    WriteTag,
    Untag,
    LockGc,
    LockCollecting,
    EndEarlier,
    FreeEarlier,
    RemoveDead,
    NoteCommits,
    LookAtClaims,
    LookAtNames,
    MarkRows,
    Plan,
    LockObjectRows,
    DropObjectRows,
    LockBatch,
    MoveBatch,
    NextEpoch,
    Wait,
    LockTreeRows,
    DropTreeRows,
    EndEpochs,
    Free,
    UnlockGc,
    Dead,
    #[default]
    Done,
}

/// What a collector looks at claims and names for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Mark,
    ObjectRows,
    Batch,
    TreeRows,
}

/// One process: where it is, and what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Actor {
    pub(super) step: Step,
    /// The epoch that was read, and whether it is locked.
    pub(super) epoch: u8,
    pub(super) holds_epoch: bool,
    /// What a reader reads, and what a claim says.
    pub(super) target: u8,
    /// Files still to be looked at, found, staged or restored.
    pub(super) work: Set,
    pub(super) staged: Set,
    pub(super) new_rows: Set,
    /// `sweeps` as a writer noted it; `commits` as a collector did.
    pub(super) noted: u8,
    /// Files read or marked.
    pub(super) marked: Set,
    pub(super) roots: Set,
    pub(super) seen: Set,
    pub(super) dead: Set,
    pub(super) live_rows: Set,
    pub(super) phase: Phase,
    /// Which epoch's trash is freed, or which transaction it is.
    pub(super) cursor: u8,
    /// Collections still to be run, this one with them.
    pub(super) rounds: u8,
}

impl Actor {
    /// Returns all that tells this actor from others.
    pub(super) fn words(&self) -> [u64; 2] {
        let Self {
            step,
            epoch,
            holds_epoch,
            target,
            work,
            staged,
            new_rows,
            noted,
            marked,
            roots,
            seen,
            dead,
            live_rows,
            phase,
            cursor,
            rounds,
        } = *self;
        let held = u8::from(holds_epoch);
        [
            [
                step as u8, epoch, held, target, work, staged, new_rows, noted,
            ],
            [
                marked,
                roots,
                seen,
                dead,
                live_rows,
                phase as u8,
                cursor,
                rounds,
            ],
        ]
        .map(u64::from_le_bytes)
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// I1: a name leads to a file that is not in place.
    NamedFileGone,
    /// I1: a named image has no row, or its tree none.
    NamedRowGone,
    /// I2: a reader does not find a file.
    ReaderLosesFile,
    /// I2: a reader does not find a row.
    ReaderLosesRow,
    /// A row of an object whose file is not in place.
    RowOfFileGone,
    /// A row of an image or a stack whose tree is not there.
    DanglingRow,
    /// An import takes a row that a collector dropped for damage.
    ImportFails,
    /// A collector cannot follow what it has to mark.
    CannotFollow,
    /// Nobody can move.
    Deadlock,
    /// I4: who holds a lock that others wait for waits itself.
    HolderWaits,
    /// I3: a collection alone left what no name leads to, or took what one does.
    NotCollected,
}

/// The store and everybody who is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) place: Set,
    pub(super) trash: [Set; EPOCHS],
    pub(super) rows: Set,
    pub(super) names: [u8; NAMES],
    /// Epochs that have a file.
    pub(super) epochs: Set,
    /// Whose claims there are, and which of these are locked.
    pub(super) claims: Set,
    pub(super) locked_claims: Set,
    pub(super) sessions: Set,
    pub(super) sweeps: u8,
    pub(super) commits: u8,
    pub(super) gc: u8,
    pub(super) collecting: u8,
    pub(super) publish_shared: Set,
    pub(super) publish: u8,
    pub(super) catalog: u8,
    pub(super) deaths: u8,
    pub(super) actors: [Actor; ACTORS],
    pub(super) violation: Option<Violation>,
}

pub(super) const fn bit(number: u8) -> Set {
    1 << number
}

pub(super) const fn has(set: Set, number: u8) -> bool {
    set & bit(number) != 0
}

/// Returns the lowest in a set, which has one.
pub(super) fn lowest(set: Set) -> u8 {
    u8::try_from(set.trailing_zeros()).unwrap()
}

/// Returns the highest in a set, which has one.
pub(super) fn highest(set: Set) -> u8 {
    u8::try_from(set.ilog2()).unwrap()
}

impl State {
    pub(super) fn current_epoch(&self) -> u8 {
        highest(self.epochs)
    }

    pub(super) fn in_place(&self, file: u8) -> bool {
        has(self.place, file)
    }

    pub(super) fn in_trash(&self, file: u8) -> bool {
        self.trash.iter().any(|files| has(*files, file))
    }

    /// Returns what has a name.
    pub(super) fn named(&self) -> Set {
        self.names
            .iter()
            .filter(|file| **file != NONE)
            .fold(0, |named, file| named | bit(*file))
    }

    /// Tells whether an epoch in `epochs` is held, as far as somebody can see who looks at the files there are.
    pub(super) fn holds(&self, epochs: Set) -> bool {
        self.actors
            .iter()
            .any(|actor| actor.holds_epoch && has(epochs & self.epochs, actor.epoch))
    }

    /// Returns all that tells this state from others, but for actors.
    pub(super) fn words(&self) -> [u64; 3] {
        let Self {
            place,
            trash,
            rows,
            names: [name_0, name_1, name_2],
            epochs,
            claims,
            locked_claims,
            sessions,
            sweeps,
            commits,
            gc,
            collecting,
            publish_shared,
            publish,
            catalog,
            deaths,
            actors: _,
            // Where it is set nothing is looked at any more.
            violation: _,
        } = *self;
        let [_, t1, t2, t3, t4, t5] = trash;
        [
            [
                place,
                rows,
                epochs,
                claims,
                locked_claims,
                sessions,
                sweeps,
                commits,
            ],
            [
                name_0,
                name_1,
                name_2,
                gc,
                collecting,
                publish_shared,
                publish,
                catalog,
            ],
            [t1, t2, t3, t4, t5, deaths, 0, 0],
        ]
        .map(u64::from_le_bytes)
    }

    pub(super) fn fail(&mut self, violation: Violation) {
        self.violation = self.violation.or(Some(violation));
    }
}
