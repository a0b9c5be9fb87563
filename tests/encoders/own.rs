//! Streams that are ours: zlib reads them.

use std::process::Command;

use ocistore::encoders::{Method, own};

use super::inputs::{cases, input};
use super::peer::Peer;

#[test]
fn zlib_reads_what_we_write() {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/encoders/peers/inflate.py"
    );
    let mut peer = Peer::start(Command::new("python3").arg(script));
    let method = Method::Own(own::Settings::Gzip);
    for seed in cases() {
        let plain = input(seed);
        let mut stream = Vec::new();
        method.engine().run(&plain, &mut stream).unwrap();
        assert!(peer.ask("", &stream) == plain, "seed {seed}");
    }
}
