//! Mends objects and inodes: from their own bytes where only metadata changed, from files of the store with the same
//! bytes, out of kept layers, and out of the layers of sources.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;

use super::extract::{Found, Tar, Want, walk};
use super::{Mender, Open, Staged};
use crate::convert::replay::replay;
use crate::digest::{ContentId, DiffId, Digest, InodeId};
use crate::entry::Action;
use crate::error::{Context, Result};
use crate::meta::Meta;
use crate::recipe::ContentRef;
use crate::store::inodes::{Given, Kin, Owners, inode_id, is_settable};
use crate::store::lost::{Mending, Stored, hash_of};
use crate::store::verify::present::walk_fanned;
use crate::store::verify::{Finding, Kind};
use crate::store::{Writer, durable};
use crate::warning::Warnings;

/// A content whose object is damaged or missing.
struct Case {
    content: ContentRef,
    /// The metadata that its file is to have.
    meta: Meta,
    /// Whether that is what the catalog says that the file was given.
    as_given: bool,
    /// The layers that carry it.
    layers: BTreeSet<DiffId>,
}

/// Damaged inodes, and what they may have been made of.
#[derive(Default)]
struct Inodes {
    wanted: HashSet<InodeId>,
    kin: HashSet<Kin>,
    owners: BTreeSet<(u32, u32)>,
    /// The same for all of one content and metadata.
    found: HashMap<Kin, (ContentRef, Meta)>,
}

/// What is to be mended.
#[derive(Default)]
struct Wanted {
    cases: BTreeMap<ContentId, Case>,
    inodes: Inodes,
}

