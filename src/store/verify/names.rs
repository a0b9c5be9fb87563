//! Follows every name on its own, as far as it goes: which names need which blobs, and which cannot be followed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Damage, Finding, Kind};
use crate::digest::{DiffId, Digest};
use crate::error::{Cause, Result};
use crate::store::names::Named as Entry;
use crate::store::reach::Reach;
use crate::store::{Store, paths};
use crate::wire::{Descriptor, Document, Manifest, Media};

/// What names lead to.
#[derive(Debug, Default)]
pub(super) struct Leads {
    /// What the names that can be followed lead to.
    pub(super) reach: Reach,
    /// Indexes, manifests and configs.
    pub(super) documents: BTreeSet<Digest>,
    /// How long descriptors say that blobs are.
    pub(super) sizes: BTreeMap<Digest, u64>,
    needs: BTreeMap<Digest, BTreeSet<String>>,
    broken: Vec<Broken>,
    are_unreadable: bool,
}

/// A name that cannot be followed.
#[derive(Debug)]
struct Broken {
    name: String,
    why: String,
    needs: Vec<Digest>,
}

/// Whether a descriptor's blob has to be kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// An image's layer, which its recipe stands for; a subject; what a document nobody knows points to.
    Optional,
    Required,
}

/// Follows all names.
pub(super) fn follow(store: &Store) -> Result<(Leads, Vec<Damage>)> {
    let names = match store.names() {
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
            let finding = Finding::new(Kind::NamesUnreadable, "index.json", e.to_string());
            let leads = Leads {
                are_unreadable: true,
                ..Leads::default()
            };
            return Ok((leads, vec![finding.into()]));
        }
        other => other?,
    };
    let (mut leads, mut missing, mut good) = (Leads::default(), BTreeMap::new(), Vec::new());
    for entry in names.entries() {
        match leads.follow_one(store, entry)? {
            None => good.push(entry.descriptor.clone()),
            Some(absent) => absent.into_iter().for_each(|digest| {
                missing
                    .entry(digest)
                    .or_insert_with(BTreeSet::new)
                    .insert(label(entry));
            }),
        }
    }
    let all = if leads.broken.is_empty() {
        Reach::of_all(store)
    } else {
        Reach::of(store, &good)
    };
    match all.or_else(|e| {
        // What refers to a live image cannot be followed; the images themselves can.
        leads.broken.push(Broken {
            name: "referrers".to_owned(),
            why: e.to_string(),
            needs: Vec::new(),
        });
        Reach::of(store, &good)
    }) {
        Ok(reach) => leads.reach = reach,
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {}
        Err(e) => return Err(e),
    }
    let missing = missing.into_iter().map(|(digest, names)| {
        let finding = Finding::of_file(
            Kind::BlobMissing,
            &paths::blob(&digest),
            "the store does not have it",
        );
        finding.needed_by(names.into_iter().collect()).into()
    });
    Ok((leads, missing.collect()))
}

fn label(entry: &Entry) -> String {
    match &entry.name {
        Some(name) => name.to_string(),
        None => entry.descriptor.digest.to_string(),
    }
}

impl Leads {
    /// Tells whether there may be more that names lead to than could be followed.
    pub(super) fn is_unclear(&self) -> bool {
        self.are_unreadable || !self.broken.is_empty()
    }

    /// Notes what one name needs; returns, where it cannot be followed, what of it is missing.
    fn follow_one(&mut self, store: &Store, entry: &Entry) -> Result<Option<Vec<Digest>>> {
        let needs = self.needs_of(store, &entry.descriptor);
        let name = label(entry);
        for digest in needs.keys() {
            self.needs.entry(*digest).or_default().insert(name.clone());
        }
        let Err(e) = Reach::of(store, std::slice::from_ref(&entry.descriptor)) else {
            return Ok(None);
        };
        let mut missing = Vec::new();
        for (digest, need) in &needs {
            if *need == Need::Required && store.blob_size(digest)?.is_none() {
                missing.push(*digest);
            }
        }
        let needs = needs.into_keys().collect();
        self.broken.push(Broken {
            name,
            why: e.to_string(),
            needs,
        });
        Ok(Some(missing))
    }

