//! Checks a store: re-hashes every file, compares metadata with what was given, and the catalog with the files.
//!
//! Damage is a finding, never an error and never mended here: all of it is named, with the images and paths that
//! need it. Computing trees anew from recipes is left to whoever can read tars: see [`Findings::note_root`].

mod blame;
mod files;
mod index;
mod layers;
mod names;
pub(crate) mod present;
mod quick;
#[cfg(test)]
pub(crate) mod sample;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::names::Leads;
use super::{Reader, Store, paths};
use crate::digest::{ContentId, Digest, InodeId, TreeId};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::watch::Watch;

/// What a check of the whole store found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Findings {
    /// What was looked at.
    pub checked: Checked,
    /// All that is wrong, sorted by kind and object; empty where nothing is.
    pub findings: Vec<Finding>,
    /// Files in the store's folders that are not named as the store names files. They do no harm.
    pub strays: Vec<PathBuf>,
}

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Documents and recipes are read, everything else is only looked at: length, mode, owner, time.
    Quick,
    /// Every file is hashed.
    Full,
}

/// How much was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Checked {
    /// Objects hashed, or looked at.
    pub objects: u64,
    /// Inodes hashed, or looked at.
    pub inodes: u64,
    /// Blobs hashed, or looked at, documents among them.
    pub blobs: u64,
    /// Recipes read against their checksums.
    pub recipes: u64,
    /// Compression recipes read against their checksums.
    pub streams: u64,
    /// Tree nodes hashed.
    pub nodes: u64,
    /// Bytes of the files hashed.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What is wrong with it.
    pub kind: Kind,
    /// The file, below the store; or the name of an image.
    pub object: String,
    /// What was seen and what was expected.
    pub detail: String,
    /// The images that need it, by their names, by digest where they have none.
    pub images: Vec<String>,
    /// Where those images have it: the first few paths.
    pub paths: Vec<String>,
    /// In how many places of those images it is.
    pub path_count: u64,
}

/// The kinds of damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `index.json` cannot be read.
    NamesUnreadable,
    /// What a name leads to cannot be followed, though every blob on the way is as it was.
    NameUnreadable,
    /// A blob that has to be kept is not there.
    BlobMissing,
    /// A blob's bytes are not what its digest names.
    BlobDamaged,
    /// A layer of an image has no recipe.
    RecipeMissing,
    /// A recipe's bytes are not what its checksum says.
    RecipeDamaged,
    /// A compression recipe's bytes are not what its checksum says, or it does not make its blob.
    StreamDamaged,
    /// An object that a layer needs is not there.
    Missing,
    /// An object is shorter than its content.
    Truncated,
    /// The bytes of an object or inode are not what its name says.
    Flipped,
    /// Mode, owner, time or attributes are not those given: somebody wrote through a checkout's link.
    Changed,
    /// The system refuses to read the file.
    Unreadable,
    /// The catalog does not say what the files say. Removing it makes the next command build it anew.
    CatalogDisagrees,
}

impl Findings {
    /// Tells whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Notes that a blob which is not kept cannot be made again. Making it is left to whoever can read tars.
    pub fn note_stream(&mut self, blob: &Digest, names: Vec<String>, why: &str) {
        let finding = Finding::of_file(Kind::StreamDamaged, &paths::stream(blob), why);
        self.findings.push(finding.needed_by(names));
        self.sort();
    }

    /// Notes the root that an image's layers give when its tree is computed anew, where the catalog has another.
    pub fn note_root(&mut self, image: &Image, names: &[String], recomputed: &TreeId) {
        if image.root == *recomputed {
            return;
        }
        let detail = format!(
            "{} has the tree {}, its layers give {recomputed}",
            image.manifest, image.root
        );
        let mut finding = Finding::new(Kind::CatalogDisagrees, "catalog.redb", detail);
        finding.images = names.to_vec();
        self.findings.push(finding);
        self.sort();
    }

    fn sort(&mut self) {
        self.findings
            .sort_by(|a, b| (a.kind, &a.object, &a.detail).cmp(&(b.kind, &b.object, &b.detail)));
        self.strays.sort();
    }
}

impl Finding {
    fn new(kind: Kind, object: impl Into<String>, detail: impl Into<String>) -> Self {
        let (object, detail) = (object.into(), detail.into());
        Self {
            kind,
            object,
            detail,
            images: Vec::new(),
            paths: Vec::new(),
            path_count: 0,
        }
    }

    fn of_file(kind: Kind, below: &Path, detail: impl Into<String>) -> Self {
        Self::new(kind, below.display().to_string(), detail)
    }

    fn needed_by(mut self, images: Vec<String>) -> Self {
        self.images = images;
        self
    }
}

