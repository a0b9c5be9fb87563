//! The table "Archives": what `docker save` writes, and lists of members that it never would.

use serde_json::{Value, json};

use crate::archives::{put, refused, saved, taken, tar};
use crate::layout;
use crate::world::{World, quickly};

/// A Docker archive whose `manifest.json` is this.
fn with_list(list: &Value) -> Vec<u8> {
    let mut members = saved();
    members[2].1 = list.to_string().into_bytes();
    tar(&members).end()
}

#[test]
fn hostile_paths_in_a_docker_list_lead_to_members_only() {
    let long = "x".repeat(5000);
    let deep = "x/".repeat(5000);
    let bad = [
        "/etc/passwd",
        "../../../../etc/passwd",
        "",
        ".",
        "..",
        "/",
        "a\0b",
        "\u{1b}[2J\n",
        &long,
        &deep,
    ];
    for bad in bad {
        let config = json!([{"Config": bad, "RepoTags": ["image:1"], "Layers": ["1/layer.tar"]}]);
        refused(with_list(&config), 4, &["image.tar'"]);
        let layers = json!([{"Config": "c.json", "RepoTags": ["image:1"], "Layers": [bad]}]);
        refused(with_list(&layers), 4, &["image.tar'"]);
    }
    // Leading out of the archive's root leads back to it.
    let up = json!([{"Config": "../c.json", "RepoTags": ["image:1"], "Layers": ["/1/../../1/layer.tar"]}]);
    taken(with_list(&up));
}

#[test]
fn a_docker_list_of_another_kind_is_refused() {
    for list in [
        json!({}),
        json!([7]),
        json!([{}]),
        json!([{"Config": 7}]),
        json!([{"Config": "c.json", "Layers": "1/layer.tar"}]),
        json!([{"Config": "c.json", "Layers": [7]}]),
        json!([{"Config": "c.json", "RepoTags": [["image:1"]], "Layers": ["1/layer.tar"]}]),
    ] {
        refused(with_list(&list), 4, &["manifest.json"]);
    }
    let few = json!([{"Config": "c.json", "RepoTags": ["image:1"], "Layers": []}]);
    refused(with_list(&few), 4, &["0 layers but 1 diff_ids"]);
    let many = json!([{"Config": "c.json", "RepoTags": ["image:1"],
        "Layers": ["1/layer.tar", "1/layer.tar"]}]);
    refused(with_list(&many), 4, &["2 layers but 1 diff_ids"]);
}

#[test]
fn many_images_of_one_config_are_read_once() {
    let one = json!({"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar"]});
    let list = Value::Array(vec![one; 40_000]);
    let mut members = saved();
    members[2].1 = list.to_string().into_bytes();
    members[1].1.extend(vec![b' '; 2 << 20]);
    let world = World::of_mib(512);
    let path = put(&world, tar(&members).end());
    let report = quickly(|| world.ok(&["import", path.to_str().unwrap()]));
    assert_eq!(report["layers"]["new"], 1);
}

#[test]
fn many_names_of_one_image_are_taken_in_bounded_time() {
    let names: Vec<String> = (0..20_000).map(|n| format!("image:{n}")).collect();
    let list = json!([{"Config": "c.json", "RepoTags": names, "Layers": ["1/layer.tar"]}]);
    let world = World::new();
    let path = put(&world, with_list(&list));
    let report = quickly(|| world.ok(&["import", path.to_str().unwrap()]));
    assert_eq!(report["images"].as_array().unwrap().len(), 20_000);
    assert!(!layout::blobs_in(&world.path("store")).is_empty());
}
