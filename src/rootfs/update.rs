//! Owns making the checkout of one tree that of another: what differs is laid out in a directory inside it that nobody
//! else can enter, then moved to its place name by name, over what was there.
//!
//! All goes below one directory handle, and no symlink is followed. A directory that is not the one that was looked at
//! is an error. A file is the old one or the new one at any moment; what was a directory and is none, or the other way
//! round, changes places with the new one.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::checkout::{Beside, Flush, Options, fill_beside};
use super::host::{self, Identity};
use super::planner::host_meta;
use super::probe::Probe;
use super::report::{Report, Warning};
use super::target::remove_below;
use crate::digest::TreeId;
use crate::error::{Context as _, Error, Result};
use crate::meta::{Meta, Xattrs};
use crate::path::{Name, escape};
use crate::store::Writer;
use crate::store::inodes;
use crate::tree::NewNodes;
use crate::watch::Watch;

/// Where what is new is laid out, below the staged directory.
const NEW: &[u8] = b"new";

/// Where directories go that are no more.
const OLD: &[u8] = b"old";

/// What is to be done to a directory.
#[derive(Debug)]
pub(crate) struct Work {
    /// All that is new or another, in its directories, as a tree.
    pub(crate) root: TreeId,
    /// The nodes of that tree.
    pub(crate) nodes: NewNodes,
    /// The directories that stay and in which anything changes, each after its parent; the root is the first.
    pub(crate) dirs: Vec<Touched>,
    /// Inodes that stay, to which nothing else may be linked.
    pub(crate) staying: HashSet<Identity>,
}

/// A directory that stays and changes.
#[derive(Debug)]
pub(crate) struct Touched {
    /// Where it is; components joined by `/`.
    pub(crate) path: Vec<u8>,
    /// Which directory it has to be.
    pub(crate) identity: Identity,
    /// What it is to have, as the image says.
    pub(crate) meta: Meta,
    /// What goes.
    pub(crate) gone: Vec<Name>,
    /// What comes, and whether anything is in its place.
    pub(crate) comes: Vec<(Name, Was)>,
}

/// What was at a name that something comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Was {
    /// Nothing.
    Nothing,
    /// Something.
    Something,
}

/// What an update is made with.
#[derive(Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) writer: &'a Writer<'a>,
    /// The checkout.
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) options: &'a Options,
    /// The name in it of the directory for what is new.
    pub(crate) staged: &'a str,
    pub(crate) watch: &'a dyn Watch,
}

/// What is new, laid out.
#[derive(Debug)]
pub(crate) struct Staged {
    new: OwnedFd,
    old: OwnedFd,
    probe: Probe,
    /// What was made.
    pub(crate) report: Report,
}

/// Removes what an update left that did not come to its end.
pub(crate) fn remove_staged(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    const ACT: &str = "remove what an update left at";
    let shown = || format!("'{}'", escape(name.as_bytes()));
    let bytes = name.as_bytes();
    match host::unlock_dir(dir, bytes) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context(ACT, shown())?,
    }
    let open = host::open_child(dir, bytes).context(ACT, shown())?;
    remove_below(open.as_fd()).context(ACT, shown())?;
    rustix::fs::unlinkat(dir, bytes, AtFlags::REMOVEDIR).context(ACT, shown())
}

