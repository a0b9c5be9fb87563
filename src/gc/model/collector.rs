//! The program of a collector: one arm is one atomic step of the protocol. How it ends epochs is in `epochs.rs`.

use super::actors::is_followed;
use super::epochs::{end_epochs, free, wait};
use super::omissions::Omission;
use super::state::{
    Actor, FILES, NONE, OBJECT, Phase, ROW_NODE, ROW_OBJECT, Set, State, Step, TREE_ROOTS, bit,
    has, lowest,
};
use super::world::World;

/// Takes one step of a collector; returns false where a lock that another one holds is waited for.
pub(super) fn step(world: &World, state: &mut State, me: usize) -> bool {
    match state.actors[me].step {
        Step::LockGc
        | Step::LockCollecting
        | Step::EndEarlier
        | Step::FreeEarlier
        | Step::RemoveDead => begin(world, state, me),
        Step::NoteCommits
        | Step::LookAtClaims
        | Step::LookAtNames
        | Step::MarkRows
        | Step::Plan => mark(world, state, me),
        Step::LockObjectRows | Step::DropObjectRows => object_rows(world, state, me),
        Step::LockBatch | Step::MoveBatch => batch(world, state, me),
        Step::NextEpoch | Step::Wait => wait(world, state, me),
        Step::LockTreeRows | Step::DropTreeRows => tree_rows(world, state, me),
        _ => free(world, state, me),
    }
}

/// C1 to C3.
fn begin(world: &World, state: &mut State, me: usize) -> bool {
    let mine = u8::try_from(me).unwrap();
    match state.actors[me].step {
        // C1: lock `gc`, then `collecting`.
        Step::LockGc if state.gc != NONE => return false,
        Step::LockGc => {
            state.gc = mine;
            state.actors[me].step = Step::LockCollecting;
        }
        Step::LockCollecting if state.collecting != NONE => return false,
        Step::LockCollecting => {
            state.collecting = mine;
            state.actors[me].epoch = state.current_epoch();
            state.actors[me].step = Step::EndEarlier;
        }
        // C2: what an earlier collection left, and nobody can need any more: first its epochs end ...
        Step::EndEarlier => {
            let held = end_epochs(world, state, me);
            let current = state.actors[me].epoch;
            let next = if world.omits(Omission::OnlyPastTrash) {
                current + 1
            } else {
                current
            };
            state.actors[me].cursor = held.min(next);
            state.actors[me].step = Step::FreeEarlier;
        }
        // C2: ... then it is unlinked.
        Step::FreeEarlier => {
            let next = usize::from(state.actors[me].cursor);
            state.trash[..next].fill(0);
            state.actors[me].cursor = 0;
            state.actors[me].step = Step::RemoveDead;
        }
        // C3: remove folders of dead sessions, and claims that nobody locks; nobody makes one meanwhile.
        _ => {
            if state.publish_shared != 0 || state.publish != NONE {
                return false;
            }
            for (number, actor) in (0..).zip(&state.actors) {
                if actor.step == Step::Dead {
                    state.sessions &= !bit(number);
                }
            }
            state.claims &= state.locked_claims;
            state.actors[me].step = look(world);
        }
    }
    true
}

/// Returns the first step of a look at claims and names.
fn look(world: &World) -> Step {
    if world.omits(Omission::ClaimsBeforeNames) {
        Step::LookAtNames
    } else {
        Step::LookAtClaims
    }
}

/// C4 and C5, and every later look at claims and names.
fn mark(world: &World, state: &mut State, me: usize) -> bool {
    let names_first = world.omits(Omission::ClaimsBeforeNames);
    match state.actors[me].step {
        // Claims: every one there is.
        Step::LookAtClaims => {
            let phase = state.actors[me].phase;
            let skipped = world.omits(Omission::LookAtClaims)
                || (phase == Phase::Mark && world.omits(Omission::ClaimsInMark));
            if !skipped {
                state.actors[me].seen |= claimed(world, state);
            }
            if names_first {
                looked(state, me);
            } else {
                state.actors[me].step = Step::LookAtNames;
            }
        }
        // Names, after the claims.
        Step::LookAtNames => {
            state.actors[me].seen |= state.named();
            if names_first {
                state.actors[me].step = Step::LookAtClaims;
            } else {
                looked(state, me);
            }
        }
        // C4: the rows of what is live, of which there are more when somebody commits.
        Step::NoteCommits | Step::MarkRows if state.catalog != NONE => return false,
        Step::NoteCommits => {
            state.actors[me].noted = state.commits;
            state.actors[me].step = Step::MarkRows;
        }
        Step::MarkRows => {
            let live = World::rows_of(state.actors[me].marked, state.rows);
            state.actors[me].live_rows |= live;
            state.actors[me].step = match state.actors[me].phase {
                Phase::Mark => Step::Plan,
                Phase::ObjectRows => Step::LockObjectRows,
                Phase::Batch => Step::LockBatch,
                Phase::TreeRows => Step::LockTreeRows,
            };
        }
        // C5: what is in place less what is marked.
        _ => {
            state.actors[me].dead = state.place & !state.actors[me].marked;
            state.actors[me].step = if world.omits(Omission::ObjectRowsFirst) {
                Step::LockBatch
            } else {
                Step::LockObjectRows
            };
        }
    }
    true
}

