//! Owns giving an image another config and other annotations. Its layers stay what they are.

use super::documents::{Changes, Draft, History};
use crate::convert::admit::admit;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::ImageName;
use crate::store::Writer;
use crate::watch::Watch;
use crate::wire::{Descriptor, Document};

/// What becomes of an image's documents.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// What is changed.
    pub changes: Changes,
    /// The entry that says so. Without an author of its own it has the image's.
    pub history: Option<History>,
}

/// Makes an image that is `image` with other documents and gives it `names`; returns the digest of its manifest.
///
/// `writer` has to be there before `image` is found: what is found then stays.
pub fn edit(
    writer: &Writer<'_>,
    image: &Descriptor,
    edit: Edit,
    names: &[ImageName],
    watch: &dyn Watch,
) -> Result<Digest> {
    let store = writer.store();
    let root = store.image(image)?.root;
    let manifest = store.document(&image.digest)?;
    let mut draft = match Document::parse(&manifest, &image.media_type) {
        Ok(Document::Manifest(parsed)) => {
            Draft::of(image, &manifest, &store.document(&parsed.config.digest)?)?
        }
        _ => return Err(Error::damaged("read", image.digest, "it is no manifest")),
    };
    let Edit { changes, history } = edit;
    draft.change(&changes);
    if let Some(history) = history {
        draft.push_history(&history.or_author(draft.author()));
    }
    let new = draft.finish()?;
    let digest = new.manifest_descriptor.digest;
    admit(writer, new.stage(writer, Some(root))?, &[], names, watch)?;
    Ok(digest)
}
