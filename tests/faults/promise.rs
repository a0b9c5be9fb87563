//! Owns what a store has promised, and looking whether it is kept: names, bytes, trees, and no garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::bench::Tree;
use super::yard::{Yard, sample};

/// What is in the sample, read without the program.
pub(crate) struct Source {
    /// All blobs by their digests' hex.
    blobs: BTreeMap<String, Vec<u8>>,
    /// What each name leads to.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Source {
    pub(crate) fn sample() -> Self {
        Self::read(&sample(), "sample")
    }

    /// Reads a layout whose images are called by its name and their tags.
    pub(crate) fn read(layout: &Path, called: &str) -> Self {
        let blobs = blobs_of(layout);
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let mut names = BTreeMap::new();
        for entry in index["manifests"].as_array().unwrap() {
            let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let mut found = BTreeSet::new();
            follow(entry, &blobs, &mut found);
            names.insert(format!("{called}:{}", tag.unwrap()), found);
        }
        Self { blobs, names }
    }

    /// The blobs of one name, each with its bytes.
    fn of(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let hexes = self.names[name].iter();
        hexes
            .map(|hex| (hex.clone(), self.blobs[hex].clone()))
            .collect()
    }
}

/// Collects what a document leads to, by whatever field.
fn follow(value: &Value, blobs: &BTreeMap<String, Vec<u8>>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let digest = fields.get("digest").and_then(Value::as_str);
            let hex = digest.and_then(|digest| digest.strip_prefix("sha256:"));
            if let Some(hex) = hex
                && found.insert(hex.to_owned())
                && let Ok(document) = serde_json::from_slice(&blobs[hex])
            {
                follow(&document, blobs, found);
            }
            fields
                .values()
                .for_each(|field| follow(field, blobs, found));
        }
        Value::Array(items) => items.iter().for_each(|item| follow(item, blobs, found)),
        _ => {}
    }
}

fn blobs_of(layout: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// The files of a store that names need, and those that nobody should see: staged, in the trash, or claimed.
pub(crate) fn files_of(store: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["objects", "inodes", "layers", "blobs", "trash", "tmp"] {
        files_below(store, folder, &mut found);
    }
    let mut locks = BTreeSet::new();
    files_below(store, "locks", &mut locks);
    found.extend(locks.into_iter().filter(|lock| lock.contains("claim")));
    found
}

fn files_below(store: &Path, folder: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(store.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(store, &path, found);
        } else {
            found.insert(path);
        }
    }
}

impl Yard {
    /// Tells whether the store has the name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let outcome = self.run(&["exists", name]);
        assert!(outcome.code < 2, "exists {name}: {}", outcome.said);
        outcome.code == 0
    }

    /// The names of the store.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let list = self.place.json(&["images"]);
        let list = list["images"].as_array().unwrap().iter();
        list.map(|image| image["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Checks that an export of `name` is bit for bit what was imported as `original`.
    pub(crate) fn gives_back(&self, source: &Source, name: &str, original: &str) {
        self.clear("back");
        self.ok(&["export", name, "oci:@/back:x"]);
        self.is_whole(source, "back", original);
        self.clear("back");
    }

    /// Checks that an exported layout has one image, bit for bit.
    pub(crate) fn is_whole(&self, source: &Source, layout: &str, original: &str) {
        let layout = self.path(layout);
        let blobs = blobs_of(&layout);
        let wanted = source.of(original);
        let (is, should): (Vec<_>, Vec<_>) = (blobs.keys().collect(), wanted.keys().collect());
        assert_eq!(is, should, "the blobs of {original}");
        assert!(blobs == wanted, "the bytes of {original}");
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let root = index["manifests"][0]["digest"].as_str().unwrap();
        assert!(source.names[original].contains(&root[7..]), "{root}");
        assert!(layout.join("oci-layout").exists());
    }

    /// Checks that a checkout of `name` is `tree`.
    pub(crate) fn lays_out(&self, name: &str, tree: &Tree) {
        self.clear("laid");
        self.ok(&["checkout", "--link", "copy", name, "@/laid"]);
        assert!(self.place.tree("work/laid") == *tree, "the tree of {name}");
        self.clear("laid");
    }

    /// Checks that nothing is damaged.
    pub(crate) fn is_sound(&self) {
        let outcome = self.run(&["fsck"]);
        assert_eq!(outcome.code, 0, "fsck: {}", outcome.said);
    }

    /// Checks that collecting leaves what names need, and nothing else.
    pub(crate) fn is_clean(&self, reference: &BTreeSet<String>) {
        self.ok(&["gc"]);
        let files = files_of(&self.path("store"));
        let more: Vec<_> = files.difference(reference).collect();
        let less: Vec<_> = reference.difference(&files).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "left: {more:?}, gone: {less:?}"
        );
        self.is_sound();
    }
}
