//! Streams that zlib, GNU gzip, pigz and BusyBox made once, made again: `testdata/encoders/zlib/streams.txt`, a line a stream.
//!
//! `cargo test --test encoders -- --ignored write_golden_streams` asks the programs for them.

use sha2::{Digest as _, Sha256};

use super::{BlockSize, BusyboxSize, Form, Level, Memory, Settings};
use crate::encoders::inputs::{Random, cases, input};
use crate::encoders::{Engine, Hints, Method};

/// Returns each line's input, method and what the program made: its length and its SHA-256.
fn golden() -> impl Iterator<Item = (u64, Method, usize, &'static str)> {
    let lines = include_str!("../../../testdata/encoders/zlib/streams.txt").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, rest) = words[1].as_bytes().as_chunks::<2>();
        assert!(rest.is_empty());
        let hex =
            |digits: &[u8; 2]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = bytes.iter().map(hex).collect();
        let method = Method::from_bytes(&bytes).unwrap();
        (
            words[0].parse().unwrap(),
            method,
            words[2].parse().unwrap(),
            words[3],
        )
    })
}

#[test]
fn streams_of_the_real_programs_are_made_again() {
    for (seed, method, len, digest) in golden() {
        let mut stream = Vec::new();
        method.engine().run(&input(seed), &mut stream).unwrap();
        let ours = crate::digest::hex(&Sha256::digest(&stream));
        assert_eq!(
            (stream.len(), ours.as_str()),
            (len, digest),
            "{method}, seed {seed}"
        );
    }
    assert!(golden().count() > 100);
}

#[test]
fn it_does_not_matter_how_the_input_is_cut() {
    let mut streams = 0;
    for (seed, method, len, digest) in golden() {
        let Engine::Stream(mut encoder) = method.engine() else {
            continue;
        };
        let mut random = Random::new(seed);
        let most = random.pick(&[1, 7, 300, 5000, 40_000, 200_000]);
        let (plain, mut stream) = (input(seed), Vec::new());
        let mut rest = &plain[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
            encoder.write(now, &mut stream).unwrap();
            rest = later;
        }
        encoder.finish(&mut stream).unwrap();
        let ours = crate::digest::hex(&Sha256::digest(&stream));
        assert_eq!(
            (stream.len(), ours.as_str()),
            (len, digest),
            "{method}, seed {seed}, cuts to {most}"
        );
        streams += 1;
    }
    assert!(streams > 50);
}

fn all() -> Vec<Settings> {
    let mut all = Vec::new();
    for level in (1..=9).filter_map(Level::new) {
        all.push(Settings::Gnu { level });
        all.extend(
            (1..=9)
                .filter_map(Memory::new)
                .map(|memory| Settings::Zlib { level, memory }),
        );
        for size in [32, 128, 65536].map(|size| BlockSize::new(size).unwrap()) {
            for form in [Form::Parallel, Form::Independent, Form::OneThread] {
                all.push(Settings::Pigz {
                    level,
                    form,
                    block: size,
                });
            }
        }
        for size in [BusyboxSize::Small, BusyboxSize::Medium, BusyboxSize::Large] {
            all.extend((level.0 > 3).then_some(Settings::Busybox { level, size }));
        }
    }
    all
}

#[test]
fn settings_have_one_spelling() {
    for settings in all() {
        let method = Method::Zlib(settings);
        assert_eq!(Method::from_bytes(&method.to_bytes()), Ok(method));
    }
    let refused: [&[u8]; 14] = [
        &[3, 0, 0, 8],
        &[3, 0, 10, 8],
        &[3, 0, 6, 0],
        &[3, 0, 6, 10],
        &[3, 0, 6],
        &[3, 0, 6, 8, 0],
        &[3, 1, 6, 3, 32],
        &[3, 1, 6, 0, 31],
        &[3, 1, 6, 0, 0x81, 0x80, 0x04],
        &[3, 1, 6, 0, 0xa0, 0x00],
        &[3, 2, 0],
        &[3, 3, 3, 0],
        &[3, 3, 6, 3],
        &[3, 4, 6],
    ];
    for bytes in refused {
        assert!(Method::from_bytes(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_a_header_allows_is_tried_once_and_the_likeliest_first() {
    let of = |extra_flags, system, has_name| {
        let hints = Hints {
            extra_flags,
            system,
            has_name,
        };
        Settings::candidates(hints)
    };
    let [one, six, nine] = [1, 6, 9].map(|number| Level::new(number).unwrap());
    assert_eq!(of(0, 3, true)[0], Settings::Gnu { level: six });
    assert_eq!(of(2, 3, false)[0], Settings::Gnu { level: nine });
    assert_eq!(of(4, 3, true)[0], Settings::Gnu { level: one });
    let memory = Memory::DEFAULT;
    assert_eq!(
        of(2, 255, true)[0],
        Settings::Zlib {
            level: nine,
            memory
        }
    );
    assert_eq!(of(0, 0, false)[0], Settings::Zlib { level: six, memory });
    for hints in [(0, 3, false), (2, 255, true), (4, 3, false), (0, 0, false)] {
        let mut list = of(hints.0, hints.1, hints.2);
        let count = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), count);
    }
    assert!(of(7, 3, false).is_empty());
    assert!(cases().count() > 0);
}
