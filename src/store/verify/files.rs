//! Hashes objects and inodes, and compares their metadata with what they were given.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::layers::CHUNK;
use super::present::{Present, stat_of, walk_digests, walk_fanned, walk_names};
use super::{Bench, Damage, Depth, Finding, Findings, Kind, Need, Needed, Whose};
use crate::digest::{ContentHasher, ContentId, InodeId};
use crate::error::{Cause, Context as _, Result, quoted};
use crate::meta::Xattrs;
use crate::store::inodes::{Given, Stat, is_inode, is_kin, read_xattrs};
use crate::store::{Store, paths};

/// Returns how many bytes a check reads, about: objects are those that recipes know of.
pub(super) fn bytes_to_hash(store: &Store, needed: &Needed) -> Result<u64> {
    fn sum<I>(files: &[Present<I>]) -> u64 {
        files.iter().map(|file| file.stat.size).sum()
    }
    let root = store.root();
    let inodes = walk_fanned(&root.join("inodes"), InodeId::from_hex, |files| {
        Ok(sum(&files))
    })?;
    let blobs = walk_digests(&root.join("blobs"))?;
    let fanned =
        needed.values().map(|need| need.size).sum::<u64>() + inodes.folders.iter().sum::<u64>();
    Ok(fanned + blobs.folders.iter().map(|files| sum(files)).sum::<u64>())
}

/// Hashes every object and compares it with what recipes need and what it was given.
pub(super) fn check_objects(
    bench: Bench<'_>,
    needed: Needed,
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    let needed = Mutex::new(needed);
    let folder = bench.store.root().join("objects");
    let walked = match bench.depth {
        Depth::Full => walk_names(&folder, ContentId::from_hex, |path, mut ids| {
            ids.sort_unstable();
            let folder = open_folder(path)?;
            let read = |id: &ContentId| Opened::of(bench, &folder, &paths::object(id));
            check_folder(bench, (&ids, &needed), |at, expected| {
                Ok(match read(&ids[at])? {
                    Ok(file) => check_object(bench, &ids[at], file, expected)?,
                    Err(e) => (Some(object(&ids[at], Kind::Unreadable, e.to_string())), 0),
                })
            })
        })?,
        Depth::Quick => walk_fanned(&folder, ContentId::from_hex, |files| {
            let ids: Vec<ContentId> = files.iter().map(|file| file.id).collect();
            check_folder(bench, (&ids, &needed), |at, expected| {
                Ok((quick_check(bench, &files[at], expected)?, 0))
            })
        })?,
    };
    result.strays.extend(walked.strays);
    let mut damages = Vec::new();
    for (found, count, bytes) in walked.folders {
        damages.extend(found);
        result.checked.objects += count;
        result.checked.bytes += bytes;
    }
    let needed = needed.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (id, Need { size, .. }) in needed.into_iter().filter(|(_, need)| need.is_promised) {
        // An import may have put it in place since its folder was read.
        if !bench.store.has_object(&id)? {
            let detail = format!("the store does not have it; expected {size} bytes");
            damages.push(object(&id, Kind::Missing, detail));
        }
    }
    Ok(damages)
}

/// What an object should be, as far as that is known.
struct Expected {
    size: Option<u64>,
    given: Option<Given>,
}

impl Expected {
    /// Says that a file of so many bytes is too short, where it is.
    fn shorter(&self, id: &ContentId, seen: u64) -> Option<Damage> {
        let size = self.size.or(self.given.map(|given| given.stat.size));
        let size = size.filter(|size| seen < *size)?;
        let detail = format!("it has {seen} bytes, expected {size}");
        Some(object(id, Kind::Truncated, detail))
    }

    fn changes(&self, seen: &Stat) -> String {
        let given = self.given.as_ref();
        given.map_or_else(String::new, |given| changes(seen, &given.stat))
    }
}

/// Calls `each` for every object of a folder; returns what it found, how many there are and how many bytes were read.
fn check_folder(
    bench: Bench<'_>,
    (ids, needed): (&[ContentId], &Mutex<Needed>),
    each: impl Fn(usize, &Expected) -> Result<(Option<Damage>, u64)> + Sync,
) -> Result<(Vec<Damage>, u64, u64)> {
    let sizes: Vec<Option<u64>> = {
        let mut needed = needed.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left in the end is missing.
        ids.iter()
            .map(|id| needed.remove(id).map(|need| need.size))
            .collect()
    };
    let (givens, mut damages) = givens_of(bench.store, ids)?;
    let expected = sizes.into_par_iter().zip(givens).enumerate();
    let found: Vec<(Option<Damage>, u64)> = expected
        .map(|(at, (size, given))| each(at, &Expected { size, given }))
        .collect::<Result<_>>()?;
    let bytes = found.iter().map(|(_, bytes)| bytes).sum();
    damages.extend(found.into_iter().filter_map(|(damage, _)| damage));
    Ok((damages, ids.len() as u64, bytes))
}

