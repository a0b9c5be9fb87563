//! Owns the commit: what a root filesystem is now becomes an image, a layer of what changed over the image it was made
//! from.
//!
//! The directory is read as a tree, that tree is compared with the base's, and the entries that lead from one to the other
//! are written as a layer. Whether it does lead there is proved before the image has a name: the layers are merged, as an
//! import does it, and have to add up to the tree that was read.

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;

use serde_json::Value;

use super::documents::{Changes, Draft, History};
use super::layer;
use crate::compress::Compression;
use crate::convert::admit::admit;
use crate::convert::compose::{Composed, compose};
use crate::digest::TreeId;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::json::strict_json;
use crate::reference::ImageName;
use crate::rootfs;
use crate::rootfs::record::Record;
use crate::rootfs::scan::{self, Mounted, Scanned, Storing};
use crate::store::{Store, Writer};
use crate::time::Time;
use crate::tree::Layered;
use crate::watch::Watch;
use crate::wire::{Descriptor, Document};

/// A root filesystem that becomes an image.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its directory.
    pub dir: BorrowedFd<'a>,
    /// What it was made from; without one it is all there is.
    pub base: Option<Base<'a>>,
    /// Where what was written is, if it is a mount of the base: nothing else is looked at.
    pub upper: Option<BorrowedFd<'a>>,
}

/// The image that a root filesystem was made from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// Its manifest.
    pub manifest: &'a Descriptor,
    /// What the catalog knows of it.
    pub image: &'a Image,
    /// How it lay there; where that is not known all of it is read.
    pub record: Option<&'a Record>,
}

/// What the layer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Extent {
    /// What changed.
    #[default]
    Changes,
    /// Everything: it takes the place of the base's layers.
    Squashed,
}

/// What the new image says of itself.
#[derive(Clone, Debug)]
pub struct Labels {
    /// When it was made.
    pub created: Time,
    /// Changes to its config and annotations.
    pub changes: Changes,
    /// The history entry of the layer. Without an author of its own it has the image's.
    pub history: Option<History>,
    /// Whether an entry is added where nothing changed.
    pub unchanged: Unchanged,
    /// The platform of an image without a base: `os/architecture[/variant]`.
    pub platform: String,
}

/// What is said of a root filesystem in which nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unchanged {
    /// Nothing.
    #[default]
    Unsaid,
    /// A history entry without a layer.
    Noted,
}

/// How to commit.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the directory is read.
    pub scan: scan::Options,
    /// What the layer holds.
    pub extent: Extent,
    /// How the layer is compressed.
    pub compression: Compression,
    /// How many threads at the most.
    pub jobs: Option<NonZeroUsize>,
}

/// What a commit made.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    /// The new image's manifest.
    pub manifest: Descriptor,
    /// The root of its tree.
    pub root: TreeId,
    /// The new layer; `None` where nothing changed.
    pub layer: Option<Composed>,
    /// How that tree lies in the directory.
    pub record: Record,
}

/// Makes an image of a root filesystem and gives it `names`, all at once.
///
/// `writer` has to be there before the base is looked up: what is found then stays. Where nothing changed and nothing is
/// said, the image is the base, and only gets the names.
pub fn commit(
    writer: &Writer<'_>,
    source: Source<'_>,
    (labels, options): (Labels, &Options),
    names: &[ImageName],
    watch: &dyn Watch,
) -> Result<Committed> {
    rootfs::in_pool(options.jobs, || {
        let commit = Commit {
            writer,
            source,
            options,
            watch,
        };
        let scanned = commit.scan()?;
        commit.conclude(scanned, labels, names)
    })
}

/// Returns the volumes of an image: what is below them belongs to whoever runs it (image-spec config.md, "Volumes").
pub fn volumes(store: &Store, image: &Image) -> Result<Vec<String>> {
    let config = store.document(&image.config)?;
    let config = strict_json(&config)
        .map_err(|e| Error::damaged("read the config", image.config, e.to_string()))?;
    let volumes = config.pointer("/config/Volumes").and_then(Value::as_object);
    Ok(volumes
        .into_iter()
        .flat_map(|volumes| volumes.keys().cloned())
        .collect())
}

