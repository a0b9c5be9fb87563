//! Owns the numbers of `df`: what a store holds, as layers, as files and on disk, and whose it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use crate::digest::{DiffId, Digest};
use crate::error::Result;
use crate::recipe::ContentRef;
use crate::store::reach::{ImageDocs, Reach};
use crate::store::verify::present::disk_bytes;
use crate::store::{Reader, Store};
use crate::watch::Watch;

/// What a store holds for the images that have a name, or refer to one that has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Df {
    /// Images: manifests, each platform one.
    pub images: u64,
    /// Layers' blobs, each once.
    pub layers: u64,
    /// File contents that the images' layers carry, each once; empty files have none.
    pub objects: u64,
    /// The amounts.
    pub bytes: Bytes,
    /// What the store's folders take of the disk.
    pub on_disk: OnDisk,
    /// The images, sorted by their first name, then digest.
    pub per_image: Vec<ImageUse>,
}

/// Amounts of data, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Bytes {
    /// The layers' blobs as a registry has them, each once.
    pub compressed: u64,
    /// The layers' tars, each once: headers and padding count.
    pub uncompressed: u64,
    /// The contents of all files of these layers, each once.
    pub unique: u64,
    /// Those of the blobs that are kept beside their files, and that `compact` may drop: at most what it would win. Which can
    /// be made again it only knows when it has tried.
    pub kept: u64,
    /// Those of the blobs that are not kept, and made again when they are needed.
    pub regenerable: u64,
    /// What the whole store takes of the disk, its folders and what nothing names any more included, as `du` counts.
    pub disk: u64,
    /// What keeping every content once saves over keeping every layer's files: the bytes of all files in all layers,
    /// each layer once, less `unique`. Neither headers nor compression count, so this is never a saving on paper.
    pub saved: u64,
}

/// What the parts of a store take of the disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OnDisk {
    /// File contents.
    pub objects: u64,
    /// The same contents with other metadata, made for checkouts.
    pub inodes: u64,
    /// Documents and kept layers.
    pub blobs: u64,
    /// Recipes of layers.
    pub recipes: u64,
    /// The catalog, names, locks and what is under way.
    pub other: u64,
}

/// What one image needs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ImageUse {
    /// The names that lead to it, sorted; none where it is there only because it refers to another.
    pub names: Vec<String>,
    /// The digest of its manifest.
    pub digest: String,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// RFC 3339, or empty.
    pub created: String,
    /// Its layers' blobs as a registry has them.
    pub compressed: u64,
    /// What its files take.
    #[serde(flatten)]
    pub share: Share,
}

/// The contents that an image's layers carry, each once, those too that an upper layer hides: in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Share {
    /// All of them.
    #[serde(rename = "bytes")]
    pub files: u64,
    /// Those that another image needs too.
    pub shared: u64,
    /// Those that no other image needs: what untagging it and `gc` give back.
    pub exclusive: u64,
}

/// What sets of layers share with each other.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// One of each image, in the order asked for.
    pub per_image: Vec<Share>,
    /// How many contents there are, each counted once.
    pub objects: u64,
    /// Their bytes.
    pub unique: u64,
    /// The bytes of all files in all layers, each layer once.
    pub in_layers: u64,
    /// The lengths of the layers' tars, each layer once.
    pub tars: u64,
}

/// Measures the store. Fails (exit 3) where what a name leads to is damaged.
pub fn measure(reader: &Reader<'_>, watch: &dyn Watch) -> Result<Df> {
    let store = reader.store();
    let reach = Reach::of_all(store)?;
    let images: Vec<(&Digest, &ImageDocs)> = reach.images.iter().collect();
    let layers: Vec<Vec<DiffId>> = images
        .iter()
        .map(|(_, docs)| docs.config.diff_ids.clone())
        .collect();
    let shares = shares(store, &layers, watch)?;
    let names = names_of_images(store)?;
    let mut blobs: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut per_image = Vec::with_capacity(images.len());
    for ((digest, docs), share) in images.iter().zip(&shares.per_image) {
        blobs.extend(
            docs.manifest
                .layers
                .iter()
                .map(|layer| (layer.digest, layer.size)),
        );
        per_image.push(ImageUse {
            names: names.get(digest).into_iter().flatten().cloned().collect(),
            digest: digest.to_string(),
            platform: docs.config.platform.clone(),
            created: docs.config.created.clone(),
            compressed: docs.manifest.layers.iter().map(|layer| layer.size).sum(),
            share: *share,
        });
    }
    let (kept, regenerable) = kept_and_regenerable(store, &reach, &blobs)?;
    per_image.sort_by(|a, b| (a.names.first(), &a.digest).cmp(&(b.names.first(), &b.digest)));
    let (disk, on_disk) = disk_of(store)?;
    let Shares {
        per_image: _,
        objects,
        unique,
        in_layers,
        tars,
    } = shares;
    Ok(Df {
        images: images.len() as u64,
        layers: blobs.len() as u64,
        objects,
        bytes: Bytes {
            compressed: blobs.values().sum(),
            uncompressed: tars,
            unique,
            kept,
            regenerable,
            disk,
            saved: in_layers.saturating_sub(unique),
        },
        on_disk,
        per_image,
    })
}

