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
fn sparse_files_of_all_four_forms_are_expanded() {
    let files = [
        sparse(10, &[(0, b"abc"), (5, b"de")]),
        sparse(3, &[(0, b"abc")]),
        sparse(2000, &[(1000, &[b'x'; 700])]),
        sparse(1000, &[(1000, b"")]),
        sparse(700, &[]),
        sparse(5, &[(0, b""), (0, b"ab"), (2, b"cd"), (5, b"")]),
    ];
    for file in files {
        for (form, tar) in file.forms(&Tar::new()) {
            for layer in [Layer::plain, Layer::zstd] {
                let layer = layer(&tar.clone().file("t", "after").end());
                let imported = accepts([layer]).warns(&[]);
                let content = std::fs::read(imported.path("s")).unwrap();
                assert_eq!(content, file.content(), "{form}");
                assert_eq!(
                    std::fs::read(imported.path("t")).unwrap(),
                    b"after",
                    "{form}"
                );
            }
        }
    }
}

#[test]
fn a_sparse_file_of_no_size_is_an_empty_file() {
    for (_, tar) in sparse(0, &[]).forms(&Tar::new()) {
        accepts([tar.file("t", "after")])
            .tree(&["s=", "t=after"])
            .warns(&[]);
    }
}

#[test]
fn a_sparse_file_of_many_pieces_goes_on_in_further_blocks() {
    // 4 pieces in an old GNU header and 21 in each block after it.
    for count in [4u64, 5, 25, 26, 46, 47, 1000] {
        let pieces: Vec<(u64, &'static [u8])> =
            (0..count).map(|n| (n * 600, &b"piece"[..])).collect();
        let file = sparse(count * 600, &pieces);
        for (form, tar) in file.forms(&Tar::new()) {
            let imported = accepts([Layer::gzip(&tar.file("t", "after").end())]);
            assert_eq!(
                std::fs::read(imported.path("s")).unwrap(),
                file.content(),
                "{form}"
            );
            assert_eq!(
                std::fs::read(imported.path("t")).unwrap(),
                b"after",
                "{form}"
            );
        }
    }
}

#[test]
fn holes_are_kept_as_holes_on_disk_in_store_and_checkout() {
    let file = sparse(64 << 20, &[(0, b"first"), (32 << 20, b"middle")]);
    for (form, tar) in file.forms(&Tar::new()) {
        for link in ["hardlink", "copy"] {
            let world = World::new();
            let layout = world.layout();
            layout.index(&[layout.image(&[Layer::gzip(&tar.clone().end())])]);
            world.ok(&["import", &layout.source()]);
            let root = world.path("root");
            world.ok(&["checkout", "--link", link, "image", root.to_str().unwrap()]);
            let meta = std::fs::metadata(root.join("s")).unwrap();
            assert_eq!(meta.len(), 64 << 20);
            assert!(
                meta.blocks() * 512 < 1 << 20,
                "{form} {link}: {} blocks",
                meta.blocks()
            );
        }
    }
}

#[test]
fn a_sparse_file_has_the_same_content_as_a_plain_one_and_is_stored_once() {
    let file = sparse(5000, &[(10, b"abc"), (4000, b"def")]);
    let content = file.content();
    let tar = file.gnu(Tar::new()).file("plain", &content);
    let named = Sparse {
        name: "s2",
        ..file.clone()
    };
    let tar = named.pax10(named.pax10(tar).file("other", "x"));
    let imported = accepts([tar]).warns(&[("duplicate-path", 1)]);
    assert_eq!(imported.report["objects"]["new"], 2);
    for name in ["s", "plain", "s2"] {
        assert_eq!(std::fs::read(imported.path(name)).unwrap(), content);
    }
}

#[test]
fn an_old_sparse_header_may_hold_numbers_in_base_256() {
    let offset: [u8; 12] = base256(1000);
    let header = Header::gnu(b'S', "s")
        .field(386, &slot(0, 3))
        .field(386, &offset);
    let header = header.field(483, &base256::<12>(1003));
    let imported = accepts([Tar::new().add(header, "abc").file("t", "after")]);
    let content = std::fs::read(imported.path("s")).unwrap();
    assert_eq!((content.len(), &content[1000..]), (1003, &b"abc"[..]));
}

#[test]
fn pieces_that_overlap_or_go_back_are_refused() {
    let why = "pieces of a sparse file that overlap or go back";
    for pieces in [
        [(0u64, &b"abc"[..]), (2, &b"de"[..])],
        [(5, b"abc"), (0, b"de")],
        [(3, b"abc"), (3, b"de")],
        [(3, b"abc"), (0, b"")],
    ] {
        for (_, tar) in sparse(100, &pieces).forms(&Tar::new().file("before", "")) {
            refuses_last(&[], tar, "s", why);
        }
    }
}

#[test]
fn pieces_that_end_past_the_size_are_refused() {
    let why = "a piece of a sparse file that ends past its size";
    for (_, tar) in sparse(4, &[(2, b"abc")]).forms(&Tar::new()) {
        refuses_last(&[], tar, "s", why);
    }
    let map = |map: &str| {
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", b"100"),
                ("GNU.sparse.map", map.as_bytes()),
            ])
            .file("s", "abc")
    };
    refuses_last(&[], map("18446744073709551615,3"), "s", why);
    refuses_last(
        &[],
        map("18446744073709551614,18446744073709551615"),
        "s",
        why,
    );
}

