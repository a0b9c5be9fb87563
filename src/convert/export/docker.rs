//! Owns exports to an archive as `docker save` writes it: configs, plain layers, and the list of both.
//! It has no place for manifests, so their digests are not kept; configs and `diff_ids` are.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::plan::{self, Item, Origin};
use super::stage::Stage;
use super::{Export, ExportReport, Exported, Job, archive};
use crate::compress::Compression;
use crate::convert::archive_writer::ArchiveWriter;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::reference::ImageName;
use crate::store::reach::ImageDocs;
use crate::wire::Document;

/// Exports to the archive at `path`, replacing what is there.
pub(super) fn export(job: &Job<'_>, path: &Path) -> Result<ExportReport> {
    if job
        .recompress
        .is_some_and(|compression| compression != Compression::None)
    {
        return Err(Error::usage(
            "export to",
            "a Docker archive",
            "its layers are always plain",
        ));
    }
    let (members, list) = members(job)?;
    let bytes = members.values().map(|item| item.size).sum();
    let stage = Stage::new(&archive::folder_of(path)?)?;
    job.watch.begin("writing the archive", Some(bytes));
    archive::replace(&stage, path, |to| write(job, &members, &list, to))?;
    let images = job.images.iter().map(|image| Exported {
        name: image.name.clone(),
        old: image.descriptor.digest,
        new: image.descriptor.digest,
    });
    Ok(ExportReport {
        images: images.collect(),
        blobs_written: members.len() as u64,
        bytes_written: bytes,
        ..ExportReport::default()
    })
}

/// Returns the members by name, and the list that goes with them.
fn members(job: &Job<'_>) -> Result<(BTreeMap<String, Item>, Vec<u8>)> {
    let store = job.reader.store();
    let mut members = BTreeMap::new();
    // Images by config, in the order asked for: names of one image go into one entry.
    let mut entries: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
    for export in job.images {
        let image = the_image(job, export)?;
        let config = image.manifest.config.digest;
        let config_name = format!("{}.json", config.hex());
        let size = store.blob_size(&config)?.unwrap_or_default();
        let item = Item {
            digest: config,
            size,
            origin: Origin::Kept,
        };
        members.insert(config_name.clone(), item);
        let mut layers = Vec::new();
        for diff_id in &image.config.diff_ids {
            let name = format!("{}.tar", diff_id.0.hex());
            let size = store.recipe(diff_id)?.trailer().tar_size;
            let item = Item {
                digest: diff_id.0,
                size,
                origin: Origin::Tar(*diff_id),
            };
            members.insert(name.clone(), item);
            layers.push(name);
        }
        let tag = ImageName::parse(&export.name)
            .ok()
            .filter(|name| name.tag().is_some());
        let tag = tag.map(|name| name.to_string());
        match entries
            .iter_mut()
            .find(|(config, ..)| *config == config_name)
        {
            Some((_, tags, _)) => tags.extend(tag),
            None => entries.push((config_name, tag.into_iter().collect(), layers)),
        }
    }
    let list = entries.into_iter().map(|(config, tags, layers)| {
        let mut entry = Map::new();
        entry.insert("Config".to_owned(), config.into());
        entry.insert("RepoTags".to_owned(), tags.into());
        entry.insert("Layers".to_owned(), layers.into());
        Value::Object(entry)
    });
    let list = Value::Array(list.collect()).to_string().into_bytes();
    Ok((members, list))
}

/// Returns the one image that is meant: itself, or the only one of its index.
fn the_image<'a>(job: &'a Job<'_>, export: &Export) -> Result<&'a ImageDocs> {
    let found = images_below(job, export.descriptor.digest);
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::usage(
            "export",
            &export.name,
            "a Docker archive holds images only",
        )),
        many => {
            let list: Vec<String> = many
                .iter()
                .map(|image| format!("{} {}", image.config.platform, image.descriptor.digest))
                .collect();
            let why = format!(
                "a Docker archive holds one platform, it has {}",
                list.join(", ")
            );
            Err(Error::usage("export", &export.name, why).hint("name one by its digest"))
        }
    }
}

/// Returns the images below a document, each once, in order.
fn images_below<'a>(job: &'a Job<'_>, root: Digest) -> Vec<&'a ImageDocs> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting = vec![root];
    while let Some(digest) = waiting.pop() {
        if !seen.insert(digest) {
            continue;
        }
        if let Some(image) = job.reach.images.get(&digest) {
            found.push(image);
        } else if let Some((_, Document::Index(children))) = job.reach.documents.get(&digest) {
            waiting.extend(children.iter().rev().map(|child| child.digest));
        }
    }
    found
}

fn write(
    job: &Job<'_>,
    members: &BTreeMap<String, Item>,
    list: &[u8],
    to: &mut dyn Write,
) -> Result<()> {
    let mut archive = ArchiveWriter::new(to);
    for (name, item) in members {
        archive.file(name, item.size, |to| plan::write_item(job, item, to))?;
    }
    let size = list.len() as u64;
    archive.file("manifest.json", size, |to| {
        to.write_all(list).context("write", "manifest.json")
    })?;
    archive.finish()?;
    Ok(())
}
