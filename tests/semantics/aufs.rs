//! The table "Whiteouts": what AUFS kept for itself.

use crate::tarball::Tar;
use crate::world::{accepts, refuses_last};

#[test]
fn what_aufs_kept_for_itself_is_no_part_of_the_tree_with_a_warning() {
    let layer = Tar::new()
        .file(".wh..wh.aufs", "")
        .dir(".wh..wh.orph")
        .file(".wh..wh.orph/deleted", "deleted")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/77.88", "77")
        .file("d/.wh..wh.later", "with bytes")
        .file("f", "f");
    accepts([layer])
        .tree(&["f=f"])
        .warns(&[("aufs-entry", 6)])
        .strictly_refused(&["entry '.wh..wh.aufs' at byte 0: ", "AUFS"]);
}

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

#[test]
fn links_to_what_aufs_did_not_keep_or_kept_in_another_layer_are_refused() {
    let kept = Tar::new().file(".wh..wh.plnk/77.88", "linked");
    let link = Tar::new().link("a", ".wh..wh.plnk/77.88");
    let why = "a link to '.wh..wh.plnk/77.88', which is not there";
    refuses_last(&[kept], link.clone(), "a", why);
    let late = link.file(".wh..wh.plnk/77.88", "late").end();
    crate::world::refuses_at(&[], &late, 0, "a", why);
}
