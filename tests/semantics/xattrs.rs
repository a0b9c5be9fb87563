//! The table "Headers": extended attributes.

use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{World, accepts, is_root, refuses_last};

#[test]
fn one_attribute_in_two_spellings_is_one_that_comes_twice() {
    let tar = Tar::new().pax(&[
        ("LIBARCHIVE.xattr.user.a", b"b25l"),
        ("LIBARCHIVE.xattr.user%2Ea", b"dHdv"),
    ]);
    accepts([tar.file("x", "x")])
        .xattrs("x", &["user.a=two"])
        .warns(&[("repeated-header", 1)]);
}

/// Imports a layer and checks it out; returns what the checkout says of attributes.
fn refused(tar: Tar) -> (World, serde_json::Value) {
    let world = World::new();
    let layout = world.layout();
    layout.index(&[layout.image(&[tar.into()])]);
    let report = world.ok(&["import", &layout.source()]);
    assert_eq!(report["warnings"], serde_json::json!([]));
    let root = world.path("root");
    let report = world.ok(&["checkout", "image", root.to_str().unwrap()]);
    let copy = world.path("copy");
    world.ok(&["export", "image", &format!("oci:{}", copy.display())]);
    assert!(crate::layout::blobs_in(&copy) == layout.blobs());
    assert!(world.run(&["fsck"]).status.success());
    (world, report["report"]["warnings"]["xattr refused"].clone())
}
