//! The table "Manifests": what an image is, and whether its parts are what its documents say.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ocistore::digest::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::layout::{
    self, CONFIG, LAYER_GZIP, Layer, Layout, MANIFEST, config, digest_by, manifest, named,
};
use crate::tarball::Tar;
use crate::world::World;

fn layer(text: &str) -> Layer {
    Layer::gzip(&Tar::new().file("f", text).end())
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// Puts an image there whose config and layers' descriptors were changed.
fn image_with(
    layout: &Layout,
    layers: &[Layer],
    change_config: impl Fn(&mut Value),
    change_layers: impl Fn(&mut Vec<Value>),
) -> Value {
    let mut config = config(layers);
    change_config(&mut config);
    let config = layout.document(CONFIG, &config);
    let blobs = layers.iter().map(|l| layout.blob(&l.media_type, &l.blob));
    let mut layers: Vec<Value> = blobs.collect();
    change_layers(&mut layers);
    layout.document(MANIFEST, &manifest(&config, &layers))
}

/// An image whose config or layers' descriptors were changed is refused.
#[track_caller]
fn refused(
    code: i32,
    why: &[&str],
    change_config: impl Fn(&mut Value),
    change_layers: impl Fn(&mut Vec<Value>),
) {
    let world = World::new();
    let layout = world.layout();
    let layers = [layer("one"), layer("two")];
    layout.index(&[image_with(&layout, &layers, change_config, change_layers)]);
    world.refuses(&layout.source(), code, why);
}

#[test]
fn an_image_is_an_image_config_over_layers_only() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.image(&[layer("f")]);
    let note = layout.blob("text/plain", b"note");
    let with_note = image_with(&layout, &[layer("f")], |_| {}, |l| l.push(note.clone()));
    layout.index(&[named(image, "image"), named(with_note, "artifact")]);
    let report = layout.comes_back(&world);
    assert_eq!(report["layers"], json!({"new": 1, "known": 0}));
    let images = world.ok(&["images"]);
    let platforms = images["images"].as_array().unwrap().iter();
    let platforms: Vec<&str> = platforms.map(|i| i["platform"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["artifact", "linux/amd64"]);
}

#[test]
fn the_diff_ids_of_an_attestation_are_not_read() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.image(&[layer("f")]);
    let statement = layout.blob("application/vnd.in-toto+json", b"{\"_type\":\"x\"}");
    let mut config = config(&[]);
    config["architecture"] = "unknown".into();
    config["os"] = "unknown".into();
    config["rootfs"]["diff_ids"] = json!([digest(&statement), "no digest at all", 7]);
    let config = layout.document(CONFIG, &config);
    let mut attestation = layout.document(MANIFEST, &manifest(&config, &[statement]));
    attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(&image),
    });
    let mut image = image;
    image["platform"] = json!({"architecture": "amd64", "os": "linux"});
    layout.index(&[layout.nested(&[image, attestation])]);
    world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
}

#[test]
fn a_manifest_without_layers_is_an_image_of_nothing() {
    for diff_ids in [json!([]), Value::Null] {
        let world = World::new();
        let layout = world.layout();
        let empty = |c: &mut Value| c["rootfs"]["diff_ids"] = diff_ids.clone();
        layout.index(&[image_with(&layout, &[], empty, |_| {})]);
        world.accepts_layout(&layout, &[]).tree(&[]).warns(&[]);
    }
}

#[test]
fn a_config_as_docker_writes_it_is_read() {
    let world = World::new();
    let layout = world.layout();
    let full = |config: &mut Value| {
        config["created"] = "0001-01-01T00:00:00Z".into();
        config["container"] = "0123456789ab".into();
        config["docker_version"] = "20.10.7".into();
        config["variant"] = "v8".into();
        config["os.version"] = "".into();
        config["config"] = json!({
            "Hostname": "", "User": "", "AttachStdin": false, "Tty": false, "Env": null,
            "Cmd": ["/bin/sh"], "ArgsEscaped": true, "Image": "", "Volumes": null,
            "ExposedPorts": {"80/tcp": {}}, "WorkingDir": "", "Entrypoint": null,
            "OnBuild": null, "Labels": null, "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000_u64},
        });
        config["container_config"] = config["config"].clone();
        config["history"] = json!([
            {"created": "2024-02-29T12:34:56.789012345Z", "created_by": "a"},
            {"created_by": "b", "empty_layer": true, "comment": "buildkit.dockerfile.v0"},
        ]);
    };
    layout.index(&[image_with(&layout, &[layer("f")], full, |_| {})]);
    world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let wrong = |config: &mut Value| {
        config["rootfs"]["diff_ids"][1] = Digest::sha256(b"another").to_string().into();
    };
    let blob = layer("two").descriptor();
    let (said, is) = (Digest::sha256(b"another").to_string(), layer("two").diff_id);
    refused(3, &[digest(&blob), &said, &is], wrong, |_| {});
}

