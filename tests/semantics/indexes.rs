//! The table "Manifests": indexes in indexes, referrers, and documents of types that nobody knows.

use std::fs;

use serde_json::{Value, json};

use crate::layout::{CONFIG, INDEX, LAYER, Layer, MANIFEST, config, manifest, named};
use crate::tarball::Tar;
use crate::world::{World, quickly};

const UNKNOWN: &str = "application/vnd.example.list.v1+json";

#[test]
fn indexes_in_indexes_are_followed_to_depth_8() {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.nested_deep(layout.small_image("f"), 8)]);
    world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
}

#[test]
fn an_index_at_depth_9_is_refused() {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.nested_deep(layout.small_image("f"), 9)]);
    world.refuses(&layout.source(), 4, &["indexes nest over 8 deep"]);
}

#[test]
fn an_artifact_in_an_index_at_depth_8_is_followed() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.small_image("f");
    let settings = layout.blob("application/vnd.example.config.v1+json", b"{}");
    let note = layout.blob("text/plain", b"note");
    let mut artifact = manifest(&settings, &[note]);
    artifact["subject"] = image;
    layout.index(&[layout.nested_deep(layout.document(MANIFEST, &artifact), 8)]);
    layout.comes_back(&world);
}

#[test]
fn an_index_is_as_deep_as_the_shortest_way_to_it_whatever_the_order() {
    for order in [[0, 1], [1, 0]] {
        let world = World::new();
        let layout = world.layout();
        let lower = layout.nested_deep(layout.small_image("f"), 5);
        let deep = layout.nested_deep(lower.clone(), 4);
        let entries = [named(lower, "b"), named(deep, "a")];
        layout.index(&order.map(|n: usize| entries[n].clone()));
        layout.comes_back(&world);
        // The way that is left is longer, but what is in the store is followed to its end.
        world.ok(&["untag", "image:b"]);
        world.ok(&["gc"]);
        world.ok(&["fsck"]);
        let root = world.path("root");
        world.ok(&["checkout", "image:a", root.to_str().unwrap()]);
        assert_eq!(crate::tree::list(&root), ["f=f"]);
    }
}

#[test]
fn each_document_is_read_once_however_many_ways_lead_to_it() {
    let world = World::of_mib(512);
    let layout = world.layout();
    let mut level = layout.small_image("f");
    for _ in 0..8 {
        let many: Vec<Value> = vec![level; 3000];
        level = layout.nested(&many);
    }
    // 3000⁸ ways.
    layout.index(&[level]);
    let imported = quickly(|| world.accepts_layout(&layout, &[]));
    imported.tree(&["f=f"]).warns(&[]);
}

#[test]
fn documents_that_seem_to_lead_to_each_other_end() {
    // Two indexes cannot hold each other's digest; one of the two has to be a lie.
    let world = World::new();
    let layout = world.layout();
    let first = layout.nested(&[]);
    let second = layout.nested(std::slice::from_ref(&first));
    let liar = json!({"schemaVersion": 2, "manifests": [second]}).to_string();
    let mut lie = first;
    lie["size"] = liar.len().into();
    fs::write(layout.blob_path(&lie), &liar).unwrap();
    layout.index(&[second]);
    let (code, said) = quickly(|| world.fails(&["import", &layout.source()]));
    assert_eq!(code, 3, "{said}");
}

#[test]
fn descriptors_in_a_document_of_an_unknown_type_are_followed_where_their_blob_is_there() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.small_image("f");
    let note = layout.blob("text/plain", b"note");
    let mut gone = note.clone();
    gone["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    let mut odd = note.clone();
    odd["digest"] = "sha256:../../../etc/passwd".into();
    let list = json!({"deep": [[{"very": image}], gone, odd, {"note": note}], "digest": 7});
    layout.index(&[layout.document(UNKNOWN, &list)]);
    let report = layout.comes_back(&world);
    assert_eq!(report["layers"]["new"], 1);
}

#[test]
fn a_document_of_an_unknown_type_need_not_be_json() {
    for bytes in [&b""[..], b"{", b"\xef\xbb\xbf{}", b"\0\xff", b"[[[["] {
        let world = World::new();
        let layout = world.layout();
        layout.index(&[layout.blob(UNKNOWN, bytes)]);
        layout.comes_back(&world);
    }
}

#[test]
fn a_referrer_comes_along_with_its_subject_and_needs_none() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.small_image("f");
    let settings = layout.blob("application/vnd.oci.empty.v1+json", b"{}");
    let signature = layout.blob("application/vnd.example.signature", b"signed");
    let mut referrer = manifest(&settings, std::slice::from_ref(&signature));
    referrer["artifactType"] = "application/vnd.example.signature".into();
    referrer["subject"] = image;
    let of_image = layout.document(MANIFEST, &referrer);
    referrer["subject"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    let of_nothing = layout.document(MANIFEST, &referrer);
    layout.index(&[of_image, of_nothing]);
    let report = layout.comes_back(&world);
    assert_eq!(report["layers"]["new"], 1);
}

