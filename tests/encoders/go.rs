//! Go's `compress/flate` beside ours. Debian's `go` is the peer, or the driver that `OCISTORE_PEER_GO` names, built from
//! peers/go/main.go by another version.

use ocistore::encoders::{Method, go};

use super::peer::{Peer, compare, go_driver};

fn peer() -> Option<Peer> {
    Some(Peer::start(&mut go_driver("go", "OCISTORE_PEER_GO", &[])?))
}

fn settings(level: i8, writes: &str) -> (String, Method) {
    let number = go::Level::new(level).unwrap();
    let method = Method::Go(go::Settings::new(go::Generation::Until26, number));
    (format!("level={level} {writes}"), method)
}

#[test]
fn go_makes_the_same_at_its_default_level() {
    if let Some(mut peer) = peer() {
        compare(&mut peer, &[settings(-1, "")], (0, 0));
    }
}

#[test]
fn go_makes_the_same_at_every_level_whole_and_in_pieces() {
    if let Some(mut peer) = peer() {
        let levels = (-2..=9).flat_map(|level| {
            let writes = ["", "write=32768"];
            writes.map(|writes| settings(level, writes))
        });
        compare(&mut peer, &levels.collect::<Vec<_>>(), (0, 0));
    }
}
