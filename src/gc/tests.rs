//! What a collection promises, one sentence a test.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::*;
use crate::digest::{Digest, InodeId};
use crate::store::Collector;
use crate::store::verify::sample::{Sample, descriptor};
use crate::watch::Unwatched;
use crate::wire::{self, Descriptor};

fn collector(sample: &Sample) -> Collector<'_> {
    sample.store.collect(&Unwatched).unwrap()
}

fn gc(sample: &Sample) -> Report {
    plan(collector(sample), &Unwatched)
        .unwrap()
        .sweep(Duration::ZERO, &Unwatched)
        .unwrap()
}

/// Every file that a collection may delete.
fn all_files(sample: &Sample) -> Vec<std::path::PathBuf> {
    ["objects", "inodes", "blobs", "layers", "tmp"]
        .iter()
        .flat_map(|f| sample.files(f))
        .collect()
}

/// A file under `inodes/`, which a real checkout would have made.
fn inode(sample: &Sample, seed: &[u8]) -> std::path::PathBuf {
    let path = sample
        .store
        .root()
        .join(sample.store.inode_path(&InodeId::of(seed)));
    crate::store::durable::create_folder(path.parent().unwrap()).unwrap();
    fs::copy(sample.object(b"bin"), &path).unwrap();
    path
}

#[test]
fn gc_keeps_all_that_a_tagged_image_needs() {
    let sample = Sample::new();
    sample.image(
        "a:1",
        &[
            &[("usr/bin", b"bin"), ("etc/empty", b"")],
            &[("usr/lib", b"lib")],
        ],
    );
    let before = all_files(&sample);
    let report = gc(&sample);
    assert!(report.is_clean());
    assert_eq!(all_files(&sample), before);
    assert_eq!(
        (
            report.objects.kept,
            report.recipes.kept,
            report.documents.kept
        ),
        (2, 2, 2)
    );
    assert_eq!(report.blobs.kept, 2);
    assert_eq!(report.freed, Size::default());
}

#[test]
fn gc_after_the_last_untag_leaves_no_file() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    sample.image("a:2", &[&[("usr/bin", b"bin")], &[("usr/lib", b"lib")]]);
    let held = inode(&sample, b"held");
    fs::hard_link(&held, sample.dir.path().join("checkout")).unwrap();
    sample.untag("a:1");
    sample.untag("a:2");
    let report = gc(&sample);
    assert_eq!(all_files(&sample), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        (report.objects.deleted, report.objects.deleted_bytes),
        (2, 6)
    );
    assert_eq!(report.held_by_checkouts.bytes, 3);
    let rows = sample
        .store
        .view(|view| Ok((view.node_count()?, view.chains()?.len())))
        .unwrap();
    assert_eq!(rows, (0, 0));
    let mut givens = 0;
    sample
        .store
        .view(|view| {
            view.for_each_given(|_, _| {
                givens += 1;
                Ok(())
            })
        })
        .unwrap();
    assert_eq!(givens, 0);
}

#[test]
fn what_two_images_share_stays_when_one_goes() {
    let sample = Sample::new();
    let first = sample.image("a:1", &[&[("usr/bin", b"bin")], &[("usr/lib", b"old")]]);
    let second = sample.image("a:2", &[&[("usr/bin", b"bin")], &[("usr/lib", b"new")]]);
    sample.untag("a:1");
    let report = gc(&sample);
    assert_eq!((report.objects.deleted, report.objects.kept), (1, 2));
    assert!(sample.object(b"bin").exists() && sample.object(b"new").exists());
    let kept = |image: &crate::image::Image| {
        let view = |view: &crate::store::catalog::View| {
            Ok((
                view.image(&image.manifest)?.is_some(),
                view.has_node(&image.root)?,
            ))
        };
        sample.store.view(view).unwrap()
    };
    assert_eq!(
        (kept(&first), kept(&second)),
        ((false, false), (true, true))
    );
}

#[test]
fn a_dry_run_deletes_nothing_and_reports_what_the_real_run_does() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    sample.untag("a:1");
    let before = all_files(&sample);
    let dry = plan(collector(&sample), &Unwatched)
        .unwrap()
        .report()
        .unwrap();
    assert_eq!(all_files(&sample), before);
    let bytes: u64 = before.iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    let disk: u64 = before
        .iter()
        .map(|f| fs::metadata(f).unwrap().blocks() * 512)
        .sum();
    assert_eq!(
        dry.freed,
        Size {
            bytes,
            disk_bytes: disk
        }
    );
    assert_eq!(gc(&sample), dry);
}

