//! The disk of the store is full, or a quota is used up: the command says what helps, and what is there stays usable.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::bench::{Mount, can_run};
use super::disk::{can_mount, heavy, in_memory, leave, make, mount, room, smallest};
use super::promise::{Source, files_of};
use super::yard::{Outcome, Yard, points, sample};

/// Fills a disk up to `levels` different levels and imports what may not fit.
fn fill(yard: &Yard, levels: u64) {
    let source = Source::sample();
    let small = format!("oci:{}:1", sample().display());
    let image = yard.place.text("image");
    yard.ok(&["import", "--name", "other:1", &image]);
    yard.ok(&["import", &small]);
    let both = files_of(&yard.path("store"));
    yard.ok(&["untag", "other:1"]);
    yard.ok(&["gc"]);
    yard.clear("store");
    yard.ok(&["import", &small]);
    yard.copy("store", "past");
    let one = files_of(&yard.path("store"));
    let before = room(&yard.path("store"));
    yard.ok(&["import", "--name", "other:1", &image]);
    let needs = before - room(&yard.path("store"));
    let mut failed = 0;
    for level in 0..levels {
        yard.copy("past", "store");
        leave(needs * level / levels, &yard.path("ballast"));
        let outcome = yard.run(&["import", "--name", "other:1", &image]);
        eprintln!(
            "{level} of {levels}: {} {}",
            outcome.code,
            outcome.said.trim()
        );
        if outcome.code != 0 {
            failed += 1;
            is_told(&outcome, "no space left on device");
            still_reads(yard, &source);
            // What was staged is gone, and a disk that is full is one that can be collected.
            assert_eq!(yard.place.names("work/store/tmp"), [""; 0]);
            for args in [
                &["tag", "sample:1", "new:1"][..],
                &["untag", "new:1"],
                &["gc"],
            ] {
                let outcome = yard.run(args);
                eprintln!(
                    "{level} of {levels}: {args:?} {} {}",
                    outcome.code,
                    outcome.said.trim()
                );
                let has_no_such_name = args[0] == "untag" && outcome.code == 2;
                if outcome.code != 0 && !has_no_such_name {
                    is_told(&outcome, "no space left on device");
                }
            }
        }
        yard.clear("ballast");
        yard.run(&["untag", "new:1"]);
        if outcome.code != 0 {
            yard.is_clean(&one);
            yard.ok(&["import", "--name", "other:1", &image]);
        }
        yard.is_clean(&both);
        yard.gives_back(&source, "sample:1", "sample:1");
    }
    eprintln!("{failed} of {levels} imports failed; an import takes {needs} bytes");
    assert!(failed > levels / 3, "{failed} of {levels}");
}

fn is_told(outcome: &Outcome, why: &str) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let line = outcome.error();
    assert!(
        line.contains(why) && line.contains("; make "),
        "{outcome:?}"
    );
    assert!(!outcome.said.contains("panicked"), "{outcome:?}");
}

/// Checks that what reads the store needs no room in it.
fn still_reads(yard: &Yard, source: &Source) {
    assert_eq!(yard.names(), BTreeSet::from(["sample:1".to_owned()]));
    yard.is_sound();
    let elsewhere = yard.place.text("elsewhere");
    let target = format!("oci:{elsewhere}:x");
    yard.ok(&["export", "sample:1", &target]);
    yard.is_whole(source, "../elsewhere", "sample:1");
    std::fs::remove_dir_all(elsewhere).unwrap();
}

/// A yard on a file system of its own kind.
fn on(kind: &str) -> (Yard, TempDir) {
    let folder = in_memory();
    let file = folder.path().join("image");
    make(&file, kind, smallest(kind));
    (Yard::with(heavy(24), |work| mount(&file, work)), folder)
}

#[test]
fn a_full_disk_in_memory_loses_nothing() {
    if can_run(&["mount"]) {
        fill(
            &Yard::with(heavy(24), |work| Mount::tmpfs(work, "size=48m")),
            levels(20),
        );
    }
}

#[test]
fn a_full_ext4_loses_nothing() {
    if can_mount("ext4") {
        let (yard, _disk) = on("ext4");
        fill(&yard, levels(7));
    }
}

#[test]
fn a_full_xfs_loses_nothing() {
    if can_mount("xfs") {
        let (yard, _disk) = on("xfs");
        fill(&yard, levels(7));
    }
}

#[test]
fn a_full_btrfs_loses_nothing() {
    if can_mount("btrfs") {
        let (yard, _disk) = on("btrfs");
        fill(&yard, levels(7));
    }
}

fn levels(usual: usize) -> u64 {
    points(usual).min(100) as u64
}
