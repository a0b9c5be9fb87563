//! Go's `compress/flate` beside ours. Debian's `go` is the peer, or the driver that `OCISTORE_PEER_GO` names, built from
//! peers/go/main.go by another version.

use ocistore::digest::Digest;
use ocistore::encoders::klauspost::Rounding;
use ocistore::encoders::{Method, go};

use super::inputs::input;
use super::peer::{Peer, compare, go_driver};

/// Go, and which generation it is.
struct Go {
    peer: Peer,
    generation: go::Generation,
}

impl Go {
    fn start() -> Option<Self> {
        let mut peer = Peer::start(&mut go_driver("go", "OCISTORE_PEER_GO", &[])?);
        let version = String::from_utf8(peer.ask("version", b"")).unwrap();
        let (version, processor) = version.split_once(' ').unwrap();
        let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
        let generation = match (minor, processor) {
            (0..27, _) => go::Generation::Until26,
            (_, "amd64") => go::Generation::From27(Rounding::Twice),
            _ => go::Generation::From27(Rounding::Once),
        };
        Some(Self { peer, generation })
    }

    fn settings(&self, level: i8, writes: &str) -> (String, Method) {
        let number = go::Level::new(level).unwrap();
        let method = Method::Go(go::Settings::new(self.generation, number));
        (format!("level={level} {writes}"), method)
    }

    fn every_level(&self) -> Vec<(String, Method)> {
        let levels = (-2..=9).flat_map(|level| {
            let writes = ["", "write=32768"];
            writes.map(|writes| self.settings(level, writes))
        });
        levels.collect()
    }
}

#[test]
fn go_makes_the_same_at_its_default_level() {
    if let Some(mut go) = Go::start() {
        let settings = [go.settings(-1, "")];
        compare(&mut go.peer, &settings, (0, 0));
    }
}

#[test]
fn go_makes_the_same_at_every_level_whole_and_in_pieces() {
    if let Some(mut go) = Go::start() {
        let settings = go.every_level();
        compare(&mut go.peer, &settings, (0, 0));
    }
}

/// Each line: an input's seed, the method, the length and the digest of what Go made of it. Lines of another generation
/// stay: each is made by a run of its own.
#[test]
#[ignore = "writes testdata/encoders/go/streams.txt"]
fn write_golden_streams_of_go() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/encoders/go/streams.txt"
    );
    let mut go = Go::start().unwrap();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let (_, first) = go.settings(0, "");
    let generation = format!(" {}", hex(&first.to_bytes()[..2]));
    let before = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines: Vec<String> = before
        .lines()
        .filter(|line| !line.contains(&generation))
        .map(str::to_owned)
        .collect();
    let small = (1..).filter(|seed| input(*seed).len() < 300_000);
    let all = go.every_level();
    for (seed, (words, method)) in small.zip(all.iter().cycle().take(4 * all.len())) {
        let stream = go.peer.ask(words, &input(seed));
        let method = hex(&method.to_bytes());
        let digest = Digest::sha256(&stream).hex();
        lines.push(format!("{seed} {method} {} {digest}", stream.len()));
    }
    lines.sort_by_key(|line| line.split(' ').nth(1).unwrap().to_owned());
    std::fs::write(file, lines.join("\n") + "\n").unwrap();
}