#[test]
fn swapped_diff_ids_are_refused() {
    let swap = |config: &mut Value| {
        let diff_ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
        diff_ids.swap(0, 1);
    };
    refused(3, &["its config says diff_id"], swap, |_| {});
}

#[test]
fn a_wrong_diff_id_of_a_layer_that_is_known_is_refused() {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.image(&[layer("f")])]);
    world.ok(&["import", &layout.source()]);
    // The blob is known and its tar is there, but this config claims another tar that is there too.
    layout.index(&[layout.image(&[layer("g")])]);
    world.ok(&["import", &layout.source()]);
    let mut liar = layer("f");
    liar.diff_id = layer("g").diff_id;
    layout.index(&[layout.image(&[liar])]);
    world.refuses(&layout.source(), 3, &["its config says diff_id"]);
}

#[test]
fn too_few_and_too_many_diff_ids_are_refused() {
    let few = |config: &mut Value| {
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    };
    refused(4, &["2 layers but 1 diff_ids"], few, |_| {});
    let many = |config: &mut Value| {
        let diff_ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
        diff_ids.push(diff_ids[0].clone());
    };
    refused(4, &["2 layers but 3 diff_ids"], many, |_| {});
}

#[test]
fn two_images_that_disagree_on_a_layers_diff_id_are_refused() {
    let world = World::new();
    let layout = world.layout();
    let mut liar = layer("f");
    liar.diff_id = layer("g").diff_id;
    let images = [layout.image(&[layer("f")]), layout.image(&[liar])];
    layout.index(&images);
    let blob = layer("f").descriptor();
    let why = "two images disagree on its media type or diff_id";
    world.refuses(&layout.source(), 4, &[digest(&blob), why]);
}

#[test]
fn a_wrong_size_of_a_layer_is_refused() {
    let len = layer("one").blob.len();
    for size in [0, 1, len - 1, len + 1, 1 << 40] {
        let why = format!("its descriptor says {size} bytes, it has {len}");
        refused(
            3,
            &[digest(&layer("one").descriptor()), &why],
            |_| {},
            |l| {
                l[0]["size"] = size.into();
            },
        );
    }
}

#[test]
fn a_wrong_size_of_a_document_is_refused() {
    for change in [-1, 1] {
        let world = World::new();
        let layout = world.layout();
        let mut image = layout.image(&[layer("f")]);
        let size = image["size"].as_i64().unwrap();
        image["size"] = (size + change).into();
        layout.index(&[image.clone()]);
        let why = format!("it has {size}");
        world.refuses(&layout.source(), 3, &[digest(&image), &why]);
    }
}

#[test]
fn one_document_named_with_two_sizes_is_refused() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.image(&[layer("f")]);
    let mut other = image.clone();
    other["size"] = 7.into();
    layout.index(&[image.clone(), other]);
    world.refuses(&layout.source(), 3, &[digest(&image), "7 bytes"]);
}

#[test]
fn bytes_that_are_not_what_their_digest_names_are_refused() {
    let world = World::new();
    let layout = world.layout();
    let image = layout.image(&[layer("f")]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(layout.blob_path(&image)).unwrap()).unwrap();
    layout.index(std::slice::from_ref(&image));
    for descriptor in [&image, &manifest["config"], &manifest["layers"][0]] {
        let path = layout.blob_path(descriptor);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, bad).unwrap();
        world.refuses(&layout.source(), 3, &[digest(descriptor), "its bytes are"]);
        fs::write(&path, good).unwrap();
    }
    world.accepts_layout(&layout, &[]).tree(&["f=f"]);
}

#[test]
fn a_layer_of_other_bytes_is_told_by_its_digest_whatever_is_wrong_inside() {
    let world = World::new();
    let layout = world.layout();
    let good = layer("f");
    layout.index(&[layout.image(std::slice::from_ref(&good))]);
    let bad = vec![0x1f; good.blob.len()];
    fs::write(layout.blob_path(&good.descriptor()), bad).unwrap();
    let why = [
        digest(&good.descriptor()).to_owned(),
        "its bytes are".to_owned(),
    ];
    world.refuses(&layout.source(), 3, &[&why[0], &why[1]]);
}

#[test]
fn a_blob_that_is_missing_is_refused_of_a_non_distributable_layer_too() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    for media_type in [LAYER_GZIP, foreign] {
        let world = World::new();
        let layout = world.layout();
        let mut layer = layer("f");
        layer.media_type = media_type.to_owned();
        let image = layout.image(std::slice::from_ref(&layer));
        let manifest: Value =
            serde_json::from_slice(&fs::read(layout.blob_path(&image)).unwrap()).unwrap();
        layout.index(std::slice::from_ref(&image));
        for descriptor in [&manifest["layers"][0], &manifest["config"], &image] {
            fs::remove_file(layout.blob_path(descriptor)).unwrap();
            world.refuses(
                &layout.source(),
                4,
                &[digest(descriptor), "the blob is missing"],
            );
        }
    }
}

