//! Owns the merkle tree: one node a directory, its canonical bytes, and the two hashes of each.
//! Refuses every encoding but the canonical one. Byte by byte in `docs/format.md`, "Tree node".

use std::collections::BTreeMap;

use crate::codec::{Cursor, DecodeError, put_bytes, put_meta, put_varint};
use crate::digest::{ContentId, LinkGroup, ShapeId, TreeId};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::path::Name;

/// The version byte of a node.
const VERSION: u8 = 1;

/// A directory: its own metadata and its entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// The directory's own metadata.
    pub meta: Meta,
    /// The entries, strictly sorted by raw name.
    pub entries: Vec<(Name, Item)>,
}

/// Where nodes come from.
pub trait Nodes {
    /// Returns the node of `id`.
    fn node(&self, id: &TreeId) -> Result<Node>;
}

/// Nodes by their ids, encoded.
pub type NewNodes = BTreeMap<TreeId, Vec<u8>>;

/// New nodes over those that were there before.
#[derive(Clone, Copy)]
pub struct Layered<'a> {
    /// Nodes that are looked for first.
    pub over: &'a NewNodes,
    /// Where all others come from.
    pub under: &'a dyn Nodes,
}

impl std::fmt::Debug for Layered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered")
            .field("over", &self.over.len())
            .finish_non_exhaustive()
    }
}

impl Nodes for Layered<'_> {
    fn node(&self, id: &TreeId) -> Result<Node> {
        match self.over.get(id) {
            Some(bytes) => Node::decode(bytes)
                .map_err(|e| Error::damaged("read", format!("tree node {id}"), e.to_string())),
            None => self.under.node(id),
        }
    }
}

/// What a name in a directory leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A directory, which has a node of its own.
    Dir(Subtree),
    /// Anything else.
    Leaf(Leaf),
}

/// A directory as its parent knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subtree {
    /// Its node's full hash.
    pub id: TreeId,
    /// Its node's hash without metadata.
    pub shape: ShapeId,
    /// What is in it.
    pub totals: Totals,
}

/// Sums over a subtree, its own directory not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Names of every type.
    pub names: u64,
    /// Names of regular files.
    pub files: u64,
    /// Bytes of regular files, a hard-linked one once a name.
    pub bytes: u64,
    /// Names that share their inode with another.
    pub linked: u64,
}

/// An inode that is no directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Its type and what that type carries.
    pub kind: Kind,
    /// Its metadata.
    pub meta: Meta,
    /// The link group, where it has more than one name in its image.
    pub group: Option<LinkGroup>,
}

/// The type of an inode that is no directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A symbolic link and its target: 1 to 4095 bytes without NUL.
    Symlink(Box<[u8]>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// The bytes of a regular file. An empty one has no object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Content {
    /// No bytes.
    Empty,
    /// An object of `size` bytes, at least one.
    Object {
        /// Its name.
        id: ContentId,
        /// Its length.
        size: u64,
    },
}

impl Content {
    /// Returns the length in bytes.
    pub fn size(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Object { size, .. } => size,
        }
    }
}

/// A device's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The longest target of a symlink (PATH_MAX less its NUL).
pub const TARGET_MAX: usize = 4095;

const DIR: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR: u8 = 4;
const BLOCK: u8 = 5;
const FIFO: u8 = 6;
/// Added to the type byte of a leaf that carries a link group.
const LINKED: u8 = 0x80;

impl Node {
    /// Puts the node's bytes into `nodes` under its id; returns what the node above says of it.
    pub(crate) fn encode_into(&self, nodes: &mut BTreeMap<TreeId, Vec<u8>>) -> Subtree {
        let bytes = self.encode();
        let id = TreeId::of(&bytes);
        nodes.insert(id, bytes);
        Subtree {
            id,
            shape: self.shape(),
            totals: self.totals(),
        }
    }

