//! `images`: lists what has a name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::Images;
use super::output::{self, Output};
use super::session::Session;
use crate::df::{self, Share};
use crate::digest::{DiffId, Digest};
use crate::error::Result;
use crate::store::Store;
use crate::store::reach::Reach;
use crate::wire::{Descriptor, Document};

/// One line of the list.
struct Line {
    name: String,
    digest: Digest,
    media_type: String,
    platform: String,
    created: String,
    /// Bytes of documents and layers, as imported.
    size: u64,
    files: u64,
    share: Share,
}

pub(super) fn run(session: &Session, args: &Images) -> Result<()> {
    let store = session.open()?;
    let reader = store.read()?;
    let names = store.names()?;
    let mut lines = Vec::new();
    let mut layers: Vec<Vec<DiffId>> = Vec::new();
    let mut images: Vec<Vec<Digest>> = Vec::new();
    for entry in names.entries() {
        let name = entry
            .name
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        let reach = Reach::of(&store, std::slice::from_ref(&entry.descriptor))?;
        layers.push(reach.diff_ids().into_iter().collect());
        images.push(reach.images.keys().copied().collect());
        lines.push(line(name, &entry.descriptor, &reach));
    }
    for (line, files) in lines.iter_mut().zip(files(reader.store(), &images)?) {
        line.files = files;
    }
    let shares = df::shares(&store, &layers, session.watch())?;
    for (line, share) in lines.iter_mut().zip(shares.per_image) {
        line.share = share;
    }
    Output {
        text: text(&lines, args),
        json: json!({"images": lines.iter().map(line_json).collect::<Vec<_>>()}),
        quiet: lines.iter().map(|line| line.name.clone()).collect(),
    }
    .print(session)
}

fn line(name: String, descriptor: &Descriptor, reach: &Reach) -> Line {
    let documents = reach
        .documents
        .values()
        .map(|(descriptor, _)| descriptor.size);
    let kept = reach.blobs.values().map(|blob| blob.size);
    let layers = reach
        .documents
        .values()
        .flat_map(|(_, document)| layer_sizes(document, reach));
    let layers: BTreeMap<Digest, u64> = layers.collect();
    let mut images = reach.images.values();
    let (platform, created) = match (images.next(), images.next()) {
        (Some(only), None) => (only.config.platform.clone(), only.config.created.clone()),
        (Some(_), Some(_)) => (format!("{} platforms", reach.images.len()), String::new()),
        (None, _) => ("artifact".to_owned(), String::new()),
    };
    Line {
        name,
        digest: descriptor.digest,
        media_type: descriptor.media_type.clone(),
        platform,
        created,
        size: documents.chain(kept).chain(layers.into_values()).sum(),
        files: 0,
        share: Share::default(),
    }
}

/// Counts the regular files of the images that each name leads to.
fn files(store: &Store, names: &[Vec<Digest>]) -> Result<Vec<u64>> {
    store.view(|view| {
        let of_name = |images: &Vec<Digest>| {
            let mut files = 0;
            for manifest in images {
                if let Some(image) = view.image(manifest)? {
                    files += view.node(&image.root)?.totals().files;
                }
            }
            Ok(files)
        };
        names.iter().map(of_name).collect()
    })
}

fn layer_sizes(document: &Document, reach: &Reach) -> Vec<(Digest, u64)> {
    let descriptors = document.descriptors().into_iter();
    let layers = descriptors.filter(|d| reach.layers.contains_key(&d.digest));
    layers.map(|layer| (layer.digest, layer.size)).collect()
}

fn text(lines: &[Line], args: &Images) -> String {
    let head = [
        "NAME",
        "DIGEST",
        "PLATFORM",
        "CREATED",
        "SIZE",
        "FILES",
        "SHARED",
        "ONLY HERE",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for line in lines {
        let Line {
            name,
            digest,
            media_type: _,
            platform,
            created,
            size,
            files,
            share,
        } = line;
        rows.push(vec![
            name.clone(),
            if args.digests {
                digest.to_string()
            } else {
                digest.short()
            },
            platform.clone(),
            created.get(..10).unwrap_or("-").to_owned(),
            output::bytes(*size),
            files.to_string(),
            output::bytes(share.shared),
            output::bytes(share.exclusive),
        ]);
    }
    output::table(&rows, &[4, 5, 6, 7])
}

fn line_json(line: &Line) -> Value {
    let Line {
        name,
        digest,
        media_type,
        platform,
        created,
        size,
        files,
        share,
    } = line;
    json!({
        "name": name,
        "digest": digest.to_string(),
        "mediaType": media_type,
        "platform": platform,
        "created": created,
        "size": size,
        "files": files,
        "shared_bytes": share.shared,
        "exclusive_bytes": share.exclusive,
    })
}
