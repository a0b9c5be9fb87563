//! What a collection promises to those who work beside it, one sentence a test.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::reference::ImageName;
use crate::store::catalog::View;
use crate::store::verify::{Depth, sample::Sample, verify};
use crate::watch::{ActsOnce, Unwatched, Watch};
use crate::wire::{self, Descriptor};

fn gc(sample: &Sample) -> Report {
    let collector = sample.store.collect(&Unwatched).unwrap();
    let plan = plan(collector, &Unwatched).unwrap();
    plan.sweep(Duration::ZERO, &Unwatched).unwrap()
}

/// Makes an image, takes its name away, and returns what it was named by.
fn unnamed(sample: &Sample) -> Descriptor {
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")], &[("usr/lib", b"lib")]]);
    sample.untag("a:1");
    let size = sample.store.blob_size(&image.manifest).unwrap().unwrap();
    Descriptor::new(wire::OCI_MANIFEST, image.manifest, size)
}

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn is_sound(sample: &Sample) -> bool {
    let jobs = std::num::NonZeroUsize::MIN;
    let found = verify(&sample.store.read().unwrap(), Depth::Full, &Unwatched, jobs).unwrap();
    assert!(found.is_sound(), "{:?}", found.findings);
    true
}

/// Asserts that nothing is left but empty folders.
fn assert_empty(sample: &Sample) {
    for folder in ["objects", "inodes", "layers", "blobs", "trash", "tmp"] {
        assert!(sample.files(folder).is_empty(), "{folder}");
    }
    assert_eq!(sample.files("epochs").len(), 1);
    let is_claim = |path: &std::path::PathBuf| path.to_string_lossy().contains("claim");
    assert!(!sample.files("locks").iter().any(is_claim));
}

#[test]
fn what_a_reader_may_have_found_stays_readable_and_the_next_collection_frees_it() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let reader = sample.store.read().unwrap();
    sample.untag("a:1");
    let report = gc(&sample);
    assert_eq!((report.objects.deleted, report.freed.bytes), (1, 0));
    assert!(report.in_trash.bytes > 0 && !sample.object(b"bin").exists());
    let object = crate::digest::ContentId::of(b"bin");
    assert!(reader.store().open_object(&object).is_ok());
    assert!(reader.store().document(&image.manifest).is_ok());
    assert!(reader.store().recipe(&image.layers[0].diff_id).is_ok());
    let node = sample.store.view(|view| view.node(&image.root));
    assert!(node.is_ok(), "rows stay, too");
    drop(reader);
    let freed = gc(&sample);
    assert_eq!(freed.freed.bytes, report.in_trash.bytes);
    assert_eq!(sample.store.view(View::node_count).unwrap(), 0);
    assert_empty(&sample);
}

#[test]
fn one_who_came_after_the_sweep_does_not_keep_what_it_took() {
    let sample = Sample::new();
    unnamed(&sample);
    let early = sample.store.read().unwrap();
    gc(&sample);
    let _late = sample.store.read().unwrap();
    drop(early);
    gc(&sample);
    assert!(sample.files("trash").is_empty());
}

#[test]
fn trash_stays_as_long_as_anyone_of_an_earlier_epoch_is_there() {
    let sample = Sample::new();
    let oldest = sample.store.read().unwrap();
    unnamed(&sample);
    gc(&sample);
    let image = sample.image("b:1", &[&[("etc/more", b"more")]]);
    sample.untag("b:1");
    gc(&sample);
    gc(&sample);
    assert!(sample.store.document(&image.manifest).is_ok());
    drop(oldest);
    gc(&sample);
    assert_empty(&sample);
}

#[test]
fn what_went_before_a_reader_came_is_not_there_for_it() {
    let sample = Sample::new();
    let early = sample.store.read().unwrap();
    let found = unnamed(&sample);
    gc(&sample);
    let other = crate::store::Store::open(sample.store.root(), crate::store::locks::Wait::Never);
    let other = other.unwrap();
    let _late = other.read().unwrap();
    // It may be unlinked at any moment: whoever saw it now might not see it again.
    assert!(early.store().blob_size(&found.digest).unwrap().is_some());
    assert_eq!(other.blob_size(&found.digest).unwrap(), None);
}

