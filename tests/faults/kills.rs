//! The program is killed at any of its calls: what was promised is there, and nothing of the dead one stays.

use super::bench::can_run;
use super::scene::{Next, SCENES, Scene, Stage, words};
use super::strace::{CHANGING, spread, tamper, trace};
use super::yard::{Yard, points};

/// Kills one command again and again, each time at another call.
fn kill(scene: &Scene) {
    if !can_run(&["mount", "strace"]) {
        return;
    }
    let stage = Stage::of(Yard::new(), scene);
    stage.reset(scene);
    let command = words(scene.command);
    let all = trace(&stage.yard, CHANGING, &command);
    let tried = spread(&all, points(15));
    let mut killed = 0;
    for (turn, point) in tried.iter().enumerate() {
        stage.reset(scene);
        let outcome = tamper(&stage.yard, point, "signal=KILL", &command).outcome;
        eprintln!("{command:?} killed at {point:?}: {}", outcome.code);
        killed += usize::from(outcome.code == 128 + 9);
        stage.check(scene, Next::by(turn));
    }
    eprintln!(
        "{command:?}: {killed} kills of {} at {} calls",
        tried.len(),
        all.len()
    );
    assert!(killed * 2 > tried.len(), "{killed} of {tried:?}");
}

macro_rules! killed {
    ($($name:ident: $at:expr,)*) => {
        $(#[test]
        fn $name() {
            kill(&SCENES[$at]);
        })*
    };
}

killed! {
    a_killed_first_import_does_no_harm: 0,
    a_killed_import_does_no_harm: 1,
    a_killed_checkout_does_no_harm: 2,
    a_killed_checkout_of_copies_does_no_harm: 3,
    a_killed_export_to_a_layout_does_no_harm: 4,
    a_killed_export_to_an_archive_does_no_harm: 5,
    a_killed_tag_does_no_harm: 6,
    a_killed_untag_does_no_harm: 7,
    a_killed_gc_does_no_harm: 8,
    a_killed_rebuild_of_the_catalog_does_no_harm: 10,
}
