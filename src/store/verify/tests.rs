//! What a check finds, one sentence a test.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use super::sample::{Sample, descriptor, meta};
use super::*;
use crate::store::durable;
use crate::store::inodes::{Owners, give, inode_id, set_xattr};
use crate::watch::Unwatched;
use crate::wire::{self, Descriptor};

fn fsck(sample: &Sample) -> Findings {
    check(sample, Depth::Full)
}

fn check(sample: &Sample, depth: Depth) -> Findings {
    let reader = sample.store.read().unwrap();
    verify(&reader, depth, &Unwatched, NonZeroUsize::new(2).unwrap()).unwrap()
}

/// Two images over one base; `bin` is in both, `lib` in the second alone.
fn two_images() -> (Sample, Image, Image) {
    let sample = Sample::new();
    let first = sample.image(
        "a:1",
        &[&[("usr/bin", b"binary bytes"), ("etc/empty", b"")]],
    );
    let layers: [&[sample::File<'_>]; 2] = [
        &[("usr/bin", b"binary bytes"), ("etc/empty", b"")],
        &[("usr/lib/lib", b"library"), ("usr/lib/two", b"library")],
    ];
    let second = sample.image("a:2", &layers);
    (sample, first, second)
}

/// Expects one finding and returns it.
fn only(findings: &Findings) -> Finding {
    assert_eq!(findings.findings.len(), 1, "{:#?}", findings.findings);
    findings.findings[0].clone()
}

fn open(path: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Flips a bit and puts the time back, as bad hardware does.
fn flip(path: &Path) {
    let file = open(path);
    let times = fs::metadata(path).unwrap().modified().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3).unwrap();
    file.set_modified(times).unwrap();
}

fn recipe(sample: &Sample, image: &Image, at: usize) -> PathBuf {
    sample
        .store
        .root()
        .join(paths::recipe(&image.layers[at].diff_id))
}

#[test]
fn a_sound_store_has_no_findings() {
    let (sample, _, _) = two_images();
    let found = fsck(&sample);
    assert!(found.is_sound(), "{found:#?}");
    assert_eq!(
        (
            found.checked.objects,
            found.checked.recipes,
            found.checked.blobs
        ),
        (2, 2, 6)
    );
    assert_eq!(found.checked.nodes, 3 + 4 - 1);
}

#[test]
fn a_flipped_bit_is_found_with_the_images_and_paths_that_need_it() {
    let (sample, _, _) = two_images();
    flip(&sample.object(b"binary bytes"));
    let found = only(&fsck(&sample));
    assert_eq!(found.kind, Kind::Flipped);
    assert_eq!(found.images, ["a:1", "a:2"]);
    assert_eq!(
        (found.paths, found.path_count),
        (vec!["/usr/bin".to_owned()], 2)
    );
    assert!(found.object.starts_with("objects/"));
}

#[test]
fn a_truncated_object_is_found() {
    let (sample, _, _) = two_images();
    open(&sample.object(b"library")).set_len(3).unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::Truncated, ["a:2".to_owned()].as_slice())
    );
    assert_eq!(found.paths, ["/usr/lib/lib", "/usr/lib/two"]);
    assert_eq!(found.detail, "it has 3 bytes, expected 7");
}

#[test]
fn a_missing_object_is_found() {
    let (sample, _, _) = two_images();
    durable::remove(&sample.object(b"library")).unwrap();
    let found = only(&fsck(&sample));
    assert_eq!((found.kind, found.path_count), (Kind::Missing, 2));
}

#[test]
fn a_missing_object_that_no_name_leads_to_is_no_damage() {
    let (sample, _, _) = two_images();
    sample.untag("a:2");
    durable::remove(&sample.object(b"library")).unwrap();
    assert!(fsck(&sample).is_sound());
    assert!(check(&sample, Depth::Quick).is_sound());
    // As long as it is not known what names lead to, it may be needed.
    durable::remove(&sample.store.root().join("index.json")).unwrap();
    let kinds: Vec<Kind> = fsck(&sample).findings.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::NamesUnreadable, Kind::Missing]);
}

#[test]
fn a_mode_changed_through_a_link_is_found() {
    let (sample, _, _) = two_images();
    let link = sample.dir.path().join("link");
    fs::hard_link(sample.object(b"library"), &link).unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o600)).unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(found.kind, Kind::Changed);
    assert!(
        found.detail.contains("mode 0600, expected 0644"),
        "{}",
        found.detail
    );
}

