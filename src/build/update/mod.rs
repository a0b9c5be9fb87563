//! Owns `checkout --update`: the checkout of one image becomes that of another, by what differs between them alone.
//!
//! What the directory holds is told by the store's record of it, and proved by a look at all of it: what somebody
//! changed is never lost unasked. From before the first change until all is on the disk, the record says that an update
//! is under way; one that stopped is taken up by the next.

mod work;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::bundle::Bundle;
use super::checkout::{How, Wanted, lacks_devices, link_text, real_path};
use crate::error::{Cause, Context as _, Error, Result, quoted};
use crate::path::escape;
use crate::rootfs::scan::{self, Standing, Stood};
use crate::rootfs::update::{Update, remove_staged};
use crate::rootfs::{self, Flush, LinkMode, Options, Ownership, Report};
use crate::store::Writer;
use crate::store::checkouts::{Lasting, Record, State};
use crate::watch::Watch;
use crate::wire::Descriptor;

pub use work::Counts;

const ACT: &str = "update";

/// How many changed paths are told.
const TOLD: usize = 10;

/// What to do about what somebody changed in a checkout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Local {
    /// Leave everything as it is, and fail.
    #[default]
    Refuse,
    /// Replace it, and remove what was added.
    Replace,
}

/// How to update.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Fails where files were made in another way.
    pub link: Option<LinkMode>,
    /// Fails where files are somebody else's.
    pub owners: Option<Ownership>,
    /// What to do about what somebody changed.
    pub local: Local,
    /// How many threads at the most, what to do about what the host cannot hold, and whether to wait for the disk; the
    /// rest is as it was when the directory was made.
    pub options: Options,
}

/// What an update did.
#[derive(Clone, PartialEq, Debug)]
pub struct Updated {
    /// The manifest of the image that was there before.
    pub before: Descriptor,
    /// How many paths it did what to.
    pub counts: Counts,
    /// What somebody had changed, and is replaced.
    pub replaced: u64,
    /// How files were made.
    pub report: Report,
}

/// Makes the directory `dir`, a whole checkout of an image of this store, one of another.
pub fn update(
    writer: &Writer<'_>,
    wanted: Wanted<'_>,
    dir: &Path,
    request: &Request,
    watch: &dyn Watch,
) -> Result<Updated> {
    let folder = open(dir)?;
    let path = real_path(dir)?;
    let record = find(writer, &folder, &path)?;
    let how = How::from_json(&record.how)
        .map_err(|why| Error::malformed("read the record of", quoted(dir), why).hint(ANEW))?;
    check_same(dir, request, &how)?;
    let run = Run {
        writer,
        wanted,
        folder: &folder,
        record: &record,
        options: Options {
            link: how.link,
            owners: how.owners.clone(),
            sub: None,
            ..request.options.clone()
        },
        how,
        local: request.local,
        watch,
    };
    rootfs::in_pool(request.options.jobs, || run.run())
}

const ANEW: &str = "check the image out to a new directory";

fn fails(dir: &Path, why: impl Into<String>) -> Error {
    Error::failed(ACT, quoted(dir), why)
}

/// Opens the directory and keeps other updates out of it.
fn open(dir: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(dir, flags, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(fails(dir, "it is not a directory")
                .hint("name a directory that `ocistore checkout` made"));
        }
        other => File::from(other.context("open the directory", quoted(dir))?),
    };
    let stat = rustix::fs::statx(&folder, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)
        .context("look at", quoted(dir))?;
    if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(fails(dir, "something is mounted there")
            .hint("a mount becomes that of another image by `umount` and `mount`"));
    }
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let busy = Cause::Busy("another update of it is under way".to_owned());
            Err(Error::new(ACT, quoted(dir), busy))
        }
        other => {
            other.context("lock", quoted(dir))?;
            Ok(folder)
        }
    }
}

/// Returns what the store knows of the directory.
fn find(writer: &Writer<'_>, folder: &File, path: &Path) -> Result<Record> {
    let Some(record) = writer.store().checkout_at(path)? else {
        let why = match Bundle::is_at(path) {
            true => "it is a bundle, which is there to be changed",
            false => "this store has no record of a whole image that was checked out there",
        };
        return Err(fails(path, why).hint(ANEW));
    };
    record.check_is(folder.as_fd())?;
    Ok(record)
}

fn check_same(dir: &Path, request: &Request, how: &How) -> Result<()> {
    if request.link.is_some_and(|link| link != how.link) {
        let why = format!("its files were made with --link {}", link_text(how.link));
        return Err(fails(dir, why).hint("leave --link out, or check out to a new directory"));
    }
    if request
        .owners
        .as_ref()
        .is_some_and(|owners| *owners != how.owners)
    {
        let why = "its files were given to others than these flags say";
        return Err(
            fails(dir, why).hint("leave out --rootless and maps, or check out to a new directory")
        );
    }
    Ok(())
}

struct Run<'a> {
    writer: &'a Writer<'a>,
    wanted: Wanted<'a>,
    folder: &'a File,
    record: &'a Record,
    how: How,
    options: Options,
    local: Local,
    watch: &'a dyn Watch,
}