/// A finding, and what leads from it to images and paths.
#[derive(Debug)]
struct Damage {
    finding: Finding,
    whose: Whose,
}

/// What to look for in images' layers and trees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    /// The images are named already, or none can be.
    Known,
    /// Those whose layers carry this content.
    Content(ContentId),
    /// Those whose trees have a file that this inode, of this user and group, would be made for.
    Inode(InodeId, (u32, u32)),
}

impl From<Finding> for Damage {
    fn from(finding: Finding) -> Self {
        Self {
            finding,
            whose: Whose::Known,
        }
    }
}

/// The contents that recipes need.
type Needed = HashMap<ContentId, Need>;

/// How recipes need a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Need {
    size: u64,
    /// Whether a name leads to it. One that no name leads to may be on its way in or out, or stay behind where both a
    /// `gc` and the import that it went beside were stopped: who imports the layer again looks for it.
    is_promised: bool,
}

/// What every check needs.
#[derive(Clone, Copy)]
struct Bench<'a> {
    store: &'a Store,
    watch: &'a dyn Watch,
    depth: Depth,
}

/// Checks all that the store holds, on `jobs` threads.
///
/// Fails only where it could not go on looking; damage is what it returns.
pub fn verify(
    reader: &Reader<'_>,
    depth: Depth,
    watch: &dyn Watch,
    jobs: NonZeroUsize,
) -> Result<Findings> {
    verify_beside((reader, depth), watch, jobs, || ()).map(|(findings, ())| findings)
}

/// Checks all that the store holds, and does other work on the same threads meanwhile.
pub(crate) fn verify_beside<T: Send>(
    (reader, depth): (&Reader<'_>, Depth),
    watch: &dyn Watch,
    jobs: NonZeroUsize,
    work: impl FnOnce() -> T + Send,
) -> Result<(Findings, T)> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs.get())
        .build();
    let pool = pool.map_err(|e| Error::failed("start", "the threads", e.to_string()))?;
    let store = reader.store();
    let bench = Bench {
        store,
        watch,
        depth,
    };
    let (findings, done) = pool.install(|| rayon::join(|| check_all(bench), work));
    Ok((findings?, done))
}

fn check_all(bench: Bench<'_>) -> Result<Findings> {
    let mut result = Findings::default();
    let (leads, mut damages) = names::follow(bench.store)?;
    let (needed, damaged_recipes) = layers::check_recipes(bench, &leads, &mut result)?;
    damages.extend(layers::check_streams(bench, &leads, &mut result)?);
    let total = match bench.depth {
        Depth::Full => Some(files::bytes_to_hash(bench.store, &needed)?),
        Depth::Quick => None,
    };
    bench.watch.begin("checking", total);
    let is_whole = damaged_recipes.is_empty();
    damages.extend(damaged_recipes);
    let checked = check_bytes(bench, &leads, (needed, is_whole), &mut result);
    bench.watch.end();
    damages.extend(checked?);
    let unexplained = leads.unexplained(&damages);
    damages.extend(unexplained);
    blame::find_images(bench, &leads, &mut damages)?;
    result.findings = damages.into_iter().map(|damage| damage.finding).collect();
    result.sort();
    Ok(result)
}

/// Checks all that is named by a hash of its bytes, as far as the check goes, and the catalog. `needed` is what recipes
/// need; the flag tells whether all could be read.
fn check_bytes(
    bench: Bench<'_>,
    leads: &Leads,
    (needed, is_whole): (Needed, bool),
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    let mut blobs = Findings::default();
    // A large blob keeps one thread busy: the others go on with what is small.
    let (of_blobs, of_files) = rayon::join(
        || layers::check_blobs(bench, leads, &mut blobs),
        || -> Result<Vec<Damage>> {
            let mut damages = index::check(bench, leads, is_whole.then_some(&needed), result)?;
            damages.extend(files::check_objects(bench, needed, result)?);
            damages.extend(match bench.depth {
                Depth::Full => files::check_inodes(bench, result)?,
                Depth::Quick => quick::check_inodes(bench, leads, result)?,
            });
            Ok(damages)
        },
    );
    let mut damages = of_blobs?;
    damages.extend(of_files?);
    result.strays.extend(blobs.strays);
    result.checked.blobs += blobs.checked.blobs;
    result.checked.bytes += blobs.checked.bytes;
    Ok(damages)
}

/// Returns the digests that files below `folder/ALGORITHM/` are named by; other names are no one's.
pub(super) fn digests_in(folder: &Path) -> Result<Vec<Digest>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found: Vec<Digest> = present::walk_digests(folder)?
        .folders
        .into_iter()
        .flatten()
        .map(|file| file.id)
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
