//! Owns what a repair says of itself: what was found, what was mended from where, and what was not.

use std::path::Path;

use serde::Serialize;

use crate::store::lost::Stored;
use crate::store::verify::{Checked, Finding, Findings, Kind};

/// What a repair found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// All that was wrong, in the order in which it was found.
    pub found: Findings,
    /// What was mended.
    pub repairs: Vec<Repair>,
    /// What a source offered and was not taken.
    pub refused: Vec<Refused>,
    /// What is wrong still.
    pub unmended: Vec<Finding>,
}

/// One file that was put in place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Repair {
    /// What was wrong.
    pub kind: Kind,
    /// The file, below the store.
    pub object: String,
    /// Where what is in its place now came from.
    pub from: String,
    /// The images that need it.
    pub images: Vec<String>,
    /// Where those images have it: the first few paths.
    pub paths: Vec<String>,
    /// In how many places of those images it is.
    pub path_count: u64,
    /// What was in its place before, below the store; `None` where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<String>,
}

/// Bytes of a source that are not what names them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    /// The source.
    pub from: String,
    /// The blob.
    pub object: String,
    /// Why it was not taken.
    pub why: String,
}

impl Repair {
    /// Says what was done about `finding`; `None` where it turned up only when it was mended.
    pub(super) fn new(
        what: &Stored,
        finding: Option<&Finding>,
        from: &str,
        kept_as: Option<&Path>,
    ) -> Self {
        Self {
            kind: finding.map_or(Kind::Missing, |finding| finding.kind),
            object: what.path().display().to_string(),
            from: from.to_owned(),
            images: finding.map_or_else(Vec::new, |finding| finding.images.clone()),
            paths: finding.map_or_else(Vec::new, |finding| finding.paths.clone()),
            path_count: finding.map_or(0, |finding| finding.path_count),
            kept_as: kept_as.map(|path| path.display().to_string()),
        }
    }
}

impl Report {
    /// Tells whether nothing is wrong any more.
    pub fn is_sound(&self) -> bool {
        self.unmended.is_empty()
    }

    /// Adds what one more check found; what was known before is not named twice.
    pub(super) fn note(&mut self, found: &Findings) {
        self.found.checked = found.checked;
        self.found.strays.clone_from(&found.strays);
        for finding in &found.findings {
            let known = |before: &Finding| {
                before.kind == finding.kind
                    && before.object == finding.object
                    && (finding.kind != Kind::CatalogDisagrees || before.detail == finding.detail)
            };
            if !self.found.findings.iter().any(known) {
                self.found.findings.push(finding.clone());
            }
        }
    }

    /// Returns how much the last check looked at.
    pub fn checked(&self) -> Checked {
        self.found.checked
    }
}