struct Commit<'a> {
    writer: &'a Writer<'a>,
    source: Source<'a>,
    options: &'a Options,
    watch: &'a dyn Watch,
}

impl Commit<'_> {
    /// Reads the directory; what is new of its contents is staged.
    fn scan(&self) -> Result<Scanned> {
        let Source { dir, base, upper } = self.source;
        self.watch.begin("looking at files", None);
        let found = self.writer.store().view(|nodes| {
            let base = base.map(|base| scan::Base {
                nodes,
                root: base.image.root,
                record: base.record,
            });
            let options = &self.options.scan;
            match (upper, &base) {
                (Some(upper), Some(base)) => {
                    let mounted = Mounted { merged: dir, upper };
                    scan::look_at_mount(mounted, base, options, self.watch)
                }
                _ => scan::look(dir, base.as_ref(), options, self.watch),
            }
        });
        self.watch.end();
        let found = found?;
        self.watch.begin("taking in", Some(found.unread()));
        let scanned = found.take_in(dir, &Storing(self.writer), self.watch);
        self.watch.end();
        scanned
    }

    /// Makes the image of what was read.
    fn conclude(&self, scanned: Scanned, labels: Labels, names: &[ImageName]) -> Result<Committed> {
        let layer = self.layer(&scanned)?;
        let draft = self.draft(layer.as_ref(), labels)?;
        let documents = draft.finish()?;
        let manifest = documents.manifest_descriptor.clone();
        let image = documents.stage(self.writer, Some(scanned.root))?;
        let new: Vec<_> = layer.iter().map(|layer| layer.diff_id).collect();
        let root = admit(self.writer, image, &new, names, self.watch)?;
        Ok(Committed {
            manifest,
            root,
            layer,
            record: scanned.record,
        })
    }

    /// Writes the layer; `None` where there is nothing to say.
    fn layer(&self, scanned: &Scanned) -> Result<Option<Composed>> {
        let base = match self.options.extent {
            Extent::Changes => self.source.base.map(|base| base.image.root),
            Extent::Squashed => None,
        };
        let entries = self.writer.store().view(|under| {
            let nodes = Layered {
                over: &scanned.nodes,
                under,
            };
            layer::changes(&nodes, (base, scanned.root), self.watch)
        })?;
        if entries.is_empty() {
            return Ok(None);
        }
        let open = |id: &_| self.writer.open_object(id);
        let compression = self.options.compression;
        compose(self.writer, &entries, &open, compression, self.watch).map(Some)
    }

    fn draft(&self, layer: Option<&Composed>, labels: Labels) -> Result<Draft> {
        let Labels {
            created,
            changes,
            history,
            unchanged,
            platform,
        } = labels;
        let mut draft = match self.source.base {
            Some(base) => self.base_draft(base.manifest)?,
            None => Draft::empty(&platform)?,
        };
        let noted = unchanged == Unchanged::Noted && history.is_some();
        if layer.is_some() || noted || !changes.is_empty() {
            draft.set_created(&created);
        }
        draft.change(&changes);
        let history = history.map(|history| history.or_author(draft.author()));
        match (layer, self.options.extent) {
            (Some(layer), extent) => {
                let descriptor = Descriptor::new(layer.media_type, layer.digest, layer.size);
                match extent {
                    Extent::Changes => {
                        draft.push_layer(&descriptor, &layer.diff_id, history.as_ref());
                    }
                    Extent::Squashed => draft.squash(&descriptor, &layer.diff_id, history.as_ref()),
                }
            }
            (None, _) => {
                if let Some(history) = history.filter(|_| noted || !changes.is_empty()) {
                    draft.push_history(&history);
                }
            }
        }
        Ok(draft)
    }

    fn base_draft(&self, manifest: &Descriptor) -> Result<Draft> {
        let store = self.writer.store();
        let bytes = store.document(&manifest.digest)?;
        match Document::parse(&bytes, &manifest.media_type) {
            Ok(Document::Manifest(parsed)) => {
                let config = store.document(&parsed.config.digest)?;
                Draft::of(manifest, &bytes, &config)
            }
            _ => Err(Error::damaged("read", manifest.digest, "it is no manifest")),
        }
    }
}
