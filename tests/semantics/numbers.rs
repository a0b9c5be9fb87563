//! The table "Headers": numbers, times, owners and checksums.

use crate::tarball::{Header, Tar, base256};
use crate::world::{accepts, refuses_last};

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
    let size = |bytes| Tar::new().add(Header::new(b'0', "x").raw_size(bytes), "x");
    refuses_last(
        &[],
        size(b"0000000000x\0"),
        "x",
        "size: '0000000000x' is not octal",
    );
    // GNU tar and Go pass over the NUL, libarchive reads 0: the entry would end elsewhere.
    let why = r"size: '\x0000000001000' begins with a NUL";
    refuses_last(&[], size(b"\x0000000001000"), "x", why);
}
