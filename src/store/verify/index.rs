//! Compares the catalog with the files: records with documents, trees with their hashes and with recipes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::names::Leads;
use super::{Bench, Damage, Finding, Findings, Kind, Needed};
use crate::digest::{ChainId, Digest, TreeId};
use crate::error::{Cause, Result};
use crate::image::{Image, ImageLayer};
use crate::path::escape;
use crate::store::catalog::View;
use crate::store::reach::ImageDocs;
use crate::tree::{Content, Item, Kind as FileKind, Leaf, Node, Subtree};

/// How many paths a finding lists.
pub(super) const PATHS_SHOWN: usize = 8;

/// Checks the catalog, where there is one. `needed` is what all recipes need, where all could be read.
pub(super) fn check(
    bench: Bench<'_>,
    leads: &Leads,
    needed: Option<&Needed>,
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    // Looked for as a file: asking the store for a catalog takes a torn one away, and this must not hide it.
    if !bench.store.root().join("catalog.redb").exists() {
        return Ok(Vec::new());
    }
    let checked = bench.store.view(|view| {
        let mut check = Check {
            bench,
            view,
            needed,
            referring: &leads.reach.referring,
            wrong: BTreeMap::new(),
            seen: HashSet::new(),
        };
        let mut found = Vec::new();
        for (manifest, docs) in &leads.reach.images {
            bench.watch.check()?;
            let names = leads.of_image(manifest);
            found.extend(
                check
                    .image(manifest, docs)?
                    .map(|detail| disagrees(detail).needed_by(names).into()),
            );
        }
        found.extend(
            check
                .chains()?
                .into_iter()
                .map(|detail| disagrees(detail).into()),
        );
        result.checked.nodes += check.seen.len() as u64;
        found.extend(check.wrong_nodes(leads)?);
        Ok(found)
    });
    match checked {
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => {
            Ok(vec![disagrees(e.to_string()).into()])
        }
        other => other,
    }
}

fn disagrees(detail: impl Into<String>) -> Finding {
    Finding::new(Kind::CatalogDisagrees, "catalog.redb", detail)
}

/// Makes damage a value, and passes on what stops the check.
fn damage_of<T>(result: Result<T>) -> Result<Result<T, String>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(Err(e.to_string())),
        Err(e) => Err(e),
    }
}

struct Check<'a> {
    bench: Bench<'a>,
    view: &'a View,
    needed: Option<&'a Needed>,
    referring: &'a BTreeSet<Digest>,
    /// Nodes that are wrong, and how.
    wrong: BTreeMap<TreeId, String>,
    seen: HashSet<TreeId>,
}