#[test]
fn pieces_that_lack_their_data_or_have_too_much_are_refused() {
    let map = |map: &str| {
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", b"100"),
                ("GNU.sparse.map", map.as_bytes()),
            ])
            .file("s", "abc")
    };
    refuses_last(
        &[],
        map("0,2"),
        "s",
        "a sparse file with pieces of 2 bytes and data of 3",
    );
    refuses_last(
        &[],
        map("0,2,50,2"),
        "s",
        "a sparse file with pieces of 4 bytes and data of 3",
    );
    refuses_last(
        &[],
        map(""),
        "s",
        "a sparse file with pieces of 0 bytes and data of 3",
    );
    let header = Header::gnu(b'S', "s")
        .field(386, &slot(0, 2))
        .field(483, b"00000000144\0");
    let tar = Tar::new().add(header, "abc");
    refuses_last(
        &[],
        tar,
        "s",
        "a sparse file with pieces of 2 bytes and data of 3",
    );
    let file = sparse(100, &[]);
    let block = |text: &[u8]| {
        let mut data = text.to_vec();
        data.resize(BLOCK, 0);
        data
    };
    let tar = file.pax10_of(Tar::new(), [block(b"1\n0\n3\n"), b"ab".to_vec()].concat());
    refuses_last(
        &[],
        tar,
        "s",
        "a sparse file with pieces of 3 bytes and data of 2",
    );
    let cut = sparse(100, &[(0, b"abc")]).gnu(Tar::new()).cut(510).bytes;
    let why = "the tar is cut off within its 3 bytes";
    crate::world::refuses_at(&[], &cut, 0, "s", why);
}

