//! What `fsck` finds quickly and what `fsck --repair` mends, from outside: each kind of damage, each source of mending.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it damages is its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const NAMES: [&str; 5] = [
    "sample:1",
    "sample:2",
    "sample:zstd",
    "sample:plain",
    "sample:multi",
];

/// What is in `etc/passwd` of every image of the sample, the beginning of it.
const PASSWD: &str = "etc/passwd";

/// A store of its own, beside a folder to write to.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new(import: &[&str]) -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        place.ok(&[&["import"], import].concat());
        place
    }

    fn with_sample() -> Self {
        Self::new(&[&sample()])
    }

    /// A store of the plain image alone: none of its layers is kept as a blob.
    fn plain() -> Self {
        Self::new(&[&format!("oci:{}:plain", sample())])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
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
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{args:?}: {errors}{printed}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    /// Runs `fsck` and expects this exit code.
    fn fsck(&self, args: &[&str], code: i32) -> Value {
        let output = self.run(&[&["fsck", "--json"], args].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.stdout.is_empty(), "{errors}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{value:#}");
        assert_eq!(value["schema"], 1);
        assert_eq!(value["sound"], code == 0);
        value
    }

    /// Repairs everything; returns what was mended.
    fn repair(&self, args: &[&str]) -> Vec<Value> {
        let value = self.fsck(&[&["--repair"], args].concat(), 0);
        assert!(value["unmended"].as_array().unwrap().is_empty());
        value["repairs"].as_array().unwrap().clone()
    }

    /// Returns the kinds and objects that a check finds.
    fn kinds(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(&[&["fsck", "--json"], args].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        kinds_of(&value["report"]["findings"])
    }

    /// Lists all files below a folder of the store.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let folder = self.path("store").join(folder);
        if folder.exists() {
            walk(&folder, &mut found);
        }
        found.sort();
        found
    }

    /// The file in a folder of the store with these bytes.
    fn holding(&self, folder: &str, bytes: &[u8]) -> PathBuf {
        let files = self.files(folder).into_iter();
        let mut files = files.filter(|path| fs::read(path).unwrap() == bytes);
        files.next().unwrap()
    }

    /// The object of a file of an image.
    fn object(&self, path: &str) -> PathBuf {
        self.holding("objects", &content(path))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.path("store/blobs").join(digest.replace(':', "/"))
    }

    fn recipe(&self, layer: &str) -> PathBuf {
        self.path("store/layers").join(layer.replace(':', "/"))
    }

    fn documents(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "--json", name])).unwrap()
    }

    /// The digest of an image's layer.
    fn layer(&self, name: &str, at: usize) -> String {
        let layer = &self.documents(name)["manifest"]["layers"][at]["digest"];
        layer.as_str().unwrap().to_owned()
    }

    fn diff_id(&self, name: &str, at: usize) -> String {
        let config: Value = serde_json::from_str(&self.ok(&["inspect", "--config", name])).unwrap();
        let diff_id = &config["rootfs"]["diff_ids"][at];
        diff_id.as_str().unwrap().to_owned()
    }

    /// Asserts that nothing is wrong: a check, every blob of an export, and a checkout.
    fn is_as_new(&self, names: &[&str]) {
        self.fsck(&[], 0);
        self.fsck(&["--quick"], 0);
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let layout = out.path().join("layout");
        let destination = layout.to_str().unwrap();
        self.ok(&[&["export"], names, &[destination]].concat());
        let of_sample = PathBuf::from(sample());
        let mut blobs = Vec::new();
        walk(&layout.join("blobs"), &mut blobs);
        for blob in blobs {
            let same = of_sample.join(blob.strip_prefix(&layout).unwrap());
            assert!(fs::read(&blob).unwrap() == fs::read(same).unwrap());
        }
        let other = Self::with_sample();
        for name in names.iter().filter(|name| **name != "sample:multi") {
            let (ours, theirs) = (out.path().join("tree"), other.path("tree"));
            self.ok(&["checkout", name, ours.to_str().unwrap()]);
            other.ok(&["checkout", name, theirs.to_str().unwrap()]);
            assert_eq!(tree(&ours), tree(&theirs), "{name}");
            fs::remove_dir_all(&ours).unwrap();
            fs::remove_dir_all(&theirs).unwrap();
        }
    }
}

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
    path.to_str().unwrap().to_owned()
}

