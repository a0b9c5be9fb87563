//! Conversions: layouts and archives to records and back.

mod archive;
mod archive_writer;
mod blob;
mod docker;
pub mod source;