#[test]
fn a_time_changed_through_a_link_is_found() {
    let (sample, _, _) = two_images();
    open(&sample.object(b"library"))
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(found.kind, Kind::Changed);
    assert!(
        found
            .detail
            .contains("mtime 0.000000000, expected 1700000000.000000005"),
        "{}",
        found.detail
    );
}

#[test]
fn an_attribute_set_through_a_link_is_found() {
    let (sample, _, _) = two_images();
    let object = sample.object(b"library");
    if set_xattr(&object, b"user.added", b"1").is_err() {
        return; // This file system takes no attributes.
    }
    assert_eq!(only(&fsck(&sample)).kind, Kind::Changed);
}

#[test]
fn bytes_and_time_written_through_a_link_are_one_finding() {
    let (sample, _, _) = two_images();
    open(&sample.object(b"library"))
        .write_all_at(b"LIBRARY", 0)
        .unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(found.kind, Kind::Flipped);
    assert!(found.detail.contains("through a link"), "{}", found.detail);
}

#[test]
fn an_inode_is_checked_against_its_name() {
    let (sample, _, _) = two_images();
    let made = Owners::of_process().apply(&meta());
    let id = inode_id(&ContentId::of(b"library"), &made);
    let path = sample.store.root().join(sample.store.inode_path(&id));
    durable::create_folder(path.parent().unwrap()).unwrap();
    let file = durable::create_new(&path).unwrap();
    file.write_all_at(b"library", 0).unwrap();
    give(&file, &made).unwrap();
    assert!(fsck(&sample).is_sound());
    flip(&path);
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::Flipped, ["a:2".to_owned()].as_slice())
    );
    assert_eq!(found.paths, ["/usr/lib/lib", "/usr/lib/two"]);
}

#[test]
fn a_missing_recipe_is_found_and_its_blob_pointed_to() {
    let (sample, _, second) = two_images();
    durable::remove(&recipe(&sample, &second, 1)).unwrap();
    let found = fsck(&sample);
    let found = found
        .findings
        .iter()
        .find(|f| f.kind == Kind::RecipeMissing)
        .unwrap();
    assert_eq!(found.images, ["a:2"]);
    assert!(found.detail.contains(&second.layers[1].blob.to_string()));
}

#[test]
fn a_damaged_recipe_is_found() {
    let (sample, _, _) = two_images();
    let (_, second) = (0, sample.image("a:3", &[&[("x", b"only here")]]));
    flip(&recipe(&sample, &second, 0));
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::RecipeDamaged, ["a:3".to_owned()].as_slice())
    );
}

#[test]
fn a_layer_whose_blob_was_dropped_is_sound_and_a_missing_config_is_not() {
    let (sample, first, second) = two_images();
    durable::remove(&sample.store.blob_path(&second.layers[1].blob)).unwrap();
    assert!(fsck(&sample).is_sound());
    durable::remove(&sample.store.blob_path(&first.config)).unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::BlobMissing, ["a:1".to_owned()].as_slice())
    );
}

#[test]
fn a_damaged_document_is_one_finding_and_the_other_images_are_still_checked() {
    let (sample, first, _) = two_images();
    flip(&sample.store.blob_path(&first.manifest));
    flip(&sample.object(b"library"));
    let found = fsck(&sample).findings;
    let kinds: Vec<_> = found.iter().map(|f| (f.kind, f.images.join(" "))).collect();
    assert_eq!(
        kinds,
        [
            (Kind::BlobDamaged, "a:1".to_owned()),
            (Kind::Flipped, "a:2".to_owned())
        ]
    );
}

#[test]
fn a_flipped_bit_in_a_blob_that_nothing_names_is_one_finding() {
    let (sample, _, _) = two_images();
    let digest = sample.document(b"{\"nobody\":\"names this\"}");
    flip(&sample.store.blob_path(&digest));
    assert_eq!(only(&fsck(&sample)).kind, Kind::BlobDamaged);
}

#[test]
fn a_name_that_leads_to_what_is_no_manifest_is_found() {
    let (sample, _, _) = two_images();
    let digest = sample.document(b"[]");
    sample.name("bad:1", Descriptor::new(wire::OCI_MANIFEST, digest, 2));
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.object.as_str()),
        (Kind::NameUnreadable, "bad:1")
    );
}

