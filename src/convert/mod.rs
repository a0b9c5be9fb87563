//! Conversions: layouts and archives to records and back.
pub(crate) mod overlay;
pub(crate) mod tar;
mod disassemble;
mod workers;
