//! Owns scenes: a store with a past, a command on it, and what has to hold however the command ends.

use std::collections::{BTreeMap, BTreeSet};

use super::bench::Tree;
use super::promise::{Source, files_of};
use super::yard::{Yard, sample};

/// A command that is tried, and what it is tried on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) act: Act,
    /// Commands that make the store as it is before.
    pub(crate) past: &'static [&'static [&'static str]],
    /// The command; `SAMPLE` in it is the layout of the images.
    pub(crate) command: &'static [&'static str],
    /// Names before, and after.
    pub(crate) before: &'static [&'static str],
    pub(crate) after: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// Changes the store only.
    Names,
    /// Makes the folder `tree`.
    Checkout,
    /// Makes the layout `layout`.
    Export,
    /// Makes the archive `archive.tar`.
    Archive,
    /// Makes the catalog that was lost.
    Rebuild,
}

const ONE: &[&str] = &["import", "-j1", "oci:SAMPLE:1"];
const TWO: &[&str] = &["import", "-j1", "oci:SAMPLE:2"];
const ALL: &[&str] = &["import", "-j1", "oci:SAMPLE"];
const NAMES: &[&str] = &[
    "sample:1",
    "sample:2",
    "sample:multi",
    "sample:plain",
    "sample:zstd",
];

/// The commands that are tried.
pub(crate) const SCENES: &[Scene] = &[
    Scene {
        act: Act::Names,
        past: &[],
        command: ONE,
        before: &[],
        after: &["sample:1"],
    },
    Scene {
        act: Act::Names,
        past: &[ONE],
        command: ALL,
        before: &["sample:1"],
        after: NAMES,
    },
    Scene {
        act: Act::Checkout,
        past: &[ONE, TWO],
        command: &["checkout", "-j1", "sample:2", "@/tree"],
        before: &["sample:1", "sample:2"],
        after: &["sample:1", "sample:2"],
    },
    Scene {
        act: Act::Checkout,
        past: &[ONE, TWO],
        command: &["checkout", "-j1", "--link", "copy", "sample:2", "@/tree"],
        before: &["sample:1", "sample:2"],
        after: &["sample:1", "sample:2"],
    },
    Scene {
        act: Act::Export,
        past: &[ALL],
        command: &["export", "-j1", "sample:plain", "oci:@/layout:x"],
        before: NAMES,
        after: NAMES,
    },
    Scene {
        act: Act::Archive,
        past: &[ALL],
        command: &["export", "-j1", "sample:plain", "oci-archive:@/archive.tar"],
        before: NAMES,
        after: NAMES,
    },
    Scene {
        act: Act::Names,
        past: &[ONE],
        command: &["tag", "sample:1", "new:1"],
        before: &["sample:1"],
        after: &["new:1", "sample:1"],
    },
    Scene {
        act: Act::Names,
        past: &[ONE, TWO],
        command: &["untag", "sample:1"],
        before: &["sample:1", "sample:2"],
        after: &["sample:2"],
    },
    Scene {
        act: Act::Names,
        past: &[
            ALL,
            &[
                "untag",
                "sample:2",
                "sample:zstd",
                "sample:plain",
                "sample:multi",
            ],
        ],
        command: &["gc"],
        before: &["sample:1"],
        after: &["sample:1"],
    },
    Scene {
        act: Act::Names,
        past: &[ONE, TWO],
        command: &["fsck", "-j1"],
        before: &["sample:1", "sample:2"],
        after: &["sample:1", "sample:2"],
    },
    Scene {
        act: Act::Rebuild,
        past: &[ONE, TWO],
        command: &["images"],
        before: &["sample:1", "sample:2"],
        after: &["sample:1", "sample:2"],
    },
];

/// What comes after a command that ended in its midst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The same command.
    Again,
    /// A collection.
    Collect,
}

impl Next {
    pub(crate) fn by(turn: usize) -> Self {
        if turn.is_multiple_of(2) {
            Self::Again
        } else {
            Self::Collect
        }
    }
}

/// A yard with all that scenes are compared with.
pub(crate) struct Stage {
    pub(crate) yard: Yard,
    pub(crate) source: Source,
    trees: BTreeMap<String, Tree>,
    archive: Vec<u8>,
    /// The files of a store in which there have only been these names.
    clean: BTreeMap<BTreeSet<String>, BTreeSet<String>>,
}

impl Stage {
    /// Prepares the store of a scene as `past`, and what it is compared with.
    pub(crate) fn of(yard: Yard, scene: &Scene) -> Self {
        let mut stage = Self {
            yard,
            source: Source::sample(),
            trees: BTreeMap::new(),
            archive: Vec::new(),
            clean: BTreeMap::new(),
        };
        stage.yard.ok(&words(ALL));
        for name in NAMES {
            let tree = stage.laid_out(name);
            stage.trees.insert((*name).to_owned(), tree);
        }
        stage
            .trees
            .insert("new:1".to_owned(), stage.trees["sample:1"].clone());
        stage
            .yard
            .ok(&["export", "sample:plain", "oci-archive:@/archive.tar"]);
        stage.archive = std::fs::read(stage.yard.path("archive.tar")).unwrap();
        for names in [scene.before, scene.after] {
            stage.note_clean(&names.iter().map(|&name| name.to_owned()).collect());
        }
        stage.yard.clear("store");
        for command in scene.past {
            stage.yard.ok(&words(command));
        }
        if scene.past.is_empty() {
            stage.yard.ok(&["init"]);
            stage.yard.clear("store");
        } else {
            stage.yard.copy("store", "past");
        }
        stage
    }

