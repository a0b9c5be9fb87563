//! The table "Whiteouts" (image-spec layer.md, "Whiteouts").

use serde_json::json;

use crate::layout::{INDEX, Layer, named};
use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{World, accepts, refuses_last};

fn lower() -> Tar {
    Tar::new().dir("d").file("d/x", "lower x").file("d/y", "y")
}

/// Returns a tar of these parts, in this order and in the reverse one.
fn both_orders(parts: &[fn(Tar) -> Tar]) -> [Tar; 2] {
    let forward = parts.iter().fold(Tar::new(), |tar, part| part(tar));
    let backward = parts.iter().rev().fold(Tar::new(), |tar, part| part(tar));
    [forward, backward]
}

#[test]
fn a_whiteout_and_the_same_name_in_one_layer_in_either_order_replace_the_lower_file() {
    for upper in both_orders(&[|t| t.file("d/.wh.x", ""), |t| t.file("d/x", "upper x")]) {
        accepts([lower(), upper])
            .tree(&["d/", "d/x=upper x", "d/y=y"])
            .warns(&[]);
    }
}

#[test]
fn a_whiteout_works_in_compressed_and_plain_layers_and_hides_a_whole_directory() {
    let upper = Tar::new().file(".wh.d", "").file("e", "e").end();
    let lower = lower().end();
    let layers: [fn(&[u8]) -> Layer; 3] = [Layer::plain, Layer::gzip, Layer::zstd];
    for make in layers {
        accepts([make(&lower), make(&upper)]).tree(&["e=e"]);
    }
}

#[test]
fn an_opaque_marker_in_any_place_hides_what_lower_layers_put_there_never_its_own() {
    let mark: fn(Tar) -> Tar = |t| t.file("d/.wh..wh..opq", "");
    let new: fn(Tar) -> Tar = |t| t.file("d/new", "new").file("d/x", "upper x");
    for upper in both_orders(&[mark, new]) {
        accepts([lower(), upper])
            .tree(&["d/", "d/new=new", "d/x=upper x"])
            .warns(&[]);
    }
    let between = Tar::new().file("d/a", "a").file("d/.wh..wh..opq", "");
    accepts([lower(), between.dir("d").file("d/z", "z")]).tree(&["d/", "d/a=a", "d/z=z"]);
}

#[test]
fn an_opaque_directory_over_an_opaque_directory_hides_both() {
    let upper = |name| Tar::new().file(name, "").file("d/.wh..wh..opq", "");
    let under = Tar::new().dir("d/sub").file("d/sub/deep", "deep");
    accepts([lower(), under, upper("d/one"), upper("d/two")]).tree(&["d/", "d/two="]);
}

#[test]
fn an_opaque_root_hides_everything_below() {
    for name in [".wh..wh..opq", "./.wh..wh..opq", "/.wh..wh..opq"] {
        let upper = Tar::new().file("new", "new").file(name, "");
        accepts([lower(), upper]).tree(&["new=new"]);
    }
}

#[test]
fn an_opaque_directory_without_an_entry_keeps_its_metadata() {
    let below = Tar::new().add(Header::new(b'5', "d").mode(0o700).mtime(7), "");
    let upper = Tar::new().file("d/.wh..wh..opq", "");
    accepts([below.file("d/x", ""), upper])
        .tree(&["d/"])
        .stat("d", "0700 0:0 7.000000000");
}

#[test]
fn a_child_added_below_a_directory_stays_when_the_directory_is_whited_out() {
    for upper in both_orders(&[|t| t.file("d/new", "new"), |t| t.file(".wh.d", "")]) {
        accepts([lower(), upper]).tree(&["d/", "d/new=new"]);
    }
}

#[test]
fn a_whiteout_and_an_opaque_marker_of_one_directory_do_what_one_does() {
    for upper in both_orders(&[
        |t| t.file("d/.wh.x", ""),
        |t| t.file("d/.wh..wh..opq", ""),
        |t| t.file(".wh.d", ""),
        |t| t.file("d/new", "new"),
    ]) {
        accepts([lower(), upper]).tree(&["d/", "d/new=new"]);
    }
}

