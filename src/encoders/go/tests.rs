//! What Go made once, and what else holds of its streams.
//!
//! `cargo test --test encoders -- --ignored write_golden_streams_of_go` asks Go for `testdata/encoders/go/streams.txt`.

use super::{Generation, HUFFMAN_ONLY, Level, Settings};
use crate::digest::Digest;
use crate::encoders::inputs::{Random, input};
use crate::encoders::klauspost::Rounding;
use crate::encoders::{Engine, Hints, Method};

/// One line: what Go made of an input.
struct Golden {
    seed: u64,
    method: Method,
    len: usize,
    digest: String,
}

impl Golden {
    fn all() -> Vec<Self> {
        let lines = include_str!("../../../testdata/encoders/go/streams.txt").lines();
        lines.map(Self::parse).collect()
    }

    fn parse(line: &str) -> Self {
        let [seed, method, len, digest] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words expected: {line}");
        };
        let at = |at: usize| u8::from_str_radix(&method[at..at + 2], 16).unwrap();
        let method: Vec<u8> = (0..method.len()).step_by(2).map(at).collect();
        Self {
            seed: seed.parse().unwrap(),
            method: Method::from_bytes(&method).unwrap(),
            len: len.parse().unwrap(),
            digest: digest.to_owned(),
        }
    }

    fn check(&self, stream: &[u8], how: &str) {
        let ours = (stream.len(), Digest::sha256(stream).hex());
        let theirs = (self.len, self.digest.clone());
        assert_eq!(ours, theirs, "{}, seed {}, {how}", self.method, self.seed);
    }
}

/// Returns what becomes of a stream that is written in pieces of at most so many bytes.
fn in_pieces(method: Method, plain: &[u8], random: &mut Random, most: usize) -> Vec<u8> {
    let Engine::Stream(mut encoder) = method.engine() else {
        panic!("Go's streams are in one piece");
    };
    let (mut stream, mut at) = (Vec::new(), 0);
    while at < plain.len() {
        let end = plain.len().min(at + 1 + random.below(most));
        encoder.write(&plain[at..end], &mut stream).unwrap();
        at = end;
    }
    encoder.finish(&mut stream).unwrap();
    stream
}

#[test]
fn streams_of_go_are_made_again() {
    let all = Golden::all();
    for golden in &all {
        let mut stream = Vec::new();
        let plain = input(golden.seed);
        golden.method.engine().run(&plain, &mut stream).unwrap();
        golden.check(&stream, "whole");
    }
    for generation in [Generation::Until26, Generation::From27(Rounding::Twice)] {
        for number in -2..=9 {
            let method = Method::Go(Settings::new(generation, Level::new(number).unwrap()));
            assert!(all.iter().any(|golden| golden.method == method), "{method}");
        }
    }
}

#[test]
fn how_the_input_is_cut_makes_no_difference() {
    for golden in Golden::all() {
        let mut random = Random::new(golden.seed);
        let most = random.pick(&[3, 500, 40_000, 70_000, 150_000]);
        let stream = in_pieces(golden.method, &input(golden.seed), &mut random, most);
        golden.check(&stream, &format!("in pieces of up to {most}"));
    }
}

#[test]
fn settings_have_one_encoding() {
    for generation in Generation::ALL {
        for level in 0..=HUFFMAN_ONLY {
            let method = Method::Go(Settings::new(generation, Level(level)));
            assert_eq!(Method::from_bytes(&method.to_bytes()), Ok(method));
        }
    }
    for bytes in [&[2, 3, 6][..], &[2, 0, 11], &[2, 0], &[2, 0, 6, 0]] {
        assert!(Method::from_bytes(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn the_header_says_levels_1_and_9() {
    let first = |extra_flags, system| {
        let hints = Hints {
            extra_flags,
            system,
            has_name: false,
        };
        Settings::candidates(hints).first().copied()
    };
    let of = |number| Settings::new(Generation::Until26, Level::new(number).unwrap());
    assert_eq!(first(0, 255), Some(of(-1)));
    assert_eq!(first(2, 255), Some(of(9)));
    assert_eq!(first(4, 255), Some(of(1)));
    assert_eq!(first(0, 3), None);
    assert_eq!(
        of(-2).to_string(),
        "compress/gzip up to Go 1.26, HuffmanOnly"
    );
}
