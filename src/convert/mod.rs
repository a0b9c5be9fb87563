//! Conversions: layouts and archives to records and back.

mod archive;
mod archive_writer;
pub mod assemble;
mod blob;
mod docker;
pub mod export;
pub mod source;
