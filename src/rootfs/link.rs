//! Owns making one leaf: a link to an inode of the store where that is allowed, else a file of its own.
//! What a file comes from is looked at every time, and never handed out where it is not as it was left.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::host::{self, Born};
use super::owners::Ownership;
use super::plan::{Make, Object, Plan};
use super::report::{Reason, Warning};
use super::tally::{Harm, Harmed, Spot, Tally};
use crate::error::{Context, Error, Result};
use crate::store::Writer;
use crate::store::inodes::{self, Has, Stat};
use crate::store::variants::{Filled, Sharing, Source};
use crate::tree::Device;
use crate::watch::Watch;

/// What is said of a device that could not be made.
const NO_DEVICE: &str = "it takes root to make it";

/// A name that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The directory it is in.
    pub(super) at: BorrowedFd<'a>,
    /// The name: the leaf's own, or another of its link group.
    pub(super) name: &'a [u8],
    /// The leaf it is for.
    pub(super) leaf: u32,
}

/// What all threads of a checkout need.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    pub(super) writer: &'a Writer<'a>,
    pub(super) plan: &'a Plan,
    /// The directory that everything goes below.
    pub(super) root: BorrowedFd<'a>,
    /// Whose the files are.
    pub(super) owners: &'a Ownership,
    /// For each variant, whether the host can hold it.
    pub(super) holds: &'a [bool],
    pub(super) sharing: &'a Sharing,
    /// Why a copy is not what was asked for, where no copies were asked for.
    pub(super) copied_because: Option<Reason>,
    /// What the host gives new entries by itself, where that is the same everywhere.
    pub(super) born: Option<Born>,
    pub(super) watch: &'a dyn Watch,
}

