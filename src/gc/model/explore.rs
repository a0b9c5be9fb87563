//! Owns the exploration: every interleaving of a scenario, the shortest first, and how a violation came about.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::state::{Actor, LAST, State, Step, Violation, has};
use super::world::{Role, World};
use super::{actors, epochs};

/// What an exploration came to.
pub(super) struct Outcome {
    pub(super) states: usize,
    /// States in which everybody is done or dead.
    pub(super) ends: usize,
    /// The first violation, with the steps that lead to it.
    pub(super) violation: Option<(Violation, Vec<String>)>,
}

/// Which of an actor's ways on was taken.
#[derive(Clone, Copy)]
enum Move {
    Step,
    GiveUp,
    Die,
}

const MOVES: [Move; 3] = [Move::Step, Move::GiveUp, Move::Die];

/// How a state was come to: from which one, by whose move.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    actor: u8,
    by: Move,
}

/// Mixes words to 64 bits, by which states are remembered: among ten million, two are taken for one with a probability
/// of 3 in a million.
fn mixed(words: impl IntoIterator<Item = u64>) -> u64 {
    let mix = |h: u64, word: u64| {
        let h = (h.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ (h >> 29)
    };
    let h = words.into_iter().fold(0, mix);
    let h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ (h >> 32)
}

/// Hashes of states are mixed already.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

fn hash(state: &State) -> u64 {
    let actors = state.actors.iter().take(LAST).flat_map(Actor::words);
    mixed(state.words().into_iter().chain(actors))
}

/// Returns where a move leads, if the actor can make it.
fn make(world: &World, state: &State, actor: usize, by: Move) -> Option<State> {
    match by {
        Move::Step => actors::step(world, state, actor),
        Move::GiveUp => epochs::give_up(world, state, actor),
        Move::Die => {
            let role = world.roles[actor];
            // A reader that dies has left; an untagger has one step.
            let mortal = !matches!(role, Role::Reader { .. } | Role::Untagger { .. });
            let step = state.actors[actor].step;
            let over = step == Step::Done || step == Step::Dead;
            (mortal && !over && state.deaths > 0).then(|| actors::die(state, actor))
        }
    }
}

/// Explores every interleaving from `start`, until something is wrong.
pub(super) fn explore(world: &World, start: &State) -> Outcome {
    let mut seen: HashSet<u64, BuildHasherDefault<Mixed>> = HashSet::default();
    let mut origins: Vec<Origin> = vec![Origin {
        parent: 0,
        actor: 0,
        by: Move::Step,
    }];
    let mut waiting = VecDeque::from([(0, *start)]);
    seen.insert(hash(start));
    let mut ends = 0;
    while let Some((number, state)) = waiting.pop_front() {
        let mut stuck = true;
        for actor in 0..LAST {
            let mut moves = false;
            for by in MOVES {
                let Some(next) = make(world, &state, actor, by) else {
                    continue;
                };
                moves |= !matches!(by, Move::Die);
                // What went wrong is no part of what a state is known by.
                if next.violation.is_none() && !seen.insert(hash(&next)) {
                    continue;
                }
                let origin = Origin {
                    parent: number,
                    actor: u8::try_from(actor).unwrap(),
                    by,
                };
                let next_number = u32::try_from(origins.len()).unwrap();
                origins.push(origin);
                if let Some(violation) = next.violation {
                    return wrong(world, start, &origins, violation, ends);
                }
                waiting.push_back((next_number, next));
            }
            stuck &= !moves;
            let mine = u8::try_from(actor).unwrap();
            let holds =
                state.publish == mine || state.catalog == mine || has(state.publish_shared, mine);
            if !moves && holds {
                return wrong_at(world, start, &origins, number, Violation::HolderWaits);
            }
        }
        if stuck {
            ends += 1;
            if let Some(violation) = end(world, &state) {
                return wrong_at(world, start, &origins, number, violation);
            }
        }
    }
    Outcome {
        states: origins.len(),
        ends,
        violation: None,
    }
}

/// Nobody moves any more: everybody has to be done, and a collection alone has to leave what names lead to.
fn end(world: &World, state: &State) -> Option<Violation> {
    let over = |step| step == Step::Done || step == Step::Dead;
    if !state.actors.iter().all(|actor| over(actor.step)) {
        return Some(Violation::Deadlock);
    }
    let world = World {
        omitted: 0,
        ..*world
    };
    let mut state = *state;
    state.deaths = 0;
    state.actors[LAST] = World::begin(world.roles[LAST]);
    while state.actors[LAST].step != Step::Done {
        match actors::step(&world, &state, LAST) {
            Some(next) => state = next,
            None => return Some(Violation::Deadlock),
        }
        if state.violation.is_some() {
            return state.violation;
        }
    }
    world.check_collected(&mut state);
    state.violation
}

fn wrong(
    world: &World,
    start: &State,
    origins: &[Origin],
    violation: Violation,
    ends: usize,
) -> Outcome {
    let last = u32::try_from(origins.len() - 1).unwrap();
    Outcome {
        ends,
        ..wrong_at(world, start, origins, last, violation)
    }
}

fn wrong_at(
    world: &World,
    start: &State,
    origins: &[Origin],
    number: u32,
    violation: Violation,
) -> Outcome {
    let mut way = Vec::new();
    let mut at = number;
    while at != 0 {
        let origin = origins[at as usize];
        way.push(origin);
        at = origin.parent;
    }
    let mut state = *start;
    let mut steps = Vec::new();
    for origin in way.iter().rev() {
        let actor = usize::from(origin.actor);
        steps.push(tell(world, &state, actor, origin.by));
        state = make(world, &state, actor, origin.by).unwrap();
    }
    Outcome {
        states: origins.len(),
        ends: 0,
        violation: Some((violation, steps)),
    }
}

/// Tells one move of one actor, with the protocol's name of the step.
fn tell(world: &World, state: &State, actor: usize, by: Move) -> String {
    let who = world.roles[actor];
    let at = state.actors[actor];
    let what = match by {
        Move::Step => label(at.step).to_owned(),
        Move::GiveUp => "C9 waits no longer".to_owned(),
        Move::Die => format!("dies before: {}", label(at.step)),
    };
    let phase = match at.step {
        Step::LookAtClaims | Step::LookAtNames => format!(" ({:?})", at.phase),
        _ => String::new(),
    };
    format!("{actor} {who:?}, epoch {}: {what}{phase}", at.epoch)
}

/// Names a step as the protocol does.
const fn label(step: Step) -> &'static str {
    match step {
        Step::EnterRead => "E1 read the highest epoch",
        Step::EnterOpen => "E2 open it",
        Step::EnterLock => "E2 lock it",
        Step::EnterCheck => "E3 look whether it still is the highest",
        Step::ReadNames => "R2 read names",
        Step::LookInPlace => "R3 look in place",
        Step::LookLock => "R3 lock `publish` shared",
        Step::LookInPlaceLocked => "R3 look in place, locked",
        Step::LookInTrash => "R3 look in the trash",
        Step::LookInPlaceAgain => "R3 look in place again",
        Step::ReadImageRow => "R3 read the image's row",
        Step::ReadNode => "R3 read the tree's row",
        Step::Find => "W2 look what is there",
        Step::NoteSweeps => "W3 note `sweeps`",
        Step::MergeChain => "W3 look for the stack's row",
        Step::MergeNode => "W3 read the known tree",
        Step::Place => "W4 put a file in place",
        Step::Claim => "W5 claim",
        Step::LockClaim => "W5 lock the claim",
        Step::LookForTrash => "W6 look for trash of my epoch or later",
        Step::Restore => "W6 bring a file back",
        Step::PutRows => "W7 put rows",
        Step::Name => "W8 write the name",
        Step::DropClaim => "W9 let the claim go",
        Step::Leave => "W10 leave",
        Step::Resolve => "T2 resolve the reference",
        Step::TagNamed => "T3 name what has a name",
        Step::WriteTag => "T3 write the name",
        Step::Untag => "untag",
        Step::LockGc => "C1 lock `gc`",
        Step::LockCollecting => "C1 lock `collecting`",
        Step::EndEarlier => "C2 end epochs that nobody holds",
        Step::FreeEarlier => "C2 free their trash",
        Step::RemoveDead => "C3 remove sessions and claims of the dead",
        Step::LookAtClaims => "look at claims",
        Step::LookAtNames => "look at names",
        Step::NoteCommits => "C4 note `commits`",
        Step::MarkRows => "C4 mark rows",
        Step::Plan => "C5 plan",
        Step::LockObjectRows => "C6 begin a transaction",
        Step::DropObjectRows => "C6 drop the object's row",
        Step::LockBatch => "C7 lock `publish`",
        Step::MoveBatch => "C7 move a file to the trash",
        Step::NextEpoch => "C8 begin the next epoch",
        Step::Wait => "C9 look whether an earlier epoch is held",
        Step::LockTreeRows => "C10 begin a transaction",
        Step::DropTreeRows => "C10 drop rows of trees",
        Step::EndEpochs => "C11 end epochs that nobody holds",
        Step::Free => "C11 unlink trash",
        Step::UnlockGc => "let `gc` go",
        Step::Dead => "is dead",
        Step::Done => "is done",
    }
}
