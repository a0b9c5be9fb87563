//! Owns what names mean: whiteouts, opaque markers, and what AUFS kept for itself.

use super::{Parser, TarError};
use crate::entry;
use crate::path::{Name, Step, TreePath};

/// What an entry's name makes of it (image-spec layer.md, "Whiteouts").
pub(super) enum Marker {
    None,
    Whiteout(TreePath),
    Opaque(TreePath),
    /// AUFS's own, of no use.
    Aufs,
    /// Below AUFS's folder of inodes: no part of the tree, but links may lead to it.
    Plink,
}

impl Parser<'_> {
    pub(super) fn marker(&self, path: &TreePath) -> Result<Marker, TarError> {
        let mut parents = path.steps();
        let Some(last) = parents.next_back() else {
            return Ok(Marker::None);
        };
        if let Some(Step::Child(first)) = parents.clone().next()
            && first.as_bytes().starts_with(entry::AUFS)
            && first.as_bytes() != entry::OPAQUE
            && !path.steps().any(|step| step == Step::Up)
        {
            return Ok(if first.as_bytes() == entry::PLINK {
                Marker::Plink
            } else {
                Marker::Aufs
            });
        }
        if parents.any(|step| matches!(step, Step::Child(name) if entry::is_marker(name))) {
            return self.refuse("a whiteout as a parent");
        }
        let Step::Child(name) = last else {
            return Ok(Marker::None);
        };
        let Some(hidden) = name.as_bytes().strip_prefix(entry::WHITEOUT) else {
            return Ok(Marker::None);
        };
        if name.as_bytes() == entry::OPAQUE {
            return Ok(Marker::Opaque(parent_of(path)));
        }
        if name.as_bytes().starts_with(entry::AUFS) {
            return Ok(Marker::Aufs);
        }
        let hidden = Name::parse(hidden).map_err(|e| format!("a whiteout that names no file: {e}"));
        Ok(Marker::Whiteout(parent_of(path).join(&self.say(hidden)?)))
    }
}

/// Only for markers, which are few: it makes a path anew.
fn parent_of(path: &TreePath) -> TreePath {
    path.split_last()
        .map(|(parents, _)| parents)
        .unwrap_or_default()
}
