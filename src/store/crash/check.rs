//! Owns what has to hold after a power cut, and the run over the states of a scenario.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::log::Snapshot;
use super::scenario::{Expected, Names, Recorded, Step, World, collect, files, parse, scratch};
use super::states::{Dice, Recipe, State};
use crate::convert::export::{Export, Options, export};
use crate::convert::rebuild::{rebuild_if_lost, root_from_recipes};
use crate::digest::Digest;
use crate::reference::{Pick, Place};
use crate::store::durable::recorder::Omit;
use crate::store::locks::Wait;
use crate::store::reach::Reach;
use crate::store::verify::{Findings, verify};
use crate::store::{Store, durable, inodes};
use crate::watch::Unwatched;

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

type Checked<T> = Result<T, String>;

/// Adds what was being done to whatever went wrong.
trait During<T> {
    fn during(self, what: &str) -> Checked<T>;
}

impl<T, E: std::fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Checked<T> {
        self.map_err(|e| format!("{what}: {e}"))
    }
}

/// Checks the states that a power cut may leave of what was recorded.
pub(super) fn run(world: &World, recorded: &Recorded, bounds: Bounds) -> Outcome {
    let mut outcome = Outcome {
        operations: recorded.disk.len(),
        ..Outcome::default()
    };
    let chosen = choose(recorded, bounds, &mut outcome);
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
                    let found = check_one(world, recorded, recipe, bench.path());
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

/// Cuts the power, has the store recover and the command run again, and cuts the power while it does.
pub(super) fn run_twice(world: &World, recorded: &Recorded, bounds: (Bounds, Bounds)) -> Outcome {
    let mut whole = Outcome::default();
    for recipe in choose(recorded, bounds.0, &mut Outcome::default()) {
        let again = record_recovery(world, recorded, recipe);
        let Outcome {
            operations,
            states,
            classes,
            checked,
            violations,
        } = run(world, &again, bounds.1);
        whole.operations += operations;
        whole.states += states;
        whole.classes += classes;
        whole.checked += checked;
        let first = |what: &String| format!("{what}  after a first one: {recipe:?}\n");
        whole.violations.extend(violations.iter().map(first));
        if whole.violations.len() >= bounds.1.enough {
            break;
        }
    }
    whole
}

/// Records what recovers from a state: the command that was running, where it did not happen.
fn record_recovery(world: &World, recorded: &Recorded, recipe: Recipe) -> Recorded {
    let state = recorded.disk.state(recipe);
    let bench = scratch();
    lay_out(recorded, &state, bench.path());
    let before = &recorded.expected[state.finished];
    let root = bench.path().join("store");
    let Ok(store) = Store::open(&root, Wait::Never) else {
        let steps = &recorded.steps[..1];
        return world.record_on(bench.path(), before.clone(), steps, Omit::Nothing);
    };
    let case = Case {
        world,
        recorded,
        finished: state.finished,
        root,
        out: bench.path().join("out"),
    };
    let names = case.check_names(&store).unwrap();
    let steps = match case.running() {
        Some((step, _)) if names == before.names => vec![step],
        _ => vec![Step::Open],
    };
    let now = Expected { made: true, names };
    world.record_on(bench.path(), now, &steps, Omit::Nothing)
}

/// Chooses states: of each class one, then others, as many as there may be.
fn choose(recorded: &Recorded, bounds: Bounds, outcome: &mut Outcome) -> Vec<Recipe> {
    let mut seen = HashSet::new();
    let mut classes: HashMap<u64, Vec<Recipe>> = HashMap::new();
    let mut order = Vec::new();
    recorded
        .disk
        .each_recipe(bounds.rounds, bounds.seed, &mut |recipe| {
            let state = recorded.disk.state(recipe);
            let (all, outside) = recorded.disk.hashes(&state);
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

fn check_one(world: &World, recorded: &Recorded, recipe: Recipe, bench: &Path) -> Checked<()> {
    let state = recorded.disk.state(recipe);
    let disk = bench.join("disk");
    fs::create_dir(&disk).unwrap();
    lay_out(recorded, &state, &disk);
    let case = Case {
        world,
        recorded,
        finished: state.finished,
        root: disk.join("store"),
        out: bench.join("out"),
    };
    let checked = catch_unwind(AssertUnwindSafe(|| case.check()));
    let checked = checked.unwrap_or_else(|_| Err("it panicked".to_owned()));
    fs::remove_dir_all(&disk).unwrap();
    if case.out.exists() {
        fs::remove_dir_all(&case.out).unwrap();
    }
    checked.map_err(|what| {
        let mut text = format!(
            "{what}\n  after {} operations, {} steps of {:?}, {recipe:?}\n",
            state.done, state.finished, recorded.steps
        );
        for op in state.done.saturating_sub(3)..(state.done + 1).min(recorded.disk.len()) {
            writeln!(text, "  {op}: {}", recorded.disk.describe(op)).unwrap();
        }
        text
    })
}

/// Makes the files of a state.
fn lay_out(recorded: &Recorded, state: &State, disk: &Path) {
    for (path, held) in recorded.disk.names(state) {
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

/// One state that a power cut left.
struct Case<'a> {
    world: &'a World,
    recorded: &'a Recorded,
    finished: usize,
    root: PathBuf,
    out: PathBuf,
}

impl Case<'_> {
    fn before(&self) -> &Expected {
        &self.recorded.expected[self.finished]
    }

    fn running(&self) -> Option<(Step, &Expected)> {
        let step = self.recorded.steps.get(self.finished)?;
        Some((*step, &self.recorded.expected[self.finished + 1]))
    }

    fn check(&self) -> Checked<()> {
        if !self.is_made()? {
            let (step, _) = self.running().unwrap();
            self.world
                .perform(&self.root, step)
                .during("making the store again")?;
        }
        let store = Store::open(&self.root, Wait::Never).during("opening")?;
        rebuild_if_lost(&store, &Unwatched).during("rebuilding")?;
        let names = self.check_names(&store)?;
        drop(store.write().during("starting a writer")?);
        let spoiled = self.finished == 0 && self.recorded.damaged.is_some();
        if spoiled {
            check_sound(&store, self.recorded.damaged.as_deref())?;
            return self.go_on();
        }
        check_sound(&store, None)?;
        self.check_images(&store, &names)?;
        let names = self.repeat(&store, names)?;
        self.check_collection(&store, &names)
    }

    /// Opens the store where there has to be one; tells whether there is.
    fn is_made(&self) -> Checked<bool> {
        match Store::open(&self.root, Wait::Never) {
            Err(e) if e.exit_code() == 2 && !self.before().made => Ok(false),
            other => other.during("opening").map(|_| true),
        }
    }

    /// What was damaged before is mended by doing it again.
    fn go_on(&self) -> Checked<()> {
        let (step, after) = self.running().unwrap();
        self.world
            .perform(&self.root, step)
            .during("mending again")?;
        let store = Store::open(&self.root, Wait::Never).during("opening")?;
        check_sound(&store, None)?;
        self.check_images(&store, &after.names)?;
        self.check_collection(&store, &after.names)
    }

    /// The names are those from before the step that was running, or those from after it.
    fn check_names(&self, store: &Store) -> Checked<Names> {
        let there = store.names().during("reading the names")?;
        let found: BTreeMap<String, Digest> = there
            .entries()
            .iter()
            .map(|e| {
                let name = e.name.as_ref().map(ToString::to_string);
                (name.unwrap_or_default(), e.descriptor.digest)
            })
            .collect();
        let digest = |source: &usize| self.world.sources[*source].digest;
        let same = |expected: &&Expected| {
            let wanted = expected.names.iter();
            let wanted = wanted.map(|(name, s)| (parse(name).to_string(), digest(s)));
            wanted.collect::<BTreeMap<_, _>>() == found
        };
        let after = self.running().map(|(_, after)| after);
        let fits = [Some(self.before()), after]
            .into_iter()
            .flatten()
            .find(same);
        fits.map(|expected| expected.names.clone())
            .ok_or_else(|| format!("the names are {found:?}"))
    }

    /// Every name gives back its image, byte for byte.
    fn check_images(&self, store: &Store, names: &Names) -> Checked<()> {
        let reader = store.read().during("reading")?;
        let mut seen = BTreeSet::new();
        for (name, source) in names {
            let descriptor = store.find(name).during("finding a name")?;
            if !seen.insert(*source) {
                continue;
            }
            let wanted = [Export {
                descriptor,
                name: "x".to_owned(),
            }];
            let place = Place::Layout(self.out.clone(), Pick::All);
            let options = Options {
                jobs: 1,
                ..Options::default()
            };
            export(&reader, &wanted, &place, &options, &Unwatched).during("exporting")?;
            let mut blobs = BTreeSet::new();
            for entry in fs::read_dir(self.out.join("blobs/sha256")).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let right = Digest::sha256(&fs::read(&path).unwrap()).hex() == name;
                if !right {
                    return Err(format!("the export has wrong bytes in {name}"));
                }
                blobs.insert(name);
            }
            fs::remove_dir_all(&self.out).unwrap();
            if blobs != self.world.sources[*source].blobs {
                return Err(format!("the export of {name} has other blobs"));
            }
        }
        Ok(())
    }

    /// Runs the step that was running again where it did not happen: what it left must not be in its way.
    fn repeat(&self, store: &Store, names: Names) -> Checked<Names> {
        let Some((step, after)) = self.running().filter(|(_, after)| after.names != names) else {
            return Ok(names);
        };
        self.world
            .perform(&self.root, step)
            .during("running the command again")?;
        check_sound(store, None)?;
        self.check_images(store, &after.names)?;
        Ok(after.names.clone())
    }

    /// A collection leaves what names lead to and nothing else, and a second one finds nothing.
    fn check_collection(&self, store: &Store, names: &Names) -> Checked<()> {
        collect(store).during("collecting")?;
        let (found, wanted) = (files(&self.root), self.world.files(names));
        let difference: Vec<_> = found.symmetric_difference(wanted).collect();
        if !difference.is_empty() {
            return Err(format!("the collection left or took {difference:?}"));
        }
        let again = collect(store).during("collecting again")?;
        if !again.is_clean() || !again.strays.is_empty() {
            return Err(format!("a second collection found {again:?}"));
        }
        check_sound(store, None)?;
        self.check_images(store, names)
    }
}

/// Does what `fsck` does; only `damaged` may be wrong.
fn check_sound(store: &Store, damaged: Option<&Path>) -> Checked<()> {
    let reader = store.read().during("reading")?;
    let mut found = verify(&reader, &Unwatched, NonZeroUsize::MIN).during("verifying")?;
    if damaged.is_none() && found.is_sound() {
        check_trees(store, &mut found)?;
    }
    let known = |object: &str| damaged.is_some_and(|damaged| damaged == Path::new(object));
    let bad: Vec<_> = found
        .findings
        .iter()
        .filter(|f| !known(&f.object))
        .collect();
    match bad.as_slice() {
        [] => Ok(()),
        bad => Err(format!("damage: {bad:?}")),
    }
}

/// Computes every image's tree anew, as `fsck` does.
fn check_trees(store: &Store, findings: &mut Findings) -> Checked<()> {
    for (digest, docs) in Reach::of_all(store).during("following names")?.images {
        let image = store
            .view(|view| view.image(&digest))
            .during("looking up")?;
        let image = image.ok_or_else(|| format!("no record of the image {digest}"))?;
        let root = root_from_recipes(store, &docs).during("computing a tree")?;
        findings.note_root(&image, &[digest.to_string()], &root);
    }
    Ok(())
}
