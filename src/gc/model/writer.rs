//! The program of those who add and name, W2 to W10: one arm is one atomic step of the protocol.

use super::actors::done;
use super::omissions::Omission;
use super::state::{
    Actor, NONE, ROW_NODE, ROW_OBJECT, State, Step, Violation, bit, has, highest, lowest,
};
use super::world::{Role, World};

/// Takes one step of a writer; returns false where a lock that another one holds is waited for.
pub(super) fn write(world: &World, state: &mut State, me: usize, name: u8) -> bool {
    let mine = bit(u8::try_from(me).unwrap());
    let needed = world.closure(bit(state.actors[me].target));
    match state.actors[me].step {
        // W2: look what is there already, file by file; the rest is staged.
        Step::Find => {
            state.sessions |= mine;
            let actor = &mut state.actors[me];
            let file = lowest(needed & !actor.marked);
            let there = has(state.place, file)
                || (world.omits(Omission::FindInPlaceOnly)
                    && state.trash.iter().any(|files| has(*files, file)));
            actor.marked |= bit(file);
            if !there {
                actor.staged |= bit(file);
            }
            if actor.marked == needed {
                actor.marked = 0;
                actor.step = Step::NoteSweeps;
            }
        }
        Step::NoteSweeps | Step::MergeChain | Step::MergeNode => return merge(world, state, me),
        // W4: rename what is staged into place, from the bottom up.
        Step::Place => {
            let actor = &mut state.actors[me];
            let file = highest(actor.staged);
            actor.staged &= !bit(file);
            state.place |= bit(file);
            actor.step = placed(world, actor);
        }
        Step::Leave => {
            // W10: leave.
            state.sessions &= !mine;
            done(state, me);
        }
        _ => return commit(world, state, me, name),
    }
    true
}

/// W3: merge from rows, which others may change between two reads.
fn merge(world: &World, state: &mut State, me: usize) -> bool {
    if state.catalog != NONE {
        return false;
    }
    let mine = bit(u8::try_from(me).unwrap());
    let target = state.actors[me].target;
    let chain = world.chain_row(target);
    let actor = &mut state.actors[me];
    // A merge after a sweep has nothing more to put in place.
    let merged = match state.claims & mine {
        0 => placed(world, actor),
        _ => Step::PutRows,
    };
    match actor.step {
        // W3: note `sweeps`, before all else.
        Step::NoteSweeps => {
            actor.noted = state.sweeps;
            actor.step = Step::MergeChain;
        }
        // W3: the stack may be known; then its tree is not made again.
        Step::MergeChain => {
            actor.new_rows = World::image_row(target) | ROW_OBJECT;
            actor.step = if state.rows & chain != 0 {
                Step::MergeNode
            } else {
                actor.new_rows |= chain | ROW_NODE;
                merged
            };
        }
        // W3: the known tree is read; where it is gone, rows were dropped: again.
        _ if state.rows & ROW_NODE != 0 => actor.step = merged,
        _ if actor.noted != state.sweeps && !world.omits(Omission::MergeAgain) => {
            actor.step = Step::NoteSweeps;
        }
        _ => state.fail(Violation::ImportFails),
    }
    true
}

fn placed(world: &World, actor: &Actor) -> Step {
    if actor.staged != 0 {
        Step::Place
    } else if world.omits(Omission::ClaimBeforeRestore) {
        Step::LookForTrash
    } else {
        Step::Claim
    }
}

/// W5 to W9, which a tagger goes through as well.
pub(super) fn commit(world: &World, state: &mut State, me: usize, name: u8) -> bool {
    match state.actors[me].step {
        Step::Claim | Step::LockClaim | Step::LookForTrash | Step::Restore => {
            claim(world, state, me)
        }
        _ => record(world, state, me, name),
    }
}

/// W5 and W6.
fn claim(world: &World, state: &mut State, me: usize) -> bool {
    let mine = bit(u8::try_from(me).unwrap());
    let restored = match world.roles[me] {
        Role::Writer { .. } => Step::PutRows,
        _ => before_name(world),
    };
    let claim_last = world.omits(Omission::ClaimBeforeRestore);
    let claim_or_go_on = if claim_last { Step::Claim } else { restored };
    let claimed = match claim_last {
        true => restored,
        false if world.omits(Omission::Restore) => restored,
        false => Step::LookForTrash,
    };
    match state.actors[me].step {
        // W5: under `publish` shared, give the claim its name.
        Step::Claim => {
            if state.publish != NONE {
                return false;
            }
            if !world.omits(Omission::Claim) {
                state.claims |= mine;
            }
            state.actors[me].step = if world.omits(Omission::ClaimLockedFirst) {
                Step::LockClaim
            } else {
                state.locked_claims |= mine;
                claimed
            };
        }
        Step::LockClaim => {
            state.locked_claims |= mine;
            state.actors[me].step = claimed;
        }
        // W6: if there is a trash folder of my epoch or a later one ...
        Step::LookForTrash => {
            let epoch = state.actors[me].epoch;
            let from = usize::from(epoch) + usize::from(world.omits(Omission::RestoreFromOwnEpoch));
            let any = state.trash.iter().skip(from).any(|files| *files != 0);
            let target = state.actors[me].target;
            state.actors[me].work = if any { world.closure(bit(target)) } else { 0 };
            state.actors[me].step = if any { Step::Restore } else { claim_or_go_on };
        }
        // W6: ... what is not in place is renamed back, from the bottom up.
        _ => {
            let file = highest(state.actors[me].work);
            state.actors[me].work &= !bit(file);
            if !state.in_place(file) && state.in_trash(file) {
                let from = state.trash.iter_mut().find(|files| has(**files, file));
                *from.unwrap() &= !bit(file);
                state.place |= bit(file);
            }
            if state.actors[me].work == 0 {
                state.actors[me].step = claim_or_go_on;
            }
        }
    }
    true
}

/// W7 to W9.
fn record(world: &World, state: &mut State, me: usize, name: u8) -> bool {
    let mine = bit(u8::try_from(me).unwrap());
    match state.actors[me].step {
        Step::PutRows if state.catalog != NONE => return false,
        // W7: one transaction; if `sweeps` is not what was noted, merge again.
        Step::PutRows => {
            if state.sweeps != state.actors[me].noted && !world.omits(Omission::ComparisonOfSweeps)
            {
                state.actors[me].step = Step::NoteSweeps;
                return true;
            }
            state.rows |= state.actors[me].new_rows;
            state.commits += 1;
            state.actors[me].step = before_name(world);
        }
        // W8: under `names`: write index.json.
        Step::Name => {
            state.names[usize::from(name)] = state.actors[me].target;
            state.actors[me].step = if world.omits(Omission::ClaimUntilNamed) {
                Step::Leave
            } else {
                Step::DropClaim
            };
        }
        // W9: remove the claim; while a collector is at work only its lock goes.
        Step::DropClaim => {
            if state.collecting == NONE || world.omits(Omission::ClaimForCollection) {
                state.claims &= !mine;
            }
            state.locked_claims &= !mine;
            state.actors[me].step = if world.omits(Omission::ClaimUntilNamed) {
                Step::Name
            } else {
                Step::Leave
            };
        }
        _ => return false,
    }
    true
}

fn before_name(world: &World) -> Step {
    if world.omits(Omission::ClaimUntilNamed) {
        Step::DropClaim
    } else {
        Step::Name
    }
}
