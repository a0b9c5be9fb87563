//! The table "Paths".

use std::os::unix::fs::MetadataExt as _;

use crate::tarball::{Header, Tar};
use crate::tree;
use crate::world::{accepts, is_root, refuses_at, refuses_last};

#[test]
fn a_path_is_1024_deep_at_the_most_by_way_of_symlinks_too() {
    let deep = vec!["d"; 1024].join("/");
    accepts([Tar::new().long_name(&deep).dir("x")]);
    let why = "a path of more than 1024 components";
    let long = Tar::new().long_name(format!("{deep}/d")).dir("x");
    refuses_last(&[], long, &format!("{deep}/d"), why);
    let lower = Tar::new().long_name(&deep).dir("x");
    let lower = lower
        .long_link(vec!["d"; 1000].join("/"))
        .symlink("way", "x");
    let name = format!("way/{}", vec!["e"; 25].join("/"));
    let why = "directories nest over 1024 deep";
    refuses_last(
        std::slice::from_ref(&lower),
        Tar::new().dir(&name),
        &name,
        why,
    );
    refuses_last(
        &[lower],
        Tar::new().file(format!("{name}/x"), ""),
        &format!("{name}/x"),
        why,
    );
}
