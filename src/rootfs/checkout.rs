//! Owns laying out a merged tree as a directory of the host, all of it or nothing.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

use super::host::{self, Identity};
use super::link::Maker;
use super::owners::Ownership;
use super::plan::Plan;
use super::planner::{Linking, Planner, Taken};
use super::prepare;
use super::probe::Probe;
use super::report::{Reason, Report};
use super::sub;
use super::tally::Tally;
use super::target::Staging;
use super::walk;
use crate::digest::TreeId;
use crate::error::{Context, Error, Result};
use crate::path::TreePath;
use crate::store::Writer;
use crate::store::catalog::View;
use crate::store::variants::Sharing;
use crate::tree::{Layered, NewNodes, Node, Nodes};
use crate::watch::Watch;

/// What is done to a target, as errors say it.
const ACT: &str = "check out to";

/// How a checkout's files relate to the store's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkMode {
    /// They are the store's own inodes, to be read only; what cannot be linked is reflinked, else copied.
    #[default]
    Hardlink,
    /// They are inodes of their own that share their bytes until one is written to; else copied.
    Reflink,
    /// They are copies.
    Copy,
}

/// What to do where the host cannot hold what the image has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strictness {
    /// Say so in the report.
    #[default]
    Report,
    /// Fail, and leave nothing behind.
    Refuse,
}

/// Whether a checkout is on the disk before it is in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Flush {
    /// After a power cut the target is whole, or as it was before where the checkout had not returned.
    #[default]
    Whole,
    /// Nothing is promised: for directories that do not outlive the machine's uptime anyway.
    Never,
}

/// How to check out.
#[derive(Clone, Debug)]
pub struct Options {
    /// How files relate to the store's.
    pub link: LinkMode,
    /// Whose they are.
    pub owners: Ownership,
    /// How many threads at the most; as many as there are cores where it is not said.
    pub jobs: Option<NonZeroUsize>,
    /// The part of the tree that is wanted. A directory becomes the target itself; anything else becomes the one
    /// entry of the target, which has the metadata of its directory then.
    pub sub: Option<TreePath>,
    /// What to do about what the host cannot hold.
    pub strictness: Strictness,
    /// Whether to wait for the disk.
    pub flush: Flush,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            link: LinkMode::default(),
            owners: Ownership::of_process(),
            jobs: None,
            sub: None,
            strictness: Strictness::default(),
            flush: Flush::default(),
        }
    }
}

