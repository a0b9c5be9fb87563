//! Owns what is live: all that the store's names lead to. Fails closed: what cannot be followed is an error,
//! never "nothing there", and then nothing is deleted.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::catalog::{Live, Nodes, View};
use crate::store::names::Names;
use crate::store::reach::Reach;
use crate::tree::Item;
use crate::watch::Watch;

/// All that is live. An id costs about 64 bytes.
#[derive(Debug)]
pub(super) struct Marks {
    reach: Reach,
    layers: BTreeSet<DiffId>,
    contents: HashSet<ContentId>,
    /// `None` where the store has no catalog: the next command makes it again.
    rows: Option<Rows>,
}

/// What of the catalog is live, beside what [`Reach`] knows.
#[derive(Debug, Default)]
struct Rows {
    nodes: HashSet<TreeId>,
    chains: HashSet<ChainId>,
}

impl Marks {
    /// Marks from every name there is.
    pub(super) fn of(store: &Store, watch: &dyn Watch) -> Result<Self> {
        let reach = Reach::of_all(store).map_err(|e| closed(&name_of_failure(store), &e))?;
        let layers = reach.diff_ids();
        let contents = contents_of(store, &layers, watch)?;
        let mut rows = None;
        if store.has_catalog()? {
            let marked = store.view(|view| Rows::of(view, &reach, watch));
            rows = Some(marked.map_err(|e| closed("", &e))?);
        }
        Ok(Self {
            reach,
            layers,
            contents,
            rows,
        })
    }

    pub(super) fn has_content(&self, id: &ContentId) -> bool {
        self.contents.contains(id)
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

    /// Returns how many contents are live.
    pub(super) fn content_count(&self) -> u64 {
        self.contents.len() as u64
    }

    /// Fails, naming the first, where the object of a live content is not there: what is dead may hold its bytes.
    pub(super) fn check_contents(&self, store: &Store) -> Result<()> {
        let mut missing: Vec<&ContentId> = Vec::new();
        for id in &self.contents {
            if store.stat_object(id)?.is_none() {
                missing.push(id);
            }
        }
        missing.sort();
        match missing.first() {
            None => Ok(()),
            Some(id) => {
                let why = format!(
                    "{} objects that live images need are missing, {id} among them",
                    missing.len()
                );
                Err(closed(
                    "",
                    &Error::damaged("find", "every live object", why),
                ))
            }
        }
    }

    /// Fails where a name leads to what was not marked: it came while the mark was going on.
    pub(super) fn check_names(&self, names: &Names) -> Result<()> {
        match names
            .entries()
            .iter()
            .find(|entry| !self.reach.has(&entry.descriptor.digest))
        {
            None => Ok(()),
            Some(entry) => {
                let why = format!("{} was named meanwhile", entry.descriptor.digest);
                Err(Error::failed("sweep", "the store", why)
                    .hint("nothing was deleted: run it again"))
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
        self.contents.contains(id)
    }
}

impl Rows {
    /// Marks the rows of live images, and of every stack of layers that one of them begins with.
    fn of(view: &View, reach: &Reach, watch: &dyn Watch) -> Result<Self> {
        let nodes = view.nodes()?;
        let mut rows = Self::default();
        for (manifest, docs) in &reach.images {
            watch.check()?;
            if let Some(image) = view.image(manifest)? {
                rows.mark_tree(&nodes, image.root)?;
            }
            for chain in ChainId::prefixes(&docs.config.diff_ids) {
                rows.mark_chain(view, &nodes, chain)?;
            }
        }
        Ok(rows)
    }

    fn mark_chain(&mut self, view: &View, nodes: &Nodes<'_>, chain: ChainId) -> Result<()> {
        if !self.chains.insert(chain) {
            return Ok(());
        }
        match view.chain(&chain)? {
            Some(root) => self.mark_tree(nodes, root),
            None => Ok(()),
        }
    }

    fn mark_tree(&mut self, nodes: &Nodes<'_>, root: TreeId) -> Result<()> {
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            // What is marked has its whole subtree marked, or waiting.
            if !self.nodes.insert(id) {
                continue;
            }
            let node = nodes.get(&id)?;
            waiting.extend(node.entries.iter().filter_map(|(_, item)| match item {
                Item::Dir(subtree) => Some(subtree.id),
                Item::Leaf(_) => None,
            }));
        }
        Ok(())
    }
}

/// Reads what live layers carry; every recipe is checked against its checksum as it is opened.
fn contents_of(
    store: &Store,
    layers: &BTreeSet<DiffId>,
    watch: &dyn Watch,
) -> Result<HashSet<ContentId>> {
    let layers: Vec<&DiffId> = layers.iter().collect();
    let all = Mutex::new(HashSet::new());
    let read = |layer: &&DiffId| -> Result<()> {
        watch.check()?;
        let contents = store.recipe(layer)?.contents()?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        // One by one: most are there already, and reserving for all would double the set.
        for content in contents {
            all.insert(content.id);
        }
        Ok(())
    };
    // All of them, so that of several damaged ones it is always the first that is named.
    let outcomes: Vec<Result<()>> = layers.par_iter().map(read).collect();
    outcomes
        .into_iter()
        .collect::<Result<()>>()
        .map_err(|e| closed("", &e))?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
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

/// Says that damage stopped the collection before anything was deleted; other errors are passed on.
fn closed(whose: &str, e: &Error) -> Error {
    use crate::error::Cause;
    let why = format!("{whose}{e}");
    let cause = match e.cause() {
        Cause::Io(_) | Cause::Failed(_) => Cause::Failed(why),
        Cause::Missing(_) | Cause::Damaged(_) | Cause::Malformed(_) => Cause::Damaged(why),
        Cause::Busy(_) => Cause::Busy(why),
        Cause::Usage(_) => Cause::Usage(why),
        Cause::Interrupted => Cause::Interrupted,
    };
    Error::new("sweep", "the store", cause)
        .hint("nothing was deleted; `ocistore fsck` lists all damage")
}
