//! Owns making an image of a root filesystem tarball: one layer, which is the tarball as it is.
//!
//! The same tarball and changes give the same image, whenever and wherever it is made.

use std::fs::File;
use std::path::PathBuf;

use super::documents::{Changes, Draft, History};
use crate::convert::source::Source;
use crate::convert::tarball::Tarball;
use crate::error::Result;
use crate::limits::Limits;
use crate::store::find::host_platform;
use crate::time::Time;
use crate::watch::Watch;

/// A tarball that becomes an image.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    /// Where it is; `None` is standard input.
    pub path: Option<PathBuf>,
    /// What its config says beside the platform, which is this machine's.
    pub changes: Changes,
    /// When the image was made, if it shall say so.
    pub created: Option<Time>,
}

impl Rootfs {
    /// Reads `tar:FILE` or `tar:-`; `None` where `text` is no such place.
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.strip_prefix("tar:")?;
        Some(Self {
            path: (path != "-").then(|| PathBuf::from(path)),
            ..Self::default()
        })
    }

    /// Opens it as a source of one image, for an import to check and to take in.
    pub fn open(
        &self,
        limits: &Limits,
        scratch: &dyn Fn() -> Result<File>,
        watch: &dyn Watch,
    ) -> Result<Source> {
        let tarball = Tarball::open(self.path.as_deref(), limits, scratch, watch)?;
        let mut draft = Draft::empty(&host_platform())?;
        if let Some(created) = &self.created {
            draft.set_created(created);
        }
        draft.change(&self.changes);
        let history = History {
            created: self.created.clone(),
            created_by: Some("ocistore import".to_owned()),
            ..History::default()
        };
        let history = history.or_author(draft.author());
        draft.push_layer(&tarball.layer, &tarball.diff_id, Some(&history));
        let new = draft.finish()?;
        let documents = [
            (new.manifest_descriptor.digest, new.manifest),
            (new.config_descriptor.digest, new.config),
        ];
        Ok(tarball.into_source(new.manifest_descriptor, documents))
    }
}
