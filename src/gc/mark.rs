//! Owns what is live: all that the store's names and the claims on it lead to. Fails closed: what cannot be followed is
//! an error, never "nothing there", and then nothing more is deleted. What is live once stays so for one collection.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::contents::Contents;
use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::{Cause, Error, Result};
use crate::store::catalog::{Change, Live, View};
use crate::store::reach::Reach;
use crate::store::{Collector, Look, Roots, Store};
use crate::tree::Item;
use crate::watch::Watch;
use crate::wire::Descriptor;

/// All that is live. A content costs 32 bytes, any other id about 64.
#[derive(Debug)]
pub(super) struct Marks {
    /// Which claims and names there were when they were last read.
    look: Look,
    /// Those of them that are still to be followed.
    waiting: Vec<Descriptor>,
    reach: Reach,
    layers: BTreeSet<DiffId>,
    contents: Contents,
    /// `None` where the store has no catalog: the next command makes it again.
    rows: Option<Rows>,
}

/// What of the catalog is live, beside what [`Reach`] knows.
#[derive(Debug, Default)]
struct Rows {
    /// How often rows of trees had been added when these were marked; `None` where more is live by now.
    commits: Option<u64>,
    nodes: HashSet<TreeId>,
    chains: HashSet<ChainId>,
}

impl Marks {
    /// Marks from every claim and name there is.
    pub(super) fn of(collector: &Collector<'_>, watch: &dyn Watch) -> Result<Self> {
        let store = collector.store();
        let Roots {
            look,
            claimed: mut roots,
            named,
        } = collector.roots().map_err(|e| closed("", e))?;
        roots.extend(named);
        let reach = Reach::with_referrers_anywhere(store, &roots);
        let mut marks = Self {
            look,
            waiting: Vec::new(),
            reach: reach.map_err(|e| closed(&name_of_failure(store), e))?,
            layers: BTreeSet::new(),
            contents: Contents::new(),
            rows: store.has_catalog()?.then(Rows::default),
        };
        marks.add_contents(store, watch)?;
        marks.mark_rows(store, watch)?;
        Ok(marks)
    }

    /// Looks again, and tells whether all that there is to mark is marked.
    pub(super) fn are_complete(&mut self, collector: &Collector<'_>) -> Result<bool> {
        if collector.look()? != self.look {
            let Roots {
                look,
                claimed,
                mut named,
            } = collector.roots().map_err(|e| closed("", e))?;
            // What was followed before the claim may have been followed before all of it was there.
            self.waiting.extend(claimed);
            // What is named had been claimed, or had a name already.
            named.retain(|root| !self.reach.followed(root));
            self.waiting.extend(named);
            self.look = look;
        }
        Ok(self.waiting.is_empty())
    }

    /// Marks what came since, too.
    pub(super) fn catch_up(&mut self, store: &Store, watch: &dyn Watch) -> Result<()> {
        watch.check()?;
        let roots = std::mem::take(&mut self.waiting);
        if roots.is_empty() {
            return Ok(());
        }
        if let Some(rows) = &mut self.rows {
            rows.commits = None;
        }
        let followed = self.reach.follow_also(store, &roots);
        followed.map_err(|e| closed(&name_of_failure(store), e))?;
        self.add_contents(store, watch)
    }

    fn add_contents(&mut self, store: &Store, watch: &dyn Watch) -> Result<()> {
        let mut layers = self.reach.diff_ids();
        layers.retain(|layer| !self.layers.contains(layer));
        for layer in self.reach.layers_of_referrers() {
            // Nobody vouches for those: what is not there is nobody's loss.
            if layers.contains(&layer) && !store.recipe_is_anywhere(&layer)? {
                layers.remove(&layer);
            }
        }
        let added = add_contents(store, &layers, (&mut self.contents, watch));
        self.contents.settle();
        added?;
        self.layers.extend(layers);
        Ok(())
    }

    /// Marks the rows of all that is live: who claimed before may have added its rows only since.
    pub(super) fn mark_rows(&mut self, store: &Store, watch: &dyn Watch) -> Result<()> {
        let (Some(rows), reach) = (&mut self.rows, &self.reach) else {
            return Ok(());
        };
        let marked = store.view(|view| rows.mark(view, reach, watch));
        marked.map_err(|e| closed("", e))
    }

    /// Tells whether rows of trees were added, or more became live, since the rows were marked.
    pub(super) fn are_rows_old(&self, change: &Change<'_>) -> Result<bool> {
        match &self.rows {
            Some(rows) => Ok(rows.commits != Some(change.commits()?)),
            None => Ok(true),
        }
    }

    pub(super) fn has_content(&self, id: &ContentId) -> bool {
        self.contents.has(id)
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.reach.has(digest)
    }

    pub(super) fn has_layer(&self, layer: &DiffId) -> bool {
        self.layers.contains(layer)
    }

