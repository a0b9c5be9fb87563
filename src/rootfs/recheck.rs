//! Owns a second look at what was linked where a collection was about: an object may have been moved away, and put in
//! place again by another with other attributes, which the look at every link does not see.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::host;
use super::link::{Maker, Place, With as _};
use super::plan::Make;
use super::prepare;
use super::report::Reason;
use super::tally::Tally;
use crate::error::Result;
use crate::meta::{Meta, Xattrs};
use crate::store::inodes;

/// Makes files of their own of those that were linked to an object which is another by now.
pub(super) fn recheck(maker: &Maker<'_>, tally: &mut Tally) -> Result<()> {
    if !maker.writer.is_beside_a_collection()? {
        return Ok(());
    }
    let dirs: Vec<u32> = (0..u32::try_from(maker.plan.dirs.len()).unwrap_or(u32::MAX)).collect();
    tally.merge(prepare::gather(&dirs, |dir, tally| {
        maker.watch.check()?;
        let open = maker.open(*dir)?;
        for leaf in maker.plan.dirs[*dir as usize].leaves.clone() {
            recheck_leaf(maker, (open.as_fd(), leaf), tally)?;
        }
        Ok(())
    })?);
    tally.check_harm(maker.plan, maker.writer.store())
}

fn recheck_leaf(
    maker: &Maker<'_>,
    (at, leaf): (BorrowedFd<'_>, u32),
    tally: &mut Tally,
) -> Result<()> {
    let here = maker.plan.leaf(leaf);
    let Make::Object(object) = here.make else {
        return Ok(());
    };
    let name = here.name.as_bytes();
    let show = || maker.plan.show_leaf(leaf);
    if has_xattrs(at, name, &here.meta).with(show, "look at")? {
        return Ok(());
    }
    host::unlink(at, name).with(show, "replace")?;
    tally.touched.push(here.dir);
    tally.unlinked.add(maker.plan.object(object).size);
    maker.make_private(
        Place { at, name, leaf },
        object,
        Some(Reason::Replaced),
        tally,
    )
}

/// Tells whether a file has the attributes that it was to get, as far as hosts leave them alone.
fn has_xattrs(at: BorrowedFd<'_>, name: &[u8], meta: &Meta) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(at, name, flags, Mode::empty())?);
    let ours = |xattrs: &Xattrs| -> Xattrs {
        let ours = |name: &[u8]| inodes::is_settable(name) && !inodes::is_of_the_host(name);
        let kept = xattrs.iter().filter(|(name, _)| ours(name));
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    Ok(ours(&inodes::read_xattrs(&file)?) == ours(&meta.xattrs))
}
