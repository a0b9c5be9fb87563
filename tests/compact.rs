//! `compact` from outside: what can be made again goes, comes back bit for bit, and what cannot stays.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it writes is its own"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A store with an image `a:1` that was made here, and the sample, whose layers others made.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let root = place.path("root");
        fs::create_dir(&root).unwrap();
        let text: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
        fs::write(root.join("text"), text).unwrap();
        fs::write(root.join("small"), "a file").unwrap();
        place.ok(&["commit", root.to_str().unwrap(), "a:1"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("ocistore").unwrap();
        command
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn report(&self, args: &[&str]) -> Value {
        let value: Value = serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap();
        value["report"].clone()
    }

    /// Returns the blobs of a layout that an image was exported to, by their names.
    fn export(&self, name: &str, to: &str) -> Vec<(String, Vec<u8>)> {
        let folder = self.path(to);
        self.ok(&["export", name, &format!("oci:{}", folder.display())]);
        let entries = fs::read_dir(folder.join("blobs/sha256")).unwrap();
        let mut blobs: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        blobs.sort();
        blobs
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.path("store").join(folder).join("sha256");
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

#[test]
fn a_layer_that_was_dropped_is_exported_bit_for_bit() {
    let place = Place::new();
    let before = place.export("a:1", "before");
    let report = place.report(&["compact"]);
    assert_eq!(
        (report["blobs"].as_u64(), place.files("streams").len()),
        (Some(1), 1)
    );
    assert_eq!(place.files("blobs").len(), before.len() - 1);
    assert_eq!(place.export("a:1", "after"), before);
    // Nothing is left to do, and all is sound.
    assert_eq!(place.report(&["compact"])["blobs"], 0);
    place.ok(&["fsck"]);
}

#[test]
fn a_copy_of_the_store_gives_the_same() {
    let place = Place::new();
    let before = place.export("a:1", "before");
    place.ok(&["compact"]);
    let copy = place.path("copy");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .args([place.path("store"), copy.clone()])
        .status();
    assert!(status.unwrap().success());
    fs::remove_dir_all(place.path("store")).unwrap();
    fs::rename(copy, place.path("store")).unwrap();
    assert_eq!(place.export("a:1", "after"), before);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_the_real_one_does() {
    let place = Place::new();
    let blobs = place.files("blobs");
    let format = || fs::read_to_string(place.path("store/format")).unwrap();
    let before = format();
    let dry = place.report(&["compact", "--dry-run"]);
    assert_eq!(
        (place.files("blobs"), place.files("streams").len()),
        (blobs, 0)
    );
    assert_eq!(format(), before);
    let real = place.report(&["compact"]);
    for field in [
        "blobs",
        "bytes",
        "recipe_bytes",
        "encoders",
        "kept",
        "kept_bytes",
    ] {
        assert_eq!(dry[field], real[field], "{field}");
    }
    assert_eq!(real["bytes"], real["freed_bytes"]);
    // An ocistore that knows no compression recipes would give other digests.
    assert!(format().contains("incompatible: streams"));
}

#[test]
fn what_an_artifact_needs_as_it_is_stays() {
    let place = Place::new();
    let layer = place.report(&["compact", "--dry-run"]);
    assert_eq!(layer["blobs"], 1);
    let manifest: Value = serde_json::from_str(&place.ok(&["inspect", "a:1", "--raw"])).unwrap();
    // An artifact whose file is the very blob that is the image's layer.
    let layout = place.path("artifact");
    place.export("a:1", "artifact");
    let empty = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;
    fs::write(
        layout
            .join("blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        "{}",
    )
    .unwrap();
    let (digest, size) = (
        &manifest["layers"][0]["digest"],
        &manifest["layers"][0]["size"],
    );
    let artifact = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/x","config":{empty},"layers":[{{"mediaType":"text/plain","digest":{digest},"size":{size}}}]}}"#
    );
    put(&layout, &artifact);
    place.ok(&["import", layout.to_str().unwrap(), "--name", "artifact:1"]);
    let report = place.report(&["compact"]);
    assert_eq!(report["blobs"], 0);
    let why = report["kept"][0]["why"].as_str().unwrap();
    assert!(why.contains("something else than a layer"), "{why}");
    place.ok(&["fsck"]);
}

/// Makes a document the only one that a layout names.
fn put(layout: &Path, document: &str) {
    use std::io::Write as _;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(document.as_bytes())
        .unwrap();
    let sum = child.wait_with_output().unwrap().stdout;
    let hex = String::from_utf8(sum).unwrap()[..64].to_owned();
    fs::write(layout.join("blobs/sha256").join(&hex), document).unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{hex}","size":{}}}]}}"#,
        document.len()
    );
    fs::write(layout.join("index.json"), index).unwrap();
}

#[test]
fn a_layer_that_is_needed_no_more_goes_with_its_compression_recipe() {
    let place = Place::new();
    place.ok(&["compact"]);
    place.ok(&["untag", "a:1"]);
    let report = place.report(&["gc"]);
    assert_eq!(report["streams"]["deleted"], 1);
    assert_eq!(place.files("streams").len() + place.files("blobs").len(), 0);
}

#[test]
fn a_damaged_compression_recipe_is_found_and_mended_from_another_copy() {
    let place = Place::new();
    let before = place.export("a:1", "before");
    place.ok(&["compact"]);
    let recipe = place.files("streams").pop().unwrap();
    let mut bytes = fs::read(&recipe).unwrap();
    bytes[60] ^= 1;
    fs::write(&recipe, bytes).unwrap();
    let found = place.run(&["fsck", "--json"]);
    assert_eq!(found.status.code(), Some(3));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let finding = &found["report"]["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["images"][0]),
        (&"stream_damaged".into(), &"a:1".into())
    );
    let refused = place.run(&[
        "export",
        "a:1",
        &format!("oci:{}", place.path("no").display()),
    ]);
    assert_eq!(refused.status.code(), Some(3));
    place.ok(&[
        "fsck",
        "--repair",
        "--from",
        place.path("before").to_str().unwrap(),
    ]);
    place.ok(&["fsck"]);
    assert_eq!(place.export("a:1", "after"), before);
}

#[test]
fn a_blob_that_can_no_more_be_made_again_is_found() {
    let place = Place::new();
    place.ok(&["compact"]);
    let objects = place.path("store/objects");
    let found = std::process::Command::new("find")
        .arg(&objects)
        .args(["-type", "f", "-size", "-2"])
        .output()
        .unwrap();
    let path = String::from_utf8(found.stdout).unwrap();
    fs::write(path.lines().next().unwrap(), "b file").unwrap();
    let refused = place.run(&[
        "export",
        "a:1",
        &format!("oci:{}", place.path("no").display()),
    ]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(!place.path("no/index.json").exists());
    assert_eq!(place.run(&["fsck"]).status.code(), Some(3));
}

#[test]
fn an_import_with_auto_keeps_no_layer_that_is_made_again() {
    let place = Place::new();
    let before = place.export("a:1", "before");
    place.ok(&["compact"]);
    let kept = place.files("blobs");
    let layout = place.path("before");
    let import = [
        "import",
        layout.to_str().unwrap(),
        "--name",
        "b:1",
        "--blobs",
    ];
    place.ok(&[&import[..], &["auto"]].concat());
    assert_eq!(place.files("blobs"), kept);
    assert_eq!(place.export("b:1", "again"), before);
    // Whoever wants it kept gets that.
    place.ok(&[&import[..], &["keep"]].concat());
    assert_eq!(place.files("blobs").len(), kept.len() + 1);
}

#[test]
fn an_import_with_auto_says_what_became_of_each_new_layer() {
    let place = Place::new();
    let before = place.export("a:1", "before");
    let layout = place.path("before");
    fs::remove_dir_all(place.path("store")).unwrap();
    let args = [
        "import",
        layout.to_str().unwrap(),
        "--name",
        "b:1",
        "--blobs",
        "auto",
        "--json",
    ];
    let value: Value = serde_json::from_str(&place.ok(&args)).unwrap();
    let compacted = &value["compacted"];
    let dropped = compacted["blobs"].as_u64().unwrap();
    let kept = compacted["kept"].as_array().unwrap().len() as u64;
    // How long the proof takes is up to the machine.
    assert_eq!(dropped + kept, 1, "{compacted}");
    assert_eq!(place.files("streams").len() as u64, dropped);
    assert_eq!(
        place.files("blobs").len() as u64,
        before.len() as u64 - dropped
    );
    assert_eq!(place.export("b:1", "again"), before);
    let df: Value = serde_json::from_str(&place.ok(&["df", "--json"])).unwrap();
    let bytes = &df["bytes"];
    let (kept, made) = (
        bytes["kept"].as_u64().unwrap(),
        bytes["regenerable"].as_u64().unwrap(),
    );
    assert_eq!(kept + made, bytes["compressed"].as_u64().unwrap());
    assert_eq!(made > 0, dropped > 0);
}
