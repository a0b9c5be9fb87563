//! The programs of those who read, add and name: one arm is one atomic step of the protocol.

use super::omissions::Omission;
use super::state::{
    Actor, IMAGE_A, IMAGE_B, INDEX, NONE, OBJECT, ROW_NODE, State, Step, Violation, bit, has,
    lowest,
};
use super::world::{Role, World};
use super::{collector, writer};

/// Takes one step of an actor; returns nothing where a lock that another one holds is waited for.
pub(super) fn step(world: &World, state: &State, me: usize) -> Option<State> {
    let mut next = *state;
    let role = world.roles[me];
    let moved = match (state.actors[me].step, role) {
        (Step::Done | Step::Dead, _) => false,
        (Step::EnterRead | Step::EnterOpen | Step::EnterLock | Step::EnterCheck, _) => {
            enter(world, &mut next, me)
        }
        (
            Step::LookInPlace
            | Step::LookLock
            | Step::LookInPlaceLocked
            | Step::LookInTrash
            | Step::LookInPlaceAgain,
            _,
        ) => look_up(world, &mut next, me),
        (_, Role::Collector { .. }) => collector::step(world, &mut next, me),
        (_, Role::Reader { name }) => read(&mut next, me, name),
        (_, Role::Writer { name, .. }) => writer::write(world, &mut next, me, name),
        (_, Role::Tagger { from, name } | Role::ChildTagger { from, name }) => {
            tag(world, &mut next, me, [from, name])
        }
        (_, Role::Untagger { name }) => {
            // Under `names`: write index.json.
            next.names[usize::from(name)] = NONE;
            done(&mut next, me);
            true
        }
        (_, Role::Nobody) => false,
    };
    if !moved {
        return None;
    }
    world.check(&mut next);
    Some(next)
}

/// An actor dies: the kernel takes its locks, its files stay as they are.
pub(super) fn die(state: &State, me: usize) -> State {
    let mut next = *state;
    let mine = u8::try_from(me).unwrap();
    next.deaths -= 1;
    next.locked_claims &= !bit(mine);
    next.publish_shared &= !bit(mine);
    for lock in [
        &mut next.gc,
        &mut next.collecting,
        &mut next.publish,
        &mut next.catalog,
    ] {
        if *lock == mine {
            *lock = NONE;
        }
    }
    next.actors[me] = Actor {
        step: Step::Dead,
        target: state.actors[me].target,
        ..Actor::default()
    };
    next
}

/// E1 to E3.
fn enter(world: &World, state: &mut State, me: usize) -> bool {
    let current = state.current_epoch();
    let actor = &mut state.actors[me];
    actor.step = match actor.step {
        // E1: read the highest epoch.
        Step::EnterRead => {
            actor.epoch = current;
            Step::EnterOpen
        }
        // E2: open it; it may be gone by now.
        Step::EnterOpen if has(state.epochs, actor.epoch) => Step::EnterLock,
        Step::EnterOpen => Step::EnterRead,
        // E2: lock it.
        Step::EnterLock => {
            actor.holds_epoch = true;
            if world.omits(Omission::SecondLookAtEpoch) {
                entered(world.roles[me], actor)
            } else {
                Step::EnterCheck
            }
        }
        // E3: the highest again; if it is another one: let go, again.
        _ if actor.epoch == current => entered(world.roles[me], actor),
        _ => {
            actor.holds_epoch = false;
            Step::EnterRead
        }
    };
    true
}

/// Returns the first step after entering.
fn entered(role: Role, actor: &mut Actor) -> Step {
    match role {
        Role::Writer { image, .. } => {
            actor.target = image;
            Step::Find
        }
        Role::Tagger { .. } | Role::ChildTagger { .. } => Step::Resolve,
        Role::Reader { .. } | Role::Untagger { .. } | Role::Collector { .. } | Role::Nobody => {
            Step::ReadNames
        }
    }
}

/// R3: one file is looked for in place; if it is not there, under `publish` shared: in place, in the trash, in place again.
fn look_up(world: &World, state: &mut State, me: usize) -> bool {
    let file = lowest(state.actors[me].work);
    let mine = bit(u8::try_from(me).unwrap());
    let found = match state.actors[me].step {
        Step::LookInTrash => state.in_trash(file),
        Step::LookLock => false,
        _ => state.in_place(file),
    };
    if found {
        state.publish_shared &= !mine;
        look_up_found(world, state, me, file);
        return true;
    }
    let collects = matches!(world.roles[me], Role::Collector { .. });
    let next = match state.actors[me].step {
        Step::LookInPlace if !collects && world.omits(Omission::TrashForReaders) => None,
        Step::LookInPlace if collects && world.omits(Omission::TrashForCollector) => None,
        Step::LookInPlace => Some(Step::LookLock),
        Step::LookLock => {
            if !world.omits(Omission::LookUpUnderPublish) {
                if state.publish != NONE {
                    return false;
                }
                state.publish_shared |= mine;
            }
            Some(Step::LookInPlaceLocked)
        }
        Step::LookInPlaceLocked => Some(Step::LookInTrash),
        Step::LookInTrash if world.omits(Omission::LastLookInPlace) => None,
        Step::LookInTrash => Some(Step::LookInPlaceAgain),
        _ => None,
    };
    match next {
        Some(step) => state.actors[me].step = step,
        None if collects => state.fail(Violation::CannotFollow),
        None => state.fail(Violation::ReaderLosesFile),
    }
    true
}

