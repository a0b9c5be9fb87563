//! The power is cut: copies of a disk that is being written are mounted, and hold what was promised before each.
//!
//! The disk is a file on an xfs, which copies it at one moment (`FICLONE` holds the lock that writers take). What the
//! kernel had not written to it by then is lost, as in a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::bench::Tree;
use super::disk::{can_mount, in_memory, make, mount, smallest};
use super::image::Image;
use super::promise::{Source, files_of};
use super::yard::{Yard, points, sample};

/// What commands go round and round, and the names that there are after each.
const ROUND: &[(&[&str], &[&str])] = &[
    (&["import", "oci:SAMPLE:1"], &["sample:1"]),
    (&["export", "sample:1", "oci:@/layout:x"], &["sample:1"]),
    (
        &["import", "oci:SAMPLE:multi"],
        &["sample:1", "sample:multi"],
    ),
    (
        &["tag", "sample:1", "sample:3"],
        &["sample:1", "sample:3", "sample:multi"],
    ),
    (&["untag", "sample:1"], &["sample:3", "sample:multi"]),
    (
        &["import", "oci:SAMPLE:2"],
        &["sample:2", "sample:3", "sample:multi"],
    ),
    (
        &["checkout", "sample:2", "@/tree"],
        &["sample:2", "sample:3", "sample:multi"],
    ),
    (&["untag", "sample:multi", "sample:3"], &["sample:2"]),
    (&["gc"], &["sample:2"]),
    (
        &["import", "oci:SAMPLE:plain"],
        &["sample:2", "sample:plain"],
    ),
    (&["untag", "sample:2", "sample:plain"], &[]),
    (&["gc"], &[]),
];

/// How far the rounds are.
#[derive(Clone, Copy, Default, Debug)]
struct Progress {
    begun: usize,
    ended: usize,
}

/// A copy of the disk, and how far the rounds were before and after it was taken.
#[derive(Debug)]
struct Cut {
    file: std::path::PathBuf,
    ended: usize,
    begun: usize,
}

/// Goes round until it is told to stop. Each round begins with what the last one left in the store: nothing.
fn go_round(yard: &Yard, progress: &Mutex<Progress>, stop: &AtomicBool) {
    let layout = sample().into_os_string().into_string().unwrap();
    loop {
        for (args, _) in ROUND {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let args: Vec<String> = args
                .iter()
                .map(|arg| arg.replace("SAMPLE", &layout))
                .collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            progress.lock().unwrap().begun += 1;
            yard.ok(&args);
            progress.lock().unwrap().ended += 1;
        }
        // Targets are looked at in the round that made them only.
        progress.lock().unwrap().begun += 1;
        yard.clear("layout");
        yard.clear("tree");
        progress.lock().unwrap().ended += 1;
    }
}

/// Takes copies of the disk while commands go round on it.
fn take_cuts(yard: &Yard, disk: &Path, count: usize) -> Vec<Cut> {
    let (progress, stop) = (Mutex::new(Progress::default()), AtomicBool::new(false));
    let mut cuts = Vec::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut state = u64::from(now.subsec_nanos());
    std::thread::scope(|scope| {
        scope.spawn(|| go_round(yard, &progress, &stop));
        for at in 0..count {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_micros(100_000 + (state >> 33) % 400_000));
            let file = disk.with_file_name(format!("cut-{at}"));
            let ended = progress.lock().unwrap().ended;
            let (from, to) = (
                fs::File::open(disk).unwrap(),
                fs::File::create(&file).unwrap(),
            );
            rustix::fs::ioctl_ficlone(&to, &from).unwrap();
            let begun = progress.lock().unwrap().begun;
            cuts.push(Cut { file, ended, begun });
        }
        stop.store(true, Ordering::Relaxed);
    });
    cuts
}