    pub(super) fn has_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Returns the contents that are live.
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Returns the bytes of live contents whose objects are not in place.
    ///
    /// Fails, naming the first, where one is nowhere: what is dead may hold its bytes.
    pub(super) fn check_contents(&self, store: &Store) -> Result<u64> {
        let (mut elsewhere, mut missing) = (0, Vec::new());
        for id in self.contents.iter() {
            if store.stat_object(id)?.is_some() {
                continue;
            }
            match store.object_size(id)? {
                Some(bytes) => elsewhere += bytes,
                None => missing.push(id),
            }
        }
        match missing.first() {
            None => Ok(elsewhere),
            Some(id) => {
                let why = format!(
                    "{} objects that live images need are missing, {id} among them",
                    missing.len()
                );
                Err(closed("", Error::damaged("find", "every live object", why)))
            }
        }
    }
}

impl Live for Marks {
    fn node(&self, id: &TreeId) -> bool {
        self.rows
            .as_ref()
            .is_none_or(|rows| rows.nodes.contains(id))
    }

    fn image(&self, manifest: &Digest) -> bool {
        self.reach.images.contains_key(manifest)
    }

    fn chain(&self, chain: &ChainId) -> bool {
        self.rows
            .as_ref()
            .is_none_or(|rows| rows.chains.contains(chain))
    }

    fn layer(&self, blob: &Digest) -> bool {
        self.reach.layers.contains_key(blob)
    }

    fn object(&self, id: &ContentId) -> bool {
        self.contents.has(id)
    }
}

impl Rows {
    /// Marks the rows of live images, and of every stack of layers that one of them begins with.
    fn mark(&mut self, view: &View, reach: &Reach, watch: &dyn Watch) -> Result<()> {
        self.commits = Some(view.commits()?);
        for (manifest, docs) in &reach.images {
            watch.check()?;
            if let Some(image) = view.image(manifest)? {
                self.mark_tree(view, image.root)?;
            }
            for chain in ChainId::prefixes(&docs.config.diff_ids) {
                self.mark_chain(view, chain)?;
            }
        }
        Ok(())
    }

    /// Marks a stack of layers; one that was marked before may have got its tree since.
    fn mark_chain(&mut self, view: &View, chain: ChainId) -> Result<()> {
        self.chains.insert(chain);
        match view.chain(&chain)? {
            Some(root) => self.mark_tree(view, root),
            None => Ok(()),
        }
    }

    fn mark_tree(&mut self, view: &View, root: TreeId) -> Result<()> {
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            // What is marked has its whole subtree marked, or waiting.
            if !self.nodes.insert(id) {
                continue;
            }
            let node = view.node(&id)?;
            waiting.extend(node.entries.iter().filter_map(|(_, item)| match item {
                Item::Dir(subtree) => Some(subtree.id),
                Item::Leaf(_) => None,
            }));
        }
        Ok(())
    }
}

/// Reads what live layers carry; every recipe is checked against its checksum as it is opened.
fn add_contents(
    store: &Store,
    layers: &BTreeSet<DiffId>,
    (contents, watch): (&mut Contents, &dyn Watch),
) -> Result<()> {
    let layers: Vec<&DiffId> = layers.iter().collect();
    let all = Mutex::new(contents);
    let read = |layer: &&DiffId| -> Result<()> {
        watch.check()?;
        let found = store.recipe(layer)?.contents()?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(&found);
        Ok(())
    };
    // All of them, so that of several damaged ones it is always the first that is named.
    let outcomes: Vec<Result<()>> = layers.par_iter().map(read).collect();
    outcomes
        .into_iter()
        .collect::<Result<()>>()
        .map_err(|e| closed("", e))
}

/// Returns the first name that cannot be followed on its own, with a colon after it, or nothing.
fn name_of_failure(store: &Store) -> String {
    let Ok(names) = store.names() else {
        return String::new();
    };
    let failing = names
        .entries()
        .iter()
        .find(|e| Reach::of(store, std::slice::from_ref(&e.descriptor)).is_err());
    match failing {
        None => String::new(),
        Some(entry) => match &entry.name {
            Some(name) => format!("{name}: "),
            None => format!("{}: ", entry.descriptor.digest),
        },
    }
}

/// Says that damage stopped the collection before anything more was deleted; what the system refused is passed on.
fn closed(whose: &str, e: Error) -> Error {
    match e.cause() {
        Cause::Missing(_) | Cause::Damaged(_) | Cause::Malformed(_) => {
            Error::damaged("sweep", "the store", format!("{whose}{e}"))
                .hint("nothing was deleted; `ocistore fsck --repair` mends damage or lists it")
        }
        Cause::Io(_) | Cause::Failed(_) | Cause::Busy(_) | Cause::Usage(_) | Cause::Interrupted => {
            e
        }
    }
}
