//! Owns what real programs made once, for tests: one line a stream, with the input's seed, the method's bytes, the stream's
//! length and its digest.

use super::inputs::{Random, input};
use super::{Engine, Method};
use crate::digest::Digest;

/// One line.
struct Golden {
    plain: Vec<u8>,
    seed: u64,
    method: Method,
    wanted: (usize, String),
}

impl Golden {
    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let seed = word().parse().unwrap();
        let method = word();
        let byte = |at: usize| u8::from_str_radix(&method[at..at + 2], 16).unwrap();
        let method: Vec<u8> = (0..method.len() / 2).map(|at| byte(2 * at)).collect();
        Self {
            plain: input(seed),
            seed,
            method: Method::from_bytes(&method).unwrap(),
            wanted: (word().parse().unwrap(), word().to_owned()),
        }
    }

    fn check(&self, stream: &[u8], how: &str) {
        let made = (stream.len(), Digest::sha256(stream).hex());
        assert_eq!(
            made, self.wanted,
            "{}, seed {}, {how}",
            self.method, self.seed
        );
    }
}

/// Makes all streams again, each in one go and, where it is not made of blocks, written in random pieces. Returns the methods.
pub(super) fn make_again(lines: &str) -> Vec<Method> {
    let mut methods = Vec::new();
    for golden in lines.lines().map(Golden::parse) {
        let mut stream = Vec::new();
        golden
            .method
            .engine()
            .run(&golden.plain, &mut stream)
            .unwrap();
        golden.check(&stream, "in one go");
        if let Engine::Stream(mut encoder) = golden.method.engine() {
            let mut random = Random::new(golden.seed);
            let most = random.pick(&[3, 500, 40_000, 70_000, 150_000]);
            let (mut rest, mut stream) = (&golden.plain[..], Vec::new());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(1 + random.below(most)));
                encoder.write(piece, &mut stream).unwrap();
                rest = more;
            }
            encoder.finish(&mut stream).unwrap();
            golden.check(&stream, &format!("in pieces of up to {most}"));
        }
        methods.push(golden.method);
    }
    methods
}