/// Lays out the tree `root` as the directory `target`, which must be empty or not there yet.
///
/// It is made beside the target and renamed into place at the end; where anything fails, the target is as it was.
/// Files that differ from what the store was given are an error of [`crate::error::Cause::Damaged`]. Publishes
/// whatever waits in `writer`, which therefore should be this checkout's own.
pub fn checkout(
    writer: &Writer<'_>,
    root: &TreeId,
    target: &Path,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Report> {
    let done = checkout_and((writer, root), target, options, watch, |_, _| ());
    done.map(|(report, ())| report)
}

/// As [`checkout`]; what `then` makes of the directory in its place is returned too.
pub(crate) fn checkout_and<T: Send>(
    (writer, root): (&Writer<'_>, &TreeId),
    target: &Path,
    options: &Options,
    watch: &dyn Watch,
    then: impl FnOnce(BorrowedFd<'_>, &Report) -> T + Send,
) -> Result<(Report, T)> {
    in_pool(options.jobs, || {
        let staging = Staging::beside(writer.store(), target, ACT)?;
        let report = staging.conclude(|| fill((writer, root), staging.root(), options, watch))?;
        match options.flush {
            Flush::Whole => staging.sync_place()?,
            Flush::Never => {}
        }
        let then = then(staging.root(), &report);
        Ok((report, then))
    })
}

/// Lays out the tree `root` as what is in the empty directory `into`, which nobody else can enter.
///
/// Where it fails, what was made is left there. Otherwise as [`checkout`], in whatever threads it is called.
pub(crate) fn fill(
    (writer, root): (&Writer<'_>, &TreeId),
    into: BorrowedFd<'_>,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Report> {
    let beside = Beside {
        nodes: &NewNodes::new(),
        taken: None,
    };
    fill_beside((writer, root), into, options, beside, watch)
}

/// What a tree is laid out beside.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    /// Nodes of the tree that the store does not have.
    pub(super) nodes: &'a NewNodes,
    /// The inodes that nothing is to be linked to.
    pub(super) taken: Option<&'a HashSet<Identity>>,
}

/// As [`fill`], beside what is elsewhere already.
pub(super) fn fill_beside(
    (writer, root): (&Writer<'_>, &TreeId),
    into: BorrowedFd<'_>,
    options: &Options,
    beside: Beside<'_>,
    watch: &dyn Watch,
) -> Result<Report> {
    let checkout = Checkout {
        writer,
        options,
        watch,
        into,
        beside,
    };
    checkout.lay_out(root)
}

/// Runs `work` in as many threads as `jobs` says, or in those that are there.
pub(crate) fn in_pool<T: Send>(
    jobs: Option<NonZeroUsize>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let Some(jobs) = jobs else {
        return work();
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs.get())
        .build();
    let pool =
        pool.map_err(|e| Error::failed("start", format!("{jobs} threads"), e.to_string()))?;
    pool.install(work)
}

#[derive(Clone, Copy)]
struct Checkout<'a> {
    writer: &'a Writer<'a>,
    options: &'a Options,
    watch: &'a dyn Watch,
    /// The directory that everything goes below.
    into: BorrowedFd<'a>,
    beside: Beside<'a>,
}

/// Nodes that are looked for before those of the store.
struct Over<'a>(&'a NewNodes, &'a View);

impl Nodes for Over<'_> {
    fn node(&self, id: &TreeId) -> Result<Node> {
        let Self(over, under) = *self;
        Layered { over, under }.node(id)
    }
}

impl Checkout<'_> {
    fn lay_out(&self, root: &TreeId) -> Result<Report> {
        let Self {
            writer,
            options,
            watch,
            into,
            beside: _,
        } = *self;
        let mut tally = Tally::default();
        let mut plan = self.plan(root, &mut tally)?;
        watch.check()?;
        prepare::prove_objects(writer, &mut plan, watch, &mut tally)?;
        let plan = plan;
        let holds = prepare::make_variants(writer, &plan, watch, &mut tally)?;
        tally.check_harm(&plan, writer.store())?;
        let sharing = match options.link {
            LinkMode::Hardlink | LinkMode::Reflink => Sharing::reflinks(),
            LinkMode::Copy => Sharing::none(),
        };
        let copied_because = (options.link == LinkMode::Reflink).then_some(Reason::NoReflink);
        let born = host::born(into).context("look at what is made in", "the new directory")?;
        let maker = Maker {
            writer,
            plan: &plan,
            root: into,
            owners: &options.owners,
            holds: &holds,
            sharing: &sharing,
            copied_because,
            born,
            watch,
        };
        watch.begin("checking out", Some(plan.bytes));
        let filled = walk::fill(&maker, &mut tally);
        watch.end();
        filled?;
        self.finish(&maker, tally)
    }

    fn plan(&self, root: &TreeId, tally: &mut Tally) -> Result<Plan> {
        let Self {
            writer,
            options,
            watch: _,
            into,
            beside,
        } = *self;
        let linking = match options.link {
            LinkMode::Hardlink => self.linking()?,
            LinkMode::Reflink | LinkMode::Copy => Linking::Never(None),
        };
        let probe = Probe::new(into)?;
        writer.store().view(|view| {
            let start = sub::start(view, root, options.sub.as_ref())?;
            let planner = Planner {
                nodes: &Over(beside.nodes, view),
                view,
                owners: &options.owners,
                stored: writer.owners(),
                linking,
                probe,
                taken: Taken {
                    store: writer.store(),
                    inodes: beside.taken,
                },
            };
            planner.plan(start, tally)
        })
    }

    /// Tries whether files of the store can be linked to at all, with one that every store has.
    fn linking(&self) -> Result<Linking> {
        const NAME: &[u8] = b"link";
        let (folder, root) = (self.writer.store().folder().as_fd(), self.into);
        match host::link((folder, b"format"), (root, NAME)) {
            Ok(()) => {
                host::unlink(root, NAME).context("remove a file from", "the new directory")?;
                Ok(Linking::Allowed)
            }
            Err(Errno::XDEV) => Ok(Linking::Never(Some(Reason::OtherFilesystem))),
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {
                Ok(Linking::Never(Some(Reason::LinkRefused)))
            }
            // Every file has a limit of its own.
            Err(Errno::MLINK) => Ok(Linking::Allowed),
            Err(e) => Err(e).context("link to", "the store's file 'format'"),
        }
    }

    fn finish(&self, maker: &Maker<'_>, mut tally: Tally) -> Result<Report> {
        prepare::finish_dirs(maker, &mut tally)?;
        let refuse = self.options.strictness == Strictness::Refuse && !tally.is_clean();
        let report = tally.into_report(maker.plan);
        if let (true, Some((warning, there))) = (refuse, report.warnings.first_key_value()) {
            let why = format!(
                "{} at {} ({} in all)",
                warning.text(),
                there.first,
                there.count
            );
            return Err(Error::failed("check out", "all that the image has", why)
                .hint("run it as root or on another file system, or without --strict"));
        }
        match self.options.flush {
            Flush::Whole => prepare::flush(maker)?,
            Flush::Never => {}
        }
        self.watch.check()?;
        Ok(report)
    }
}
