//! Owns reading a directory of the host as a tree: what still has its fingerprint is what the base says and is not read,
//! the rest is looked at, and contents that may have changed are hashed.
//!
//! It goes in two steps. The first looks at names and metadata beside the base's nodes; the second reads contents, with
//! the catalog closed. Nothing of the directory is changed, and no name in it is followed.

mod contents;
mod entry;
mod found;
mod mask;
mod standing;
#[cfg(test)]
mod tests;
mod upper;
mod walk;

use std::os::fd::BorrowedFd;

pub use contents::{Hashing, Intake, Storing};
pub(crate) use found::join;
pub use found::{Found, Scanned};
pub use mask::Mask;
pub(crate) use standing::{Standing, Stood, stand, staying};
pub use upper::{Mounted, look_at_mount};

use super::owners::Ownership;
use super::record::Record;
use crate::digest::TreeId;
use crate::error::Result;
use crate::meta::Mtime;
use crate::tree::Nodes;
use crate::watch::Watch;

/// What a directory is compared with.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// Where its nodes come from.
    pub nodes: &'a (dyn Nodes + Sync),
    /// The tree.
    pub root: TreeId,
    /// How it lay in the directory, where that is known; else everything is read.
    pub record: Option<&'a Record>,
}

impl std::fmt::Debug for Base<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// How to read a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Whose files it was laid out with.
    pub owners: Ownership,
    /// What is left out.
    pub mask: Mask,
    /// The newest time that what changed may have; later ones become this (reproducible-builds.org, SOURCE_DATE_EPOCH).
    pub clamp: Option<Mtime>,
}

/// Looks at everything in `dir`, beside `base` where there is one.
pub fn look(
    dir: BorrowedFd<'_>,
    base: Option<&Base<'_>>,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Found> {
    walk::walk(dir, base, options, watch)
}
