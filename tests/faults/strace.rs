//! Owns tampering with system calls: which a command makes, and a run in which one of them goes wrong.

use std::collections::BTreeMap;
use std::fs;

use super::yard::{Outcome, Yard, sample};

/// The calls that change something, or that a promise hangs on.
pub(crate) const CHANGING: &str = "openat,openat2,write,pwrite64,fallocate,ftruncate,copy_file_range,mkdir,mkdirat,\
    rename,renameat,renameat2,link,linkat,symlinkat,mknodat,unlink,unlinkat,rmdir,fsync,fdatasync,syncfs,flock,fchmod,\
    fchmodat,fchown,fchownat,utimensat,fsetxattr,setxattr,lsetxattr";

/// The n-th time that a thread makes a call.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Point {
    pub(crate) call: String,
    pub(crate) nth: usize,
}

/// Returns the calls among `calls` that a command makes on the way, in the order in which they were first made.
///
/// `strace` counts for each thread on its own, and so does this: where several threads make a call, the first of
/// them to make it for the n-th time is meant.
pub(crate) fn trace(yard: &Yard, calls: &str, args: &[&str]) -> Vec<Point> {
    let log = yard.place.text("trace");
    let filter = format!("trace={calls}");
    let outcome = yard.run_below(
        &["strace", "-f", "-qq", "-y", "-o", &log, "-e", &filter],
        args,
    );
    assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.said);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut highest: BTreeMap<String, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let Some((call, words)) = rest.trim_start().split_once('(') else {
            continue;
        };
        if call.contains(' ') {
            continue;
        }
        let count = counts
            .entry((thread.to_owned(), call.to_owned()))
            .or_default();
        *count += 1;
        let highest = highest.entry(call.to_owned()).or_default();
        if *count > *highest {
            *highest = *count;
            if is_worth(call, words, yard) {
                points.push(Point {
                    call: call.to_owned(),
                    nth: *count,
                });
            }
        }
    }
    points
}

/// What is not about the store, a source or a target is the start of the program, or what it says.
fn is_worth(call: &str, words: &str, yard: &Yard) -> bool {
    let ours = [yard.text(""), sample().display().to_string()];
    let reads = call.starts_with("openat")
        && !["O_CREAT", "O_RDWR", "O_WRONLY"]
            .iter()
            .any(|flag| words.contains(flag));
    !reads
        && ours
            .iter()
            .any(|path| words.contains(path.trim_end_matches('/')))
}

/// Returns `most` of the points, evenly spread.
pub(crate) fn spread(points: &[Point], most: usize) -> Vec<Point> {
    let most = most.min(points.len());
    (0..most)
        .map(|at| points[(at * points.len() + points.len() / 2) / most.max(1)].clone())
        .collect()
}

/// A run in which a call went wrong.
#[derive(Debug)]
pub(crate) struct Tampered {
    pub(crate) outcome: Outcome,
    /// How often: each thread that makes the call so often is met.
    pub(crate) hits: usize,
}

/// Runs a command in which something is done `to` the call at a point, such as `signal=KILL`.
pub(crate) fn tamper(yard: &Yard, point: &Point, to: &str, args: &[&str]) -> Tampered {
    let Point { call, nth } = point;
    let log = yard.place.text("trace");
    let inject = format!("inject={call}:{to}:when={nth}");
    let filter = format!("trace={call}");
    let words = [
        "strace", "-f", "-qq", "-o", &log, "-e", &filter, "-e", &inject,
    ];
    let outcome = yard.run_below(&words, args);
    let log = fs::read_to_string(log).unwrap();
    let hits = match to.starts_with("signal") {
        true => log.matches("--- SIG").count(),
        false => log.matches("(INJECTED)").count(),
    };
    Tampered { outcome, hits }
}
