//! Owns the run over the states of a recorded disk: which are chosen, made as files, and checked.

use std::collections::{HashMap, HashSet};
use std::fmt::{Display, Write as _};
use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use super::log::Snapshot;
use super::scenario::scratch;
use super::states::{Dice, Disk, Recipe, State};
use crate::store::{durable, inodes};

/// What a run found.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Operations recorded.
    pub(super) operations: usize,
    /// Different states that the disk may be in.
    pub(super) states: usize,
    /// Of these, such that differ outside of what a session staged.
    pub(super) classes: usize,
    /// States in which the store was opened and checked.
    pub(super) checked: usize,
    pub(super) violations: Vec<String>,
}

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Random states after each operation.
    pub(super) rounds: usize,
    /// States to check at the most.
    pub(super) most: usize,
    pub(super) seed: u64,
    /// How many violations are enough.
    pub(super) enough: usize,
}

pub(super) type Checked<T> = Result<T, String>;

/// Adds what was being done to whatever went wrong.
pub(super) trait During<T> {
    fn during(self, what: &str) -> Checked<T>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Checked<T> {
        self.map_err(|e| format!("{what}: {e}"))
    }
}

/// What has to hold: told a state and the folder that has it, in another one to work in.
pub(super) type Check<'a> = dyn Fn(&State, &Path, &Path) -> Checked<()> + Sync + 'a;

/// Checks the states that a power cut may leave of what was recorded.
pub(super) fn run(states: &Disk, bounds: Bounds, check: &Check<'_>) -> Outcome {
    let mut outcome = Outcome {
        operations: states.len(),
        ..Outcome::default()
    };
    let chosen = choose(states, bounds, &mut outcome);
    let next = Mutex::new(chosen.into_iter());
    let shared = Mutex::new(outcome);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let bench = scratch();
                loop {
                    let Some(recipe) = next.lock().unwrap().next() else {
                        break;
                    };
                    let found = check_one(states, recipe, bench.path(), check);
                    let mut outcome = shared.lock().unwrap();
                    outcome.checked += 1;
                    outcome.violations.extend(found.err());
                    if outcome.violations.len() >= bounds.enough {
                        break;
                    }
                }
            });
        }
    });
    shared.into_inner().unwrap()
}

/// Chooses states: of each class one, then others, as many as there may be.
pub(super) fn choose(states: &Disk, bounds: Bounds, outcome: &mut Outcome) -> Vec<Recipe> {
    let mut seen = HashSet::new();
    let mut classes: HashMap<u64, Vec<Recipe>> = HashMap::new();
    let mut order = Vec::new();
    states.each_recipe(bounds.rounds, bounds.seed, &mut |recipe| {
        let state = states.state(recipe);
        let (all, outside) = states.hashes(&state);
        if seen.insert(all) {
            let class = classes.entry(outside).or_insert_with(|| {
                order.push(outside);
                Vec::new()
            });
            class.push(recipe);
        }
    });
    outcome.states = seen.len();
    outcome.classes = classes.len();
    let mut dice = Dice(bounds.seed);
    shuffle(&mut order, &mut dice);
    let mut chosen = Vec::new();
    while chosen.len() < bounds.most && !order.is_empty() {
        order.retain(|class| {
            let class = classes.get_mut(class).unwrap();
            if !class.is_empty() && chosen.len() < bounds.most {
                chosen.push(class.swap_remove(dice.below(class.len())));
            }
            !class.is_empty()
        });
    }
    chosen
}

fn shuffle(order: &mut [u64], dice: &mut Dice) {
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at + 1));
    }
}

fn check_one(states: &Disk, recipe: Recipe, bench: &Path, check: &Check<'_>) -> Checked<()> {
    let state = states.state(recipe);
    let (disk, out) = (bench.join("disk"), bench.join("out"));
    fs::create_dir(&disk).unwrap();
    lay_out(states, &state, &disk);
    let checked = catch_unwind(AssertUnwindSafe(|| check(&state, &disk, &out)));
    let checked = checked.unwrap_or_else(|_| Err("it panicked".to_owned()));
    fs::remove_dir_all(&disk).unwrap();
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    checked.map_err(|what| {
        let State { done, finished, .. } = state;
        let mut text = format!("{what}\n  after {done} operations, {finished} steps, {recipe:?}\n");
        for op in done.saturating_sub(3)..(done + 1).min(states.len()) {
            writeln!(text, "  {op}: {}", states.describe(op)).unwrap();
        }
        text
    })
}

/// Makes the files of a state.
pub(super) fn lay_out(states: &Disk, state: &State, disk: &Path) {
    for (path, held) in states.names(state) {
        let path = disk.join(path);
        let Some(Snapshot { bytes, meta }) = held else {
            durable::create_folder(&path).unwrap();
            continue;
        };
        let mut file = durable::create_new(&path).unwrap();
        file.write_all(&bytes).unwrap();
        assert!(inodes::give(&file, &meta).unwrap().is_empty());
    }
}