impl Mender<'_> {
    /// Mends objects first, then the inodes that are made of them.
    pub(super) fn mend_contents(&mut self, open: &Open) -> Result<()> {
        let wanted = self.wanted(open)?;
        let writer = self.store.write()?;
        let mut left: HashSet<ContentId> = wanted.cases.keys().copied().collect();
        let mut staged = self.stage_own_bytes(&writer, &wanted, open)?;
        take_off(&mut left, &staged);
        if !left.is_empty() {
            staged.extend(self.stage_from_inodes(&writer, &wanted, &left)?);
            take_off(&mut left, &staged);
        }
        if !left.is_empty() {
            staged.extend(self.stage_from_layers(&writer, &wanted, &mut left)?);
        }
        self.put_in_place(&writer, staged, open)?;
        let staged = self.inodes_again(&writer, &wanted.inodes)?;
        self.put_in_place(&writer, staged, open)
    }

    /// Looks through recipes for what the damaged files are of.
    fn wanted(&self, open: &Open) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        let mut objects: HashSet<ContentId> = HashSet::new();
        for what in open.keys() {
            match what {
                Stored::Object(id) if !self.mended.contains(what) => drop(objects.insert(*id)),
                Stored::Inode(id) => {
                    wanted.inodes.wanted.insert(*id);
                    wanted.inodes.kin.insert(id.kin());
                }
                Stored::Object(_)
                | Stored::Blob(_)
                | Stored::Stream(_)
                | Stored::Recipe(_)
                | Stored::Catalog => {}
            }
        }
        if objects.is_empty() && wanted.inodes.wanted.is_empty() {
            return Ok(wanted);
        }
        wanted.inodes.owners = self.owners(&wanted.inodes.wanted)?;
        let givens = self.givens(&objects)?;
        for layer in self.store.recipes()? {
            self.watch.check()?;
            let Ok(recipe) = self.store.recipe(&layer) else {
                continue;
            };
            let carries = |c: &ContentRef| objects.contains(&c.id);
            if wanted.inodes.wanted.is_empty() && !recipe.contents()?.iter().any(carries) {
                continue;
            }
            let Ok((entries, contents)) = replay(&recipe, &mut Warnings::default()) else {
                continue;
            };
            for entry in &entries {
                if let Action::File(meta, payload) = &entry.action
                    && let Some(ordinal) = payload.ordinal
                    && let Some(content) = contents.get(ordinal as usize)
                {
                    wanted.inodes.note(content, meta);
                    if objects.contains(&content.id) {
                        let given = givens.get(&content.id);
                        wanted.note((content, meta), &layer, given);
                    }
                }
            }
        }
        Ok(wanted)
    }

    /// Returns whose damaged inodes may have been: whose they are, and whose others are.
    fn owners(&self, wanted: &HashSet<InodeId>) -> Result<BTreeSet<(u32, u32)>> {
        let mut owners = BTreeSet::new();
        if wanted.is_empty() {
            return Ok(owners);
        }
        let all = walk_fanned(&self.store.root().join("inodes"), InodeId::from_hex, Ok)?;
        for file in all.folders.into_iter().flatten() {
            owners.insert((file.stat.uid, file.stat.gid));
        }
        if let Owners::Own { uid, gid } = Owners::of_process() {
            owners.insert((uid, gid));
        }
        Ok(owners)
    }

    fn givens(&self, objects: &HashSet<ContentId>) -> Result<HashMap<ContentId, Given>> {
        let mut found = HashMap::new();
        if objects.is_empty() || !self.store.has_catalog()? {
            return Ok(found);
        }
        // A record that cannot be read is as good as none: the object gets a new one.
        let read = self.store.view(|view| {
            for id in objects {
                if let Ok(Some(given)) = view.given(id) {
                    found.insert(*id, given);
                }
            }
            Ok(())
        });
        read.or_else(|e| match super::offers::is_ours(&e) {
            true => Err(e),
            false => Ok(()),
        })?;
        Ok(found)
    }

    /// Takes the bytes of files that only their metadata is wrong of, in place or moved away before.
    fn stage_own_bytes(
        &self,
        writer: &Writer<'_>,
        wanted: &Wanted,
        open: &Open,
    ) -> Result<Vec<(Stored, String)>> {
        let mut staged = Staged::new();
        let lost = self.store.lost_objects()?;
        for (id, case) in &wanted.cases {
            self.watch.check()?;
            let what = Stored::Object(*id);
            let mut files = Vec::new();
            if open.get(&what).map(|finding: &Finding| finding.kind) == Some(Kind::Changed) {
                files.push((what.path(), "its own bytes".to_owned()));
            }
            for below in lost.get(id).into_iter().flatten() {
                files.push((below.clone(), below.display().to_string()));
            }
            for (below, from) in files {
                if case.mend_from_file(writer, &self.store.root().join(below))? {
                    staged.push((what, from));
                    break;
                }
            }
        }
        Ok(staged)
    }

    /// Hashes inodes of the right length: a content's bytes are in them, too.
    fn stage_from_inodes(
        &self,
        writer: &Writer<'_>,
        wanted: &Wanted,
        left: &HashSet<ContentId>,
    ) -> Result<Staged> {
        let of_left = left.iter().filter_map(|id| wanted.cases.get(id));
        let sizes: HashSet<u64> = of_left.map(|case| case.content.size).collect();
        let folder = self.store.root().join("inodes");
        let all = walk_fanned(&folder, InodeId::from_hex, Ok)?;
        let (mut staged, mut done) = (Staged::new(), HashSet::new());
        for inode in all.folders.into_iter().flatten() {
            if !sizes.contains(&inode.stat.size) {
                continue;
            }
            self.watch.check()?;
            let below = Stored::Inode(inode.id).path();
            let path = self.store.root().join(&below);
            let Some(id) = File::open(&path)
                .ok()
                .and_then(|mut f| hash_of(&mut f).ok())
            else {
                continue;
            };
            if let Some(case) = wanted.cases.get(&id).filter(|_| left.contains(&id))
                && !done.contains(&id)
                && case.mend_from_file(writer, &path)?
            {
                done.insert(id);
                staged.push((Stored::Object(id), below.display().to_string()));
            }
        }
        Ok(staged)
    }

    /// Takes contents out of layers: those that are kept, then those of sources.
    fn stage_from_layers(
        &self,
        writer: &Writer<'_>,
        wanted: &Wanted,
        left: &mut HashSet<ContentId>,
    ) -> Result<Staged> {
        let mut by_layer: BTreeMap<DiffId, usize> = BTreeMap::new();
        for id in left.iter() {
            for layer in wanted.cases.get(id).into_iter().flat_map(|c| &c.layers) {
                *by_layer.entry(*layer).or_default() += 1;
            }
        }
        // The layer with most of what is wanted first: often no other has to be read.
        let mut layers: Vec<(DiffId, usize)> = by_layer.into_iter().collect();
        layers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let blobs = self.blobs_by_layer()?;
        let mut staged = Staged::new();
        for (layer, _) in layers {
            let mut known = blobs.get(&layer).cloned().unwrap_or_default();
            known.insert(layer.0);
            let has_left = |left: &HashSet<ContentId>| {
                let of_layer = |id: &ContentId| {
                    let case = wanted.cases.get(id);
                    case.is_some_and(|case| case.layers.contains(&layer))
                };
                left.iter().any(of_layer)
            };
            for (tar, from) in self.tars(&layer, &known)? {
                if has_left(left) {
                    staged.extend(self.stage_from_tar(
                        (writer, &layer),
                        wanted,
                        left,
                        (tar, &from),
                    )?);
                }
            }
        }
        Ok(staged)
    }

    /// Returns every tar that may be the layer's.
    fn tars(
        &self,
        layer: &DiffId,
        known: &BTreeSet<Digest>,
    ) -> Result<Vec<(Option<Tar<'_>>, String)>> {
        let mut tars = Vec::new();
        for blob in known {
            // Damaged ones, too: each content that comes out is hashed.
            if self.store.blob_size(blob)?.is_some()
                && let Ok(file) = self.store.open_blob(blob)
            {
                let tar = Tar::open(Box::new(file), self.watch);
                tars.push((tar, format!("the kept layer {blob}")));
            }
        }
        for (blob, offered) in self.offers.layers(layer, known)? {
            let tar = Tar::open(Box::new(offered.blob.reader()), self.watch);
            tars.push((tar, format!("{}, layer {blob}", offered.from)));
        }
        Ok(tars)
    }

    fn stage_from_tar(
        &self,
        (writer, layer): (&Writer<'_>, &DiffId),
        wanted: &Wanted,
        left: &mut HashSet<ContentId>,
        (tar, from): (Option<Tar<'_>>, &str),
    ) -> Result<Staged> {
        let (Some(mut tar), Ok(recipe)) = (tar, self.store.recipe(layer)) else {
            return Ok(Staged::new());
        };
        let mut staged = Staged::new();
        let mut take = |content: &ContentRef, found: &mut Found<'_, '_>| {
            let Some(case) = wanted
                .cases
                .get(&content.id)
                .filter(|case| left.contains(&case.content.id))
            else {
                return Ok(Want::Pass);
            };
            let is_right = writer.mend_object(case.mending(), &mut |file| found.write(file))?;
            if is_right {
                left.remove(&content.id);
                staged.push((Stored::Object(content.id), from.to_owned()));
            }
            Ok(match left.is_empty() {
                true => Want::Enough,
                false => Want::Taken,
            })
        };
        walk(&recipe, &mut tar, &mut take)?;
        Ok(staged)
    }

    /// Makes damaged inodes anew. One that nobody can tell what it was made for only goes: it is a cache, and a
    /// checkout that wants it makes it again.
    fn inodes_again(&self, writer: &Writer<'_>, inodes: &Inodes) -> Result<Staged> {
        let mut staged = Staged::new();
        let mut wanted: Vec<&InodeId> = inodes.wanted.iter().collect();
        wanted.sort();
        for id in wanted {
            self.watch.check()?;
            let mut from = "nothing: a checkout that wants it makes it again".to_owned();
            if let Some((content, meta)) = inodes.found.get(&id.kin()) {
                let object = Stored::Object(content.id).path();
                let path = self.store.root().join(&object);
                let what = Mending {
                    content: *content,
                    meta,
                };
                if writer.mend_inode(id, what, &mut |file| copy(&path, file))? {
                    from = object.display().to_string();
                }
            }
            staged.push((Stored::Inode(*id), from));
        }
        Ok(staged)
    }
}

fn take_off(left: &mut HashSet<ContentId>, staged: &Staged) {
    for (what, _) in staged {
        if let Stored::Object(id) = what {
            left.remove(id);
        }
    }
}

/// Copies a file into an empty one; a file that is not there or cannot be read gives nothing.
fn copy(from: &Path, to: &mut File) -> Result<bool> {
    let Ok(mut from) = durable::open_regular(from) else {
        return Ok(false);
    };
    if rustix::fs::ioctl_ficlone(&*to, &from).is_ok() {
        return Ok(true);
    }
    match io::copy(&mut from, to) {
        Ok(_) => Ok(true),
        // Whether reading or writing failed the kernel does not say; a full disk has to stop everything.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(false),
        Err(e) => Err(e).context("write", "a file that is mended"),
    }
}

impl Case {
    fn mending(&self) -> Mending<'_> {
        Mending {
            content: self.content,
            meta: &self.meta,
        }
    }

    fn mend_from_file(&self, writer: &Writer<'_>, path: &Path) -> Result<bool> {
        writer.mend_object(self.mending(), &mut |file| copy(path, file))
    }
}