#[test]
fn the_subject_of_an_index_comes_along_where_it_is_there() {
    let world = World::new();
    let layout = world.layout();
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    index["subject"] = layout.small_image("f");
    index["later"] = json!({"field": layout.blob("text/plain", b"note")});
    layout.index(&[layout.document(INDEX, &index)]);
    let report = layout.comes_back(&world);
    assert_eq!(report["layers"]["new"], 1);
}

#[test]
fn a_chain_of_referrers_of_any_length_ends() {
    let world = World::new();
    let layout = world.layout();
    let settings = layout.blob("application/vnd.oci.empty.v1+json", b"{}");
    let mut last = layout.small_image("f");
    for _ in 0..2000 {
        let mut referrer = manifest(&settings, &[]);
        referrer["subject"] = last;
        last = layout.document(MANIFEST, &referrer);
    }
    layout.index(&[last]);
    quickly(|| layout.comes_back(&world));
}

#[test]
fn one_blob_that_is_unknown_here_and_a_manifest_there_is_both() {
    let world = World::new();
    let layout = world.layout();
    let layer = Layer::from(Tar::new().file("f", "f"));
    let config = layout.document(CONFIG, &config(std::slice::from_ref(&layer)));
    let blob = layout.blob(LAYER, &layer.blob);
    let mut image = manifest(&config, &[blob]);
    image.as_object_mut().unwrap().remove("mediaType");
    let image = layout.document(MANIFEST, &image);
    for order in [["b", "a"], ["a", "b"]] {
        let mut unknown = named(image.clone(), order[0]);
        unknown["mediaType"] = UNKNOWN.into();
        let known = named(image.clone(), order[1]);
        let mut entries = [unknown, known];
        entries.sort_by_key(|e| e["annotations"].to_string());
        let world = World::new();
        layout.index(&entries);
        world.ok(&["import", &layout.source()]);
        let root = world.path("root");
        let name = format!("image:{}", order[1]);
        world.ok(&["checkout", &name, root.to_str().unwrap()]);
        assert_eq!(crate::tree::list(&root), ["f=f"]);
        world.ok(&["fsck"]);
        world.ok(&["gc"]);
    }
    drop(world);
}

#[test]
fn one_blob_that_is_a_layer_here_and_an_artifacts_there_is_both() {
    let world = World::new();
    let layout = world.layout();
    let layer = Layer::gzip(&Tar::new().file("f", "f").end());
    let image = layout.image(std::slice::from_ref(&layer));
    let settings = layout.blob("application/vnd.example.config.v1+json", b"{}");
    let artifact = manifest(&settings, &[layer.descriptor()]);
    let artifact = layout.document(MANIFEST, &artifact);
    layout.index(&[artifact, image]);
    layout.comes_back(&world);
}

#[test]
fn an_unknown_document_of_nested_descriptors_needs_no_more_memory_than_it_has() {
    let world = World::of_mib(512);
    let layout = world.layout();
    let mut inner = json!({"payload": "x".repeat(3 << 20)}).to_string();
    for n in 0..120 {
        let digest = format!("sha256:{n:064x}");
        inner = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1,"in":{inner}}}"#);
    }
    layout.index(&[layout.blob(UNKNOWN, inner.as_bytes())]);
    quickly(|| layout.comes_back(&world));
}

#[test]
fn an_index_full_of_descriptors_needs_no_more_memory_than_512_mib() {
    let world = World::of_mib(512);
    let layout = world.layout();
    let image = layout.small_image("f");
    let most = (4 << 20) / (image.to_string().len() + 3);
    let mut level = image;
    for _ in 0..3 {
        level = layout.nested(&vec![level; most]);
    }
    layout.index(&[level]);
    quickly(|| world.ok(&["import", &layout.source()]));
}

#[test]
fn a_blob_that_only_says_that_it_refers_to_an_image_does_not_stop_gc() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.small_image("f");
    layout.index(std::slice::from_ref(&image));
    world.ok(&["import", &layout.source()]);
    let mut posing = manifest(&image, &[]);
    posing["subject"] = image;
    posing["config"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    layout.index(&[named(layout.document(UNKNOWN, &posing), "posing")]);
    world.ok(&["import", &layout.source()]);
    world.ok(&["untag", "image:posing"]);
    world.ok(&["gc"]);
    assert!(world.run(&["fsck"]).status.success());
    world.ok(&["untag", "image:latest"]);
    world.ok(&["gc"]);
    assert_eq!(world.ok(&["gc"])["report"]["documents"]["kept"], 0);
}
