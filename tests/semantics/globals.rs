//! The table "Headers": global PAX headers.

use crate::tarball::{Header, Tar};
use crate::world::{accepts, refuses_at};

#[test]
fn a_global_header_between_an_extension_header_and_its_entry_is_refused() {
    // Go's reader forgets the first of them, others do not.
    let pax = Tar::new()
        .pax(&[("path", b"real")])
        .global(&[("comment", b"c")]);
    let why = "a global header between an extension header and its entry";
    refuses_at(&[], &pax.file("x", "").end(), 0, "", why);
    let long = Tar::new().long_name("real").global(&[("comment", b"c")]);
    refuses_at(&[], &long.file("x", "").end(), 0, "", why);
}
