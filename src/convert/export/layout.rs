//! Owns exports to an image layout: new or existing, beside other writers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::plan::{self, Item, Origin, Plan, Watched};
use super::stage::{PREFIX, Stage};
use super::{ExportReport, Job, index};
use crate::error::{Context, Error, Result, quoted};
use crate::store::{Store, durable};
use crate::wire;

/// From this size on a blob is copied by the system, and synced while it is checked.
const LARGE: u64 = 1 << 20;

/// How much the system copies at a time.
const STRIDE: u64 = 16 << 20;

/// Exports to the layout at `folder`.
pub(super) fn export(job: &Job<'_>, folder: &Path) -> Result<ExportReport> {
    let _folder = prepare(folder, job.reader.store())?;
    let stage = Stage::new(folder)?;
    let plan = Plan::make(job, &stage)?;
    job.watch.begin("writing blobs", Some(plan.bytes()));
    let staged: Vec<Option<PathBuf>> = plan
        .items
        .par_iter()
        .map(|item| stage_item(job, folder, &stage, item))
        .collect::<Result<_>>()?;
    job.watch.check()?;
    // Blobs that were there already too: who wrote them may not have waited for the disk.
    stage.sync()?;
    place(folder, &plan.items, &staged)?;
    mark(folder, &stage)?;
    index::merge(folder, &stage, &plan.roots)?;
    let mut report = plan.report;
    for (item, staged) in plan.items.iter().zip(&staged) {
        if staged.is_some() {
            report.blobs_written += 1;
            report.bytes_written += item.size;
        } else {
            report.blobs_present += 1;
        }
    }
    Ok(report)
}

/// A folder that was made for this export, and goes again where nothing comes into it.
#[derive(Debug)]
struct NewFolder<'a>(&'a Path);

impl Drop for NewFolder<'_> {
    fn drop(&mut self) {
        // Only an empty folder can be removed like this.
        fs::remove_dir(self.0).ok();
    }
}

/// Checks that `folder` is a layout or may become one; makes it where it is missing.
fn prepare<'a>(folder: &'a Path, store: &Store) -> Result<Option<NewFolder<'a>>> {
    let metadata = match fs::metadata(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).context("create the folder", quoted(folder))?;
            return Ok(Some(NewFolder(folder)));
        }
        other => other.context("export to", quoted(folder))?,
    };
    if !metadata.is_dir() {
        return Err(
            Error::usage("export to", quoted(folder), "it is not a folder")
                .hint("archives are oci-archive:FILE"),
        );
    }
    let own = fs::metadata(store.root()).context("look at", quoted(store.root()))?;
    if (own.dev(), own.ino()) == (metadata.dev(), metadata.ino()) {
        return Err(
            Error::usage("export to", quoted(folder), "it is the store itself")
                .hint("names are given with `ocistore tag`"),
        );
    }
    // In this order, because another export may be making a layout of the folder right now.
    let empty = is_empty(folder)?;
    match index::read(&folder.join("oci-layout"))? {
        Some(bytes) => wire::check_layout_file(&bytes).map_err(|e| {
            Error::malformed("export to", quoted(folder), format!("oci-layout: {e}"))
        })?,
        None if empty => {}
        None => {
            let why = "the folder holds other files and is no image layout";
            return Err(Error::missing("export to", quoted(folder), why).hint("name a new folder"));
        }
    }
    Ok(None)
}

