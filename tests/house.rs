//! The rules of the house that no compiler keeps: one home for each outside crate, and files of one subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Where each outside crate lives. Those that are everyone's (`rustix`, `rayon`, `serde`, `thiserror`) are not here.
const HOMES: &[(&str, &[&str])] = &[
    ("base64", &["base64.rs"]),
    ("blake3", &["digest.rs"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/completion.rs"]),
    ("crossbeam_channel", &["convert/workers.rs"]),
    ("flate2", &["compress.rs"]),
    ("indicatif", &["cli/terminal.rs"]),
    ("oci_spec", &["wire.rs"]),
    ("redb", &["store/catalog/"]),
    ("sha2", &["digest.rs"]),
    ("signal_hook", &["cli/terminal.rs"]),
    ("xattr", &["store/inodes.rs"]),
    ("zstd", &["compress.rs", "encoders/libzstd/"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let name = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    found
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Tells whether a file is only there for tests.
fn is_for_tests(file: &str) -> bool {
    file.starts_with("fuzzing/")
        || file.starts_with("store/crash/")
        || [
            "tests.rs",
            "fixture.rs",
            "sample.rs",
            "golden.rs",
            "recorder.rs",
        ]
        .iter()
        .any(|name| file.ends_with(name))
}

/// Tells whether a line of code names the crate, as `krate::` or in a `use`.
fn names(line: &str, krate: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    let path = format!("{krate}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'))
    }) || code == format!("use {krate};")
}

#[test]
fn every_outside_crate_has_one_home() {
    let mut strays = Vec::new();
    for (file, text) in all() {
        // Tests may look through any glasses.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if is_for_tests(&file) {
            continue;
        }
        for (krate, homes) in HOMES {
            let home = homes.iter().any(|home| file.starts_with(home));
            if !home && code.lines().any(|line| names(line, krate)) {
                strays.push(format!("{file} uses {krate}"));
            }
        }
    }
    assert_eq!(strays, Vec::<String>::new());
}

#[test]
fn every_file_says_in_its_first_line_what_it_owns() {
    let silent: Vec<String> = all()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn only_the_command_line_prints() {
    let printing: Vec<String> = all()
        .into_iter()
        .filter(|(file, _)| !file.starts_with("cli/") && !is_for_tests(file))
        .filter(|(_, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap();
            ["println!", "eprintln!", "print!(", "stdout()", "stderr()"]
                .iter()
                .any(|p| code.contains(p))
        })
        .map(|(file, _)| file)
        .collect();
    assert_eq!(printing, Vec::<String>::new());
}
