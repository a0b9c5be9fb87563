//! Owns looking at what is there: the names in a store's folders.

pub(crate) mod present;
#[cfg(test)]
pub(crate) mod sample;

use std::fs;
use std::path::Path;

use crate::digest::{Algorithm, Digest};
use crate::error::{Context, Result, quoted};

/// Returns the digests that files below `folder/ALGORITHM/` are named by; other names are no one's.
pub(super) fn digests_in(folder: &Path) -> Result<Vec<Digest>> {
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        let folder = folder.join(algorithm.name());
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.context("read the folder", quoted(&folder))?,
        };
        for entry in entries {
            let name = entry.context("read the folder", quoted(&folder))?.file_name();
            let digest = name.to_str().map(|hex| Digest::parse(&format!("{}:{hex}", algorithm.name())));
            found.extend(digest.and_then(std::result::Result::ok));
        }
    }
    found.sort();
    Ok(found)
}
