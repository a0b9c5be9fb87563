//! Owns what imported images are called.

use std::collections::HashMap;

use super::Options;
use crate::convert::source::{Root, Source};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::ImageName;
use crate::store::Store;
use crate::warning::{Warning, Warnings};

/// Decides what each root is called.
pub(super) fn name_roots(
    source: &Source,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<Vec<(ImageName, Digest)>> {
    let roots = source.roots();
    if let Some(name) = &options.name {
        return match roots {
            [root] => Ok(vec![(name.clone(), root.descriptor.digest)]),
            _ => Err(Error::usage(
                "name",
                source.what(),
                format!("it holds {} images, and --name names one", roots.len()),
            )
            .hint("pick one, as in oci:DIR:REF")),
        };
    }
    if roots.is_empty() {
        warnings.note(Warning::NoImages, || source.what().to_owned());
    }
    let mut named: Vec<(ImageName, Digest)> = Vec::new();
    let mut taken: HashMap<ImageName, Digest> = HashMap::new();
    for root in roots {
        let name = name_root(source, root, warnings)?;
        let digest = root.descriptor.digest;
        match taken.get(&name) {
            Some(other) if *other == digest => {}
            Some(other) => {
                let why = format!("two images are called {name}: {other} and {digest}");
                return Err(Error::malformed("import", source.what(), why)
                    .hint("pick one, as in oci:DIR@DIGEST"));
            }
            None => {
                taken.insert(name.clone(), digest);
                named.push((name, digest));
            }
        }
    }
    Ok(named)
}

fn name_root(source: &Source, root: &Root, warnings: &mut Warnings) -> Result<ImageName> {
    let digest = &root.descriptor.digest;
    let full = |hint: &str| hint.contains(['/', ':', '@']);
    if let Some(hint) = root.name_hint.as_deref().filter(|hint| full(hint))
        && let Ok(name) = ImageName::parse(hint)
    {
        return Ok(name);
    }
    let Some(repository) = source.default_repository() else {
        return Err(
            Error::usage("name", digest, "its source gives no name").hint("give one with --name")
        );
    };
    let by_digest = || ImageName::by_digest(repository, digest);
    let name = match &root.name_hint {
        Some(hint) => ImageName::tagged(repository, hint).or_else(|_| {
            warnings.note(Warning::InvalidName, || hint.escape_debug().to_string());
            by_digest()
        }),
        None if source.roots().len() == 1 => ImageName::tagged(repository, "latest"),
        None => by_digest(),
    };
    name.map_err(|e| Error::usage("name", digest, e.to_string()).hint("give a name with --name"))
}

/// Names what was imported, all of it at once.
pub(super) fn name(store: &Store, images: &[(ImageName, Digest)], source: &Source) -> Result<()> {
    // Of several roots of one digest the first says what it is.
    let mut roots: HashMap<Digest, &Root> = HashMap::new();
    for root in source.roots() {
        roots.entry(root.descriptor.digest).or_insert(root);
    }
    store.change_names(|names| {
        names.set_all(images.iter().filter_map(|(name, digest)| {
            let root = roots.get(digest)?;
            Some((name.clone(), root.descriptor.clone()))
        }));
        Ok(())
    })
}
