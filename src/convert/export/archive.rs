//! Owns exports to an archive: a layout as one tar, the same bytes for the same images.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::plan::{self, Plan};
use super::stage::Stage;
use super::{ExportReport, Job, index};
use crate::convert::archive_writer::ArchiveWriter;
use crate::error::{Context, Error, Result, quoted};
use crate::store::durable;
use crate::wire;

/// Exports to the archive at `path`, replacing what is there.
pub(super) fn export(job: &Job<'_>, path: &Path) -> Result<ExportReport> {
    let stage = Stage::new(&folder_of(path)?)?;
    let plan = Plan::make(job, &stage)?;
    job.watch.begin("writing the archive", Some(plan.bytes()));
    replace(&stage, path, |to| write(job, &plan, to))?;
    let mut report = plan.report;
    report.blobs_written = plan.items.len() as u64;
    report.bytes_written = plan.items.iter().map(|item| item.size).sum();
    Ok(report)
}

/// Returns the folder of a file to write, which must not be anything but a file.
pub(super) fn folder_of(path: &Path) -> Result<PathBuf> {
    // What is not there or cannot be looked at will show.
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::usage(
            "export to",
            quoted(path),
            "it is not a regular file",
        ));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    match fs::metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => Ok(folder),
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(e).context("look at the folder", quoted(&folder))
        }
        _ => Err(Error::missing(
            "export to",
            quoted(path),
            "there is no such folder",
        )),
    }
}

/// Writes a file and puts it in place of the one at `path`, durably.
pub(super) fn replace(
    stage: &Stage,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let (staged, file) = stage.create("archive")?;
    let mut to = BufWriter::with_capacity(256 << 10, file);
    write(&mut to)?;
    to.flush().context("write", quoted(path))?;
    durable::sync_file(to.get_ref(), &staged)?;
    durable::rename(&staged, path)?;
    durable::sync_parent(path)
}

fn write(job: &Job<'_>, plan: &Plan, to: &mut dyn Write) -> Result<()> {
    let mut archive = ArchiveWriter::new(to);
    archive.folder("blobs/")?;
    let mut folders = BTreeSet::new();
    for item in &plan.items {
        let folder = format!("blobs/{}/", item.digest.algorithm().name());
        let name = format!("{folder}{}", item.digest.hex());
        if folders.insert(folder.clone()) {
            archive.folder(&folder)?;
        }
        archive.file(&name, item.size, |to| plan::write_item(job, item, to))?;
    }
    for (name, bytes) in [
        ("index.json", index::fresh(&plan.roots)),
        ("oci-layout", wire::LAYOUT_FILE.to_vec()),
    ] {
        let size = bytes.len() as u64;
        archive.file(name, size, |to| {
            to.write_all(&bytes).context("write the archive", name)
        })?;
    }
    archive.finish()?;
    Ok(())
}