impl Update<'_> {
    /// Lays out what is new in a directory of its own; where that fails, the checkout is as it was.
    pub(crate) fn stage(&self, work: &Work) -> Result<Staged> {
        let was = look_at(self.dir).context("look at", "the root")?;
        self.lay_out(work).map_err(|failure| {
            let put_back = || -> Result<()> {
                remove_staged(self.dir, self.staged)?;
                rustix::fs::fchmod(self.dir, Mode::from_raw_mode(u32::from(was.mode)))
                    .and_then(|()| rustix::fs::futimens(self.dir, &inodes::timestamps(was.mtime)))
                    .context("set the time of", "the root")
            };
            match put_back() {
                Ok(()) => failure,
                Err(left) => failure.hint(left.to_string()),
            }
        })
    }

    fn lay_out(&self, work: &Work) -> Result<Staged> {
        const ACT: &str = "make a directory in";
        let make = |at: BorrowedFd<'_>, name: &[u8]| -> rustix::io::Result<OwnedFd> {
            host::make_dir(at, name)?;
            let made = host::open_child(at, name)?;
            match host::is_private(made.as_fd())? {
                true => Ok(made),
                false => Err(Errno::PERM),
            }
        };
        let_in(self.dir).context(ACT, "the root")?;
        let staged = make(self.dir, self.staged.as_bytes()).context(ACT, "the root")?;
        clear(&staged).context(ACT, "the root")?;
        let new = make(staged.as_fd(), NEW).context(ACT, "the root")?;
        let old = make(staged.as_fd(), OLD).context(ACT, "the root")?;
        let probe = Probe::new(old.as_fd())?;
        let options = Options {
            flush: Flush::Never,
            ..self.options.clone()
        };
        let beside = Beside {
            nodes: &work.nodes,
            taken: Some(&work.staying),
        };
        let from = (self.writer, &work.root);
        let report = fill_beside(from, new.as_fd(), &options, beside, self.watch)?;
        Ok(Staged {
            new,
            old,
            probe,
            report,
        })
    }

    /// Moves everything to its place. Where that fails, some of it is there and some is not.
    pub(crate) fn move_in(&self, work: &Work, staged: &Staged) -> Result<()> {
        let Self { watch, .. } = *self;
        work.dirs
            .par_iter()
            .enumerate()
            .try_for_each(|(number, dir)| {
                watch.check()?;
                self.change(number, dir, staged)
            })?;
        watch.check()?;
        remove_staged(self.dir, self.staged)?;
        // The deepest first, since a mode may shut what is below.
        for dir in work.dirs.iter().rev() {
            self.finish(dir, &staged.probe)?;
        }
        match self.options.flush {
            Flush::Whole => {
                rustix::fs::syncfs(self.dir).context("sync the file system of", "the checkout")
            }
            Flush::Never => Ok(()),
        }
    }

    fn open(&self, dir: &Touched) -> Result<OwnedFd> {
        let open = host::open_dir(self.dir, &dir.path);
        let same = open.and_then(|open| {
            let same = host::identify(open.as_fd(), b"")? == dir.identity;
            Ok(same.then_some(open))
        });
        match same {
            Ok(Some(open)) => Ok(open),
            Ok(None) | Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => Err(changed(&dir.path)),
            Err(e) => Err(e).context("open the directory", shown(&dir.path)),
        }
    }

    fn change(&self, number: usize, dir: &Touched, staged: &Staged) -> Result<()> {
        if dir.gone.is_empty() && dir.comes.is_empty() {
            return Ok(());
        }
        let open = self.open(dir)?;
        let_in(open.as_fd()).context("write to", shown(&dir.path))?;
        let mut place = Place {
            at: open.as_fd(),
            old: staged.old.as_fd(),
            number,
            moved: 0,
        };
        for name in &dir.gone {
            place
                .remove(name.as_bytes())
                .context("remove", shown(&join(&dir.path, name)))?;
        }
        if dir.comes.is_empty() {
            return Ok(());
        }
        let from = host::open_dir(staged.new.as_fd(), &dir.path)
            .context("open what is new of", shown(&dir.path))?;
        let_in(from.as_fd()).context("write to", shown(&dir.path))?;
        for (name, was) in &dir.comes {
            let come = place.put(from.as_fd(), name.as_bytes(), *was);
            let may_lack = staged.report.warnings.contains_key(&Warning::DeviceSkipped);
            let come = match come {
                // What could not be made: what it was to replace goes none the less.
                Err(Errno::NOENT) if may_lack => place.remove(name.as_bytes()),
                other => other,
            };
            match come {
                Err(Errno::EXIST | Errno::NOENT | Errno::NOTEMPTY) => {
                    return Err(changed(&join(&dir.path, name)));
                }
                other => other.context("replace", shown(&join(&dir.path, name)))?,
            }
        }
        Ok(())
    }

    /// Gives a directory that stays its metadata.
    fn finish(&self, dir: &Touched, probe: &Probe) -> Result<()> {
        let meta = host_meta(&self.options.owners, probe, &dir.meta).meta;
        let open = File::from(self.open(dir)?);
        let give = || -> std::io::Result<()> {
            // Another mode may keep even the owner from its attributes.
            let has = inodes::read_xattrs(&open)?;
            remove_xattrs(&open, &has, &meta.xattrs)?;
            inodes::give(&open, &meta).map(drop)
        };
        give().context("set the metadata of", shown(&dir.path))
    }
}

/// Lets this process write into a directory that stays, where it could not.
fn let_in(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match look_at(dir)?.mode & 0o300 == 0o300 {
        true => Ok(()),
        // It gets its own mode again in the end.
        false => host::open_up(dir),
    }
}

fn join(dir: &[u8], name: &Name) -> Vec<u8> {
    super::scan::join(dir, name)
}

fn shown(path: &[u8]) -> String {
    match path {
        b"" => "the root".to_owned(),
        path => format!("'{}'", escape(path)),
    }
}

fn changed(path: &[u8]) -> Error {
    Error::failed(
        "update",
        shown(path),
        "something else was put there meanwhile",
    )
    .hint("stop what writes there, and run it again")
}

