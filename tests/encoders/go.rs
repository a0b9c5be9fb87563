//! Go's `compress/flate` beside ours. Debian's `go` is the peer, or the driver that `OCISTORE_PEER_GO` names, built from
//! peers/go/main.go by another version.

use std::path::{Path, PathBuf};
use std::process::Command;

use ocistore::encoders::{Method, go};

use super::peer::{Peer, compare};

/// Returns the driver, if there is a Go to build it.
fn driver(name: &str) -> Option<PathBuf> {
    if let Some(driver) = std::env::var_os("OCISTORE_PEER_GO") {
        return Some(driver.into());
    }
    let is_there = Command::new("go").arg("version").output().is_ok();
    assert!(
        is_there || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs go"
    );
    if !is_there {
        eprintln!("skipped: this test needs go");
        return None;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let driver = place.join(name);
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/encoders/peers/go/main.go"
    );
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([driver.as_path(), Path::new(source)])
        .env("GOCACHE", place.join("go-cache"))
        .env("GO111MODULE", "off")
        .status()
        .unwrap();
    assert!(built.success());
    Some(driver)
}

fn settings(level: i8, writes: &str) -> (String, Method) {
    let number = go::Level::new(level).unwrap();
    let method = Method::Go(go::Settings::new(go::Generation::Until26, number));
    (format!("level={level} {writes}"), method)
}

#[test]
fn go_makes_the_same_at_its_default_level() {
    if let Some(driver) = driver("go-default") {
        let mut peer = Peer::start(&mut Command::new(driver));
        compare(&mut peer, &[settings(-1, "")], (0, 0));
    }
}

#[test]
fn go_makes_the_same_at_every_level_whole_and_in_pieces() {
    if let Some(driver) = driver("go-levels") {
        let mut peer = Peer::start(&mut Command::new(driver));
        let levels = (-2..=9).flat_map(|level| {
            let writes = ["", "write=32768"];
            writes.map(|writes| settings(level, writes))
        });
        compare(&mut peer, &levels.collect::<Vec<_>>(), (0, 0));
    }
}
