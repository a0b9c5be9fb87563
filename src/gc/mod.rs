//! Sweeps what nothing names any more: marks from names through documents, layers and recipes to contents,
//! plans what is dead, and deletes it top-down. The invariants, and the test of each, are in `docs/gc.md`.
//!
//! ```text
//! names ─► documents ─► layers ─► recipes ─► contents        mark
//! objects/ inodes/ blobs/ layers/  less what is marked        plan: a dry run ends here
//! records ─► blobs ─► recipes ─► objects and inodes ─► trees   sweep
//! ```
//!
//! Others read, import and name meanwhile: nobody waits for longer than for one batch.

mod contents;
mod mark;
#[cfg(feature = "bench")]
pub(crate) mod parts;
mod plan;
mod report;
mod sweep;

pub use plan::{Plan, plan};
pub use report::{LeftMount, Report, Size, Tally};

#[cfg(test)]
mod beside;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
