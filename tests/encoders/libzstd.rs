//! libzstd's frames: the command and Python's modules beside us, where they have the version that we link.
//!
//! Debian's have another one, so what is there is often skipped. `OCISTORE_PEER_ZSTD` names a `zstd` of that version,
//! `PYTHONPATH` a folder with `zstandard` or `backports.zstd` of it.

use std::process::Command;

use ocistore::encoders::libzstd::{Feed, FrameHints, Reach, Settings, linked_version};
use ocistore::encoders::{Method, own};

use super::inputs::{Random, cases, input};
use super::peer::{Peer, run_in_pieces};

/// Starts the driver, unless its library is another than ours.
fn peer(what: &str) -> Option<Peer> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/encoders/peers/zstd.py");
    let mut peer = Peer::start(Command::new("python3").arg(script).arg(what));
    let version = String::from_utf8(peer.ask("version", b"")).unwrap();
    if version == linked_version().to_string() {
        return Some(peer);
    }
    eprintln!(
        "skipped: {what} has version '{version}' of libzstd, and not {}",
        linked_version()
    );
    None
}

fn run(settings: Settings, plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut engine = Method::Libzstd(settings).engine();
    engine.run(plain, &mut frame).unwrap();
    frame
}

/// Returns the input of a seed. One in ten has some megabytes more: workers get some each.
fn longer(seed: u64) -> Vec<u8> {
    let mut plain = input(seed);
    for more in 1..20 {
        if seed.is_multiple_of(10) && plain.len() < 12_000_000 {
            let next = input(seed + more);
            plain.extend_from_slice(&next);
            plain.extend(plain.clone());
        }
    }
    plain.truncate(20_000_000);
    plain
}

/// Returns a level; the slow ones for what is small.
fn level(random: &mut Random, len: usize) -> i8 {
    match len {
        0..100_000 => random.pick(&[-7, -1, 1, 2, 3, 4, 6, 8, 11, 13, 16, 17, 19, 20, 21, 22]),
        100_000..4_000_000 => random.pick(&[-5, 1, 3, 5, 7, 9, 12, 15, 18]),
        _ => random.pick(&[-3, 1, 2, 3, 4, 6]),
    }
}

/// Compares all of what a peer makes, given how its ways (the first word of a question) are called here.
fn compare(what: &str, ways: &[(&str, Feed)]) {
    let Some(mut peer) = peer(what) else { return };
    for seed in cases() {
        let plain = longer(seed);
        if plain.is_empty() {
            // Some begin a frame before they know that nothing comes, and some do not.
            continue;
        }
        let mut random = Random::new(seed ^ 0x5a5a);
        let level = level(&mut random, plain.len());
        let (way, feed) = random.pick(ways);
        let check = random.pick(&["check", "no-check"]);
        let long = random.pick(&["short", "short", "short", "long"]);
        let question = format!("{way} {level} {check} {long}");
        let theirs = peer.ask(&question, &plain);
        let hints = FrameHints::parse(&theirs).unwrap();
        assert_eq!(hints.has_checksum, check == "check");
        let settings = Settings {
            version: linked_version(),
            level,
            feed,
            has_checksum: hints.has_checksum,
            size: hints.size,
            reach: match long {
                "long" => Reach::Long(27),
                _ => Reach::Level,
            },
        };
        let ours = run(settings, &plain);
        let same = theirs.iter().zip(&ours).take_while(|(a, b)| a == b).count();
        assert!(
            theirs == ours,
            "seed {seed} ({} bytes), {question}: {} bytes of theirs, {} of ours, the first {same} the same",
            plain.len(),
            theirs.len(),
            ours.len(),
        );
        if plain.len() < 20_000 && long == "short" {
            assert!(
                one_of_the_candidates_makes(&theirs, &plain),
                "seed {seed}, {question}"
            );
        }
    }
}

fn one_of_the_candidates_makes(frame: &[u8], plain: &[u8]) -> bool {
    let hints = FrameHints::parse(frame).unwrap();
    let mut candidates = Settings::candidates(hints).into_iter();
    candidates.any(|settings| run(settings, plain) == frame)
}

#[test]
fn the_command_and_we_write_the_same() {
    let ways = [
        ("pipe", Feed::Workers),
        ("file", Feed::WorkersToEnd),
        ("single-pipe", Feed::Stream),
        ("single-file", Feed::StreamToEnd),
    ];
    compare("command", &ways);
}

#[test]
fn zstandard_of_python_and_we_write_the_same() {
    let ways = [
        ("stream", Feed::Stream),
        ("known", Feed::Stream),
        ("workers", Feed::Workers),
        ("whole", Feed::Whole),
    ];
    compare("zstandard", &ways);
}

#[test]
fn backports_of_python_and_we_write_the_same() {
    let ways = [
        ("stream", Feed::Stream),
        ("workers", Feed::Workers),
        ("whole", Feed::Whole),
    ];
    compare("backports.zstd", &ways);
}

#[test]
fn frames_do_not_depend_on_how_the_input_is_cut() {
    for seed in cases() {
        let plain = longer(seed);
        let mut random = Random::new(seed ^ 0xa5a5);
        let feeds = [
            Feed::Stream,
            Feed::StreamToEnd,
            Feed::Workers,
            Feed::WorkersToEnd,
            Feed::Whole,
        ];
        let feed = random.pick(&feeds);
        let size = Some(plain.len() as u64);
        let settings = Settings {
            version: linked_version(),
            level: level(&mut random, plain.len()),
            feed,
            has_checksum: random.below(2) == 0,
            size: match feed {
                Feed::Stream | Feed::Workers => size.filter(|_| random.below(2) == 0),
                Feed::StreamToEnd | Feed::WorkersToEnd | Feed::Whole => size,
            },
            reach: random.pick(&[
                Reach::Level,
                Reach::Level,
                Reach::Window(18),
                Reach::Long(22),
            ]),
        };
        let frame = run(settings, &plain);
        let method = Method::Libzstd(settings);
        assert!(
            run_in_pieces(method, &plain, &mut random) == frame,
            "seed {seed}, {settings:?}"
        );
        assert_eq!(Method::from_bytes(&method.to_bytes()), Ok(method));
        assert!(
            zstd::decode_all(&frame[..]).unwrap() == plain,
            "seed {seed}"
        );
        let hints = FrameHints::parse(&frame).unwrap();
        assert_eq!(hints.has_checksum, settings.has_checksum);
        // What is empty has a size that nobody has to tell.
        assert!(
            hints.size == settings.size || plain.is_empty(),
            "seed {seed}, {settings:?}"
        );
        if plain.len() < 20_000 && settings.reach == Reach::Level {
            assert!(
                one_of_the_candidates_makes(&frame, &plain),
                "seed {seed}, {settings:?}"
            );
        }
    }
}

#[test]
fn our_own_blobs_are_frames_of_four_mebibytes() {
    let version = linked_version();
    let plain: Vec<u8> = (1..).flat_map(input).take(9_000_000).collect();
    let mut blob = Vec::new();
    let method = Method::Own(own::Settings::Zstd { version });
    method.engine().run(&plain, &mut blob).unwrap();
    let mut frames = Vec::new();
    for part in plain.chunks(4 << 20) {
        let settings = Settings {
            version,
            level: 3,
            feed: Feed::Whole,
            has_checksum: false,
            size: Some(part.len() as u64),
            reach: Reach::Level,
        };
        frames.extend(run(settings, part));
    }
    assert!(blob == frames);
    let first = Method::of_blob(FrameHints::parse(&blob).unwrap());
    assert_eq!(first, Some(method));
}
