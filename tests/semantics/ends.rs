//! The table "Headers": where a tar ends, and what comes after.

use crate::layout::{self, Layer};
use crate::tarball::{BLOCK, Header, Tar};
use crate::world::{accepts, refuses_at};

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Accepts a tar as it is, compressed and plain; returns nothing: the tree is `x`.
fn has_x(tar: &[u8], warnings: &[(&str, u64)]) {
    for layer in [Layer::plain(tar), Layer::gzip(tar), Layer::zstd(tar)] {
        accepts([layer]).tree(&["x=x"]).warns(warnings);
    }
}

#[test]
fn a_last_entry_without_its_padding_is_fine_with_a_warning() {
    let tar = Tar::new().dir("d").file("x", "x");
    for cut in [1, 511] {
        let cut = tar.clone().cut(cut).bytes;
        accepts([Layer::gzip(&cut)])
            .tree(&["d/", "x=x"])
            .warns(&[("missing-padding", 1)])
            .strictly_refused(&["entry 'x' at byte 512: the last entry's padding is missing"]);
        accepts([Layer::plain(&cut)])
            .tree(&["d/", "x=x"])
            .warns(&[("missing-padding", 1)]);
    }
    let whiteout = Tar::new().file("x", "x").file(".wh.y", "y").cut(511).bytes;
    has_x(&whiteout, &[("odd-whiteout", 1), ("missing-padding", 1)]);
    let global = Tar::new()
        .file("x", "x")
        .global(&[("comment", b"c")])
        .cut(400)
        .bytes;
    has_x(&global, &[("missing-padding", 1)]);
}