/// Returns the names after so many commands.
fn names_after(commands: usize) -> BTreeSet<String> {
    let names = match commands % (ROUND.len() + 1) {
        0 => &[][..],
        at => ROUND[at - 1].1,
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What names and trees should be.
struct Right {
    source: Source,
    trees: BTreeMap<String, Tree>,
    clean: BTreeMap<BTreeSet<String>, BTreeSet<String>>,
}

impl Right {
    fn new() -> Self {
        let yard = Yard::new();
        yard.ok(&["import", sample().to_str().unwrap()]);
        let mut right = Self {
            source: Source::sample(),
            trees: BTreeMap::new(),
            clean: BTreeMap::new(),
        };
        for name in ["sample:1", "sample:2", "sample:multi", "sample:plain"] {
            yard.ok(&["checkout", "--link", "copy", name, "@/laid"]);
            right
                .trees
                .insert(name.to_owned(), yard.place.tree("work/laid"));
            yard.clear("laid");
        }
        for commands in 0..=ROUND.len() {
            let names = names_after(commands);
            yard.clear("store");
            yard.ok(&["init"]);
            for name in &names {
                yard.ok(&[
                    "import",
                    &format!("oci:{}:{}", sample().display(), &original(name)[7..]),
                ]);
            }
            right.clean.insert(names, files_of(&yard.path("store")));
        }
        right
    }

    /// Checks what came back after a cut.
    fn check(&self, yard: &Yard, cut: &Cut) {
        let Cut { ended, begun, .. } = cut;
        let round = ROUND.len() + 1;
        if *ended == 0 && !yard.path("store/format").exists() {
            return;
        }
        yard.ok(&["init"]);
        let names = yard.names();
        let may_be = (*ended..=*begun).any(|commands| names == names_after(commands));
        assert!(may_be, "{names:?} is not between {ended} and {begun}");
        yard.is_sound();
        for name in &names {
            yard.gives_back(&self.source, name, original(name));
            yard.lays_out(name, &self.trees[original(name)]);
        }
        // Whole where it was promised in this round, whole or not there where it was on its way.
        let in_round = *begun / round == *ended / round && *begun % round < ROUND.len();
        if in_round && (*ended % round >= 2 || yard.path("layout/index.json").exists()) {
            yard.is_whole(&self.source, "layout", "sample:1");
        }
        if in_round && (*ended % round >= 7 || yard.path("tree").exists()) {
            assert!(
                yard.place.tree("work/tree") == self.trees["sample:2"],
                "the tree"
            );
        }
        yard.clear("tree");
        yard.leftovers().iter().for_each(|name| yard.clear(name));
        yard.is_clean(&self.clean[&names]);
        yard.ok(&["import", sample().to_str().unwrap()]);
        yard.gives_back(&self.source, "sample:zstd", "sample:zstd");
    }
}

/// What a name is the image of, in the sample.
fn original(name: &str) -> &str {
    if name == "sample:3" { "sample:1" } else { name }
}

/// Cuts the power of a file system of this kind again and again.
fn cut_power(kind: &str) {
    if !(can_mount("xfs") && can_mount(kind)) {
        return;
    }
    let (outer, at) = (in_memory(), TempDir::new().unwrap());
    make(&outer.path().join("outer"), "xfs", 4096);
    let disks = mount(&outer.path().join("outer"), at.path().join("disks"));
    let disk = at.path().join("disks/disk");
    make(&disk, kind, smallest(kind));
    let yard = Yard::with(Image::new(), |work| mount(&disk, work));
    let cuts = take_cuts(&yard, &disk, points(4).min(40));
    drop(yard);
    let right = Right::new();
    for cut in &cuts {
        eprintln!("{kind}: {cut:?}");
        let yard = Yard::with(Image::new(), |work| mount(&cut.file, work));
        right.check(&yard, cut);
        drop(yard);
        fs::remove_file(&cut.file).unwrap();
    }
    drop(disks);
}

#[test]
fn what_was_promised_on_ext4_outlives_a_power_cut() {
    cut_power("ext4");
}

#[test]
fn what_was_promised_on_xfs_outlives_a_power_cut() {
    cut_power("xfs");
}

#[test]
fn what_was_promised_on_btrfs_outlives_a_power_cut() {
    cut_power("btrfs");
}
