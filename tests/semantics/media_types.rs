//! The table "Compression and media types": the types that are known, those that are not, and what expands too far.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::layout::{
    CONFIG, LAYER, LAYER_GZIP, LAYER_ZSTD, Layer, Layout, MANIFEST, config, gzip, manifest,
};
use crate::packed::{zeros_frame, zstd};
use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{World, quickly};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

fn tar() -> Vec<u8> {
    Tar::new().file("f", "text").end()
}

/// Puts an image there whose documents are of other types, its layer's descriptor changed.
fn image(layout: &Layout, types: [&str; 2], layer: &Layer, change: impl Fn(&mut Value)) -> Value {
    let config = layout.document(types[1], &config(std::slice::from_ref(layer)));
    let mut descriptor = layout.blob(&layer.media_type, &layer.blob);
    change(&mut descriptor);
    let mut manifest = manifest(&config, &[descriptor]);
    manifest["mediaType"] = types[0].into();
    layout.document(types[0], &manifest)
}

#[test]
fn oci_and_docker_layers_plain_gzip_and_zstd_are_treated_alike() {
    let tar = tar();
    let plain =
        [LAYER, NONDISTRIBUTABLE, DOCKER_LAYER, FOREIGN_LAYER].map(|t| (t.to_owned(), tar.clone()));
    let gzipped = [
        LAYER_GZIP.to_owned(),
        format!("{NONDISTRIBUTABLE}+gzip"),
        format!("{DOCKER_LAYER}.gzip"),
        format!("{FOREIGN_LAYER}.gzip"),
    ]
    .map(|t| (t, gzip(&tar)));
    let zstd = [
        LAYER_ZSTD.to_owned(),
        format!("{NONDISTRIBUTABLE}+zstd"),
        format!("{DOCKER_LAYER}.zstd"),
    ]
    .map(|t| (t, zstd(&tar)));
    for (media_type, blob) in plain.into_iter().chain(gzipped).chain(zstd) {
        let world = World::new();
        let layout = world.layout();
        let layer = Layer::of(&media_type, blob, &tar);
        layout.index(&[layout.image(&[layer])]);
        world
            .accepts_layout(&layout, &[])
            .tree(&["f=text"])
            .warns(&[]);
    }
}

