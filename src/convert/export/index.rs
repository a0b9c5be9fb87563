//! Owns `index.json` of a layout that others write too: our names go in, everything else stays as it is.

use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::stage::{self, Stage};
use crate::error::{Context, Error, Result, quoted};
use crate::json::strict_json;
use crate::store::durable;
use crate::wire::{self, Descriptor};

/// How often an index that changes under our hands is read anew.
const ATTEMPTS: u32 = 100;

/// Returns an index of nothing but `roots`.
pub(super) fn fresh(roots: &[Descriptor]) -> Vec<u8> {
    let mut document = Map::new();
    document.insert("schemaVersion".to_owned(), 2.into());
    document.insert("mediaType".to_owned(), wire::OCI_INDEX.into());
    let manifests = roots
        .iter()
        .map(|root| Value::Object(root.raw.clone()))
        .collect();
    document.insert("manifests".to_owned(), Value::Array(manifests));
    Value::Object(document).to_string().into_bytes()
}

/// Names `roots` in the layout at `folder`: the old index is read, added to and replaced in one go.
pub(super) fn merge(folder: &Path, stage: &Stage, roots: &[Descriptor]) -> Result<()> {
    let path = folder.join("index.json");
    let _lock = stage::lock(folder)?;
    for _ in 0..ATTEMPTS {
        let before = read(&path)?;
        let after = match &before {
            Some(bytes) => merged(&path, bytes, roots)?,
            None => fresh(roots),
        };
        if before.as_ref() == Some(&after) {
            return Ok(());
        }
        let (staged, mut file) = stage.create("index")?;
        file.write_all(&after).context("write", quoted(&staged))?;
        durable::sync_file(&file, &staged)?;
        // Other tools do not take our lock: what they wrote meanwhile is read anew.
        if read(&path)? == before {
            durable::rename(&staged, &path)?;
            return durable::sync_folder(folder);
        }
    }
    Err(
        Error::failed("write", quoted(&path), "others write it all the time")
            .hint("try again later"),
    )
}

/// Reads a small file of a layout, where it is there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match durable::open_regular(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.context("read", quoted(path))?,
    };
    let mut bytes = Vec::new();
    file.take(wire::DOCUMENT_MAX + 1)
        .read_to_end(&mut bytes)
        .context("read", quoted(path))?;
    if bytes.len() as u64 > wire::DOCUMENT_MAX {
        let why = format!("it has more than {} bytes", wire::DOCUMENT_MAX);
        return Err(Error::malformed("read", quoted(path), why));
    }
    Ok(Some(bytes))
}

fn merged(path: &Path, bytes: &[u8], roots: &[Descriptor]) -> Result<Vec<u8>> {
    let malformed = |why: String| Error::malformed("add to", quoted(path), why);
    let mut value = strict_json(bytes).map_err(|e| malformed(e.to_string()))?;
    let Value::Object(document) = &mut value else {
        return Err(malformed("expected a JSON object".to_owned()));
    };
    let manifests = document
        .entry("manifests")
        .or_insert_with(|| Value::Array(Vec::new()));
    if manifests.is_null() {
        *manifests = Value::Array(Vec::new());
    }
    let Value::Array(manifests) = manifests else {
        return Err(malformed("'manifests' is not a list".to_owned()));
    };
    for root in roots {
        put(manifests, root);
    }
    Ok(value.to_string().into_bytes())
}

/// Puts an entry where its name was, or at the end.
fn put(manifests: &mut Vec<Value>, root: &Descriptor) {
    let name = root.annotation(wire::REF_NAME);
    let has_name =
        |entry: &Value| name.is_some() && entry["annotations"][wire::REF_NAME].as_str() == name;
    let at = manifests
        .iter()
        .position(has_name)
        .unwrap_or(manifests.len());
    manifests.retain(|entry| !has_name(entry));
    manifests.insert(at.min(manifests.len()), Value::Object(root.raw.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn root(of: &str, name: &str) -> Descriptor {
        Descriptor::new(wire::OCI_MANIFEST, Digest::sha256(of.as_bytes()), 1).named(Some(name))
    }

    fn merge_into(old: &str, roots: &[Descriptor]) -> Result<String> {
        let bytes = merged(Path::new("index.json"), old.as_bytes(), roots)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn other_names_and_unknown_fields_stay_as_they_are() {
        let other = r#"{"digest":"odd","later":[1.5],"annotations":{"org.opencontainers.image.ref.name":"b"}}"#;
        let old =
            format!(r#"{{"future":{{"x":1}},"manifests":[{other}],"annotations":{{"k":"v"}}}}"#);
        let new = merge_into(&old, &[root("x", "a")]).unwrap();
        assert!(
            new.starts_with(&format!(r#"{{"future":{{"x":1}},"manifests":[{other},"#)),
            "{new}"
        );
        assert!(new.ends_with(r#"],"annotations":{"k":"v"}}"#), "{new}");
    }

    #[test]
    fn a_name_that_was_there_names_the_new_image_and_nothing_else() {
        let three = fresh(&[root("x", "a"), root("y", "b"), root("z", "c")]);
        let first = String::from_utf8(three)
            .unwrap()
            .replace(r#":"c""#, r#":"a""#);
        let new = merge_into(&first, &[root("w", "a")]).unwrap();
        assert_eq!(new.into_bytes(), fresh(&[root("w", "a"), root("y", "b")]));
    }

    #[test]
    fn an_index_that_cannot_be_read_is_not_replaced() {
        for bad in [
            "",
            "[]",
            r#"{"manifests":7}"#,
            r#"{"manifests":[],"manifests":[]}"#,
        ] {
            assert_eq!(
                merge_into(bad, &[root("x", "a")]).unwrap_err().exit_code(),
                4,
                "{bad}"
            );
        }
    }
}
