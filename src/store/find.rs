//! Owns finding what a person's reference means, down to one image of one platform.

use super::Store;
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

    /// Finds the one image that `text` means on `platform` (`os/architecture[/variant]`).
    pub fn find_image(&self, text: &str, platform: &str) -> Result<Descriptor> {
        let mut at = self.find(text)?;
        for _ in 0..=super::reach::DEPTH_MAX {
            if at.media() != Media::Index {
                return Ok(at);
            }
            let bytes = self.document(&at.digest)?;
            let Ok(Document::Index(children)) = Document::parse(&bytes, &at.media_type) else {
                return Err(Error::damaged(
                    "read the index",
                    at.digest,
                    "it is malformed",
                ));
            };
            at = pick(text, children, platform)?;
        }
        Err(Error::damaged("follow", text, "indexes nest too deep"))
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

/// Picks the child for a platform; attestations and other companions have none that anybody asks for.
fn pick(text: &str, children: Vec<Descriptor>, platform: &str) -> Result<Descriptor> {
    let has = |child: &Descriptor, exact: bool| match &child.platform {
        Some(own) if exact => own == platform,
        Some(own) => own
            .strip_prefix(platform)
            .is_some_and(|rest| rest.starts_with('/')),
        None => false,
    };
    let mut usable: Vec<Descriptor> = children
        .into_iter()
        .filter(|c| c.platform.as_deref() != Some("unknown/unknown"))
        .collect();
    let found = [true, false]
        .into_iter()
        .find_map(|exact| usable.iter().position(|c| has(c, exact)));
    let only = (usable.len() == 1 && usable[0].platform.is_none()).then_some(0);
    match found.or(only) {
        Some(at) => Ok(usable.swap_remove(at)),
        None => {
            let there: Vec<String> = usable.into_iter().filter_map(|c| c.platform).collect();
            let why = format!(
                "it has no image for {platform}, only for {}",
                there.join(", ")
            );
            Err(Error::missing("find", text, why).hint("pick one with --platform"))
        }
    }
}
