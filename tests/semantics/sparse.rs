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
fn an_old_sparse_header_that_readers_take_apart_differently_is_refused() {
    let header = || Header::gnu(b'S', "s").field(483, b"00000000144\0");
    // GNU tar and libarchive look at different fields of a slot for the end of a map.
    let why = "a sparse map with a blank in it";
    let no_offset = header().field(386, &slot(0, 3)).field(386, &[0; 12]);
    refuses_last(&[], Tar::new().add(no_offset, "abc"), "s", why);
    let no_len = header().field(386, &slot(0, 0)).field(398, &[0; 12]);
    refuses_last(&[], Tar::new().add(no_len, ""), "s", why);
    // The one stops at a blank slot, the other reads the blocks that are said to follow.
    let more = header().field(386, &slot(0, 3)).field(482, b"\x01");
    refuses_last(&[], Tar::new().add(more, "abc"), "s", why);
    let posix = Header::new(b'S', "s").field(386, &slot(0, 3));
    refuses_last(
        &[],
        Tar::new().add(posix, "abc"),
        "s",
        "type S without the GNU magic",
    );
    let cut = header().field(
        386,
        &[slot(0, 1), slot(2, 1), slot(4, 1), slot(6, 1)].concat(),
    );
    let cut = Tar::new()
        .add(cut.field(482, b"\x01").size(4), "")
        .raw([0; 100])
        .bytes;
    crate::world::refuses_at(&[], &cut, 0, "s", "the tar is cut off within a sparse map");
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