impl Run<'_> {
    fn run(&self) -> Result<Updated> {
        let (stood, planned) = self.look()?;
        let changed = &stood.seen.changed;
        if self.local == Local::Refuse && !changed.is_empty() {
            return Err(self.refuse(changed));
        }
        let work::Planned { work, counts } = planned;
        let mut report = Report::default();
        if !work.dirs.is_empty() {
            let staged = self.apply(&work)?;
            report = staged;
            // Those that stay were laid out only for what comes into them.
            let stay = u64::try_from(work.dirs.len()).unwrap_or(u64::MAX);
            report.directories = report.directories.saturating_sub(stay);
        }
        self.conclude(&report)?;
        Ok(Updated {
            before: self.record.manifest.clone(),
            counts,
            replaced: u64::try_from(changed.len()).unwrap_or(u64::MAX),
            report,
        })
    }

    /// Looks at what is there, and what is to be done to it.
    fn look(&self) -> Result<(Stood, work::Planned)> {
        let (from, toward, staged) = match &self.record.state {
            State::Whole(root) => (root, [].as_slice(), None),
            State::Updating {
                from,
                toward,
                staged,
            } => (from, toward.as_slice(), Some(staged.as_str())),
        };
        self.writer.store().view(|view| {
            let known = std::iter::once(from)
                .chain(toward)
                .map(|root| view.has_node(root));
            let known: Vec<bool> = known.collect::<Result<_>>()?;
            let known = known.into_iter().all(|known| known);
            if !known && self.local == Local::Refuse {
                return Err(self.is_forgotten());
            }
            let standing = Standing {
                nodes: view,
                root: known.then_some(*from),
                toward: if known { toward } else { &[] },
                owners: &self.how.owners,
                lacks_devices: self.how.lacks_devices,
                except: staged,
            };
            let stood = scan::stand(self.folder.as_fd(), &standing, self.watch)?;
            let planned = work::plan(view, &stood, self.wanted.root, self.watch);
            let mut planned = planned?;
            if staged.is_some() {
                // What is removed from it changes its time.
                planned.touch_root(view, &stood, self.wanted.root)?;
            }
            Ok((stood, planned))
        })
    }

    fn is_forgotten(&self) -> Error {
        let digest = self.record.manifest.digest;
        let why = format!(
            "the store no longer has the image {} that it holds, so that nobody can tell what was changed in it",
            digest.short()
        );
        fails(&self.record.path, why)
            .hint("replace all of it with --force, or check out to a new directory")
    }

    fn refuse(&self, changed: &[Vec<u8>]) -> Error {
        let told = changed.iter().take(TOLD).map(|path| match path.as_slice() {
            b"" => "the directory itself".to_owned(),
            path => format!("'{}'", escape(path)),
        });
        let mut told: Vec<String> = told.collect();
        if changed.len() > TOLD {
            told.push(format!("and {} more", changed.len() - TOLD));
        }
        let count = match changed.len() {
            1 => "1 path was".to_owned(),
            count => format!("{count} paths were"),
        };
        let why = format!("{count} changed in it: {}", told.join(", "));
        fails(&self.record.path, why)
            .hint("replace what was changed with --force, or check out to a new directory")
    }

    /// Does the work, and says before that it is under way.
    fn apply(&self, work: &rootfs::update::Work) -> Result<Report> {
        let wanted = *self.wanted.root;
        let name = staged_name()?;
        let (from, mut toward) = match &self.record.state {
            State::Whole(root) => (*root, Vec::new()),
            State::Updating {
                from,
                toward,
                staged,
            } => {
                remove_staged(self.folder.as_fd(), staged)?;
                (*from, toward.clone())
            }
        };
        if !toward.contains(&wanted) {
            toward.push(wanted);
        }
        let under_way = Record {
            state: State::Updating {
                from,
                toward,
                staged: name.clone(),
            },
            ..self.record.clone()
        };
        self.writer.record_checkout(&under_way, Lasting::Now)?;
        let update = Update {
            writer: self.writer,
            dir: self.folder.as_fd(),
            options: &self.options,
            staged: &name,
            watch: self.watch,
        };
        let staged = match update.stage(work) {
            Ok(staged) => staged,
            Err(failure) => {
                // Nothing was changed; where that cannot be said, the next update finds out.
                self.writer.record_checkout(self.record, Lasting::Now).ok();
                return Err(failure);
            }
        };
        update.move_in(work, &staged).map_err(|e| {
            e.or_hint("the directory is neither of both: run it again to finish it")
        })?;
        Ok(staged.report)
    }

    /// Says that all is done.
    fn conclude(&self, report: &Report) -> Result<()> {
        let how = How {
            lacks_devices: self.how.lacks_devices || lacks_devices(report),
            ..self.how.clone()
        };
        let record = Record {
            manifest: self.wanted.manifest.clone(),
            state: State::Whole(*self.wanted.root),
            how: how.to_json(),
            ..self.record.clone()
        };
        let lasting = match self.options.flush {
            Flush::Whole => Lasting::Now,
            Flush::Never => Lasting::Whenever,
        };
        self.writer.record_checkout(&record, lasting)
    }
}

/// Returns a name that nothing in a checkout has.
fn staged_name() -> Result<String> {
    let mut bytes = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    rustix::rand::getrandom(&mut bytes, flags).context("ask the system for", "random bytes")?;
    Ok(format!(".ocistore-update-{}", crate::digest::hex(&bytes)))
}
