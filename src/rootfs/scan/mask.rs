//! Owns which paths of a directory are left out of what is compared: there the base counts, whatever the directory holds.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::path::{Step, TreePath};

/// Paths that are left out, each with all that is below it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mask {
    /// Components joined by `/`.
    paths: BTreeSet<Vec<u8>>,
}

impl Mask {
    /// Leaves out `path`.
    pub fn add(&mut self, path: &[u8]) -> Result<()> {
        let refuse = |why: String| {
            let shown = String::from_utf8_lossy(path).into_owned();
            Error::usage("leave out", format!("'{shown}'"), why)
        };
        let parsed = TreePath::parse(path).map_err(|e| refuse(e.to_string()))?;
        let names = parsed.steps().map(|step| match step {
            Step::Child(name) => Ok(name.as_bytes()),
            Step::Up => Err(refuse("expected a path without '..'".to_owned())),
        });
        let names: Vec<&[u8]> = names.collect::<Result<_>>()?;
        if names.is_empty() {
            return Err(refuse("it is the whole image".to_owned()));
        }
        self.paths.insert(names.join(&b'/'));
        Ok(())
    }

    /// Tells whether all of `path`, components joined by `/`, is left out, by itself or with something above it.
    pub fn covers_all(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| self.covers(&path[..end]))
    }

    /// Tells whether `path`, components joined by `/`, is left out; what is below one is not asked for.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        !self.paths.is_empty() && self.paths.contains(path)
    }
}
