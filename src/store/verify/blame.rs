//! Finds the images, and the paths in them, that need what is damaged. Runs only where something is.

use std::collections::{BTreeSet, HashMap};

use super::index::{join, note, walk};
use super::names::Leads;
use super::{Bench, Damage, Whose};
use crate::digest::ContentId;
use crate::error::Result;
use crate::meta::Meta;
use crate::store::inodes::{Kin, Owners, inode_id, is_settable};
use crate::tree::{Content, Item, Kind, Leaf, Node};

/// Where the damages of contents and inodes are in the list.
#[derive(Default)]
struct Wanted {
    contents: HashMap<ContentId, usize>,
    inodes: HashMap<Kin, Vec<usize>>,
    /// Whose those inodes are: checkouts may give files to others than the image names.
    owners: BTreeSet<(u32, u32)>,
}

impl Wanted {
    /// Returns the damaged inodes that a file with this content and metadata may be linked to.
    fn inodes_of(&self, content: &ContentId, meta: &Meta) -> Vec<&usize> {
        if self.inodes.is_empty() {
            return Vec::new();
        }
        let mut meta = Owners::of_process().apply(meta);
        meta.xattrs.retain(|name, _| is_settable(name));
        let mut owners = self.owners.clone();
        owners.insert((meta.uid, meta.gid));
        let mut found = Vec::new();
        for (uid, gid) in owners {
            (meta.uid, meta.gid) = (uid, gid);
            found.extend(
                self.inodes
                    .get(&inode_id(content, &meta).kin())
                    .into_iter()
                    .flatten(),
            );
        }
        found
    }
}

/// Adds to each damaged object the images and paths that need it.
pub(super) fn find_images(bench: Bench<'_>, leads: &Leads, damages: &mut [Damage]) -> Result<()> {
    let mut wanted = Wanted::default();
    for (at, damage) in damages.iter().enumerate() {
        match damage.whose {
            Whose::Known => {}
            Whose::Content(id) => drop(wanted.contents.insert(id, at)),
            Whose::Inode(id, owner) => {
                wanted.inodes.entry(id.kin()).or_default().push(at);
                wanted.owners.insert(owner);
            }
        }
    }
    if wanted.contents.is_empty() && wanted.inodes.is_empty() {
        return Ok(());
    }
    by_layers(bench, leads, &wanted, damages)?;
    if !bench.store.root().join("catalog.redb").exists() {
        return Ok(());
    }
    let walked = bench.store.view(|view| {
        for manifest in leads.reach.images.keys() {
            let Ok(Some(image)) = view.image(manifest) else {
                continue;
            };
            let names = leads.of_image(manifest);
            let each = &mut |_: &_, path: &[u8], node: Option<&Node>| {
                note_files(node, path, &names, &wanted, damages);
            };
            walk(bench, view, image.root, each)?;
        }
        Ok(())
    });
    match walked {
        // A catalog that cannot be read is a finding already; the images are known from their layers.
        Err(e) if matches!(e.cause(), crate::error::Cause::Damaged(_)) => Ok(()),
        other => other,
    }
}

/// Names images by what their layers carry: that holds for files that an upper layer hides, too.
fn by_layers(
    bench: Bench<'_>,
    leads: &Leads,
    wanted: &Wanted,
    damages: &mut [Damage],
) -> Result<()> {
    let mut images: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for layer in leads.reach.diff_ids() {
        bench.watch.check()?;
        // A recipe that cannot be read is a finding of its own.
        let Ok(contents) = bench
            .store
            .recipe(&layer)
            .and_then(|recipe| recipe.contents())
        else {
            continue;
        };
        let hit: BTreeSet<usize> = contents
            .iter()
            .filter_map(|c| wanted.contents.get(&c.id).copied())
            .collect();
        let names = if hit.is_empty() {
            Vec::new()
        } else {
            leads.of_layer(&layer)
        };
        for at in hit {
            images.entry(at).or_default().extend(names.iter().cloned());
        }
    }
    for (at, names) in images {
        damages[at].finding.images = names.into_iter().collect();
    }
    Ok(())
}

fn note_files(
    node: Option<&Node>,
    path: &[u8],
    names: &[String],
    wanted: &Wanted,
    damages: &mut [Damage],
) {
    let Some(node) = node else { return };
    for (name, item) in &node.entries {
        let Item::Leaf(Leaf {
            kind: Kind::File(Content::Object { id, .. }),
            meta,
            group: _,
        }) = item
        else {
            continue;
        };
        let inodes = wanted.inodes_of(id, meta);
        for at in wanted.contents.get(id).into_iter().chain(inodes) {
            let path = join(path, name.as_bytes());
            note(&mut damages[*at].finding, names, &path);
        }
    }
}
