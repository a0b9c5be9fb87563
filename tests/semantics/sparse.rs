//! The table "Headers": sparse files of all four forms.

use std::os::unix::fs::MetadataExt as _;

use crate::layout::Layer;
use crate::tarball::{BLOCK, Header, Sparse, Tar, base256, slot};
use crate::world::{World, accepts, refuses_last};

fn sparse(size: u64, pieces: &[(u64, &'static [u8])]) -> Sparse<'static> {
    Sparse {
        name: "s",
        size,
        pieces: pieces.to_vec(),
    }
}

#[test]
fn two_maps_of_one_file_are_refused() {
    let tar = Tar::new().pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,3")]);
    refuses_last(
        &[],
        sparse(9, &[(0, b"abc")]).gnu(tar),
        "s",
        "a sparse file with two maps",
    );
}

#[test]
fn a_map_before_what_is_no_regular_file_is_refused() {
    for kind in *b"123456" {
        let pax = || Tar::new().pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,0")]);
        let why = format!(
            "an entry of type {} with a sparse file's records",
            char::from(kind)
        );
        for name in ["s", ".wh.s"] {
            let header = Header::new(kind, name).link("t").device(1, 3);
            refuses_last(&[], pax().add(header, ""), name, &why);
        }
    }
    let slash = Tar::new().pax(&[("GNU.sparse.size", b"0"), ("GNU.sparse.map", b"")]);
    let why = "an entry of type 5 with a sparse file's records";
    refuses_last(&[], slash.add(Header::new(b'0', "s/"), ""), "s/", why);
}
