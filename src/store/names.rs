//! Owns the names of a store: `index.json`, an OCI image index that skopeo and umoci read too.
//!
//! It is the truth about names. The catalog holds none: what is named changes by one rename of this file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::durable;
use crate::digest::Digest;
use crate::error::{Context, Error, Result, quoted};
use crate::json::strict_json;
use crate::reference::{ImageName, Reference};
use crate::wire::{self, Descriptor};

/// The names of a store at one moment.
#[derive(Clone, Debug)]
pub struct Names {
    /// The whole document, with the fields that nobody here knows.
    document: Map<String, Value>,
    entries: Vec<Named>,
}

/// One line of `index.json`.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name; `None` for an entry that another tool wrote without one we can read.
    pub name: Option<ImageName>,
    /// What it names.
    pub descriptor: Descriptor,
}

impl Names {
    /// Returns an index without names.
    pub(crate) fn empty() -> Self {
        let mut document = Map::new();
        document.insert("schemaVersion".to_owned(), 2.into());
        document.insert("mediaType".to_owned(), wire::OCI_INDEX.into());
        Self {
            document,
            entries: Vec::new(),
        }
    }

    /// Reads the index at `path`. A missing or malformed one is damage, never "no names".
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let damaged = |why: String| {
            Error::damaged("read the names in", quoted(path), why)
                .hint("restore the file, or name the images again from the layouts they came from")
        };
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged("it is missing".to_owned()));
            }
            other => other.context("read the names in", quoted(path))?,
        };
        let Ok(Value::Object(mut document)) = strict_json(&bytes) else {
            return Err(damaged("it is not a JSON object".to_owned()));
        };
        let manifests = match document.remove("manifests") {
            Some(Value::Array(manifests)) => manifests,
            // Tools that are written in Go say so where there are none.
            Some(Value::Null) => Vec::new(),
            None => return Err(damaged("it has no 'manifests'".to_owned())),
            Some(_) => return Err(damaged("'manifests' is not a list".to_owned())),
        };
        let mut entries = Vec::with_capacity(manifests.len());
        for value in &manifests {
            let descriptor = Descriptor::from_value(value).map_err(|e| damaged(e.to_string()))?;
            let name = descriptor
                .annotation(wire::REF_NAME)
                .and_then(|text| ImageName::parse(text).ok());
            entries.push(Named { name, descriptor });
        }
        Ok(Self { document, entries })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut document = self.document.clone();
        let manifests = self
            .entries
            .iter()
            .map(|e| Value::Object(e.descriptor.raw.clone()))
            .collect();
        document.insert("manifests".to_owned(), Value::Array(manifests));
        Value::Object(document).to_string().into_bytes()
    }

    /// Writes the index to `path`, whole or not at all.
    pub(crate) fn write(&self, path: &Path, staged: &Path) -> Result<()> {
        durable::replace(path, staged, &self.encode())
    }

    /// Returns every entry.
    pub fn entries(&self) -> &[Named] {
        &self.entries
    }

    /// Returns what `name` names.
    pub fn get(&self, name: &ImageName) -> Option<&Descriptor> {
        self.entries
            .iter()
            .find(|e| e.name.as_ref() == Some(name))
            .map(|e| &e.descriptor)
    }

    /// Names `descriptor`; what had the name before loses it.
    pub fn set(&mut self, name: &ImageName, descriptor: Descriptor) {
        self.set_all([(name.clone(), descriptor)]);
    }

    /// Names any number of descriptors, each as [`Names::set`] does: an archive may give one image very many names.
    pub fn set_all(&mut self, named: impl IntoIterator<Item = (ImageName, Descriptor)>) {
        let named: BTreeMap<ImageName, Descriptor> = named.into_iter().collect();
        self.entries
            .retain(|e| !e.name.as_ref().is_some_and(|name| named.contains_key(name)));
        self.entries
            .extend(named.into_iter().map(|(name, descriptor)| Named {
                descriptor: descriptor.named(Some(&name.to_string())),
                name: Some(name),
            }));
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Removes a name; returns whether it was there.
    pub fn remove(&mut self, name: &ImageName) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.name.as_ref() != Some(name));
        self.entries.len() != before
    }

    /// Finds what `text` means: an exact name first, then a digest, then the beginning of one.
    ///
    /// `digests` are those of all documents that have no name of their own but can be referred to.
    pub fn resolve(&self, text: &str, digests: &[Descriptor]) -> Result<Descriptor> {
        let reference = Reference::parse(text)
            .map_err(|e| Error::usage("read the reference", text, e.to_string()))?;
        let named = |name: &ImageName| self.get(name).cloned();
        let found = match &reference {
            Reference::Name(name) => named(name).into_iter().collect(),
            Reference::Digest(digest) => self.by_digest(digests, |d| d == digest),
            Reference::Prefix {
                algorithm,
                hex,
                name,
            } => match name.as_ref().and_then(named) {
                Some(descriptor) => vec![descriptor],
                None => self.by_digest(digests, |d| {
                    algorithm.is_none_or(|a| a == d.algorithm())
                        && d.hex().starts_with(hex.as_str())
                }),
            },
        };
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::missing("find", text, "no such image in the store")
                .hint("`ocistore images` lists them")),
            many => {
                let list: Vec<String> = many.iter().map(|d| d.digest.to_string()).collect();
                Err(Error::missing(
                    "find",
                    text,
                    format!("it is ambiguous: {}", list.join(", ")),
                )
                .hint("give more digits"))
            }
        }
    }

    fn by_digest(&self, more: &[Descriptor], wanted: impl Fn(&Digest) -> bool) -> Vec<Descriptor> {
        let all = self.entries.iter().map(|e| &e.descriptor).chain(more);
        let mut found: Vec<Descriptor> = Vec::new();
        for descriptor in all.filter(|d| wanted(&d.digest)) {
            if found.iter().all(|f| f.digest != descriptor.digest) {
                found.push(descriptor.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(of: &str) -> Descriptor {
        Descriptor::new(wire::OCI_MANIFEST, Digest::sha256(of.as_bytes()), 2)
    }

    fn name(text: &str) -> ImageName {
        ImageName::parse(text).unwrap()
    }

    #[test]
    fn a_name_moves_and_goes() {
        let mut names = Names::empty();
        names.set(&name("a:1"), descriptor("x"));
        names.set(&name("a:1"), descriptor("y"));
        assert_eq!(
            names.get(&name("a:1")).unwrap().digest,
            descriptor("y").digest
        );
        assert!(names.remove(&name("a:1")));
        assert!(!names.remove(&name("a:1")));
    }

    #[test]
    fn unknown_fields_of_the_index_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        let text = r#"{"schemaVersion":2,"future":[1],"manifests":[]}"#;
        durable::replace(&path, &dir.path().join("staged"), text.as_bytes()).unwrap();
        let written = String::from_utf8(Names::read(&path).unwrap().encode()).unwrap();
        assert!(written.contains(r#""future":[1]"#), "{written}");
    }

    #[test]
    fn a_missing_or_torn_index_is_damage_and_not_an_empty_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        assert_eq!(Names::read(&path).unwrap_err().exit_code(), 3);
        durable::replace(&path, &dir.path().join("staged"), b"{\"manifests\":[{").unwrap();
        assert_eq!(Names::read(&path).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn an_index_without_manifests_is_damage_and_one_of_a_go_tool_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        let staged = dir.path().join("staged");
        for text in ["{}", r#"{"schemaVersion":2}"#, r#"{"manifests":{}}"#] {
            durable::replace(&path, &staged, text.as_bytes()).unwrap();
            assert_eq!(Names::read(&path).unwrap_err().exit_code(), 3, "{text}");
        }
        durable::replace(&path, &staged, br#"{"manifests":null}"#).unwrap();
        assert!(Names::read(&path).unwrap().entries().is_empty());
    }

    #[test]
    fn a_prefix_that_two_digests_share_is_refused_with_both() {
        let mut names = Names::empty();
        names.set(&name("a:1"), descriptor("x"));
        let digest = descriptor("x").digest;
        assert_eq!(
            names.resolve(&digest.hex()[..6], &[]).unwrap().digest,
            digest
        );
        let twin = Digest::parse(&format!("sha256:{}{}", &digest.hex()[..60], "0000")).unwrap();
        let more = [Descriptor::new(wire::OCI_MANIFEST, twin, 2)];
        let error = names.resolve(&digest.hex()[..6], &more).unwrap_err();
        assert!(error.to_string().contains(&twin.to_string()));
        assert_eq!(error.exit_code(), 2);
    }
}
