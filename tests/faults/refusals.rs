//! The system refuses a call: the command says what it could not do and why, and nothing is lost.

use super::bench::can_run;
use super::scene::{Next, SCENES, Stage, words};
use super::strace::{Tampered, spread, tamper, trace};
use super::yard::{Yard, points};

/// What goes wrong with which calls, and how the system says it.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("read,pread64,getdents64,statx", "EIO", "input/output error"),
    (
        "write,pwrite64,fallocate,ftruncate,copy_file_range",
        "EIO",
        "input/output error",
    ),
    ("fsync,fdatasync,syncfs", "EIO", "input/output error"),
    (
        "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir",
        "EIO",
        "input/output error",
    ),
    (
        "write,pwrite64,openat,mkdir,renameat2,fsync,syncfs",
        "ENOSPC",
        "no space left on device",
    ),
    (
        "write,pwrite64,openat,mkdir,renameat2,fsync,syncfs",
        "EDQUOT",
        "quota exceeded",
    ),
    ("flock", "ENOLCK", "no locks available"),
    ("openat,openat2", "EMFILE", "too many open files"),
];

/// Has the system refuse one command's calls again and again, each time another one.
fn refuse(at: usize) {
    if !can_run(&["mount", "strace"]) {
        return;
    }
    let scene = &SCENES[at];
    let stage = Stage::of(Yard::new(), scene);
    let command = words(scene.command);
    for (calls, error, text) in REFUSALS {
        stage.reset(scene);
        let all = trace(&stage.yard, calls, &command);
        let tried = spread(&all, points(4));
        let (mut failed, mut hit) = (0, 0);
        for (turn, point) in tried.iter().enumerate() {
            stage.reset(scene);
            let Tampered { outcome, hits } =
                tamper(&stage.yard, point, &format!("error={error}"), &command);
            hit += usize::from(hits > 0);
            eprintln!(
                "{command:?} {error} at {point:?}: {} {}",
                outcome.code,
                outcome.said.trim()
            );
            // Some refusals have a way around; damage is what a check calls a file that it cannot read.
            let is_check = scene.command[0] == "fsck" && outcome.code == 3;
            assert!(
                is_check || outcome.code < 2,
                "{point:?} {error}: {outcome:?}"
            );
            if outcome.code == 1 {
                failed += 1;
                // What was to be said met the same refusal.
                let silent = hits > 1 && outcome.said.is_empty();
                assert!(
                    silent || outcome.error().contains(text),
                    "{point:?} {error}: {outcome:?}"
                );
                let helps = outcome.error().contains("; ");
                assert!(
                    silent || helps || !["ENOSPC", "EDQUOT", "EMFILE"].contains(error),
                    "{outcome:?}"
                );
                assert!(
                    outcome.said.matches("ocistore: cannot").count() < 2,
                    "{outcome:?}"
                );
            }
            stage.check(scene, Next::by(turn));
        }
        eprintln!(
            "{command:?} {error}: {failed} failed of {hit} of {} at {} calls",
            tried.len(),
            all.len()
        );
    }
}

macro_rules! refused {
    ($($name:ident: $at:expr,)*) => {
        $(#[test]
        fn $name() {
            refuse($at);
        })*
    };
}

refused! {
    a_refused_first_import_says_why: 0,
    a_refused_import_says_why: 1,
    a_refused_checkout_says_why: 2,
    a_refused_checkout_of_copies_says_why: 3,
    a_refused_export_to_a_layout_says_why: 4,
    a_refused_export_to_an_archive_says_why: 5,
    a_refused_tag_says_why: 6,
    a_refused_untag_says_why: 7,
    a_refused_gc_says_why: 8,
    a_refused_fsck_says_why: 9,
    a_refused_rebuild_of_the_catalog_says_why: 10,
}
