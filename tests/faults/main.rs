//! Real faults under the real program: it is killed, interrupted, refused by the disk, and its power is cut.
//!
//! Each command is tried on its way: at system calls of its own, which `strace` counts in a first run and then kills,
//! interrupts or fails in the next ones, on file systems that are full, over their quota or read-only, and on copies of
//! a disk taken while it was written. What is checked then is the same each time (`promise.rs`).
//!
//! `cargo test --test faults` tries a sample of them. With `OCISTORE_FAULTS=long` in the environment every call is
//! tried, and 40 cuts a file system; with a number instead of `long`, so many a command. `OCISTORE_FAULTS_PROGRAM`
//! names another build of the program to try. Root, `strace`, loop devices and `mkfs.*` are needed; what cannot run is
//! skipped, and fails where `OCISTORE_REQUIRE_PEERS` is set.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

#[path = "../host/bench.rs"]
#[expect(dead_code, reason = "another test has use for the rest")]
mod bench;
#[path = "../common/disk.rs"]
mod disk_folder;
#[path = "../host/image.rs"]
#[expect(dead_code, reason = "another test has use for the rest")]
mod image;

mod disk;
mod full;
mod handles;
mod interrupts;
mod kills;
mod power;
mod promise;
mod readonly;
mod refusals;
mod scene;
mod strace;
mod yard;
