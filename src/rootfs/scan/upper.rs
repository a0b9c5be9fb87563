//! Owns the way through what was written to a mount: only where an overlay's upper directory has something is anything
//! looked at. What is there says which paths may have changed; what they are now is asked of the mount itself, which knows
//! its own marks best (kernel documentation, `filesystems/overlayfs.rst`).
//!
//! It finds the very tree that a walk through the mount would find. A directory that was renamed is looked at whole, and
//! all names of hard links are, once a name of one was hidden.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Statx};

use super::super::host;
use super::super::record::{self, UNKNOWN};
use super::entry::{Eye, FoundLeaf, Place, refuse_mount};
use super::found::{Found, FoundDir, FoundItem, Links, append, expand, join, keep};
use super::walk::names_in;
use super::{Base, Options};
use crate::digest::TreeId;
use crate::error::{Context as _, Error, Result};
use crate::path::{Name, Step, TreePath};
use crate::store::inodes;
use crate::tree::{Item, Kind, Leaf, Node};
use crate::watch::Watch;

/// An overlay over a tree.
#[derive(Clone, Copy, Debug)]
pub struct Mounted<'a> {
    /// What is to be seen.
    pub merged: BorrowedFd<'a>,
    /// What was written.
    pub upper: BorrowedFd<'a>,
}

/// Looks at what was written to a mount of `base`.
pub fn look_at_mount(
    mounted: Mounted<'_>,
    base: &Base<'_>,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Found> {
    let walk = |links| Walk {
        mounted,
        base,
        eye: Eye::new(options),
        watch,
        links,
        dirs: Vec::new(),
        waiting: Vec::new(),
    };
    match walk(Links::Kept).run()? {
        Outcome::Done(found) => Ok(found),
        Outcome::LinksTouched => match walk(Links::Looked).run()? {
            Outcome::Done(found) => Ok(found),
            Outcome::LinksTouched => {
                let why = "its hard links cannot be told";
                Err(Error::failed("take in", "the mount", why))
            }
        },
    }
}

enum Outcome {
    Done(Found),
    /// A name of hard links was hidden.
    LinksTouched,
}

struct Walk<'a> {
    mounted: Mounted<'a>,
    base: &'a Base<'a>,
    eye: Eye<'a>,
    watch: &'a dyn Watch,
    links: Links,
    dirs: Vec<FoundDir>,
    waiting: Vec<Visit>,
}

/// A directory's turn.
struct Visit {
    number: usize,
    path: Vec<u8>,
    depth: usize,
    /// Whether anything was written in it.
    written: Written,
    /// What of the base it shows.
    lower: Option<TreeId>,
    /// What the base has at its path.
    before: Option<TreeId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    No,
}

/// A directory that is open.
struct Here {
    visit: Visit,
    merged: OwnedFd,
    upper: Option<OwnedFd>,
    lower: Option<Node>,
    before: Option<Node>,
}

/// Why a walk ends early.
enum Stop {
    Failed(Error),
    LinksTouched,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl Walk<'_> {
    fn run(mut self) -> Result<Outcome> {
        self.dirs.push(FoundDir::default());
        self.waiting.push(Visit {
            number: 0,
            path: Vec::new(),
            depth: 0,
            written: Written::Yes,
            lower: Some(self.base.root),
            before: Some(self.base.root),
        });
        while let Some(visit) = self.waiting.pop() {
            self.watch.check()?;
            let here = self.open(visit)?;
            match self.look(&here) {
                Ok(()) => {}
                Err(Stop::LinksTouched) => return Ok(Outcome::LinksTouched),
                Err(Stop::Failed(e)) => return Err(e),
            }
        }
        record::outlast_the_tick();
        Ok(Outcome::Done(Found {
            sight: self.eye.sight,
            links: self.links,
            dirs: self.dirs,
        }))
    }

