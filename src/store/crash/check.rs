//! Owns what has to hold of a store after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::run::{Bounds, Checked, During as _, Outcome, choose, lay_out, run};
use super::scenario::{Expected, Names, Recorded, Step, World, collect, files, parse, scratch};
use super::states::Recipe;
use crate::convert::export::{Export, Options, export};
use crate::convert::rebuild::{rebuild_if_lost, root_from_recipes};
use crate::digest::Digest;
use crate::reference::{Pick, Place};
use crate::store::Store;
use crate::store::durable::recorder::Omit;
use crate::store::locks::Wait;
use crate::store::reach::Reach;
use crate::store::verify::{Depth, Findings, verify};
use crate::watch::Unwatched;

/// Checks the states that a power cut may leave of a store.
pub(super) fn run_store(world: &World, recorded: &Recorded, bounds: Bounds) -> Outcome {
    run(&recorded.disk, bounds, &|state, disk, out| {
        let case = Case {
            world,
            recorded,
            finished: state.finished,
            root: disk.join("store"),
            out: out.to_owned(),
        };
        case.check()
    })
}

/// Cuts the power, has the store recover and the command run again, and cuts the power while it does.
pub(super) fn run_twice(world: &World, recorded: &Recorded, bounds: (Bounds, Bounds)) -> Outcome {
    let mut whole = Outcome::default();
    for recipe in choose(&recorded.disk, bounds.0, &mut Outcome::default()) {
        let again = record_recovery(world, recorded, recipe);
        let Outcome {
            operations,
            states,
            classes,
            checked,
            violations,
        } = run_store(world, &again, bounds.1);
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
    lay_out(&recorded.disk, &state, bench.path());
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
        check_recipes(&store)?;
        self.check_images(&store, &names)?;
        let names = self.repeat(&store, names)?;
        self.check_collection(&store, &names)
    }

    /// What the names are half-way through a step that changes them twice.
    fn between(&self) -> Option<Expected> {
        match self.running() {
            Some((Step::TagBesideGc(old, _), _)) => {
                let mut between = self.before().clone();
                between.names.remove(old);
                Some(between)
            }
            _ => None,
        }
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
        let between = self.between();
        let all = [Some(self.before()), between.as_ref(), after];
        let fits = all.into_iter().flatten().find(same);
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
        let Some((step, after)) = self.running().filter(|_| names == self.before().names) else {
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
        let epochs = fs::read_dir(self.root.join("epochs")).unwrap().count();
        if epochs > 1 {
            return Err(format!("{epochs} epochs are left"));
        }
        let again = collect(store).during("collecting again")?;
        if !again.is_clean() || !again.strays.is_empty() {
            return Err(format!("a second collection found {again:?}"));
        }
        check_sound(store, None)?;
        self.check_images(store, names)
    }
}

/// No recipe is without its contents, one that nothing names neither.
fn check_recipes(store: &Store) -> Checked<()> {
    for layer in store.recipes().during("listing recipes")? {
        let recipe = store.recipe(&layer).during("opening a recipe")?;
        for content in recipe.contents().during("reading a recipe")? {
            if !store.has_object(&content.id).during("looking")? {
                return Err(format!("recipe {layer} is without content {}", content.id));
            }
        }
    }
    Ok(())
}

/// Does what `fsck` does; only `damaged` may be wrong.
fn check_sound(store: &Store, damaged: Option<&Path>) -> Checked<()> {
    let reader = store.read().during("reading")?;
    let jobs = NonZeroUsize::MIN;
    let mut found = verify(&reader, Depth::Full, &Unwatched, jobs).during("verifying")?;
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
