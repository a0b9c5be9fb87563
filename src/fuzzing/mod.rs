//! Properties that hold for any bytes: what the fuzz targets in `fuzz/` call, and what `cargo test` runs over the
//! seeds and the inputs that once broke one. Built for tests and fuzzing only.
//!
//! A property is a function of bytes that panics where it is broken.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a property that is broken says so by a panic"
)]

mod bytes;
mod documents;
mod generator;
mod listing;
mod model;
mod overlay;
mod peer;
mod records;
mod references;
mod runtime;
mod sources;
mod tar;

pub use documents::documents;
pub use generator::{differential, tar_of};
pub use listing::listing;
pub use overlay::overlay;
pub use records::records;
pub use references::references;
pub use runtime::runtime;
pub use sources::{archives, streams};
pub use tar::tar;

/// A property.
pub type Property = fn(&[u8]);

/// Every property, by the name of its target.
pub const ALL: &[(&str, Property)] = &[
    ("archives", archives),
    ("differential", differential),
    ("documents", documents),
    ("overlay", overlay),
    ("records", records),
    ("references", references),
    ("runtime", runtime),
    ("streams", streams),
    ("tar", tar),
];

#[cfg(test)]
mod tests;
