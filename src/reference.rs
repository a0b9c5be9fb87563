//! Owns how people name images: `NAME[:TAG]`, `NAME@DIGEST`, a digest or its beginning; and skopeo's spellings of
//! places. Names follow the field's grammar (distribution's reference grammar, image-spec annotations.md).

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::{Algorithm, Digest};

/// The full name of an image in a store: `NAME:TAG` or `NAME@DIGEST`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageName {
    repository: String,
    version: Version,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Version {
    Tag(String),
    Digest(Digest),
}

/// Why a text is not a name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected NAME[:TAG] or NAME@ALGORITHM:HEX, got '{0}'")]
pub struct NameError(String);

impl ImageName {
    /// Parses `NAME[:TAG]` (tag `latest` by default) or `NAME@ALGORITHM:HEX`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = || NameError(text.escape_debug().to_string());
        let (repository, version) = match text.split_once('@') {
            Some((repository, digest)) => (
                repository,
                Version::Digest(Digest::parse(digest).map_err(|_| refuse())?),
            ),
            None => match split_tag(text) {
                Some((repository, tag)) => (repository, Version::Tag(tag.to_owned())),
                None => (text, Version::Tag("latest".to_owned())),
            },
        };
        let tag_ok = match &version {
            Version::Tag(tag) => is_tag(tag),
            Version::Digest(_) => true,
        };
        // A whole digest always means what has it: no image could be called by such a name.
        if !is_repository(repository) || !tag_ok || Digest::parse(text).is_ok() {
            return Err(refuse());
        }
        Ok(Self {
            repository: repository.to_owned(),
            version,
        })
    }

    /// Returns `repository:tag`.
    pub fn tagged(repository: &str, tag: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{repository}:{tag}"))
    }

    /// Returns `repository@digest`, the name of an image that has no other.
    pub fn by_digest(repository: &str, digest: &Digest) -> Result<Self, NameError> {
        Self::parse(&format!("{repository}@{digest}"))
    }

    /// Returns the part before tag or digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, where it has one.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

/// A tag is what follows the last colon, unless a slash follows too: then the colon is a port's.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_repository(text: &str) -> bool {
    let mut parts = text.split('/');
    let Some(first) = parts.next() else {
        return false;
    };
    let more = text.contains('/');
    let (host, port) = if more {
        first.split_once(':').unwrap_or((first, "0"))
    } else {
        (first, "0")
    };
    text.len() <= 1024
        && is_component(host)
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && parts.all(is_component)
}

fn is_component(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Turns a folder's or file's name into a repository: what the grammar does not allow becomes `-`.
pub fn repository_from_path(path: &Path) -> String {
    let stem = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let clean: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let clean = clean.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if clean.is_empty() {
        "image".to_owned()
    } else {
        clean.to_owned()
    }
}

/// What a person means by a reference; the store finds what it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// A full name.
    Name(ImageName),
    /// A full digest.
    Digest(Digest),
    /// The first hex digits of a digest, at least 6, perhaps with the algorithm; also a name with the tag `latest`.
    Prefix {
        /// The algorithm, where it was written.
        algorithm: Option<Algorithm>,
        /// Lowercase hex digits.
        hex: String,
        /// The same text as a name, which wins where it exists.
        name: Option<ImageName>,
    },
}

impl Reference {
    /// Parses any spelling of a reference.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Ok(digest) = Digest::parse(text) {
            return Ok(Self::Digest(digest));
        }
        let name = ImageName::parse(text).ok();
        let (algorithm, hex) = match text.split_once(':') {
            Some((before, hex)) => (Algorithm::ALL.into_iter().find(|a| a.name() == before), hex),
            None => (None, text),
        };
        let is_hex = hex.len() >= 6 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (algorithm.is_some() || !text.contains(':')) {
            return Ok(Self::Prefix {
                algorithm,
                hex: hex.to_owned(),
                name,
            });
        }
        name.map(Self::Name)
            .ok_or_else(|| NameError(text.escape_debug().to_string()))
    }
}

/// Where images come from or go to, as skopeo spells it (containers-transports(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// An OCI image layout directory.
    Layout(PathBuf, Pick),
    /// A tar file of an OCI image layout.
    OciArchive(PathBuf, Pick),
    /// A tar file as `docker save` writes it.
    DockerArchive(PathBuf, Pick),
    /// A path whose kind shows when it is looked at.
    Path(PathBuf, Pick),
    /// Standard input or output.
    Stream,
}

