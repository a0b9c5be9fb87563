//! The table "Headers": numbers, times, owners and checksums.

use crate::tarball::{Header, Tar, base256};
use crate::world::{accepts, refuses_last};

#[test]
fn more_than_nine_digits_of_a_second_are_cut() {
    for (text, seen) in [
        ("1.0000000019", "1.000000001"),
        ("1.9999999999", "1.999999999"),
        ("-1.0000000019", "-2.999999999"),
        ("1.123456789123456789123456789", "1.123456789"),
    ] {
        let tar = Tar::new().pax(&[("mtime", text.as_bytes())]).file("x", "x");
        accepts([tar])
            .stat("x", &format!("0644 0:0 {seen}"))
            .warns(&[]);
    }
}

#[test]
fn a_time_is_kept_exactly_before_1970_too() {
    for (text, seen) in [
        ("0", "0.000000000"),
        ("1", "1.000000000"),
        ("1.", "1.000000000"),
        ("1.5", "1.500000000"),
        ("1.000000001", "1.000000001"),
        ("-10", "-10.000000000"),
        // Half a second before −10, as the sign says.
        ("-10.5", "-11.500000000"),
        ("-0.000000001", "-1.999999999"),
        ("-0", "0.000000000"),
        ("4294967296.25", "4294967296.250000000"),
    ] {
        let tar = Tar::new()
            .pax(&[("mtime", text.as_bytes())])
            .file("x", "x")
            .pax(&[("mtime", text.as_bytes())])
            .dir("d")
            .pax(&[("mtime", text.as_bytes())])
            .symlink("s", "t");
        accepts([tar])
            .stat("x", &format!("0644 0:0 {seen}"))
            .stat("d", &format!("0755 0:0 {seen}"))
            .stat("s", &format!("0777 0:0 {seen}"));
    }
}

#[test]
fn a_time_in_base_256_is_kept_exactly() {
    for (secs, seen) in [(-10i128, "-10"), (5, "5"), (1 << 33, "8589934592")] {
        let mtime: [u8; 12] = base256(secs);
        for header in [Header::new(b'0', "x"), Header::gnu(b'0', "x")] {
            accepts([Tar::new().add(header.field(136, &mtime), "x")])
                .stat("x", &format!("0644 0:0 {seen}.000000000"));
        }
    }
}

#[test]
fn a_time_of_no_64_bits_is_refused() {
    let mtime: [u8; 12] = base256(1i128 << 63);
    let tar = Tar::new().add(Header::new(b'0', "x").field(136, &mtime), "x");
    refuses_last(&[], tar, "x", "a time of 9223372036854775808");
}

#[test]
fn the_largest_owner_is_4294967294() {
    let base256: [u8; 8] = base256(4_294_967_294);
    let tar = Tar::new()
        .pax(&[("uid", b"4294967294"), ("gid", b"4294967294")])
        .file("pax", "x")
        .add(
            Header::gnu(b'0', "base")
                .field(108, &base256)
                .field(116, &base256),
            "x",
        )
        .add(
            Header::new(b'0', "octal")
                .field(108, b"77777777")
                .field(116, b" 7777777"),
            "x",
        );
    accepts([tar])
        .stat("pax", "0644 4294967294:4294967294 0.000000000")
        .stat("base", "0644 4294967294:4294967294 0.000000000")
        .stat("octal", "0644 16777215:2097151 0.000000000");
}

#[test]
fn a_larger_or_negative_owner_is_refused_and_never_wrapped() {
    for value in [4_294_967_295i128, 4_294_967_296, 1 << 40] {
        let why = format!("an owner of {value}, expected 0 to 4294967294");
        for key in ["uid", "gid"] {
            let tar = Tar::new()
                .pax(&[(key, value.to_string().as_bytes())])
                .file("x", "x");
            refuses_last(&[], tar, "", &why);
        }
    }
    for value in [4_294_967_295i128, 4_294_967_296, -1] {
        let field: [u8; 8] = base256(value);
        for at in [108, 116] {
            let tar = Tar::new().add(Header::gnu(b'0', "x").field(at, &field), "x");
            let why = format!("an owner of {value}, expected 0 to 4294967294");
            refuses_last(&[], tar, "x", &why);
        }
    }
}

#[test]
fn blank_numeric_fields_are_zero() {
    for blank in [b'\0', b' '] {
        let header = Header::new(b'5', "d")
            .field(100, &[blank; 8])
            .field(108, &[blank; 8])
            .field(116, &[blank; 8])
            .raw_size(&[blank; 12])
            .field(136, &[blank; 12]);
        accepts([Tar::new().add(header, "").file("x", "x")])
            .tree(&["d/", "x=x"])
            .stat("d", "0000 0:0 0.000000000");
    }
}

