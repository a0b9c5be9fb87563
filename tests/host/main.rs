//! Checkouts on hosts as they are: without root, in a user namespace, on full disks, and beside somebody who means harm.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

mod alike;
mod bench;
mod bundles;
#[path = "../common/disk.rs"]
mod disk_folder;
mod hostile;
mod image;
mod midway;
mod peers;
mod refused;
mod rootless;