    fn open(&self, visit: Visit) -> Result<Here> {
        let show = || {
            let place = Place {
                at: self.mounted.merged,
                name: b"",
                path: &visit.path,
            };
            place.show()
        };
        let merged = host::open_dir(self.mounted.merged, &visit.path).context("open", show())?;
        let upper = match visit.written {
            Written::Yes => {
                let upper = host::open_dir(self.mounted.upper, &visit.path);
                Some(upper.context("open what was written to", show())?)
            }
            Written::No => None,
        };
        let node = |id: Option<TreeId>| id.map(|id| self.base.nodes.node(&id)).transpose();
        Ok(Here {
            lower: node(visit.lower)?,
            before: node(visit.before)?,
            visit,
            merged,
            upper,
        })
    }

    /// Looks at one directory.
    fn look(&mut self, here: &Here) -> std::result::Result<(), Stop> {
        let mut written = match &here.upper {
            Some(upper) => written_in(upper.as_fd(), &here.visit.path)?,
            None => BTreeMap::new(),
        };
        let mut entries: Vec<(Name, FoundItem)> = Vec::new();
        for (name, item) in here.lower.iter().flat_map(|node| &node.entries) {
            let path = join(&here.visit.path, name);
            let found = match written.remove(name) {
                _ if self.eye.options.mask.covers(&path) => self.masked(here, (name, &path))?,
                Some(stat) => {
                    self.hide(item, &stat)?;
                    self.written(here, (name, &path), &stat)?
                }
                None => Some(self.shown(here, (name, &path), item)?),
            };
            entries.extend(found.map(|found| (name.clone(), found)));
        }
        for (name, stat) in written {
            let path = join(&here.visit.path, &name);
            let found = match self.eye.options.mask.covers(&path) {
                true => self.masked(here, (&name, &path))?,
                false => self.written(here, (&name, &path), &stat)?,
            };
            entries.extend(found.map(|found| (name, found)));
        }
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let found = self.finish(here, entries)?;
        self.dirs[here.visit.number] = found;
        Ok(())
    }

    /// Notes that something of the base is hidden: where it has names of hard links, their groups are others now.
    fn hide(&self, item: &Item, by: &Statx) -> std::result::Result<(), Stop> {
        let is_linked = match item {
            // A directory over a directory hides nothing by itself.
            Item::Dir(_) if is_dir(by) => false,
            Item::Dir(subtree) => subtree.totals.linked > 0,
            Item::Leaf(leaf) => leaf.group.is_some(),
        };
        self.touch_links(is_linked.then_some(()))
    }

    fn touch_links(&self, touched: Option<()>) -> std::result::Result<(), Stop> {
        match (touched, self.links) {
            (Some(()), Links::Kept) => Err(Stop::LinksTouched),
            (Some(()), Links::Looked) | (None, _) => Ok(()),
        }
    }

    /// Returns what counts for a name that is left out.
    fn masked(&mut self, here: &Here, (name, path): (&Name, &[u8])) -> Result<Option<FoundItem>> {
        let before = here.before.as_ref();
        let Some(item) = before.and_then(|node| node.get(name.as_bytes())) else {
            return Ok(None);
        };
        match item {
            // Names of hard links in it may have others elsewhere.
            Item::Dir(subtree) if subtree.totals.linked > 0 && self.links == Links::Looked => {
                let dirs = expand(self.base.nodes, subtree.id, path.to_vec())?;
                Ok(Some(FoundItem::Dir(append(&mut self.dirs, dirs))))
            }
            Item::Dir(_) | Item::Leaf(_) => Ok(Some(keep(item))),
        }
    }

