//! The table "Manifests": what the images of a layout are called, and what a layout is.

use std::fs;

use serde_json::{Value, json};

use crate::layout::{CONFIG, MANIFEST, manifest, named};
use crate::world::World;

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// Returns the names of an import's report.
fn names(report: &Value) -> Vec<&str> {
    let images = report["images"].as_array().unwrap().iter();
    images.map(|i| i["name"].as_str().unwrap()).collect()
}

#[test]
fn two_images_of_one_name_are_refused_unless_one_is_picked() {
    let world = World::new();
    let layout = world.layout();
    let (one, two) = (layout.small_image("one"), layout.small_image("two"));
    layout.index(&[named(one.clone(), "1"), named(two.clone(), "1")]);
    world.refuses(
        &layout.source(),
        4,
        &[digest(&one), digest(&two), "image:1"],
    );
    let by_name = format!("{}:1", layout.source());
    world.refuses(&by_name, 4, &[digest(&one), digest(&two)]);
    for (image, text) in [(one, "one"), (two, "two")] {
        let source = format!("{}@{}", layout.source(), digest(&image));
        let report = world.ok(&["import", &source]);
        assert_eq!(names(&report), ["image:1"]);
        let root = world.path(text);
        world.ok(&["checkout", "image:1", root.to_str().unwrap()]);
        assert_eq!(crate::tree::list(&root), [format!("f={text}")]);
    }
}

#[test]
fn one_digest_of_one_name_twice_is_one_image() {
    let world = World::new();
    let layout = world.layout();
    let image = named(layout.small_image("f"), "1");
    layout.index(&[image.clone(), image]);
    assert_eq!(names(&layout.comes_back(&world)), ["image:1"]);
}

#[test]
fn a_full_name_and_a_tag_that_mean_the_same_clash() {
    let world = World::new();
    let layout = world.layout();
    let (one, two) = (layout.small_image("one"), layout.small_image("two"));
    layout.index(&[named(one.clone(), "1"), named(two.clone(), "image:1")]);
    world.refuses(&layout.source(), 4, &[digest(&one), digest(&two)]);
}

#[test]
fn an_image_without_a_name_is_called_by_its_digest_beside_others() {
    let world = World::new();
    let layout = world.layout();
    let (one, two) = (layout.small_image("one"), layout.small_image("two"));
    layout.index(&[one.clone(), two.clone(), named(one.clone(), "1")]);
    let report = layout.comes_back(&world);
    let by_digest = format!("image@{}", digest(&two));
    assert_eq!(
        names(&report),
        [&format!("image@{}", digest(&one)), &by_digest, "image:1"]
    );
    // It is a name like any other until untagged.
    world.ok(&["checkout", &by_digest, world.path("two").to_str().unwrap()]);
    world.ok(&["untag", &by_digest]);
    assert_eq!(world.fails(&["inspect", &by_digest]).0, 2);
}

#[test]
fn the_only_image_without_a_name_is_the_latest() {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.small_image("f")]);
    assert_eq!(names(&layout.comes_back(&world)), ["image:latest"]);
}

#[test]
fn a_name_that_is_no_reference_is_replaced_by_the_digest_with_a_warning() {
    let long = "x".repeat(129);
    let bad = [
        "",
        " ",
        "-x",
        "a b",
        "a\nb",
        "\u{1b}[2J",
        "é",
        "..",
        "/",
        "/etc/passwd",
        "../x",
        "a//b",
        "a:b:c",
        "a@b",
        "x@sha256:0",
        ":1",
        "1:",
        "a/:1",
        &long,
        "a\0",
    ];
    for bad in bad {
        let world = World::new();
        let layout = world.layout();
        let image = named(layout.small_image("f"), bad);
        layout.index(std::slice::from_ref(&image));
        let report = layout.comes_back(&world);
        assert_eq!(
            names(&report),
            [format!("image@{}", digest(&image))],
            "{bad:?}"
        );
        let warnings = report["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{bad:?}");
        assert_eq!(warnings[0]["kind"], "invalid-name");
        let strict = World::new();
        strict.refuses_with(
            &layout.source(),
            &["--strict"],
            4,
            &["is no valid reference"],
        );
    }
}

