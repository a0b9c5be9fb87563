//! One change, made to a copy of an image and to a mount of it, is one layer; and what comes out of the new image is the
//! changed tree. `OCISTORE_CASES` says how many random changes are tried, `OCISTORE_SEED` with which the first.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

mod chance;
mod change;
#[path = "../common/disk.rs"]
mod disk_folder;
mod pairs;
mod scene;
mod seen;

use chance::Chance;
use scene::Scene;

/// How many changes are made to one image before another is made.
const A_BASE: u64 = 25;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Tells whether this machine can mount; where it has to, that it cannot is a failure.
fn can_mount() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["--mount", "true"])
        .status();
    let able = rustix::process::geteuid().is_root() && tried.is_ok_and(|status| status.success());
    assert!(
        able || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs root, and the right to mount"
    );
    if !able {
        eprintln!("skipped: this test needs root, and the right to mount");
    }
    able
}

#[test]
fn a_copy_and_a_mount_give_one_layer_for_one_change_and_it_makes_the_changed_tree() {
    if !can_mount() {
        return;
    }
    let (cases, first) = (number("OCISTORE_CASES", 120), number("OCISTORE_SEED", 1));
    let mut scene = None;
    for seed in first..first + cases {
        if scene.is_none() || seed % A_BASE == 0 {
            scene = Some(Scene::new(&mut Chance::new(seed ^ 0xba5e)));
        }
        let scene = scene.as_ref().unwrap();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scene.try_case(seed)));
        if let Err(failed) = told {
            eprintln!(
                "OCISTORE_SEED={} makes this base, seed {seed} this change",
                seed - seed % A_BASE
            );
            std::panic::resume_unwind(failed);
        }
        if (seed - first) % 500 == 499 {
            eprintln!("{} cases", seed - first + 1);
        }
    }
}

#[test]
fn an_updated_checkout_is_what_a_fresh_one_would_be() {
    let (cases, first) = (number("OCISTORE_CASES", 120), number("OCISTORE_SEED", 1));
    for seed in (first..first + cases).step_by(10) {
        eprintln!("OCISTORE_SEED={seed} begins with these images");
        pairs::try_pairs(&mut Chance::new(seed ^ 0xda7e), 10);
    }
}
