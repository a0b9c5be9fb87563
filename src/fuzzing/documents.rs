//! The property of documents: whatever JSON comes, what is read of it is in it, and reads the same when written anew.

use serde_json::Value;

use super::tar::{in_memory, path_of};
use crate::digest::Digest;
use crate::json::strict_json;
use crate::reference::ImageName;
use crate::store::names::Names;
use crate::wire::{self, Config, Descriptor, Document};

/// Documents parse without a panic, and to the same from what they parsed to. The first byte picks the type.
pub fn documents(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let value = strict_json(data).ok();
    if let Some(value) = &value {
        // Numbers beyond 64 bits become floats, and those do not always come back from their digits. Documents are
        // kept as bytes, so that no digest depends on it.
        if has_float(value) {
            drop(Document::parse(data, wire::OCI_MANIFEST));
            return;
        }
        json(value);
    }
    match which % 7 {
        0 => document(data, value.as_ref(), wire::OCI_MANIFEST),
        1 => document(data, value.as_ref(), wire::OCI_INDEX),
        2 => document(data, value.as_ref(), "application/x-unknown"),
        3 => config(data, value.as_ref()),
        4 => layout(data, value.as_ref()),
        5 => names(data, value.as_ref()),
        _ => descriptor(value.as_ref()),
    }
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(map) => map.values().any(has_float),
        Value::Number(number) => number.is_f64(),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn json(value: &Value) {
    let written = value.to_string();
    let again = strict_json(written.as_bytes()).ok();
    assert_eq!(again.as_ref(), Some(value), "{written}");
    assert!(serde_json::from_str::<Value>(&written).ok().as_ref() == Some(value));
}

fn document(data: &[u8], value: Option<&Value>, media_type: &str) {
    let Ok(document) = Document::parse(data, media_type) else {
        return;
    };
    let found = document.descriptors();
    let Some(value) = value else {
        // Only a document of an unknown type may be anything but JSON.
        assert!(found.is_empty());
        return;
    };
    let text = value.to_string();
    assert_eq!(
        Document::parse(text.as_bytes(), media_type).ok().as_ref(),
        Some(&document)
    );
    for descriptor in found {
        is_in(descriptor, value);
    }
    let everywhere = wire::descriptors_in(value);
    for descriptor in &everywhere {
        is_in(descriptor, value);
    }
    if let Document::Manifest(manifest) = &document {
        let _ = manifest.is_image();
    }
}

/// A descriptor that was read is an object of the document, digest and size as they stand there.
fn is_in(descriptor: &Descriptor, value: &Value) {
    let digest = descriptor.digest.to_string();
    assert!(
        has(value, &digest, descriptor.size),
        "{digest} comes from nowhere"
    );
}

fn has(value: &Value, digest: &str, size: u64) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|v| has(v, digest, size)),
        Value::Object(map) => {
            (map.get("digest").and_then(Value::as_str) == Some(digest)
                && map.get("size").and_then(Value::as_u64) == Some(size))
                || map.values().any(|v| has(v, digest, size))
        }
        _ => false,
    }
}

fn config(data: &[u8], value: Option<&Value>) {
    if let Ok(config) = Config::parse(data) {
        let text = value.map(Value::to_string).unwrap_or_default();
        assert_eq!(Config::parse(text.as_bytes()), Ok(config));
    }
}

fn layout(data: &[u8], value: Option<&Value>) {
    if wire::check_layout_file(data).is_ok() {
        let version = value.and_then(|v| v.get("imageLayoutVersion")?.as_str());
        assert!(version.is_some_and(|v| v.starts_with('1')));
    }
}

/// A store's `index.json` keeps what nobody knows, and names come and go.
fn names(data: &[u8], value: Option<&Value>) {
    let read = |bytes: &[u8]| {
        let file = in_memory(bytes);
        Names::read(&path_of(&file))
    };
    let Ok(mut names) = read(data) else { return };
    let value = value.expect("what was read is JSON");
    let all = |names: &Names| -> Vec<_> {
        let entries = names.entries().iter();
        entries
            .map(|e| (e.name.clone(), e.descriptor.clone()))
            .collect()
    };
    let before = all(&names);
    before.iter().for_each(|(_, d)| is_in(d, value));
    let encoded = names.encode();
    let others = |value: &Value| {
        let mut map = value.as_object().cloned().unwrap_or_default();
        map.shift_remove("manifests");
        map
    };
    let written = strict_json(&encoded).expect("what was written is JSON");
    assert_eq!(others(&written), others(value));
    assert_eq!(
        all(&read(&encoded).expect("what was written reads")),
        before
    );
    let name = ImageName::parse("a:1").expect("a name");
    let new = Descriptor::new(wire::OCI_MANIFEST, Digest::sha256(b"new"), 3);
    names.set(&name, new.clone());
    assert_eq!(names.get(&name).map(|d| d.digest), Some(new.digest));
    assert!(names.remove(&name) && names.get(&name).is_none());
    let rest: Vec<_> = before
        .into_iter()
        .filter(|(n, _)| n.as_ref() != Some(&name))
        .collect();
    assert_eq!(all(&names).len(), rest.len());
}

fn descriptor(value: Option<&Value>) {
    let Some(Ok(descriptor)) = value.map(Descriptor::from_value) else {
        return;
    };
    let written = Value::Object(descriptor.raw.clone());
    assert_eq!(value, Some(&written));
    if let Some(data) = &descriptor.data {
        assert!(descriptor.digest.matches(data) && data.len() as u64 == descriptor.size);
    }
    let named = descriptor.clone().named(Some("a:1"));
    assert_eq!(named.annotation(wire::REF_NAME), Some("a:1"));
    assert_eq!(named.digest, descriptor.digest);
    let unnamed = named.named(None);
    assert_eq!(unnamed.annotation(wire::REF_NAME), None);
    drop(Descriptor::from_value(&Value::Object(unnamed.raw)));
}