/// Spoils one file of a live image while a dead one is there, and expects that nothing is deleted.
fn assert_stops(spoil: impl FnOnce(&Sample, &crate::image::Image)) {
    let sample = Sample::new();
    sample.image("dead:1", &[&[("dead", b"dead")]]);
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    sample.untag("dead:1");
    spoil(&sample, &image);
    let before = all_files(&sample);
    let error = plan(collector(&sample), &Unwatched).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("nothing was deleted"), "{error}");
    assert_eq!(all_files(&sample), before);
}

fn remove(path: &std::path::Path) {
    crate::store::durable::remove(path).unwrap();
}

fn flip(path: &std::path::Path) {
    use std::os::unix::fs::FileExt as _;
    let mut byte = [0];
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.read_exact_at(&mut byte, 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 20).unwrap();
}

#[test]
fn a_missing_child_stops_gc() {
    assert_stops(|sample, image| remove(&sample.store.blob_path(&image.config)));
    assert_stops(|sample, image| remove(&sample.store.blob_path(&image.manifest)));
}

#[test]
fn a_damaged_document_stops_gc() {
    assert_stops(|sample, image| flip(&sample.store.blob_path(&image.manifest)));
    assert_stops(|sample, image| flip(&sample.store.blob_path(&image.config)));
}

#[test]
fn a_missing_or_damaged_recipe_stops_gc() {
    let recipe = |sample: &Sample, image: &crate::image::Image| {
        sample
            .store
            .root()
            .join(format!("layers/sha256/{}", image.layers[0].diff_id.0.hex()))
    };
    assert_stops(|sample, image| remove(&recipe(sample, image)));
    assert_stops(|sample, image| flip(&recipe(sample, image)));
}

#[test]
fn a_missing_object_stops_gc() {
    assert_stops(|sample, _| remove(&sample.object(b"bin")));
}

#[test]
fn an_unreadable_index_of_names_stops_gc() {
    assert_stops(|sample, _| remove(&sample.store.root().join("index.json")));
}

#[test]
fn the_error_says_which_name_cannot_be_followed() {
    let sample = Sample::new();
    let image = sample.image("debian:12", &[&[("usr/bin", b"bin")]]);
    remove(&sample.store.blob_path(&image.config));
    let error = plan(collector(&sample), &Unwatched).unwrap_err();
    assert!(error.to_string().contains("debian:12: "), "{error}");
}

#[test]
fn referrers_of_a_live_subject_stay_and_those_of_a_dead_one_go() {
    let sample = Sample::new();
    let live = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let dead = sample.image("a:2", &[&[("usr/lib", b"lib")]]);
    let refer = |image: &crate::image::Image, payload: &[u8]| {
        let empty = descriptor(
            "application/vnd.oci.empty.v1+json",
            &sample.document(b"{}"),
            2,
        );
        let payload = descriptor(
            "text/plain",
            &sample.document(payload),
            payload.len() as u64,
        );
        let subject = descriptor(wire::OCI_MANIFEST, &image.manifest, 1);
        let text = format!(
            r#"{{"schemaVersion":2,"config":{empty},"layers":[{payload}],"subject":{subject}}}"#
        );
        sample.document(text.as_bytes())
    };
    let (signature, lost) = (refer(&live, b"signed: live"), refer(&dead, b"signed: dead"));
    sample.untag("a:2");
    gc(&sample);
    assert!(sample.store.document(&signature).is_ok());
    assert!(
        sample
            .store
            .document(&Digest::sha256(b"signed: live"))
            .is_ok()
    );
    assert!(sample.store.document(&lost).is_err());
    assert!(
        sample
            .store
            .document(&Digest::sha256(b"signed: dead"))
            .is_err()
    );
}

