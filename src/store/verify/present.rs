//! Owns walking a store's folders: which files are there, and what the system says of each.
//! Reads no file and follows no link; what is no file of ours is named as a stray, and left alone.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::{Algorithm, Digest};
use crate::error::{Context, Result, quoted};
use crate::meta::{Meta, Mtime};
use crate::store::inodes::Stat;

/// A file of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<I> {
    /// What it is named by.
    pub(crate) id: I,
    /// What the system shows of it.
    pub(crate) stat: Stat,
    /// How many names it has, those in checkouts too.
    pub(crate) links: u64,
}

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walked<T> {
    /// What was made of each folder, in their order.
    pub(crate) folders: Vec<T>,
    /// What is not named as a file of this folder is, in order.
    pub(crate) strays: Vec<PathBuf>,
}

/// Walks `objects/` or `inodes/` in parallel: calls `each` with the files of one folder at a time, sorted.
pub(crate) fn walk_fanned<I, T>(
    folder: &Path,
    parse: fn(&str) -> Option<I>,
    each: impl Fn(Vec<Present<I>>) -> Result<T> + Sync,
) -> Result<Walked<T>>
where
    I: Ord + Copy + Send,
    T: Send,
{
    walk_fans(folder, |fan, path| {
        let (files, strays) = files_in(path, |rest| parse(&format!("{fan}{rest}")))?;
        Ok((each(files)?, strays))
    })
}

/// Walks `objects/` or `inodes/` in parallel, too, but looks at no file: calls `each` with the path of a folder and the
/// names in it.
pub(crate) fn walk_names<I, T>(
    folder: &Path,
    parse: fn(&str) -> Option<I>,
    each: impl Fn(&Path, Vec<I>) -> Result<T> + Sync,
) -> Result<Walked<T>>
where
    T: Send,
{
    walk_fans(folder, |fan, path| {
        let (mut ids, mut strays) = (Vec::new(), Vec::new());
        let mut name = fan.to_owned();
        let context = || quoted(path);
        for entry in fs::read_dir(path).context("read the folder", context())? {
            let entry = entry.context("read the folder", context())?;
            let kind = entry.file_type().context("read the folder", context())?;
            let rest = entry.file_name();
            name.truncate(fan.len());
            name.push_str(rest.to_str().unwrap_or_default());
            match parse(&name).filter(|_| kind.is_file()) {
                Some(id) => ids.push(id),
                None => strays.push(path.join(rest)),
            }
        }
        Ok((each(path, ids)?, strays))
    })
}

/// Calls `each` with the two digits and the path of every folder, in parallel; it returns strays, too.
fn walk_fans<T: Send>(
    folder: &Path,
    each: impl Fn(&str, &Path) -> Result<(T, Vec<PathBuf>)> + Sync,
) -> Result<Walked<T>> {
    let mut strays = Vec::new();
    let mut fans = Vec::new();
    for (name, kind, _) in list(folder)? {
        let fan = name.to_str().filter(|n| n.len() == 2 && kind.is_dir());
        match fan {
            Some(fan) => fans.push(fan.to_owned()),
            None => strays.push(folder.join(name)),
        }
    }
    fans.sort();
    let walked: Vec<(T, Vec<PathBuf>)> = fans
        .par_iter()
        .map(|fan| each(fan, &folder.join(fan)))
        .collect::<Result<_>>()?;
    let (folders, more): (Vec<T>, Vec<Vec<PathBuf>>) = walked.into_iter().unzip();
    strays.extend(more.into_iter().flatten());
    strays.sort();
    Ok(Walked { folders, strays })
}

/// Walks `blobs/` or `layers/`: one folder an algorithm.
pub(crate) fn walk_digests(folder: &Path) -> Result<Walked<Vec<Present<Digest>>>> {
    let mut walked = Walked {
        folders: Vec::new(),
        strays: Vec::new(),
    };
    for (name, kind, _) in list(folder)? {
        let path = folder.join(&name);
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|a| name == a.name() && kind.is_dir());
        let Some(algorithm) = algorithm else {
            walked.strays.push(path);
            continue;
        };
        let parse = |hex: &str| Digest::parse(&format!("{}:{hex}", algorithm.name())).ok();
        let (files, strays) = files_in(&path, parse)?;
        walked.folders.push(files);
        walked.strays.extend(strays);
    }
    walked
        .folders
        .sort_by_key(|files| files.first().map(|file| file.id));
    walked.strays.sort();
    Ok(walked)
}

