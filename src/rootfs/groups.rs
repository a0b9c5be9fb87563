//! Owns the further names of inodes: exactly the image's own hard links, made once all first names are there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::host;
use super::link::{Maker, Place, With as _};
use super::plan::{Group, Make};
use super::report::{Reason, Warning};
use super::tally::Tally;
use crate::error::{Cause, Error, Result};

/// What is said of a group that could not stay whole.
const TOO_MANY: &str = "more names than an inode can have";

impl Maker<'_> {
    /// Makes a group's further names.
    pub(super) fn join(&self, group: &Group, tally: &mut Tally) -> Result<()> {
        self.watch.check()?;
        let first = self.plan.leaf(group.first);
        let from = self.open(first.dir)?;
        let mut made = 0;
        for (dir, name) in &group.names {
            let to = self.open(*dir)?;
            let to = (to.as_fd(), name.as_bytes());
            match host::link((from.as_fd(), first.name.as_bytes()), to) {
                Ok(()) => {
                    made += 1;
                    tally.touched.push(*dir);
                }
                Err(Errno::MLINK) => return self.regroup(group, tally),
                // It was counted when it was skipped: it is one device, whatever names it has.
                Err(Errno::NOENT) if self.may_be_skipped(group) => {}
                Err(e) => return Err(self.failure(e, group.first)),
            }
        }
        tally.report.names += made;
        Ok(())
    }

    fn may_be_skipped(&self, group: &Group) -> bool {
        matches!(&self.plan.leaf(group.first).make, Make::Node(kind, _) if *kind != FileType::Fifo)
    }

    fn failure(&self, e: Errno, leaf: u32) -> Error {
        Error::new(
            "make another name of",
            self.plan.show_leaf(leaf),
            Cause::Io(e.into()),
        )
    }

    /// Makes a group anew around an inode of its own, whose links are all free; where that is not enough, around
    /// as many inodes as it takes.
    fn regroup(&self, group: &Group, tally: &mut Tally) -> Result<()> {
        let leaf = group.first;
        let first = self.plan.leaf(leaf);
        let further = group.names.iter().map(|(dir, name)| (*dir, name));
        let names: Vec<_> = std::iter::once((first.dir, &first.name))
            .chain(further)
            .collect();
        for (dir, name) in &names {
            host::unlink(self.open(*dir)?.as_fd(), name.as_bytes())
                .with(|| self.plan.show_leaf(leaf), "remove")?;
            tally.touched.push(*dir);
        }
        let mut fresh = Tally::default();
        let mut around: Option<(OwnedFd, &[u8])> = None;
        for (dir, name) in names {
            let (at, name) = (self.open(dir)?, name.as_bytes());
            if self.link_to(around.as_ref(), (at.as_fd(), name), leaf)? {
                tally.report.names += 1;
                continue;
            }
            if around.is_some() {
                let spot = self.plan.spot_of(leaf);
                tally.warn(Warning::GroupSplit, spot, || TOO_MANY.to_owned());
            }
            self.make_alone(
                Place {
                    at: at.as_fd(),
                    name,
                    leaf,
                },
                &mut fresh,
            )?;
            around = Some((at, name));
        }
        self.recount(leaf, fresh, tally);
        Ok(())
    }

    /// Links a name to the inode that a group is being made around, if there is one and it can have one more name.
    fn link_to(
        &self,
        around: Option<&(OwnedFd, &[u8])>,
        to: (BorrowedFd<'_>, &[u8]),
        leaf: u32,
    ) -> Result<bool> {
        let Some((at, name)) = around else {
            return Ok(false);
        };
        match host::link((at.as_fd(), name), to) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK) => Ok(false),
            Err(e) => Err(self.failure(e, leaf)),
        }
    }

    /// Makes a leaf as an inode of this checkout alone.
    fn make_alone(&self, place: Place<'_>, tally: &mut Tally) -> Result<()> {
        match self.plan.object_at(place.leaf) {
            Some(object) => self.make_private(place, object, Some(Reason::LinkLimit), tally),
            None => self.make(place, tally),
        }
    }

    /// Counts what a group came to be; that its first name was made before is counted already.
    fn recount(&self, leaf: u32, fresh: Tally, tally: &mut Tally) {
        tally.harmed.extend(fresh.harmed);
        match self.plan.leaf(leaf).make {
            Make::Object(_) | Make::Variant(_) => {
                tally.report.merge(fresh.report);
                let size = self.plan.object_of(leaf).map(|object| object.size);
                tally.unlinked.add(size.unwrap_or_default());
            }
            Make::Empty | Make::Private(..) | Make::Symlink(_) | Make::Node(..) => {}
        }
    }
}
