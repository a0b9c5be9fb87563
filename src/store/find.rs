//! Owns finding what a person's reference means, down to one image of one platform.

use std::collections::HashSet;

use super::Store;
use super::catalog::View;
use super::reach::Reach;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::reference::Reference;
use crate::wire::{Descriptor, Document, Media};

impl Store {
    /// Finds what `text` refers to: a name, or a digest of anything that a name leads to.
    pub fn find(&self, text: &str) -> Result<Descriptor> {
        let names = self.names()?;
        let found = names.resolve(text, &[]);
        let by_digest = !matches!(Reference::parse(text), Ok(Reference::Name(_)) | Err(_));
        if found.is_ok() || !by_digest {
            return found;
        }
        // Documents below an index have no names of their own.
        let reach = Reach::of_all(self)?;
        let documents: Vec<Descriptor> = reach
            .documents
            .into_values()
            .map(|(descriptor, _)| descriptor)
            .collect();
        names.resolve(text, &documents)
    }

    /// Finds the one image that `text` means on `platform` (`os/architecture[/variant]`), or on this machine's.
    pub fn find_image(&self, text: &str, platform: Option<&str>) -> Result<Descriptor> {
        self.find_with_image(text, platform).map(|(_, image)| image)
    }

    fn image_at(&self, text: &str, at: &Descriptor, platform: Option<&str>) -> Result<Descriptor> {
        let there = self.view(|view| self.images_of(view, at))?;
        if at.media() != Media::Index && (platform.is_none() || there.is_empty()) {
            return Ok(at.clone());
        }
        pick(text, &there, platform.unwrap_or(&host_platform()))
    }

    /// Finds what `text` refers to, and the one image of it as [`Store::find_image`] does: what keeps an image is what has
    /// the name.
    pub fn find_with_image(
        &self,
        text: &str,
        platform: Option<&str>,
    ) -> Result<(Descriptor, Descriptor)> {
        let at = self.find(text)?;
        let image = self.image_at(text, &at, platform)?;
        Ok((at, image))
    }

    /// Returns the images below a descriptor, in order, each with its platform.
    fn images_of(&self, view: &View, at: &Descriptor) -> Result<Vec<(Descriptor, String)>> {
        let mut found = Vec::new();
        let mut read = HashSet::new();
        let mut waiting = vec![at.clone()];
        while let Some(at) = waiting.pop() {
            if at.media() != Media::Index {
                if let Some(image) = view.image(&at.digest)? {
                    // What an index says of an image goes before what its config says.
                    let platform = at.platform.clone().unwrap_or(image.platform);
                    found.push((at, platform));
                }
                continue;
            }
            // Once: the ways through indexes of indexes can be more than anyone can go.
            if !read.insert(at.digest) {
                continue;
            }
            let bytes = self.document(&at.digest)?;
            let Ok(Document::Index(children)) = Document::parse(&bytes, &at.media_type) else {
                return Err(Error::damaged(
                    "read the index",
                    at.digest,
                    "it is malformed",
                ));
            };
            waiting.extend(children.into_iter().rev());
        }
        Ok(found)
    }

    /// Returns the record of an image whose manifest is `descriptor`.
    pub fn image(&self, descriptor: &Descriptor) -> Result<Image> {
        let image = self.view(|view| view.image(&descriptor.digest))?;
        image.ok_or_else(|| {
            Error::missing(
                "use",
                descriptor.digest,
                "it is no image with a root filesystem",
            )
            .hint("`ocistore inspect` shows what it is")
        })
    }
}

/// Returns the platform of this machine, as images call it (Go's GOOS and GOARCH).
pub fn host_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("linux/{arch}")
}

/// Picks the image for a platform: the very one, else one of any variant of it.
fn pick(text: &str, images: &[(Descriptor, String)], platform: &str) -> Result<Descriptor> {
    let exact = |own: &str| own == platform;
    let variant = |own: &str| {
        own.strip_prefix(platform)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let at = images
        .iter()
        .position(|(_, own)| exact(own))
        .or_else(|| images.iter().position(|(_, own)| variant(own)));
    if let Some(at) = at {
        return Ok(images[at].0.clone());
    }
    let mut there: Vec<&str> = images.iter().map(|(_, own)| own.as_str()).collect();
    there.sort_unstable();
    there.dedup();
    let only = match there.is_empty() {
        true => "it has no image with a root filesystem".to_owned(),
        false => format!(
            "it has no image for {platform}, only for {}",
            there.join(", ")
        ),
    };
    Err(Error::missing("find", text, only)
        .hint("`--platform` picks one, `ocistore inspect` shows what is there"))
}