impl Maker<'_> {
    /// Opens a directory of the plan.
    pub(super) fn open(&self, dir: u32) -> Result<OwnedFd> {
        self.opened(host::open_dir(self.root, &self.plan.dir_path(dir)), dir)
    }

    /// Opens a directory of the plan in its parent `at`.
    pub(super) fn open_in(&self, at: BorrowedFd<'_>, dir: u32) -> Result<OwnedFd> {
        let name = &self.plan.dirs[dir as usize].name;
        self.opened(host::open_child(at, name), dir)
    }

    fn opened(&self, opened: rustix::io::Result<OwnedFd>, dir: u32) -> Result<OwnedFd> {
        match opened {
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => Err(Error::failed(
                "open the directory",
                self.plan.show_dir(dir),
                "something else was put in its place meanwhile",
            )),
            other => other.with(|| self.plan.show_dir(dir), "open the directory"),
        }
    }

    /// Makes a directory of the plan in its parent `at`, for us alone where it gets its metadata in the end.
    pub(super) fn make_dir(&self, at: BorrowedFd<'_>, dir: u32) -> Result<()> {
        let here = &self.plan.dirs[dir as usize];
        let mode = self.first_mode_of_dir(dir);
        host::make_dir_as(at, &here.name, mode)
            .with(|| self.plan.show_dir(dir), "make the directory")
    }

    fn first_mode_of_dir(&self, dir: u32) -> u16 {
        match self.born {
            Some(_) if self.plan.is_finished_early(dir) => self.plan.dirs[dir as usize].meta.mode,
            _ => host::PRIVATE,
        }
    }

    /// Gives an open directory its metadata, once it is filled.
    pub(super) fn finish_dir(&self, open: &File, dir: u32, tally: &mut Tally) -> Result<()> {
        let meta = &self.plan.dirs[dir as usize].meta;
        let has = self
            .born
            .map(|born| born.with_mode(self.first_mode_of_dir(dir)));
        let refused = inodes::give_rest(open, has, meta)
            .with(|| self.plan.show_dir(dir), "set the metadata of")?;
        tally.refused(&refused, Spot { dir, leaf: None });
        tally.report.directories += 1;
        Ok(())
    }

    /// Gives a directory its time again, which was finished before and changed since.
    pub(super) fn restore_time(&self, dir: u32) -> Result<()> {
        let times = inodes::timestamps(self.plan.dirs[dir as usize].meta.mtime);
        let done = rustix::fs::futimens(self.open(dir)?, &times);
        done.with(|| self.plan.show_dir(dir), "set the time of")
    }

    /// Makes a leaf under its own name in its directory `at`.
    pub(super) fn make_leaf(&self, at: BorrowedFd<'_>, leaf: u32, tally: &mut Tally) -> Result<()> {
        self.make(
            Place {
                at,
                name: self.plan.leaf(leaf).name.as_bytes(),
                leaf,
            },
            tally,
        )
    }

    /// Makes a leaf.
    pub(super) fn make(&self, place: Place<'_>, tally: &mut Tally) -> Result<()> {
        let store = self.writer.store();
        match &self.plan.leaf(place.leaf).make {
            Make::Empty => self.make_empty(place, tally),
            Make::Object(object) => {
                let path = store.object_path(&self.plan.object(*object).id);
                self.link(place, (*object, &path), tally)
            }
            Make::Variant(variant) => {
                let there = &self.plan.variants[*variant as usize];
                if !self.holds[*variant as usize] {
                    return self.make_private(
                        place,
                        there.object,
                        Some(Reason::XattrRefused),
                        tally,
                    );
                }
                self.link(place, (there.object, &store.inode_path(&there.id)), tally)
            }
            Make::Private(object, why) => self.make_private(place, *object, *why, tally),
            Make::Symlink(target) => {
                let done = host::make_symlink(place.at, place.name, target);
                done.with(|| self.show(place), "make the symlink")?;
                tally.report.symlinks += 1;
                self.give_unopened(place, FileType::Symlink, tally)
            }
            Make::Node(kind, device) => self.make_node(place, *kind, *device, tally),
        }
    }

    fn show(&self, place: Place<'_>) -> String {
        self.plan.show_leaf(place.leaf)
    }

    fn make_node(
        &self,
        place: Place<'_>,
        kind: FileType,
        device: Device,
        tally: &mut Tally,
    ) -> Result<()> {
        let is_device = kind != FileType::Fifo;
        let made = match self.owners {
            Ownership::Rootless { .. } if is_device => Err(Errno::PERM),
            _ => host::make_node(place.at, place.name, kind, device),
        };
        match made {
            // Without the right to, in a sandbox or a user namespace for example.
            Err(Errno::PERM) if is_device => {
                let spot = self.plan.spot_of(place.leaf);
                tally.warn(Warning::DeviceSkipped, spot, || NO_DEVICE.to_owned());
                return Ok(());
            }
            other => other.with(|| self.show(place), "make the device")?,
        }
        tally.report.other += 1;
        self.give_unopened(place, kind, tally)
    }

    fn give_unopened(&self, place: Place<'_>, kind: FileType, tally: &mut Tally) -> Result<()> {
        let meta = &self.plan.leaf(place.leaf).meta;
        let refused = host::give_unopened(place.at, place.name, meta, kind)
            .with(|| self.show(place), "set the metadata of")?;
        tally.refused(&refused, self.plan.spot_of(place.leaf));
        Ok(())
    }

    /// Links a leaf to an inode of the store, then looks at what it got: nothing can slip in between that way.
    fn link(
        &self,
        place: Place<'_>,
        (object, from): (u32, &Path),
        tally: &mut Tally,
    ) -> Result<()> {
        let Place { at, name, leaf } = place;
        let folder = self.writer.store().folder().as_fd();
        let size = self.plan.object(object).size;
        let wanted = Stat::wanted(size, &self.plan.leaf(leaf).meta);
        let link = |from: &Path| host::link((folder, from.as_os_str().as_bytes()), (at, name));
        let linked = self.writer.store().wherever(from, |from| Ok(link(from)?))?;
        match linked.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)) {
            Ok(()) => {}
            Err(Errno::MLINK) => {
                tally.full.push(leaf);
                return Ok(());
            }
            Err(Errno::XDEV) => {
                return self.make_private(place, object, Some(Reason::OtherFilesystem), tally);
            }
            Err(Errno::PERM | Errno::ACCESS) => {
                return self.make_private(place, object, Some(Reason::LinkRefused), tally);
            }
            Err(Errno::NOENT) => {
                tally.harmed.push(Harmed {
                    leaf,
                    harm: Harm::Missing,
                });
                return Ok(());
            }
            Err(e) => return Err(e).with(|| self.show(place), "link"),
        }
        let mut differs = self.differences(place, &wanted)?;
        if !differs.is_empty() {
            // It may have been moved away and put in place again by another, with other metadata: the old one is kept.
            for other in self.writer.store().discarded(from)? {
                host::unlink(at, name).with(|| self.show(place), "replace")?;
                link(&other).with(|| self.show(place), "link")?;
                let differences = self.differences(place, &wanted)?;
                if differences.is_empty() {
                    differs = differences;
                    break;
                }
            }
        }
        if differs.is_empty() {
            tally.report.linked.add(size);
        } else {
            let below = from.display().to_string();
            tally.harmed.push(Harmed {
                leaf,
                harm: self.plan.harm_of_link(leaf, differs, below),
            });
        }
        Ok(())
    }

    /// Says how what was linked differs from what the image wants.
    fn differences(&self, place: Place<'_>, wanted: &Stat) -> Result<Vec<&'static str>> {
        let stat = host::stat(place.at, place.name).with(|| self.show(place), "look at")?;
        Ok(Stat::seen(&stat).differences(wanted))
    }

    fn make_empty(&self, place: Place<'_>, tally: &mut Tally) -> Result<()> {
        let meta = &self.plan.leaf(place.leaf).meta;
        let done = self.make_file(place).map_err(std::io::Error::from);
        let refused = done.and_then(|(file, has)| inodes::give_rest(&file, has, meta));
        let refused = refused.with(|| self.show(place), "make the file")?;
        tally.refused(&refused, self.plan.spot_of(place.leaf));
        tally.report.empty += 1;
        Ok(())
    }

    /// Makes an empty file; returns what it has of its metadata already, where that is known.
    fn make_file(&self, place: Place<'_>) -> rustix::io::Result<(File, Option<Has>)> {
        let Some(born) = self.born else {
            return Ok((host::make_file(place.at, place.name)?, None));
        };
        let mode = self.plan.leaf(place.leaf).meta.mode & 0o777;
        let file = host::make_file_as(place.at, place.name, mode)?;
        Ok((file, Some(born.with_mode(mode))))
    }

    /// Makes a leaf a file of its own, for the reason `why` it is no link, where one was asked for.
    pub(super) fn make_private(
        &self,
        place: Place<'_>,
        object: u32,
        why: Option<Reason>,
        tally: &mut Tally,
    ) -> Result<()> {
        let leaf = place.leaf;
        let object = self.plan.object(object);
        // An object that nobody vouches for was read, and that failed, which is noted already.
        let Some(stat) = object.stat() else {
            return Ok(());
        };
        let (file, has) = self
            .make_file(place)
            .with(|| self.show(place), "make the file")?;
        let source = Source {
            id: &object.id,
            stat: &stat,
        };
        let filled = self
            .writer
            .store()
            .fill_from_object(source, &file, self.sharing, self.watch)
            .map_err(|e| e.part_of("copy the bytes of", self.show(place)))?;
        let reason = match filled {
            Filled::Reflinked => {
                tally.report.reflinked.add(object.size);
                why
            }
            Filled::Copied => {
                tally.report.copied.add(object.size);
                why.or(self.copied_because)
            }
            unusable @ (Filled::Changed(_) | Filled::Missing) => {
                tally
                    .harmed
                    .extend(Harm::of(unusable).map(|harm| Harmed { leaf, harm }));
                return Ok(());
            }
        };
        if let Some(reason) = reason {
            tally.reason(reason);
        }
        let refused = inodes::give_rest(&file, has, &self.plan.leaf(leaf).meta);
        let refused = refused.with(|| self.show(place), "set the metadata of")?;
        tally.refused(&refused, self.plan.spot_of(leaf));
        Ok(())
    }
}

