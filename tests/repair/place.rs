//! Owns a store to damage: commands on it, its files, and how it has to be when nothing is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const NAMES: [&str; 5] = [
    "sample:1",
    "sample:2",
    "sample:zstd",
    "sample:plain",
    "sample:multi",
];

/// What is in `etc/passwd` of every image of the sample, the beginning of it.
pub(crate) const PASSWD: &str = "etc/passwd";

/// A store of its own, beside a folder to write to.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new(import: &[&str]) -> Self {
        let place = Self { dir: folder() };
        place.ok(&[&["import"], import].concat());
        place
    }

    pub(crate) fn with_sample() -> Self {
        Self::new(&[&sample()])
    }

    /// A store of the plain image alone: none of its layers is kept as a blob.
    pub(crate) fn plain() -> Self {
        Self::new(&[&format!("oci:{}:plain", sample())])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("ocistore").unwrap();
        command
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .output()
            .unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{args:?}: {errors}{printed}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    /// Runs `fsck` and expects this exit code.
    pub(crate) fn fsck(&self, args: &[&str], code: i32) -> Value {
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
    pub(crate) fn repair(&self, args: &[&str]) -> Vec<Value> {
        let value = self.fsck(&[&["--repair"], args].concat(), 0);
        assert!(value["unmended"].as_array().unwrap().is_empty());
        value["repairs"].as_array().unwrap().clone()
    }

    /// Returns the kinds and objects that a check finds.
    pub(crate) fn kinds(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(&[&["fsck", "--json"], args].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        kinds_of(&value["report"]["findings"])
    }

    /// Lists all files below a folder of the store.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let folder = self.path("store").join(folder);
        if folder.exists() {
            walk(&folder, &mut found);
        }
        found.sort();
        found
    }

    /// The file in a folder of the store with these bytes.
    pub(crate) fn holding(&self, folder: &str, bytes: &[u8]) -> PathBuf {
        let files = self.files(folder).into_iter();
        let mut files = files.filter(|path| fs::read(path).unwrap() == bytes);
        files.next().unwrap()
    }

    /// The object of a file of an image.
    pub(crate) fn object(&self, path: &str) -> PathBuf {
        self.holding("objects", &content(path))
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.path("store/blobs").join(digest.replace(':', "/"))
    }

    pub(crate) fn recipe(&self, layer: &str) -> PathBuf {
        self.path("store/layers").join(layer.replace(':', "/"))
    }

    pub(crate) fn documents(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "--json", name])).unwrap()
    }

    /// The digest of an image's layer.
    pub(crate) fn layer(&self, name: &str, at: usize) -> String {
        let layer = &self.documents(name)["manifest"]["layers"][at]["digest"];
        layer.as_str().unwrap().to_owned()
    }

    pub(crate) fn diff_id(&self, name: &str, at: usize) -> String {
        let config: Value = serde_json::from_str(&self.ok(&["inspect", "--config", name])).unwrap();
        let diff_id = &config["rootfs"]["diff_ids"][at];
        diff_id.as_str().unwrap().to_owned()
    }

    /// Asserts that nothing is wrong: a check, every blob of an export, and a checkout.
    pub(crate) fn is_as_new(&self, names: &[&str]) {
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
        for name in names.iter().filter(|name| **name != "sample:multi") {
            self.checks_out(name);
        }
    }

    /// Asserts that a checkout shows what one of a store that nothing happened to shows.
    pub(crate) fn checks_out(&self, name: &str) {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let root = out.path().join("tree");
        self.ok(&["checkout", name, root.to_str().unwrap()]);
        let (ours, theirs) = (tree(&root), &trees()[name]);
        let differs = |(path, shown): &(&PathBuf, &Shown)| ours.get(*path) != Some(*shown);
        let other: Vec<_> = theirs.iter().filter(differs).collect();
        assert!(other.is_empty(), "{name}: {other:?}");
        assert!(ours.keys().eq(theirs.keys()), "{name}");
    }
}

/// Makes an empty folder: in memory where there is room, since nothing here is about a disk, and every command syncs one.
fn folder() -> TempDir {
    let in_memory = || {
        let place = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(place).ok()?;
        let enough = room.f_bavail * room.f_frsize >= 48 << 20;
        let dir = tempfile::tempdir_in(place).ok().filter(|_| enough)?;
        xattr::set(dir.path(), "user.try", b"1").ok().map(|()| dir)
    };
    match std::env::var_os("TMPDIR") {
        Some(_) => tempfile::tempdir().unwrap(),
        None => in_memory().unwrap_or_else(|| tempfile::tempdir().unwrap()),
    }
}

pub(crate) fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample");
    path.to_str().unwrap().to_owned()
}

/// What a host shows of one name: mode, owners and times, and bytes or target.
type Shown = (String, Vec<u8>);

/// Everything that a host shows of a tree but link counts.
type Tree = BTreeMap<PathBuf, Shown>;

/// The trees of the sample's images, from a store that nothing happened to.
fn trees() -> &'static BTreeMap<&'static str, Tree> {
    static TREES: OnceLock<BTreeMap<&str, Tree>> = OnceLock::new();
    TREES.get_or_init(|| {
        let place = Place::with_sample();
        let names = NAMES.iter().filter(|name| **name != "sample:multi");
        let check_out = |name: &&'static str| {
            let root = place.path(name);
            place.ok(&["checkout", name, root.to_str().unwrap()]);
            (*name, tree(&root))
        };
        names.map(check_out).collect()
    })
}

/// The bytes of a file of the sample's first image.
pub(crate) fn content(path: &str) -> Vec<u8> {
    trees()["sample:1"][Path::new(path)].1.clone()
}

pub(crate) fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn tree(root: &Path) -> Tree {
    let mut found = Vec::new();
    walk(root, &mut found);
    let show = |path: PathBuf| {
        let seen = fs::symlink_metadata(&path).unwrap();
        let bytes = match seen.is_file() {
            true => fs::read(&path).unwrap(),
            false => format!("{:?}", fs::read_link(&path).ok()).into_bytes(),
        };
        let (mode, owner) = (seen.mode(), (seen.uid(), seen.gid()));
        let time = (seen.mtime(), seen.mtime_nsec());
        let below = path.strip_prefix(root).unwrap().to_owned();
        (below, (format!("{mode:o} {owner:?} {time:?}"), bytes))
    };
    found.into_iter().map(show).collect()
}

pub(crate) fn kinds_of(findings: &Value) -> Vec<String> {
    let findings = findings.as_array().unwrap().iter();
    let kind = |finding: &Value| finding["kind"].as_str().unwrap().to_owned();
    findings.map(kind).collect()
}

/// Expects one repair; returns where it came from.
pub(crate) fn only(repairs: &[Value], kind: &str) -> String {
    assert_eq!(repairs.len(), 1, "{repairs:#?}");
    assert_eq!(repairs[0]["kind"], kind, "{repairs:#?}");
    repairs[0]["from"].as_str().unwrap().to_owned()
}

/// All files of a store and their bytes, without locks and what commands leave of themselves.
pub(crate) fn snapshot(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["blobs", "objects", "inodes", "layers", "lost+found", "tmp"] {
        for path in place.files(folder) {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}