/// Returns what all of `folder` takes of the disk in bytes, the folders themselves too, as `du` counts.
///
/// What has more than one name is counted here once: the store gives no file two names of its own.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64> {
    let own = match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.context("look at", quoted(folder))?,
    };
    let below = match own.is_dir().then(|| list(folder)) {
        // It went away meanwhile.
        Some(Err(e)) if e.is_not_found() => Vec::new(),
        Some(list) => list?,
        None => Vec::new(),
    };
    let below: Vec<u64> = below
        .par_iter()
        .map(|(name, kind, entry)| {
            if kind.is_dir() {
                return disk_bytes(&folder.join(name));
            }
            Ok(metadata(entry)?.map_or(0, |m| m.blocks() * 512))
        })
        .collect::<Result<_>>()?;
    Ok(own.blocks() * 512 + below.iter().sum::<u64>())
}

/// Returns the regular files of `folder` whose names `parse` knows, sorted, and the paths of all else.
fn files_in<I: Ord + Copy>(
    folder: &Path,
    parse: impl Fn(&str) -> Option<I>,
) -> Result<(Vec<Present<I>>, Vec<PathBuf>)> {
    let (mut files, mut strays) = (Vec::new(), Vec::new());
    for (name, kind, entry) in list(folder)? {
        let Some(id) = name.to_str().filter(|_| kind.is_file()).and_then(&parse) else {
            strays.push(folder.join(name));
            continue;
        };
        let Some(seen) = metadata(&entry)? else {
            continue;
        };
        files.push(Present {
            id,
            stat: stat_of(&seen),
            links: seen.nlink(),
        });
    }
    files.sort_by_key(|file| file.id);
    Ok((files, strays))
}

fn list(folder: &Path) -> Result<Vec<(std::ffi::OsString, FileType, DirEntry)>> {
    let context = || quoted(folder);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).context("read the folder", context())? {
        let entry = entry.context("read the folder", context())?;
        let kind = entry.file_type().context("read the folder", context())?;
        entries.push((entry.file_name(), kind, entry));
    }
    Ok(entries)
}

/// Returns what the system says of an entry itself, or `None` where it went away meanwhile.
fn metadata(entry: &DirEntry) -> Result<Option<fs::Metadata>> {
    match entry.metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context("look at", quoted(&entry.path())),
    }
}

/// Returns what a change leaves traces in.
pub(crate) fn stat_of(seen: &fs::Metadata) -> Stat {
    Stat {
        size: seen.size(),
        // The mask leaves 12 bits, which fit.
        mode: u16::try_from(seen.mode() & u32::from(Meta::MODE_BITS)).unwrap_or(Meta::MODE_BITS),
        uid: seen.uid(),
        gid: seen.gid(),
        mtime: Mtime {
            secs: seen.mtime(),
            nanos: u32::try_from(seen.mtime_nsec()).unwrap_or(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentId;

    #[test]
    fn what_is_no_object_is_a_stray() {
        let dir = tempfile::tempdir().unwrap();
        let id = ContentId::of(b"x").hex();
        let fan = dir.path().join(&id[..2]);
        fs::create_dir(&fan).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", fan.join("f".repeat(62))).unwrap();
        fs::create_dir(fan.join("e".repeat(62))).unwrap();
        fs::create_dir(dir.path().join("more")).unwrap();
        crate::store::durable::create_new(&fan.join(&id[2..])).unwrap();
        let walked = walk_fanned(dir.path(), ContentId::from_hex, Ok).unwrap();
        assert_eq!(
            walked
                .folders
                .iter()
                .flatten()
                .map(|f| f.id.hex())
                .collect::<Vec<_>>(),
            [id]
        );
        assert_eq!(walked.strays.len(), 3);
    }
}
