//! From the bytes of a layer's tar to typed entries: the one place where a header becomes a path.
//!
//! After it no string is a path, every number fits its field, and every size was met by what was read.

mod extended;
mod header;
mod parse;
mod tape;
mod write;

pub(crate) use parse::{TarError, parse_layer};
pub(crate) use tape::{Stored, Tape};
pub(crate) use write::{Said, padding, put_header};