    /// Returns the canonical bytes, whose hash is the node's id.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64 + self.entries.len() * 96);
        to.push(VERSION);
        put_meta(&mut to, &self.meta);
        put_varint(&mut to, self.entries.len() as u64);
        for (name, item) in &self.entries {
            put_bytes(&mut to, name.as_bytes());
            match item {
                Item::Dir(Subtree { id, shape, totals }) => {
                    to.push(DIR);
                    to.extend_from_slice(&id.0);
                    to.extend_from_slice(&shape.0);
                    put_totals(&mut to, totals);
                }
                Item::Leaf(Leaf { kind, meta, group }) => {
                    put_kind(&mut to, kind, *group);
                    put_meta(&mut to, meta);
                }
            }
        }
        to
    }

    /// Returns the hash of names, types and contents alone.
    pub fn shape(&self) -> ShapeId {
        let mut to = Vec::with_capacity(64 + self.entries.len() * 64);
        to.push(VERSION);
        for (name, item) in &self.entries {
            put_bytes(&mut to, name.as_bytes());
            match item {
                Item::Dir(Subtree { shape, .. }) => {
                    to.push(DIR);
                    to.extend_from_slice(&shape.0);
                }
                Item::Leaf(leaf) => put_kind(&mut to, &leaf.kind, leaf.group),
            }
        }
        ShapeId::of(&to)
    }

    /// Returns the sums over the subtree.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for (_, item) in &self.entries {
            sum.names += 1;
            match item {
                Item::Dir(Subtree { totals, .. }) => {
                    sum.names += totals.names;
                    sum.files += totals.files;
                    sum.bytes += totals.bytes;
                    sum.linked += totals.linked;
                }
                Item::Leaf(leaf) => {
                    sum.linked += u64::from(leaf.group.is_some());
                    if let Kind::File(content) = leaf.kind {
                        sum.files += 1;
                        sum.bytes += content.size();
                    }
                }
            }
        }
        sum
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn decode(data: &[u8]) -> std::result::Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        match cursor.byte()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let meta = cursor.meta()?;
        let count: u64 = cursor.varint()?;
        let mut entries: Vec<(Name, Item)> = Vec::new();
        for _ in 0..count {
            let name = cursor.name()?;
            if entries.last().is_some_and(|(last, _)| *last >= name) {
                return Err(cursor.bad("order of names"));
            }
            let item = take_item(&mut cursor)?;
            entries.push((name, item));
        }
        cursor.end()?;
        Ok(Self { meta, entries })
    }

    /// Returns the entry called `name`.
    pub fn get(&self, name: &[u8]) -> Option<&Item> {
        let at = self
            .entries
            .binary_search_by(|(n, _)| n.as_bytes().cmp(name))
            .ok()?;
        Some(&self.entries[at].1)
    }
}

fn put_totals(to: &mut Vec<u8>, totals: &Totals) {
    let Totals {
        names,
        files,
        bytes,
        linked,
    } = totals;
    for value in [names, files, bytes, linked] {
        put_varint(to, *value);
    }
}

fn put_kind(to: &mut Vec<u8>, kind: &Kind, group: Option<LinkGroup>) {
    let linked = if group.is_some() { LINKED } else { 0 };
    match kind {
        Kind::File(content) => {
            to.push(FILE | linked);
            put_varint(to, content.size());
            if let Content::Object { id, .. } = content {
                to.extend_from_slice(&id.0);
            }
        }
        Kind::Symlink(target) => {
            to.push(SYMLINK | linked);
            put_bytes(to, target);
        }
        Kind::Char(Device { major, minor }) | Kind::Block(Device { major, minor }) => {
            to.push(
                linked
                    | if matches!(kind, Kind::Char(_)) {
                        CHAR
                    } else {
                        BLOCK
                    },
            );
            put_varint(to, u64::from(*major));
            put_varint(to, u64::from(*minor));
        }
        Kind::Fifo => to.push(FIFO | linked),
    }
    if let Some(LinkGroup(group)) = group {
        to.extend_from_slice(&group);
    }
}

fn take_item(cursor: &mut Cursor<'_>) -> std::result::Result<Item, DecodeError> {
    let tag = cursor.byte()?;
    if tag == DIR {
        let (id, shape) = (TreeId(cursor.array()?), ShapeId(cursor.array()?));
        let totals = Totals {
            names: cursor.varint()?,
            files: cursor.varint()?,
            bytes: cursor.varint()?,
            linked: cursor.varint()?,
        };
        return Ok(Item::Dir(Subtree { id, shape, totals }));
    }
    let kind = match tag & !LINKED {
        FILE => Kind::File(match cursor.varint()? {
            0 => Content::Empty,
            size => Content::Object {
                size,
                id: ContentId(cursor.array()?),
            },
        }),
        SYMLINK => Kind::Symlink(take_target(cursor)?),
        CHAR => Kind::Char(take_device(cursor)?),
        BLOCK => Kind::Block(take_device(cursor)?),
        FIFO => Kind::Fifo,
        _ => return Err(cursor.bad("type")),
    };
    let group = if tag & LINKED == 0 {
        None
    } else {
        Some(LinkGroup(cursor.array()?))
    };
    Ok(Item::Leaf(Leaf {
        kind,
        meta: cursor.meta()?,
        group,
    }))
}

