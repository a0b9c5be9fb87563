//! The property of what people type: names, digests, references and places have one spelling each, and none of them
//! leads out of a folder.

use crate::digest::Digest;
use crate::reference::{ImageName, Pick, Place, Reference, repository_from_path};

/// What parses, displays as something that parses to the same.
pub fn references(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    name(&text);
    digest(&text);
    reference(&text);
    place(&text);
    paths(data);
}

fn name(text: &str) {
    let Ok(name) = ImageName::parse(text) else {
        return;
    };
    let shown = name.to_string();
    assert_eq!(ImageName::parse(&shown).as_ref(), Ok(&name), "{shown}");
    assert!(shown.starts_with(name.repository()));
    for part in name.repository().split('/').chain(name.tag()) {
        assert!(!part.is_empty() && part != "." && part != "..", "{shown}");
    }
    assert!(
        !shown.bytes().any(|b| b <= b' ' || b >= 0x7f || b == b'\\'),
        "{shown}"
    );
    if let Some(tag) = name.tag() {
        assert_eq!(
            ImageName::tagged(name.repository(), tag).as_ref(),
            Ok(&name)
        );
    }
    // A name always resolves as itself, whatever else it may mean.
    match Reference::parse(&shown) {
        Ok(Reference::Name(other)) => assert_eq!(other, name),
        Ok(Reference::Prefix { name: other, .. }) => assert_eq!(other.as_ref(), Some(&name)),
        other => panic!("the name {shown} is read as {other:?}"),
    }
}

fn digest(text: &str) {
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
        assert_eq!(
            Digest::from_raw(digest.algorithm(), digest.as_bytes()),
            Some(digest)
        );
        assert!(digest.hex().starts_with(&digest.short()));
        assert_eq!(Reference::parse(text), Ok(Reference::Digest(digest)));
    }
}

fn reference(text: &str) {
    let Ok(reference) = Reference::parse(text) else {
        return;
    };
    match reference {
        Reference::Name(name) => assert_eq!(ImageName::parse(text), Ok(name)),
        Reference::Digest(digest) => assert_eq!(digest.to_string(), text),
        Reference::Prefix {
            algorithm,
            hex,
            name,
        } => {
            assert!(
                hex.len() >= 6
                    && hex
                        .bytes()
                        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            let prefix = algorithm
                .map(|a| format!("{}:", a.name()))
                .unwrap_or_default();
            assert_eq!(format!("{prefix}{hex}"), text);
            assert_eq!(name, ImageName::parse(text).ok());
        }
    }
}

/// Writes a place as its reader would have it.
fn spell(place: &Place) -> Option<String> {
    let (prefix, path, pick) = match place {
        Place::Layout(path, pick) => ("oci:", path, pick),
        Place::OciArchive(path, pick) => ("oci-archive:", path, pick),
        Place::DockerArchive(path, pick) => ("docker-archive:", path, pick),
        Place::Path(path, pick) => ("", path, pick),
        Place::Stream => return Some("-".to_owned()),
    };
    let path = path.to_str()?;
    Some(match pick {
        Pick::All => format!("{prefix}{path}"),
        Pick::Ref(name) => format!("{prefix}{path}:{name}"),
        Pick::Digest(digest) => format!("{prefix}{path}@{digest}"),
    })
}

fn place(text: &str) {
    let place = Place::parse(text);
    let Some(spelled) = spell(&place) else { return };
    // A colon with nothing behind it picks all, like no colon.
    assert_eq!(
        spelled,
        text.strip_suffix(':')
            .filter(|_| spelled != text)
            .unwrap_or(text)
    );
    if !text.ends_with(':') {
        assert_eq!(Place::parse(&spelled), place);
    }
}

fn paths(data: &[u8]) {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(data));
    let repository = repository_from_path(path);
    if repository.len() <= 1024 {
        assert!(ImageName::tagged(&repository, "1").is_ok(), "{repository}");
    }
    if let Ok(steps) = crate::path::TreePath::parse(data) {
        let again = crate::path::TreePath::parse(
            &data
                .split(|b| *b == b'/')
                .rev()
                .collect::<Vec<_>>()
                .join(&b'/'),
        );
        let again = again.expect("the same names in another order");
        assert!(again.steps().rev().eq(steps.steps()));
    }
}
