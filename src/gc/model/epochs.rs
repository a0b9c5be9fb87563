//! How epochs end: waited for, given up on, and their trash with them.

use super::omissions::Omission;
use super::state::{Actor, EPOCHS, NONE, State, Step, bit};
use super::world::{Role, World};

/// Removes epochs before the current one that nobody holds, up to the first that is held; returns that, or nothing.
pub(super) fn end_epochs(world: &World, state: &mut State, me: usize) -> u8 {
    let current = state.current_epoch();
    if world.omits(Omission::OlderEpochs) {
        let mine = current - 1;
        if state.holds(bit(mine)) {
            return mine;
        }
        state.epochs = bit(current);
        return NONE;
    }
    for epoch in 1..current {
        let waits = state.actors[me].step != Step::EndEarlier;
        let skipped = match waits {
            true => world.omits(Omission::Wait),
            false => world.omits(Omission::WaitForEarlier),
        };
        if state.holds(bit(epoch)) && !skipped {
            return epoch;
        }
        state.epochs &= !bit(epoch);
    }
    NONE
}

/// C9: an epoch is still held, and the collector has waited long enough.
pub(super) fn give_up(world: &World, state: &State, me: usize) -> Option<State> {
    let mut next = *state;
    if state.actors[me].step != Step::Wait || end_epochs(world, &mut next, me) == NONE {
        return None;
    }
    next.actors[me].step = Step::EndEpochs;
    Some(next)
}

/// C8 and C9.
pub(super) fn wait(world: &World, state: &mut State, me: usize) -> bool {
    let epoch = state.actors[me].epoch;
    let early = world.omits(Omission::WaitBeforeTreeRows);
    match state.actors[me].step {
        // C8: the next epoch.
        Step::NextEpoch => {
            if !world.omits(Omission::NextEpoch) {
                state.epochs |= bit(epoch + 1);
            }
            state.actors[me].step = if early {
                Step::LockTreeRows
            } else {
                Step::Wait
            };
        }
        // C9: wait until no epoch up to mine is held.
        _ => {
            let before = state.epochs;
            if end_epochs(world, state, me) != NONE {
                return state.epochs != before;
            }
            state.actors[me].step = if early {
                Step::EndEpochs
            } else {
                Step::LockTreeRows
            };
        }
    }
    true
}

/// C11 and the end.
pub(super) fn free(world: &World, state: &mut State, me: usize) -> bool {
    let actor = state.actors[me];
    match actor.step {
        // C11: epochs that nobody holds end.
        Step::EndEpochs => {
            let next = actor.epoch + 1;
            let held = end_epochs(world, state, me);
            state.actors[me].cursor = held.min(next);
            state.actors[me].step = Step::Free;
        }
        // C11: unlink the trash of epochs before the first that is held, folder by folder.
        Step::Free => {
            let full = |epoch: &usize| state.trash[*epoch] != 0;
            match (1..EPOCHS.min(actor.cursor.into())).find(full) {
                Some(next) => state.trash[next] = 0,
                None => state.actors[me].step = Step::UnlockGc,
            }
        }
        _ => {
            state.gc = NONE;
            state.collecting = NONE;
            state.actors[me] = match actor.rounds - 1 {
                0 => Actor {
                    target: NONE,
                    ..Actor::default()
                },
                rounds => World::begin(Role::Collector { rounds }),
            };
        }
    }
    true
}