#[test]
fn a_mark_of_what_is_not_there_has_no_effect_and_makes_no_directory() {
    let lower = Tar::new()
        .file("f", "f")
        .symlink("dangling", "nowhere/at/all")
        .symlink("loop", "loop")
        .long_link("n".repeat(300))
        .symlink("odd", "short");
    let lower = Layer::from(lower);
    for parent in [
        "",
        "none/",
        "none/at/all/",
        "f/",
        "dangling/",
        "loop/",
        "odd/",
    ] {
        let whiteout = Tar::new().file(format!("{parent}.wh.gone"), "");
        let opaque = match parent {
            "" => Tar::new().file("none/.wh..wh..opq", ""),
            parent => Tar::new().file(format!("{parent}.wh..wh..opq"), ""),
        };
        for upper in [whiteout, opaque] {
            let accepted = accepts([lower.clone(), upper.into()]).warns(&[]);
            assert_eq!(tree::list(&accepted.root).len(), 4, "{parent}");
        }
    }
}

#[test]
fn a_whiteout_does_not_see_what_its_own_layer_brings() {
    let upper = Tar::new()
        .symlink("way", "d")
        .file("way/.wh.x", "")
        .file("new/deep/.wh.f", "")
        .file("new/deep/f", "f");
    accepts([lower(), upper]).tree(&[
        "d/",
        "d/x=lower x",
        "d/y=y",
        "new/",
        "new/deep/",
        "new/deep/f=f",
        "way@d",
    ]);
}

#[test]
fn a_mark_below_a_lower_symlink_means_what_the_symlink_leads_to() {
    let lower = || lower().symlink("way", "/d").symlink("far", "../../way");
    let whiteout = Tar::new().file("far/.wh.x", "");
    accepts([lower(), whiteout]).tree(&["d/", "d/y=y", "far@../../way", "way@/d"]);
    let opaque = Tar::new().file("way/.wh..wh..opq", "").file("way/z", "z");
    accepts([lower(), opaque]).tree(&["d/", "d/z=z", "far@../../way", "way@/d"]);
}

#[test]
fn a_mark_in_a_directory_that_replaces_a_symlink_leaves_alone_what_that_led_to() {
    // As overlay file systems write it: a directory in place of something else is opaque.
    let lower = || {
        lower()
            .symlink("way", "d")
            .dir("d/sub")
            .file("d/sub/f", "f")
    };
    let own: fn(Tar) -> Tar = |t| t.dir("way").dir("way/sub").file("way/new", "new");
    let marks: fn(Tar) -> Tar = |t| {
        let t = t.file("way/.wh..wh..opq", "").file("way/.wh.x", "");
        t.file("way/sub/.wh..wh..opq", "")
    };
    for upper in both_orders(&[own, marks]) {
        accepts([lower(), upper]).tree(&[
            "d/",
            "d/sub/",
            "d/sub/f=f",
            "d/x=lower x",
            "d/y=y",
            "way/",
            "way/new=new",
            "way/sub/",
        ]);
    }
}

#[test]
fn a_whiteout_of_a_symlink_takes_the_symlink_not_what_it_leads_to() {
    let lower = lower().symlink("way", "d");
    accepts([lower, Tar::new().file(".wh.way", "")]).tree(&["d/", "d/x=lower x", "d/y=y"]);
}

#[test]
fn a_whiteout_of_a_directory_that_a_link_points_into_leaves_the_other_name() {
    let lower = lower().link("outside", "d/x");
    accepts([lower, Tar::new().file(".wh.d", "")]).tree(&["outside=lower x"]);
}

