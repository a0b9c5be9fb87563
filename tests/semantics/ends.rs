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
fn a_tar_without_an_end_of_archive_is_fine() {
    has_x(&Tar::new().file("x", "x").bytes, &[]);
}

#[test]
fn a_tar_with_one_zero_block_or_a_part_of_one_is_fine() {
    let tar = Tar::new().file("x", "x");
    for zeros in [1, 100, 511, 512, 513, 1023] {
        has_x(&tar.clone().raw(vec![0; zeros]).bytes, &[]);
    }
}

#[test]
fn a_tar_with_many_zero_blocks_is_fine() {
    has_x(&Tar::new().file("x", "x").raw(vec![0; 10_240]).bytes, &[]);
    has_x(&Tar::new().file("x", "x").raw(vec![0; 10_241]).bytes, &[]);
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

#[test]
fn a_zero_block_and_then_anything_but_zeros_is_refused() {
    let tar = Tar::new().file("x", "x");
    let why = "a zero block and then other bytes: two readers would see two tars";
    let after = tar.clone().raw(ZEROS).file("y", "y").end();
    refuses_at(&[], &after, 2 * BLOCK, "", why);
    for at in [0, 511] {
        let mut block = ZEROS;
        block[at] = 1;
        let after = tar.clone().raw(ZEROS).raw(block).bytes;
        refuses_at(&[], &after, 2 * BLOCK, "", why);
    }
    let part = tar.raw(ZEROS).raw(b"\0\0x").bytes;
    refuses_at(&[], &part, 2 * BLOCK, "", why);
    let first = Tar::new().raw(ZEROS).file("x", "x").end();
    refuses_at(&[], &first, 0, "", why);
}

#[test]
fn bytes_after_the_end_are_no_part_of_the_tree_but_of_the_diff_id_and_the_export() {
    let tar = Tar::new().file("x", "x").raw(ZEROS).raw(ZEROS);
    let more = Tar::new().file("x", "other").file("y", "y").end();
    for after in [&more[..], b"garbage", &[0xff; 2000], b"\0\0\0x"] {
        let tar = tar.clone().raw(after).bytes;
        has_x(&tar, &[]);
        // Another diff_id is another layer.
        let world = crate::world::World::new();
        let layout = world.layout();
        let mut layer = Layer::gzip(&tar);
        layer.diff_id = Layer::plain(&Tar::new().file("x", "x").end()).diff_id;
        layout.index(&[layout.image(&[layer])]);
        world.refuses(&layout.source(), 3, &["its config says diff_id"]);
    }
}

#[test]
fn bytes_after_the_end_come_back_without_the_blob_too() {
    let tar = Tar::new()
        .file("x", "x")
        .raw(ZEROS)
        .raw(ZEROS)
        .raw(b"after")
        .bytes;
    let world = crate::world::World::new();
    let layout = world.layout();
    layout.index(&[layout.image(&[Layer::gzip(&tar)])]);
    world.ok(&["import", &layout.source(), "--blobs", "drop"]);
    let copy = world.path("copy");
    world.ok(&[
        "export",
        "image",
        &format!("oci:{}", copy.display()),
        "--recompress",
        "zstd",
    ]);
    let blobs = layout::blobs_in(&copy);
    assert!(
        blobs
            .iter()
            .any(|(_, blob)| zstd::decode_all(&blob[..]).is_ok_and(|t| t == tar))
    );
}

#[test]
fn a_truncated_entry_is_refused() {
    let tar = Tar::new().dir("d").file("x", [b'x'; 1000]);
    for (keep, name, why) in [
        (512 + 100, "", "the tar is cut off: 100 bytes of a header"),
        (512 + 512, "x", "the tar is cut off within its 1000 bytes"),
        (
            512 + 512 + 1,
            "x",
            "the tar is cut off within its 1000 bytes",
        ),
        (
            512 + 512 + 999,
            "x",
            "the tar is cut off within its 1000 bytes",
        ),
    ] {
        refuses_at(&[], &tar.bytes[..keep], BLOCK, name, why);
    }
    let large = Tar::new().add(Header::new(b'0', "x").size(10 << 20), vec![b'x'; 9 << 20]);
    let why = "the tar is cut off within its 10485760 bytes";
    refuses_at(&[], &large.bytes, 0, "x", why);
    let whiteout = Tar::new()
        .add(Header::new(b'0', ".wh.x").size(600), "")
        .bytes;
    refuses_at(
        &[],
        &whiteout,
        0,
        ".wh.x",
        "the tar is cut off within its 600 bytes",
    );
}

#[test]
fn an_empty_layer_of_no_bytes_or_of_zero_blocks_is_fine() {
    let lower = || Layer::from(Tar::new().file("x", "x"));
    for zeros in [0, 1, 512, 1024, 10_240] {
        let tar = vec![0; zeros];
        for layer in [Layer::plain(&tar), Layer::gzip(&tar), Layer::zstd(&tar)] {
            accepts([lower(), layer]).tree(&["x=x"]).warns(&[]);
        }
    }
    accepts([Layer::plain(&[])]).tree(&[]).warns(&[]);
}
