//! klauspost/compress and pgzip beside ours. Debian's packages are the peer, or the driver that `OCISTORE_PEER_KLAUSPOST`
//! names, built from peers/klauspost/main.go with other versions of them.

use ocistore::digest::Digest;
use ocistore::encoders::Method;
use ocistore::encoders::klauspost::{Framing, Generation, Level, Rounding, Settings};

use super::inputs::input;
use super::peer::{Peer, compare, go_driver};

fn peer() -> Option<Peer> {
    let packages = [
        "github.com/klauspost/compress",
        "github.com/klauspost/pgzip",
    ];
    let mut driver = go_driver("klauspost", "OCISTORE_PEER_KLAUSPOST", &packages)?;
    Some(Peer::start(&mut driver))
}

/// Returns the generation of the peer: that of Debian's package, or what `OCISTORE_PEER_KLAUSPOST_GENERATION` says.
fn generation() -> Generation {
    let name = std::env::var("OCISTORE_PEER_KLAUSPOST_GENERATION");
    let name = name.unwrap_or_else(|_| "V1_15_11".into());
    let is_named = |one: &Generation| format!("{one:?}") == name;
    Generation::ALL.into_iter().find(is_named).unwrap()
}

fn settings(level: Level, framing: Framing) -> (String, Method) {
    let method = Method::Klauspost(Settings {
        generation: generation(),
        level,
        rounding: Rounding::Twice,
        framing,
    });
    let number = level.number();
    let name = match framing {
        Framing::Whole => format!("level={number} stream"),
        Framing::Blocks(len) => format!("level={number} block={len}"),
    };
    (name, method)
}

const FRAMINGS: [Framing; 3] = [
    Framing::Blocks(1 << 20),
    Framing::Blocks(1 << 18),
    Framing::Whole,
];

#[test]
fn klauspost_makes_the_same_at_its_default_level() {
    let all = FRAMINGS.map(|framing| settings(Level::Five, framing));
    if let Some(mut peer) = peer() {
        compare(&mut peer, &all, (0, 0));
    }
}

#[test]
fn klauspost_makes_the_same_at_every_level() {
    let all = Level::ALL.map(|level| FRAMINGS.map(|framing| settings(level, framing)));
    if let Some(mut peer) = peer() {
        compare(&mut peer, all.as_flattened(), (0, 0));
    }
}

/// Prints the lines of testdata/encoders/klauspost/streams.txt for the peer's generation. Those of 1.18.1 that cannot be
/// read, for an error of that version, are left out there.
#[test]
#[ignore = "prints what the peer makes, to be kept"]
fn golden_streams_of_klauspost() {
    let framings = [Framing::Whole, Framing::Blocks(1 << 18)];
    let all = Level::ALL.map(|level| framings.map(|framing| settings(level, framing)));
    let mut peer = peer().unwrap();
    let small = (1..).filter(|seed| input(*seed).len() < 300_000);
    let hex = |bytes: Vec<u8>| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    for (seed, (words, method)) in small.zip(all.as_flattened().iter().cycle()).take(44) {
        let stream = peer.ask(words, &input(seed));
        let (method, digest) = (hex(method.to_bytes()), Digest::sha256(&stream).hex());
        eprintln!("{seed} {method} {} {digest}", stream.len());
    }
}
