//! Owns what is told of a compaction: what was dropped, by who made it, and what stays and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drop::Dropped;
use super::prove::{Proof, Proved};
use crate::digest::Digest;

/// What was dropped, or could be, and what stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Blobs that can be made again: dropped, or in a dry run those that would be.
    pub blobs: u64,
    /// Their lengths in bytes.
    pub bytes: u64,
    /// The lengths of the compression recipes that make them again.
    pub recipe_bytes: u64,
    /// The same by who made the blobs, sorted.
    pub encoders: Vec<Encoder>,
    /// The lengths of the blobs that stay.
    pub kept_bytes: u64,
    /// The blobs that stay, sorted.
    pub kept: Vec<Kept>,
    /// What the file system got back at once.
    pub freed_bytes: u64,
    /// What is in the trash until commands that began earlier have ended.
    pub trash_bytes: u64,
}

/// What one encoder had made.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Encoder {
    /// Program, version and settings.
    pub encoder: String,
    /// Blobs that can be made again.
    pub blobs: u64,
    /// Their lengths in bytes.
    pub bytes: u64,
    /// The lengths of their compression recipes.
    pub recipe_bytes: u64,
}

/// A blob that stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Kept {
    /// Its digest.
    pub blob: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

impl Report {
    pub(super) fn keep(&mut self, blob: &Digest, bytes: u64, why: &str) {
        self.kept_bytes += bytes;
        self.kept.push(Kept {
            blob: blob.to_string(),
            bytes,
            why: why.to_owned(),
        });
    }

    /// Counts in what could not be proved.
    pub(super) fn take_kept(&mut self, round: &[Proved]) {
        for proved in round {
            if let Proof::None(why) = &proved.proof {
                self.keep(&proved.blob, proved.size, why);
            }
        }
    }

    /// Counts in all that was proved.
    pub(super) fn take_proved(&mut self, round: &[Proved]) {
        self.count(round.iter());
    }

    /// Counts in what of the proved blobs was dropped.
    pub(super) fn take_dropped(&mut self, round: &[Proved], dropped: &Dropped) {
        self.freed_bytes += dropped.unlinked.freed;
        self.trash_bytes = dropped.trash.bytes();
        let is_spared = |proved: &&Proved| dropped.spared.contains(&proved.blob);
        self.count(round.iter().filter(|proved| !is_spared(proved)));
        for proved in round.iter().filter(is_spared) {
            let why = "something else than a layer needs it since";
            self.keep(&proved.blob, proved.size, why);
        }
    }

    fn count<'p>(&mut self, proved: impl Iterator<Item = &'p Proved>) {
        let mut encoders: BTreeMap<String, Encoder> = std::mem::take(&mut self.encoders)
            .into_iter()
            .map(|encoder| (encoder.encoder.clone(), encoder))
            .collect();
        for proved in proved {
            let Proof::Made(recipe) = &proved.proof else {
                continue;
            };
            let name = match recipe.method() {
                Some(method) => method.to_string(),
                None => "nothing compressed".to_owned(),
            };
            let recipe_bytes = recipe.encode().len() as u64;
            let encoder = encoders.entry(name.clone()).or_insert_with(|| Encoder {
                encoder: name,
                ..Encoder::default()
            });
            encoder.blobs += 1;
            encoder.bytes += proved.size;
            encoder.recipe_bytes += recipe_bytes;
            self.blobs += 1;
            self.bytes += proved.size;
            self.recipe_bytes += recipe_bytes;
        }
        self.encoders = encoders.into_values().collect();
    }

    pub(super) fn sort(&mut self) {
        self.kept.sort();
    }
}
