//! The row "limits": what a source may ask for, and the flag that moves each limit.

use crate::layout::{LAYER_GZIP, Layer, MANIFEST, config, gzip, manifest};
use crate::tarball::{Header, Tar};
use crate::world::{World, refuses_last};

/// Imports one layer: refused with the first flags, naming the flag, and accepted with the second.
#[track_caller]
fn moves(layer: &Layer, refused: &[&str], accepted: &[&str], why: &str) {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.image(std::slice::from_ref(layer))]);
    world.refuses_with(&layout.source(), refused, 4, &[why]);
    world.accepts_layout(&layout, accepted);
}

#[test]
fn an_extension_header_over_1_mib_is_refused_unless_max_extension_says_more() {
    let value = vec![b'x'; 1 << 20];
    let tar = || Tar::new().pax(&[("comment", &value)]).file("f", "f").into();
    let why = "over 1048576 (--max-extension)";
    moves(&tar(), &[], &["--max-extension", "2M"], why);
    let name = "n".repeat(200);
    for tar in [
        Tar::new().pax(&[("path", name.as_bytes())]).file("f", ""),
        Tar::new().long_name(&name).file("f", ""),
        Tar::new().long_link(&name).symlink("f", "t"),
    ] {
        let refused = ["--max-extension", "100"];
        moves(&tar.into(), &refused, &[], "over 100 (--max-extension)");
    }
}

#[test]
fn more_entries_than_max_entries_are_refused() {
    let tar = Tar::new().file("a", "").file("b", "").file("c", "");
    let why = "over 2 entries (--max-entries)";
    moves(
        &tar.into(),
        &["--max-entries", "2"],
        &["--max-entries", "3"],
        why,
    );
}

#[test]
fn directories_that_no_entry_describes_count_as_entries() {
    let tar = Tar::new().file("a/b/c/f", "").file("a/b/d/f", "");
    let why = "entry 'a/b/d/f' at byte 512: over 3 directories with those above its files (--max-entries)";
    moves(
        &tar.into(),
        &["--max-entries", "3"],
        &["--max-entries", "4"],
        why,
    );
}

#[test]
fn more_pieces_of_a_sparse_file_than_max_sparse_are_refused() {
    let map = [
        ("GNU.sparse.size", &b"100"[..]),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"0,1,50,1"),
    ];
    let tar = Tar::new().pax(&map).file("s", "ab");
    let why = "over 1 pieces of a sparse file (--max-sparse)";
    moves(
        &tar.into(),
        &["--max-sparse", "1"],
        &["--max-sparse", "2"],
        why,
    );
}

#[test]
fn a_layer_over_max_layer_is_refused_by_its_tar_and_by_its_files() {
    let tar = Tar::new().file("f", vec![b'f'; 3000]);
    let why = "its tar is over 2048 bytes (--max-layer)";
    moves(
        &tar.into(),
        &["--max-layer", "2K"],
        &["--max-layer", "8K"],
        why,
    );
    let hole = [
        ("GNU.sparse.size", &b"9000"[..]),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", b"0,1"),
    ];
    let tar = Tar::new().pax(&hole).file("s", "s");
    let why = "files of over 8192 bytes in one layer (--max-layer)";
    moves(
        &tar.into(),
        &["--max-layer", "8K"],
        &["--max-layer", "9K"],
        why,
    );
}

#[test]
fn a_tar_over_a_thousand_times_larger_than_its_blob_is_taken_where_max_expansion_says_so() {
    let tar = Tar::new().file("z", vec![0; 65 << 20]).end();
    let layer = Layer::of(LAYER_GZIP, gzip(&tar), &tar);
    let why = "its tar is over 1000 times larger than its blob (--max-expansion)";
    moves(&layer, &[], &["--max-expansion", "2000"], why);
}

#[test]
fn documents_over_4_mib_are_taken_where_max_json_says_so_and_kept_like_others() {
    let world = World::new();
    let layout = world.layout();
    let layer: Layer = Tar::new().add(Header::new(b'0', "f"), "f").into();
    let config = layout.document(crate::layout::CONFIG, &config(std::slice::from_ref(&layer)));
    let mut manifest = manifest(&config, &[layout.blob(&layer.media_type, &layer.blob)]);
    manifest["annotations"] = serde_json::json!({"x": "x".repeat(5 << 20)});
    layout.index(&[layout.document(MANIFEST, &manifest)]);
    world.refuses(&layout.source(), 4, &["over 4194304 (--max-json)"]);
    let (code, said) = world.fails(&["import", &layout.source(), "--max-json", "65M"]);
    assert_eq!(code, 64, "{said}");
    let imported = world.accepts_layout(&layout, &["--max-json", "8M"]);
    imported.world().ok(&["gc"]);
    assert!(imported.world().run(&["fsck"]).status.success());
    imported.tree(&["f=f"]);
}

#[test]
fn more_layers_than_max_layers_are_refused() {
    let world = World::new();
    let layout = world.layout();
    let layers: Vec<Layer> = (0..3)
        .map(|n| Tar::new().file(format!("f{n}"), "").into())
        .collect();
    layout.index(&[layout.image(&layers)]);
    let why = "3 layers, over 2 (--max-layers)";
    world.refuses_with(&layout.source(), &["--max-layers", "2"], 4, &[why]);
    world.accepts_layout(&layout, &["--max-layers", "3"]);
}

#[test]
fn extension_headers_of_a_layer_together_are_limited_too() {
    let name = "n".repeat(99);
    let tar = (0..1025).fold(Tar::new(), |tar, n| {
        tar.pax(&[("SCHILY.xattr.user.n", name.as_bytes())])
            .file(format!("f{n}"), "")
    });
    let record = crate::tarball::record("SCHILY.xattr.user.n", name.as_bytes());
    let exact = record.len().to_string();
    let most = record.len() * 1024;
    let why = format!("extension headers of over {most} bytes in one layer (--max-extension)");
    moves(&tar.into(), &["--max-extension", &exact], &[], &why);
}

/// A tar of a directory over 500 levels of 255 bytes deep, and the name of a symlink that leads there.
fn deep() -> (Tar, String) {
    let below = vec!["n".repeat(255); 15].join("/");
    (0..36).fold((Tar::new(), ".".to_owned()), |(tar, from), n| {
        let to = format!("{from}/{below}");
        let link = format!("s{n}");
        let tar = tar
            .pax(&[("path", format!("{to}/d").as_bytes())])
            .dir("d")
            .long_link(&to)
            .symlink(&link, "");
        (tar, link)
    })
}

#[test]
fn a_short_name_in_a_deep_directory_takes_no_memory_for_its_path() {
    let (tar, link) = deep();
    let tar = (0..4000).fold(tar, |tar, n| tar.file(format!("{link}/f{n}"), ""));
    let tar = (0..4000).fold(tar, |tar, n| {
        tar.link(format!("{link}/l{n}"), format!("{link}/f{n}"))
    });
    let world = World::of_mib(256);
    let layout = world.layout();
    layout.index(&[layout.image(&[Layer::gzip(&tar.end())])]);
    crate::world::quickly(|| world.ok(&["import", &layout.source()]));
}

#[test]
fn symlinks_on_the_way_take_no_more_steps_than_a_path_may() {
    let (tar, link) = deep();
    let up = vec!["..".to_owned(); 500].join("/");
    let tar = tar.long_link(format!("{link}/{up}")).symlink("up", "");
    let tar = tar.symlink("again", "up/up");
    refuses_last(
        &[],
        tar.file("again/x", ""),
        "again/x",
        "take over 1024 steps",
    );
}
