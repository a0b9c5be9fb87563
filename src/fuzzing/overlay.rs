//! The property of the overlay: it makes of any layers what the slow model makes of them, in one go or layer by layer.

use super::bytes::Bytes;
use super::model::{Model, Path, Shown, Thing};
use super::tar::Memory;
use crate::convert::overlay::{LayerEntries, Overlay};
use crate::digest::{ContentId, TreeId};
use crate::entry::{Action, Entry, Payload};
use crate::error::Result;
use crate::meta::{Meta, Mtime};
use crate::path::{Step, TreePath};
use crate::recipe::ContentRef;
use crate::tree::{Item, Node, Nodes as _, Subtree};
use crate::warning::Warnings;

/// The most layers an input makes.
const LAYERS_MAX: usize = 6;

/// Code and model agree on what is refused, and on the tree.
pub fn overlay(data: &[u8]) {
    let layers = layers(data);
    let contents = contents();
    let nodes = Memory::default();
    let mut model = Model::default();
    let mut roots: Vec<TreeId> = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let expected = model.apply(layer, &contents);
        let actual = merge(&nodes, roots.last().copied(), std::slice::from_ref(layer));
        match (expected, actual) {
            (Ok(()), Ok(root)) => {
                assert_eq!(
                    show(&nodes, root),
                    model.show(),
                    "after layer {number} of {layers:#?}"
                );
                roots.push(root);
            }
            (Err(_), Err(e)) => {
                assert_eq!(e.exit_code(), 4, "{e}");
                break;
            }
            (Err(_), Ok(_)) => panic!("layer {number} has to be refused: {layers:#?}"),
            (Ok(()), Err(e)) => panic!("layer {number} is refused: {e}: {layers:#?}"),
        }
    }
    // However many of them are merged in one go, from wherever: the trees are the same.
    for from in 0..roots.len() {
        let lower = from.checked_sub(1).map(|below| roots[below]);
        let together = merge(&nodes, lower, &layers[from..roots.len()]);
        assert_eq!(
            together.ok().as_ref(),
            roots.last(),
            "from layer {from} of {layers:#?}"
        );
    }
}

/// Merges with the code, and encodes after every layer as the importer does.
fn merge(nodes: &Memory, lower: Option<TreeId>, layers: &[Vec<Entry>]) -> Result<TreeId> {
    let contents = contents();
    let mut overlay = Overlay::new(nodes, lower)?;
    let mut root = None;
    for entries in layers {
        let layer = LayerEntries {
            name: "the layer",
            entries,
            contents: &contents,
        };
        overlay.apply(&layer, &mut Warnings::default())?;
        let merged = overlay.finish()?;
        nodes.0.borrow_mut().extend(merged.nodes);
        root = Some(merged.root);
    }
    Ok(root.expect("at least one layer"))
}

fn contents() -> [ContentRef; 2] {
    [&b"one"[..], b"other"].map(|data| ContentRef {
        id: ContentId::of(data),
        size: data.len() as u64,
    })
}

/// Lists a tree, and checks what every directory says of those below it.
fn show(nodes: &Memory, root: TreeId) -> Shown {
    let mut shown = Vec::new();
    show_dir(nodes, root, &mut Path::new(), &mut shown);
    shown
}

fn show_dir(nodes: &Memory, id: TreeId, path: &mut Path, shown: &mut Shown) -> Node {
    let node = nodes.node(&id).expect("a node that was made");
    shown.push((path.clone(), Thing::Dir(node.meta.clone())));
    for (name, item) in &node.entries {
        path.push(name.as_bytes().to_vec());
        match item {
            Item::Dir(Subtree { id, shape, totals }) => {
                let below = show_dir(nodes, *id, path, shown);
                assert_eq!((below.shape(), below.totals()), (*shape, *totals));
            }
            Item::Leaf(leaf) => {
                let thing = Thing::Leaf(leaf.kind.clone(), leaf.meta.clone(), leaf.group);
                shown.push((path.clone(), thing));
            }
        }
        path.pop();
    }
    node
}

/// Reads layers out of the bytes: a kind, and one or two paths of two bytes each.
fn layers(data: &[u8]) -> Vec<Vec<Entry>> {
    let mut from = Bytes(data);
    let mut layers = vec![Vec::new()];
    let mut at = 0;
    while !from.is_empty() {
        let kind = from.next();
        if kind & 15 == 15 {
            if layers.len() == LAYERS_MAX {
                break;
            }
            layers.push(Vec::new());
            continue;
        }
        at += 1;
        if let (Some(entry), Some(layer)) = (entry(kind, at, &mut from), layers.last_mut()) {
            layer.push(entry);
        }
    }
    layers
}

/// Reads one entry, or nothing where the parser would never make one like it.
fn entry(kind: u8, at: u64, from: &mut Bytes<'_>) -> Option<Entry> {
    let (mut path, more) = (text(from), kind >> 4);
    // Every inode is told from every other by its time.
    let meta = Meta {
        mode: 0o700 | u16::from(more & 7),
        mtime: Mtime {
            secs: i64::try_from(at).unwrap_or_default(),
            nanos: 0,
        },
        ..Meta::default()
    };
    let action = match kind & 15 {
        0..=3 => Action::File(meta, payload(more)),
        4 | 5 => {
            shorten(&mut path, more);
            Action::Dir(meta)
        }
        6 | 7 => Action::Symlink(meta, text(from).into_bytes().into()),
        8 | 9 => Action::Link(parse(&text(from))),
        10 | 11 => Action::Whiteout,
        12 => {
            shorten(&mut path, more);
            Action::Opaque
        }
        13 => Action::Fifo(meta),
        _ if more & 1 == 0 => {
            path = format!(".wh..wh.plnk/{}", more >> 1);
            Action::File(meta, payload(more))
        }
        _ => Action::Link(parse(&format!(".wh..wh.plnk/{}", more >> 1))),
    };
    let path = parse(&path);
    let marks = matches!(action, Action::Whiteout);
    let named = matches!(path.split_last(), Some((_, Step::Child(_))));
    (!marks || named).then_some(Entry { at, path, action })
}

fn payload(more: u8) -> Payload {
    let ordinal = (more & 8 != 0).then_some(u32::from(more & 1));
    let size = ordinal.map_or(0, |n| contents()[n as usize].size);
    Payload { ordinal, size }
}

/// Directories and opaque markers may mean the root.
fn shorten(path: &mut String, more: u8) {
    if more & 8 != 0 {
        path.truncate(path.rfind('/').unwrap_or_default());
    }
}

fn parse(path: &str) -> TreePath {
    TreePath::parse(path.as_bytes()).expect("paths are made of good names")
}

/// Reads a path of one to four names out of two bytes.
fn text(from: &mut Bytes<'_>) -> String {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "a.", "..", "a", "b"];
    let bits = u16::from_le_bytes([from.next(), from.next()]);
    let names: Vec<&str> = (0..=(bits & 3))
        .map(|i| NAMES[usize::from(bits >> (2 + 3 * i) & 7)])
        .collect();
    let begin = if bits & 0x4000 != 0 { "/" } else { "" };
    format!("{begin}{}", names.join("/"))
}
