//! Owns the scenarios: a store as it is, then commands one after another, recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::log::Snapshot;
use super::sources::{self, Source};
use super::states::Disk;
use crate::convert::import::{Options, import};
use crate::convert::rebuild::rebuild_if_lost;
use crate::convert::source;
use crate::error::Result;
use crate::gc;
use crate::limits::Limits;
use crate::reference::{ImageName, Pick, Place};
use crate::rootfs;
use crate::store::Store;
use crate::store::durable::recorder::{Omit, Recorder};
use crate::store::locks::Wait;
use crate::watch::{Unwatched, Watch};

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Makes the store.
    Init,
    /// Imports one of the sources under a name.
    Import(usize, &'static str),
    /// Gives what has the first name the second one too.
    Tag(&'static str, &'static str),
    Untag(&'static str),
    /// Imports a source that the store has as garbage, while a collection takes that away.
    ImportBesideGc(usize, &'static str),
    /// Finds an image, loses its name and has a collection take it away, then gives it another name.
    TagBesideGc(&'static str, &'static str),
    /// Checks an image out, by links, and throws that away.
    Checkout(&'static str),
    Gc,
    /// Opens the store and does nothing: what is lost of the catalog is made again.
    Open,
}

/// The names of a store and the sources that they lead to.
pub(super) type Names = BTreeMap<&'static str, usize>;

/// What has to be there between two steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Whether there is a store.
    pub(super) made: bool,
    pub(super) names: Names,
}

/// Sources and stores to compare with, on a disk without a disk.
pub(super) struct World {
    _dir: tempfile::TempDir,
    pub(super) sources: Vec<Source>,
    /// The files of a store that has these sources and nothing else.
    files: BTreeMap<BTreeSet<usize>, BTreeSet<PathBuf>>,
}

/// What was recorded of one scenario.
pub(super) struct Recorded {
    pub(super) steps: Vec<Step>,
    /// What has to be there before the first step, after it, and so on.
    pub(super) expected: Vec<Expected>,
    /// A file that was damaged before the first step, and that this step mends.
    pub(super) damaged: Option<PathBuf>,
    pub(super) disk: Disk,
}

/// Returns a new folder in memory where that can be.
pub(super) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

impl World {
    pub(super) fn new() -> Self {
        let dir = scratch();
        let sources = sources::make(&dir.path().join("sources"));
        let mut world = Self {
            _dir: dir,
            sources,
            files: BTreeMap::new(),
        };
        for set in 0..1_usize << world.sources.len() {
            let set: BTreeSet<usize> = (0..world.sources.len())
                .filter(|s| set >> s & 1 == 1)
                .collect();
            let disk = scratch();
            let root = disk.path().join("store");
            world.perform(&root, Step::Init).unwrap();
            for source in &set {
                world.perform(&root, Step::Import(*source, "x:1")).unwrap();
            }
            world.files.insert(set, files(&root));
        }
        world
    }

    /// The files that a store of these names consists of.
    pub(super) fn files(&self, names: &Names) -> &BTreeSet<PathBuf> {
        &self.files[&names.values().copied().collect()]
    }

    /// Does what a command does, in the order in which `src/cli` does it.
    pub(super) fn perform(&self, root: &Path, step: Step) -> Result<()> {
        let store = match step {
            Step::Init | Step::Import(..) | Step::ImportBesideGc(..) => {
                Store::create(root, Wait::Never)?
            }
            Step::TagBesideGc(..)
            | Step::Tag(..)
            | Step::Untag(_)
            | Step::Checkout(_)
            | Step::Gc
            | Step::Open => Store::open(root, Wait::Never)?,
        };
        rebuild_if_lost(&store, &Unwatched)?;
        match step {
            Step::Init | Step::Open => Ok(()),
            Step::Import(source, name) => self.import(&store, (source, name), &Unwatched),
            Step::ImportBesideGc(source, name) => self.import_beside_gc(&store, (source, name)),
            Step::TagBesideGc(old, new) => tag_beside_gc(&store, old, new),
            Step::Tag(old, new) => tag(&store, old, new),
            Step::Untag(name) => untag(&store, name),
            Step::Checkout(name) => check_out(&store, name),
            Step::Gc => collect(&store).map(|_| ()),
        }
    }

    fn import(
        &self,
        store: &Store,
        (source, name): (usize, &str),
        watch: &dyn Watch,
    ) -> Result<()> {
        let options = Options {
            name: Some(parse(name)),
            jobs: 1,
            ..Options::default()
        };
        let writer = store.write()?;
        let place = Place::Layout(self.sources[source].layout.clone(), Pick::All);
        let source = source::Source::open(&place, &Limits::default(), &|| writer.scratch())?;
        import(&writer, &source, &options, watch)?;
        Ok(())
    }

    /// The last look whether to stop comes when everything is staged: what was there before was found by then.
    fn import_beside_gc(&self, store: &Store, what: (usize, &str)) -> Result<()> {
        let rehearsal = scratch();
        let copy = rehearsal.path().join("store");
        let copied = Command::new("cp")
            .arg("-a")
            .args([store.root(), &copy])
            .status();
        assert!(copied.unwrap().success());
        let copy = Store::open(&copy, Wait::Never)?;
        let looks = Looks::default();
        self.import(&copy, what, &looks)?;
        let collects = Looks {
            left: AtomicI64::new(-looks.left.into_inner()),
            store: Some(store.root().to_owned()),
        };
        self.import(store, what, &collects)
    }

    /// Records `steps` on a store on which `before` was done, and then `spoil`.
    pub(super) fn record(
        &self,
        before: &[Step],
        steps: &[Step],
        spoil: Spoil<'_>,
        omit: Omit,
    ) -> Recorded {
        let disk = scratch();
        let root = disk.path().join("store");
        let mut now = Expected::default();
        for step in before {
            self.perform(&root, *step).unwrap();
            now = now.after(*step);
        }
        let damaged = spoil(&root);
        let recorded = self.record_on(disk.path(), now, steps, omit);
        Recorded {
            damaged,
            ..recorded
        }
    }

    /// Records `steps` on a disk that has what is expected of it.
    pub(super) fn record_on(
        &self,
        disk: &Path,
        mut now: Expected,
        steps: &[Step],
        omit: Omit,
    ) -> Recorded {
        let root = disk.join("store");
        let watching = Recorder::watch(disk, omit);
        let mut expected = vec![now.clone()];
        for step in steps {
            self.perform(&root, *step).unwrap();
            watching.finished();
            now = now.after(*step);
            expected.push(now.clone());
        }
        let states = Disk::new(watching.end());
        compare(&states, disk);
        Recorded {
            steps: steps.to_vec(),
            expected,
            damaged: None,
            disk: states,
        }
    }
}

/// A log that is whole gives the disk as it is.
fn compare(states: &Disk, disk: &Path) {
    let mut count = 0;
    let last = states.last();
    for (path, held) in states.names(&last) {
        count += 1;
        let Some(held) = held else {
            assert!(disk.join(path).is_dir(), "{}", path.display());
            continue;
        };
        let there = Snapshot::of(&disk.join(path)).unwrap();
        assert!(
            held.bytes == there.bytes,
            "{} has other bytes",
            path.display()
        );
        if !path.ends_with("catalog.redb") {
            assert_eq!(held.meta, there.meta, "{}", path.display());
        }
    }
    assert_eq!(count, entries(disk).len());
}

/// What is done to a store past the program; returns the file that it damaged.
pub(super) type Spoil<'a> = &'a dyn Fn(&Path) -> Option<PathBuf>;

impl Expected {
    fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        next.made = true;
        match step {
            Step::Init | Step::Checkout(_) | Step::Gc | Step::Open => {}
            Step::Import(source, name) | Step::ImportBesideGc(source, name) => {
                next.names.insert(name, source);
            }
            Step::Tag(old, new) => {
                let source = next.names[old];
                next.names.insert(new, source);
            }
            Step::TagBesideGc(old, new) => {
                let source = next.names.remove(old).unwrap();
                next.names.insert(new, source);
            }
            Step::Untag(name) => {
                next.names.remove(name);
            }
        }
        next
    }
}

pub(super) fn parse(name: &str) -> ImageName {
    ImageName::parse(name).unwrap()
}

/// Counts how often it is looked at, and when none is left collects in a store.
#[derive(Default)]
struct Looks {
    left: AtomicI64,
    store: Option<PathBuf>,
}

impl Watch for Looks {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}

    fn stop(&self) -> bool {
        let last = self.left.fetch_add(1, Ordering::SeqCst) == -1;
        if let Some(root) = self.store.as_ref().filter(|_| last) {
            collect(&Store::open(root, Wait::Never).unwrap()).unwrap();
        }
        false
    }
}

