//! Tests of new documents: what a change does, and all that it must not do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::wire::{OCI_INDEX, OCI_LAYER};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

fn diff_id(of: &str) -> DiffId {
    DiffId(digest(of))
}

fn layer(of: &str) -> Descriptor {
    Descriptor::new(OCI_LAYER, digest(of), of.len() as u64)
}

/// An image as documents, its config as `config` says and with one layer.
fn image(config: &str) -> (Descriptor, String, String) {
    let config = config.replace("DIFF_ID", &diff_id("a").to_string());
    let of_config = Descriptor::new(OCI_CONFIG, digest(&config), config.len() as u64);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": of_config.raw,
        "layers": [layer("a").raw],
    })
    .to_string();
    (at(OCI_MANIFEST, &manifest), manifest, config)
}

fn at(media_type: &str, manifest: &str) -> Descriptor {
    Descriptor::new(media_type, digest(manifest), manifest.len() as u64)
}

fn draft(config: &str) -> Draft {
    let (descriptor, manifest, config) = image(config);
    Draft::of(&descriptor, manifest.as_bytes(), config.as_bytes()).unwrap()
}

fn set(texts: &[&str]) -> Changes {
    both(texts, &[])
}

fn both(set: &[&str], clear: &[&str]) -> Changes {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    Changes::parse(&own(set), &own(clear)).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

const PLAIN: &str =
    r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["DIFF_ID"]}}"#;

#[test]
fn a_draft_that_nothing_changed_gives_back_the_bytes_it_began_with() {
    for config in [
        PLAIN.replace(',', " ,\n\t"),
        PLAIN.replace('}', r#","x":1}"#),
    ] {
        let (descriptor, manifest, config) = image(&config);
        let manifest = manifest.replace(',', ",\n ");
        let descriptor = Descriptor {
            ..at(&descriptor.media_type, &manifest)
        };
        let mut draft = Draft::of(&descriptor, manifest.as_bytes(), config.as_bytes()).unwrap();
        draft.change(&both(&["os=linux"], &["env", "label=x", "annotation"]));
        let new = draft.finish().unwrap();
        assert_eq!(text(&new.config), config);
        assert_eq!(text(&new.manifest), manifest);
        assert_eq!(new.manifest_descriptor, descriptor);
    }
}

#[test]
fn fields_that_nobody_knows_stay_in_their_places() {
    let config = r#"{"z":[18446744073709551615,-1,1.5,null],"architecture":"amd64","config":{"Healthcheck":{"Interval":30000000000},"Env":["A=1"],"OnBuild":null},"os":"linux","rootfs":{"diff_ids":["DIFF_ID"],"type":"layers","later":true},"created":"old"}"#;
    let mut draft = draft(config);
    draft.change(&set(&[
        "env=A=2",
        "env=B=3",
        "created=2026-01-02T03:04:05Z",
    ]));
    let new = draft.finish().unwrap();
    let wanted = config
        .replace("DIFF_ID", &diff_id("a").to_string())
        .replace(r#"["A=1"]"#, r#"["A=2","B=3"]"#)
        .replace("old", "2026-01-02T03:04:05Z");
    assert_eq!(text(&new.config), wanted);
}

#[test]
fn every_key_changes_its_field() {
    let mut draft = draft(PLAIN);
    draft.change(&set(&[
        "user=app:app",
        "env=A=1",
        "entrypoint=[\"/bin/sh\",\"-c\"]",
        "cmd=a",
        "cmd=b",
        "workdir=/w",
        "label=k=v",
        "expose=80/tcp",
        "volume=/v",
        "stop-signal=SIGINT",
        "created=2026-01-02T03:04:05Z",
        "author=me",
        "architecture=arm64",
        "os=linux",
        "variant=v8",
        "annotation=x=y",
    ]));
    let new = draft.finish().unwrap();
    assert_eq!(
        value(&new.config),
        json!({
            "architecture": "arm64", "os": "linux", "variant": "v8",
            "created": "2026-01-02T03:04:05Z", "author": "me",
            "rootfs": {"type": "layers", "diff_ids": [diff_id("a").to_string()]},
            "config": {
                "User": "app:app", "Env": ["A=1"], "Entrypoint": ["/bin/sh", "-c"],
                "Cmd": ["a", "b"], "WorkingDir": "/w", "Labels": {"k": "v"},
                "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT",
            },
        })
    );
    assert_eq!(value(&new.manifest)["annotations"], json!({"x": "y"}));
    assert_eq!(new.read.platform, "linux/arm64/v8");
    assert_eq!(new.config_descriptor.digest, Digest::sha256(&new.config));
    assert_eq!(
        new.manifest_descriptor.digest,
        Digest::sha256(&new.manifest)
    );
}

#[test]
fn what_is_cleared_goes_and_what_is_set_beside_it_stays() {
    let mut draft = draft(
        r#"{"architecture":"a","os":"b","author":"me","config":{"Env":["A=1","B=2","A=3","C"],"Labels":{"x":"1","y":"2"},"Volumes":{"/v":{}},"Cmd":["c"],"User":"u"},"rootfs":{"type":"layers","diff_ids":["DIFF_ID"]}}"#,
    );
    draft.change(&both(
        &["label=z=3", "user="],
        &["env=A", "env=C", "label", "volume=/v", "cmd", "author"],
    ));
    assert_eq!(draft.author(), None);
    let new = value(&draft.finish().unwrap().config);
    assert_eq!(new["config"], json!({"Env": ["B=2"], "Labels": {"z": "3"}}));
    assert_eq!(new.get("author"), None);
}

#[test]
fn a_variable_that_stands_twice_stands_once_where_it_stood_first() {
    let mut draft = draft(
        r#"{"architecture":"a","os":"b","config":{"Env":["A=1","AB=2","A=3"]},"rootfs":{"type":"layers","diff_ids":["DIFF_ID"]}}"#,
    );
    draft.change(&set(&["env=A=4"]));
    let new = value(&draft.finish().unwrap().config);
    assert_eq!(new["config"]["Env"], json!(["A=4", "AB=2"]));
}

/// An image as Docker's tools write it.
fn docker() -> (String, String) {
    let config = PLAIN.replace("DIFF_ID", &diff_id("a").to_string());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(),
            "digest": digest(&config).to_string(),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "size": 1,
            "digest": digest("a").to_string(),
            "urls": ["https://example.com/a"],
        }],
    });
    (manifest.to_string(), config)
}

