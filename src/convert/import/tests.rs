//! What an import does beside others, one sentence a test.

use std::fs::Permissions;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::take::Suspects;
use super::*;
use crate::digest::ContentId;
use crate::gc;
use crate::meta::Meta;
use crate::reference::{Pick, Place};
use crate::store::Store;
use crate::store::inodes::Given;
use crate::store::locks::Wait;
use crate::store::verify::present::walk_digests;
use crate::store::verify::{Depth, verify};
use crate::watch::{ActsOnce, Unwatched};

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Never).unwrap();
        crate::convert::rebuild::rebuild_if_lost(&store, &Unwatched).unwrap();
        Self { _dir: dir, store }
    }

    fn import(&self, watch: &dyn Watch) {
        let writer = self.store.write().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
        let place = Place::Layout(sample, Pick::All);
        let source = Source::open(&place, &Limits::default(), &|| writer.scratch()).unwrap();
        let options = Options {
            jobs: 1,
            ..Options::default()
        };
        import(&writer, &source, &options, watch).unwrap();
    }
}

/// Puts a content in place with a mode of its own; returns what its file was given.
fn put(store: &Store, bytes: &[u8], mode: u16) -> HashMap<ContentId, Given> {
    let writer = store.write().unwrap();
    let meta = Meta {
        mode,
        ..Meta::default()
    };
    writer
        .add_object(bytes, &writer.owners().apply(&meta))
        .unwrap();
    writer.publish().unwrap().objects
}

/// Returns some content of the sample.
fn a_content() -> Vec<u8> {
    let fixture = Fixture::new();
    fixture.import(&Unwatched);
    let mut found = None;
    let each = |id, given: Given| {
        found.get_or_insert((id, given));
        Ok(())
    };
    fixture
        .store
        .view(|view| view.for_each_given(each))
        .unwrap();
    let place = fixture.store.object_path(&found.unwrap().0);
    std::fs::read(fixture.store.root().join::<PathBuf>(place)).unwrap()
}

#[test]
fn what_was_in_place_without_a_record_is_recorded_as_it_is_in_the_end() {
    let content = a_content();
    let count = |act: &(dyn Fn() + Sync), last| {
        let fixture = Fixture::new();
        put(&fixture.store, &content, 0o601);
        let watch = ActsOnce::new(last, act);
        fixture.import(&watch);
        watch.asked()
    };
    let last = count(&|| {}, u64::MAX);
    let fixture = Fixture::new();
    put(&fixture.store, &content, 0o601);
    // When all is staged, the file that was found goes to the trash, and another comes with other metadata.
    let swap = || {
        let store = Store::open(fixture.store.root(), Wait::Never).unwrap();
        let collector = store.collect(&Unwatched).unwrap();
        let plan = gc::plan(collector, &Unwatched).unwrap();
        let report = plan.sweep(Duration::ZERO, &Unwatched).unwrap();
        assert_eq!(report.objects.deleted, 1);
        let given = put(&store, &content, 0o602);
        assert_eq!(given.len(), 1);
        store
            .change_catalog(|change| change.put_givens(given.iter()))
            .unwrap();
    };
    fixture.import(&ActsOnce::new(last, &swap));
    let reader = fixture.store.read().unwrap();
    let found = verify(&reader, Depth::Full, &Unwatched, NonZeroUsize::MIN).unwrap();
    assert!(found.is_sound(), "{:#?}", found.findings);
}

#[test]
fn what_another_import_put_in_place_between_two_looks_is_not_suspected() {
    let fixture = Fixture::new();
    fixture.import(&Unwatched);
    let store = &fixture.store;
    let walked = walk_digests(&store.root().join("layers")).unwrap();
    let layers: Vec<DiffId> = walked
        .folders
        .concat()
        .iter()
        .map(|f| DiffId(f.id))
        .collect();
    let mut seen = 0;
    for layer in &layers {
        for content in store.recipe(layer).unwrap().contents().unwrap() {
            let place = store.root().join(store.object_path(&content.id));
            let bytes = std::fs::read(&place).unwrap();
            // A collector takes the file with its record, and another import records one of other metadata.
            let swap = || {
                crate::store::durable::remove(&place).unwrap();
                let given = put(store, &bytes, 0o602);
                store
                    .change_catalog(|change| change.put_givens(given.iter()))
                    .unwrap();
            };
            assert_eq!(
                suspects(store, layer, &ActsOnce::new(1, &swap)),
                Suspects::None
            );
            // It is suspected where it is not as it was given.
            let change =
                || std::fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(
                suspects(store, layer, &ActsOnce::new(1, &change)),
                Suspects::Some
            );
            swap();
            seen += 1;
        }
    }
    assert!(seen > 0);
}

fn suspects(store: &Store, layer: &DiffId, watch: &dyn Watch) -> Suspects {
    let writer = store.write().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
    let place = Place::Layout(sample, Pick::All);
    let source = Source::open(&place, &Limits::default(), &|| writer.scratch()).unwrap();
    let work = take::Work {
        writer: &writer,
        source: &source,
        options: &Options::default(),
        watch,
    };
    work.suspect_contents(layer).unwrap()
}
