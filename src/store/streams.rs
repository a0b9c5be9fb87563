//! Owns `streams/`: the compression recipes of blobs that need not be kept, since they were made again and compared.

use std::fs;
use std::io::{self, Read as _};

use super::{Feature, Store, Writer, durable, paths, verify};
use crate::digest::Digest;
use crate::error::{Context, Error, Result, quoted};
use crate::stream::StreamRecipe;

/// The longest compression recipe that is written and read. One of a single gzip member takes 150 bytes, one of a member a
/// file some 40 a file.
pub(crate) const LONGEST: u64 = 32 << 20;

impl Store {
    /// Returns how a layer's blob is made again, or `None` where the store cannot tell.
    pub fn stream(&self, blob: &Digest) -> Result<Option<StreamRecipe>> {
        let below = paths::stream(blob);
        let open = |place: &std::path::Path| durable::open_regular(&self.path(place));
        let path = self.path(&below);
        let file = match self.wherever(&below, open)? {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context("open the compression recipe", quoted(&path))?,
        };
        let mut bytes = Vec::new();
        file.take(LONGEST + 1)
            .read_to_end(&mut bytes)
            .context("read the compression recipe", quoted(&path))?;
        let damaged = |why: String| {
            Error::damaged("read the compression recipe", quoted(&path), why)
                .hint("import an image with this layer again, with --blobs keep")
        };
        let recipe = StreamRecipe::decode(&bytes).map_err(|e| damaged(e.to_string()))?;
        if recipe.blob != *blob {
            return Err(damaged("it is another blob's".to_owned()));
        }
        Ok(Some(recipe))
    }

    /// Tells whether a blob's compression recipe is there, in its place or in the trash.
    pub fn has_stream(&self, blob: &Digest) -> Result<bool> {
        let look = |place: &std::path::Path| fs::symlink_metadata(self.path(place));
        match self.wherever(&paths::stream(blob), look)? {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).context("look at the compression recipe of", blob),
        }
    }

    /// Returns the blobs that there are compression recipes of.
    pub fn streams(&self) -> Result<Vec<Digest>> {
        verify::digests_in(&self.path("streams"))
    }
}

impl Writer<'_> {
    /// Stages a compression recipe. Whoever does has made all of the blob by it, and compared its digest.
    pub fn stage_stream(&self, recipe: &StreamRecipe) -> Result<()> {
        let bytes = recipe.encode();
        // What is not read back is as good as not written: nothing may rely on it.
        if bytes.len() as u64 > LONGEST || StreamRecipe::decode(&bytes).as_ref() != Ok(recipe) {
            let why = "it would not be read again";
            return Err(Error::failed(
                "write the compression recipe of",
                recipe.blob,
                why,
            ));
        }
        self.store.need(Feature::Streams)?;
        let path = self.staged_stream(&recipe.blob);
        durable::remove(&path)?;
        let mut file = durable::create_new(&path)?;
        io::Write::write_all(&mut file, &bytes).context("write", quoted(&path))?;
        self.staged().streams.insert(recipe.blob);
        Ok(())
    }

    pub(super) fn staged_stream(&self, blob: &Digest) -> std::path::PathBuf {
        self.folder
            .join(format!("stream-{}-{}", blob.algorithm().name(), blob.hex()))
    }
}