#[test]
fn a_docker_image_that_is_changed_becomes_an_oci_image_in_all_its_types() {
    let (manifest, config) = docker();
    let descriptor = at(DOCKER_MANIFEST, &manifest);
    let base = Draft::of(&descriptor, manifest.as_bytes(), config.as_bytes()).unwrap();
    let same = base.clone().finish().unwrap();
    assert_eq!(text(&same.manifest), manifest);
    assert_eq!(same.manifest_descriptor, descriptor);
    for change in ["user=x", "annotation=k=v"] {
        let mut draft = base.clone();
        draft.change(&set(&[change]));
        let new = draft.finish().unwrap();
        assert_eq!(new.manifest_descriptor.media_type, OCI_MANIFEST);
        assert!(!text(&new.manifest).contains("docker"), "{change}");
        let layer = &value(&new.manifest)["layers"][0];
        assert_eq!(
            layer["mediaType"],
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        );
        assert_eq!(layer["urls"], json!(["https://example.com/a"]));
    }
}

#[test]
fn lists_that_are_null_are_lists() {
    let config = r#"{"architecture":"a","os":"b","config":null,"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
    let of_config = Descriptor::new(OCI_CONFIG, digest(config), config.len() as u64);
    let manifest = json!({"schemaVersion": 2, "config": of_config.raw, "layers": null}).to_string();
    let descriptor = at(OCI_MANIFEST, &manifest);
    let mut draft = Draft::of(&descriptor, manifest.as_bytes(), config.as_bytes()).unwrap();
    draft.change(&set(&["user=u"]));
    draft.push_layer(&layer("a"), &diff_id("a"), Some(&by("one")));
    let new = draft.finish().unwrap();
    assert_eq!(new.read.diff_ids, [diff_id("a")]);
    assert_eq!(new.layers, [layer("a")]);
    let config = value(&new.config);
    assert_eq!(config["config"], json!({"User": "u"}));
    assert_eq!(config["history"], json!([{"created_by": "one"}]));
    // A manifest without a media type gets none.
    assert_eq!(value(&new.manifest).get("mediaType"), None);
}

fn by(command: &str) -> History {
    History {
        created_by: Some(command.to_owned()),
        ..History::default()
    }
}