    /// Returns all that `root` leads to through documents that can be read.
    fn needs_of(&mut self, store: &Store, root: &Descriptor) -> BTreeMap<Digest, Need> {
        let mut needs: BTreeMap<Digest, Need> = BTreeMap::new();
        let mut waiting = vec![(root.clone(), Need::Required)];
        while let Some((descriptor, need)) = waiting.pop() {
            let known = needs.get(&descriptor.digest).copied();
            needs.insert(
                descriptor.digest,
                known.map_or(need, |before| before.max(need)),
            );
            self.sizes.insert(descriptor.digest, descriptor.size);
            if matches!(
                descriptor.media(),
                Media::Index | Media::Manifest | Media::Config
            ) {
                self.documents.insert(descriptor.digest);
            }
            if known.is_none() {
                waiting.extend(children_of(store, &descriptor));
            }
        }
        needs
    }

    /// Returns the names that cannot be followed for a reason that no damaged or missing blob gives.
    pub(super) fn unexplained(&self, damages: &[Damage]) -> Vec<Damage> {
        let reported: BTreeSet<&str> = damages.iter().map(|d| d.finding.object.as_str()).collect();
        let explained = |broken: &&Broken| {
            let known = |digest: &Digest| {
                reported.contains(paths::blob(digest).display().to_string().as_str())
            };
            broken.needs.iter().any(known)
                || damages
                    .iter()
                    .any(|d| mentions(&broken.why, &d.finding.object))
        };
        let rest = self.broken.iter().filter(|broken| !explained(broken));
        rest.map(
            |Broken {
                 name,
                 why,
                 needs: _,
             }| {
                Finding::new(Kind::NameUnreadable, name.clone(), why.clone())
                    .needed_by(vec![name.clone()])
                    .into()
            },
        )
        .collect()
    }

    /// Returns the names that need a blob.
    pub(super) fn of_blob(&self, digest: &Digest) -> Vec<String> {
        self.needs
            .get(digest)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Returns what an image is called; its digest where only what refers to another image leads to it.
    pub(super) fn of_image(&self, manifest: &Digest) -> Vec<String> {
        match self.of_blob(manifest) {
            names if names.is_empty() => vec![manifest.to_string()],
            names => names,
        }
    }

    /// Returns the names of the images that have a layer.
    pub(super) fn of_layer(&self, layer: &DiffId) -> Vec<String> {
        let having = self
            .reach
            .images
            .iter()
            .filter(|(_, docs)| docs.config.diff_ids.contains(layer));
        let names: BTreeSet<String> = having
            .flat_map(|(manifest, _)| self.of_image(manifest))
            .collect();
        names.into_iter().collect()
    }
}

/// Tells whether an error speaks of the blob in this file.
fn mentions(why: &str, file: &str) -> bool {
    file.strip_prefix("blobs/")
        .is_some_and(|rest| why.contains(&rest.replacen('/', ":", 1)) || why.contains(rest))
}

fn children_of(store: &Store, descriptor: &Descriptor) -> Vec<(Descriptor, Need)> {
    let is_leaf = matches!(descriptor.media(), Media::Config | Media::Layer(_));
    // What cannot be read or parsed is found elsewhere: here it only ends the way.
    let may_be = store.may_be_document(&descriptor.digest, descriptor.size);
    if is_leaf || !may_be.unwrap_or(false) {
        return Vec::new();
    }
    let Ok(bytes) = store.document(&descriptor.digest) else {
        return Vec::new();
    };
    match Document::parse(&bytes, &descriptor.media_type) {
        Err(_) => Vec::new(),
        Ok(Document::Index(children)) => with(Need::Required, children),
        Ok(Document::Unknown(children)) => with(Need::Optional, children),
        Ok(Document::Manifest(manifest)) => {
            let of_layers = if manifest.is_image() {
                Need::Optional
            } else {
                Need::Required
            };
            let Manifest {
                config,
                layers,
                subject,
                artifact_type: _,
            } = manifest;
            let mut children = with(Need::Required, vec![config]);
            children.extend(with(of_layers, layers));
            children.extend(with(Need::Optional, subject.into_iter().collect()));
            children
        }
    }
}

fn with(need: Need, children: Vec<Descriptor>) -> Vec<(Descriptor, Need)> {
    children.into_iter().map(|child| (child, need)).collect()
}