#[test]
fn a_missing_blob_of_an_artifact_is_refused() {
    let world = World::new();
    let layout = world.layout();
    let settings = layout.blob("application/vnd.example.config.v1+json", b"{}");
    let note = layout.blob("text/plain", b"note");
    layout.index(&[layout.document(MANIFEST, &manifest(&settings, std::slice::from_ref(&note)))]);
    fs::remove_file(layout.blob_path(&note)).unwrap();
    world.refuses(&layout.source(), 4, &[digest(&note), "the blob is missing"]);
}

#[test]
fn blobs_that_are_only_in_data_are_taken_from_there() {
    let world = World::new();
    let layout = world.layout();
    let carry = |mut descriptor: Value| {
        let path = layout.blob_path(&descriptor);
        descriptor["data"] = STANDARD.encode(fs::read(&path).unwrap()).into();
        fs::remove_file(path).unwrap();
        descriptor
    };
    let layer = layer("f");
    let config = carry(layout.document(CONFIG, &config(std::slice::from_ref(&layer))));
    let blob = carry(layout.blob(LAYER_GZIP, &layer.blob));
    let image = carry(layout.document(MANIFEST, &manifest(&config, &[blob])));
    layout.index(&[image]);
    world.ok(&["import", &layout.source()]);
    let root = world.path("root");
    world.ok(&["checkout", "image", root.to_str().unwrap()]);
    assert_eq!(crate::tree::list(&root), ["f=f"]);
    // What was in data only is in blobs from then on.
    let copy = world.path("copy");
    world.ok(&["export", "image", &format!("oci:{}", copy.display())]);
    assert_eq!(layout::blobs_in(&copy).len(), 3);
    world.ok(&["fsck"]);
}

#[test]
fn data_that_is_not_what_its_digest_and_size_name_is_refused() {
    for wrong in [&b"x"[..], b"", b"{}"] {
        let data = STANDARD.encode(wrong);
        let blob = layer("one").descriptor();
        refused(
            3,
            &[digest(&blob), "data"],
            |_| {},
            |l| l[0]["data"] = data.clone().into(),
        );
        let world = World::new();
        let layout = world.layout();
        let mut image = layout.image(&[layer("f")]);
        image["data"] = data.into();
        layout.index(&[image.clone()]);
        world.refuses(&layout.source(), 3, &[digest(&image), "data"]);
    }
}

#[test]
fn data_that_is_no_base64_is_refused() {
    for text in ["!", "aGk", "aGk=\n", " aGk="] {
        let data = json!(text);
        refused(
            4,
            &["is not base64"],
            |_| {},
            |l| l[0]["data"] = data.clone(),
        );
    }
}

#[test]
fn sha384_and_sha512_are_known() {
    for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
        let world = World::new();
        let layout = world.layout();
        let tar = Tar::new().file("f", "f").end();
        let mut layer = Layer::gzip(&tar);
        layer.diff_id = digest_by(algorithm, &tar).to_string();
        let config = config(std::slice::from_ref(&layer)).to_string();
        let config = layout.blob_by(algorithm, CONFIG, config.as_bytes());
        let blob = layout.blob_by(algorithm, LAYER_GZIP, &layer.blob);
        let image = manifest(&config, &[blob]).to_string();
        let image = layout.blob_by(algorithm, MANIFEST, image.as_bytes());
        layout.index(&[image]);
        world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
    }
}

#[test]
fn a_digest_in_any_other_spelling_is_refused_before_any_path_is_made_of_it() {
    let good = layer("one").descriptor();
    let hex = digest(&good).strip_prefix("sha256:").unwrap().to_owned();
    let bad = [
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}", "g".repeat(64)),
        format!("sha512:{hex}"),
        format!("md5:{}", &hex[..32]),
        format!("blake3:{hex}"),
        format!("sha256+b64:{hex}"),
        "sha256:../../../../../../../../etc/passwd".to_owned(),
        format!("sha256:../sha256/{hex}"),
        format!("sha256/../sha256:{hex}"),
        format!("../blobs/sha256:{hex}"),
        format!("sha256:{hex}\0"),
        format!("sha256: {hex}"),
        format!("sha256:{hex}\n"),
        hex.clone(),
        format!("sha256-{hex}"),
        "sha256:".to_owned(),
        ":".to_owned(),
        String::new(),
    ];
    for (number, bad) in bad.into_iter().enumerate() {
        let why = "expected algorithm:lowercase-hex";
        refused(4, &[why], |_| {}, |l| l[0]["digest"] = bad.clone().into());
        if number % 4 > 0 {
            continue;
        }
        refused(
            4,
            &[why],
            |c| c["rootfs"]["diff_ids"][0] = bad.clone().into(),
            |_| {},
        );
        let world = World::new();
        let layout = world.layout();
        let mut image = layout.image(&[layer("f")]);
        image["digest"] = bad.clone().into();
        layout.index(&[image]);
        world.refuses(&layout.source(), 4, &["index.json", why]);
    }
}