fn take_target(cursor: &mut Cursor<'_>) -> std::result::Result<Box<[u8]>, DecodeError> {
    let target = cursor.bytes()?;
    if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
        return Err(cursor.bad("symlink target"));
    }
    Ok(target.into())
}

fn take_device(cursor: &mut Cursor<'_>) -> std::result::Result<Device, DecodeError> {
    Ok(Device {
        major: cursor.number("major")?,
        minor: cursor.number("minor")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Mtime;
    use proptest::prelude::*;

    fn meta() -> impl Strategy<Value = Meta> {
        let xattrs = prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..8).prop_map(Vec::into_boxed_slice),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(Vec::into_boxed_slice),
            0..3,
        );
        (
            0..=Meta::MODE_BITS,
            any::<u32>(),
            any::<u32>(),
            any::<i64>(),
            0..1_000_000_000u32,
            xattrs,
        )
            .prop_map(|(mode, uid, gid, secs, nanos, xattrs)| Meta {
                mode,
                uid,
                gid,
                mtime: Mtime { secs, nanos },
                xattrs,
            })
    }

    fn kind() -> impl Strategy<Value = Kind> {
        let device =
            (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Device { major, minor });
        prop_oneof![
            Just(Kind::File(Content::Empty)),
            (any::<[u8; 32]>(), 1..u64::MAX).prop_map(|(id, size)| Kind::File(Content::Object {
                id: ContentId(id),
                size
            })),
            prop::collection::vec(1..=255u8, 1..20).prop_map(|t| Kind::Symlink(t.into())),
            device.clone().prop_map(Kind::Char),
            device.prop_map(Kind::Block),
            Just(Kind::Fifo),
        ]
    }

    fn item() -> impl Strategy<Value = Item> {
        let leaf = (kind(), meta(), any::<Option<[u8; 16]>>()).prop_map(|(kind, meta, group)| {
            Item::Leaf(Leaf {
                kind,
                meta,
                group: group.map(LinkGroup),
            })
        });
        let dir =
            (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u64; 4]>()).prop_map(|(id, shape, t)| {
                let totals = Totals {
                    names: t[0],
                    files: t[1],
                    bytes: t[2],
                    linked: t[3],
                };
                Item::Dir(Subtree {
                    id: TreeId(id),
                    shape: ShapeId(shape),
                    totals,
                })
            });
        prop_oneof![leaf, dir]
    }

    fn node() -> impl Strategy<Value = Node> {
        let name = prop::collection::vec(any::<u8>(), 1..12)
            .prop_filter_map("a name", |bytes| Name::parse(&bytes).ok());
        (meta(), prop::collection::btree_map(name, item(), 0..6)).prop_map(|(meta, entries)| Node {
            meta,
            entries: entries.into_iter().collect(),
        })
    }

    proptest! {
        #[test]
        fn a_node_comes_back_from_its_bytes(node in node()) {
            prop_assert_eq!(Node::decode(&node.encode()).unwrap(), node);
        }

        #[test]
        fn only_canonical_bytes_decode(node in node(), at: prop::sample::Index, byte: u8) {
            let mut bytes = node.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(other) = Node::decode(&bytes) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_shape_does_not_know_metadata() {
        let plain = Node {
            entries: vec![(Name::parse(b"a").unwrap(), fifo(Meta::default()))],
            ..Node::default()
        };
        let other = Node {
            meta: Meta::implicit_dir(),
            entries: vec![(
                Name::parse(b"a").unwrap(),
                fifo(Meta {
                    uid: 7,
                    ..Meta::default()
                }),
            )],
        };
        assert_eq!(plain.shape(), other.shape());
        assert_ne!(TreeId::of(&plain.encode()), TreeId::of(&other.encode()));
    }

    fn fifo(meta: Meta) -> Item {
        Item::Leaf(Leaf {
            kind: Kind::Fifo,
            meta,
            group: None,
        })
    }
}
