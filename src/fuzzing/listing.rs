//! Owns the listing of a tar as other programs would extract it: its merged tree, one JSON object an input.

use serde_json::{Map, Value, json};

use super::generator::tar_of;
use super::tar::{Layer, Memory, merge_on, take_apart};
use crate::digest::{Digest, TreeId, hex};
use crate::meta::Meta;
use crate::tree::{Content, Item, Kind, Leaf, Nodes as _};

/// Returns the tar that the bytes describe and what is in it, or why it is refused, as one line of JSON.
pub fn listing(data: &[u8]) -> String {
    let tar = tar_of(data);
    let mut line = Map::new();
    line.insert("tar".to_owned(), hex(&tar).into());
    match tree(&tar) {
        Ok((tree, warnings)) => {
            line.insert("warnings".to_owned(), warnings.into());
            line.insert("tree".to_owned(), tree.into())
        }
        Err(why) => line.insert("refused".to_owned(), why.into()),
    };
    Value::Object(line).to_string()
}

fn tree(tar: &[u8]) -> Result<(Vec<Value>, Vec<&'static str>), String> {
    let mut layer = take_apart(tar).map_err(|e| e.in_layer("tar").to_string())?;
    let nodes = Memory::default();
    let mut warnings = std::mem::take(&mut layer.warnings);
    let root = merge_on(&nodes, &layer, None, &mut warnings).map_err(|e| e.to_string())?;
    let mut listed = Vec::new();
    list(&nodes, &layer, (root, &mut Vec::new()), &mut listed);
    let warnings = warnings.iter().map(|(warning, _)| warning.name());
    Ok((listed, warnings.collect()))
}

fn list(
    nodes: &Memory,
    layer: &Layer,
    (id, path): (TreeId, &mut Vec<u8>),
    listed: &mut Vec<Value>,
) {
    let node = nodes.node(&id).expect("a node that was just made");
    for (name, item) in &node.entries {
        let before = path.len();
        if before > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        match item {
            Item::Dir(below) => {
                let meta = nodes
                    .node(&below.id)
                    .expect("a node that was just made")
                    .meta;
                listed.push(thing(path, "dir", &meta, &Value::Null));
                list(nodes, layer, (below.id, path), listed);
            }
            Item::Leaf(leaf) => listed.push(leaf_of(layer, path, leaf)),
        }
        path.truncate(before);
    }
}

fn leaf_of(layer: &Layer, path: &[u8], leaf: &Leaf) -> Value {
    let (kind, more) = match &leaf.kind {
        Kind::File(content) => ("file", json!(content_of(layer, *content))),
        Kind::Symlink(target) => ("symlink", json!(hex(target))),
        Kind::Char(device) => ("char", json!([device.major, device.minor])),
        Kind::Block(device) => ("block", json!([device.major, device.minor])),
        Kind::Fifo => ("fifo", Value::Null),
    };
    let mut thing = thing(path, kind, &leaf.meta, &more);
    thing["group"] = leaf.group.map(|group| hex(&group.0)).into();
    thing
}

/// Length and SHA-256 of a file.
fn content_of(layer: &Layer, content: Content) -> (u64, String) {
    let data = match content {
        Content::Empty => &[][..],
        Content::Object { id, .. } => {
            let at = layer.refs().iter().position(|r| r.id == id);
            &layer.contents[at.expect("a content of the layer")]
        }
    };
    (content.size(), Digest::sha256(data).hex())
}

fn thing(path: &[u8], kind: &str, meta: &Meta, more: &Value) -> Value {
    json!({
        "path": hex(path),
        "kind": kind,
        "more": more,
        "mode": meta.mode,
        "uid": meta.uid,
        "gid": meta.gid,
        "secs": meta.mtime.secs,
        "nanos": meta.mtime.nanos,
    })
}
