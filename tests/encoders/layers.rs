//! The whole way: one tar as a layer of every program, imported, compacted and exported again, bit for bit.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::peer::{Peer, go_driver};
use super::zlib::can_run;

/// A blob by the name of who made it.
type Made = (String, Vec<u8>);

fn ocistore(store: &Path, args: &[&str]) -> String {
    let mut command = assert_cmd::Command::cargo_bin("ocistore").unwrap();
    let output = command
        .arg("--store")
        .arg(store)
        .args(args)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program with `input`; returns what it prints.
fn through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// The tar of this project's sources: some megabytes of text.
fn tar() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("tar");
    command.args(["-c", "--sort=name", "--mtime=@0", "--owner=0:0"]);
    through(command.arg("-C").arg(root).args(["src", "tests"]), b"")
}

/// Makes a member of gzip of a stream, as Go's writers do.
fn member(stream: &[u8], extra_flags: u8, plain: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(plain);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra_flags, 0xff];
    let tail = [sum.sum().to_le_bytes(), sum.amount().to_le_bytes()];
    [&head[..], stream, &tail.concat()].concat()
}

fn programs(tar: &[u8]) -> Vec<Made> {
    let mut made = Vec::new();
    for level in [1, 6, 9] {
        for program in ["gzip", "pigz"] {
            if can_run(program) {
                let mut command = Command::new(program);
                let blob = through(command.args(["-c", &format!("-{level}")]), tar);
                made.push((format!("{program}-{level}"), blob));
            }
        }
        let script = format!(
            "import gzip, sys; gzip.GzipFile('layer.tar', 'wb', {level}, sys.stdout.buffer, 1e9)\
             .write(sys.stdin.buffer.read())"
        );
        if can_run("python3") {
            let blob = through(Command::new("python3").args(["-c", &script]), tar);
            made.push((format!("python-{level}"), blob));
        }
    }
    made
}

fn go_programs(tar: &[u8]) -> Vec<Made> {
    let mut made = Vec::new();
    if let Some(mut command) = go_driver("go", "OCISTORE_PEER_GO", &[]) {
        let mut peer = Peer::start(&mut command);
        for (level, flags) in [(-1, 0), (1, 4), (9, 2)] {
            let stream = peer.ask(&format!("level={level}"), tar);
            made.push((format!("go{level}"), member(&stream, flags, tar)));
        }
    }
    let packages = [
        "github.com/klauspost/compress",
        "github.com/klauspost/pgzip",
    ];
    if let Some(mut command) = go_driver("klauspost", "OCISTORE_PEER_KLAUSPOST", &packages) {
        let mut peer = Peer::start(&mut command);
        for settings in [
            "level=5 block=1048576",
            "level=5 block=262144",
            "level=5 stream",
        ] {
            let stream = peer.ask(settings, tar);
            let name = settings.replace([' ', '='], "-");
            made.push((format!("klauspost-{name}"), member(&stream, 0, tar)));
        }
    }
    made
}

/// Puts bytes into a layout; returns their descriptor.
fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let sum = through(&mut Command::new("sha256sum"), bytes);
    let hex = String::from_utf8(sum).unwrap()[..64].to_owned();
    fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
}

/// Makes a layout with an image a blob, all of one tar.
fn layout(folder: &Path, tar: &[u8], made: &[Made]) -> PathBuf {
    let layout = folder.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let diff_id = put(&layout, "tar", tar)["digest"].clone();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = put(
        &layout,
        &oci("config.v1+json"),
        config.to_string().as_bytes(),
    );
    let manifests: Vec<Value> = made
        .iter()
        .map(|(name, blob)| {
            let layer = put(&layout, &oci("layer.v1.tar+gzip"), blob);
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
            let bytes = manifest.to_string();
            let mut descriptor = put(&layout, &oci("manifest.v1+json"), bytes.as_bytes());
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            descriptor
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    layout
}

#[test]
fn layers_of_every_program_are_dropped_and_come_back() {
    let dir = TempDir::new().unwrap();
    let tar = tar();
    let mut made = programs(&tar);
    made.extend(go_programs(&tar));
    let source = layout(dir.path(), &tar, &made);
    let store = dir.path().join("store");
    ocistore(&store, &["import", source.to_str().unwrap()]);
    let report = ocistore(&store, &["compact", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let report = &report["report"];
    eprintln!("{report:#}");
    assert_eq!(report["kept"], json!([]));
    assert_eq!(report["blobs"], made.len());
    // A copy, in another folder, by another process.
    let copy = dir.path().join("copy");
    through(Command::new("cp").arg("-a").args([&store, &copy]), b"");
    for (name, blob) in &made {
        let to = dir.path().join(name);
        let image = format!("layout:{name}");
        ocistore(&copy, &["export", &image, &format!("oci:{}", to.display())]);
        let files = fs::read_dir(to.join("blobs/sha256")).unwrap();
        let mut files = files.map(|file| fs::read(file.unwrap().path()).unwrap());
        assert!(files.any(|file| file == *blob), "{name}");
    }
    ocistore(&store, &["fsck"]);
}