impl Harm {
    /// Returns what is wrong with an object that could not be copied.
    pub(super) fn of(filled: Filled) -> Option<Self> {
        match filled {
            Filled::Reflinked | Filled::Copied => None,
            Filled::Changed(differs) => Some(Self::Object(differs)),
            Filled::Missing => Some(Self::Missing),
        }
    }
}

impl Plan {
    /// Returns the number of the object that a leaf has its bytes from.
    pub(super) fn object_at(&self, leaf: u32) -> Option<u32> {
        match self.leaf(leaf).make {
            Make::Object(object) | Make::Private(object, _) => Some(object),
            Make::Variant(variant) => Some(self.variants[variant as usize].object),
            Make::Empty | Make::Symlink(_) | Make::Node(..) => None,
        }
    }

    /// Returns the object that a leaf has its bytes from.
    pub(super) fn object_of(&self, leaf: u32) -> Option<&Object> {
        self.object_at(leaf).map(|object| self.object(object))
    }

    /// Returns what is wrong where a link led to a file that differs.
    pub(super) fn harm_of_link(
        &self,
        leaf: u32,
        differs: Vec<&'static str>,
        below: String,
    ) -> Harm {
        match self.leaf(leaf).make {
            Make::Variant(_) => Harm::Variant(differs, below),
            Make::Object(_)
            | Make::Private(..)
            | Make::Empty
            | Make::Symlink(_)
            | Make::Node(..) => Harm::Object(differs),
        }
    }

    /// Returns a leaf's path in the image, quoted.
    pub(super) fn show_leaf(&self, leaf: u32) -> String {
        format!("'{}'", self.show(self.spot_of(leaf)))
    }

    /// Returns a directory's path in the image, quoted.
    pub(super) fn show_dir(&self, dir: u32) -> String {
        format!("'{}'", self.show(Spot { dir, leaf: None }))
    }
}

/// Names the object of a failed call only where it failed: naming one of 40,000 is work.
pub(super) trait With<T> {
    /// Turns a system error into the crate's.
    fn with(self, object: impl FnOnce() -> String, act: &'static str) -> Result<T>;
}

impl<T, E> With<T> for std::result::Result<T, E>
where
    Self: Context<T>,
{
    fn with(self, object: impl FnOnce() -> String, act: &'static str) -> Result<T> {
        if self.is_ok() {
            return self.context(act, "");
        }
        self.context(act, object())
    }
}
