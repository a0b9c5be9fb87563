//! What klauspost/compress made once, and what else holds of its streams.

use super::{Framing, Generation, Level, Rounding, Settings};
use crate::encoders::{Engine, Hints, Method, golden};

const PLAIN: Hints = Hints {
    extra_flags: 0,
    system: 255,
    has_name: false,
};

fn of(level: Level, framing: Framing) -> Settings {
    Settings {
        generation: Generation::V1_15_11,
        level,
        rounding: Rounding::Twice,
        framing,
    }
}

/// `cargo test --test encoders -- --ignored --nocapture golden_streams_of_klauspost` prints the lines.
#[test]
fn streams_of_klauspost_are_made_again() {
    let lines = include_str!("../../../testdata/encoders/klauspost/streams.txt");
    let methods = golden::make_again(lines);
    for generation in Generation::ALL {
        for level in Level::ALL {
            for framing in [Framing::Whole, Framing::Blocks(1 << 18)] {
                let method = Method::Klauspost(Settings {
                    generation,
                    ..of(level, framing)
                });
                assert!(methods.contains(&method), "{method}");
            }
        }
    }
}

#[test]
fn settings_have_one_encoding() {
    let framings = [
        Framing::Whole,
        Framing::Blocks((16 << 10) + 1),
        Framing::Blocks(1 << 26),
    ];
    let mut all = Vec::new();
    for generation in Generation::ALL {
        for level in Level::ALL {
            for framing in framings {
                for rounding in [Rounding::Twice, Rounding::Once] {
                    let method = Method::Klauspost(Settings {
                        generation,
                        level,
                        rounding,
                        framing,
                    });
                    assert_eq!(Method::from_bytes(&method.to_bytes()), Ok(method));
                    all.push(method.to_bytes());
                }
            }
        }
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn unknown_settings_are_refused() {
    // Generation, level, rounding, the length of blocks.
    let good = Method::Klauspost(of(Level::Five, Framing::Blocks(1 << 20))).to_bytes();
    assert_eq!(good, [1, 11, 5, 0, 0, 0, 16, 0]);
    for (at, bad) in [(1, 9), (2, 10), (2, 0xfd), (3, 2), (6, 0), (7, 8)] {
        let mut bytes = good.clone();
        bytes[at] = bad;
        if at == 6 {
            bytes[5] = 0x40;
        }
        assert!(Method::from_bytes(&bytes).is_err(), "{bytes:?}");
    }
    assert!(Method::from_bytes(&good[..7]).is_err());
}

#[test]
fn settings_read_well() {
    let name = |settings: Settings| settings.to_string();
    assert_eq!(
        name(of(Level::Five, Framing::Blocks(1 << 20))),
        "klauspost/compress 1.15.10 to 1.18.0, level 5, in blocks of 1 MiB (pgzip)"
    );
    assert_eq!(
        name(Settings {
            rounding: Rounding::Once,
            ..of(Level::Huffman, Framing::Whole)
        }),
        "klauspost/compress 1.15.0 to 1.19.1, level -2, rounded as on arm64"
    );
}

#[test]
fn what_buildah_writes_comes_first() {
    let all = Settings::candidates(PLAIN);
    assert_eq!(all[0].level, Level::Five);
    assert_eq!(all[0].generation, Generation::V1_15_10);
    assert_eq!(all[0].framing, Framing::Blocks(1 << 20));
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len());
    let levels = |extra_flags| {
        let hints = Hints {
            extra_flags,
            ..PLAIN
        };
        let all = Settings::candidates(hints).into_iter();
        all.map(|settings| settings.level).collect::<Vec<_>>()
    };
    assert!(!levels(0).contains(&Level::Nine));
    assert!(levels(2).iter().all(|level| *level == Level::Nine));
    assert!(levels(4).iter().all(|level| *level == Level::One));
    assert!(levels(3).is_empty());
}

#[test]
fn the_last_block_may_be_empty() {
    let Engine::Blocks(blocks) = of(Level::Five, Framing::Blocks(1 << 18)).engine() else {
        panic!("pgzip is made of blocks");
    };
    let mut to = Vec::new();
    let place = crate::encoders::Place::Last;
    blocks.block(&[1; 16 << 10], &[], place, &mut to).unwrap();
    assert_eq!(to, [0, 0, 0, 0xff, 0xff, 3, 0]);
}