#[test]
fn what_is_named_by_its_digest_comes_back_from_the_trash() {
    let sample = Sample::new();
    let reader = sample.store.read().unwrap();
    let found = unnamed(&sample);
    gc(&sample);
    assert!(!sample.object(b"lib").exists());
    reader.name(&found, &name("b:1")).unwrap();
    assert!(sample.object(b"lib").exists() && is_sound(&sample));
    drop(reader);
    let report = gc(&sample);
    assert_eq!((report.objects.deleted, report.objects.kept), (0, 2));
    assert!(sample.store.image(&found).is_ok() && is_sound(&sample));
    let given = |id| sample.store.view(|view| view.given(id)).unwrap();
    assert!(given(&crate::digest::ContentId::of(b"lib")).is_some());
    sample.untag("b:1");
    gc(&sample);
    assert_empty(&sample);
}

#[test]
fn what_is_claimed_stays_until_the_claim_is_gone() {
    let sample = Sample::new();
    let found = unnamed(&sample);
    let writer = sample.store.write().unwrap();
    let claim = writer.claim(&[found], &HashMap::new()).unwrap();
    assert!(gc(&sample).is_clean());
    drop(claim);
    drop(writer);
    assert_eq!(gc(&sample).objects.deleted, 2);
    assert_empty(&sample);
}

#[test]
fn what_is_claimed_and_let_go_during_a_collection_stays_for_that_one() {
    let sample = Sample::new();
    let found = unnamed(&sample);
    let plan = plan(sample.store.collect(&Unwatched).unwrap(), &Unwatched).unwrap();
    let writer = sample.store.write().unwrap();
    drop(writer.claim(std::slice::from_ref(&found), &HashMap::new()));
    drop(writer);
    let report = plan.sweep(Duration::ZERO, &Unwatched).unwrap();
    assert!(report.is_clean() && report.objects.kept == 2, "{report:?}");
    let root = sample.store.image(&found).unwrap().root;
    assert!(sample.store.view(|view| view.has_node(&root)).unwrap());
    gc(&sample);
    assert_empty(&sample);
}

#[test]
fn a_claim_of_the_dead_counts_for_nothing() {
    let sample = Sample::new();
    unnamed(&sample);
    let path = sample.store.root().join("locks/claim-dead");
    crate::store::durable::create_new(&path).unwrap();
    gc(&sample);
    assert_empty(&sample);
}

#[test]
fn a_content_that_a_writer_took_as_there_comes_back_with_its_record() {
    let sample = Sample::new();
    unnamed(&sample);
    let writer = sample.store.write().unwrap();
    let meta = writer.owners().apply(&crate::meta::Meta {
        mode: 0o600,
        ..crate::meta::Meta::default()
    });
    let id = writer.add_object(b"bin", &meta).unwrap();
    assert!(!writer.is_staged(&id), "the store has it");
    gc(&sample);
    // The image arrives again, built by another who finds nothing of it in place.
    let again = sample.image("c:1", &[&[("usr/bin", b"bin")]]);
    let size = sample.store.blob_size(&again.manifest).unwrap().unwrap();
    let root = Descriptor::new(wire::OCI_MANIFEST, again.manifest, size);
    let claimed = writer.claim(&[root], &HashMap::new()).unwrap();
    assert!(claimed.givens.is_empty(), "what is in place is recorded");
    assert!(is_sound(&sample));
}

#[test]
fn trash_of_an_epoch_that_is_no_more_is_freed() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    for epoch in [1, 57] {
        let place = sample
            .store
            .root()
            .join(format!("trash/{epoch}/objects/ab"));
        crate::store::durable::create_folder(&place).unwrap();
        crate::store::durable::create_new(&place.join("c".repeat(62))).unwrap();
    }
    gc(&sample);
    assert!(sample.files("trash").is_empty());
    assert!(sample.store.document(&image.manifest).is_ok());
}

