//! Owns handing new documents to the store: staged here, put in place and named by `convert::admit`.

use super::documents::NewDocuments;
use crate::convert::admit::NewImage;
use crate::digest::TreeId;
use crate::error::Result;
use crate::store::Writer;

impl NewDocuments {
    /// Stages the documents; `root` is the tree that the layers have to add up to, where it is known.
    pub fn stage(self, writer: &Writer<'_>, root: Option<TreeId>) -> Result<NewImage> {
        let Self {
            config,
            manifest,
            config_descriptor,
            manifest_descriptor,
            layers,
            read,
        } = self;
        writer.stage_document(&config_descriptor.digest, &config)?;
        writer.stage_document(&manifest_descriptor.digest, &manifest)?;
        Ok(NewImage {
            manifest: manifest_descriptor,
            config: config_descriptor.digest,
            read,
            layers,
            root,
        })
    }
}
