//! The table "Compression and media types", with `import --lenient`: the bytes decide, and say so.

use crate::layout::{LAYER, LAYER_GZIP, LAYER_ZSTD, Layer, gzip};
use crate::packed::zstd;
use crate::tarball::Tar;
use crate::world::World;

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKED: [(&str, Pack); 3] = [
    (LAYER, <[u8]>::to_vec),
    (LAYER_GZIP, gzip),
    (LAYER_ZSTD, zstd),
];

fn tar(text: &str) -> Vec<u8> {
    Tar::new().file("f", text).end()
}

#[test]
fn lenient_takes_bytes_that_are_not_what_the_media_type_says_with_a_warning() {
    for (media_type, _) in PACKED {
        for (_, pack) in PACKED.iter().filter(|(other, _)| *other != media_type) {
            let layer = Layer::of(media_type, pack(&tar("f")), &tar("f"));
            // The export gives the same bytes, of the same media type.
            World::new()
                .accepts([layer], &["--lenient"])
                .tree(&["f=f"])
                .warns(&[("compression-differs", 1)]);
        }
    }
}

#[test]
fn lenient_counts_each_layer_that_differs() {
    let layers = [
        Layer::of(LAYER, gzip(&tar("a")), &tar("a")),
        Layer::of(LAYER_GZIP, zstd(&tar("b")), &tar("b")),
        Layer::gzip(&tar("c")),
    ];
    World::new()
        .accepts(layers, &["--lenient"])
        .tree(&["f=c"])
        .warns(&[("compression-differs", 2)]);
}

#[test]
fn lenient_takes_what_is_as_it_says_without_a_warning() {
    for (media_type, pack) in PACKED {
        let layer = Layer::of(media_type, pack(&tar("f")), &tar("f"));
        World::new()
            .accepts([layer], &["--lenient"])
            .tree(&["f=f"])
            .warns(&[]);
    }
}

#[test]
fn lenient_still_checks_digests_diff_ids_and_streams() {
    let refused = |layer: Layer, code: i32, why: &str| {
        let world = World::new();
        let layout = world.layout();
        layout.index(&[layout.image(&[layer])]);
        world.refuses_with(&layout.source(), &["--lenient"], code, &[why]);
    };
    let other = Layer::of(LAYER, gzip(&tar("f")), &tar("g"));
    refused(other, 3, "its config says diff_id");
    let packed = gzip(&tar("f"));
    let cut = Layer::of(LAYER_ZSTD, packed[..packed.len() - 1].to_vec(), &tar("f"));
    refused(cut, 4, "its gzip stream is broken");
    let trailing = [&packed[..], b"x"].concat();
    refused(
        Layer::of(LAYER, trailing, &tar("f")),
        4,
        "other bytes follow it",
    );

    let world = World::new();
    let layout = world.layout();
    let layer = Layer::of(LAYER, packed, &tar("f"));
    layout.index(&[layout.image(std::slice::from_ref(&layer))]);
    let mut bytes = layer.blob.clone();
    bytes[20] ^= 1;
    std::fs::write(layout.blob_path(&layer.descriptor()), bytes).unwrap();
    world.refuses_with(&layout.source(), &["--lenient"], 3, &["its bytes are"]);
}

#[test]
fn lenient_and_strict_together_refuse_what_differs() {
    let world = World::new();
    let layout = world.layout();
    let layer = Layer::of(LAYER, gzip(&tar("f")), &tar("f"));
    layout.index(&[layout.image(&[layer])]);
    let flags = ["--lenient", "--strict"];
    world.refuses_with(&layout.source(), &flags, 4, &["without --strict"]);
}

#[test]
fn a_layer_of_another_compression_comes_back_from_gc_fsck_and_a_second_import() {
    let world = World::new();
    let layout = world.layout();
    let layer = Layer::of(LAYER, gzip(&tar("f")), &tar("f"));
    layout.index(&[layout.image(&[layer])]);
    world.ok(&["import", "--lenient", &layout.source()]);
    world.ok(&["gc"]);
    world.ok(&["fsck"]);
    world.ok(&["import", "--lenient", &layout.source()]);
    std::fs::remove_file(world.path("store").join("catalog.redb")).unwrap();
    let root = world.path("root");
    world.ok(&["checkout", "image", root.to_str().unwrap()]);
    assert_eq!(crate::tree::list(&root), ["f=f"]);
}
