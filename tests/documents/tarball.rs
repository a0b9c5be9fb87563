//! `import tar:`: a root filesystem tarball is an image of one layer.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use serde_json::json;

use crate::place::{EPOCH, Place};

/// A place with `rootfs.tar`, `rootfs.tar.gz` and `rootfs.tar.zst`.
fn place() -> Place {
    let place = Place::new();
    let mut archive = tar::Builder::new(fs::File::create(place.path("rootfs.tar")).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(5);
    archive
        .append_data(&mut header, "etc/motd", &b"hello"[..])
        .unwrap();
    archive.finish().unwrap();
    let plain = fs::read(place.path("rootfs.tar")).unwrap();
    let zeros = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), zeros);
    gzip.write_all(&plain).unwrap();
    fs::write(place.path("rootfs.tar.gz"), gzip.finish().unwrap()).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    fs::write(place.path("rootfs.tar.zst"), zstd).unwrap();
    place
}

fn from(place: &Place, file: &str) -> String {
    format!("tar:{}", place.text(file))
}

#[test]
fn a_tarball_becomes_an_image_whose_layer_it_is() {
    for (file, media_type) in [
        ("rootfs.tar", "tar"),
        ("rootfs.tar.gz", "tar+gzip"),
        ("rootfs.tar.zst", "tar+zstd"),
    ] {
        let place = place();
        let printed = place.ok(&["import", &from(&place, file)]);
        let digest = place.digest("rootfs:latest");
        assert_eq!(printed, format!("rootfs:latest {digest}\n"));
        let layer = &place.manifest("rootfs")["layers"][0];
        let media_type = format!("application/vnd.oci.image.layer.v1.{media_type}");
        assert_eq!(layer["mediaType"], *media_type);
        place.ok(&["checkout", "rootfs", &place.text("out")]);
        assert_eq!(fs::read(place.path("out/etc/motd")).unwrap(), b"hello");
        place.ok(&["export", "rootfs", &format!("oci:{}", place.text("layout"))]);
        let hex = &layer["digest"].as_str().unwrap()["sha256:".len()..];
        let blob = fs::read(place.path("layout/blobs/sha256").join(hex)).unwrap();
        assert_eq!(blob, fs::read(place.path(file)).unwrap());
        place.ok(&["fsck"]);
    }
}

#[test]
fn the_same_tarball_gives_the_same_digest_at_any_time() {
    let digests: Vec<String> = ["", "1700000000", "", "1700000000", "1700000001"]
        .iter()
        .map(|epoch| {
            let place = place();
            let output = place.run_at(epoch, &["import", "-q", &from(&place, "rootfs.tar")]);
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert!(digests[0].starts_with("sha256:"));
    assert_eq!(digests[0], digests[2]);
    assert_eq!(digests[1], digests[3]);
    assert_ne!(digests[0], digests[1]);
    assert_ne!(digests[1], digests[4]);
}

#[test]
fn an_image_of_a_tarball_says_what_it_is_told() {
    let place = place();
    let source = from(&place, "rootfs.tar.gz");
    let set = [
        "--config",
        "architecture=arm64",
        "--config",
        r#"cmd=["/x"]"#,
        "--config",
        "author=me",
    ];
    place.ok(&[&["import", &source, "--name", "a:1"], &set[..]].concat());
    let config = place.config("a:1");
    assert_eq!(config["architecture"], "arm64");
    assert_eq!(config["created"], EPOCH.1);
    assert_eq!(config["config"], json!({"Cmd": ["/x"]}));
    let entry = json!({"created": EPOCH.1, "created_by": "ocistore import", "author": "me"});
    assert_eq!(config["history"], json!([entry]));
}

#[test]
fn a_tarball_comes_from_standard_input_too() {
    let place = place();
    place.ok(&["import", &from(&place, "rootfs.tar.zst")]);
    let piped = |args: &[&str]| {
        let tar = fs::File::open(place.path("rootfs.tar.zst")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocistore"));
        let command = command.arg("--store").arg(place.path("store")).args(args);
        let command = command.env("SOURCE_DATE_EPOCH", EPOCH.0).stdin(tar);
        command.output().unwrap()
    };
    assert!(
        piped(&["import", "tar:-", "--name", "piped"])
            .status
            .success()
    );
    assert_eq!(place.digest("piped"), place.digest("rootfs"));
    // Nothing inside says a name.
    assert_eq!(piped(&["import", "tar:-"]).status.code(), Some(64));
}

#[test]
fn a_whiteout_in_a_tarball_is_a_whiteout() {
    let place = Place::new();
    let mut archive = tar::Builder::new(fs::File::create(place.path("x.tar")).unwrap());
    for name in ["kept", ".wh.gone"] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(0);
        archive.append_data(&mut header, name, &b""[..]).unwrap();
    }
    archive.finish().unwrap();
    place.ok(&["import", &from(&place, "x.tar")]);
    place.ok(&["checkout", "x", &place.text("out")]);
    let names = fs::read_dir(place.path("out")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["kept"]);
}

#[test]
fn what_is_no_tarball_is_refused() {
    let place = place();
    let sample = crate::place::sample();
    fs::write(place.path("empty"), b"").unwrap();
    fs::write(place.path("junk"), [b'x'; 4096]).unwrap();
    let packed = fs::read(place.path("rootfs.tar.gz")).unwrap();
    fs::write(place.path("cut.gz"), &packed[..packed.len() - 9]).unwrap();
    for (file, code) in [
        ("empty", 4),
        ("junk", 4),
        ("cut.gz", 4),
        ("nothing", 2),
        (".", 4),
    ] {
        let (got, line) = place.fails(&["import", &from(&place, file)]);
        assert_eq!(got, code, "{file}: {line}");
    }
    let set = ["import", sample.to_str().unwrap(), "--config", "user=1"];
    let (code, line) = place.fails(&set);
    assert!(code == 64 && line.contains("`ocistore config`"), "{line}");
    assert_eq!(place.ok(&["images", "-q"]), "");
}