impl Wanted {
    /// Notes one use of a content. The metadata that its file was given wins; where no layer has that any more, it is
    /// the first.
    fn note(
        &mut self,
        (content, meta): (&ContentRef, &Meta),
        layer: &DiffId,
        given: Option<&Given>,
    ) {
        let mut kept = Owners::of_process().apply_to_object(meta);
        kept.xattrs.retain(|name, _| is_settable(name));
        let as_given = Some(&Given::new(&content.id, content.size, &kept)) == given;
        let case = self.cases.entry(content.id).or_insert_with(|| Case {
            content: *content,
            meta: meta.clone(),
            as_given,
            layers: BTreeSet::new(),
        });
        if as_given && !case.as_given {
            case.meta = meta.clone();
            case.as_given = true;
        }
        case.layers.insert(*layer);
    }
}

impl Inodes {
    /// Notes whether a damaged inode may have been made for this use of a content.
    fn note(&mut self, content: &ContentRef, meta: &Meta) {
        if self.found.len() == self.kin.len() {
            return;
        }
        let mut meta = meta.clone();
        meta.xattrs.retain(|name, _| is_settable(name));
        let own = (meta.uid, meta.gid);
        for (uid, gid) in self.owners.iter().copied().chain([own]) {
            (meta.uid, meta.gid) = (uid, gid);
            let kin = inode_id(&content.id, &meta).kin();
            if self.kin.contains(&kin) {
                self.found.insert(kin, (*content, meta.clone()));
            }
        }
    }
}
