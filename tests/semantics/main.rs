//! What layers and layouts mean: `docs/semantics.md`, row by row. Each row there names its tests, and each test here is
//! named by a row.
//!
//! A test builds its layers byte by byte, imports them with the program, and looks at what came of it from outside:
//! the tree that is checked out and the bytes that are exported, or the exit code and the first line of the error, and
//! that store and host are as they were.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

mod layout;
mod packed;
mod tarball;
mod tree;
mod world;

mod archives;
mod aufs;
mod compression;
mod coverage;
mod docker_archives;
mod documents;
mod ends;
mod globals;
mod headers;
mod hostile_layouts;
mod indexes;
mod lenient;
mod limits;
mod links;
mod manifests;
mod media_types;
mod names;
mod numbers;
mod parents;
mod paths;
mod pax;
mod replacing;
mod sparse;
mod whiteouts;
mod xattrs;