fn tag(store: &Store, old: &str, new: &str) -> Result<()> {
    let reader = store.read()?;
    reader.name(&store.find(old)?, &parse(new))
}

fn tag_beside_gc(store: &Store, old: &str, new: &str) -> Result<()> {
    let reader = store.read()?;
    let found = store.find(old)?;
    untag(store, old)?;
    collect(store)?;
    reader.name(&found, &parse(new))
}

fn untag(store: &Store, name: &str) -> Result<()> {
    store.change_names(|names| {
        assert!(names.remove(&parse(name)));
        Ok(())
    })
}

/// The target is on the disk of the store, but not watched.
fn check_out(store: &Store, name: &str) -> Result<()> {
    let beside = scratch();
    let writer = store.write()?;
    let image = store.image(&store.find_image(name, None)?)?;
    let target = beside.path().join("root");
    let options = rootfs::Options {
        jobs: Some(NonZeroUsize::MIN),
        ..rootfs::Options::default()
    };
    rootfs::checkout(&writer, &image.root, &target, &options, &Unwatched)?;
    Ok(())
}

pub(super) fn collect(store: &Store) -> Result<gc::Report> {
    let collector = store.collect(&Unwatched)?;
    gc::plan(collector, &Unwatched)?.sweep(Duration::ZERO, &Unwatched)
}

/// Returns what a store keeps: every file in its folders but locks, every claim, and every folder of `tmp` and `trash`.
pub(super) fn files(root: &Path) -> BTreeSet<PathBuf> {
    let is_kept = |path: &PathBuf| {
        let is_folder = root.join(path).is_dir();
        let kept = |folders: &[&str]| {
            folders
                .iter()
                .any(|f| path.starts_with(f) && path != Path::new(f))
        };
        let is_claim = path.to_string_lossy().starts_with("locks/claim-");
        is_claim
            || kept(&["tmp", "trash"])
            || !is_folder && kept(&["blobs", "objects", "inodes", "layers"])
    };
    entries(root).into_iter().filter(is_kept).collect()
}

/// Returns all that is below a folder.
fn entries(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(root).unwrap().to_owned());
            if path.is_dir() {
                waiting.push(path);
            }
        }
    }
    found
}