/// Never stops, and remembers what it was told.
#[derive(Default)]
struct Told(std::sync::Mutex<Vec<String>>);

impl Watch for Told {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
    fn notice(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
    fn stop(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

#[test]
fn a_second_collection_says_that_one_is_under_way() {
    let sample = Sample::new();
    let _first = sample.store.collect(&Unwatched).unwrap();
    assert_eq!(
        sample.store.collect(&Unwatched).unwrap_err().exit_code(),
        75
    );
    let root = sample.store.root();
    let patient = crate::store::Store::open(root, crate::store::locks::Wait::Forever).unwrap();
    let told = Told::default();
    assert_eq!(patient.collect(&told).unwrap_err().exit_code(), 130);
    assert!(told.0.into_inner().unwrap()[0].contains("under way"));
}

#[test]
fn rows_that_an_import_was_merged_from_are_not_dropped_unseen() {
    let sample = Sample::new();
    unnamed(&sample);
    let sweeps = || sample.store.view(View::sweeps).unwrap();
    let before = sweeps();
    gc(&sample);
    assert!(sweeps() > before, "whoever read rows before can tell");
}

#[test]
fn rows_that_came_after_their_claim_was_marked_stay() {
    let sample = Sample::new();
    let found = unnamed(&sample);
    // Its rows are gone, as they are while an import has claimed but not recorded yet.
    let rows = |view: &View| view.image(&found.digest);
    let image = sample.store.view(rows).unwrap().unwrap();
    let nodes = sample.store.view(|view| view.node(&image.root)).unwrap();
    let chain = crate::digest::ChainId::prefixes(&image.diff_ids()).pop();
    let dropped = [
        crate::store::catalog::TreeRow::Chain(chain.unwrap()),
        crate::store::catalog::TreeRow::Image(image.manifest),
        crate::store::catalog::TreeRow::Node(image.root),
    ];
    let drop_rows = |change: &crate::store::catalog::Change<'_>| change.drop_trees(&dropped);
    sample.store.change_catalog(drop_rows).unwrap();
    let writer = sample.store.write().unwrap();
    let claim = writer
        .claim(std::slice::from_ref(&found), &HashMap::new())
        .unwrap();
    let plan = plan(sample.store.collect(&Unwatched).unwrap(), &Unwatched).unwrap();
    sample
        .store
        .change_catalog(|change| {
            let bytes = nodes.encode();
            change.put_nodes([(&image.root, bytes.as_slice())].into_iter())?;
            change.put_image(&image)?;
            change.count_commit()
        })
        .unwrap();
    sample.name("d:1", found.clone());
    drop((claim, writer));
    plan.sweep(Duration::ZERO, &Unwatched).unwrap();
    assert!(sample.store.view(|view| view.node(&image.root)).is_ok());
}

#[test]
fn a_folder_of_the_dead_goes_and_one_of_the_living_stays() {
    let sample = Sample::new();
    let living = sample.store.write().unwrap();
    living
        .add_object(b"on its way", &crate::meta::Meta::default())
        .unwrap();
    let dead = sample.store.root().join("tmp/session-dead");
    crate::store::durable::create_folder(&dead).unwrap();
    crate::store::durable::create_new(&dead.join("lock")).unwrap();
    crate::store::durable::create_new(&dead.join("half")).unwrap();
    gc(&sample);
    assert!(!dead.exists());
    assert!(living.publish().unwrap().objects.len() == 1);
}

/// Collects while an import puts `parts` in place, claims `root`, and names it.
fn gc_while_parts_come(sample: &Sample, parts: &[&[u8]], root: &Descriptor) {
    let writer = sample.store.write().unwrap();
    let arrive = || {
        for part in parts {
            sample.document(part);
        }
        let claim = writer.claim(std::slice::from_ref(root), &HashMap::new());
        sample.name("r:1", root.clone());
        drop(claim.unwrap());
    };
    // At the first question names are followed, and no file was looked at yet.
    let watch = ActsOnce::new(1, &arrive);
    let plan = plan(sample.store.collect(&Unwatched).unwrap(), &watch).unwrap();
    plan.sweep(Duration::ZERO, &watch).unwrap();
    for part in parts {
        let digest = crate::digest::Digest::sha256(part);
        assert!(sample.store.blob_path(&digest).exists(), "{digest} went");
    }
    assert!(is_sound(sample));
}

fn descriptor_of(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = crate::digest::Digest::sha256(bytes);
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

fn json(descriptor: &Descriptor) -> String {
    serde_json::Value::Object(descriptor.raw.clone()).to_string()
}

#[test]
fn what_refers_to_a_live_image_and_was_not_whole_when_it_was_marked_stays_once_it_is_claimed() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let config = descriptor_of("application/vnd.oci.empty.v1+json", b"{}");
    let layer = descriptor_of("text/plain", b"signed");
    let subject = Descriptor::new(wire::OCI_MANIFEST, image.manifest, 1);
    let (config, layer, subject) = (json(&config), json(&layer), json(&subject));
    let referrer = format!(
        r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}],"subject":{subject}}}"#
    );
    // Of its blobs this one was put in place first.
    sample.document(referrer.as_bytes());
    let root = descriptor_of(wire::OCI_MANIFEST, referrer.as_bytes());
    gc_while_parts_come(&sample, &[b"{}", b"signed"], &root);
}

