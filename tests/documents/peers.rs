//! What other tools make of it: umoci changes the same fields in the same way, skopeo and umoci read the result.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Place, sample};

/// Tells whether the other tools are there; where they have to be, fails if they are not.
fn are_there() -> bool {
    let there = ["umoci", "skopeo"].iter().all(|tool| {
        let mut command = Command::new(tool);
        command.arg("--version").output().is_ok()
    });
    let required = std::env::var_os("OCISTORE_REQUIRE_PEERS").is_some();
    assert!(there || !required, "umoci and skopeo have to be there");
    if !there {
        eprintln!("skipped: this test needs umoci and skopeo");
    }
    there
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Reads the manifest and config of an image in a layout.
fn documents(layout: &Path, tag: &str) -> (Value, Value) {
    let read = |below: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join(below)).unwrap()).unwrap()
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        read(&format!("blobs/{}", digest.replace(':', "/")))
    };
    let index = read("index.json");
    let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let entry = index["manifests"].as_array().unwrap().iter().find(named);
    let manifest = blob(entry.unwrap());
    let config = blob(&manifest["config"]);
    (manifest, config)
}

/// One change in umoci's words and in ours.
type Change = (&'static [&'static str], &'static [&'static str]);

const CHANGES: &[Change] = &[
    (&["--config.user=app:app"], &["--config", "user=app:app"]),
    (&["--config.workingdir=/w"], &["--config", "workdir=/w"]),
    (
        &["--config.stopsignal=SIGINT"],
        &["--config", "stop-signal=SIGINT"],
    ),
    (
        &["--config.env=A=1", "--config.env=B=x=y", "--config.env=A=2"],
        &[
            "--config",
            "env=A=1",
            "--config",
            "env=B=x=y",
            "--config",
            "env=A=2",
        ],
    ),
    (
        &["--config.entrypoint=/bin/sh", "--config.entrypoint=-c"],
        &[
            "--config",
            "entrypoint=/bin/sh",
            "--config",
            "entrypoint=-c",
        ],
    ),
    (
        &["--config.cmd=echo", "--config.cmd=a b"],
        &["--config", r#"cmd=["echo","a b"]"#],
    ),
    (
        &["--config.label=x=1", "--config.label=y="],
        &["--config", "label=x=1", "--config", "label=y="],
    ),
    (
        &[
            "--config.exposedports=80/tcp",
            "--config.exposedports=53/udp",
        ],
        &["--config", "expose=80/tcp", "--config", "expose=53/udp"],
    ),
    (
        &["--config.volume=/a", "--config.volume=/b"],
        &["--config", "volume=/a", "--config", "volume=/b"],
    ),
    (
        &["--created=2026-11-24T16:35:00Z", "--author=me"],
        &[
            "--config",
            "created=2026-11-24T16:35:00Z",
            "--config",
            "author=me",
        ],
    ),
    (
        &["--os=plan9", "--architecture=mips"],
        &["--config", "os=plan9", "--config", "architecture=mips"],
    ),
    (
        &["--manifest.annotation=k=v", "--manifest.annotation=l=w"],
        &["--config", "annotation=k=v", "--config", "annotation=l=w"],
    ),
    (
        &[
            "--history.comment=why",
            "--history.author=you",
            "--history.created_by=x",
        ],
        &["--message", "why", "--author", "you", "--created-by", "x"],
    ),
    (
        &["--clear=config.env", "--config.env=C=3"],
        &["--clear", "env", "--config", "env=C=3"],
    ),
    (&["--clear=config.labels"], &["--config", "label="]),
    (&["--clear=config.exposedports"], &["--clear", "expose"]),
    (
        &["--clear=config.volume", "--config.volume=/c"],
        &["--clear", "volume", "--config", "volume=/c"],
    ),
    (
        &["--clear=config.cmd", "--clear=config.entrypoint"],
        &["--clear", "cmd", "--clear", "entrypoint"],
    ),
    (
        &["--clear=manifest.annotations"],
        &["--clear", "annotation"],
    ),
];

/// What is to be equal: all but who made the history entries, and when. umoci writes some fields as empty lists or
/// objects and leaves others away; either way there is nothing in them.
fn comparable((manifest, mut config): (Value, Value)) -> Value {
    for entry in config["history"].as_array_mut().unwrap().iter_mut().skip(2) {
        let entry = entry.as_object_mut().unwrap();
        entry.remove("created").unwrap();
        let by = entry["created_by"].as_str().unwrap();
        if by == "umoci config" || by == "ocistore config" {
            entry.remove("created_by");
        }
    }
    let full = |_: &String, value: &mut Value| {
        !(value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty))
    };
    if let Some(run) = config["config"].as_object_mut() {
        run.retain(full);
    }
    let annotations = manifest["annotations"].as_object().cloned();
    json!({
        "config": config,
        "layers": manifest["layers"],
        "annotations": annotations.unwrap_or_default(),
    })
}