#[test]
fn history_has_an_entry_for_each_layer_as_soon_as_it_has_any() {
    let mut draft = draft(PLAIN);
    draft.push_layer(&layer("b"), &diff_id("b"), None);
    draft.push_history(&by("config"));
    draft.push_layer(
        &layer("c"),
        &diff_id("c"),
        Some(&History {
            created: Some(Time::of_unix(0)),
            author: Some("me".to_owned()),
            comment: Some(String::new()),
            ..by("commit")
        }),
    );
    let new = draft.finish().unwrap();
    assert_eq!(
        value(&new.config)["history"],
        json!([
            {}, {},
            {"created_by": "config", "empty_layer": true},
            {"created": "1970-01-01T00:00:00Z", "created_by": "commit", "author": "me"},
        ])
    );
    assert_eq!(new.layers, [layer("a"), layer("b"), layer("c")]);
    let diff_ids = [diff_id("a"), diff_id("b"), diff_id("c")];
    assert_eq!(new.read.diff_ids, diff_ids);
}

#[test]
fn a_squashed_image_has_one_layer_and_its_history() {
    for (history, wanted) in [
        (Some(by("squash")), Some(json!([{"created_by": "squash"}]))),
        (None, None),
    ] {
        let mut draft = draft(&PLAIN.replace(
            r#""rootfs""#,
            r#""history":[{"created_by":"x"},{"empty_layer":true}],"rootfs""#,
        ));
        draft.squash(&layer("s"), &diff_id("s"), history.as_ref());
        let new = draft.finish().unwrap();
        assert_eq!(new.layers, [layer("s")]);
        assert_eq!(new.read.diff_ids, [diff_id("s")]);
        assert_eq!(value(&new.config).get("history"), wanted.as_ref());
    }
}

#[test]
fn a_manifest_keeps_all_but_what_says_the_bytes_of_the_old_config() {
    let (_, manifest, config) = image(PLAIN);
    let mut with = value(manifest.as_bytes());
    with["config"]["data"] = STANDARD.encode(&config).into();
    with["config"]["annotations"] = json!({"a": "b"});
    with["subject"] = json!(at(OCI_MANIFEST, "subject").raw);
    with["annotations"] = json!({"k": "v", "l": "w"});
    with["later"] = json!([{}]);
    let manifest = with.to_string();
    let descriptor = at(OCI_MANIFEST, &manifest);
    let mut draft = Draft::of(&descriptor, manifest.as_bytes(), config.as_bytes()).unwrap();
    draft.change(&both(&["user=u", "annotation=k=new"], &["annotation=l"]));
    let new = draft.finish().unwrap();
    with["config"] = json!({
        "mediaType": OCI_CONFIG,
        "digest": Digest::sha256(&new.config).to_string(),
        "size": new.config.len(),
        "annotations": {"a": "b"},
    });
    with["annotations"] = json!({"k": "new"});
    assert_eq!(text(&new.manifest), with.to_string());
}

#[test]
fn an_image_can_begin_with_nothing() {
    let mut draft = Draft::empty("linux/arm/v7").unwrap();
    draft.set_created(&Time::of_unix(0));
    draft.push_layer(&layer("a"), &diff_id("a"), Some(&by("one")));
    let new = draft.finish().unwrap();
    assert_eq!(new.read.platform, "linux/arm/v7");
    assert_eq!(new.read.created, "1970-01-01T00:00:00Z");
    let again = Draft::of(&new.manifest_descriptor, &new.manifest, &new.config).unwrap();
    assert_eq!(again.finish().unwrap(), new);
    for bad in ["linux", "linux/", "linux/a/b/c", "lin ux/amd64"] {
        assert_eq!(Draft::empty(bad).unwrap_err().exit_code(), 64, "{bad}");
    }
}

#[test]
fn what_cannot_be_kept_or_is_no_image_is_refused() {
    let refused = |descriptor: &Descriptor, manifest: &str, config: &str| {
        let draft = Draft::of(descriptor, manifest.as_bytes(), config.as_bytes());
        draft.unwrap_err().exit_code()
    };
    let (descriptor, manifest, config) = image(&PLAIN.replace('}', r#","x":1e3}"#));
    assert_eq!(refused(&descriptor, &manifest, &config), 4);
    let (descriptor, manifest, _) = image(PLAIN);
    assert_eq!(refused(&descriptor, &manifest, "{}"), 4);
    let none = PLAIN.replace(r#""DIFF_ID""#, "");
    assert_eq!(refused(&descriptor, &manifest, &none), 4);
    let artifact = manifest.replace(OCI_CONFIG, "a/b");
    assert_eq!(refused(&at(OCI_MANIFEST, &artifact), &artifact, &config), 2);
    let index = r#"{"manifests":[]}"#;
    assert_eq!(refused(&at(OCI_INDEX, index), index, "{}"), 2);
}
