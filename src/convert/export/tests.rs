//! Sentences about exports, on a small store made by hand.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::convert::source::Source;
use crate::digest::DiffId;
use crate::limits::Limits;
use crate::meta::Meta;
use crate::recipe::ContentRef;
use crate::reference::Pick;
use crate::store::locks::Wait;
use crate::store::{Store, durable};
use crate::watch::Unwatched;
use crate::wire;

const CONTENT: &[u8] = b"some file's content";
const TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A store with one image of two layers, one gzip and one plain, and an index over it.
struct Fixture {
    dir: TempDir,
    store: Store,
    tar: Vec<u8>,
    layers: [Digest; 2],
    manifest: Descriptor,
    index: Descriptor,
}

/// Adds a layer whose tar is `head`, the content, `tail`; returns the tar.
fn add_layer(store: &Store, head: &[u8], tail: &[u8]) -> Vec<u8> {
    let writer = store.write().unwrap();
    let meta = Meta {
        mode: 0o644,
        ..Meta::default()
    };
    let id = writer.add_object(CONTENT, &meta).unwrap();
    let mut recipe = writer.begin_recipe().unwrap();
    recipe.literal(head).unwrap();
    recipe.content(None).unwrap();
    recipe.literal(tail).unwrap();
    let tar = [head, CONTENT, tail].concat();
    let content = ContentRef {
        id,
        size: CONTENT.len() as u64,
    };
    recipe
        .finish(
            &DiffId(Digest::sha256(&tar)),
            tar.len() as u64,
            1,
            &[content],
        )
        .unwrap();
    writer.publish().unwrap();
    tar
}

fn add_blob(store: &Store, bytes: &[u8]) -> Digest {
    let writer = store.write().unwrap();
    let digest = Digest::sha256(bytes);
    let mut stage = writer.stage_blob(&digest).unwrap();
    stage.write(bytes).unwrap();
    stage.finish().unwrap();
    writer.publish().unwrap();
    digest
}

fn add_document(store: &Store, media_type: &str, value: &Value) -> Descriptor {
    let bytes = value.to_string().into_bytes();
    Descriptor::new(media_type, add_blob(store, &bytes), bytes.len() as u64)
}

