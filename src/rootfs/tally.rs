//! Owns what the threads of a checkout note down, each for itself, until it is put together in tree order.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::report::{Count, Occurrences, Reason, Report, Warning};
use crate::error::{Error, Result};
use crate::path::escape;
use crate::store::Store;
use crate::store::inodes::RefusedXattr;

/// A place in a plan. Sorted as the tree is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Spot {
    /// The directory.
    pub(super) dir: u32,
    /// The leaf in it, or the directory itself.
    pub(super) leaf: Option<u32>,
}

/// What was done and found so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The counts.
    pub(super) report: Report,
    /// Files that could not be made because what they come from is not as it was left.
    pub(super) harmed: Vec<Harmed>,
    /// Leaves whose inode has as many links as it can have.
    pub(super) full: Vec<u32>,
    /// Directories that still have to be given their metadata.
    pub(super) late: Vec<u32>,
    /// Directories that were changed after they were given it.
    pub(super) touched: Vec<u32>,
    /// Links that were counted and then given up again.
    pub(super) unlinked: Count,
    warnings: BTreeMap<Warning, Warned>,
}

#[derive(Debug)]
struct Warned {
    count: u64,
    first: Spot,
    detail: String,
}

/// A file whose source is not as it was left.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Harmed {
    /// The leaf.
    pub(super) leaf: u32,
    /// What is wrong with what.
    pub(super) harm: Harm,
}

/// What is wrong with what a file comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Harm {
    /// The object is not there.
    Missing,
    /// The object's bytes are not what its name says.
    Bytes,
    /// The object's file was changed; this is how it differs.
    Object(Vec<&'static str>),
    /// An inode made for checkouts was changed; this is how it differs, and where it is.
    Variant(Vec<&'static str>, String),
}

impl Tally {
    /// Notes why a file is not what was asked for.
    pub(super) fn reason(&mut self, reason: Reason) {
        *self.report.reasons.entry(reason).or_default() += 1;
    }

    /// Notes that something is not as the image has it.
    pub(super) fn warn(&mut self, warning: Warning, spot: Spot, detail: impl FnOnce() -> String) {
        match self.warnings.get_mut(&warning) {
            Some(warned) => {
                warned.count += 1;
                if spot < warned.first {
                    (warned.first, warned.detail) = (spot, detail());
                }
            }
            None => {
                self.warnings.insert(
                    warning,
                    Warned {
                        count: 1,
                        first: spot,
                        detail: detail(),
                    },
                );
            }
        }
    }

    /// Notes attributes that the host does not take.
    pub(super) fn refused(&mut self, refused: &[RefusedXattr], spot: Spot) {
        for RefusedXattr { name, why } in refused {
            let why = why.split(" (os error").next().unwrap_or(why);
            self.warn(Warning::XattrRefused, spot, || {
                format!("{}: {why}", escape(name))
            });
        }
    }

    /// Takes in what another part of the checkout noted.
    pub(super) fn merge(&mut self, other: Self) {
        let Self {
            report,
            harmed,
            full,
            late,
            touched,
            unlinked,
            warnings,
        } = other;
        self.report.merge(report);
        self.unlinked.merge(unlinked);
        self.harmed.extend(harmed);
        self.full.extend(full);
        self.late.extend(late);
        self.touched.extend(touched);
        for (warning, theirs) in warnings {
            let Some(ours) = self.warnings.get_mut(&warning) else {
                self.warnings.insert(warning, theirs);
                continue;
            };
            ours.count += theirs.count;
            if theirs.first < ours.first {
                (ours.first, ours.detail) = (theirs.first, theirs.detail);
            }
        }
    }

    /// Fails where anything was not as it was left: names the first in tree order and how many more there are.
    pub(super) fn check_harm(&self, plan: &Plan, store: &Store) -> Result<()> {
        let Some(Harmed { leaf, harm }) = self.harmed.iter().min() else {
            return Ok(());
        };
        let path = format!("'{}'", plan.show(plan.spot_of(*leaf)));
        let object = plan
            .object_of(*leaf)
            .map(|object| object.id.hex())
            .unwrap_or_default();
        let more = match self.harmed.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more like it)"),
        };
        let (why, hint) = match harm {
            Harm::Missing => (
                format!("its object {object} is missing{more}"),
                REPAIR.to_owned(),
            ),
            Harm::Bytes => (
                format!("the bytes of its object {object} are not its own{more}"),
                REPAIR.to_owned(),
            ),
            Harm::Object(differs) => {
                let differs = differs.join(", ");
                let why = format!(
                    "its object {object} was changed through a link to it: {differs} differ{more}"
                );
                (why, REPAIR.to_owned())
            }
            Harm::Variant(differs, below) => {
                let differs = differs.join(", ");
                let why = format!(
                    "its inode {below} was changed through a link to it: {differs} differ{more}"
                );
                let file = store.root().join(below);
                (
                    why,
                    format!(
                        "`ocistore fsck --repair` moves '{}' to lost+found and makes it anew",
                        file.display()
                    ),
                )
            }
        };
        Err(Error::damaged("check out", path, why).hint(hint))
    }

    /// Tells whether nothing is to be warned of.
    pub(super) fn is_clean(&self) -> bool {
        self.warnings.is_empty()
    }

    /// Returns the report, with the places of its warnings in words.
    pub(super) fn into_report(self, plan: &Plan) -> Report {
        let Self {
            mut report,
            harmed: _,
            full: _,
            late: _,
            touched: _,
            unlinked,
            warnings,
        } = self;
        report.linked.files = report.linked.files.saturating_sub(unlinked.files);
        report.linked.bytes = report.linked.bytes.saturating_sub(unlinked.bytes);
        for (
            warning,
            Warned {
                count,
                first,
                detail,
            },
        ) in warnings
        {
            let first = format!("{}: {detail}", plan.show(first));
            report
                .warnings
                .insert(warning, Occurrences { count, first });
        }
        report
    }
}

/// What helps where an object cannot be used.
const REPAIR: &str = "`ocistore fsck --repair` mends it, or names every image that needs it";
