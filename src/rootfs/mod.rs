//! Root filesystems: a tree to a folder of the host.

mod checkout;
#[cfg(test)]
mod fixture;
mod groups;
mod host;
mod link;
mod owners;
mod owners_json;
#[cfg(feature = "bench")]
pub(crate) mod parts;
mod plan;
mod planner;
mod prepare;
mod probe;
mod recheck;
pub mod record;
mod report;
pub mod scan;
mod sub;
mod tally;
mod target;
#[cfg(test)]
mod tests;
pub(crate) mod update;
mod walk;

pub use checkout::{Flush, LinkMode, Options, Strictness, checkout};
pub(crate) use checkout::{checkout_and, fill, in_pool};
pub use owners::Ownership;
pub use report::{Count, Occurrences, Reason, Report, Warning};
pub(crate) use target::Staging;