#[test]
fn a_whiteout_of_any_type_is_applied_by_its_name_with_a_warning() {
    for kind in *b"123456" {
        for marker in ["d/.wh.x", "d/.wh..wh..opq"] {
            let header = Header::new(kind, marker).link("anything").device(1, 3);
            let upper = Tar::new()
                .add(header, "")
                .file("d/.wh.y", "")
                .file("d/z", "z");
            accepts([lower(), upper])
                .tree(&["d/", "d/z=z"])
                .warns(&[("odd-whiteout", 1)]);
        }
    }
    let plain = |kind| Tar::new().add(Header::new(kind, "d/.wh.x"), "");
    for kind in [b'0', 0, b'7'] {
        accepts([lower(), plain(kind)])
            .tree(&["d/", "d/y=y"])
            .warns(&[]);
    }
}

#[test]
fn a_whiteout_with_bytes_is_applied_by_its_name_with_a_warning() {
    for kind in [b'0', 0, b'7'] {
        for name in ["d/.wh.x", "d/.wh..wh..opq"] {
            let upper = Tar::new().add(Header::new(kind, name), [b'w'; 700]);
            let upper = upper.file("d/.wh.y", "").file("d/z", "z");
            accepts([lower(), upper.clone()])
                .tree(&["d/", "d/z=z"])
                .warns(&[("odd-whiteout", 1)])
                .strictly_refused(&[&format!("entry '{name}' at byte 0: "), "a whiteout is not"]);
        }
    }
}

#[test]
fn a_warning_names_layer_entry_and_offset_and_counts_its_kind() {
    let upper = Tar::new().dir("d");
    let upper = upper.file("./d/.wh.x", "bytes").dir("d/.wh.y");
    for layer in [Layer::gzip, Layer::plain] {
        let layer = layer(&upper.clone().end());
        let digest = layer.descriptor()["digest"].as_str().unwrap().to_owned();
        let place = format!("layer {digest} entry './d/.wh.x' at byte 512");
        let imported = accepts([lower().into(), layer]).warns(&[("odd-whiteout", 2)]);
        assert_eq!(imported.report["warnings"][0]["first"], place);
        imported.strictly_refused(&[&place]);
    }
}

#[test]
fn a_whiteout_of_a_type_without_data_that_claims_bytes_is_refused() {
    for kind in *b"123456" {
        for name in ["d/.wh.x", "d/.wh..wh..opq", "d/.wh..wh.aufs"] {
            let header = Header::new(kind, name).link("anything").size(512);
            let upper = Tar::new().add(header, "").file("d/z", "z").end();
            let why = format!("an entry of type {} with 512 bytes", char::from(kind));
            crate::world::refuses_at(&[lower()], &upper, 0, name, &why);
        }
    }
}

#[test]
fn a_whiteout_of_a_type_nobody_knows_is_refused() {
    for kind in [b'S', b'D', b'Z'] {
        for name in ["d/.wh.x", "d/.wh..wh.aufs"] {
            let upper = Tar::new().add(Header::gnu(kind, name), "");
            let why = format!("a marker of type '{}'", char::from(kind));
            refuses_last(&[lower()], upper, name, &why);
        }
    }
}

#[test]
fn a_whiteout_that_names_nothing_is_refused() {
    for (name, why) in [
        ("d/.wh.", "a whiteout that names no file: empty name"),
        (".wh.", "a whiteout that names no file: empty name"),
        (
            "d/.wh..",
            "a whiteout that names no file: '.' or '..' as a name",
        ),
        (
            "d/.wh...",
            "a whiteout that names no file: '.' or '..' as a name",
        ),
        (
            "./.wh...",
            "a whiteout that names no file: '.' or '..' as a name",
        ),
    ] {
        refuses_last(&[lower()], Tar::new().dir("d").file(name, ""), name, why);
    }
}

#[test]
fn a_whiteout_of_a_name_of_dots_and_more_is_one_like_any_other() {
    let lower = Tar::new()
        .file("...", "")
        .file(".wh", "")
        .file("..x", "")
        .file("keep", "");
    let upper = Tar::new()
        .file(".wh....", "")
        .file(".wh..wh", "")
        .file(".wh...x", "");
    accepts([lower, upper]).tree(&["keep="]).warns(&[]);
}