/// The changes are made one after another, so that each finds what those before it left.
#[test]
fn every_flag_of_umoci_config_has_one_of_the_same_effect() {
    if !are_there() {
        return;
    }
    let place = Place::with_sample();
    let theirs = place.path("theirs");
    run(
        "cp",
        &["-r", sample().to_str().unwrap(), theirs.to_str().unwrap()],
    );
    let image = format!("{}:1", theirs.display());
    for (at, (umoci, ours)) in CHANGES.iter().enumerate() {
        run("umoci", &[&["config", "--image", &image], *umoci].concat());
        place.ok(&[&["config", "sample:1"], *ours].concat());
        let layout = place.path(&format!("ours-{at}"));
        place.ok(&["export", "sample:1", &format!("oci:{}", layout.display())]);
        let (theirs, ours) = (documents(&theirs, "1"), documents(&layout, "1"));
        assert_eq!(comparable(ours), comparable(theirs), "{umoci:?}");
    }
}

#[test]
fn umoci_and_skopeo_read_what_config_made() {
    if !are_there() {
        return;
    }
    let place = Place::with_sample();
    let set = [
        "user=app",
        "env=A=1",
        "entrypoint=/e",
        "workdir=/w",
        "label=k=v",
        "expose=80/tcp",
        "volume=/v",
        "stop-signal=SIGINT",
        "author=me",
        "variant=v2",
        "annotation=x=y",
    ];
    let flags: Vec<&str> = set.iter().flat_map(|text| ["--config", text]).collect();
    place.ok(&[
        &["config", "sample:1", "-t", "new:1", "-m", "why"],
        &flags[..],
    ]
    .concat());
    let layout = place.text("layout");
    place.ok(&["export", "new:1", &format!("oci:{layout}")]);
    let at = format!("oci:{layout}:1");
    let seen: Value = serde_json::from_str(&run("skopeo", &["inspect", "--config", &at])).unwrap();
    assert_eq!(
        seen["config"],
        json!({
            "User": "app", "Env": ["A=1"], "Entrypoint": ["/e"], "Cmd": ["/bin/hello"],
            "WorkingDir": "/w", "Labels": {"k": "v"}, "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/v": {}}, "StopSignal": "SIGINT",
        })
    );
    assert_eq!(
        (&seen["author"], &seen["variant"]),
        (&json!("me"), &json!("v2"))
    );
    let raw: Value = serde_json::from_str(&run("skopeo", &["inspect", "--raw", &at])).unwrap();
    assert_eq!(raw["annotations"], json!({"x": "y"}));
    let image = format!("{layout}:1");
    let stat = run("umoci", &["stat", "--json", "--image", &image]);
    let stat: Value = serde_json::from_str(&stat).unwrap();
    let last = stat["history"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["comment"], &last["author"]),
        (&json!("why"), &json!("me"))
    );
    assert_eq!(last["empty_layer"], json!(true));
    run(
        "skopeo",
        &["copy", &at, &format!("dir:{}", place.text("dir"))],
    );
}

#[test]
fn a_docker_image_that_is_changed_is_one_that_umoci_reads() {
    if !are_there() {
        return;
    }
    let place = Place::new();
    let (from, to) = (
        format!("oci:{}:1", sample().display()),
        place.text("docker"),
    );
    run(
        "skopeo",
        &["copy", "--format", "v2s2", &from, &format!("dir:{to}")],
    );
    // A layout of what is in there: skopeo itself would make it an OCI image.
    let layout = docker_layout(&place, Path::new(&to));
    place.ok(&[
        "import",
        &format!("oci:{}", layout.display()),
        "--name",
        "docker:1",
    ]);
    assert!(
        place
            .ok(&["inspect", "--raw", "docker:1"])
            .contains("vnd.docker.")
    );
    place.ok(&["config", "docker:1", "--config", "user=1"]);
    assert!(
        !place
            .ok(&["inspect", "--raw", "docker:1"])
            .contains("docker")
    );
    let out = place.text("out");
    place.ok(&["export", "docker:1", &format!("oci:{out}")]);
    run("umoci", &["stat", "--image", &format!("{out}:1")]);
    run("skopeo", &["inspect", &format!("oci:{out}:1")]);
    place.ok(&["fsck"]);
}

/// Makes a layout of a folder of skopeo's `dir:`, its documents as they are.
fn docker_layout(place: &Place, from: &Path) -> std::path::PathBuf {
    let layout = place.path("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let sum = run("sha256sum", &[entry.path().to_str().unwrap()]);
        fs::copy(entry.path(), blobs.join(&sum[..64])).unwrap();
    }
    let manifest = from.join("manifest.json");
    let sum = run("sha256sum", &[manifest.to_str().unwrap()]);
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": format!("sha256:{}", &sum[..64]),
        "size": fs::metadata(&manifest).unwrap().len(),
    }]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(
        layout.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    layout
}
