//! How fast each encoder is, beside the program whose bytes it makes: both on one processor, in turn, on the same tar.
//! `cargo bench --bench encoders -- TAR` prints a table in Markdown; `ROUNDS=5` is the default.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot go on has failed, and its result is what it prints"
)]

#[path = "../../tests/encoders/inputs.rs"]
mod inputs;
#[path = "../../tests/encoders/peer.rs"]
#[expect(dead_code, reason = "comparing is for tests")]
mod peer;

use std::process::Command;
use std::time::{Duration, Instant};

use ocistore::encoders::zlib::{Level, Memory, Settings as Zlib};
use ocistore::encoders::{Method, go, klauspost};
use peer::{Peer, go_driver};

/// What is compared: the peer's settings, ours, and how many bytes of the peer's answers are no stream.
struct Pair {
    name: String,
    settings: String,
    method: Method,
    frame: (usize, usize),
}

fn klauspost_pairs() -> Vec<Pair> {
    let framings = [
        ("block=1048576", klauspost::Framing::Blocks(1 << 20)),
        ("stream", klauspost::Framing::Whole),
    ];
    let pair = |(words, framing): (&str, klauspost::Framing)| Pair {
        name: format!("klauspost/compress, level 5, {words}"),
        settings: format!("level=5 {words}"),
        method: Method::Klauspost(klauspost::Settings {
            generation: klauspost::Generation::V1_15_11,
            level: klauspost::Level::Five,
            rounding: klauspost::Rounding::Twice,
            framing,
        }),
        frame: (0, 0),
    };
    framings.map(pair).into()
}

fn go_pairs() -> Vec<Pair> {
    let pair = |number: i8| Pair {
        name: format!("Go's compress/flate, level {number}"),
        settings: format!("level={number}"),
        method: Method::Go(go::Settings::new(
            go::Generation::Until26,
            go::Level::new(number).unwrap(),
        )),
        frame: (0, 0),
    };
    [6, 1, 9].map(pair).into()
}

fn zlib_pairs() -> Vec<Pair> {
    let pair = |number: u8| Pair {
        name: format!("zlib, level {number}"),
        settings: format!("level={number} mem=8"),
        method: Method::Zlib(Zlib::Zlib {
            level: Level::new(number).unwrap(),
            memory: Memory::DEFAULT,
        }),
        frame: (0, 0),
    };
    [1, 6, 9].map(pair).into()
}

/// Returns the medians of theirs and ours.
fn measure(peer: &mut Peer, pair: &Pair, tar: &[u8], rounds: usize) -> (Duration, Duration) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begin = Instant::now();
        let answer = peer.ask(&pair.settings, tar);
        theirs.push(begin.elapsed());
        let begin = Instant::now();
        let mut made = Vec::with_capacity(tar.len());
        pair.method.engine().run(tar, &mut made).unwrap();
        ours.push(begin.elapsed());
        assert!(answer[pair.frame.0..answer.len() - pair.frame.1] == made);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    (median(&mut theirs), median(&mut ours))
}

fn table(command: Option<Command>, pairs: &[Pair], tar: &[u8], rounds: usize) {
    let Some(mut command) = command else { return };
    // One processor each: ours has one thread.
    let mut peer = Peer::start(command.env("GOMAXPROCS", "1"));
    for pair in pairs {
        let (theirs, ours) = measure(&mut peer, pair, tar, rounds);
        let len = f64::from(u32::try_from(tar.len()).unwrap());
        let rate = |time: Duration| len / 1e6 / time.as_secs_f64();
        println!(
            "| {} | {:.0} | {:.0} | {:.2} |",
            pair.name,
            rate(theirs),
            rate(ours),
            theirs.as_secs_f64() / ours.as_secs_f64()
        );
    }
}

fn main() {
    let tar = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let Some(tar) = tar else {
        eprintln!("name a tar: cargo bench --bench encoders -- TAR");
        return;
    };
    let tar = std::fs::read(tar).unwrap();
    let rounds = std::env::var("ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    println!("| encoder | the program, MB/s | ours, MB/s | ours to theirs |\n|---|---|---|---|");
    let packages = [
        "github.com/klauspost/compress",
        "github.com/klauspost/pgzip",
    ];
    let klauspost = go_driver("klauspost", "OCISTORE_PEER_KLAUSPOST", &packages);
    table(klauspost, &klauspost_pairs(), &tar, rounds);
    table(
        go_driver("go", "OCISTORE_PEER_GO", &[]),
        &go_pairs(),
        &tar,
        rounds,
    );
    let mut python = Command::new("python3");
    python.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/encoders/peers/deflate.py"
    ));
    table(Some(python), &zlib_pairs(), &tar, rounds);
}
