//! Owns what tables the catalog has, and what their keys look like.

use std::ops::Bound;

use redb::TableDefinition;

use crate::digest::Digest;

pub(super) const NODES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("nodes");
pub(super) const IMAGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("images");
pub(super) const CHAINS: TableDefinition<'_, &[u8], [u8; 32]> = TableDefinition::new("chains");
pub(super) const LAYERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("layers");
pub(super) const LARGE: TableDefinition<'_, (u64, [u8; 32]), ()> = TableDefinition::new("large");
pub(super) const OBJECTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("objects");

/// How often something happened, so that others can tell whether it did while they were at work.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// Counts the transactions that dropped rows of trees.
pub(super) const SWEEPS: &str = "sweeps";

/// Counts the transactions that added rows of trees.
pub(super) const COMMITS: &str = "commits";

/// Where a range begins that goes on after a row.
pub(super) fn from(after: Option<[u8; 32]>) -> Bound<[u8; 32]> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

pub(super) fn key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(65);
    crate::image::put_digest(&mut key, digest);
    key
}

pub(super) fn unkey(key: &[u8]) -> Option<Digest> {
    let mut cursor = crate::codec::Cursor::new(key);
    let digest = crate::image::take_digest(&mut cursor).ok()?;
    cursor.end().ok()?;
    Some(digest)
}
