//! Owns what goes out: every blob under the digest it will have, and where its bytes come from.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::rewrite::{self, Rewritten};
use super::stage::Stage;
use super::{ExportReport, Exported, Job};
use crate::compress::Compression;
use crate::convert::assemble::assemble_layer;
use crate::convert::regenerate::regenerate;
use crate::digest::{Algorithm, DiffId, Digest, DigestHasher};
use crate::error::{Context, Error, Result, quoted};
use crate::stream::StreamRecipe;
use crate::wire::{Descriptor, Media};

/// Everything that goes out.
pub(super) struct Plan {
    /// The blobs, by the digests they will have.
    pub(super) items: Vec<Item>,
    /// What `index.json` will say.
    pub(super) roots: Vec<Descriptor>,
    /// The report, as far as it is known before anything is written.
    pub(super) report: ExportReport,
}

/// One blob that goes out.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) origin: Origin,
}

/// Where a blob's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// The store keeps it.
    Kept,
    /// It is a layer's plain tar.
    Tar(DiffId),
    /// It is a layer's blob that is not kept: it is made again.
    Stream(Arc<StreamRecipe>),
    /// It was made anew, in this file.
    Made(PathBuf),
    /// It is a document that was rewritten.
    Bytes(Arc<[u8]>),
}

/// A layer made anew.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
    path: PathBuf,
}

/// A layer that has to be made anew: layers that only differ in what they were are made once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    diff_id: DiffId,
    compression: Compression,
    algorithm: Algorithm,
}

/// What happens to a layer's blob.
enum Fate {
    Same(Item),
    New(Wanted),
}

impl Plan {
    /// Plans an export. Layers that have to be made anew are made here, in `stage`: nobody knows their digests before.
    pub(super) fn make(job: &Job<'_>, stage: &Stage) -> Result<Self> {
        let mut items: BTreeMap<Digest, Item> = BTreeMap::new();
        let mut wanted: HashMap<Digest, Wanted> = HashMap::new();
        let types = media_types(job);
        for (digest, diff_id) in &job.reach.layers {
            let now = types.get(digest).copied().unwrap_or(Compression::None);
            match fate(job, digest, diff_id, now)? {
                Fate::Same(item) => drop(items.insert(*digest, item)),
                Fate::New(layer) => drop(wanted.insert(*digest, layer)),
            }
        }
        let made = make_layers(job, stage, &wanted)?;
        let made_of = |layer: &Wanted| made.iter().find(|(made, _)| made == layer);
        let layers: HashMap<Digest, Made> = wanted
            .iter()
            .filter_map(|(old, layer)| Some((*old, made_of(layer)?.1.clone())))
            .collect();
        for layer in layers.values() {
            let Made {
                digest,
                size,
                compression: _,
                path,
            } = layer.clone();
            items.insert(
                digest,
                Item {
                    digest,
                    size,
                    origin: Origin::Made(path),
                },
            );
        }
        let rewritten = rewrite::documents(job, &layers)?;
        for digest in job.reach.blobs.keys().chain(job.reach.documents.keys()) {
            match rewritten.documents.get(digest) {
                Some(document) => drop(items.insert(document.digest, document.item())),
                None => drop(items.insert(*digest, kept(job, digest)?)),
            }
        }
        let (roots, report) = outcome(job, &layers, &rewritten);
        Ok(Self {
            items: items.into_values().collect(),
            roots,
            report,
        })
    }

    /// Returns how many bytes go out.
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }
}

/// Returns how each layer blob is compressed, as the manifests say.
fn media_types(job: &Job<'_>) -> HashMap<Digest, Compression> {
    let layers = job
        .reach
        .images
        .values()
        .flat_map(|image| &image.manifest.layers);
    layers
        .filter_map(|layer| match layer.media() {
            Media::Layer(compression) => Some((layer.digest, compression)),
            Media::Index | Media::Manifest | Media::Config | Media::Other => None,
        })
        .collect()
}

fn fate(job: &Job<'_>, digest: &Digest, diff_id: &DiffId, now: Compression) -> Result<Fate> {
    let is_plain = *digest == diff_id.0;
    let compression = job.recompress.unwrap_or(now);
    let stays = compression == now || (is_plain && compression == Compression::None);
    if stays && job.reader.store().blob_size(digest)?.is_some() {
        return Ok(Fate::Same(kept(job, digest)?));
    }
    if stays && let Some(recipe) = job.reader.store().stream(digest)? {
        return Ok(Fate::Same(Item {
            digest: *digest,
            size: recipe.size,
            origin: Origin::Stream(Arc::new(recipe)),
        }));
    }
    // A plain tar is the same bytes again, whatever its media type calls it.
    if is_plain && (job.recompress.is_none() || compression == Compression::None) {
        let size = job.reader.store().recipe(diff_id)?.trailer().tar_size;
        return Ok(Fate::Same(Item {
            digest: *digest,
            size,
            origin: Origin::Tar(*diff_id),
        }));
    }
    Ok(Fate::New(Wanted {
        diff_id: *diff_id,
        compression,
        algorithm: digest.algorithm(),
    }))
}

fn kept(job: &Job<'_>, digest: &Digest) -> Result<Item> {
    let size = job.reader.store().blob_size(digest)?.ok_or_else(|| {
        Error::damaged("export", digest, "the store does not have the blob")
            .hint("import its image again")
    })?;
    Ok(Item {
        digest: *digest,
        size,
        origin: Origin::Kept,
    })
}