#[test]
fn numbers_are_octal_between_blanks() {
    for (mode, seen) in [
        (b"0000644\0", "0644"),
        (b"   644 \0", "0644"),
        (b"644\0\0\0\0\0", "0644"),
        (b"00000644", "0644"),
        // The file's type is in it too, as some write it.
        (b"0100644\0", "0644"),
    ] {
        accepts([Tar::new().add(Header::new(b'0', "x").field(100, mode), "x")])
            .stat("x", &format!("{seen} 0:0 0.000000000"));
    }
}

#[test]
fn a_numeric_field_that_is_no_number_is_refused() {
    let of = |at, bytes: &[u8]| Tar::new().add(Header::new(b'0', "x").field(at, bytes), "x");
    refuses_last(
        &[],
        of(100, b"0000688\0"),
        "x",
        "mode: '0000688' is not octal",
    );
    refuses_last(
        &[],
        of(108, b"root\0\0\0\0"),
        "x",
        "uid: 'root' is not octal",
    );
    refuses_last(
        &[],
        of(116, b"12 34\0\0\0"),
        "x",
        "gid: '12 34' is not octal",
    );
    refuses_last(
        &[],
        of(136, b"-0000000001\0"),
        "x",
        "mtime: '-0000000001' is not octal",
    );
    let size = |bytes: &[u8; 12]| Tar::new().add(Header::new(b'0', "x").raw_size(bytes), "x");
    refuses_last(
        &[],
        size(b"0000000000x\0"),
        "x",
        "size: '0000000000x' is not octal",
    );
    // GNU tar and Go pass over the NUL, libarchive reads 0: the entry would end elsewhere.
    let why = r"size: '\x0000000001000' begins with a NUL";
    refuses_last(&[], size(b"\x0000000001000"), "x", why);
    let why = r"size: ' \x00001000\x00\x00\x00\x00' begins with a NUL";
    refuses_last(&[], size(b" \x00001000\0\0\0\0"), "x", why);
    // For libarchive a number ends at a newline, for GNU tar that is a blank.
    for blank in ["\n", "\r", "\t", "\x0b", "\x0c"] {
        let field: [u8; 12] = format!("{blank}0000001000\0")
            .into_bytes()
            .try_into()
            .unwrap();
        refuses_last(&[], size(&field), "x", "is not octal");
    }
}

#[test]
fn a_size_in_base_256_is_one_like_any_other_and_a_negative_or_huge_one_is_refused() {
    let size: [u8; 12] = base256(5);
    let tar = Tar::new().add(Header::gnu(b'0', "x").raw_size(&size), "12345");
    accepts([tar.file("y", "y")]).tree(&["x=12345", "y=y"]);
    for value in [-1i128, -512, 1 << 62, 1 << 80] {
        let size: [u8; 12] = base256(value);
        let tar = Tar::new().add(Header::gnu(b'0', "x").raw_size(&size), "");
        refuses_last(&[], tar, "x", &format!("a size of {value}"));
    }
}

#[test]
fn the_old_signed_checksum_is_accepted() {
    let header = Header::new(b'0', b"k\xc3\xa4se\xff\xfe");
    let signed = header.sum(|byte| i64::from(byte.cast_signed()));
    assert_ne!(signed, header.sum(i64::from));
    // Data of one byte: its size field is part of the sum.
    let header = header.size(1);
    let signed = u32::try_from(header.sum(|byte| i64::from(byte.cast_signed()))).unwrap();
    accepts([Tar::new().add(header.checksum(signed), "x")])
        .tree(&["k\u{e4}se\\xff\\xfe=x"])
        .warns(&[]);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let header = Header::new(b'0', "x").size(1);
    let right = u32::try_from(header.sum(i64::from)).unwrap();
    for wrong in [right - 1, right + 1, 0] {
        let tar = Tar::new()
            .file("before", "")
            .add(header.clone().checksum(wrong), "x");
        let why = format!("expected the checksum {right:o} (octal), got {wrong:o}");
        refuses_last(&[], tar, "", &why);
    }
    let garbage = Tar::new().add(
        header
            .field(148, b"garbage!")
            .checksum(0)
            .field(148, b"garbage!"),
        "x",
    );
    refuses_last(&[], garbage, "", "checksum: 'garbage!' is not octal");
}
