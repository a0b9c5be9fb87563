//! Hashes objects and inodes, and compares their metadata with what they were given.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::layers::CHUNK;
use super::present::{Present, walk_digests, walk_fanned};
use super::{Bench, Damage, Depth, Finding, Findings, Kind, Need, Needed, Whose};
use crate::digest::{ContentHasher, ContentId, InodeId};
use crate::error::{Cause, Result};
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
    let walked = walk_fanned(
        &bench.store.root().join("objects"),
        ContentId::from_hex,
        |files| {
            let expected: Vec<Option<u64>> = {
                let mut needed = needed.lock().unwrap_or_else(PoisonError::into_inner);
                // What is left in the end is missing.
                files
                    .iter()
                    .map(|file| needed.remove(&file.id).map(|need| need.size))
                    .collect()
            };
            let (givens, mut damages) = givens_of(bench.store, &files)?;
            let all = files.par_iter().zip(expected).zip(givens);
            let found: Vec<Option<Damage>> = all
                .map(|((file, size), given)| check_object(bench, file, size, given.as_ref()))
                .collect::<Result<_>>()?;
            damages.extend(found.into_iter().flatten());
            Ok((
                damages,
                files.len() as u64,
                files.iter().map(|file| file.stat.size).sum::<u64>(),
            ))
        },
    )?;
    result.strays.extend(walked.strays);
    let mut damages = Vec::new();
    for (found, count, bytes) in walked.folders {
        damages.extend(found);
        result.checked.objects += count;
        if bench.depth == Depth::Full {
            result.checked.bytes += bytes;
        }
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

/// Reads what these objects were given, in a short transaction of its own: others may need the catalog meanwhile.
fn givens_of(
    store: &Store,
    files: &[Present<ContentId>],
) -> Result<(Vec<Option<Given>>, Vec<Damage>)> {
    let none = || files.iter().map(|_| None).collect();
    if !store.root().join("catalog.redb").exists() {
        return Ok((none(), Vec::new()));
    }
    let mut damages = Vec::new();
    let givens = store.view(|view| {
        let read = |file: &Present<ContentId>| match view.given(&file.id) {
            Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
                damages.push(
                    Finding::new(Kind::CatalogDisagrees, "catalog.redb", e.to_string()).into(),
                );
                Ok(None)
            }
            other => other,
        };
        files.iter().map(read).collect()
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

fn check_object(
    bench: Bench<'_>,
    file: &Present<ContentId>,
    size: Option<u64>,
    given: Option<&Given>,
) -> Result<Option<Damage>> {
    let found = |kind, detail: String| Ok(Some(object(&file.id, kind, detail)));
    let seen = file.stat.size;
    if let Some(size) = size
        .or(given.map(|given| given.stat.size))
        .filter(|size| seen < *size)
    {
        bench.watch.advance(seen);
        return found(
            Kind::Truncated,
            format!("it has {seen} bytes, expected {size}"),
        );
    }
    let changes = given
        .map(|given| changes(&file.stat, &given.stat))
        .unwrap_or_default();
    if bench.depth == Depth::Quick {
        return match (size.filter(|size| seen != *size), changes.is_empty()) {
            (_, false) => found(Kind::Changed, through_a_link(&changes)),
            (Some(size), true) => found(
                Kind::Changed,
                format!("it has {seen} bytes, expected {size}"),
            ),
            (None, true) => Ok(None),
        };
    }
    let (id, xattrs) = match read(bench, &paths::object(&file.id), seen)? {
        Ok(read) => read,
        Err(e) => return found(Kind::Unreadable, e.to_string()),
    };
    if id != file.id {
        let mut detail = format!("its bytes are those of {id}");
        if !changes.is_empty() {
            detail = format!("{detail}; {}", through_a_link(&changes));
        }
        return found(Kind::Flipped, detail);
    }
    if !changes.is_empty() {
        return found(Kind::Changed, through_a_link(&changes));
    }
    match given {
        Some(given) if !is_inode(&given.inode, &id, &given.stat, &xattrs) => found(
            Kind::Changed,
            "its extended attributes are not those it was given".to_owned(),
        ),
        _ => Ok(None),
    }
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
    let walked = walk_fanned(
        &bench.store.root().join("inodes"),
        InodeId::from_hex,
        |files| {
            let found: Vec<Option<Damage>> = files
                .par_iter()
                .map(|file| check_inode(bench, file))
                .collect::<Result<_>>()?;
            let bytes = files.iter().map(|file| file.stat.size).sum::<u64>();
            Ok((found, files.len() as u64, bytes))
        },
    )?;
    result.strays.extend(walked.strays);
    let mut damages = Vec::new();
    for (found, count, bytes) in walked.folders {
        damages.extend(found.into_iter().flatten());
        result.checked.inodes += count;
        result.checked.bytes += bytes;
    }
    Ok(damages)
}

fn check_inode(bench: Bench<'_>, file: &Present<InodeId>) -> Result<Option<Damage>> {
    let below = paths::inode(&file.id);
    let whose = Whose::Inode(file.id, (file.stat.uid, file.stat.gid));
    let found = |kind, detail: String| {
        Ok(Some(Damage {
            finding: Finding::of_file(kind, &below, detail),
            whose,
        }))
    };
    match read(bench, &below, file.stat.size)? {
        Err(e) => found(Kind::Unreadable, e.to_string()),
        Ok((id, xattrs))
            if is_kin(&file.id, &id, &file.stat, &xattrs) || is_clamped(&file.stat) =>
        {
            Ok(None)
        }
        Ok((id, _)) => {
            let detail =
                format!("its bytes, those of {id}, or its metadata are not what its name says");
            found(Kind::Flipped, detail)
        }
    }
}

/// Tells whether a file system that cannot hold every time may have shown another than it was given.
fn is_clamped(stat: &Stat) -> bool {
    !(i64::from(i32::MIN) + 1..i64::from(i32::MAX)).contains(&stat.mtime.secs)
}

/// Returns the hash and the attributes of a file below the store; the inner error is the system's.
///
/// `size` only says how much memory reading it is worth.
fn read(bench: Bench<'_>, below: &Path, size: u64) -> Result<io::Result<(ContentId, Xattrs)>> {
    // A collector may have moved it away since its folder was read.
    let open = |place: &Path| File::open(bench.store.root().join(place));
    let mut file = match bench.store.wherever(below, open)? {
        Ok(file) => file,
        Err(e) => return Ok(Err(e)),
    };
    let mut hasher = ContentHasher::default();
    // One byte more than the file, so that its end shows in the second read; most files are small.
    let len = usize::try_from(size.saturating_add(1))
        .unwrap_or(CHUNK)
        .min(CHUNK);
    let mut chunk = vec![0; len];
    loop {
        bench.watch.check()?;
        match file.read(&mut chunk) {
            Ok(0) => return Ok(read_xattrs(&file).map(|xattrs| (hasher.finish(), xattrs))),
            Ok(n) => {
                hasher.update(&chunk[..n]);
                bench.watch.advance(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Ok(Err(e)),
        }
    }
}