/// Returns how much of layers' blobs may go, and how much is made again, in bytes.
fn kept_and_regenerable(
    store: &Store,
    reach: &Reach,
    blobs: &BTreeMap<Digest, u64>,
) -> Result<(u64, u64)> {
    let (mut kept, mut regenerable) = (0, 0);
    for (blob, size) in blobs {
        let is_plain = reach.layers.get(blob).is_some_and(|layer| layer.0 == *blob);
        if store.blob_size(blob)?.is_some() {
            let may_go = !is_plain && !reach.needs_blob(blob);
            kept += if may_go { *size } else { 0 };
        } else if store.has_stream(blob)? {
            regenerable += size;
        }
    }
    Ok((kept, regenerable))
}

/// Returns the names that lead to each image.
fn names_of_images(store: &Store) -> Result<BTreeMap<Digest, BTreeSet<String>>> {
    let mut found: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for entry in store.names()?.entries() {
        let Some(name) = &entry.name else { continue };
        for image in Reach::of(store, std::slice::from_ref(&entry.descriptor))?
            .images
            .into_keys()
        {
            found.entry(image).or_default().insert(name.to_string());
        }
    }
    Ok(found)
}

fn disk_of(store: &Store) -> Result<(u64, OnDisk)> {
    let of = |folder: &str| disk_bytes(&store.root().join(folder));
    let all = disk_bytes(store.root())?;
    let (objects, inodes) = (of("objects")?, of("inodes")?);
    let (blobs, recipes) = (of("blobs")?, of("layers")?);
    let other = all.saturating_sub(objects + inodes + blobs + recipes);
    Ok((
        all,
        OnDisk {
            objects,
            inodes,
            blobs,
            recipes,
            other,
        },
    ))
}

/// Computes what images share, each given by its layers; reads each layer's recipe once and no file's content.
pub fn shares(store: &Store, images: &[Vec<DiffId>], watch: &dyn Watch) -> Result<Shares> {
    let mut owners: BTreeMap<DiffId, BTreeSet<usize>> = BTreeMap::new();
    for (at, image) in images.iter().enumerate() {
        for layer in image {
            owners.entry(*layer).or_default().insert(at);
        }
    }
    let layers: Vec<&DiffId> = owners.keys().collect();
    let read = |layer: &&DiffId| watch.check().and_then(|()| Carried::of(store, layer));
    let read: Vec<Result<Carried>> = layers.par_iter().map(read).collect();
    let carried = read.into_iter().collect::<Result<Vec<Carried>>>()?;
    let mut result = Shares {
        per_image: vec![Share::default(); images.len()],
        tars: carried.iter().map(|layer| layer.tar_size).sum(),
        in_layers: carried.iter().map(|layer| layer.bytes).sum(),
        ..Shares::default()
    };
    let owners: Vec<&BTreeSet<usize>> = owners.values().collect();
    for (layers, amount) in amounts(&carried) {
        result.objects += amount.contents;
        result.unique += amount.bytes;
        let of: BTreeSet<usize> = layers
            .iter()
            .flat_map(|layer| owners[*layer].iter().copied())
            .collect();
        for image in &of {
            result.per_image[*image].add(amount.bytes, of.len());
        }
    }
    Ok(result)
}

/// What a layer carries.
struct Carried {
    tar_size: u64,
    /// The bytes of all its files.
    bytes: u64,
    /// Sorted, each once.
    contents: Vec<ContentRef>,
}

impl Carried {
    fn of(store: &Store, layer: &DiffId) -> Result<Self> {
        let recipe = store.recipe(layer)?;
        let mut contents = recipe.contents()?;
        let bytes = contents.iter().map(|content| content.size).sum();
        contents.sort_unstable_by_key(|content| content.id);
        contents.dedup_by_key(|content| content.id);
        Ok(Self {
            tar_size: recipe.trailer().tar_size,
            bytes,
            contents,
        })
    }

    /// Returns the contents that begin with a byte.
    fn beginning_with(&self, byte: u8) -> &[ContentRef] {
        let begin = self.contents.partition_point(|c| c.id.0[0] < byte);
        let rest = &self.contents[begin..];
        &rest[..rest.partition_point(|c| c.id.0[0] == byte)]
    }
}

/// How much there is of something.
#[derive(Clone, Copy, Default)]
struct Amount {
    contents: u64,
    bytes: u64,
}

/// Returns how much exactly these layers carry, by their numbers, for each set of layers that carries anything.
fn amounts(layers: &[Carried]) -> HashMap<Vec<usize>, Amount> {
    let parts: Vec<HashMap<Vec<usize>, Amount>> = (0..=u8::MAX)
        .into_par_iter()
        .map(|byte| amounts_of(byte, layers))
        .collect();
    let mut all: HashMap<Vec<usize>, Amount> = HashMap::new();
    for (layers, amount) in parts.into_iter().flatten() {
        all.entry(layers).or_default().add(amount);
    }
    all
}

