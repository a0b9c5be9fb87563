//! Runs every property over the seeds of its target and over what once broke it.

use std::path::Path;

use super::ALL;
use crate::entry::Action;

fn inputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    files
        .map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), std::fs::read(&path).unwrap())
        })
        .collect()
}

#[test]
fn every_property_holds_for_its_seeds_and_past_findings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, property) in ALL {
        let seeds = inputs(&root.join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, bytes) in seeds
            .into_iter()
            .chain(inputs(&root.join("findings").join(name)))
        {
            let held = std::panic::catch_unwind(|| property(&bytes));
            assert!(held.is_ok(), "the property '{name}' is broken by {path}");
        }
    }
}

#[test]
fn every_property_has_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    for (name, _) in ALL {
        let text = std::fs::read_to_string(root.join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("fuzzing::{name}(")), "{name}");
    }
}

/// Type 7 was taken as a file, where GNU tar and bsdtar make a directory.
#[test]
fn a_slash_at_the_end_makes_a_directory_of_any_type_of_regular_file() {
    for kind in [0, b'0', b'7'] {
        let mut bytes = Vec::new();
        super::generator::plain_member((kind, b"d/", b""), b"", &mut bytes);
        let layer = super::tar::take_apart(&bytes).ok().unwrap();
        assert!(matches!(layer.entries[0].action, Action::Dir(_)), "{kind}");
    }
}
