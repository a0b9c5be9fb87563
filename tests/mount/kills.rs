//! Whoever dies half-way through mounting or unmounting leaves nothing that a collection does not clean up.

use std::process::Command;

use super::bench::{Who, can_run};
use super::scene::{Scene, rich};

/// Runs a command that is killed at the `nth` of a call; returns whether it came so far.
fn killed(scene: &Scene, (call, nth): (&str, u32), args: &[&str]) -> bool {
    let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
    let plain = scene.place.command(Who::Root);
    let mut command = Command::new("strace");
    command.args([
        "-qq",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
    ]);
    command
        .arg(plain.get_program())
        .args(plain.get_args())
        .args(args);
    let output = command.output().unwrap();
    !output.status.success()
}

#[test]
fn a_mount_that_was_killed_half_way_leaves_nothing_after_gc() {
    if !can_run(&["mount", "strace"]) {
        return;
    }
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let calls = [
        "fsync",
        "rename",
        "fsopen",
        "fsconfig",
        "fsmount",
        "move_mount",
        "mkdir",
        "pwrite64",
    ];
    let mut tried = 0;
    for call in calls {
        for nth in 1.. {
            let target = scene.place.out("m");
            let was_killed = killed(&scene, (call, nth), &["mount", "image:1", &target]);
            let live = scene.place.json(&["mount"])["mounts"]
                .as_array()
                .unwrap()
                .len();
            if live > 0 {
                scene.umount("m", &[]);
            }
            scene.place.ok(&["gc"]);
            assert!(scene.folders().is_empty(), "{call} {nth}");
            assert!(
                scene.place.names("work/store/tmp").is_empty(),
                "{call} {nth}"
            );
            tried += u32::from(was_killed);
            if !was_killed {
                break;
            }
        }
    }
    assert!(tried > 20, "{tried}");
    scene.place.is_sound();
    scene.place.ok(&["untag", "image:1"]);
    scene.place.ok(&["gc"]);
    scene.is_empty();
}

#[test]
fn an_umount_that_was_killed_half_way_is_ended_by_gc() {
    if !can_run(&["mount", "strace"]) {
        return;
    }
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    for (call, nth) in [
        ("umount2", 1),
        ("rename", 1),
        ("unlinkat", 1),
        ("unlinkat", 4),
        ("fsync", 1),
    ] {
        scene.mount("m", &[]);
        assert!(
            killed(&scene, (call, nth), &["umount", &scene.place.out("m")]),
            "{call} {nth}"
        );
        if call == "umount2" {
            // It was killed before it had taken the mount away.
            scene.umount("m", &[]);
        }
        scene.place.ok(&["gc"]);
        assert!(scene.folders().is_empty(), "{call} {nth}");
        assert!(
            scene.place.names("work/store/tmp").is_empty(),
            "{call} {nth}"
        );
    }
}