/// Reads what these objects were given, in a short transaction of its own: others may need the catalog meanwhile.
fn givens_of(store: &Store, ids: &[ContentId]) -> Result<(Vec<Option<Given>>, Vec<Damage>)> {
    let none = || ids.iter().map(|_| None).collect();
    if !store.root().join("catalog.redb").exists() {
        return Ok((none(), Vec::new()));
    }
    let mut damages = Vec::new();
    let givens = store.view(|view| {
        let read = |id: &ContentId| match view.given(id) {
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
                damages.push(
                    Finding::new(Kind::CatalogDisagrees, "catalog.redb", e.to_string()).into(),
                );
                Ok(None)
            }
            other => other,
        };
        ids.iter().map(read).collect()
    });
    match givens {
        Ok(givens) => Ok((givens, damages)),
        // That the catalog cannot be read at all is found when its trees are checked.
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok((none(), Vec::new())),
        Err(e) => Err(e),
    }
}

fn object(id: &ContentId, kind: Kind, detail: impl Into<String>) -> Damage {
    Damage {
        finding: Finding::of_file(kind, &paths::object(id), detail),
        whose: Whose::Content(*id),
    }
}

/// Looks at an object without reading it.
fn quick_check(
    bench: Bench<'_>,
    file: &Present<ContentId>,
    expected: &Expected,
) -> Result<Option<Damage>> {
    let seen = file.stat.size;
    if let Some(damage) = expected.shorter(&file.id, seen) {
        return Ok(Some(damage));
    }
    let changes = expected.changes(&file.stat);
    if !changes.is_empty() {
        return changed(bench, &file.id, through_a_link(&changes));
    }
    let longer = expected.size.filter(|size| seen != *size);
    Ok(longer.map(|size| {
        let detail = format!("it has {seen} bytes, expected {size}");
        object(&file.id, Kind::Changed, detail)
    }))
}

/// Says that an object is not as it was given, where it still is so: since file and record were looked at one after the
/// other, a collector may have taken both, and an import have put the content in place with a record of its own.
fn changed(bench: Bench<'_>, id: &ContentId, detail: String) -> Result<Option<Damage>> {
    let store = bench.store;
    let differs = store.view(|view| match view.given(id)? {
        Some(given) => Ok(!store.object_fits(id, &given)?),
        None => Ok(false),
    })?;
    Ok(differs.then(|| object(id, Kind::Changed, detail)))
}

/// Reads an object; returns how long it is, too.
fn check_object(
    bench: Bench<'_>,
    id: &ContentId,
    file: Opened,
    expected: &Expected,
) -> Result<(Option<Damage>, u64)> {
    let (stat, seen) = (file.stat, file.stat.size);
    let found = |kind, detail: String| Ok((Some(object(id, kind, detail)), seen));
    if let Some(damage) = expected.shorter(id, seen) {
        bench.watch.advance(seen);
        return Ok((Some(damage), seen));
    }
    let changes = expected.changes(&stat);
    let (bytes, xattrs) = match file.read(bench)? {
        Ok(read) => read,
        Err(e) => return found(Kind::Unreadable, e.to_string()),
    };
    if bytes != *id {
        let mut detail = format!("its bytes are those of {bytes}");
        if !changes.is_empty() {
            detail = format!("{detail}; {}", through_a_link(&changes));
        }
        return found(Kind::Flipped, detail);
    }
    if !changes.is_empty() {
        return Ok((changed(bench, id, through_a_link(&changes))?, seen));
    }
    let given = expected.given.as_ref();
    let differs = |given: &Given| !is_inode(&given.inode, id, &given.stat, &xattrs);
    if given.is_some_and(differs) {
        let detail = "its extended attributes are not those it was given".to_owned();
        return Ok((changed(bench, id, detail)?, seen));
    }
    Ok((None, seen))
}

pub(super) fn through_a_link(changes: &str) -> String {
    format!("{changes}: changed through a link of a checkout")
}