#[test]
fn documents_of_unknown_types_keep_their_children() {
    let sample = Sample::new();
    let child = descriptor("text/plain", &sample.document(b"child"), 5);
    let parent = sample.document(format!(r#"{{"future":[{{"of":{child}}}]}}"#).as_bytes());
    let size = sample.store.blob_size(&parent).unwrap().unwrap();
    sample.name(
        "a:1",
        Descriptor::new("application/vnd.future+json", parent, size),
    );
    assert!(gc(&sample).is_clean());
    sample.untag("a:1");
    assert_eq!(gc(&sample).blobs.deleted, 1);
}

#[test]
fn a_manifest_that_an_artifact_carries_as_a_layer_keeps_its_children() {
    let sample = Sample::new();
    let image = sample.image("b:1", &[&[("usr/bin", b"bin")]]);
    let size = sample.store.blob_size(&image.manifest).unwrap().unwrap();
    let empty = descriptor(
        "application/vnd.oci.empty.v1+json",
        &sample.document(b"{}"),
        2,
    );
    let layer = descriptor(wire::OCI_LAYER, &image.manifest, size);
    let artifact = format!(r#"{{"schemaVersion":2,"config":{empty},"layers":[{layer}]}}"#);
    let digest = sample.document(artifact.as_bytes());
    // Its name comes before the image's, so that the manifest is met as a layer first.
    sample.name(
        "a:1",
        Descriptor::new(wire::OCI_MANIFEST, digest, artifact.len() as u64),
    );
    assert!(gc(&sample).is_clean());
    assert!(sample.object(b"bin").exists());
}

#[test]
fn the_subject_of_an_index_stays() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let size = sample.store.blob_size(&image.manifest).unwrap().unwrap();
    let subject = descriptor(wire::OCI_MANIFEST, &image.manifest, size);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[],"subject":{subject}}}"#);
    let digest = sample.document(index.as_bytes());
    sample.name(
        "b:1",
        Descriptor::new(wire::OCI_INDEX, digest, index.len() as u64),
    );
    sample.untag("a:1");
    assert!(gc(&sample).is_clean());
}

#[test]
fn an_inode_that_no_checkout_holds_goes_and_a_held_one_stays() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let (alone, held) = (inode(&sample, b"alone"), inode(&sample, b"held"));
    let link = sample.dir.path().join("checkout");
    fs::hard_link(&held, &link).unwrap();
    let report = gc(&sample);
    assert_eq!((report.inodes.deleted, report.inodes.kept), (1, 1));
    assert!(!alone.exists() && held.exists());
    remove(&link);
    assert_eq!(gc(&sample).inodes.deleted, 1);
}

#[test]
fn a_dead_object_that_a_checkout_holds_goes_and_is_counted_as_held() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin"), ("usr/lib", b"library")]]);
    let link = sample.dir.path().join("checkout");
    fs::hard_link(sample.object(b"bin"), &link).unwrap();
    sample.untag("a:1");
    let report = gc(&sample);
    assert_eq!(
        (report.objects.deleted, report.held_by_checkouts.bytes),
        (2, 3)
    );
    assert!(!sample.object(b"bin").exists());
    assert_eq!(fs::read(link).unwrap(), b"bin");
}

#[test]
fn strays_are_reported_and_left_alone() {
    let sample = Sample::new();
    let stray = sample.store.root().join("objects/README");
    crate::store::durable::create_new(&stray).unwrap();
    assert_eq!(gc(&sample).strays, std::slice::from_ref(&stray));
    assert!(stray.exists());
}

#[test]
fn a_store_without_a_catalog_is_swept_all_the_same() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    sample.image("a:2", &[&[("usr/lib", b"lib")]]);
    sample.untag("a:2");
    remove(&sample.store.root().join("catalog.redb"));
    let report = gc(&sample);
    assert_eq!((report.objects.deleted, report.objects.kept), (1, 1));
    assert!(!sample.store.root().join("catalog.redb").exists());
}

#[test]
fn what_is_named_between_mark_and_sweep_stays() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    sample.untag("a:1");
    let plan = plan(collector(&sample), &Unwatched).unwrap();
    sample.name(
        "a:2",
        Descriptor::new(wire::OCI_MANIFEST, image.manifest, 1),
    );
    let report = plan.sweep(Duration::ZERO, &Unwatched).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.objects.kept, 1);
    assert!(sample.object(b"bin").exists());
}

/// Stops at the n-th look.
struct StopsAfter(std::sync::atomic::AtomicI64);

impl crate::watch::Watch for StopsAfter {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
    fn stop(&self) -> bool {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0
    }
}

#[test]
fn a_sweep_that_stops_half_way_leaves_no_recipe_without_its_contents_and_the_next_one_ends_it() {
    for looks in 0..12 {
        let sample = Sample::new();
        sample.image("keep:1", &[&[("usr/bin", b"bin")]]);
        sample.image(
            "a:1",
            &[
                &[("usr/bin", b"bin"), ("one", b"one")],
                &[("two", b"two"), ("three", b"three")],
            ],
        );
        sample.untag("a:1");
        let plan = plan(collector(&sample), &Unwatched).unwrap();
        plan.sweep(Duration::ZERO, &StopsAfter(looks.into())).ok();
        for layer in sample.store.recipes().unwrap() {
            for content in sample.store.recipe(&layer).unwrap().contents().unwrap() {
                assert!(
                    sample.store.stat_object(&content.id).unwrap().is_some(),
                    "after {looks} looks"
                );
            }
        }
        gc(&sample);
        assert_eq!(
            (sample.files("objects").len(), sample.files("blobs").len()),
            (1, 3)
        );
    }
}
