//! Images with another config, and images of root filesystem tarballs: what `config` and `import tar:` make.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and what it writes is its own"
)]

mod config;
mod peers;
mod place;
mod tarball;
