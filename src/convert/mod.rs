//! Conversions: layouts and archives to records, and records back to layouts and archives.

pub mod admit;
mod archive;
mod archive_writer;
pub mod assemble;
mod blob;
pub mod compact;
pub mod compose;
mod disassemble;
mod docker;
pub mod export;
mod gather;
pub mod import;
mod inflate;
mod merge;
pub(crate) mod overlay;
#[cfg(feature = "bench")]
pub(crate) mod parts;
pub mod rebuild;
pub(crate) mod regenerate;
pub mod repair;
pub(crate) mod replay;
pub mod source;
pub(crate) mod tar;
pub mod tarball;
mod workers;