fn look_up_found(world: &World, state: &mut State, me: usize, file: u8) {
    let actor = &mut state.actors[me];
    actor.marked |= bit(file);
    actor.work = (actor.work | world.refs(file)) & !actor.marked;
    match world.roles[me] {
        Role::Collector { .. } => collector::follow(actor),
        Role::ChildTagger { .. } => {
            // T2: what was asked for is below the index that was read.
            actor.target = IMAGE_A;
            actor.work = 0;
            actor.step = Step::TagNamed;
        }
        _ if actor.work == 0 => actor.step = Step::ReadImageRow,
        _ => actor.step = Step::LookInPlace,
    }
}

fn read(state: &mut State, me: usize, name: u8) -> bool {
    match state.actors[me].step {
        // R2: read names.
        Step::ReadNames => resolve(state, me, name, Step::LookInPlace),
        // R3: rows, in two views.
        Step::ReadImageRow | Step::ReadNode if state.catalog != NONE => return false,
        Step::ReadImageRow => {
            let mut row = ROW_NODE;
            for image in [IMAGE_A, IMAGE_B] {
                if has(state.actors[me].marked, image) {
                    row = World::image_row(image);
                }
            }
            read_row(state, row);
            state.actors[me].step = Step::ReadNode;
        }
        Step::ReadNode => {
            read_row(state, ROW_NODE);
            state.actors[me].step = Step::Leave;
        }
        // R4: leave.
        _ => done(state, me),
    }
    true
}

fn read_row(state: &mut State, row: u8) {
    if state.rows & row == 0 {
        state.fail(Violation::ReaderLosesRow);
    }
}

/// Notes what a name leads to; leaves where it leads nowhere.
fn resolve(state: &mut State, me: usize, name: u8, then: Step) {
    let target = state.names[usize::from(name)];
    let actor = &mut state.actors[me];
    if target == NONE {
        actor.step = Step::Leave;
        return;
    }
    actor.target = target;
    actor.work = bit(target);
    actor.step = then;
}

fn tag(world: &World, state: &mut State, me: usize, [from, name]: [u8; 2]) -> bool {
    match state.actors[me].step {
        // T2: resolve a reference to a digest; one below an index needs the index read.
        Step::Resolve => {
            let below = matches!(world.roles[me], Role::ChildTagger { .. });
            let then = if below {
                Step::LookInPlace
            } else {
                Step::TagNamed
            };
            resolve(state, me, from, then);
            if state.actors[me].target != INDEX && below {
                // The name leads to something else by now: nothing to be done.
                state.actors[me].work = 0;
                state.actors[me].step = Step::Leave;
            }
        }
        // T3: under `names`: if some name names exactly this now, write the new name.
        Step::TagNamed => {
            let actor = &mut state.actors[me];
            actor.work = 0;
            actor.marked = 0;
            let target = actor.target;
            if has(state.named(), target) {
                if world.omits(Omission::CheckUnderNames) {
                    state.actors[me].step = Step::WriteTag;
                } else {
                    state.names[usize::from(name)] = target;
                    state.actors[me].step = Step::Leave;
                }
            } else if world.omits(Omission::ClaimOfTagger) {
                state.actors[me].step = Step::WriteTag;
            } else if world.omits(Omission::ClaimBeforeRestore) {
                state.actors[me].step = Step::LookForTrash;
            } else {
                state.actors[me].step = Step::Claim;
            }
        }
        Step::WriteTag => {
            state.names[usize::from(name)] = state.actors[me].target;
            state.actors[me].step = Step::Leave;
        }
        Step::Leave => done(state, me),
        _ => return writer::commit(world, state, me, name),
    }
    true
}

/// Leaves: all locks go, and nothing more is remembered.
pub(super) fn done(state: &mut State, me: usize) {
    let claimed = has(state.claims, u8::try_from(me).unwrap());
    let target = if claimed {
        state.actors[me].target
    } else {
        NONE
    };
    state.actors[me] = Actor {
        target,
        ..Actor::default()
    };
}

/// Tells whether a collector has to look at a file to know what it leads to.
pub(super) const fn is_followed(file: u8) -> bool {
    file != OBJECT
}