fn look_at(dir: BorrowedFd<'_>) -> rustix::io::Result<inodes::Stat> {
    let stat = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, inodes::stat_flags())?;
    Ok(inodes::Stat::seen(&stat))
}

/// Has nothing be handed on to what is made in a directory: neither a group nor a list of access rights.
fn clear(dir: &OwnedFd) -> std::io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    rustix::fs::fchown(dir, Some(uid), Some(gid))?;
    rustix::fs::fchmod(dir, Mode::RWXU)?;
    let file = File::from(dir.try_clone()?);
    let has = inodes::read_xattrs(&file)?;
    remove_xattrs(&file, &has, &Xattrs::new())
}

/// Removes the attributes that a directory is not to have and that are no business of the host's.
fn remove_xattrs(dir: &File, has: &Xattrs, wanted: &Xattrs) -> std::io::Result<()> {
    let goes = |name: &[u8]| {
        inodes::is_settable(name) && !inodes::is_put_by_the_host(name) && !wanted.contains_key(name)
    };
    for name in has.keys().filter(|name| goes(name)) {
        match rustix::fs::fremovexattr(dir, &**name) {
            Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A directory that changes.
struct Place<'a> {
    at: BorrowedFd<'a>,
    /// Where directories go that are no more.
    old: BorrowedFd<'a>,
    /// The directory's number, for names there.
    number: usize,
    moved: usize,
}

impl Place<'_> {
    /// Removes a name; a directory with all that is in it goes away at once, and bit by bit where nobody looks.
    fn remove(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(self.at, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
        let to = format!("{}-{}", self.number, self.moved);
        self.moved += 1;
        rename_dir(
            (self.at, name),
            (self.old, to.as_bytes()),
            RenameFlags::NOREPLACE,
        )
    }

    /// Puts what is called `name` in `from` in the place of what is called so here.
    fn put(&mut self, from: BorrowedFd<'_>, name: &[u8], was: Was) -> rustix::io::Result<()> {
        let new = is_dir(from, name)?.ok_or(Errno::NOENT)?;
        let there = match was {
            Was::Nothing => None,
            Was::Something => is_dir(self.at, name)?,
        };
        match (there, new) {
            (None, false) => rename((from, name), (self.at, name), RenameFlags::NOREPLACE),
            (None, true) => rename_dir((from, name), (self.at, name), RenameFlags::NOREPLACE),
            (Some(false), false) => rename((from, name), (self.at, name), RenameFlags::empty()),
            (Some(_), _) => self.exchange(from, name),
        }
    }

    /// Has two names change places, one of which is a directory's.
    fn exchange(&mut self, from: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        let mode = open_for_move(from, name)?;
        open_for_move(self.at, name)?;
        match rename((from, name), (self.at, name), RenameFlags::EXCHANGE) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.remove(name)?;
                rename((from, name), (self.at, name), RenameFlags::NOREPLACE)
            }
            other => other,
        }?;
        match mode {
            Some(mode) => set_mode(self.at, name, mode),
            None => Ok(()),
        }
    }
}

fn is_dir(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<bool>> {
    match host::stat(at, name) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
            Ok(Some(kind == FileType::Directory))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn rename(
    (from, name): (BorrowedFd<'_>, &[u8]),
    (to, new): (BorrowedFd<'_>, &[u8]),
    flags: RenameFlags,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, new, flags) {
        // Not every file system knows the flag.
        Err(Errno::INVAL | Errno::NOSYS) if flags == RenameFlags::NOREPLACE => {
            match is_dir(to, new)? {
                Some(_) => Err(Errno::EXIST),
                None => rustix::fs::renameat(from, name, to, new),
            }
        }
        other => other,
    }
}

/// Renames a directory; who is not root needs the right to write to it, for its `..`.
fn rename_dir(
    (from, name): (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
    flags: RenameFlags,
) -> rustix::io::Result<()> {
    match rename((from, name), to, flags) {
        Err(Errno::ACCESS) => {}
        other => return other,
    }
    let mode = host::stat(from, name)?.stx_mode & Meta::MODE_BITS;
    host::unlock_dir(from, name)?;
    rename((from, name), to, flags)?;
    set_mode(to.0, to.1, mode)
}

/// Has a directory be one that can be moved; returns the mode that it had where it is another now.
fn open_for_move(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<u16>> {
    if rustix::process::geteuid().is_root() || is_dir(at, name)? != Some(true) {
        return Ok(None);
    }
    let mode = host::stat(at, name)?.stx_mode & Meta::MODE_BITS;
    host::unlock_dir(at, name)?;
    Ok(Some(mode))
}

fn set_mode(at: BorrowedFd<'_>, name: &[u8], mode: u16) -> rustix::io::Result<()> {
    let open = host::open_child(at, name)?;
    rustix::fs::fchmod(open, Mode::from_raw_mode(u32::from(mode)))
}
