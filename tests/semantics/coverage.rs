//! That `docs/semantics.md` and these tests name each other: every row has tests that exist, every test has its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns every test here as `module::name`, but those of this file.
fn written() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(in_repository("tests/semantics")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module == "coverage" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("#[test]\n") {
            let (_, after) = text[at..].split_once("fn ").unwrap();
            let (name, _) = after.split_once('(').unwrap();
            found.insert(format!("{module}::{name}"));
        }
    }
    found
}

/// Returns every `module::name` in backticks in the document.
fn named() -> BTreeSet<String> {
    let text = fs::read_to_string(in_repository("docs/semantics.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let is_test = |quoted: &&str| {
        let parts = quoted.split_once("::");
        parts.is_some_and(|(module, name)| [module, name].iter().all(|part| is_word(part)))
    };
    quoted.filter(is_test).map(str::to_owned).collect()
}

fn is_word(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(is_part)
}

#[test]
fn every_test_that_the_document_names_exists() {
    let (written, named) = (written(), named());
    let missing: Vec<&String> = named.difference(&written).collect();
    assert_eq!(missing, Vec::<&String>::new());
    assert!(
        named.len() > 100,
        "the document names {} tests",
        named.len()
    );
}

#[test]
fn every_test_is_named_by_the_document() {
    let (written, named) = (written(), named());
    let silent: Vec<&String> = written.difference(&named).collect();
    assert_eq!(silent, Vec::<&String>::new());
}

/// Returns the code of the crate and of all its tests.
fn all_code(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &all_code(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_other_documents_name_exists() {
    let code = ["src", "tests"].map(|folder| all_code(&in_repository(folder)));
    for document in ["SECURITY.md", "docs/gc.md"] {
        assert_named_tests_exist(document, &code);
    }
}

fn assert_named_tests_exist(document: &str, code: &[String]) {
    let text = fs::read_to_string(in_repository(document)).unwrap();
    let names = text.split('`').skip(1).step_by(2);
    let names: BTreeSet<&str> = names
        .map(|name| name.rsplit("::").next().unwrap())
        .filter(|name| is_word(name) && name.matches('_').count() > 2)
        .collect();
    // A macro may make tests of names.
    let has = |text: &String, name: &str| {
        text.contains(&format!("fn {name}(")) || text.contains(&format!(" {name}:\n"))
    };
    let is_missing = |name: &&&str| !code.iter().any(|text| has(text, name));
    assert_eq!(
        names.iter().filter(is_missing).count(),
        0,
        "{document}: {:?}",
        names.iter().find(is_missing)
    );
    assert!(names.len() > 40, "{document} names {} tests", names.len());
}
