//! A local store for OCI images: every file once, root filesystems by hard links, every digest kept.

mod base64;
pub mod build;
pub mod cli;
pub mod codec;
pub mod compress;
pub mod convert;
pub mod df;
pub mod diff;
pub mod digest;
pub mod encoders;
pub mod entry;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gc;
#[cfg(test)]
mod golden;
pub mod gzip;
pub mod idmap;
pub mod image;
pub mod json;
pub mod limits;
pub mod meta;
pub mod mount;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod parts;
pub mod path;
pub mod recipe;
pub mod reference;
pub mod rootfs;
pub mod runtime;
pub mod store;
pub mod stream;
pub mod time;
pub mod tree;
pub mod warning;
pub mod watch;
pub mod wire;

pub use error::{Error, Result};
