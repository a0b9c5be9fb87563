//! The table "Headers": types, dialects, names of owners, devices.

use crate::tarball::{BLOCK, Header, Tar};
use crate::tree;
use crate::world::{World, accepts, is_root, refuses_at, refuses_last};

#[test]
fn a_trailing_slash_without_data_is_a_directory() {
    accepts([Tar::new()
        .add(Header::v7("d/").mode(0o755), "")
        .file("d/x", "x")])
    .tree(&["d/", "d/x=x"])
    .stat("d", "0755 0:0 0.000000000")
    .warns(&[]);
    for kind in [b'0', b'7'] {
        accepts([Tar::new()
            .add(Header::new(kind, "d/").mode(0o700), "")
            .file("d/x", "x")])
        .tree(&["d/", "d/x=x"])
        .stat("d", "0700 0:0 0.000000000")
        .warns(&[("trailing-slash", 1)])
        .strictly_refused(&["entry 'd/' at byte 0: a file without data whose name ends"]);
    }
    let long = Tar::new().long_name("d/").add(Header::new(b'0', "x"), "");
    accepts([long])
        .tree(&["d/"])
        .warns(&[("trailing-slash", 1)]);
    let pax = Tar::new()
        .pax(&[("path", b"d/")])
        .add(Header::new(b'0', "x"), "");
    accepts([pax]).tree(&["d/"]).warns(&[("trailing-slash", 1)]);
}

#[test]
fn a_trailing_slash_with_data_is_refused() {
    let why = "a directory's name with a file's data";
    refuses_last(&[], Tar::new().add(Header::v7("d/"), "x"), "d/", why);
    for kind in [0, b'0', b'7'] {
        refuses_last(&[], Tar::new().add(Header::new(kind, "d/"), "x"), "d/", why);
    }
    let pax = Tar::new()
        .pax(&[("size", b"1")])
        .add(Header::new(b'0', "d/").size(0), "x");
    refuses_last(&[], pax, "d/", why);
    refuses_last(&[], Tar::new().add(Header::gnu(b'S', "d/"), ""), "d/", why);
}

#[test]
fn an_extension_header_before_a_volume_label_is_refused() {
    // For some readers it is the label's, for others that of the entry after it.
    let why = "an extension header before a volume label";
    let label = |tar: Tar| tar.add(Header::gnu(b'V', "label"), "").file("x", "x").end();
    refuses_at(
        &[],
        &label(Tar::new().pax(&[("path", b"real")])),
        0,
        "",
        why,
    );
    refuses_at(&[], &label(Tar::new().long_name("real")), 0, "", why);
}

/// Returns a world that an ordinary user may use, and how to run things as one; none without root.
fn as_another_user() -> Option<(World, Vec<String>)> {
    if !is_root() {
        return None;
    }
    let world = World::shared();
    let become_user = [
        "setpriv",
        "--reuid=54321",
        "--regid=54321",
        "--clear-groups",
    ];
    Some((world, become_user.map(str::to_owned).to_vec()))
}
