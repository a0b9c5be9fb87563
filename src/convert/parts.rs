//! Owns what `benches/` measures of conversions: an arrow of the walk each, on bytes in memory.

use std::collections::HashMap;

use super::disassemble::{Bench, LayerJob};
use super::inflate::{Inflater, Keep, Tee};
use super::overlay::{LayerEntries, Overlay};
use super::workers::Workers;
use crate::compress::{Compression, Mislabelled};
use crate::digest::{Algorithm, DiffId, Digest, DigestHasher, TreeId};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::recipe::ContentRef;
use crate::store::Writer;
use crate::tree::{Node, Nodes};
use crate::warning::Warnings;
use crate::watch::Unwatched;

/// A layer as it comes.
#[derive(Debug)]
pub struct Packed {
    /// How `blob` is compressed.
    pub compression: Compression,
    /// Its bytes.
    pub blob: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The digest of its tar.
    pub diff_id: DiffId,
}

/// Hashes a blob, inflates it and hashes its tar, on one thread.
pub fn inflate(layer: &Packed) -> Result<DiffId> {
    let mut inflater = Inflater {
        tee: Tee::new(
            Box::new(layer.blob.as_slice()),
            Keep::Drop(DigestHasher::new(Algorithm::Sha256)),
            &Unwatched,
        ),
        limits: Limits::default(),
        mislabelled: Mislabelled::Refuse,
        warnings: Warnings::default(),
        blob: layer.digest,
    };
    let mut tar = DigestHasher::new(Algorithm::Sha256);
    let inflated = inflater.inflate(layer.compression, &mut |data, n| {
        tar.update(&data[..n]);
        Some(data)
    });
    inflater.end(inflated)?;
    Ok(DiffId(tar.finish()))
}

/// A layer's entries and contents.
pub type Parsed = (Vec<Entry>, Vec<ContentRef>);

/// Takes a layer apart with `jobs` workers. What of it is new waits in `writer`.
pub fn disassemble(writer: &Writer<'_>, layer: &Packed, jobs: usize) -> Result<Parsed> {
    let limits = Limits::default();
    let done = std::thread::scope(|scope| {
        // Dropped when this ends: then the workers do, too.
        let workers = Workers::new(writer, jobs);
        for _ in 0..jobs {
            let desk = workers.desk();
            scope.spawn(move || desk.work());
        }
        let bench = Bench {
            writer,
            workers: &workers,
            limits: &limits,
            mislabelled: Mislabelled::Refuse,
            watch: &Unwatched,
        };
        bench.disassemble(LayerJob {
            blob: layer.digest,
            compression: layer.compression,
            diff_id: layer.diff_id,
            from: Box::new(layer.blob.as_slice()),
            keep: Keep::Drop(DigestHasher::new(Algorithm::Sha256)),
        })
    });
    let parsed = done?.parsed;
    parsed.ok_or_else(|| Error::failed("measure", "the layer", "its entries were not kept"))
}

/// Tree nodes in memory.
#[derive(Debug, Default)]
pub struct MemoryNodes(HashMap<TreeId, Vec<u8>>);

impl MemoryNodes {
    /// Adds nodes.
    pub fn extend(&mut self, nodes: impl IntoIterator<Item = (TreeId, Vec<u8>)>) {
        self.0.extend(nodes);
    }

    /// Returns the bytes of every node.
    pub fn rows(&self) -> impl Iterator<Item = (&TreeId, &[u8])> {
        self.0.iter().map(|(id, bytes)| (id, bytes.as_slice()))
    }
}

impl Nodes for MemoryNodes {
    fn node(&self, id: &TreeId) -> Result<Node> {
        let bytes = self.0.get(id);
        let node = bytes.and_then(|bytes| Node::decode(bytes).ok());
        node.ok_or_else(|| Error::damaged("read the node", id, "it is missing"))
    }
}

/// A root, and the nodes that are new.
pub type Tree = (TreeId, Vec<(TreeId, Vec<u8>)>);

/// Puts a layer on a tree.
pub fn overlay(
    nodes: &MemoryNodes,
    lower: Option<TreeId>,
    (entries, contents): &Parsed,
) -> Result<Tree> {
    let mut overlay = Overlay::new(nodes, lower)?;
    let layer = LayerEntries {
        name: "the layer",
        entries,
        contents,
    };
    overlay.apply(&layer, &mut Warnings::default())?;
    let merged = overlay.finish()?;
    Ok((merged.root, merged.nodes.into_iter().collect()))
}
