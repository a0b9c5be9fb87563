//! Blobs of odd shapes taken apart and made again, and dropping blobs beside who comes to need them.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use super::drop::drop_blobs;
use super::frame::{Frames, frames};
use super::prove::{Proof, Proved};
use super::{Act, Candidate, Options, Scope, compact};
use crate::compress::Compression;
use crate::convert::regenerate::regenerate;
use crate::digest::{DiffId, Digest};
use crate::encoders::{Method, own};
use crate::error::Result;
use crate::store::verify::sample::{Sample, descriptor};
use crate::stream::{Body, Part, StreamRecipe};
use crate::watch::{ActsOnce, Unwatched};
use crate::wire::{self, Descriptor};

const OWN: Method = Method::Own(own::Settings::Gzip);

/// A gzip member with a name, as our own encoder makes its stream.
fn member(plain: &[u8]) -> Part {
    let mut head = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff];
    head.extend(b"name\0");
    let mut sum = flate2_sum(plain).to_le_bytes().to_vec();
    sum.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
    Part {
        head,
        body: Some(Body {
            plain: plain.len() as u64,
            method: OWN,
        }),
        tail: sum,
    }
}

/// The checksum of a gzip member, taken from one.
fn flate2_sum(plain: &[u8]) -> u32 {
    let mut gzip = Compression::Gzip.writer(Vec::new()).unwrap();
    gzip.write_all(plain).unwrap();
    let bytes = gzip.finish().unwrap();
    let at = bytes.len() - 8;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Puts members together.
fn blob_of(members: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for plain in members {
        let part = member(plain);
        blob.extend(&part.head);
        OWN.engine().run(plain, &mut blob).unwrap();
        blob.extend(&part.tail);
    }
    blob
}

fn recipe_of(members: &[&[u8]]) -> (Vec<u8>, StreamRecipe) {
    let blob = blob_of(members);
    let recipe = StreamRecipe {
        blob: Digest::sha256(&blob),
        size: blob.len() as u64,
        layer: DiffId(Digest::sha256(&members.concat())),
        parts: members.iter().map(|plain| member(plain)).collect(),
    };
    (blob, recipe)
}

/// Makes a blob out of a tar that comes in pieces.
fn remake(recipe: &StreamRecipe, tar: &[u8], piece: usize) -> Result<Vec<u8>> {
    let mut made = Vec::new();
    let assemble = |to: &mut dyn std::io::Write| {
        for piece in tar.chunks(piece) {
            // Whoever takes no more has said why.
            if to.write_all(piece).is_err() {
                break;
            }
        }
        Ok(())
    };
    regenerate(recipe, assemble, &mut made, &Unwatched)?;
    Ok(made)
}

fn text(len: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|n: u64| format!("line {}\n", n * n % 9973).into_bytes());
    lines.take(len).collect()
}

#[test]
fn a_blob_is_made_again_however_its_tar_comes() {
    let (one, two) = (text(3 << 20), text(70_000));
    let (blob, recipe) = recipe_of(&[&one, b"", &two, &text(1 << 20)]);
    let tar = [&one[..], &two, &text(1 << 20)].concat();
    for piece in [1 << 30, 1 << 20, 4097, 300_000] {
        assert!(remake(&recipe, &tar, piece).unwrap() == blob, "{piece}");
    }
}

#[test]
fn a_tar_that_is_another_is_damage() {
    let plain = text(2 << 20);
    let (_, recipe) = recipe_of(&[&plain]);
    let mut longer = plain.clone();
    longer.push(0);
    let mut other = plain.clone();
    other[1 << 20] ^= 1;
    for tar in [&plain[1..], &longer, &other, b""] {
        assert_eq!(remake(&recipe, tar, 1 << 16).unwrap_err().exit_code(), 3);
    }
}

/// Takes a blob apart.
fn apart(blob: &[u8], tar_size: u64) -> std::result::Result<Frames, &'static str> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(blob).unwrap();
    let digest = Digest::sha256(blob);
    let candidate = Candidate {
        blob: digest,
        size: blob.len() as u64,
        layer: DiffId(digest),
    };
    frames(&file, &candidate, tar_size).unwrap()
}

