//! Conversions: layouts and archives to records, and records back to layouts and archives.

mod archive;
mod archive_writer;
pub mod assemble;
mod blob;
mod disassemble;
mod docker;
pub mod export;
mod gather;
pub mod import;
mod inflate;
mod merge;
mod overlay;
pub mod rebuild;
mod replay;
pub mod source;
mod tar;
mod workers;
