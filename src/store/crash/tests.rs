//! What a power cut at any moment leaves whole, a scenario a test; and that each kind of sync is needed for it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use super::check::{run_store, run_twice};
use super::exports::run_exports;
use super::run::{Bounds, Outcome};
use super::scenario::{Spoil, Step, World};
use crate::digest::ContentId;
use crate::store::durable::recorder::Omit;
use crate::store::locks::Wait;
use crate::store::{Store, durable};

/// Made once for all tests that run at a time, and gone with the last of them.
fn world() -> Arc<World> {
    static KNOWN: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut known = KNOWN.lock().unwrap();
    known.upgrade().unwrap_or_else(|| {
        let made = Arc::new(World::new());
        *known = Arc::downgrade(&made);
        made
    })
}

/// How many random states after each operation; by hand more.
fn rounds() -> Option<usize> {
    let text = std::env::var("OCISTORE_CRASH_ROUNDS").ok()?;
    Some(text.parse().unwrap())
}

fn bounds() -> Bounds {
    Bounds {
        rounds: rounds().unwrap_or(3),
        most: rounds().map_or(150, |_| usize::MAX),
        seed: 1,
        enough: 3,
    }
}

fn report(what: &str, outcome: &Outcome) {
    let Outcome {
        operations,
        states,
        classes,
        checked,
        violations,
    } = outcome;
    writeln!(
        std::io::stderr(),
        "{what}: {operations} operations, {states} states in {classes} classes, {checked} checked, {} violations",
        violations.len()
    )
    .unwrap();
}

fn unspoiled(_: &Path) -> Option<PathBuf> {
    None
}

/// Runs a scenario and expects that nothing is wrong.
fn holds(what: &str, before: &[Step], steps: &[Step], spoil: Spoil<'_>) {
    let recorded = world().record(before, steps, spoil, Omit::Nothing);
    let outcome = run_store(&world(), &recorded, bounds());
    report(what, &outcome);
    assert!(outcome.checked > 0);
    assert!(
        outcome.violations.is_empty(),
        "{}",
        outcome.violations.join("\n")
    );
}

const FIRST: Step = Step::Import(0, "a:1");
const SECOND: Step = Step::Import(1, "b:1");

#[test]
fn a_store_is_made_wholly_or_not_at_all() {
    holds("init", &[], &[Step::Init], &unspoiled);
}

#[test]
fn an_import_into_a_new_store_survives() {
    holds("first import", &[], &[FIRST], &unspoiled);
}

#[test]
fn an_import_that_shares_layers_survives() {
    holds("second import", &[FIRST], &[SECOND], &unspoiled);
}

#[test]
fn names_and_collections_survive() {
    let steps = [
        Step::Tag("a:1", "a:2"),
        Step::Untag("a:1"),
        Step::Gc,
        Step::Untag("b:1"),
        Step::Gc,
    ];
    holds("tag, untag, gc", &[FIRST, SECOND], &steps, &unspoiled);
}

#[test]
fn an_import_beside_what_a_dead_one_left_survives() {
    let before = [FIRST, Step::Untag("a:1")];
    holds("import after a dead one", &before, &[SECOND], &|root| {
        let session = root.join("tmp/session-dead");
        durable::create_folder(&session).unwrap();
        for name in ["lock", "large.1"] {
            durable::create_new(&session.join(name))
                .unwrap()
                .write_all(b"x")
                .unwrap();
        }
        None
    });
}

#[test]
fn an_import_that_mends_an_object_survives() {
    holds("mending import", &[FIRST], &[FIRST], &|root| {
        let store = Store::open(root, Wait::Never).unwrap();
        let object = store.object_path(&ContentId::of(b"a shell, more or less"));
        let file = File::options()
            .write(true)
            .open(root.join(&object))
            .unwrap();
        file.write_all_at(b"A", 0).unwrap();
        Some(object)
    });
}

#[test]
fn making_a_lost_catalog_again_survives() {
    let steps = [Step::Open, Step::Tag("a:1", "c:1"), Step::Import(2, "d:1")];
    holds("lost catalog", &[FIRST, SECOND], &steps, &|root| {
        durable::remove(&root.join("catalog.redb")).unwrap();
        None
    });
}

#[test]
fn making_a_torn_catalog_again_survives() {
    holds("torn catalog", &[FIRST], &[Step::Open], &|root| {
        let catalog = root.join("catalog.redb");
        let file = File::options().write(true).open(&catalog).unwrap();
        file.set_len(fs::metadata(&catalog).unwrap().len() / 2)
            .unwrap();
        None
    });
}

#[test]
fn what_is_named_again_while_a_collection_takes_it_comes_back() {
    let cases: [(&[Step], Step); 2] = [
        (&[FIRST, SECOND], Step::TagBesideGc("b:1", "c:1")),
        (
            &[FIRST, SECOND, Step::Untag("b:1")],
            Step::ImportBesideGc(1, "c:1"),
        ),
    ];
    for (before, step) in cases {
        let world = world();
        let recorded = world.record(before, &[step, Step::Gc], &unspoiled, Omit::Nothing);
        assert!(recorded.disk.brought_back() > 0, "{step:?}");
        let outcome = run_store(&world, &recorded, bounds());
        report(&format!("{step:?}, gc"), &outcome);
        assert!(outcome.checked > 0);
        let violations = outcome.violations.join("\n");
        assert!(violations.is_empty(), "{violations}");
    }
}

