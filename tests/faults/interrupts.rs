//! The program is asked to end, at any of its calls and at any time: it does so soon, and cleans up after itself.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::bench::{Mount, can_run};
use super::disk::heavy;
use super::scene::{Next, SCENES, Stage, words};
use super::strace::{CHANGING, Tampered, spread, tamper, trace};
use super::yard::{Outcome, Yard, points};

/// What the two signals are called, and the exit code of each.
const SIGNALS: [(&str, Signal, i32); 2] = [("INT", Signal::INT, 130), ("TERM", Signal::TERM, 143)];

/// Interrupts one command again and again, each time at another call.
fn interrupt(at: usize) {
    if !can_run(&["mount", "strace"]) {
        return;
    }
    let scene = &SCENES[at];
    let stage = Stage::of(Yard::new(), scene);
    stage.reset(scene);
    let command = words(scene.command);
    let all = trace(
        &stage.yard,
        &format!("{CHANGING},pread64,read,statx"),
        &command,
    );
    let tried = spread(&all, points(10));
    let mut interrupted = 0;
    for (turn, point) in tried.iter().enumerate() {
        let (signal, _, code) = SIGNALS[turn % 2];
        stage.reset(scene);
        let Tampered { outcome, hits } =
            tamper(&stage.yard, point, &format!("signal={signal}"), &command);
        eprintln!(
            "{command:?} interrupted at {point:?} ({hits}): {}",
            outcome.code
        );
        // At its end it may be done before it looks again.
        assert!([0, code].contains(&outcome.code), "{point:?}: {outcome:?}");
        interrupted += usize::from(outcome.code == code);
        // A second signal, by another thread's call, does not wait for that.
        if hits < 2 {
            leaves_nothing(&stage.yard);
        }
        stage.check(scene, Next::by(turn / 2));
    }
    eprintln!(
        "{command:?}: {interrupted} interrupted of {} at {} calls",
        tried.len(),
        all.len()
    );
}

/// Checks that a command that could clean up after itself did so.
fn leaves_nothing(yard: &Yard) {
    assert_eq!(yard.leftovers(), [""; 0]);
    if yard.path("store/tmp").exists() {
        assert_eq!(yard.place.names("work/store/tmp"), [""; 0]);
    }
}

macro_rules! interrupted {
    ($($name:ident: $at:expr,)*) => {
        $(#[test]
        fn $name() {
            interrupt($at);
        })*
    };
}

interrupted! {
    an_interrupted_first_import_cleans_up: 0,
    an_interrupted_import_cleans_up: 1,
    an_interrupted_checkout_cleans_up: 2,
    an_interrupted_checkout_of_copies_cleans_up: 3,
    an_interrupted_export_to_a_layout_cleans_up: 4,
    an_interrupted_export_to_an_archive_cleans_up: 5,
    an_interrupted_gc_does_no_harm: 8,
    an_interrupted_fsck_does_no_harm: 9,
    an_interrupted_rebuild_of_the_catalog_does_no_harm: 10,
}

/// Runs a command, sends it a signal after a while, and returns what came of it and how long that took.
fn interrupt_after(
    yard: &Yard,
    wait: Duration,
    signal: Signal,
    args: &[&str],
) -> (Outcome, Duration) {
    let words = yard.words(args);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(wait);
    let sent = Instant::now();
    // It may have ended, but nobody has waited for it yet.
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    (Outcome::of(&output), sent.elapsed())
}

#[test]
fn whatever_is_at_work_ends_within_a_second_of_a_signal() {
    if !can_run(&["mount"]) {
        return;
    }
    let yard = Yard::with(heavy(400), |work| Mount::tmpfs(work, "size=512m"));
    let image = yard.place.text("image");
    yard.ok(&["import", "--name", "other:1", &image]);
    yard.ok(&["checkout", "other:1", "@/held"]);
    yard.copy("store", "past");
    let commands: [&[&str]; 6] = [
        &["import", "--blobs", "drop", "--name", "other:2", &image],
        &["export", "other:1", "oci:@/layout"],
        &["export", "--recompress", "zstd", "other:1", "oci:@/layout"],
        &["checkout", "--link", "copy", "other:1", "@/tree"],
        &["gc"],
        &["fsck"],
    ];
    for (at, args) in commands.iter().enumerate() {
        for turn in 0..points(4).min(40) {
            yard.copy("past", "store");
            if args[0] == "import" {
                yard.clear("store");
            }
            if args[0] == "gc" {
                yard.ok(&["untag", "other:1"]);
            }
            let (_, signal, code) = SIGNALS[(at + turn) % 2];
            let wait = Duration::from_millis(7 + 23 * turn as u64);
            let (outcome, took) = interrupt_after(&yard, wait, signal, args);
            eprintln!(
                "{args:?} interrupted after {wait:?}: {} within {took:?}",
                outcome.code
            );
            assert!([0, code].contains(&outcome.code), "{args:?}: {outcome:?}");
            assert!(took < Duration::from_secs(3), "{args:?} took {took:?}");
            leaves_nothing(&yard);
            if yard.path("store/format").exists() {
                yard.is_sound();
            }
            yard.clear("tree");
            yard.ok(args);
            ["layout", "tree"].iter().for_each(|name| yard.clear(name));
        }
    }
}
