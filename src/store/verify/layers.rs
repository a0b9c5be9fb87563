//! Checks blobs against their digests and recipes against their checksums.

use std::collections::BTreeSet;
use std::io::Read as _;

use rayon::prelude::*;

use super::names::Leads;
use super::present::{Present, walk_digests};
use super::{Bench, Damage, Finding, Findings, Kind, Need, Needed};
use super::{Depth, quick};
use crate::digest::{DiffId, Digest, DigestHasher};
use crate::error::{Cause, Context, Result};
use crate::recipe::ContentRef;
use crate::store::paths;

/// How much of a file is read at a time.
pub(super) const CHUNK: usize = 256 << 10;

/// Hashes every kept blob.
pub(super) fn check_blobs(
    bench: Bench<'_>,
    leads: &Leads,
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    let walked = walk_digests(&bench.store.root().join("blobs"))?;
    result.strays.extend(walked.strays);
    let blobs: Vec<Present<Digest>> = walked.folders.into_iter().flatten().collect();
    result.checked.blobs += blobs.len() as u64;
    let hashed =
        |blob: &&Present<Digest>| bench.depth == Depth::Full || leads.documents.contains(&blob.id);
    let bytes = blobs.iter().filter(hashed).map(|blob| blob.stat.size);
    result.checked.bytes += bytes.sum::<u64>();
    let found: Vec<Option<Damage>> = blobs
        .par_iter()
        .map(|blob| match hashed(&blob) {
            true => check_blob(bench, leads, &blob.id),
            false => Ok(quick::check_blob(leads, blob)),
        })
        .collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn check_blob(bench: Bench<'_>, leads: &Leads, digest: &Digest) -> Result<Option<Damage>> {
    let finding = |kind, detail: String| {
        let finding = Finding::of_file(kind, &paths::blob(digest), detail);
        Ok(Some(finding.needed_by(leads.of_blob(digest)).into()))
    };
    match hash_blob(bench, digest) {
        Ok(seen) if seen == *digest => Ok(None),
        Ok(seen) => finding(Kind::BlobDamaged, format!("its bytes are those of {seen}")),
        Err(e) if matches!(e.cause(), Cause::Interrupted) => Err(e),
        // It is gone: where anything needs it, it is missing, which is told already.
        Err(_) if bench.store.blob_size(digest)?.is_none() => Ok(None),
        Err(e) => finding(Kind::Unreadable, e.to_string()),
    }
}

fn hash_blob(bench: Bench<'_>, digest: &Digest) -> Result<Digest> {
    let mut file = bench.store.open_blob(digest)?;
    let mut hasher = DigestHasher::new(digest.algorithm());
    let mut chunk = vec![0; CHUNK];
    loop {
        bench.watch.check()?;
        match file.read(&mut chunk).context("read the blob", digest)? {
            0 => return Ok(hasher.finish()),
            n => {
                hasher.update(&chunk[..n]);
                bench.watch.advance(n as u64);
            }
        }
    }
}

/// Reads every recipe, and looks which ones of live images are missing; returns what they need.
pub(super) fn check_recipes(
    bench: Bench<'_>,
    leads: &Leads,
    result: &mut Findings,
) -> Result<(Needed, Vec<Damage>)> {
    let walked = walk_digests(&bench.store.root().join("layers"))?;
    result.strays.extend(walked.strays);
    let mut there: BTreeSet<DiffId> = walked
        .folders
        .iter()
        .flatten()
        .map(|file| DiffId(file.id))
        .collect();
    result.checked.recipes += there.len() as u64;
    let wanted = leads.reach.diff_ids();
    let mut damages = Vec::new();
    for layer in &wanted {
        // A collector may have moved it away since its name was read, or before its folder was.
        if !there.contains(layer) && bench.store.recipe_is_anywhere(layer)? {
            there.insert(*layer);
        } else if !there.contains(layer) {
            damages.push(missing_recipe(bench, leads, layer)?);
        }
    }
    let there: Vec<DiffId> = there.into_iter().collect();
    let mut needed = Needed::new();
    // A few at a time: a layer's contents are held only until they are merged.
    for some in there.chunks(rayon::current_num_threads() * 4) {
        bench.watch.check()?;
        let read: Vec<_> = some
            .par_iter()
            .map(|layer| (layer, read_recipe(bench, leads, layer)))
            .collect();
        for (layer, outcome) in read {
            match outcome {
                Ok(contents) => {
                    let is_promised = leads.is_unclear() || wanted.contains(layer);
                    for ContentRef { id, size } in contents.unwrap_or_default() {
                        let need = needed.entry(id).or_insert(Need { size, is_promised });
                        need.is_promised |= is_promised;
                    }
                }
                Err(damage) => damages.push(*damage),
            }
        }
    }
    Ok((needed, damages))
}

/// Reads every compression recipe. What it makes is for whoever can put tars together to look at.
pub(super) fn check_streams(
    bench: Bench<'_>,
    leads: &Leads,
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    let walked = walk_digests(&bench.store.root().join("streams"))?;
    result.strays.extend(walked.strays);
    let there: Vec<Digest> = walked
        .folders
        .iter()
        .flatten()
        .map(|file| file.id)
        .collect();
    result.checked.streams += there.len() as u64;
    let read = there.par_iter().map(|blob| {
        let kind = match bench.store.stream(blob) {
            Ok(_) => return None,
            Err(e) if matches!(e.cause(), Cause::Io(_)) => (Kind::Unreadable, e),
            Err(e) => (Kind::StreamDamaged, e),
        };
        let finding = Finding::of_file(kind.0, &paths::stream(blob), kind.1.to_string());
        Some(finding.needed_by(leads.of_blob(blob)).into())
    });
    Ok(read
        .collect::<Vec<Option<Damage>>>()
        .into_iter()
        .flatten()
        .collect())
}

fn read_recipe(
    bench: Bench<'_>,
    leads: &Leads,
    layer: &DiffId,
) -> Result<Option<Vec<ContentRef>>, Box<Damage>> {
    let contents = bench
        .store
        .recipe(layer)
        .and_then(|recipe| recipe.contents());
    // What nothing needed may be gone by now.
    if contents.is_err() && matches!(bench.store.recipe_is_anywhere(layer), Ok(false)) {
        return Ok(None);
    }
    contents.map(Some).map_err(|e| {
        let kind = match e.cause() {
            Cause::Io(_) => Kind::Unreadable,
            _ => Kind::RecipeDamaged,
        };
        let finding = Finding::of_file(kind, &paths::recipe(layer), e.to_string());
        Box::new(finding.needed_by(leads.of_layer(layer)).into())
    })
}

fn missing_recipe(bench: Bench<'_>, leads: &Leads, layer: &DiffId) -> Result<Damage> {
    let mut detail = "the store does not have it".to_owned();
    for (blob, _) in leads
        .reach
        .layers
        .iter()
        .filter(|(_, diff_id)| *diff_id == layer)
    {
        if bench.store.blob_size(blob)?.is_some() {
            detail = format!("the store does not have it, but keeps the layer's blob {blob}");
        }
    }
    let finding = Finding::of_file(Kind::RecipeMissing, &paths::recipe(layer), detail);
    Ok(finding.needed_by(leads.of_layer(layer)).into())
}
