//! Owns merging an image's layers into its tree, from the longest stack of them that was merged before.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use super::overlay::{LayerEntries, Overlay};
use super::replay::replay;
use crate::digest::{ChainId, DiffId, Digest, TreeId};
use crate::entry::Entry;
use crate::error::Result;
use crate::limits::Limits;
use crate::recipe::ContentRef;
use crate::store::RecipeFile;
use crate::store::catalog::View;
use crate::tree::{Node, Nodes};
use crate::warning::Warnings;
use crate::watch::{Unwatched, Watch};

/// How many bytes of nodes the trees below an image's own may take: beyond that they are not kept. A directory's node
/// is written anew by every layer that touches it, and a few small layers over a huge directory would add up. So little
/// in the crate's own tests that they go both ways.
const PREFIX_BYTES: usize = if cfg!(test) { 2 << 10 } else { 256 << 20 };

/// A layer's entries, as they were parsed.
pub(super) type Parsed = (Vec<Entry>, Vec<ContentRef>);

/// Which layers are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// Those above what was merged before; what was odd about the others was told then.
    New,
    /// All of them, and what is odd about them is told again.
    All,
}

/// Merges layers into trees, and gathers what the catalog does not have yet.
pub(super) struct Merger<'a> {
    /// Opens the recipe of a layer.
    recipe: &'a dyn Fn(&DiffId) -> Result<RecipeFile>,
    view: Option<&'a View>,
    parsed: HashMap<DiffId, Parsed>,
    nodes: RefCell<BTreeMap<TreeId, Vec<u8>>>,
    chains: BTreeMap<ChainId, TreeId>,
    attention: Attention,
    /// How many directories one layer may make.
    most_directories: u64,
    /// Who is asked whether to go on.
    watch: &'a dyn Watch,
    /// What the layers' order brought up.
    pub(super) warnings: Warnings,
}

impl Nodes for Merger<'_> {
    fn node(&self, id: &TreeId) -> Result<Node> {
        if let Some(bytes) = self.nodes.borrow().get(id)
            && let Ok(node) = Node::decode(bytes)
        {
            return Ok(node);
        }
        match self.view {
            Some(view) => view.node(id),
            None => Err(crate::error::Error::damaged(
                "merge",
                "the layers",
                format!("tree node {id} is missing"),
            )),
        }
    }
}

impl<'a> Merger<'a> {
    /// Begins with what `view` knows; `parsed` are layers that need no reading.
    pub(super) fn new(
        recipe: &'a dyn Fn(&DiffId) -> Result<RecipeFile>,
        view: Option<&'a View>,
        parsed: HashMap<DiffId, Parsed>,
    ) -> Self {
        let (nodes, chains) = (RefCell::default(), BTreeMap::new());
        Self {
            recipe,
            view,
            parsed,
            nodes,
            chains,
            attention: Attention::New,
            most_directories: u64::MAX,
            watch: &Unwatched,
            warnings: Warnings::default(),
        }
    }

    /// Sets which layers it looks at.
    #[must_use]
    pub(super) fn looking_at(self, attention: Attention) -> Self {
        Self { attention, ..self }
    }

    /// Bounds what layers that were never merged before may ask for, and has `watch` asked whether to go on.
    pub(super) fn bound(&mut self, limits: &Limits, watch: &'a dyn Watch) {
        self.most_directories = limits.entries;
        self.watch = watch;
    }

    /// Merges a stack of layers, bottom first, each with the digest of its blob: that is what it is called.
    pub(super) fn merge(&mut self, layers: &[(Digest, DiffId)]) -> Result<TreeId> {
        let diff_ids: Vec<DiffId> = layers.iter().map(|(_, diff_id)| *diff_id).collect();
        let chains = ChainId::prefixes(&diff_ids);
        let (done, lower) = self.longest_known(&chains)?;
        let mut warnings = std::mem::take(&mut self.warnings);
        let mut found: Vec<(ChainId, TreeId)> = Vec::new();
        let mut overlay = Overlay::new(self, lower)?;
        overlay.limit_directories(self.most_directories);
        overlay.watched(self.watch);
        let mut root = lower;
        let mut prefix_bytes = 0;
        for (at, ((blob, layer), chain)) in layers.iter().zip(&chains).enumerate().skip(done) {
            let name = blob.to_string();
            let replayed;
            let (entries, contents) = match self.parsed.get(layer) {
                Some(parsed) => parsed,
                None => {
                    self.view.inspect(|view| view.rest());
                    let mut told = Warnings::default();
                    replayed = replay(&(self.recipe)(layer)?, &mut told)?;
                    if self.attention == Attention::All {
                        warnings.merge(told.in_layer(&name));
                    }
                    &replayed
                }
            };
            overlay.apply(
                &LayerEntries {
                    name: &name,
                    entries,
                    contents,
                },
                &mut warnings,
            )?;
            let is_last = at + 1 == layers.len();
            if !is_last && prefix_bytes > PREFIX_BYTES {
                continue;
            }
            let merged = overlay.finish()?;
            prefix_bytes += merged.nodes.values().map(Vec::len).sum::<usize>();
            self.nodes.borrow_mut().extend(merged.nodes);
            found.push((*chain, merged.root));
            root = Some(merged.root);
        }
        // An image without layers is an empty folder.
        let root = match root {
            Some(root) => root,
            None => {
                let merged = overlay.finish()?;
                self.nodes.borrow_mut().extend(merged.nodes);
                merged.root
            }
        };
        self.chains.extend(found);
        self.warnings = warnings;
        Ok(root)
    }

    /// Finds how many of the lowest layers were merged before, and into what.
    fn longest_known(&self, chains: &[ChainId]) -> Result<(usize, Option<TreeId>)> {
        let view = self.view.filter(|_| self.attention == Attention::New);
        for (at, chain) in chains.iter().enumerate().rev() {
            let known = match (self.chains.get(chain), view) {
                (Some(root), _) => Some(*root),
                (None, Some(view)) => view.chain(chain)?,
                (None, None) => None,
            };
            if known.is_some() {
                return Ok((at + 1, known));
            }
        }
        Ok((0, None))
    }

    /// Returns the new nodes and chains.
    pub(super) fn finish(self) -> (BTreeMap<TreeId, Vec<u8>>, BTreeMap<ChainId, TreeId>) {
        (self.nodes.into_inner(), self.chains)
    }
}