#[test]
fn a_map_that_is_none_is_refused() {
    let pax = |records: &[(&str, &[u8])]| Tar::new().pax(records).file("s", "abc");
    refuses_last(
        &[],
        pax(&[("GNU.sparse.map", b"0,3")]),
        "s",
        "a sparse file without its real size",
    );
    refuses_last(
        &[],
        pax(&[("GNU.sparse.name", b"s")]),
        "s",
        "a sparse file without its real size",
    );
    refuses_last(
        &[],
        pax(&[("GNU.sparse.minor", b"0")]),
        "s",
        "a sparse file without its real size",
    );
    for (map, why) in [
        (
            &b"0,3,5"[..],
            "a sparse map with an offset that has no length",
        ),
        (b"0,x", "'x' is not a number that fits"),
        (b"0,-3", "'-3' is not a number that fits"),
        (b"0,3,,", "'' is not a number that fits"),
    ] {
        refuses_last(
            &[],
            pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", map)]),
            "",
            why,
        );
    }
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.offset", b"0"), ("GNU.sparse.offset", b"1")];
    refuses_last(
        &[],
        pax(&records),
        "",
        "two sparse offsets without a length between them",
    );
    let tar = pax(&[("GNU.sparse.numbytes", b"0")]);
    refuses_last(&[], tar, "", "a sparse length without its offset");
    let of = |major: &'static [u8], minor: &'static [u8]| {
        pax(&[
            ("GNU.sparse.major", major),
            ("GNU.sparse.minor", minor),
            ("GNU.sparse.realsize", b"3"),
        ])
    };
    refuses_last(&[], of(b"2", b"0"), "s", "a sparse file of format");
    refuses_last(&[], of(b"0", b"2"), "s", "a sparse file of format");
    refuses_last(&[], of(b"1", b"1"), "s", "a sparse file of format");
}

#[test]
fn a_map_before_the_data_that_is_none_is_refused() {
    let file = sparse(100, &[]);
    for (text, why) in [
        (&b"x\n"[..], "sparse map: 'x' is not a number that fits"),
        (b"\n", "sparse map: '' is not a number that fits"),
        (b"1\n0\n", "sparse map: '"),
        (
            b"123456789012345678901234567890\n",
            "a sparse map with a number that is too long",
        ),
        (b"1048577\n", "over 1048576 pieces of a sparse file"),
        (
            b"18446744073709551615\n",
            "over 1048576 pieces of a sparse file",
        ),
    ] {
        let mut data = text.to_vec();
        data.resize(BLOCK, b'\n');
        refuses_last(&[], file.pax10_of(Tar::new(), data), "s", why);
    }
    for data in [&b""[..], b"1\n0\n", b"0\n"] {
        refuses_last(
            &[],
            file.pax10_of(Tar::new(), data),
            "s",
            "a sparse map that is cut off",
        );
    }
    let over = "300\n".to_owned() + &"1\n".repeat(300);
    let why = "a sparse map that is cut off";
    refuses_last(
        &[],
        file.pax10_of(Tar::new(), &over.as_bytes()[..BLOCK]),
        "s",
        why,
    );
}

#[test]
fn an_old_sparse_header_whose_map_goes_on_after_a_blank_is_refused() {
    let header = || Header::gnu(b'S', "s").field(483, b"00000000144\0");
    // Half of a slot is blank.
    let why = "a sparse map with a blank in it";
    let no_offset = header().field(386, &slot(0, 3)).field(386, &[0; 12]);
    refuses_last(&[], Tar::new().add(no_offset, "abc"), "s", why);
    let no_len = header().field(386, &slot(0, 0)).field(398, &[0; 12]);
    refuses_last(&[], Tar::new().add(no_len, ""), "s", why);
    // A blank slot ends the map, and a block that goes on with it is said to follow.
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

#[test]
fn holes_count_for_the_size_limit_and_not_for_the_ratio() {
    let limit = 64u64 << 30;
    let hole = sparse(limit + 1, &[]);
    for (_, tar) in hole.forms(&Tar::new()) {
        refuses_last(
            &[],
            tar,
            "s",
            "files of over 68719476736 bytes in one layer",
        );
    }
    let two = |tar| sparse(limit / 2 + 1, &[]).pax01(tar);
    let both = two(Tar::new()).file("between", "");
    refuses_last(
        &[],
        two(both),
        "s",
        "files of over 68719476736 bytes in one layer",
    );
    // A file of a gigabyte out of a blob of some hundred bytes.
    let world = World::new();
    let layout = world.layout();
    let tar = sparse(1 << 30, &[(0, b"x")]).pax10(Tar::new()).end();
    layout.index(&[layout.image(&[Layer::gzip(&tar)])]);
    world.ok(&["import", &layout.source()]);
}
