//! Owns the further names of inodes: exactly the image's own hard links, made once all first names are there.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::host;
use super::link::{Maker, NO_DEVICE, Place, With as _};
use super::plan::{Group, Make};
use super::report::{Reason, Warning};
use super::tally::Tally;
use crate::error::Result;

impl Maker<'_> {
    /// Makes a group's further names.
    pub(super) fn join(&self, group: &Group) -> Result<Tally> {
        let mut tally = Tally::default();
        self.watch.check()?;
        let first = self.plan.leaf(group.first);
        let from = self.open(first.dir)?;
        for (dir, name) in &group.names {
            let to = self.open(*dir)?;
            match host::link(
                (from.as_fd(), first.name.as_bytes()),
                (to.as_fd(), name.as_bytes()),
            ) {
                Ok(()) => tally.report.names += 1,
                Err(Errno::MLINK) => return self.regroup(group),
                Err(Errno::NOENT) if self.may_be_skipped(group) => {
                    let spot = self.plan.spot_of(group.first);
                    tally.warn(Warning::DeviceSkipped, spot, || NO_DEVICE.to_owned());
                }
                Err(e) => {
                    return Err(e)
                        .with(|| self.plan.show_leaf(group.first), "make another name of");
                }
            }
        }
        Ok(tally)
    }

    fn may_be_skipped(&self, group: &Group) -> bool {
        matches!(&self.plan.leaf(group.first).make, Make::Node(kind, _) if *kind != FileType::Fifo)
    }

    /// Makes a group anew around an inode of its own, whose links are all free; where that is not enough, around
    /// as many inodes as it takes.
    fn regroup(&self, group: &Group) -> Result<Tally> {
        let mut tally = Tally::default();
        let leaf = group.first;
        let first = self.plan.leaf(leaf);
        let names: Vec<_> = std::iter::once((first.dir, &first.name))
            .chain(group.names.iter().map(|(d, n)| (*d, n)))
            .collect();
        for (dir, name) in &names {
            host::unlink(self.open(*dir)?.as_fd(), name.as_bytes())
                .with(|| self.plan.show_leaf(leaf), "remove")?;
        }
        let mut fresh = Tally::default();
        let mut around: Option<(OwnedFd, &[u8])> = None;
        for (dir, name) in names {
            let to = self.open(dir)?;
            let name = name.as_bytes();
            if let Some((from, known)) = &around {
                match host::link((from.as_fd(), known), (to.as_fd(), name)) {
                    Ok(()) => {
                        tally.report.names += 1;
                        continue;
                    }
                    Err(Errno::MLINK) => {
                        let spot = self.plan.spot_of(leaf);
                        tally.warn(Warning::GroupSplit, spot, || {
                            "more names than an inode can have".to_owned()
                        });
                    }
                    Err(e) => {
                        return Err(e).with(|| self.plan.show_leaf(leaf), "make another name of");
                    }
                }
            }
            self.make_alone(
                Place {
                    at: to.as_fd(),
                    name,
                    leaf,
                },
                &mut fresh,
            )?;
            around = Some((to, name));
        }
        self.recount(leaf, fresh, &mut tally);
        Ok(tally)
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
        tally.harmed = fresh.harmed;
        match self.plan.leaf(leaf).make {
            Make::Object(_) | Make::Variant(_) => {
                tally.report.merge(fresh.report);
                if let Some(object) = self.plan.object_of(leaf) {
                    tally.unlinked.add(object.size);
                }
            }
            Make::Empty | Make::Private(..) | Make::Symlink(_) | Make::Node(..) => {}
        }
    }
}
