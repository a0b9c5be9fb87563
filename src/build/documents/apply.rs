//! Owns making a change in an object of a document. All that the change does not name stays as and where it was.

use serde_json::{Map, Value};

use super::change::Action;
use super::fields::Shape;

/// Makes the change `action` of the field `key` in `object`.
pub(super) fn apply(object: &mut Map<String, Value>, (key, shape): (&str, Shape), action: &Action) {
    match action {
        Action::Clear => {
            object.shift_remove(key);
        }
        Action::Text(text) => put(object, key, text.as_str()),
        Action::Words(words) => put(object, key, words.as_slice()),
        Action::Pair(name, value) if shape == Shape::Env => {
            in_list(object, key, |list| set_variable(list, name, value));
        }
        Action::Pair(name, value) => in_object(object, key, |map| put(map, name, value.as_str())),
        Action::Member(member) => in_object(object, key, |map| {
            map.entry(member).or_insert_with(|| Map::new().into());
        }),
        Action::Drop(name) => drop_member(object, key, name),
    }
}

/// Puts a value where the old one was, or at the end.
pub(super) fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

/// Edits the object of `key`, which is made where it is missing or `null`.
pub(super) fn in_object(
    object: &mut Map<String, Value>,
    key: &str,
    edit: impl FnOnce(&mut Map<String, Value>),
) {
    let slot = object.entry(key).or_insert(Value::Null);
    let mut map = match slot.take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    edit(&mut map);
    *slot = Value::Object(map);
}

/// Edits the list of `key`, which is made where it is missing or `null`.
pub(super) fn in_list(
    object: &mut Map<String, Value>,
    key: &str,
    edit: impl FnOnce(&mut Vec<Value>),
) {
    let slot = object.entry(key).or_insert(Value::Null);
    let mut list = match slot.take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    edit(&mut list);
    *slot = Value::Array(list);
}

/// Tells whether an item of `Env` is the variable `name`.
fn is_variable(item: &Value, name: &str) -> bool {
    let text = item.as_str().unwrap_or_default();
    text.split_once('=').map_or(text, |(name, _)| name) == name
}

/// A variable stands once, where it stood first.
fn set_variable(list: &mut Vec<Value>, name: &str, value: &str) {
    let at = list.iter().position(|item| is_variable(item, name));
    let at = at.unwrap_or(list.len());
    list.retain(|item| !is_variable(item, name));
    list.insert(at, format!("{name}={value}").into());
}

/// Takes a pair or member away, and the field with its last one.
fn drop_member(object: &mut Map<String, Value>, key: &str, name: &str) {
    let is_empty = match object.get_mut(key) {
        Some(Value::Array(list)) => {
            list.retain(|item| !is_variable(item, name));
            list.is_empty()
        }
        Some(Value::Object(map)) => {
            map.shift_remove(name);
            map.is_empty()
        }
        _ => false,
    };
    if is_empty {
        object.shift_remove(key);
    }
}