#[test]
fn an_artifact_needs_its_layers_kept() {
    let (sample, _, _) = two_images();
    let config = descriptor(
        "application/vnd.oci.empty.v1+json",
        &sample.document(b"{}"),
        2,
    );
    let layer = descriptor("text/plain", &sample.document(b"artifact"), 8);
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    let digest = sample.document(text.as_bytes());
    sample.name(
        "art:1",
        Descriptor::new(wire::OCI_MANIFEST, digest, text.len() as u64),
    );
    assert!(fsck(&sample).is_sound());
    durable::remove(&sample.store.blob_path(&Digest::sha256(b"artifact"))).unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::BlobMissing, ["art:1".to_owned()].as_slice())
    );
}

#[test]
fn a_missing_index_of_names_is_found_and_the_files_are_still_checked() {
    let (sample, _, _) = two_images();
    durable::remove(&sample.store.root().join("index.json")).unwrap();
    flip(&sample.object(b"library"));
    let kinds: Vec<_> = fsck(&sample).findings.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::NamesUnreadable, Kind::Flipped]);
}

#[test]
fn a_record_that_disagrees_with_its_documents_is_found() {
    let (sample, first, _) = two_images();
    let other = Image {
        platform: "linux/arm64".to_owned(),
        ..first
    };
    sample
        .store
        .change_catalog(|change| change.put_image(&other))
        .unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::CatalogDisagrees, ["a:1".to_owned()].as_slice())
    );
    assert!(found.detail.contains("platform"), "{}", found.detail);
}

#[test]
fn a_tree_node_that_is_not_what_its_name_says_is_found_with_its_images() {
    let (sample, first, _) = two_images();
    let root = first.root;
    sample
        .store
        .change_catalog(|c| c.put_nodes([(&root, &b"no node"[..])].into_iter()))
        .unwrap();
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::CatalogDisagrees, ["a:1".to_owned()].as_slice())
    );
    assert_eq!(found.paths, ["/"]);
}

#[test]
fn a_tree_with_a_file_that_no_layer_carries_is_found() {
    let (sample, first, second) = two_images();
    // The first image's record leads to the second's tree, which has a file more.
    let other = Image {
        root: second.root,
        ..first
    };
    durable::remove(&sample.object(b"library")).unwrap();
    sample.untag("a:2");
    durable::remove(&recipe(&sample, &second, 1)).unwrap();
    sample
        .store
        .change_catalog(|change| change.put_image(&other))
        .unwrap();
    let found = fsck(&sample).findings;
    assert!(
        found.iter().all(|f| f.kind == Kind::CatalogDisagrees) && !found.is_empty(),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.detail.contains("no layer carries") && f.paths == ["/usr/lib"]),
        "{found:#?}"
    );
}

#[test]
fn a_chain_without_its_tree_is_found() {
    let (sample, _, _) = two_images();
    let chain = crate::digest::ChainId(Digest::sha256(b"some chain"));
    sample
        .store
        .change_catalog(|c| c.put_chain(&chain, &TreeId::of(b"gone")))
        .unwrap();
    assert_eq!(only(&fsck(&sample)).kind, Kind::CatalogDisagrees);
}

#[test]
fn a_torn_catalog_is_found_and_left_as_it_is() {
    for len in [0, 100, 5_000, 20_000] {
        let (sample, _, _) = two_images();
        let path = sample.store.root().join("catalog.redb");
        open(&path).set_len(len).unwrap();
        assert_eq!(
            only(&fsck(&sample)).kind,
            Kind::CatalogDisagrees,
            "of {len} bytes"
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), len);
    }
}

#[test]
fn without_a_catalog_the_images_of_damage_are_named_all_the_same() {
    let (sample, _, _) = two_images();
    durable::remove(&sample.store.root().join("catalog.redb")).unwrap();
    flip(&sample.object(b"library"));
    let found = only(&fsck(&sample));
    assert_eq!(
        (found.kind, found.images.as_slice()),
        (Kind::Flipped, ["a:2".to_owned()].as_slice())
    );
}

#[test]
fn a_recomputed_root_that_differs_is_noted() {
    let (sample, first, second) = two_images();
    let mut found = fsck(&sample);
    found.note_root(&first, &["a:1".to_owned()], &first.root);
    assert!(found.is_sound());
    found.note_root(&first, &["a:1".to_owned()], &second.root);
    assert_eq!(only(&found).kind, Kind::CatalogDisagrees);
}