#[test]
fn docker_schema_2_manifests_configs_and_lists_are_images() {
    let world = World::new();
    let layout = world.layout();
    let layer = Layer::of(&format!("{DOCKER_LAYER}.gzip"), gzip(&tar()), &tar());
    let image = image(&layout, [DOCKER_MANIFEST, DOCKER_CONFIG], &layer, |_| {});
    let mut image = image;
    image["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [image]});
    layout.index(&[layout.document(DOCKER_LIST, &list)]);
    world
        .accepts_layout(&layout, &[])
        .tree(&["f=text"])
        .warns(&[]);
}

#[test]
fn urls_are_never_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/layer", listener.local_addr().unwrap());
    let layer = Layer::of(&format!("{FOREIGN_LAYER}.gzip"), gzip(&tar()), &tar());
    let with_url = |descriptor: &mut Value| descriptor["urls"] = json!([url]);

    let world = World::new();
    let layout = world.layout();
    layout.index(&[image(&layout, [MANIFEST, CONFIG], &layer, with_url)]);
    world.accepts_layout(&layout, &[]).tree(&["f=text"]);

    // One that is missing is missing, wherever it could be had.
    let world = World::new();
    let layout = world.layout();
    layout.index(&[image(&layout, [MANIFEST, CONFIG], &layer, with_url)]);
    std::fs::remove_file(layout.blob_path(&layer.descriptor())).unwrap();
    let digest = layer.descriptor()["digest"].as_str().unwrap().to_owned();
    world.refuses(&layout.source(), 4, &[&digest, "the blob is missing"]);

    let asked = listener.accept().unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn unknown_config_layer_and_manifest_types_are_artifacts_and_come_back_whole() {
    let world = World::new();
    let layout = world.layout();
    let chart = layout.blob(
        "application/vnd.example.chart.v1.tar+gzip",
        b"no tar at all",
    );
    let settings = layout.blob("application/vnd.example.config.v1+json", b"{}");
    let layer = Layer::gzip(&tar());
    let known = layout.blob(LAYER_GZIP, &layer.blob);
    let image_config = layout.document(CONFIG, &config(std::slice::from_ref(&layer)));
    let odd_config = layout.document(MANIFEST, &manifest(&settings, &[known]));
    let odd_layer = layout.document(MANIFEST, &manifest(&image_config, &[chart]));
    let odd_manifest = layout.blob("application/vnd.example.thing.v3", b"\0\xffanything");
    layout.index(&[odd_config, odd_layer, odd_manifest]);
    let report = layout.comes_back(&world);
    assert_eq!(report["layers"], json!({"new": 0, "known": 0}));
    assert_eq!(report["images"].as_array().unwrap().len(), 3);
}

#[test]
fn a_checkout_of_an_artifact_says_that_it_is_none() {
    let world = World::new();
    let layout = world.layout();
    let settings = layout.blob("application/vnd.example.config.v1+json", b"{}");
    let note = layout.blob("text/plain", b"text");
    layout.index(&[layout.document(MANIFEST, &manifest(&settings, &[note]))]);
    layout.comes_back(&world);
    let before = tree::snapshot(&world.path("host"));
    let (code, said) = world.fails(&["checkout", "image", "root"]);
    assert_eq!(code, 2, "{said}");
    let why = "it is no image with a root filesystem";
    assert!(said.contains(why), "{said}");
    assert_eq!(tree::snapshot(&world.path("host")), before);
}

/// A tar of one file of zeros that has `len` bytes in all.
fn zeros(len: usize) -> Vec<u8> {
    Tar::new().file("z", vec![0; len - 3 * 512]).end()
}

#[test]
fn a_tar_over_a_thousand_times_larger_than_its_blob_is_refused_above_64_mib() {
    let tar = zeros(100 << 20);
    let blob = gzip(&tar);
    assert!(tar.len() / blob.len() > 1000);
    let layer = Layer::of(LAYER_GZIP, blob, &tar);
    let world = World::of_mib(256);
    let layout = world.layout();
    layout.index(&[layout.image(&[layer])]);
    let why = "its tar is over 1000 times larger than its blob";
    quickly(|| world.refuses(&layout.source(), 4, &[why]));
}

#[test]
fn a_tar_over_a_thousand_times_larger_than_its_blob_is_fine_up_to_64_mib() {
    let tar = zeros(64 << 20);
    let layer = Layer::of(LAYER_GZIP, gzip(&tar), &tar);
    assert!(tar.len() / layer.blob.len() > 1000);
    let world = World::of_mib(512);
    let len = tar.len() - 3 * 512;
    world
        .accepts([layer], &[])
        .tree(&[&format!("z=[{len} bytes]")])
        .warns(&[]);
}

#[test]
fn a_tar_just_under_a_thousand_times_larger_than_its_blob_is_fine() {
    let tar = zeros(70 << 20);
    let blob = gzip(&tar);
    // Zeros after the stream count as bytes of the blob.
    let blob = crate::packed::padded(blob.clone(), tar.len() / 999 + 1 - blob.len());
    let layer = Layer::of(LAYER_GZIP, blob, &tar);
    let len = tar.len() - 3 * 512;
    World::of_mib(512)
        .accepts([layer], &[])
        .tree(&[&format!("z=[{len} bytes]")]);
}

#[test]
fn a_blob_of_a_megabyte_that_would_be_32_gib_is_refused_at_once() {
    let head = zstd(
        &Tar::new()
            .add(Header::new(b'0', "z").raw_size(b"400000000000"), "")
            .bytes,
    );
    let bomb = [head, zeros_frame(256 << 10)].concat();
    assert!(bomb.len() < 2 << 20);
    let world = World::of_mib(256);
    let layout = world.layout();
    // What its diff_id would be does not matter: nobody gets there.
    let layer = Layer::of(LAYER_ZSTD, bomb, b"");
    layout.index(&[layout.image(&[layer])]);
    let why = "its tar is over 1000 times larger than its blob";
    quickly(|| world.refuses(&layout.source(), 4, &[why]));
}