/// Tells whether a folder holds nothing, or nothing but what an export on its way brings.
fn is_empty(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder).context("read the folder", quoted(folder))? {
        let name = entry
            .context("read the folder", quoted(folder))?
            .file_name();
        if name != "blobs" && !name.to_string_lossy().starts_with(PREFIX) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn blob_path(folder: &Path, item: &Item) -> PathBuf {
    folder.join(format!(
        "blobs/{}/{}",
        item.digest.algorithm().name(),
        item.digest.hex()
    ))
}

/// Stages a blob; returns `None` where the layout has it already, and whole.
fn stage_item(job: &Job<'_>, folder: &Path, stage: &Stage, item: &Item) -> Result<Option<PathBuf>> {
    if is_present(job, folder, item)? {
        return Ok(None);
    }
    if let Origin::Made(path) = &item.origin {
        job.watch.advance(item.size);
        return Ok(Some(path.clone()));
    }
    let (path, mut file) = stage.create("blob")?;
    if !handed_over(job, item, &file, &path)? {
        plan::write_item(job, item, &mut file)?;
        file.flush().context("write", quoted(&path))?;
    }
    Ok(Some(path))
}

/// Tells whether the layout has the blob: its name alone proves nothing.
fn is_present(job: &Job<'_>, folder: &Path, item: &Item) -> Result<bool> {
    // What cannot be read there is replaced.
    let Ok(file) = durable::open_regular(&blob_path(folder, item)) else {
        return Ok(false);
    };
    if !file
        .metadata()
        .is_ok_and(|metadata| metadata.len() == item.size)
    {
        return Ok(false);
    }
    let digest = plan::copy(
        file,
        item,
        &mut Watched {
            to: &mut io::sink(),
            job,
        },
    )?;
    Ok(digest == item.digest)
}

/// Has the system share or copy a kept blob, where it can; what arrived is read back and checked.
fn handed_over(job: &Job<'_>, item: &Item, file: &File, path: &Path) -> Result<bool> {
    if !matches!(item.origin, Origin::Kept) {
        return Ok(false);
    }
    let source = job.reader.store().open_blob(&item.digest)?;
    let check = || {
        let there = File::open(path).context("open", quoted(path))?;
        let to = &mut io::sink();
        let digest = plan::copy(there, item, &mut Watched { to, job })?;
        plan::check(item, &digest)
    };
    if rustix::fs::ioctl_ficlone(file, &source).is_ok() {
        return check().map(|()| true);
    }
    if item.size < LARGE || !copied(job, &source, file, item.size)? {
        return Ok(false);
    }
    // The disk takes it in while it is hashed.
    let (synced, checked) = rayon::join(|| durable::sync_file(file, path), check);
    checked.and(synced).map(|()| true)
}

/// Copies within the system, as far as it can; `to` is empty again where it cannot.
///
/// Whatever it refuses, reading and writing either does or names the reason for.
fn copied(job: &Job<'_>, from: &File, to: &File, size: u64) -> Result<bool> {
    let mut at = 0;
    while at < size {
        job.watch.check()?;
        let (mut read_at, mut write_at) = (at, at);
        let most = usize::try_from((size - at).min(STRIDE)).unwrap_or(usize::MAX);
        let (from_at, to_at) = (Some(&mut read_at), Some(&mut write_at));
        match rustix::fs::copy_file_range(from, from_at, to, to_at, most) {
            Ok(0) | Err(_) => {
                to.set_len(0).context("write", "a blob")?;
                return Ok(false);
            }
            Ok(copied) => at += copied as u64,
        }
    }
    Ok(true)
}

/// Puts staged blobs under their names, durably.
fn place(folder: &Path, items: &[Item], staged: &[Option<PathBuf>]) -> Result<()> {
    let mut folders = BTreeSet::from([folder.join("blobs")]);
    for item in items {
        folders.extend(blob_path(folder, item).parent().map(Path::to_owned));
    }
    for blobs in &folders {
        fs::create_dir_all(blobs).context("create the folder", quoted(blobs))?;
    }
    for (item, staged) in items.iter().zip(staged) {
        if let Some(staged) = staged {
            durable::rename(staged, &blob_path(folder, item))?;
        }
    }
    folders
        .iter()
        .rev()
        .try_for_each(|blobs| durable::sync_folder(blobs))?;
    durable::sync_folder(folder)
}

/// Marks the folder as a layout, unless it is one.
fn mark(folder: &Path, stage: &Stage) -> Result<()> {
    let path = folder.join("oci-layout");
    if path.exists() {
        return Ok(());
    }
    let (staged, mut file) = stage.create("oci-layout")?;
    file.write_all(wire::LAYOUT_FILE)
        .context("write", quoted(&staged))?;
    durable::sync_file(&file, &staged)?;
    durable::rename_new(&staged, &path)?;
    durable::sync_folder(folder)
}
