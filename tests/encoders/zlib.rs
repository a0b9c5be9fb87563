//! Streams of the zlib family, beside Python's zlib, GNU gzip, pigz and BusyBox.

#![expect(
    clippy::disallowed_methods,
    reason = "golden streams are written by hand"
)]

use std::process::Command;

use ocistore::digest::hex;
use ocistore::encoders::Method;
use ocistore::encoders::zlib::{BlockSize, BusyboxSize, Form, Level, Memory, Settings};

use sha2::{Digest as _, Sha256};

use super::inputs::input;
use super::peer::{Peer, compare};

/// Starts a driver, unless Python is missing.
fn python(script: &str) -> Option<Peer> {
    let script = format!(
        "{}/tests/encoders/peers/{script}",
        env!("CARGO_MANIFEST_DIR")
    );
    can_run("python3").then(|| Peer::start(Command::new("python3").arg(script)))
}

/// Whether there is a program; without it a test is skipped, unless `OCISTORE_REQUIRE_PEERS` is set.
pub(crate) fn can_run(program: &str) -> bool {
    let other = std::env::var_os(format!("OCISTORE_PEER_{}", program.to_uppercase()));
    let path = other.unwrap_or_else(|| program.into());
    let there = Command::new(path).arg("--version").output().is_ok();
    assert!(
        there || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "no {program}"
    );
    if !there {
        eprintln!("skipped: no {program}");
    }
    there
}

fn levels() -> impl Iterator<Item = (u8, Level)> {
    (1..=9).map(|number| (number, Level::new(number).unwrap()))
}

/// A driver's words with what they come to.
type Pairs = Vec<(String, Method)>;

fn zlib_settings(memories: &[u8]) -> Pairs {
    let mut settings = Vec::new();
    for &number in memories {
        let memory = Memory::new(number).unwrap();
        settings.extend(levels().map(|(level_number, level)| {
            let words = format!("level={level_number} mem={number}");
            (words, Method::Zlib(Settings::Zlib { level, memory }))
        }));
    }
    settings
}

fn gnu_settings() -> Pairs {
    let mut settings = Vec::new();
    for from in ["", " file"] {
        settings.extend(levels().map(|(number, level)| {
            let words = format!("gzip -{number}{from}");
            (words, Method::Zlib(Settings::Gnu { level }))
        }));
    }
    settings
}

fn pigz_settings() -> Pairs {
    let forms = [
        ("-p 2", Form::Parallel, 128),
        ("-p 1", Form::OneThread, 128),
        ("-p 3 -b 32", Form::Parallel, 32),
        ("-p 2 -i", Form::Independent, 128),
        ("-p 2 file", Form::Parallel, 128),
        ("-p 1 -i", Form::Independent, 128),
        ("-p 1 -b 200", Form::OneThread, 200),
    ];
    let mut settings = Vec::new();
    for (words, form, size) in forms {
        let block = BlockSize::new(size).unwrap();
        settings.extend(levels().map(|(number, level)| {
            let method = Method::Zlib(Settings::Pigz { level, form, block });
            (format!("pigz -{number} {words}"), method)
        }));
    }
    settings
}

/// BusyBox as Debian builds it has one level.
fn busybox_settings() -> Pairs {
    let level = Level::new(6).unwrap();
    let size = BusyboxSize::Large;
    let method = Method::Zlib(Settings::Busybox { level, size });
    vec![("busybox gzip".to_owned(), method)]
}

#[test]
fn streams_are_those_of_zlib() {
    let driver = std::env::var_os("OCISTORE_PEER_ZLIB");
    let other = driver.map(|driver| Peer::start(&mut Command::new(driver)));
    if let Some(mut peer) = other.or_else(|| python("deflate.py")) {
        let settings = zlib_settings(&[8, 9, 8, 1, 8, 8, 5, 2, 8, 3, 7]);
        compare(&mut peer, &settings, (0, 0));
    }
}

#[test]
fn streams_are_those_of_gnu_gzip() {
    if let (Some(mut peer), true) = (python("gzip.py"), can_run("gzip")) {
        compare(&mut peer, &gnu_settings(), (0, 0));
    }
}

#[test]
fn streams_are_those_of_pigz() {
    if let (Some(mut peer), true) = (python("gzip.py"), can_run("pigz")) {
        compare(&mut peer, &pigz_settings(), (0, 0));
    }
}

#[test]
fn streams_are_those_of_busybox() {
    if let (Some(mut peer), true) = (python("gzip.py"), can_run("busybox")) {
        compare(&mut peer, &busybox_settings(), (0, 0));
    }
}

/// Each line: the input's seed, the method, the length and the SHA-256 of what the program made, and its words.
#[test]
#[ignore = "writes testdata/encoders/zlib/streams.txt"]
fn write_golden_streams() {
    let mut lines =
        "# Made by `cargo test --test encoders -- --ignored write_golden_streams`.\n".to_owned();
    let mut seed = 0;
    let mut add = |peer: &mut Peer, settings: Pairs, times: usize| {
        let again = settings.iter().cycle().take(settings.len() * times);
        for (words, method) in again {
            seed += 1;
            // The largest would take most of the time.
            while input(seed).len() > 400_000 {
                seed += 1;
            }
            let stream = peer.ask(words, &input(seed));
            let [method, digest] = [&method.to_bytes()[..], &Sha256::digest(&stream)[..]].map(hex);
            lines += &format!("{seed} {method} {} {digest} {words}\n", stream.len());
        }
    };
    add(
        &mut python("deflate.py").unwrap(),
        zlib_settings(&[8, 9, 8, 1, 5]),
        2,
    );
    let mut peer = python("gzip.py").unwrap();
    add(&mut peer, gnu_settings(), 2);
    add(&mut peer, pigz_settings(), 1);
    add(&mut peer, busybox_settings(), 12);
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/encoders/zlib/streams.txt"
    );
    std::fs::write(file, lines).unwrap();
}