/// Does the same for contents that begin with one byte.
fn amounts_of(byte: u8, layers: &[Carried]) -> HashMap<Vec<usize>, Amount> {
    let mut all: Vec<(&ContentRef, usize)> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        all.extend(layer.beginning_with(byte).iter().map(|c| (c, at)));
    }
    // Stable: the layers of one content stay in order. Sorted runs are merged.
    all.sort_by_key(|(content, _)| content.id);
    let mut amounts: HashMap<Vec<usize>, Amount> = HashMap::new();
    let mut of: Vec<usize> = Vec::new();
    for same in all.chunk_by(|(one, _), (other, _)| one.id == other.id) {
        of.clear();
        of.extend(same.iter().map(|(_, layer)| layer));
        let amount = Amount {
            contents: 1,
            bytes: same.first().map_or(0, |(content, _)| content.size),
        };
        match amounts.get_mut(of.as_slice()) {
            Some(found) => found.add(amount),
            None => drop(amounts.insert(of.clone(), amount)),
        }
    }
    amounts
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.contents += other.contents;
        self.bytes += other.bytes;
    }
}

impl Share {
    /// Counts bytes that so many images need.
    fn add(&mut self, bytes: u64, images: usize) {
        self.files += bytes;
        match images {
            1 => self.exclusive += bytes,
            _ => self.shared += bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::verify::sample::Sample;
    use crate::watch::Unwatched;

    fn df(sample: &Sample) -> Df {
        measure(&sample.store.read().unwrap(), &Unwatched).unwrap()
    }

    fn two_images() -> Sample {
        let sample = Sample::new();
        sample.image(
            "a:1",
            &[&[("base", b"12345"), ("again", b"12345")], &[("one", b"1")]],
        );
        sample.image(
            "a:2",
            &[
                &[("base", b"12345"), ("again", b"12345")],
                &[("two", b"22"), ("copy", b"12345")],
            ],
        );
        sample
    }

    #[test]
    fn every_content_counts_once_and_every_layer_once() {
        let df = df(&two_images());
        assert_eq!((df.images, df.layers, df.objects), (2, 3, 3));
        // Layers of a sample are names and bytes, stored plain.
        let tars = (4 + 5 + 5 + 5) + (3 + 1) + (3 + 2 + 4 + 5);
        assert_eq!((df.bytes.compressed, df.bytes.uncompressed), (tars, tars));
        assert_eq!(
            (df.bytes.unique, df.bytes.saved),
            (5 + 1 + 2, (10 + 1 + 7) - 8)
        );
    }

    #[test]
    fn an_image_shares_what_another_has_too() {
        let df = df(&two_images());
        let of = |at: usize| (df.per_image[at].names.join(" "), df.per_image[at].share);
        assert_eq!(
            of(0),
            (
                "a:1".to_owned(),
                Share {
                    files: 6,
                    shared: 5,
                    exclusive: 1
                }
            )
        );
        assert_eq!(
            of(1),
            (
                "a:2".to_owned(),
                Share {
                    files: 7,
                    shared: 5,
                    exclusive: 2
                }
            )
        );
    }

    #[test]
    fn a_content_in_two_layers_of_one_image_is_exclusive() {
        let sample = Sample::new();
        sample.image("a:1", &[&[("x", b"12345")], &[("y", b"12345")]]);
        assert_eq!(
            df(&sample).per_image[0].share,
            Share {
                files: 5,
                shared: 0,
                exclusive: 5
            }
        );
    }

    #[test]
    fn two_names_of_one_image_share_nothing() {
        let sample = Sample::new();
        sample.image("a:1", &[&[("x", b"12345")]]);
        sample.image("a:2", &[&[("x", b"12345")]]);
        let df = df(&sample);
        assert_eq!(
            (df.images, df.per_image[0].names.join(" ").as_str()),
            (1, "a:1 a:2")
        );
        assert_eq!(df.per_image[0].share.exclusive, 5);
    }

    #[test]
    fn the_disk_is_what_du_says() {
        let sample = two_images();
        let out = std::process::Command::new("du")
            .args(["-s", "--block-size=1"])
            .arg(sample.store.root())
            .output();
        let text = String::from_utf8(out.unwrap().stdout).unwrap();
        let du: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!(df(&sample).bytes.disk, du);
    }

    #[test]
    fn the_fields_are_those_of_the_contract() {
        let json = serde_json::to_value(df(&two_images())).unwrap();
        for field in ["images", "layers", "objects"] {
            assert!(json[field].is_u64(), "{field}");
        }
        for field in ["compressed", "uncompressed", "unique", "disk", "saved"] {
            assert!(json["bytes"][field].is_u64(), "{field}");
        }
        for field in ["bytes", "shared", "exclusive"] {
            assert!(json["per_image"][0][field].is_u64(), "{field}");
        }
    }
}