fn make_layers(
    job: &Job<'_>,
    stage: &Stage,
    wanted: &HashMap<Digest, Wanted>,
) -> Result<Vec<(Wanted, Made)>> {
    let store = job.reader.store();
    let mut unique: Vec<(Wanted, u64)> = Vec::new();
    for layer in wanted.values() {
        if unique.iter().all(|(other, _)| other != layer) {
            unique.push((*layer, store.recipe(&layer.diff_id)?.trailer().tar_size));
        }
    }
    if unique.is_empty() {
        return Ok(Vec::new());
    }
    job.watch.begin(
        "compressing layers",
        Some(unique.iter().map(|(_, size)| size).sum()),
    );
    // The longest goes first, so that it is not what all others end up waiting for.
    unique.sort_by_key(|(layer, size)| (std::cmp::Reverse(*size), layer.diff_id));
    let made = unique
        .into_par_iter()
        .map(|(layer, _)| Ok((layer, make_layer(job, stage, layer)?)))
        .collect::<Result<_>>()?;
    job.watch.end();
    Ok(made)
}

fn make_layer(job: &Job<'_>, stage: &Stage, layer: Wanted) -> Result<Made> {
    let Wanted {
        diff_id,
        compression,
        algorithm,
    } = layer;
    let (path, file) = stage.create("layer")?;
    let file = BufWriter::with_capacity(256 << 10, file);
    let hashing = Hashing {
        to: file,
        hasher: DigestHasher::new(algorithm),
        size: 0,
    };
    let mut packer = compression
        .writer(hashing)
        .context("write", quoted(&path))?;
    write_tar(job, &diff_id, &mut packer)?;
    let end = packer
        .finish()
        .and_then(|mut end| end.to.flush().map(|()| end));
    let Hashing {
        to: _,
        hasher,
        size,
    } = end.context("write", quoted(&path))?;
    Ok(Made {
        digest: hasher.finish(),
        size,
        compression,
        path,
    })
}

/// Writes a layer's tar, watched.
pub(super) fn write_tar(job: &Job<'_>, diff_id: &DiffId, out: &mut dyn Write) -> Result<()> {
    assemble_layer(job.reader.store(), diff_id, &mut Watched { to: out, job })
}

/// Writes a blob; what the store keeps must be what its digest says.
pub(super) fn write_item(job: &Job<'_>, item: &Item, out: &mut dyn Write) -> Result<()> {
    let mut out = Watched { to: out, job };
    match &item.origin {
        Origin::Tar(diff_id) => write_tar(job, diff_id, out.to),
        Origin::Stream(recipe) => {
            let tar = |to: &mut dyn Write| assemble_layer(job.reader.store(), &recipe.layer, to);
            regenerate(recipe, tar, &mut out, job.watch)
        }
        Origin::Bytes(bytes) => out.write_all(bytes).context("write the blob", item.digest),
        Origin::Kept => {
            let actual = copy(job.reader.store().open_blob(&item.digest)?, item, &mut out)?;
            check(item, &actual)
        }
        Origin::Made(path) => {
            let file = File::open(path).context("open", quoted(path))?;
            let actual = copy(file, item, &mut out)?;
            check(item, &actual)
        }
    }
}

/// Fails unless the bytes that went out are those that the digest names.
pub(super) fn check(item: &Item, actual: &Digest) -> Result<()> {
    if *actual == item.digest {
        return Ok(());
    }
    Err(Error::damaged(
        "export",
        item.digest,
        format!("the store's bytes are {actual}"),
    )
    .hint("import its image again from its source"))
}

/// Copies, and returns the digest of what was copied.
pub(super) fn copy(mut from: impl Read, item: &Item, to: &mut dyn Write) -> Result<Digest> {
    let mut hasher = DigestHasher::new(item.digest.algorithm());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context("read the blob", item.digest),
        };
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n])
            .context("write the blob", item.digest)?;
    }
}

/// Tells the watch of every byte, and stops where it says so.
pub(super) struct Watched<'a, 'j> {
    pub(super) to: &'a mut dyn Write,
    pub(super) job: &'a Job<'j>,
}

impl Write for Watched<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.job.watch.stop() {
            // The caller asks the watch again and says what it means.
            return Err(io::Error::other("interrupted"));
        }
        let n = self.to.write(bytes)?;
        self.job.watch.advance(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Hashing<W: Write> {
    to: W,
    hasher: DigestHasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Returns the entries for `index.json`, and what the report says of names and digests.
fn outcome(
    job: &Job<'_>,
    layers: &HashMap<Digest, Made>,
    rewritten: &Rewritten,
) -> (Vec<Descriptor>, ExportReport) {
    let mut report = ExportReport::default();
    let mut roots = Vec::with_capacity(job.images.len());
    for image in job.images {
        let root = rewritten.descriptor(&image.descriptor);
        report.images.push(Exported {
            name: image.name.clone(),
            old: image.descriptor.digest,
            new: root.digest,
        });
        roots.push(root.named(Some(&image.name)));
    }
    let layers = layers.iter().map(|(old, layer)| (*old, layer.digest));
    let documents = rewritten
        .documents
        .iter()
        .map(|(old, document)| (*old, document.digest));
    report.new_digests = layers
        .chain(documents)
        .filter(|(old, new)| old != new)
        .collect();
    report.new_digests.sort_unstable();
    (roots, report)
}
