//! Few files may be open at a time: a command works with them, or says that it needs more.

use super::bench::can_run;
use super::scene::{Next, SCENES, Stage, words};
use super::yard::Yard;

#[test]
fn every_command_works_with_few_handles_or_says_so() {
    if !can_run(&["mount", "prlimit"]) {
        return;
    }
    for scene in SCENES {
        let stage = Stage::of(Yard::new(), scene);
        let command = words(scene.command);
        let mut enough = None;
        for handles in [4, 5, 6, 8, 12, 16, 24, 64] {
            stage.reset(scene);
            let limit = format!("--nofile={handles}:{handles}");
            let outcome = stage.yard.run_below(&["prlimit", &limit], &command);
            eprintln!(
                "{command:?} with {handles}: {} {}",
                outcome.code,
                outcome.said.trim()
            );
            // Below that the system cannot load the program.
            if handles < 5 && outcome.error().is_empty() {
                continue;
            }
            match outcome.code {
                0 => enough = enough.or(Some(handles)),
                code => {
                    assert_eq!(code, 1, "{outcome:?}");
                    let line = outcome.error();
                    let told = line.contains("too many open files; ");
                    assert!(told, "{command:?} with {handles}: {outcome:?}");
                    enough = None;
                    stage.check(scene, Next::Collect);
                }
            }
        }
        assert!(enough.is_some_and(|enough| enough <= 64), "{command:?}");
    }
}