/// Which of a place's images is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pick {
    /// All there are.
    All,
    /// The one of this name.
    Ref(String),
    /// The one of this digest.
    Digest(Digest),
}

impl Place {
    /// Parses `oci:DIR[:REF]`, `oci:DIR@DIGEST`, `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`, a path, or `-`.
    pub fn parse(text: &str) -> Self {
        type Transport = (&'static str, fn(PathBuf, Pick) -> Place);
        let transports: [Transport; 3] = [
            ("oci:", Self::Layout),
            ("oci-archive:", Self::OciArchive),
            ("docker-archive:", Self::DockerArchive),
        ];
        if text == "-" {
            return Self::Stream;
        }
        for (prefix, place) in transports {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (path, pick) = split_pick(rest);
                return place(path, pick);
            }
        }
        // A bare path that exists as it is written needs no reading.
        if Path::new(text).exists() {
            return Self::Path(PathBuf::from(text), Pick::All);
        }
        let (path, pick) = split_pick(text);
        Self::Path(path, pick)
    }
}

/// A path ends at the first colon; a digest may follow an `@` instead.
fn split_pick(text: &str) -> (PathBuf, Pick) {
    for algorithm in Algorithm::ALL {
        if let Some((path, rest)) = text.split_once(&format!("@{}:", algorithm.name()))
            && let Ok(digest) = Digest::parse(&format!("{}:{rest}", algorithm.name()))
        {
            return (PathBuf::from(path), Pick::Digest(digest));
        }
    }
    match text.split_once(':') {
        Some((path, "")) => (PathBuf::from(path), Pick::All),
        Some((path, reference)) => (PathBuf::from(path), Pick::Ref(reference.to_owned())),
        None => (PathBuf::from(text), Pick::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_tag_or_a_digest() {
        for (text, full) in [
            ("debian", "debian:latest"),
            ("debian:12", "debian:12"),
            (
                "registry.example/library/debian:12",
                "registry.example/library/debian:12",
            ),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ] {
            assert_eq!(ImageName::parse(text).unwrap().to_string(), full);
        }
        let by_digest = format!("debian@{}", Digest::sha256(b""));
        assert_eq!(ImageName::parse(&by_digest).unwrap().to_string(), by_digest);
        for bad in [
            "",
            ":",
            "a:",
            ":a",
            "a b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "../a",
            "a:b:c",
            "a@sha256:00",
            "ä",
        ] {
            assert!(ImageName::parse(bad).is_err(), "{bad}");
        }
    }

    /// Such a name was taken, and then led to the digest, never to its image.
    #[test]
    fn a_name_is_no_digest() {
        let digest = Digest::sha256(b"").to_string();
        assert!(ImageName::parse(&digest).is_err());
        assert!(ImageName::tagged("sha256", &digest[7..]).is_err());
        assert!(ImageName::tagged("sha256", &digest[7..70]).is_ok());
    }

    #[test]
    fn a_word_of_hex_digits_may_be_a_digest_or_a_name() {
        assert!(matches!(
            Reference::parse("cafe12").unwrap(),
            Reference::Prefix { name: Some(_), .. }
        ));
        assert!(matches!(
            Reference::parse("sha256:cafe12").unwrap(),
            Reference::Prefix {
                algorithm: Some(_),
                ..
            }
        ));
        assert!(matches!(
            Reference::parse("cafe").unwrap(),
            Reference::Name(_)
        ));
        assert!(matches!(
            Reference::parse("cafe12:1").unwrap(),
            Reference::Name(_)
        ));
    }

    #[test]
    fn a_path_ends_at_the_first_colon() {
        assert_eq!(
            Place::parse("oci:a/b:c:d"),
            Place::Layout("a/b".into(), Pick::Ref("c:d".to_owned()))
        );
        assert_eq!(
            Place::parse("oci-archive:x.tar"),
            Place::OciArchive("x.tar".into(), Pick::All)
        );
        let digest = Digest::sha256(b"");
        assert_eq!(
            Place::parse(&format!("oci:d@{digest}")),
            Place::Layout("d".into(), Pick::Digest(digest))
        );
        assert_eq!(Place::parse("-"), Place::Stream);
    }
}