#[test]
fn a_whole_life_survives() {
    let steps = [
        Step::Init,
        FIRST,
        SECOND,
        Step::Tag("b:1", "c:1"),
        Step::Untag("b:1"),
        Step::Untag("a:1"),
        Step::Gc,
        Step::Import(2, "c:1"),
        Step::Gc,
        FIRST,
    ];
    holds("a whole life", &[], &steps, &unspoiled);
}

#[test]
fn an_export_names_nothing_before_it_is_there() {
    let outcome = run_exports(&world(), bounds(), Omit::Nothing);
    report("export", &outcome);
    assert!(outcome.checked > 0);
    assert!(
        outcome.violations.is_empty(),
        "{}",
        outcome.violations.join("\n")
    );
}

#[test]
fn an_export_that_forgets_a_sync_is_found() {
    for omit in [Omit::SyncAll, Omit::SyncFolder, Omit::SyncFile] {
        let outcome = run_exports(&world(), exhaustive(), omit);
        report("export that forgets", &outcome);
        assert!(!outcome.violations.is_empty(), "{omit:?} was not found");
    }
}

#[test]
fn a_checkout_leaves_nothing_of_itself() {
    // The second layer of the first image has a file with the bytes of another and metadata of its own.
    let steps = [Step::Checkout("a:1"), Step::Checkout("a:1")];
    holds("checkout", &[FIRST], &steps, &unspoiled);
}

#[test]
fn a_power_cut_while_a_store_recovers_from_one_does_no_harm() {
    let first = Bounds {
        most: rounds().map_or(5, |rounds| rounds * 10),
        ..bounds()
    };
    let second = Bounds {
        most: rounds().map_or(12, |rounds| rounds * 10),
        rounds: 1,
        ..bounds()
    };
    let gc = [Step::Untag("b:1"), Step::Gc];
    let cases: [(&str, &[Step], &[Step]); 3] = [
        ("first import, twice", &[], &[FIRST]),
        ("second import, twice", &[FIRST], &[SECOND]),
        ("untag and gc, twice", &[FIRST, SECOND], &gc),
    ];
    for (what, before, steps) in cases {
        let recorded = world().record(before, steps, &unspoiled, Omit::Nothing);
        let outcome = run_twice(&world(), &recorded, (first, second));
        report(what, &outcome);
        assert!(outcome.checked > 0);
        let violations = outcome.violations.join("\n");
        assert!(violations.is_empty(), "{violations}");
    }
}

/// As far as it takes to find something.
fn exhaustive() -> Bounds {
    Bounds {
        most: usize::MAX,
        enough: 1,
        ..bounds()
    }
}

/// Runs a scenario of a store that forgets something, and expects that this is found; returns what was.
fn finds(what: &str, before: &[Step], steps: &[Step], omit: Omit) -> String {
    let recorded = world().record(before, steps, &unspoiled, omit);
    let outcome = run_store(&world(), &recorded, exhaustive());
    report(what, &outcome);
    let found = outcome.violations.into_iter().next();
    let found = found.unwrap_or_else(|| panic!("{omit:?} was not found"));
    let first = found.lines().next().unwrap();
    writeln!(std::io::stderr(), "  {first}").unwrap();
    found
}

#[test]
fn an_import_that_does_not_sync_before_it_renames_is_found() {
    finds("no syncfs", &[FIRST], &[SECOND], Omit::SyncAll);
    finds("no first syncfs", &[], &[FIRST], Omit::SyncAll);
}

#[test]
fn an_import_that_does_not_sync_folders_is_found() {
    finds("no folder syncs", &[FIRST], &[SECOND], Omit::SyncFolder);
    let whole = Omit::SyncFolderBelow("objects");
    finds("no syncs of whole folders", &[], &[FIRST], whole);
}

#[test]
fn an_import_that_does_not_sync_one_kind_of_folders_is_found() {
    for kind in ["objects", "layers", "blobs"] {
        finds(kind, &[FIRST], &[SECOND], Omit::SyncFolderBelow(kind));
    }
}

#[test]
fn an_import_that_syncs_objects_after_recipes_is_found_before_it_has_ended() {
    let found = finds(
        "objects late",
        &[FIRST],
        &[SECOND],
        Omit::LateSyncBelow("objects"),
    );
    assert!(
        found.contains("without content") && found.contains("0 steps"),
        "{found}"
    );
}

#[test]
fn names_written_without_a_sync_of_their_file_are_found() {
    finds(
        "no file sync",
        &[FIRST],
        &[Step::Tag("a:1", "a:2")],
        Omit::SyncFile,
    );
}

#[test]
fn names_written_without_a_sync_of_their_folder_are_found() {
    finds(
        "untag without a sync",
        &[FIRST, SECOND],
        &[Step::Untag("a:1")],
        Omit::SyncFolder,
    );
}

#[test]
fn a_collection_that_does_not_sync_recipes_before_objects_go_is_found() {
    let before = [FIRST, SECOND, Step::Untag("b:1")];
    finds(
        "gc without a sync of layers",
        &before,
        &[Step::Gc],
        Omit::SyncFolderBelow("layers"),
    );
}

#[test]
fn what_comes_back_without_a_sync_of_its_folder_is_found() {
    let step = Step::TagBesideGc("b:1", "c:1");
    finds(
        "brought back",
        &[FIRST, SECOND],
        &[step],
        Omit::SyncFolderBelow("objects"),
    );
}

#[test]
fn a_catalog_without_syncs_is_found() {
    finds("no catalog sync", &[FIRST], &[SECOND], Omit::SyncCatalog);
}