    fn laid_out(&self, name: &str) -> Tree {
        self.yard
            .ok(&["checkout", "--link", "copy", name, "@/laid"]);
        let tree = self.yard.place.tree("work/laid");
        self.yard.clear("laid");
        tree
    }

    /// Notes the files of a store that has never had other names than these.
    pub(crate) fn note_clean(&mut self, names: &BTreeSet<String>) {
        self.yard.clear("store");
        self.yard.ok(&["init"]);
        for name in names {
            let origin = original(name);
            self.yard.ok(&[
                "import",
                &format!("oci:{}:{}", sample().display(), &origin[7..]),
            ]);
        }
        let files = files_of(&self.yard.path("store"));
        self.clean.insert(names.clone(), files);
    }

    /// Puts the store as it was, without what the last run has left elsewhere.
    pub(crate) fn reset(&self, scene: &Scene) {
        for name in ["tree", "layout", "archive.tar"] {
            self.yard.clear(name);
        }
        for name in self.yard.leftovers() {
            self.yard.clear(&name);
        }
        match scene.past.is_empty() {
            true => self.yard.clear("store"),
            false => self.yard.copy("past", "store"),
        }
        if scene.act == Act::Rebuild {
            self.yard.clear("store/catalog.redb");
        }
    }

    /// Checks all that has to hold after a command that ended in its midst.
    pub(crate) fn check(&self, scene: &Scene, next: Next) {
        let yard = &self.yard;
        let both = || {
            scene
                .before
                .iter()
                .filter(|name| scene.after.contains(name))
        };
        if scene.past.is_empty() {
            // A store that was not made yet is made by whatever writes first.
            yard.ok(&["init"]);
        }
        self.check_target(scene);
        yard.is_sound();
        let names = yard.names();
        let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (before, after): (BTreeSet<String>, BTreeSet<String>) =
            (of(scene.before), of(scene.after));
        assert!(names == before || names == after, "{names:?}");
        both().for_each(|name| assert!(yard.has(name)));
        for name in &names {
            yard.gives_back(&self.source, name, original(name));
        }
        for name in names.iter().take(2) {
            yard.lays_out(name, &self.trees[original(name)]);
        }
        if next == Next::Collect {
            self.clear_target(scene);
            yard.is_clean(&self.clean[&names]);
        }
        self.do_again(scene, &names);
        self.clear_target(scene);
        yard.is_clean(&self.clean[&yard.names()]);
    }

    /// What is linked to is held, so that this goes before a collection: a target, and what a checkout that was
    /// killed leaves beside it (docs/cli.md, "Interrupts"). Nothing else leaves anything there.
    fn clear_target(&self, scene: &Scene) {
        self.yard.clear("tree");
        for name in self.yard.leftovers() {
            let ours = name.starts_with(".tree.ocistore-") && scene.act == Act::Checkout;
            assert!(ours || scene.act == Act::Archive, "{name}");
            self.yard.clear(&name);
        }
    }

    /// The command works now, or has nothing left to do.
    fn do_again(&self, scene: &Scene, names: &BTreeSet<String>) {
        let yard = &self.yard;
        let done = scene.command[0] == "untag" && names.len() == scene.after.len();
        if !done {
            yard.clear("tree");
            yard.ok(&words(scene.command));
        }
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let now = yard.names();
        assert!(
            scene.after.iter().all(|&name| now.contains(name)),
            "{now:?}, before {all:?}"
        );
        match scene.act {
            Act::Names | Act::Rebuild => {}
            Act::Checkout | Act::Export | Act::Archive => assert!(self.has_target(scene)),
        }
        self.check_target(scene);
    }

    fn has_target(&self, scene: &Scene) -> bool {
        match scene.act {
            Act::Names | Act::Rebuild => false,
            Act::Checkout => self.yard.path("tree").exists(),
            Act::Export => self.yard.path("layout/index.json").exists(),
            Act::Archive => self.yard.path("archive.tar").exists(),
        }
    }

    /// A target is whole or not there.
    pub(crate) fn check_target(&self, scene: &Scene) {
        if !self.has_target(scene) {
            return;
        }
        match scene.act {
            Act::Names | Act::Rebuild => {}
            Act::Checkout => assert!(self.yard.place.tree("work/tree") == self.trees["sample:2"]),
            Act::Export => self.yard.is_whole(&self.source, "layout", "sample:plain"),
            Act::Archive => {
                let archive = std::fs::read(self.yard.path("archive.tar")).unwrap();
                assert!(archive == self.archive, "the archive");
            }
        }
    }
}

/// What a name is the image of, in the sample.
fn original(name: &str) -> &str {
    if name == "new:1" { "sample:1" } else { name }
}

/// The words of a command; the sample has its place in them.
pub(crate) fn words<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let path: &'static str = Box::leak(
        sample()
            .into_os_string()
            .into_string()
            .unwrap()
            .into_boxed_str(),
    );
    command
        .iter()
        .map(|word| match word.contains("SAMPLE") {
            true => &*Box::leak(word.replace("SAMPLE", path).into_boxed_str()),
            false => *word,
        })
        .collect()
}