/// Two members make other bytes than a compressor of today would.
fn gzip(tar: &[u8]) -> Vec<u8> {
    let (a, b) = tar.split_at(3);
    let member = |bytes: &[u8]| {
        let mut packer = Compression::Gzip.writer(Vec::new()).unwrap();
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    [member(a), member(b)].concat()
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
    let tar = add_layer(&store, b"head of one", b"tail");
    let plain = add_layer(&store, b"head of two", &[0; 1024]);
    let packed = gzip(&tar);
    let layers = [add_blob(&store, &packed), add_blob(&store, &plain)];
    let diff_ids = [&tar, &plain].map(|tar| Digest::sha256(tar).to_string());
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = add_document(&store, wire::OCI_CONFIG, &config);
    let manifest = json!({ "schemaVersion": 2, "later": [1, 2.5], "mediaType": wire::OCI_MANIFEST,
        "config": config.raw,
        "layers": [
            { "x": 1, "mediaType": TYPE, "digest": layers[0].to_string(), "size": packed.len(),
              "annotations": { "keep": "me", "containerd.io/snapshot/stargz/toc.digest": "old" } },
            Value::Object(Descriptor::new(wire::OCI_LAYER, layers[1], plain.len() as u64).raw),
        ] });
    let manifest = add_document(&store, wire::OCI_MANIFEST, &manifest);
    let note = add_document(
        &store,
        wire::OCI_MANIFEST,
        &json!({ "schemaVersion": 2, "config":
        { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": add_blob(&store, b"{}").to_string() },
        "layers": [], "subject": manifest.raw }),
    );
    let mut note_entry = note.raw.clone();
    note_entry.insert(
        "annotations".to_owned(),
        json!({ "vnd.docker.reference.digest": manifest.digest.to_string() }),
    );
    let index = json!({ "schemaVersion": 2, "mediaType": wire::OCI_INDEX,
        "manifests": [manifest.raw, note_entry] });
    let index = add_document(&store, wire::OCI_INDEX, &index);
    Fixture {
        dir,
        store,
        tar,
        layers,
        manifest,
        index,
    }
}

impl Fixture {
    fn to(&self, place: &str) -> PathBuf {
        self.dir.path().join(place)
    }

    fn export(
        &self,
        names: &[&str],
        place: &Place,
        recompress: Option<Compression>,
    ) -> Result<ExportReport> {
        let images: Vec<Export> = names
            .iter()
            .map(|name| Export {
                descriptor: self.index.clone(),
                name: (*name).to_owned(),
            })
            .collect();
        let options = Options {
            recompress,
            jobs: 2,
        };
        export(
            &self.store.read().unwrap(),
            &images,
            place,
            &options,
            &Unwatched,
        )
    }

    fn layout(&self, place: &str, recompress: Option<Compression>) -> Result<ExportReport> {
        self.export(
            &["12"],
            &Place::Layout(self.to(place), Pick::All),
            recompress,
        )
    }

    fn open(&self, place: &str) -> Source {
        let scratch = || Ok(tempfile::tempfile().unwrap());
        {
            let place = Place::Path(self.to(place), Pick::All);
            Source::open(&place, &Limits::default(), &scratch).unwrap()
        }
    }

    fn drop_blob(&self, digest: &Digest) {
        durable::remove(&self.store.blob_path(digest)).unwrap();
    }
}

fn blob(source: &Source, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    source
        .open_blob(digest)
        .unwrap()
        .unwrap()
        .reader()
        .read_to_end(&mut bytes)
        .unwrap();
    assert!(digest.matches(&bytes), "{digest}");
    bytes
}

fn json_of(source: &Source, digest: &Digest) -> Value {
    serde_json::from_slice(&blob(source, digest)).unwrap()
}

fn digest_in(value: &Value) -> Digest {
    Digest::parse(value["digest"].as_str().unwrap()).unwrap()
}

/// The whole tree of files and their bytes, to compare.
fn files_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_blob_of_an_exported_layout_is_byte_for_byte_the_stores() {
    let fixture = fixture();
    let report = fixture.layout("out", None).unwrap();
    assert!(report.new_digests.is_empty());
    assert_eq!(report.images[0].new, fixture.index.digest);
    assert_eq!((report.blobs_written, report.blobs_present), (7, 0));
    let source = fixture.open("out");
    assert_eq!(source.roots()[0].name_hint.as_deref(), Some("12"));
    let reach = Reach::of(&fixture.store, std::slice::from_ref(&fixture.index)).unwrap();
    for digest in reach
        .documents
        .keys()
        .chain(reach.blobs.keys())
        .chain(reach.layers.keys())
    {
        blob(&source, digest);
    }
    let names: Vec<_> = fs::read_dir(fixture.to("out"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn what_a_layout_has_is_not_written_again_unless_it_is_damaged() {
    let fixture = fixture();
    fixture.layout("out", None).unwrap();
    let again = fixture.layout("out", None).unwrap();
    assert_eq!((again.blobs_written, again.blobs_present), (0, 7));
    let path = fixture
        .to("out")
        .join(format!("blobs/sha256/{}", fixture.layers[1].hex()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(&bytes)
        .unwrap();
    assert_eq!(fixture.layout("out", None).unwrap().blobs_written, 1);
    blob(&fixture.open("out"), &fixture.layers[1]);
}

#[test]
fn names_that_are_in_a_layout_stay() {
    let fixture = fixture();
    fixture.layout("out", None).unwrap();
    let place = Place::Layout(fixture.to("out"), Pick::All);
    fixture
        .export(&["13", "14"], &place, Some(Compression::Zstd))
        .unwrap();
    let source = fixture.open("out");
    let names: Vec<_> = source
        .roots()
        .iter()
        .map(|r| r.name_hint.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["12", "13", "14"]);
    assert_eq!(source.roots()[0].descriptor.digest, fixture.index.digest);
}

#[test]
fn exports_side_by_side_lose_no_name() {
    let fixture = fixture();
    let names: Vec<String> = (0..8).map(|i| format!("v{i}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let place = Place::Layout(fixture.to("out"), Pick::All);
            let fixture = &fixture;
            scope.spawn(move || fixture.export(&[name], &place, None).unwrap());
        }
    });
    let mut found: Vec<_> = fixture
        .open("out")
        .roots()
        .iter()
        .map(|r| r.name_hint.clone().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

#[test]
fn a_damaged_blob_is_named_and_nothing_else_is() {
    let fixture = fixture();
    let path = fixture.store.blob_path(&fixture.layers[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[9] ^= 1;
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all(&bytes)
        .unwrap();
    let error = fixture.layout("out", None).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.to_string().contains(&fixture.layers[0].to_string()),
        "{error}"
    );
    assert!(!fixture.to("out").exists());
    fs::create_dir(fixture.to("there")).unwrap();
    assert_eq!(fixture.layout("there", None).unwrap_err().exit_code(), 3);
    assert!(files_below(&fixture.to("there")).is_empty());
    let archive = Place::OciArchive(fixture.to("out.tar"), Pick::All);
    assert_eq!(
        fixture
            .export(&["12"], &archive, None)
            .unwrap_err()
            .exit_code(),
        3
    );
    assert!(!fixture.to("out.tar").exists());
}

#[test]
fn a_dropped_layer_is_made_anew_and_everything_above_it_says_so() {
    let fixture = fixture();
    fixture.drop_blob(&fixture.layers[0]);
    let report = fixture.layout("out", None).unwrap();
    let source = fixture.open("out");
    let index = json_of(&source, &report.images[0].new);
    let manifest_digest = digest_in(&index["manifests"][0]);
    let manifest = json_of(&source, &manifest_digest);
    let layer = &manifest["layers"][0];
    let packed = blob(&source, &digest_in(layer));
    let mut tar = Vec::new();
    Compression::Gzip
        .reader(&packed[..])
        .unwrap()
        .read_to_end(&mut tar)
        .unwrap();
    assert_eq!(tar, fixture.tar);
    assert_eq!(layer["size"], packed.len());
    assert_eq!(
        (&layer["x"], &layer["mediaType"]),
        (&json!(1), &json!(TYPE))
    );
    assert_eq!(layer["annotations"], json!({ "keep": "me" }));
    assert_eq!(manifest["later"], json!([1, 2.5]));
    assert_eq!(digest_in(&manifest["layers"][1]), fixture.layers[1]);
    let note = &index["manifests"][1];
    assert_eq!(
        note["annotations"]["vnd.docker.reference.digest"],
        manifest_digest.to_string()
    );
    assert_eq!(
        digest_in(&json_of(&source, &digest_in(note))["subject"]),
        manifest_digest
    );
    // The layer, its manifest, what refers to that, and the index.
    assert_eq!(report.new_digests.len(), 4);
    assert!(
        report
            .new_digests
            .contains(&(fixture.manifest.digest, manifest_digest))
    );
    assert!(
        source
            .open_blob(&fixture.manifest.digest)
            .unwrap()
            .is_none()
    );
    assert_eq!(
        fixture.layout("again", None).unwrap().new_digests,
        report.new_digests
    );
    assert_eq!(
        files_below(&fixture.to("out"))
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect::<Vec<_>>(),
        files_below(&fixture.to("again"))
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_dropped_plain_layer_comes_back_as_it_was() {
    let fixture = fixture();
    fixture.drop_blob(&fixture.layers[1]);
    let report = fixture.layout("out", None).unwrap();
    assert!(report.new_digests.is_empty());
    blob(&fixture.open("out"), &fixture.layers[1]);
    let archive = Place::OciArchive(fixture.to("out.tar"), Pick::All);
    fixture.export(&["12"], &archive, None).unwrap();
    blob(&fixture.open("out.tar"), &fixture.layers[1]);
}

#[test]
fn recompressing_changes_only_what_is_compressed_otherwise() {
    let fixture = fixture();
    for (compression, media_type, new) in [
        (Compression::Gzip, TYPE, [false, true]),
        (Compression::None, wire::OCI_LAYER, [true, false]),
        (
            Compression::Zstd,
            "application/vnd.oci.image.layer.v1.tar+zstd",
            [true, true],
        ),
    ] {
        let place = compression.name();
        let report = fixture.layout(place, Some(compression)).unwrap();
        let source = fixture.open(place);
        let index = json_of(&source, &report.images[0].new);
        let manifest = json_of(&source, &digest_in(&index["manifests"][0]));
        for i in 0..2 {
            let layer = &manifest["layers"][i];
            assert_eq!(layer["mediaType"], media_type);
            assert_eq!(digest_in(layer) != fixture.layers[i], new[i], "{place} {i}");
            assert_eq!(
                Compression::sniff(&blob(&source, &digest_in(layer))),
                compression
            );
        }
    }
}

#[test]
fn an_archive_is_the_same_bytes_every_time_and_holds_every_blob() {
    let fixture = fixture();
    let place = |name: &str| Place::OciArchive(fixture.to(name), Pick::All);
    let report = fixture.export(&["12"], &place("a.tar"), None).unwrap();
    fixture.export(&["12"], &place("b.tar"), None).unwrap();
    fixture.export(&["12"], &place("b.tar"), None).unwrap();
    assert_eq!(
        fs::read(fixture.to("a.tar")).unwrap(),
        fs::read(fixture.to("b.tar")).unwrap()
    );
    assert_eq!(report.blobs_written, 7);
    let source = fixture.open("a.tar");
    assert_eq!(source.roots()[0].descriptor.digest, fixture.index.digest);
    for digest in fixture.layers {
        blob(&source, &digest);
    }
    let left = fs::read_dir(fixture.dir.path()).unwrap().count();
    assert_eq!(left, 3, "the store and two archives");
}

#[test]
fn a_docker_archive_holds_config_and_plain_layers() {
    let fixture = fixture();
    fixture.drop_blob(&fixture.layers[0]);
    let place = Place::DockerArchive(fixture.to("saved.tar"), Pick::All);
    fixture
        .export(&["debian:12", "debian:bookworm"], &place, None)
        .unwrap();
    let source = fixture.open("saved.tar");
    let names: Vec<_> = source
        .roots()
        .iter()
        .map(|r| r.name_hint.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["debian:12", "debian:bookworm"]);
    let manifest = json_of(&source, &source.roots()[0].descriptor.digest);
    let layers: Vec<Digest> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(digest_in)
        .collect();
    assert_eq!(layers, [Digest::sha256(&fixture.tar), fixture.layers[1]]);
    assert_eq!(blob(&source, &layers[0]), fixture.tar);
    assert_eq!(
        digest_in(&manifest["config"]),
        digest_in(&json_of(&fixture_layout(&fixture), &fixture.manifest.digest)["config"])
    );
}

/// The same image with nothing dropped, as a layout.
fn fixture_layout(fixture: &Fixture) -> Source {
    add_blob(&fixture.store, &gzip(&fixture.tar));
    fixture.layout("whole", None).unwrap();
    fixture.open("whole")
}

#[test]
fn two_images_of_one_name_are_refused() {
    let fixture = fixture();
    let images = [&fixture.index, &fixture.manifest].map(|descriptor| Export {
        descriptor: descriptor.clone(),
        name: "12".to_owned(),
    });
    let place = Place::Layout(fixture.to("out"), Pick::All);
    let reader = fixture.store.read().unwrap();
    let error = export(&reader, &images, &place, &Options::default(), &Unwatched).unwrap_err();
    assert_eq!(error.exit_code(), 64);
    assert!(
        error
            .to_string()
            .contains(&fixture.index.digest.to_string()),
        "{error}"
    );
    assert!(!fixture.to("out").exists());
}

#[test]
fn what_is_neither_layout_nor_new_is_left_alone() {
    let fixture = fixture();
    fs::create_dir(fixture.to("photos")).unwrap();
    durable::create_new(&fixture.to("photos/cat")).unwrap();
    assert_eq!(fixture.layout("photos", None).unwrap_err().exit_code(), 2);
    assert_eq!(fixture.layout("store", None).unwrap_err().exit_code(), 64);
    assert_eq!(
        fixture.layout("photos/cat", None).unwrap_err().exit_code(),
        64
    );
    let path = Place::Path(fixture.to("photos/cat"), Pick::All);
    assert_eq!(
        fixture
            .export(&["12"], &path, None)
            .unwrap_err()
            .exit_code(),
        64
    );
    let folder = Place::OciArchive(fixture.to("photos"), Pick::All);
    assert_eq!(
        fixture
            .export(&["12"], &folder, None)
            .unwrap_err()
            .exit_code(),
        64
    );
    assert_eq!(files_below(&fixture.to("photos")).len(), 1);
}

#[test]
fn what_an_export_that_died_left_behind_goes_with_the_next() {
    let fixture = fixture();
    fixture.layout("out", None).unwrap();
    fs::create_dir(fixture.to("out/.ocistore-dead")).unwrap();
    durable::create_new(&fixture.to("out/.ocistore-dead/blob.0")).unwrap();
    let alive = stage::Stage::new(&fixture.to("out")).unwrap();
    fixture.layout("out", None).unwrap();
    assert!(!fixture.to("out/.ocistore-dead").exists());
    assert!(alive.path().exists());
}

/// Says to stop after so many bytes.
struct StopAfter(AtomicU64);

impl Watch for StopAfter {
    fn begin(&self, _what: &str, _total: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }

    fn end(&self) {}

    fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn an_interrupted_export_leaves_the_place_as_it_was() {
    let fixture = fixture();
    let images = [Export {
        descriptor: fixture.index.clone(),
        name: "12".to_owned(),
    }];
    for after in [0, 1, 500, 1500] {
        for recompress in [None, Some(Compression::Zstd)] {
            let place = Place::Layout(fixture.to("out"), Pick::All);
            let reader = fixture.store.read().unwrap();
            let watch = StopAfter(AtomicU64::new(after));
            let options = Options {
                recompress,
                jobs: 1,
            };
            let error = export(&reader, &images, &place, &options, &watch).unwrap_err();
            assert_eq!(error.exit_code(), 130, "{after} {error}");
            assert!(!fixture.to("out").exists());
        }
    }
}
