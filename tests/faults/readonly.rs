//! The file system of the store is read-only: what only reads goes on, and what writes says so.

use super::bench::can_run;
use super::promise::{Source, files_of};
use super::yard::{Yard, sample};

#[test]
fn a_store_that_cannot_be_written_can_be_read() {
    if !can_run(&["mount"]) {
        return;
    }
    let yard = Yard::new();
    let source = Source::sample();
    yard.ok(&["import", sample().to_str().unwrap()]);
    let before = files_of(&yard.path("store"));
    yard.ok(&["checkout", "--link", "copy", "sample:2", "@/laid"]);
    let tree = yard.place.tree("work/laid");
    let elsewhere = |name: &str| yard.place.text(name);
    assert!(yard.mount.remount("ro"));

    for args in [
        &["images"][..],
        &["inspect", "sample:1"],
        &["exists", "sample:1"],
        &["df"],
        &["fsck"],
        // Nothing is dead, so that there is nothing to delete.
        &["gc"],
        &["gc", "--dry-run"],
    ] {
        yard.ok(args);
    }
    yard.ok(&[
        "export",
        "sample:plain",
        &format!("oci:{}:x", elsewhere("layout")),
    ]);
    yard.is_whole(&source, "../layout", "sample:plain");
    yard.ok(&["checkout", "--link", "copy", "sample:2", &elsewhere("tree")]);
    assert!(yard.place.tree("tree") == tree);

    let layout = sample();
    for args in [
        &["import", layout.to_str().unwrap()][..],
        &["tag", "sample:1", "new:1"],
        &["untag", "sample:1"],
        &["checkout", "sample:1", "@/tree"],
    ] {
        let outcome = yard.run(args);
        eprintln!("{args:?}: {} {}", outcome.code, outcome.said.trim());
        assert_eq!(outcome.code, 1, "{args:?}: {outcome:?}");
        assert!(
            outcome.error().contains("read-only file system"),
            "{args:?}: {outcome:?}"
        );
    }

    assert!(yard.mount.remount("rw"));
    yard.clear("laid");
    assert_eq!(files_of(&yard.path("store")), before);
    yard.is_clean(&before);
}
