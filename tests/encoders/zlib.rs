//! Streams of the zlib family, beside Python's zlib, GNU gzip and pigz.

use std::process::Command;

use ocistore::encoders::Method;
use ocistore::encoders::zlib::{BlockSize, Form, Level, Memory, Settings};

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
    let there = Command::new(program).arg("--version").output().is_ok();
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

#[test]
fn streams_are_those_of_zlib() {
    let Some(mut peer) = python("deflate.py") else {
        return;
    };
    let mut settings = Vec::new();
    for number in [8, 9, 8, 1, 8, 8, 5, 2, 8, 3, 7] {
        let memory = Memory::new(number).unwrap();
        settings.extend(levels().map(|(level_number, level)| {
            let words = format!("level={level_number} mem={number}");
            (words, Method::Zlib(Settings::Zlib { level, memory }))
        }));
    }
    compare(&mut peer, &settings, (0, 0));
}

#[test]
fn streams_are_those_of_gnu_gzip() {
    let (Some(mut peer), true) = (python("gzip.py"), can_run("gzip")) else {
        return;
    };
    let mut settings = Vec::new();
    for from in ["", " file", ""] {
        settings.extend(levels().map(|(number, level)| {
            (
                format!("gzip -{number}{from}"),
                Method::Zlib(Settings::Gnu { level }),
            )
        }));
    }
    compare(&mut peer, &settings, (0, 0));
}

#[test]
fn streams_are_those_of_pigz() {
    let (Some(mut peer), true) = (python("gzip.py"), can_run("pigz")) else {
        return;
    };
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
    compare(&mut peer, &settings, (0, 0));
}