#[test]
fn a_subject_that_comes_after_its_referrer_was_marked_stays() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let subject = br#"{"schemaVersion":2,"manifests":[]}"#;
    let there = json(&descriptor_of(wire::OCI_INDEX, subject));
    let index = format!(r#"{{"schemaVersion":2,"manifests":[],"subject":{there}}}"#);
    sample.document(index.as_bytes());
    let root = descriptor_of(wire::OCI_INDEX, index.as_bytes());
    sample.name("b:1", root.clone());
    gc_while_parts_come(&sample, &[subject], &root);
}

#[test]
fn an_image_whose_import_did_not_end_is_no_damage_and_cannot_be_named() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let text = String::from_utf8(sample.store.document(&image.manifest).unwrap()).unwrap();
    let subject = json(&Descriptor::new(wire::OCI_MANIFEST, image.manifest, 1));
    // All of it is in place, and it refers to what is live; what is missing is its record and its name.
    let manifest = text.replacen('{', &format!(r#"{{"subject":{subject},"#), 1);
    let digest = sample.document(manifest.as_bytes());
    assert!(is_sound(&sample));
    let reader = sample.store.read().unwrap();
    let found = sample.store.find(&digest.to_string()).unwrap();
    assert_eq!(
        reader.name(&found, &name("b:1")).unwrap_err().exit_code(),
        2
    );
    assert!(sample.store.names().unwrap().get(&name("b:1")).is_none());
}

#[test]
fn what_a_collection_that_stopped_moved_away_is_not_replaced_by_the_next_one() {
    let sample = Sample::new();
    let _reader = sample.store.read().unwrap();
    unnamed(&sample);
    let object = crate::digest::ContentId::of(b"bin");
    let below = sample.store.object_path(&object);
    let move_away_and_stop = || {
        let collector = sample.store.collect(&Unwatched).unwrap();
        let epoch = collector.open_trash().unwrap();
        let batch = collector.begin_batch(epoch).unwrap();
        batch.discard(&below).unwrap();
    };
    move_away_and_stop();
    // It comes again; its file may have other metadata.
    sample.image("b:1", &[&[("usr/bin", b"bin")]]);
    move_away_and_stop();
    assert_eq!(sample.store.discarded(&below).unwrap().len(), 2);
}

#[test]
fn a_catalog_that_was_made_again_counts_from_other_numbers() {
    let sample = Sample::new();
    let counts = || {
        let read = |view: &View| Ok((view.sweeps()?, view.commits()?));
        sample.store.view(read).unwrap()
    };
    let before = counts();
    crate::store::durable::remove(&sample.store.root().join("catalog.redb")).unwrap();
    sample.store.create_catalog(|_| Ok(())).unwrap();
    let after = counts();
    assert!(after.0 > before.0 && after.1 > before.1);
}