impl Check<'_> {
    /// Checks an image's record and its tree; says what is wrong with the record.
    fn image(&mut self, manifest: &Digest, docs: &ImageDocs) -> Result<Option<String>> {
        let image = match damage_of(self.view.image(manifest))? {
            Err(why) => return Ok(Some(why)),
            // Nobody named it: its import may be about to record it, or have died.
            Ok(None) if self.referring.contains(manifest) => return Ok(None),
            Ok(None) => return Ok(Some(format!("it has no record of the image {manifest}"))),
            Ok(Some(image)) => image,
        };
        self.tree(image.root)?;
        if let Some(what) = differs(&image, manifest, docs) {
            return Ok(Some(format!(
                "the record of the image {manifest} has another {what} than its documents"
            )));
        }
        let top = ChainId::prefixes(&docs.config.diff_ids).pop();
        let by_chain = top
            .map(|chain| self.view.chain(&chain))
            .transpose()?
            .flatten();
        Ok(by_chain.filter(|root| *root != image.root).map(|root| {
            format!(
                "the image {manifest} has the tree {}, its layers' chain has {root}",
                image.root
            )
        }))
    }

    /// Checks that the tree of every chain is there.
    fn chains(&mut self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (chain, root) in self.view.chains()? {
            // A chain that nothing needs may go while this looks, and then its tree does.
            if !self.view.has_node(&root)? && self.view.chain(&chain)?.is_some() {
                found.push(format!(
                    "the chain {} leads to the tree {root}, which is missing",
                    chain.0
                ));
            }
        }
        Ok(found)
    }

    fn tree(&mut self, root: TreeId) -> Result<()> {
        let mut waiting: Vec<(TreeId, Option<Subtree>)> = vec![(root, None)];
        while let Some((id, claim)) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            let node = match damage_of(self.view.node(&id))? {
                Ok(node) => node,
                Err(why) => {
                    self.wrong.insert(id, why);
                    continue;
                }
            };
            if let Some(why) = self.problem(&node, claim) {
                self.wrong.insert(id, format!("tree node {id}: {why}"));
            }
            waiting.extend(subtrees(&node).map(|(_, subtree)| (subtree.id, Some(*subtree))));
        }
        Ok(())
    }

    /// Says what a node has that its parent or the recipes do not know.
    fn problem(&self, node: &Node, claim: Option<Subtree>) -> Option<String> {
        if let Some(Subtree {
            id: _,
            shape,
            totals,
        }) = claim
            && (node.shape() != shape || node.totals() != totals)
        {
            return Some("its parent has other totals or another shape of it".to_owned());
        }
        let needed = self.needed?;
        node.entries.iter().find_map(|(name, item)| match item {
            Item::Leaf(Leaf {
                kind: FileKind::File(Content::Object { id, size }),
                ..
            }) if needed.get(id).map(|need| need.size) != Some(*size) => Some(format!(
                "no layer carries the {size} bytes {id} of '{name}'"
            )),
            Item::Leaf(_) | Item::Dir(_) => None,
        })
    }

    /// Returns a finding for each wrong node, with the images and paths that have it.
    fn wrong_nodes(&self, leads: &Leads) -> Result<Vec<Damage>> {
        if self.wrong.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: BTreeMap<TreeId, Finding> = self
            .wrong
            .iter()
            .map(|(id, why)| (*id, disagrees(why.clone())))
            .collect();
        for manifest in leads.reach.images.keys() {
            let Ok(Some(image)) = self.view.image(manifest) else {
                continue;
            };
            let names = leads.of_image(manifest);
            walk(self.bench, self.view, image.root, &mut |id, path, _| {
                found
                    .get_mut(id)
                    .into_iter()
                    .for_each(|finding| note(finding, &names, path));
            })?;
        }
        Ok(found.into_values().map(Damage::from).collect())
    }
}

/// Says which field of an image's record is not what its documents say.
fn differs(image: &Image, wanted: &Digest, docs: &ImageDocs) -> Option<&'static str> {
    let Image {
        manifest,
        config,
        layers,
        root: _,
        platform,
        created,
    } = image;
    let of_documents: Vec<ImageLayer> = docs
        .layers()
        .map(|(blob, diff_id)| ImageLayer {
            blob: blob.digest,
            size: blob.size,
            diff_id: *diff_id,
        })
        .collect();
    [
        (manifest != wanted, "manifest"),
        (*config != docs.manifest.config.digest, "config"),
        (*layers != of_documents, "list of layers"),
        (*platform != docs.config.platform, "platform"),
        (*created != docs.config.created, "time of creation"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

fn subtrees(node: &Node) -> impl Iterator<Item = (&crate::path::Name, &Subtree)> {
    node.entries.iter().filter_map(|(name, item)| match item {
        Item::Dir(subtree) => Some((name, subtree)),
        Item::Leaf(_) => None,
    })
}

/// Is shown a directory: its id, its path and, where it can be read, its node.
pub(super) type Visit<'a> = dyn FnMut(&TreeId, &[u8], Option<&Node>) + 'a;

/// Calls `each` with every directory of a tree, its path and, where it can be read, its node.
pub(super) fn walk(
    bench: Bench<'_>,
    view: &View,
    root: TreeId,
    each: &mut Visit<'_>,
) -> Result<()> {
    let mut waiting = vec![(root, Vec::new())];
    while let Some((id, path)) = waiting.pop() {
        bench.watch.check()?;
        let node = damage_of(view.node(&id))?.ok();
        each(&id, &path, node.as_ref());
        let Some(node) = node else { continue };
        // Pushed last to first, so that paths come in order.
        let below: Vec<_> = subtrees(&node).collect();
        for (name, subtree) in below.into_iter().rev() {
            waiting.push((subtree.id, join(&path, name.as_bytes())));
        }
    }
    Ok(())
}

/// Returns a path of an image with one more component.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"/", name].concat()
}

/// Notes that images have what was found at a path.
pub(super) fn note(finding: &mut Finding, images: &[String], path: &[u8]) {
    let images: BTreeSet<String> = finding.images.iter().chain(images).cloned().collect();
    finding.images = images.into_iter().collect();
    finding.path_count += 1;
    let path = if path.is_empty() {
        "/".to_owned()
    } else {
        escape(path)
    };
    if finding.paths.len() < PATHS_SHOWN && !finding.paths.contains(&path) {
        finding.paths.push(path);
    }
}
