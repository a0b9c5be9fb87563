//! Our encoders beside the programs that they are to equal: the same input to both, the same bytes from both.
//!
//! How many inputs there are is `OCISTORE_ENCODER_CASES`, 300 by default; the first one's seed is `OCISTORE_ENCODER_SEED`.
//! With `OCISTORE_ENCODER_LARGEST` they are cut to so many bytes.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, one that cannot begin says so, and what it writes is its own"
)]

mod go;
mod inputs;
mod klauspost;
mod layers;
mod libzstd;
mod own;
mod peer;
mod zlib;
