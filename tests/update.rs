//! `checkout --update` from outside: what is refused, what is replaced, what a kill leaves.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn with_sample() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
        place.ok(&["import", sample.to_str().unwrap()]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("ocistore"));
        command.current_dir(self.0.path());
        command.args(["--store", "store"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?}");
        (output.status.code().unwrap(), errors)
    }

    /// Tells that a directory is exactly an image, with bytes and metadata.
    fn is(&self, image: &str, dir: &str) {
        assert_eq!(self.ok(&["diff", image, dir, "--metadata"]), "", "{image}");
    }
}

const UPDATE: [&str; 2] = ["checkout", "--update"];

#[test]
fn a_checkout_becomes_that_of_another_image_and_back() {
    for link in ["hardlink", "copy"] {
        let place = Place::with_sample();
        place.ok(&["checkout", "--link", link, "sample:1", "out"]);
        for image in ["sample:2", "sample:1", "sample:2", "sample:2"] {
            place.ok(&[UPDATE[0], UPDATE[1], image, "out"]);
            place.is(image, "out");
        }
        place.ok(&["fsck"]);
    }
}

#[test]
fn what_somebody_changed_is_told_and_left_alone_unless_forced() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", "out"]);
    fs::remove_file(place.path("out/etc/motd")).unwrap();
    fs::create_dir(place.path("out/more")).unwrap();
    fs::write(place.path("out/more/of it"), "kept").unwrap();
    let (code, told) = place.fails(&[UPDATE[0], UPDATE[1], "sample:2", "out"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("2 paths"), "{told}");
    assert!(
        told.contains("'etc/motd'") && told.contains("'more'"),
        "{told}"
    );
    assert_eq!(fs::read(place.path("out/more/of it")).unwrap(), b"kept");
    place.ok(&[UPDATE[0], UPDATE[1], "--force", "sample:2", "out"]);
    place.is("sample:2", "out");
}

#[test]
fn a_symlink_in_the_place_of_a_directory_leads_an_update_nowhere() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", "out"]);
    fs::create_dir(place.path("victim")).unwrap();
    fs::rename(place.path("out/etc"), place.path("victim/etc")).unwrap();
    std::os::unix::fs::symlink("../victim/etc", place.path("out/etc")).unwrap();
    let before = fs::metadata(place.path("victim/etc")).unwrap();
    place.fails(&[UPDATE[0], UPDATE[1], "sample:2", "out"]);
    place.ok(&[UPDATE[0], UPDATE[1], "--force", "sample:2", "out"]);
    place.is("sample:2", "out");
    let after = fs::metadata(place.path("victim/etc")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert!(place.path("victim/etc/motd").exists());
}

#[test]
fn what_the_store_does_not_know_is_not_updated() {
    let place = Place::with_sample();
    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/file"), "mine").unwrap();
    place.ok(&["checkout", "--path", "etc", "sample:1", "part"]);
    place.ok(&["checkout", "sample:1", "out"]);
    fs::rename(place.path("out"), place.path("moved")).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    for dir in ["other", "part", "moved", "out"] {
        let args = [UPDATE[0], UPDATE[1], "--force", "sample:2", dir];
        let (code, told) = place.fails(&args);
        assert_eq!(code, 1, "{told}");
    }
    assert_eq!(fs::read(place.path("other/file")).unwrap(), b"mine");
    place.ok(&["checkout", "sample:1", "linked"]);
    let args = [UPDATE[0], UPDATE[1], "--link", "copy", "sample:2", "linked"];
    assert!(place.fails(&args).1.contains("hardlink"));
    place.is("sample:1", "linked");
}

#[test]
fn an_update_after_the_old_image_was_collected_takes_force() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", "out"]);
    place.ok(&[
        "untag",
        "sample:1",
        "sample:zstd",
        "sample:plain",
        "sample:multi",
    ]);
    place.ok(&["gc"]);
    let (code, told) = place.fails(&[UPDATE[0], UPDATE[1], "sample:2", "out"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("no longer has"), "{told}");
    place.ok(&[UPDATE[0], UPDATE[1], "--force", "sample:2", "out"]);
    place.is("sample:2", "out");
}

#[test]
fn gc_forgets_checkouts_that_are_gone_and_no_others() {
    let place = Place::with_sample();
    for dir in ["kept", "gone", "another"] {
        place.ok(&["checkout", "sample:1", dir]);
    }
    fs::remove_dir_all(place.path("gone")).unwrap();
    fs::rename(place.path("another"), place.path("elsewhere")).unwrap();
    fs::create_dir(place.path("another")).unwrap();
    let count = || fs::read_dir(place.path("store/checkouts")).unwrap().count();
    place.ok(&["gc", "--dry-run"]);
    assert_eq!(count(), 3);
    place.ok(&["gc"]);
    assert_eq!(count(), 1);
    place.ok(&[UPDATE[0], UPDATE[1], "sample:2", "kept"]);
    place.is("sample:2", "kept");
}

#[test]
fn an_update_that_was_killed_is_finished_by_the_next() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", "out"]);
    for wait in 0..40 {
        let mut command = place.command(&[UPDATE[0], UPDATE[1], "sample:2", "out"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(wait * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let image = if wait % 2 == 0 {
            "sample:1"
        } else {
            "sample:2"
        };
        place.ok(&[UPDATE[0], UPDATE[1], image, "out"]);
        place.is(image, "out");
        place.ok(&[UPDATE[0], UPDATE[1], "sample:1", "out"]);
        place.is("sample:1", "out");
    }
}