#[test]
fn members_and_padding_are_found() {
    let (one, two) = (text(90_000), text(20));
    let whole = |frames: &Frames, blob: &[u8]| {
        let mut again: Vec<u8> = Vec::new();
        for frame in &frames.parts {
            let at = |at: u64| usize::try_from(at).unwrap();
            again.extend(&frame.head);
            again.extend(&blob[at(frame.begin)..at(frame.end)]);
            again.extend(&frame.tail);
        }
        again
    };
    for members in [vec![&one[..]], vec![&one, &two], vec![b"", &one, b"", &two]] {
        let mut blob = blob_of(&members);
        let tar_size = members.concat().len() as u64;
        for padding in [0, 1, 700] {
            blob.extend(vec![0; padding]);
            let found = apart(&blob, tar_size).unwrap();
            assert_eq!(found.parts.len(), members.len());
            let plain = found.parts.iter().map(|frame| frame.plain);
            assert!(plain.eq(members.iter().map(|plain| plain.len() as u64)));
            assert!(whole(&found, &blob) == blob);
        }
    }
    assert!(apart(&blob_of(&[&one])[..300], one.len() as u64).is_err());
    assert!(apart(&one, one.len() as u64).is_err());
}

#[test]
fn a_blob_of_too_many_members_or_of_headers_is_left_alone() {
    let empty = blob_of(&[b""]);
    let many = empty.repeat((1 << 18) + 1);
    assert!(apart(&many, 1).unwrap_err().contains("too many members"));
    let mut large = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    large.extend(60_000u16.to_le_bytes());
    large.extend(vec![7; 60_000]);
    large.extend(&empty[15..]);
    assert!(
        apart(&large.repeat(150), 1)
            .unwrap_err()
            .contains("headers")
    );
    assert!(apart(&large, 0).is_ok());
}

const OPTIONS: Options = Options {
    scope: Scope::All,
    act: Act::Drop,
    jobs: 2,
    patience: Duration::ZERO,
};

#[test]
fn what_is_not_compressed_stays() {
    let sample = Sample::new();
    sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let report = compact(&sample.store, &OPTIONS, &Unwatched).unwrap();
    assert_eq!((report.blobs, report.kept.len()), (0, 1));
    assert!(report.kept[0].why.contains("not compressed"));
}

/// Returns a layer's blob as if it had been proved, its compression recipe in place.
fn proved(sample: &Sample, blob: Digest, size: u64) -> Proved {
    let (_, mut recipe) = recipe_of(&[b"any"]);
    recipe.blob = blob;
    let writer = sample.store.write().unwrap();
    writer.stage_stream(&recipe).unwrap();
    writer.publish().unwrap();
    Proved {
        blob,
        size,
        proof: Proof::Made(recipe),
    }
}

#[test]
fn a_blob_that_is_claimed_as_it_is_meanwhile_stays() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let layer = image.layers[0];
    let round = [proved(&sample, layer.blob, layer.size)];
    let writer = sample.store.write().unwrap();
    let config = sample.document(b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"artifactType":"text/x","config":{},"layers":[{}]}}"#,
        descriptor("application/vnd.oci.empty.v1+json", &config, 2),
        descriptor("text/plain", &layer.blob, layer.size),
    );
    let digest = sample.document(manifest.as_bytes());
    let root = Descriptor::new(wire::OCI_MANIFEST, digest, manifest.len() as u64);
    let arrive = || {
        drop(writer.claim(std::slice::from_ref(&root), &HashMap::new()));
        sample.name("artifact:1", root.clone());
    };
    // Asked for the first time, it has looked at names and is about to begin a batch.
    let watch = ActsOnce::new(1, &arrive);
    let dropped = drop_blobs(&sample.store, &round, Duration::ZERO, &watch).unwrap();
    assert!(dropped.spared.contains(&layer.blob));
    assert!(sample.store.blob_path(&layer.blob).exists());
}

#[test]
fn a_reader_keeps_what_it_found() {
    let sample = Sample::new();
    let image = sample.image("a:1", &[&[("usr/bin", b"bin")]]);
    let layer = image.layers[0];
    let round = [proved(&sample, layer.blob, layer.size)];
    let reader = sample.store.read().unwrap();
    let dropped = drop_blobs(&sample.store, &round, Duration::ZERO, &Unwatched).unwrap();
    assert!(dropped.spared.is_empty() && dropped.trash.bytes() == layer.size);
    assert!(!sample.store.blob_path(&layer.blob).exists());
    assert!(reader.store().open_blob(&layer.blob).is_ok());
}