#[test]
fn a_whiteout_as_a_parent_is_refused() {
    for name in [
        ".wh.a/x",
        "d/.wh.a/x",
        "d/.wh.a/b/c",
        "d/.wh.a/.wh.x",
        ".wh..wh..opq/x",
        "d/.wh..wh.plnk/x",
        ".wh.a/..",
        ".wh..wh.plnk/../x",
    ] {
        let upper = Tar::new().file(name, "");
        refuses_last(&[lower()], upper, name, "a whiteout as a parent");
    }
}

#[test]
fn a_directory_that_comes_back_only_as_an_implicit_parent_is_a_new_one() {
    let below = Tar::new().add(
        Header::new(b'5', "d").mode(0o700).uid(7).gid(8).mtime(9),
        "",
    );
    for upper in both_orders(&[|t| t.file(".wh.d", ""), |t| t.file("d/new", "")]) {
        accepts([below.clone().file("d/x", ""), upper])
            .tree(&["d/", "d/new="])
            .stat("d", "0755 0:0 0.000000000");
    }
    let named = Tar::new()
        .file(".wh.d", "")
        .add(Header::new(b'5', "d").mode(0o711).mtime(5), "");
    accepts([below.file("d/x", ""), named]).stat("d", "0711 0:0 5.000000000");
}

#[test]
fn a_directory_that_was_whited_out_in_one_layer_comes_back_empty_in_the_next() {
    let layers = [
        lower(),
        Tar::new().file(".wh.d", ""),
        Tar::new().file("d/new", "new"),
        Tar::new().file("d/.wh.new", ""),
    ];
    accepts(layers.clone()).tree(&["d/"]);
    accepts(layers[..3].to_vec()).tree(&["d/", "d/new=new"]);
    accepts(layers[..2].to_vec()).tree(&[]);
}

#[test]
fn no_export_holds_marks_that_no_layer_came_with() {
    // Layers go out as they came: what whites out one directory twice is only there if it was there before.
    let world = World::new();
    let upper = Tar::new().file(".wh.d", "").file("d/.wh.f", "").end();
    let layers = [Layer::gzip(&lower().end()), Layer::gzip(&upper)];
    let imported = world.accepts(layers, &["--blobs", "keep"]).tree(&[]);
    let copy = imported.world().path("again");
    let place = format!("oci:{}", copy.display());
    imported
        .world()
        .ok(&["export", "--recompress", "zstd", "image", &place]);
    let blobs = crate::layout::blobs_in(&copy);
    let is_same = |blob: &[u8]| zstd::decode_all(blob).is_ok_and(|tar| tar == upper);
    assert!(blobs.iter().any(|(_, blob)| is_same(blob)));
}

#[test]
fn strict_imports_refuse_what_was_taken_in_with_warnings_before() {
    let odd = || Tar::new().dir("d/.wh.x");
    let twice = || Tar::new().file("d/y", "one").file("d/y", "two");
    for (upper, why) in [
        (odd(), "a whiteout is not"),
        (twice(), "a path comes twice"),
    ] {
        let world = World::new();
        let layout = world.layout();
        let layers = [lower().into(), Layer::gzip(&upper.end())];
        layout.index(&[layout.image(&layers)]);
        let digest = layers[1].descriptor()["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        world.ok(&["import", &layout.source()]);
        let why = [why, &format!("layer {digest} entry '"), "without --strict"];
        world.refuses_with(&layout.source(), &["--strict"], 4, &why);
        // And so in an image of more layers, by another name, below an index.
        let more = [&layers[..], &[Layer::from(Tar::new().file("more", ""))]].concat();
        let index = json!({"schemaVersion": 2, "manifests": [layout.image(&more)]});
        layout.index(&[named(layout.document(INDEX, &index), "other")]);
        world.refuses_with(&layout.source(), &["--strict"], 4, &why);
        world.ok(&["import", &layout.source()]);
        world.refuses_with(&layout.source(), &["--strict"], 4, &why);
    }
}