    /// Returns what a name is that was written; `None` where it was removed.
    fn written(
        &mut self,
        here: &Here,
        (name, path): (&Name, &[u8]),
        stat: &Statx,
    ) -> std::result::Result<Option<FoundItem>, Stop> {
        let upper = here
            .upper
            .as_ref()
            .map_or(self.mounted.upper, |upper| upper.as_fd());
        if is_whiteout(stat) {
            return Ok(None);
        }
        let marks = Marks::of(Place {
            at: upper,
            name: name.as_bytes(),
            path,
        })?;
        let shown = here
            .lower
            .as_ref()
            .and_then(|node| node.get(name.as_bytes()));
        // One stays behind on a file whose bytes are its own by now, and means nothing there.
        let redirect = marks
            .redirect
            .as_ref()
            .filter(|_| is_dir(stat) || marks.is_metacopy);
        let lower = match redirect {
            Some(redirect) => self.redirected(here, redirect, path)?,
            None => shown.cloned(),
        };
        if is_dir(stat) {
            let lower = match (lower, marks.is_opaque) {
                (Some(Item::Dir(subtree)), false) => Some(subtree),
                _ => None,
            };
            // What is shown elsewhere, or not at all any more, was hidden here.
            if let Some(Item::Dir(hidden)) =
                shown.filter(|_| lower.is_none() || marks.redirect.is_some())
            {
                self.touch_links((hidden.totals.linked > 0).then_some(()))?;
            }
            if marks.redirect.is_some() {
                self.touch_links(lower.filter(|lower| lower.totals.linked > 0).map(|_| ()))?;
            }
            let lower = lower.map(|lower| lower.id);
            return Ok(Some(self.go_below(
                here,
                (name, path),
                (Written::Yes, lower),
            )?));
        }
        let mut leaf = self.leaf(here, (name, path))?;
        if let (true, Some(Item::Leaf(lower))) = (marks.is_metacopy, lower)
            && lower.group.is_none()
        {
            leaf.take_content(&lower);
        }
        Ok(Some(FoundItem::Leaf(leaf)))
    }

    /// Returns what a name is that the base shows.
    fn shown(
        &mut self,
        here: &Here,
        (name, path): (&Name, &[u8]),
        item: &Item,
    ) -> Result<FoundItem> {
        let moved = here.visit.lower != here.visit.before;
        match item {
            Item::Dir(subtree) => {
                let links = self.links == Links::Looked && subtree.totals.linked > 0;
                match moved || links {
                    true => self.go_below(here, (name, path), (Written::No, Some(subtree.id))),
                    false => Ok(keep(item)),
                }
            }
            Item::Leaf(lower) => {
                let link = self.links == Links::Looked && lower.group.is_some();
                if !moved && !link {
                    return Ok(keep(item));
                }
                let mut leaf = self.leaf(here, (name, path))?;
                if !link {
                    leaf.take_content(lower);
                }
                Ok(FoundItem::Leaf(leaf))
            }
        }
    }

    /// Looks at a name that is no directory's, as the mount shows it.
    fn leaf(&self, here: &Here, (name, path): (&Name, &[u8])) -> Result<FoundLeaf> {
        let place = Place {
            at: here.merged.as_fd(),
            name: name.as_bytes(),
            path,
        };
        let stat = record::stat(place.at, place.name).context("look at", place.show())?;
        let before = here
            .before
            .as_ref()
            .and_then(|node| node.get(name.as_bytes()));
        self.eye.leaf(place, &stat, before)
    }

    /// Has a directory looked at.
    fn go_below(
        &mut self,
        here: &Here,
        (name, path): (&Name, &[u8]),
        (written, lower): (Written, Option<TreeId>),
    ) -> Result<FoundItem> {
        let place = Place {
            at: here.merged.as_fd(),
            name: name.as_bytes(),
            path,
        };
        if here.visit.depth == TreePath::MAX_DEPTH {
            let why = format!("directories nest over {} deep", TreePath::MAX_DEPTH);
            return Err(Error::failed("take in", place.show(), why));
        }
        let stat = record::stat(place.at, place.name).context("look at", place.show())?;
        refuse_mount(place, &stat)?;
        let before = match here
            .before
            .as_ref()
            .and_then(|node| node.get(name.as_bytes()))
        {
            Some(Item::Dir(subtree)) => Some(subtree.id),
            Some(Item::Leaf(_)) | None => None,
        };
        let number = self.dirs.len();
        self.dirs.push(FoundDir::default());
        self.waiting.push(Visit {
            number,
            path: path.to_vec(),
            depth: here.visit.depth + 1,
            written,
            lower,
            before,
        });
        Ok(FoundItem::Dir(number))
    }

