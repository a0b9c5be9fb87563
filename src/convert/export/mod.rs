//! Owns giving images back: every blob byte for byte where that can be, made anew and said so where it cannot.
//!
//! A plan says what goes out; `layout`, `archive` and `docker` put it where it goes, all of it before any name.

mod archive;
mod docker;
mod index;
mod layout;
mod plan;
mod rewrite;
mod stage;

use std::collections::HashMap;
use std::path::Path;

use crate::compress::Compression;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Place;
use crate::store::Reader;
use crate::store::reach::Reach;
use crate::watch::Watch;
use crate::wire::Descriptor;

/// An image to give back.
#[derive(Clone, PartialEq, Debug)]
pub struct Export {
    /// What it is: an image, an index, an artifact.
    pub descriptor: Descriptor,
    /// What it is called there.
    pub name: String,
}

/// How to give back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Makes layers anew that are compressed otherwise.
    pub recompress: Option<Compression>,
    /// How many threads work; 0 for as many as there are cores.
    pub jobs: usize,
}

/// What was given back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportReport {
    /// The images, in the order asked for.
    pub images: Vec<Exported>,
    /// Blobs written.
    pub blobs_written: u64,
    /// Blobs that were there already, checked.
    pub blobs_present: u64,
    /// The bytes of the blobs written.
    pub bytes_written: u64,
    /// Layers, manifests and indexes whose digest is another one now: the old one and the new one.
    pub new_digests: Vec<(Digest, Digest)>,
}

/// An image that was given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// What it is called there.
    pub name: String,
    /// Its digest in the store.
    pub old: Digest,
    /// Its digest there; the same unless layers were made anew.
    pub new: Digest,
}

/// What all steps of one export share.
struct Job<'a> {
    reader: &'a Reader<'a>,
    images: &'a [Export],
    reach: &'a Reach,
    recompress: Option<Compression>,
    watch: &'a dyn Watch,
}

/// Gives `images` back to `destination`: nothing is named there before all of it is there, durably.
pub fn export(
    reader: &Reader<'_>,
    images: &[Export],
    destination: &Place,
    options: &Options,
    watch: &dyn Watch,
) -> Result<ExportReport> {
    check_names(images)?;
    let roots: Vec<Descriptor> = images.iter().map(|i| i.descriptor.clone()).collect();
    let reach = Reach::of(reader.store(), &roots)?;
    let job = Job {
        reader,
        images,
        reach: &reach,
        recompress: options.recompress,
        watch,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs)
        .build()
        .map_err(|e| Error::failed("start", "threads", e.to_string()))?;
    let outcome = pool.install(|| to_place(&job, destination));
    watch.end();
    // What a wish to stop broke off is no error of its own.
    outcome.map_err(|e| watch.check().err().unwrap_or(e))
}

fn to_place(job: &Job<'_>, destination: &Place) -> Result<ExportReport> {
    match destination {
        Place::Layout(folder, _) => layout::export(job, folder),
        Place::OciArchive(file, _) => archive::export(job, file),
        Place::DockerArchive(file, _) => docker::export(job, file),
        Place::Path(path, _) if path.is_file() => Err(Error::usage(
            "export to",
            crate::error::quoted(path),
            "a file is there already",
        )
        .hint("oci-archive:FILE replaces one")),
        Place::Path(path, _) if is_archive_name(path) && !path.exists() => {
            archive::export(job, path)
        }
        Place::Path(path, _) => layout::export(job, path),
        Place::Stream => Err(
            Error::usage("export to", "standard output", "it is no destination")
                .hint("name one: oci:DIR, oci-archive:FILE or docker-archive:FILE"),
        ),
    }
}

fn is_archive_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

/// Two images of one name in one place: one of them could not be found there.
fn check_names(images: &[Export]) -> Result<()> {
    let mut seen: HashMap<&str, &Digest> = HashMap::new();
    for image in images {
        let digest = &image.descriptor.digest;
        if let Some(other) = seen.insert(&image.name, digest)
            && other != digest
        {
            let why = format!("both {other} and {digest} would be called so there");
            return Err(Error::usage("export", format!("'{}'", image.name), why)
                .hint("--full-names keeps them apart"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
