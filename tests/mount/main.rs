//! Mounts by a real kernel: what they show, what is written through them, and what collections beside them keep.
//!
//! Takes root, and a kernel with overlayfs and EROFS. A test that lacks something is skipped, and fails where
//! `OCISTORE_REQUIRE_PEERS` is set.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

#[path = "../host/bench.rs"]
#[expect(dead_code, reason = "other tests need the rest")]
mod bench;
mod bundles;
mod collect;
#[path = "../faults/disk.rs"]
#[expect(dead_code, reason = "other tests need the rest")]
mod disk;
#[path = "../common/disk.rs"]
mod disk_folder;
#[path = "../host/image.rs"]
#[expect(dead_code, reason = "other tests need other images")]
mod image;
mod kills;
mod refused;
mod scene;
mod shown;
mod written;
