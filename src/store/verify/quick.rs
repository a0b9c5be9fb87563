//! Looks at files without reading them: what an ordinary write through a link leaves behind is another length, mode,
//! owner or time. Bytes that changed by themselves, and attributes, are for the full check.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::files::{changes, through_a_link};
use super::names::Leads;
use super::present::{Present, walk_fanned};
use super::{Bench, Damage, Finding, Findings, Kind, Whose};
use crate::digest::{Digest, InodeId, TreeId};
use crate::error::{Cause, Result};
use crate::meta::Meta;
use crate::store::catalog::View;
use crate::store::inodes::{Kin, Owners, Stat, inode_id, is_settable};
use crate::store::paths;
use crate::tree::{Content, Item, Kind as FileKind, Leaf, Node};

/// Compares a blob's length with what its descriptor says.
pub(super) fn check_blob(leads: &Leads, blob: &Present<Digest>) -> Option<Damage> {
    let expected = leads.sizes.get(&blob.id)?;
    let seen = blob.stat.size;
    if seen == *expected {
        return None;
    }
    let detail = format!("it has {seen} bytes, expected {expected}");
    let finding = Finding::of_file(Kind::BlobDamaged, &paths::blob(&blob.id), detail);
    Some(finding.needed_by(leads.of_blob(&blob.id)).into())
}

/// Inodes that are there and not explained yet.
struct Unexplained {
    files: HashMap<Kin, Vec<(InodeId, Stat)>>,
    owners: BTreeSet<(u32, u32)>,
}

/// Compares inodes with the files of live trees that they can have been made for.
///
/// An inode is named by a hash: what it was given is known only from the file that it was made for. One that was made
/// for an image that is gone is not looked at.
pub(super) fn check_inodes(
    bench: Bench<'_>,
    leads: &Leads,
    result: &mut Findings,
) -> Result<Vec<Damage>> {
    let walked = walk_fanned(&bench.store.root().join("inodes"), InodeId::from_hex, Ok)?;
    result.strays.extend(walked.strays);
    let files: Vec<Present<InodeId>> = walked.folders.into_iter().flatten().collect();
    result.checked.inodes += files.len() as u64;
    if files.is_empty() || !bench.store.root().join("catalog.redb").exists() {
        return Ok(Vec::new());
    }
    let mut owners: BTreeSet<(u32, u32)> = files.iter().map(|f| owner(&f.stat)).collect();
    if let Owners::Own { uid, gid } = Owners::of_process() {
        owners.insert((uid, gid));
    }
    let mut unexplained = Unexplained {
        files: HashMap::new(),
        owners,
    };
    for file in &files {
        let kin = unexplained.files.entry(file.id.kin()).or_default();
        kin.push((file.id, file.stat));
    }
    let mut damages = Vec::new();
    let looked = bench.store.view(|view| {
        for manifest in leads.reach.images.keys() {
            if let Ok(Some(image)) = view.image(manifest) {
                unexplained.look(bench, (view, image.root), &mut damages)?;
            }
        }
        Ok(())
    });
    match looked {
        // A catalog that cannot be read is a finding already.
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(damages),
        other => other.map(|()| damages),
    }
}

fn owner(stat: &Stat) -> (u32, u32) {
    (stat.uid, stat.gid)
}

impl Unexplained {
    /// Looks through one tree, each directory once.
    fn look(
        &mut self,
        bench: Bench<'_>,
        (view, root): (&View, TreeId),
        damages: &mut Vec<Damage>,
    ) -> Result<()> {
        let (mut waiting, mut seen) = (vec![root], HashSet::new());
        while let Some(id) = waiting.pop() {
            bench.watch.check()?;
            if self.files.is_empty() || !seen.insert(id) {
                continue;
            }
            // A node that cannot be read is a finding of its own.
            let Ok(node) = view.node(&id) else { continue };
            damages.extend(self.explain(&node));
            waiting.extend(node.entries.iter().filter_map(|(_, item)| match item {
                Item::Dir(subtree) => Some(subtree.id),
                Item::Leaf(_) => None,
            }));
        }
        Ok(())
    }

    fn explain(&mut self, node: &Node) -> Vec<Damage> {
        let mut damages = Vec::new();
        for (_, item) in &node.entries {
            let Item::Leaf(Leaf {
                kind: FileKind::File(Content::Object { id, size }),
                meta,
                group: _,
            }) = item
            else {
                continue;
            };
            let mut meta = meta.clone();
            meta.xattrs.retain(|name, _| is_settable(name));
            let own = (meta.uid, meta.gid);
            for (uid, gid) in self.owners.iter().copied().chain([own]).collect::<Vec<_>>() {
                let wanted = Meta {
                    uid,
                    gid,
                    ..meta.clone()
                };
                let files = self.files.remove(&inode_id(id, &wanted).kin());
                let wanted = Stat::wanted(*size, &wanted);
                for (inode, stat) in files.into_iter().flatten() {
                    damages.extend(compare(&inode, &stat, &wanted));
                }
            }
        }
        damages
    }
}

fn compare(inode: &InodeId, seen: &Stat, wanted: &Stat) -> Option<Damage> {
    let changes = changes(seen, wanted);
    if changes.is_empty() {
        return None;
    }
    let below = paths::inode(inode);
    Some(Damage {
        finding: Finding::of_file(Kind::Changed, &below, through_a_link(&changes)),
        whose: Whose::Inode(*inode, owner(wanted)),
    })
}