#[test]
fn a_name_that_is_no_text_is_none() {
    for name in [json!(7), json!(null), json!(["1"]), json!({"x": "1"})] {
        let world = World::new();
        let layout = world.layout();
        let mut image = layout.small_image("f");
        image["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        layout.index(&[image]);
        world.refuses(&layout.source(), 4, &["index.json"]);
    }
}

#[test]
fn hostile_names_are_escaped_where_they_are_told() {
    let world = World::new();
    let layout = world.layout();
    let names = ["a\nocistore: done", "\u{1b}]0;title\u{7}", "b\r"];
    let images: Vec<Value> = names
        .iter()
        .map(|name| named(layout.small_image(name), name))
        .collect();
    layout.index(&images);
    let (code, said) = world.fails(&["import", &format!("{}:none", layout.source())]);
    assert_eq!(code, 2);
    let line = said.strip_suffix('\n').unwrap();
    assert!(!line.contains(char::is_control), "{said:?}");
    let output = world.run(&["import", &layout.source()]);
    assert!(output.status.success());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for line in said.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn what_a_config_says_is_escaped_in_lists() {
    let world = World::new();
    let layout = world.layout();
    let hostile = "\u{1b}[2J\u{9b}x\nsample:1 sha256:0";
    let config = json!({
        "architecture": hostile, "os": hostile, "created": hostile, "author": hostile,
        "config": {"Cmd": [hostile], "Labels": {hostile: hostile}},
        "history": [{"created": hostile, "created_by": hostile}],
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let config = layout.document(CONFIG, &config);
    let mut image = manifest(&config, &[]);
    image["annotations"] = json!({hostile: hostile});
    layout.index(&[layout.document(MANIFEST, &image)]);
    layout.comes_back(&world);
    for args in [&["images"][..], &["inspect", "image"], &["df"]] {
        let output = world.run(args);
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).unwrap();
        for line in said.lines() {
            assert!(!line.contains(char::is_control), "{args:?}: {line:?}");
            assert!(!line.starts_with("sample:1"), "{args:?}: {said:?}");
        }
    }
}

#[test]
fn a_layout_without_images_is_done_with_a_warning() {
    for manifests in [json!([]), Value::Null] {
        let world = World::new();
        let layout = world.layout();
        layout.raw_index(&json!({"schemaVersion": 2, "manifests": manifests}).to_string());
        let report = world.ok(&["import", &layout.source()]);
        assert_eq!(report["images"], json!([]));
        assert_eq!(report["warnings"][0]["kind"], "no-images");
        let strict = World::new();
        strict.refuses_with(
            &layout.source(),
            &["--strict"],
            4,
            &["there is no image in it"],
        );
    }
}

#[test]
fn a_layout_of_version_1_is_read_whatever_follows_the_point() {
    for version in ["1.0.0", "1.1.0", "1.99.7-rc1", "1"] {
        let world = World::new();
        let layout = world.layout();
        layout.index(&[layout.small_image("f")]);
        let file = json!({"imageLayoutVersion": version, "later": {"field": []}});
        fs::write(layout.path.join("oci-layout"), file.to_string()).unwrap();
        layout.comes_back(&world);
    }
}

#[test]
fn a_layout_of_another_version_is_refused() {
    for file in [
        r#"{"imageLayoutVersion":"2.0.0"}"#,
        r#"{"imageLayoutVersion":"10.0.0"}"#,
        r#"{"imageLayoutVersion":""}"#,
        r#"{"imageLayoutVersion":1}"#,
        r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#,
        "\u{feff}{\"imageLayoutVersion\":\"1.0.0\"}",
        "{}",
        "[]",
        "",
    ] {
        let world = World::new();
        let layout = world.layout();
        layout.index(&[layout.small_image("f")]);
        fs::write(layout.path.join("oci-layout"), file).unwrap();
        world.refuses(&layout.source(), 4, &["oci-layout", "image'"]);
    }
}

#[test]
fn a_folder_without_oci_layout_or_without_an_index_is_refused() {
    for name in ["oci-layout", "index.json"] {
        let world = World::new();
        let layout = world.layout();
        layout.index(&[layout.small_image("f")]);
        fs::remove_file(layout.path.join(name)).unwrap();
        world.refuses(&layout.source(), 4, &[name, "image'"]);
    }
}