/// The bytes of a file of the sample's first image.
fn content(path: &str) -> Vec<u8> {
    let place = Place::new(&[&format!("oci:{}:1", sample())]);
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    fs::read(place.path("tree").join(path)).unwrap()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Everything that a host shows of a tree but link counts.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = Vec::new();
    walk(root, &mut found);
    let show = |path: PathBuf| {
        let seen = fs::symlink_metadata(&path).unwrap();
        let bytes = match seen.is_file() {
            true => format!("{:?}", fs::read(&path).unwrap()),
            false => format!("{:?}", fs::read_link(&path).ok()),
        };
        let (mode, owner) = (seen.mode(), (seen.uid(), seen.gid()));
        let time = (seen.mtime(), seen.mtime_nsec());
        let below = path.strip_prefix(root).unwrap().to_owned();
        (below, format!("{mode:o} {owner:?} {time:?} {bytes}"))
    };
    found.into_iter().map(show).collect()
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
    let time = file.metadata().unwrap().modified().unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.set_modified(time).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn kinds_of(findings: &Value) -> Vec<String> {
    let findings = findings.as_array().unwrap().iter();
    let kind = |finding: &Value| finding["kind"].as_str().unwrap().to_owned();
    findings.map(kind).collect()
}

/// Expects one repair; returns where it came from.
fn only(repairs: &[Value], kind: &str) -> String {
    assert_eq!(repairs.len(), 1, "{repairs:#?}");
    assert_eq!(repairs[0]["kind"], kind, "{repairs:#?}");
    repairs[0]["from"].as_str().unwrap().to_owned()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// All files of a store and their bytes, without locks and what commands leave of themselves.
fn snapshot(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["blobs", "objects", "inodes", "layers", "lost+found", "tmp"] {
        for path in place.files(folder) {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

type Damage = fn(&Path);

type Harm = (&'static str, &'static str, Damage);

/// What can happen to a file, as what it is found, for objects.
const HARMS: [Harm; 4] = [
    ("a flipped bit", "flipped", flip),
    ("a file cut off", "truncated", |path| {
        open(path).set_len(1).unwrap();
    }),
    ("a file that is gone", "missing", |path| {
        fs::remove_file(path).unwrap();
    }),
    ("bytes appended", "flipped", |path| {
        let file = open(path);
        let len = file.metadata().unwrap().len();
        file.write_all_at(b"more", len).unwrap();
    }),
];

#[test]
fn a_damaged_object_is_mended_from_a_kept_layer() {
    for (what, kind, harm) in HARMS {
        let place = Place::with_sample();
        harm(&place.object(PASSWD));
        let repairs = place.repair(&[]);
        let from = only(&repairs, kind);
        assert!(from.starts_with("the kept layer sha256:"), "{what}: {from}");
        assert_eq!(repairs[0]["paths"][0], "/etc/passwd", "{what}");
        let kept = repairs[0]["kept_as"].as_str();
        assert_eq!(kept.is_some(), kind != "missing", "{what}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_damaged_object_is_mended_from_every_kind_of_source() {
    let other = Place::with_sample();
    let archive = format!("oci-archive:{}", other.text("a.tar"));
    let docker = format!("docker-archive:{}", other.text("d.tar"));
    other.ok(&["export", "sample:1", &archive]);
    other.ok(&["export", "sample:1", &docker]);
    for source in [format!("oci:{}:1", sample()), sample(), archive, docker] {
        for (what, kind, harm) in HARMS {
            let place = Place::plain();
            harm(&place.object(PASSWD));
            let left = place.fsck(&["--repair"], 3);
            assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
            // The plain image and the first have the same tars: of another blob, but of one diff_id.
            let from = only(&place.repair(&["--from", &source]), kind);
            assert!(from.contains(", layer sha256:"), "{what}, {source}: {from}");
            place.is_as_new(&["sample:plain"]);
        }
    }
}

#[test]
fn a_damaged_object_is_mended_from_an_inode_of_the_same_bytes() {
    for (what, kind, harm) in HARMS {
        let place = Place::plain();
        place.ok(&["checkout", "sample:plain", &place.text("tree")]);
        harm(&place.object("bin/hello"));
        let from = only(&place.repair(&[]), kind);
        assert!(from.starts_with("inodes/"), "{what}: {from}");
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn what_was_changed_through_a_link_but_not_its_bytes_is_mended_from_them() {
    let harms: [Damage; 3] = [
        |path| chmod(path, 0o600),
        |path| open(path).set_modified(std::time::UNIX_EPOCH).unwrap(),
        |path| {
            if is_root() {
                std::os::unix::fs::chown(path, Some(7), Some(7)).unwrap();
            } else {
                chmod(path, 0o600);
            }
        },
    ];
    for harm in harms {
        let place = Place::plain();
        place.ok(&["checkout", "sample:plain", &place.text("tree")]);
        let link = place.path("tree").join(PASSWD);
        harm(&link);
        assert_eq!(place.kinds(&["--quick"]), ["changed"]);
        let before = fs::metadata(&link).unwrap();
        let repairs = place.repair(&[]);
        assert_eq!(only(&repairs, "changed"), "its own bytes");
        let kept = place
            .path("store")
            .join(repairs[0]["kept_as"].as_str().unwrap());
        // The checkout keeps its file as it is, and it is the one in lost+found.
        let after = fs::metadata(&link).unwrap();
        assert_eq!((before.mode(), before.ino()), (after.mode(), after.ino()));
        assert_eq!(fs::metadata(kept).unwrap().ino(), after.ino());
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn somebodys_work_is_kept_byte_for_byte() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    let link = place.path("tree").join(PASSWD);
    fs::write(&link, "three days of work").unwrap();
    let repairs = place.repair(&[]);
    let kept = repairs[0]["kept_as"].as_str().unwrap();
    let id = repairs[0]["object"].as_str().unwrap().replace('/', "");
    let id = id.strip_prefix("objects").unwrap();
    assert_eq!(kept, format!("lost+found/object-{id}.0"));
    for path in [&link, &place.path("store").join(kept)] {
        assert_eq!(fs::read(path).unwrap(), b"three days of work");
    }
    place.is_as_new(&NAMES);
    // It is no stray, and no garbage.
    assert!(
        place.fsck(&[], 0)["report"]["strays"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    place.ok(&["untag", "sample:1"]);
    place.ok(&["gc"]);
    assert_eq!(
        fs::read(place.path("store").join(kept)).unwrap(),
        b"three days of work"
    );
    // The same file again does not replace what was kept before.
    place.ok(&["checkout", "sample:2", &place.text("tree2")]);
    fs::write(place.path("tree2").join(PASSWD), "more of it").unwrap();
    let again = place.repair(&[]);
    assert_eq!(again[0]["kept_as"], format!("lost+found/object-{id}.1"));
    assert_eq!(fs::read(&link).unwrap(), b"three days of work");
}

#[test]
fn a_changed_inode_is_made_again_from_its_object() {
    let place = Place::plain();
    place.ok(&["checkout", "sample:plain", &place.text("tree")]);
    let inode = place.files("inodes")[0].clone();
    flip(&inode);
    let repairs = place.repair(&[]);
    assert!(only(&repairs, "flipped").starts_with("objects/"));
    assert!(inode.is_file());
    place.is_as_new(&["sample:plain"]);
    chmod(&inode, 0o640);
    assert_eq!(place.kinds(&["--quick"]), ["changed"]);
    assert!(only(&place.repair(&[]), "flipped").starts_with("objects/"));
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn an_object_and_its_inode_are_mended_together() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    flip(&place.object("bin/hello"));
    for inode in place.files("inodes") {
        flip(&inode);
    }
    let repairs = place.repair(&[]);
    assert_eq!(repairs.len(), 1 + place.files("inodes").len());
    place.is_as_new(&NAMES);
}

#[test]
fn a_damaged_kept_layer_is_mended_from_a_source_alone() {
    let harms: [Damage; 2] = [flip, |path| open(path).set_len(9).unwrap()];
    for harm in harms {
        let place = Place::with_sample();
        harm(&place.blob(&place.layer("sample:1", 0)));
        let left = place.fsck(&["--repair"], 3);
        assert_eq!(kinds_of(&left["unmended"]), ["blob_damaged"]);
        // Its files are all there.
        place.ok(&["checkout", "sample:1", &place.text("tree")]);
        let from = only(&place.repair(&["--from", &sample()]), "blob_damaged");
        assert!(from.contains("sample"), "{from}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn contents_come_out_of_a_layer_that_is_damaged_further_on() {
    let place = Place::new(&[&format!("oci:{}:1", sample())]);
    let blob = place.blob(&place.layer("sample:1", 0));
    // A gzip stream that is cut off gives what came before.
    let len = fs::metadata(&blob).unwrap().len();
    open(&blob).set_len(len - 20).unwrap();
    flip(&place.object("bin/hello"));
    let value = place.fsck(&["--repair"], 3);
    assert_eq!(kinds_of(&value["repairs"]), ["flipped"]);
    assert_eq!(kinds_of(&value["unmended"]), ["blob_damaged"]);
}

#[test]
fn a_plain_layer_that_is_kept_is_put_together_from_recipe_and_contents() {
    let place = Place::plain();
    let digest = place.layer("sample:plain", 0);
    fs::create_dir_all(place.blob(&digest).parent().unwrap()).unwrap();
    fs::write(place.blob(&digest), b"not a tar").unwrap();
    let repairs = place.repair(&[]);
    let from = only(&repairs, "blob_damaged");
    assert_eq!(from, "the recipe and the contents of the layer");
    let original = Path::new(&sample())
        .join("blobs")
        .join(digest.replace(':', "/"));
    assert!(fs::read(place.blob(&digest)).unwrap() == fs::read(original).unwrap());
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn documents_are_mended_from_a_source() {
    let manifest = |place: &Place| {
        let digest = &place.documents("sample:1")["descriptor"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let config = |place: &Place| {
        let digest = &place.documents("sample:1")["manifest"]["config"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let index = |place: &Place| {
        let digest = &place.documents("sample:multi")["descriptor"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let which: [&dyn Fn(&Place) -> String; 3] = [&manifest, &config, &index];
    for document in which {
        for (what, kind, harm) in HARMS {
            let place = Place::with_sample();
            harm(&place.blob(&document(&place)));
            let kind = match kind {
                "missing" => "blob_missing",
                _ => "blob_damaged",
            };
            assert_eq!(place.kinds(&[]), [kind], "{what}");
            assert_eq!(place.kinds(&["--quick"]), [kind], "{what}");
            let left = place.fsck(&["--repair"], 3);
            assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
            only(&place.repair(&["--from", &sample()]), kind);
            place.is_as_new(&NAMES);
        }
    }
}

#[test]
fn a_recipe_is_made_again_from_the_kept_layer() {
    for (what, kind, harm) in HARMS {
        let place = Place::with_sample();
        harm(&place.recipe(&place.diff_id("sample:1", 0)));
        let kind = match kind {
            "missing" => "recipe_missing",
            _ => "recipe_damaged",
        };
        let from = only(&place.repair(&[]), kind);
        assert!(from.starts_with("the kept layer sha256:"), "{what}: {from}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_recipe_of_a_layer_that_is_not_kept_is_made_again_from_a_source() {
    for (what, kind, harm) in HARMS {
        let place = Place::plain();
        harm(&place.recipe(&place.diff_id("sample:plain", 0)));
        let kind = match kind {
            "missing" => "recipe_missing",
            _ => "recipe_damaged",
        };
        let left = place.fsck(&["--repair"], 3);
        assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
        // The trees are in the catalog, and the objects are there: it can be checked out all the same.
        place.ok(&["checkout", "sample:plain", &place.text("tree")]);
        let source = format!("oci:{}:1", sample());
        only(&place.repair(&["--from", &source]), kind);
        place.is_as_new(&["sample:plain"]);
    }
}

#[test]
fn all_files_of_a_store_come_back_from_a_source_as_long_as_there_are_names() {
    let part = Place::with_sample();
    part.ok(&["export", "sample:1", &part.text("part")]);
    let place = Place::with_sample();
    for folder in ["objects", "layers", "blobs"] {
        for path in place.files(folder) {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    // What the source does not have is told, and what it has is mended.
    let left = place.fsck(&["--repair", "--from", &part.text("part")], 3);
    assert!(!left["repairs"].as_array().unwrap().is_empty());
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    place.repair(&["--from", &sample()]);
    place.fsck(&[], 0);
    place.ok(&["checkout", "sample:2", &place.text("tree2")]);
}

#[test]
fn who_died_after_a_file_was_moved_away_left_it_missing_and_the_next_repair_mends_it() {
    for kept_layers in [true, false] {
        let place = match kept_layers {
            true => Place::with_sample(),
            false => Place::plain(),
        };
        let object = place.object(PASSWD);
        chmod(&object, 0o600);
        // What `detach` does, and then nothing.
        let lost = place.path("store/lost+found");
        fs::create_dir(&lost).unwrap();
        let below = object.strip_prefix(place.path("store/objects")).unwrap();
        let id = below.to_str().unwrap().replace('/', "");
        let kept = lost.join(format!("object-{id}.0"));
        fs::rename(&object, &kept).unwrap();
        let from = only(&place.repair(&[]), "missing");
        // Where no layer is kept its bytes are there and nowhere else.
        assert_eq!(from, format!("lost+found/object-{id}.0"));
        assert!(kept.is_file());
        place.is_as_new(match kept_layers {
            true => &NAMES,
            false => &["sample:plain"],
        });
    }
}

#[test]
fn a_second_repair_does_nothing() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    fs::write(place.path("tree").join(PASSWD), "work").unwrap();
    flip(&place.recipe(&place.diff_id("sample:1", 0)));
    flip(&place.object("bin/hello"));
    assert_eq!(place.repair(&["--from", &sample()]).len(), 3);
    let before = snapshot(&place);
    assert!(place.repair(&["--from", &sample()]).is_empty());
    assert!(snapshot(&place) == before);
}

#[test]
fn what_cannot_be_mended_is_named_and_takes_down_nothing_else() {
    let place = Place::new(&["--blobs", "drop", &sample()]);
    flip(&place.object("etc/motd"));
    let before = snapshot(&place);
    let left = place.fsck(&["--repair"], 3);
    assert!(left["repairs"].as_array().unwrap().is_empty());
    let unmended = &left["unmended"][0];
    assert_eq!(unmended["kind"], "flipped");
    assert_eq!(unmended["paths"][0], "/etc/motd");
    assert!(!unmended["images"].as_array().unwrap().is_empty());
    // Damage that cannot be mended stays where it is: nothing of it is hidden.
    assert!(snapshot(&place) == before);
    place.ok(&["checkout", "--path", "usr", "sample:1", &place.text("part")]);
    let text = place.run(&["fsck", "--repair"]);
    let errors = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(errors.contains("--from"), "{errors}");
    assert!(String::from_utf8_lossy(&text.stdout).contains("unmended  flipped objects/"));
}

#[test]
fn a_store_without_a_catalog_is_of_use_though_a_layer_is_beyond_mending() {
    let place = Place::new(&["--blobs", "drop", &sample()]);
    let layer = place.diff_id("sample:2", 2);
    fs::remove_file(place.recipe(&layer)).unwrap();
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    assert_ne!(place.code(&["images"]), 0);
    let left = place.fsck(&["--repair"], 3);
    assert!(kinds_of(&left["unmended"]).contains(&"recipe_missing".to_owned()));
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    place.repair(&["--from", &sample()]);
    place.ok(&["checkout", "sample:2", &place.text("tree2")]);
}

#[test]
fn a_catalog_that_is_torn_is_made_anew() {
    for len in [0, 100, 5_000, 20_000] {
        let place = Place::with_sample();
        open(&place.path("store/catalog.redb"))
            .set_len(len)
            .unwrap();
        place.fsck(&["--repair"], 0);
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_source_with_wrong_bytes_under_right_digests_is_refused_and_nothing_is_changed() {
    let place = Place::plain();
    let layout = place.path("evil");
    let copied = std::process::Command::new("cp")
        .args(["-r", &sample()])
        .arg(&layout)
        .status();
    assert!(copied.unwrap().success());
    let mut blobs = Vec::new();
    walk(&layout.join("blobs"), &mut blobs);
    // Every layer is another's, and every plain tar has another content for what is wanted.
    let passwd = content(PASSWD);
    let good: Vec<Vec<u8>> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
    for (blob, bytes) in blobs.iter().zip(&good) {
        let at = bytes.windows(passwd.len()).position(|part| part == passwd);
        if let Some(at) = at {
            open(blob).write_all_at(b"evil", at as u64).unwrap();
        } else if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5]) {
            flip(blob);
        }
    }
    let object = place.object(PASSWD);
    for target in [object, place.recipe(&place.diff_id("sample:plain", 0))] {
        fs::remove_file(target).unwrap();
        let before = snapshot(&place);
        let value = place.fsck(&["--repair", "--from", layout.to_str().unwrap()], 3);
        assert!(value["repairs"].as_array().unwrap().is_empty(), "{value:#}");
        let refused = value["refused"].as_array().unwrap();
        let wrong = "its bytes are those of sha256:";
        assert!(
            refused
                .iter()
                .any(|refused| refused["why"].as_str().unwrap().contains(wrong)),
            "{value:#}"
        );
        assert!(snapshot(&place) == before);
    }
    place.repair(&["--from", layout.to_str().unwrap(), "--from", &sample()]);
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn a_quick_check_finds_what_was_written_through_links_and_reads_no_object() {
    let harms: [(&str, Damage); 5] = [
        ("other bytes, the same length", |path| {
            open(path).write_all_at(b"X", 0).unwrap();
        }),
        ("another length", |path| open(path).set_len(1).unwrap()),
        ("another mode", |path| chmod(path, 0o666)),
        ("another time", |path| {
            open(path).set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("nothing", |path| fs::remove_file(path).unwrap()),
    ];
    for (what, harm) in harms {
        let place = Place::with_sample();
        place.ok(&["checkout", "sample:1", &place.text("tree")]);
        let quick = place.fsck(&["--quick"], 0);
        let full = place.fsck(&[], 0);
        assert_eq!(
            (&quick["quick"], &full["quick"]),
            (&true.into(), &false.into())
        );
        let read = |value: &Value| value["report"]["checked"]["bytes"].as_u64().unwrap();
        assert!(read(&quick) < read(&full) / 4);
        let target = match what {
            "nothing" => place.object(PASSWD),
            _ => place.path("tree").join(PASSWD),
        };
        harm(&target);
        let found = place.fsck(&["--quick"], 3);
        let finding = &found["report"]["findings"][0];
        assert_eq!(finding["paths"][0], "/etc/passwd", "{what}");
        // An inode beside the object, too: the setuid one has metadata of its own.
        let place = Place::with_sample();
        place.ok(&["checkout", "sample:1", &place.text("tree")]);
        if what != "nothing" {
            harm(&place.path("tree/bin/hello-setuid"));
            assert_eq!(place.kinds(&["--quick"]).len(), 1, "{what}");
        }
    }
}

#[test]
fn a_quick_check_says_that_it_was_quick_and_bad_hardware_is_for_the_full_one() {
    let place = Place::with_sample();
    assert!(place.ok(&["fsck", "--quick"]).contains("quick check"));
    assert!(!place.ok(&["fsck"]).contains("quick check"));
    flip(&place.object(PASSWD));
    place.fsck(&["--quick"], 0);
    place.fsck(&[], 3);
    open(&place.blob(&place.layer("sample:1", 0)))
        .set_len(9)
        .unwrap();
    assert_eq!(place.kinds(&["--quick"]), ["blob_damaged"]);
}

#[test]
fn calls_that_make_no_sense_are_refused_and_sources_that_are_not_there_change_nothing() {
    let place = Place::with_sample();
    assert_eq!(place.code(&["fsck", "--from", &sample()]), 64);
    assert_eq!(place.code(&["fsck", "--quick", "--repair"]), 64);
    flip(&place.object(PASSWD));
    let before = snapshot(&place);
    assert_eq!(
        place.code(&["fsck", "--repair", "--from", "oci:/nowhere"]),
        2
    );
    assert!(snapshot(&place) == before);
}

#[test]
fn damage_is_told_with_how_to_mend_it() {
    let place = Place::with_sample();
    flip(&place.object(PASSWD));
    let output = place.run(&["fsck"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("fsck --repair"), "{errors}");
}