/// Says what differs from what was given, value by value; empty where nothing does.
pub(super) fn changes(seen: &Stat, given: &Stat) -> String {
    let say = |what: &&str| match *what {
        "size" => format!("{} bytes, expected {}", seen.size, given.size),
        "mode" => format!("mode {:04o}, expected {:04o}", seen.mode, given.mode),
        "owner" => format!(
            "owner {}:{}, expected {}:{}",
            seen.uid, seen.gid, given.uid, given.gid
        ),
        "mtime" => format!(
            "mtime {}.{:09}, expected {}.{:09}",
            seen.mtime.secs, seen.mtime.nanos, given.mtime.secs, given.mtime.nanos
        ),
        other => format!("another {other}"),
    };
    seen.differences(given)
        .iter()
        .map(say)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Hashes every inode that was made for a checkout: its name says both its bytes and its metadata.
pub(super) fn check_inodes(bench: Bench<'_>, result: &mut Findings) -> Result<Vec<Damage>> {
    let folder = bench.store.root().join("inodes");
    let walked = walk_names(&folder, InodeId::from_hex, |path, ids| {
        let folder = open_folder(path)?;
        let found: Vec<(Option<Damage>, u64)> = ids
            .par_iter()
            .map(|id| check_inode(bench, &folder, id))
            .collect::<Result<_>>()?;
        Ok(found)
    })?;
    result.strays.extend(walked.strays);
    let mut damages = Vec::new();
    for (damage, bytes) in walked.folders.into_iter().flatten() {
        damages.extend(damage);
        result.checked.inodes += 1;
        result.checked.bytes += bytes;
    }
    Ok(damages)
}

fn check_inode(bench: Bench<'_>, folder: &OwnedFd, id: &InodeId) -> Result<(Option<Damage>, u64)> {
    let below = paths::inode(id);
    let found = |kind, detail: String, whose| {
        let finding = Finding::of_file(kind, &below, detail);
        Some(Damage { finding, whose })
    };
    let file = match Opened::of(bench, folder, &below)? {
        Ok(file) => file,
        Err(e) => {
            let seen = bench.store.stat_inode(id)?;
            let owner = seen.map_or((0, 0), |seen| (seen.stx_uid, seen.stx_gid));
            let whose = Whose::Inode(*id, owner);
            return Ok((found(Kind::Unreadable, e.to_string(), whose), 0));
        }
    };
    let stat = file.stat;
    let whose = Whose::Inode(*id, (stat.uid, stat.gid));
    let damage = match file.read(bench)? {
        Err(e) => found(Kind::Unreadable, e.to_string(), whose),
        Ok((bytes, xattrs)) if is_kin(id, &bytes, &stat, &xattrs) || is_clamped(&stat) => None,
        Ok((bytes, _)) => {
            let detail =
                format!("its bytes, those of {bytes}, or its metadata are not what its name says");
            found(Kind::Flipped, detail, whose)
        }
    };
    Ok((damage, stat.size))
}

/// Tells whether a file system that cannot hold every time may have shown another than it was given.
fn is_clamped(stat: &Stat) -> bool {
    !(i64::from(i32::MIN) + 1..i64::from(i32::MAX)).contains(&stat.mtime.secs)
}

/// Opens one of the store's folders, for the files in it: their paths need not be walked again then.
fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context("open the folder", quoted(path))
}

/// A file of the store, open.
struct Opened {
    file: File,
    stat: Stat,
}

impl Opened {
    /// Opens a file of an open folder, `below` the store; the inner error is the system's.
    fn of(bench: Bench<'_>, folder: &OwnedFd, below: &Path) -> Result<io::Result<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let name = below.file_name().unwrap_or_default();
        let opened = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            // A collector may have moved it away since its folder was read.
            Err(Errno::NOENT) => bench
                .store
                .wherever(below, |place| File::open(bench.store.root().join(place)))?,
            other => other.map(File::from).map_err(io::Error::from),
        };
        Ok(opened.and_then(|file| {
            let stat = stat_of(&file.metadata()?);
            Ok(Self { file, stat })
        }))
    }

    /// Returns its hash and attributes; the inner error is the system's.
    fn read(mut self, bench: Bench<'_>) -> Result<io::Result<(ContentId, Xattrs)>> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(CHUNK, 0);
            let (mut hasher, mut len) = (ContentHasher::default(), 0);
            loop {
                bench.watch.check()?;
                match self.file.read(buffer) {
                    Ok(n) => {
                        hasher.update(&buffer[..n]);
                        bench.watch.advance(n as u64);
                        len += n as u64;
                        // Most files are small: one that ends where it should is not asked again.
                        if n == 0 || n < CHUNK && len == self.stat.size {
                            let xattrs = read_xattrs(&self.file);
                            return Ok(xattrs.map(|xattrs| (hasher.finish(), xattrs)));
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Ok(Err(e)),
                }
            }
        })
    }
}

thread_local! {
    /// What files are read into.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