    /// Returns what a directory is, its entries known.
    fn finish(&self, here: &Here, entries: Vec<(Name, FoundItem)>) -> Result<FoundDir> {
        let is_moved = here.visit.lower != here.visit.before;
        let meta = match &here.lower {
            Some(lower) if here.visit.written == Written::No && !is_moved => lower.meta.clone(),
            _ => {
                let place = Place {
                    at: here.merged.as_fd(),
                    name: b"",
                    path: &here.visit.path,
                };
                let stat = record::stat(place.at, b"").context("look at", place.show())?;
                let before = here.before.as_ref().map(|node| &node.meta);
                self.eye.meta(place, &stat, before)?
            }
        };
        Ok(FoundDir {
            path: here.visit.path.clone(),
            meta,
            base: here.visit.before,
            print: UNKNOWN,
            entries,
        })
    }

    /// Finds what of the base an entry shows that was renamed: a path from the root, or another name in its directory.
    fn redirected(&self, here: &Here, redirect: &[u8], path: &[u8]) -> Result<Option<Item>> {
        let odd = || {
            let why = "it says that it was renamed from what the image does not have";
            let place = Place {
                at: here.merged.as_fd(),
                name: b"",
                path,
            };
            Error::failed("take in", place.show(), why)
                .hint("was its upper directory changed by hand? look there, then unpack anew")
        };
        let Some(from_root) = redirect.strip_prefix(b"/") else {
            let there = here.lower.as_ref().and_then(|node| node.get(redirect));
            return there.cloned().map(Some).ok_or_else(odd);
        };
        let from = TreePath::parse(from_root).map_err(|_| odd())?;
        let mut node = self.base.nodes.node(&self.base.root)?;
        let mut steps = from.steps().peekable();
        while let Some(step) = steps.next() {
            let Step::Child(name) = step else {
                return Err(odd());
            };
            let item = node.get(name.as_bytes()).cloned().ok_or_else(odd)?;
            match (item, steps.peek()) {
                (item, None) => return Ok(Some(item)),
                (Item::Dir(subtree), Some(_)) => node = self.base.nodes.node(&subtree.id)?,
                (Item::Leaf(_), Some(_)) => return Err(odd()),
            }
        }
        Err(odd())
    }
}

impl FoundLeaf {
    /// Takes the content that the base has: nobody wrote to it.
    fn take_content(&mut self, lower: &Leaf) {
        if let (Kind::File(content), Kind::File(theirs)) = (&mut self.leaf.kind, &lower.kind) {
            *content = *theirs;
            self.unread = None;
        }
    }
}

/// What an overlay notes at what it writes.
#[derive(Default)]
struct Marks {
    /// Nothing of what is below shows through.
    is_opaque: bool,
    /// Only metadata was written; the bytes are still those below.
    is_metacopy: bool,
    /// What is below is elsewhere.
    redirect: Option<Box<[u8]>>,
}

impl Marks {
    fn of(place: Place<'_>) -> Result<Self> {
        let xattrs = inodes::read_xattrs_at(place.at, place.name);
        let mut xattrs = xattrs.context("read the attributes of", place.show())?;
        let opaque = xattrs.get(b"trusted.overlay.opaque".as_slice());
        Ok(Self {
            is_opaque: opaque.is_some_and(|value| value.as_ref() == b"y"),
            is_metacopy: xattrs.contains_key(b"trusted.overlay.metacopy".as_slice()),
            redirect: xattrs.remove(b"trusted.overlay.redirect".as_slice()),
        })
    }
}

fn is_dir(stat: &Statx) -> bool {
    FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory
}

/// Tells whether an entry of an upper directory says that there is none.
fn is_whiteout(stat: &Statx) -> bool {
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    kind == FileType::CharacterDevice && (stat.stx_rdev_major, stat.stx_rdev_minor) == (0, 0)
}

/// Returns what was written in a directory.
fn written_in(upper: BorrowedFd<'_>, path: &[u8]) -> Result<BTreeMap<Name, Statx>> {
    let place = Place {
        at: upper,
        name: b"",
        path,
    };
    let mut written = BTreeMap::new();
    for name in names_in(place)? {
        let stat = record::stat(upper, name.as_bytes()).context("look at", place.show())?;
        written.insert(name, stat);
    }
    Ok(written)
}
