//! What a repair does about the catalog, and beside others: one sentence a test. Files are mended in `tests/repair/`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::*;
use crate::convert::import::{Options, import};
use crate::digest::{ChainId, ContentId, TreeId};
use crate::image::Image;
use crate::limits::Limits;
use crate::reference::{Pick, Place};
use crate::store::durable;
use crate::store::locks::Wait;
use crate::watch::Unwatched;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample")
}

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Never).unwrap();
        rebuild::rebuild_if_lost(&store, &Unwatched).unwrap();
        let fixture = Self { _dir: dir, store };
        fixture.import();
        fixture
    }

    fn import(&self) {
        let writer = self.store.write().unwrap();
        let source = source(&writer);
        let options = Options {
            jobs: 2,
            ..Options::default()
        };
        import(&writer, &source, &options, &Unwatched).unwrap();
    }

    fn check(&self) -> Findings {
        let reader = self.store.read().unwrap();
        check(&reader, Depth::Full, &Unwatched, two()).unwrap()
    }

    fn repair(&self) -> Report {
        repair(&self.store, &[], &Unwatched, two()).unwrap()
    }

    fn images(&self) -> Vec<Image> {
        let reach = Reach::of_all(&self.store).unwrap();
        let image = |digest| self.store.view(|view| view.image(digest)).unwrap().unwrap();
        reach.images.keys().map(image).collect()
    }

    /// Repairs, and expects the catalog to be all that was wrong.
    fn mends_the_catalog(&self) -> Report {
        let before: Vec<_> = self.check().findings;
        assert!(!before.is_empty());
        assert!(before.iter().all(|f| f.kind == Kind::CatalogDisagrees));
        let report = self.repair();
        assert!(report.is_sound(), "{report:#?}");
        let kinds = |repair: &Repair| repair.object == "catalog.redb";
        assert!(report.repairs.iter().all(kinds), "{report:#?}");
        assert!(self.check().is_sound());
        assert!(self.repair().repairs.is_empty());
        report
    }
}

fn source(writer: &Writer<'_>) -> Source {
    let place = Place::Layout(sample(), Pick::All);
    Source::open(&place, &Limits::default(), &|| writer.scratch()).unwrap()
}

fn two() -> NonZeroUsize {
    NonZeroUsize::new(2).unwrap()
}

#[test]
fn records_and_trees_that_are_wrong_are_put_right_and_no_row_of_others_is_lost() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let (first, second) = (images[0].clone(), images[1].clone());
    let own = TreeId::of(b"a row of an import under way");
    let wrong = Image {
        root: second.root,
        platform: "plan9/mips".to_owned(),
        ..first.clone()
    };
    let change = |change: &crate::store::catalog::Change<'_>| {
        change.put_image(&wrong)?;
        change.put_nodes([(&second.root, &b"no node"[..])].into_iter())?;
        change.put_nodes([(&own, &b"a row of an import under way"[..])].into_iter())
    };
    fixture.store.change_catalog(change).unwrap();
    let report = fixture.mends_the_catalog();
    assert_eq!(report.repairs.len(), 1);
    assert_eq!(report.repairs[0].kept_as, None);
    assert_eq!(fixture.images(), images);
    let has = fixture.store.view(|view| view.has_node(&own)).unwrap();
    assert!(has, "rows are put right one by one");
}

#[test]
fn a_tree_that_is_another_than_its_layers_give_is_put_right() {
    let fixture = Fixture::new();
    let images = fixture.images();
    let two = images.iter().filter(|image| image.layers.len() > 1);
    let two: Vec<&Image> = two.collect();
    let (first, second) = (two[0], two[1]);
    assert_ne!(first.root, second.root);
    let wrong = Image {
        root: second.root,
        ..first.clone()
    };
    let chain = ChainId::prefixes(&first.diff_ids()).pop().unwrap();
    fixture
        .store
        .change_catalog(|change| {
            change.put_chain(&chain, &second.root)?;
            change.put_image(&wrong)
        })
        .unwrap();
    fixture.mends_the_catalog();
    assert_eq!(fixture.images(), images);
}

#[test]
fn a_row_that_nothing_puts_right_has_the_catalog_made_anew_and_the_old_one_is_kept() {
    let fixture = Fixture::new();
    let chain = ChainId(Digest::sha256(b"of no image"));
    fixture
        .store
        .change_catalog(|change| change.put_chain(&chain, &TreeId::of(b"gone")))
        .unwrap();
    let report = fixture.mends_the_catalog();
    let kept: Vec<_> = report
        .repairs
        .iter()
        .filter_map(|r| r.kept_as.clone())
        .collect();
    assert_eq!(kept, ["lost+found/catalog.redb.0"]);
    assert!(fixture.store.root().join(&kept[0]).is_file());
}

#[test]
fn what_a_mended_object_was_given_is_what_it_was_given_before() {
    let fixture = Fixture::new();
    let mut before = BTreeMap::new();
    fixture
        .store
        .view(|view| {
            view.for_each_given(|id, given| {
                before.insert(id, given);
                Ok(())
            })
        })
        .unwrap();
    for id in before.keys() {
        durable::remove(&fixture.store.root().join(fixture.store.object_path(id))).unwrap();
    }
    let report = fixture.repair();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.repairs.len(), before.len());
    let mut after = BTreeMap::new();
    fixture
        .store
        .view(|view| {
            view.for_each_given(|id, given| {
                after.insert(id, given);
                Ok(())
            })
        })
        .unwrap();
    assert_eq!(before, after);
}

#[test]
fn without_names_nothing_is_made_of_the_catalog_and_that_is_told() {
    let fixture = Fixture::new();
    durable::remove(&fixture.store.root().join("index.json")).unwrap();
    let catalog = fixture.store.root().join("catalog.redb");
    let before = std::fs::read(&catalog).unwrap();
    let report = fixture.repair();
    let kinds: Vec<Kind> = report.unmended.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::NamesUnreadable]);
    assert!(report.repairs.is_empty());
    assert!(std::fs::read(&catalog).unwrap() == before);
}

#[test]
fn repairs_and_imports_go_on_side_by_side() {
    let fixture = Fixture::new();
    let objects: Vec<ContentId> = {
        let mut ids = Vec::new();
        let each = |id, _| {
            ids.push(id);
            Ok(())
        };
        fixture
            .store
            .view(|view| view.for_each_given(each))
            .unwrap();
        ids
    };
    let root = fixture.store.root().to_owned();
    // Nothing is damaged while an import runs: it may fail for an object that goes after it looked.
    for at in 0..6 {
        for id in objects.iter().skip(at).step_by(6) {
            durable::remove(&root.join(fixture.store.object_path(id))).unwrap();
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let store = Store::open(&root, Wait::Forever).unwrap();
                    repair(&store, &[], &Unwatched, two()).unwrap();
                });
            }
            scope.spawn(|| fixture.import());
        });
    }
    let report = fixture.repair();
    assert!(report.is_sound(), "{report:#?}");
    assert!(fixture.check().is_sound());
}
