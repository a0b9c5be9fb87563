//! The table "Whiteouts": what AUFS kept for itself.

use crate::tarball::Tar;
use crate::world::{accepts, refuses_last};

#[test]
fn links_into_what_aufs_kept_are_resolved_however_they_are_spelled() {
    let layer = Tar::new()
        .dir(".wh..wh.plnk")
        .file("./.wh..wh.plnk//77.88", "linked")
        .link("a", ".wh..wh.plnk/77.88")
        .link("b", "/.wh..wh.plnk/./77.88")
        .link("c", "b");
    accepts([layer])
        .tree(&["a=linked ~1", "b=linked ~1", "c=linked ~1"])
        .warns(&[("aufs-entry", 2)]);
}

#[test]
fn links_into_what_aufs_kept_are_resolved_where_the_name_in_the_tree_came_first() {
    let layer = Tar::new()
        .file("a", "linked")
        .link(".wh..wh.plnk/77.88", "a")
        .link(".wh..wh.plnk/99.00", "not/there")
        .link("b", ".wh..wh.plnk/77.88");
    accepts([layer]).tree(&["a=linked ~1", "b=linked ~1"]);
}
