//! Owns what `benches/` measures of checkouts: the plan.

use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::owners::Ownership;
use super::planner::{Linking, Planner, Taken};
use super::probe::Probe;
use super::sub;
use super::tally::Tally;
use crate::digest::TreeId;
use crate::error::{Context as _, Result, quoted};
use crate::store::Writer;

/// Plans a checkout of `root` by links into the folder `at`; returns how many leaves it has.
pub fn plan(writer: &Writer<'_>, root: &TreeId, at: &Path) -> Result<usize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder =
        rustix::fs::open(at, flags, Mode::empty()).context("open the folder", quoted(at))?;
    let owners = Ownership::of_process();
    writer.store().view(|view| {
        let planner = Planner {
            nodes: view,
            view,
            owners: &owners,
            stored: writer.owners(),
            linking: Linking::Allowed,
            probe: Probe::new(folder.as_fd())?,
            taken: Taken {
                store: writer.store(),
                inodes: None,
            },
        };
        let start = sub::start(view, root, None)?;
        let plan = planner.plan(start, &mut Tally::default())?;
        Ok(plan.leaves.len())
    })
}