fn claimed(world: &World, state: &State) -> Set {
    let counted = match world.omits(Omission::DeadClaims) {
        true => state.claims & state.locked_claims,
        false => state.claims,
    };
    (0..)
        .zip(&state.actors)
        .filter(|(number, _)| has(counted, *number))
        .fold(0, |all, (_, actor)| all | bit(actor.target))
}

/// After a look: what is new is marked, too, without any lock; else what the look was for may be done.
fn looked(state: &mut State, me: usize) {
    let actor = &mut state.actors[me];
    let new = actor.seen & !actor.roots;
    actor.seen = 0;
    if new == 0 && actor.phase != Phase::Mark {
        actor.step = match actor.phase {
            Phase::Mark | Phase::ObjectRows => Step::DropObjectRows,
            Phase::Batch => Step::MoveBatch,
            Phase::TreeRows => Step::DropTreeRows,
        };
        return;
    }
    actor.roots |= new;
    actor.work = new & !actor.marked;
    follow(actor);
    unlock(state, me);
}

fn unlock(state: &mut State, me: usize) {
    let mine = u8::try_from(me).unwrap();
    for lock in [&mut state.publish, &mut state.catalog] {
        if *lock == mine {
            *lock = NONE;
        }
    }
}

/// C4: goes on to the next document or recipe that has to be read; objects lead nowhere.
pub(super) fn follow(actor: &mut Actor) {
    for file in (0..FILES).filter(|file| !is_followed(*file)) {
        actor.marked |= actor.work & bit(file);
        actor.work &= !bit(file);
    }
    actor.step = if actor.work == 0 {
        Step::NoteCommits
    } else {
        Step::LookInPlace
    };
}

/// C6: one transaction, with a look inside.
fn object_rows(world: &World, state: &mut State, me: usize) -> bool {
    match state.actors[me].step {
        Step::LockObjectRows => {
            if state.catalog != NONE {
                return false;
            }
            state.catalog = u8::try_from(me).unwrap();
            state.actors[me].phase = Phase::ObjectRows;
            state.actors[me].step = if world.omits(Omission::LookBeforeObjectRows) {
                Step::DropObjectRows
            } else {
                look(world)
            };
        }
        _ => {
            if !has(state.actors[me].marked, OBJECT) {
                state.rows &= !ROW_OBJECT;
            }
            unlock(state, me);
            state.actors[me].step = if world.omits(Omission::ObjectRowsFirst) {
                Step::NextEpoch
            } else {
                Step::LockBatch
            };
        }
    }
    true
}

/// C7: one file a batch, under `publish` exclusive, from the top down.
fn batch(world: &World, state: &mut State, me: usize) -> bool {
    match state.actors[me].step {
        Step::LockBatch => {
            state.actors[me].phase = Phase::Batch;
            if state.actors[me].dead & !state.actors[me].marked == 0 {
                state.actors[me].dead = 0;
                state.actors[me].step = if world.omits(Omission::ObjectRowsFirst) {
                    Step::LockObjectRows
                } else {
                    Step::NextEpoch
                };
                return true;
            }
            if !world.omits(Omission::BatchUnderPublish) {
                if state.publish != NONE || state.publish_shared != 0 {
                    return false;
                }
                state.publish = u8::try_from(me).unwrap();
            }
            state.actors[me].step = if world.omits(Omission::LookBeforeBatch) {
                Step::MoveBatch
            } else {
                look(world)
            };
        }
        _ => {
            let file = lowest(state.actors[me].dead & !state.actors[me].marked);
            state.actors[me].dead &= !bit(file);
            if state.in_place(file) {
                state.place &= !bit(file);
                // Where nobody holds an epoch, and nobody can enter one during the batch, it is unlinked at once.
                let alone = world.omits(Omission::TrashBesideOthers) || !state.holds(u8::MAX);
                if !alone {
                    state.trash[usize::from(state.actors[me].epoch)] |= bit(file);
                }
            }
            unlock(state, me);
            state.actors[me].step = Step::LockBatch;
        }
    }
    true
}

/// C10: first the rows that lead to nodes, then the nodes.
fn tree_rows(world: &World, state: &mut State, me: usize) -> bool {
    let early = world.omits(Omission::WaitBeforeTreeRows);
    let nodes_first = world.omits(Omission::TreeRootsFirst);
    match state.actors[me].step {
        Step::LockTreeRows => {
            if state.catalog != NONE {
                return false;
            }
            state.catalog = u8::try_from(me).unwrap();
            state.actors[me].phase = Phase::TreeRows;
            state.actors[me].step = match world.omits(Omission::LookBeforeTreeRows) {
                true => Step::DropTreeRows,
                false => look(world),
            };
        }
        // Somebody committed since the rows were marked: what is live may have more of them.
        _ if state.commits != state.actors[me].noted
            && !world.omits(Omission::ComparisonOfCommits) =>
        {
            unlock(state, me);
            state.actors[me].step = Step::NoteCommits;
        }
        _ => {
            let first = state.actors[me].cursor == 0;
            let batch = if first == nodes_first {
                ROW_NODE
            } else {
                TREE_ROOTS
            };
            let gone = state.rows & batch & !state.actors[me].live_rows;
            state.rows &= !gone;
            state.sweeps += u8::from(gone != 0);
            unlock(state, me);
            state.actors[me].cursor = u8::from(first);
            state.actors[me].step = match (first, early) {
                (true, _) => Step::LockTreeRows,
                (false, true) => Step::Wait,
                (false, false) => Step::EndEpochs,
            };
        }
    }
    true
}
