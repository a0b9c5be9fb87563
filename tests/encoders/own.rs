//! Streams that are ours: zlib reads them, and they are those that are written.

use std::io::Write as _;
use std::process::Command;

use ocistore::compress::Compression;
use ocistore::encoders::libzstd::FrameHints;
use ocistore::encoders::{Method, own};

use super::inputs::{Random, cases, input};
use super::peer::{Peer, run_in_pieces};

#[test]
fn zlib_reads_what_we_write() {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/encoders/peers/inflate.py"
    );
    let mut peer = Peer::start(Command::new("python3").arg(script));
    let methods = [own::Settings::Gzip, own::Settings::GzipStream];
    for seed in cases() {
        let plain = input(seed);
        for method in methods.map(Method::Own) {
            let mut stream = Vec::new();
            method.engine().run(&plain, &mut stream).unwrap();
            assert!(peer.ask("", &stream) == plain, "seed {seed}, {method}");
        }
    }
}

#[test]
fn what_recompressed_exports_hold_is_made_again() {
    for seed in cases() {
        let plain = input(seed);
        let mut random = Random::new(seed);
        let mut packed = [Compression::Gzip, Compression::Zstd].map(|compression| {
            let mut writer = compression.writer(Vec::new()).unwrap();
            for piece in plain.chunks(1 + random.below(300_000)) {
                writer.write_all(piece).unwrap();
            }
            writer.finish().unwrap()
        });
        let gzip = Method::Own(own::Settings::GzipStream);
        let [member, frame] = &mut packed;
        let deflated = &member[10..member.len() - 8];
        assert!(
            run_in_pieces(gzip, &plain, &mut random) == deflated,
            "seed {seed}"
        );
        let zstd = Method::of_frame(FrameHints::parse(frame).unwrap())[0];
        assert!(
            run_in_pieces(zstd, &plain, &mut random) == *frame,
            "seed {seed}"
        );
    }
}
