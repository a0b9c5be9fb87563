//! Many processes on one store, from outside: what each is told, and that nothing of what they were told is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// A store with the sample.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
        place.ok(&["import", sample.to_str().unwrap()]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn begin(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ocistore"))
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.begin(args).wait_with_output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        told(args, &self.run(args))
    }

    /// Holds one of the store's locks, as another process would.
    fn hold(&self, lock: &str, operation: FlockOperation) -> File {
        let path = self.path("store").join(lock);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).unwrap();
        flock(&file, operation).unwrap();
        file
    }
}

fn told(args: &[&str], output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_hundred_tags_at_once_all_land() {
    let place = Place::new();
    let names: Vec<String> = (0..200).map(|at| format!("many:{at}")).collect();
    let tags: Vec<Child> = names
        .iter()
        .map(|name| place.begin(&["tag", "sample:1", name]))
        .collect();
    for (name, tag) in names.iter().zip(tags) {
        told(&["tag", name], &tag.wait_with_output().unwrap());
    }
    let images = place.ok(&["images"]);
    let landed = |name: &&String| {
        images
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
    };
    assert_eq!(names.iter().filter(landed).count(), 200, "{images}");
}

#[test]
fn a_collection_beside_another_says_so_and_with_no_wait_gives_up() {
    let place = Place::new();
    let held = place.hold("locks/gc", FlockOperation::LockExclusive);
    let refused = place.run(&["gc", "--no-wait"]);
    assert_eq!(refused.status.code(), Some(75));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("another collection is under way"), "{text}");
    let waiting = place.begin(&["gc"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    drop(held);
    let output = waiting.wait_with_output().unwrap();
    told(&["gc"], &output);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("waiting for it to end"), "{text}");
}

#[test]
fn a_collection_does_not_wait_for_a_long_command_but_leaves_what_it_may_need() {
    let place = Place::new();
    let epochs = place.path("store/epochs");
    let epoch = std::fs::read_dir(epochs).unwrap().next().unwrap().unwrap();
    let name = format!("epochs/{}", epoch.file_name().to_str().unwrap());
    let long = place.hold(&name, FlockOperation::LockShared);
    place.ok(&[
        "untag",
        "sample:1",
        "sample:2",
        "sample:zstd",
        "sample:plain",
        "sample:multi",
    ]);
    let text = place.ok(&["gc", "--wait", "0"]);
    assert!(text.contains("in the trash until commands"), "{text}");
    drop(long);
    let text = place.ok(&["gc"]);
    assert!(!text.contains("in the trash"), "{text}");
    let trash = std::fs::read_dir(place.path("store/trash")).unwrap();
    assert_eq!(trash.count(), 0);
}

#[test]
fn all_commands_work_beside_a_collection_that_never_gets_on() {
    let place = Place::new();
    // As a collection that was stopped between two batches holds them.
    let _gc = place.hold("locks/gc", FlockOperation::LockExclusive);
    let _collecting = place.hold("locks/collecting", FlockOperation::LockExclusive);
    place.ok(&["tag", "sample:1", "again:1"]);
    place.ok(&["images"]);
    place.ok(&["checkout", "again:1", place.path("out").to_str().unwrap()]);
    place.ok(&["export", "again:1", place.path("layout").to_str().unwrap()]);
    place.ok(&[
        "import",
        place.path("layout").to_str().unwrap(),
        "--name",
        "b:1",
    ]);
    place.ok(&["untag", "again:1"]);
    place.ok(&["fsck"]);
    place.ok(&["df"]);
}
