//! Golden bytes: each record format as it was written once, in `testdata/golden/`. A change of any of these bytes is
//! a change of the format, which needs a new version (`docs/format.md`, "Versions").

use std::path::{Path, PathBuf};

use crate::digest::{ContentId, DiffId, Digest, LinkGroup, ShapeId, TreeId};
use crate::encoders::{Method, own};
use crate::image::{Image, ImageLayer};
use crate::meta::{Meta, Mtime};
use crate::path::Name;
use crate::recipe::{self, ContentRef, Piece, Segment, Trailer};
use crate::rootfs::record::Record;
use crate::store::inodes::Given;
use crate::store::locks::Wait;
use crate::store::{RecipeFile, Store};
use crate::stream::{Body, Part, StreamRecipe};
use crate::tree::{Content, Device, Item, Kind, Leaf, Node, Subtree, Totals};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/golden")
        .join(name)
}

/// Compares with the file; there is no switch to overwrite one.
pub(crate) fn compare(name: &str, bytes: &[u8]) {
    let kept = std::fs::read(golden(name)).unwrap_or_default();
    assert_eq!(
        crate::digest::hex(bytes),
        crate::digest::hex(&kept),
        "{name}"
    );
}

fn meta() -> Meta {
    let mut meta = Meta {
        mode: 0o4755,
        uid: 70_000,
        gid: 42,
        mtime: Mtime {
            secs: -11,
            nanos: 500_000_000,
        },
        ..Meta::default()
    };
    meta.xattrs
        .insert((*b"security.capability").into(), [1, 0, 0, 2].into());
    meta.xattrs.insert((*b"user.empty").into(), [].into());
    meta
}

fn content() -> ContentId {
    ContentId::of(b"hello\n")
}

fn node() -> Node {
    let leaf = |kind, group| {
        Item::Leaf(Leaf {
            kind,
            meta: meta(),
            group,
        })
    };
    let device = Device {
        major: 1,
        minor: 300,
    };
    let totals = Totals {
        names: 1,
        files: 1,
        bytes: 300,
        linked: 0,
    };
    let below = Subtree {
        id: TreeId::of(b"below"),
        shape: ShapeId::of(b"below"),
        totals,
    };
    let file = Kind::File(Content::Object {
        id: content(),
        size: 6,
    });
    let group = Some(LinkGroup::of_first_path(b"linked"));
    let entries = [
        (&b"block"[..], leaf(Kind::Block(device), None)),
        (
            b"caf\xe9",
            leaf(Kind::Symlink((*b"../target").into()), None),
        ),
        (b"char", leaf(Kind::Char(device), None)),
        (b"dir", Item::Dir(below)),
        (b"empty", leaf(Kind::File(Content::Empty), None)),
        (b"fifo", leaf(Kind::Fifo, None)),
        (b"file", leaf(file.clone(), None)),
        (b"linked", leaf(file.clone(), group)),
        (b"linked2", leaf(file, group)),
    ];
    let entries = entries
        .into_iter()
        .map(|(name, item)| (Name::parse(name).unwrap(), item));
    Node {
        meta: Meta::implicit_dir(),
        entries: entries.collect(),
    }
}

fn image() -> Image {
    let of = |text: &str| Digest::sha256(text.as_bytes());
    Image {
        manifest: of("manifest"),
        config: of("config"),
        layers: vec![ImageLayer {
            blob: of("blob"),
            size: 300,
            diff_id: DiffId(of("tar")),
        }],
        root: TreeId::of(b"root"),
        platform: "linux/arm64/v8".to_owned(),
        created: "2026-01-02T03:04:05Z".to_owned(),
    }
}

#[test]
fn the_bytes_of_a_tree_node_are_the_golden_ones() {
    compare("node-v1.bin", &node().encode());
    assert_eq!(
        Node::decode(&std::fs::read(golden("node-v1.bin")).unwrap()).unwrap(),
        node()
    );
}

#[test]
fn the_bytes_of_an_image_are_the_golden_ones() {
    compare("image-v1.bin", &image().encode());
}

#[test]
fn the_bytes_of_a_record_of_a_tree_are_the_golden_ones() {
    let kept = std::fs::read(golden("tree-record-v1.bin")).unwrap();
    let record = Record::decode(&kept).unwrap();
    compare("tree-record-v1.bin", &record.encode());
    let counted = std::array::from_fn(|n| u8::try_from(n).unwrap());
    assert_eq!(record.root().0, counted);
}

#[test]
fn the_bytes_of_an_objects_record_are_the_golden_ones() {
    compare(
        "object-v1.bin",
        &Given::new(&content(), 6, &meta()).encode(),
    );
}

#[test]
fn the_bytes_of_a_recipes_segments_are_the_golden_ones() {
    let mut writer = recipe::SegmentWriter::new(Vec::new());
    writer.literal(b"header").unwrap();
    writer.whole().unwrap();
    writer
        .pieces(&[
            Piece { offset: 0, len: 2 },
            Piece {
                offset: 300,
                len: 1,
            },
        ])
        .unwrap();
    compare("segments-v1.bin", &writer.finish().unwrap());
}

#[test]
fn the_bytes_of_a_recipes_end_are_the_golden_ones() {
    let diff_id = DiffId(Digest::sha256(b"tar"));
    let trailer = Trailer {
        diff_id,
        tar_size: 10_240,
        entries: 3,
        body_len: 300,
        refs: 1,
    };
    let mut bytes = recipe::encode_ref(&ContentRef {
        id: content(),
        size: 6,
    })
    .to_vec();
    bytes.extend(recipe::encode_tail(&trailer, |tail| {
        let mut hasher = crate::digest::RecipeHasher::default();
        hasher.update(tail);
        hasher.finish()
    }));
    compare("recipe-end-v1.bin", &bytes);
}

#[test]
fn the_bytes_of_a_compression_recipe_are_the_golden_ones() {
    let part = |head: &[u8], body, tail: &[u8]| Part {
        head: head.to_vec(),
        body,
        tail: tail.to_vec(),
    };
    let body = Body {
        plain: 70_000,
        method: Method::Own(own::Settings::Gzip),
    };
    let recipe = StreamRecipe {
        blob: Digest::sha256(b"blob"),
        size: 300,
        layer: DiffId(Digest::sha256(b"tar")),
        parts: vec![part(b"head", Some(body), b"tail"), part(b"none", None, b"")],
    };
    let bytes = recipe.encode();
    compare("stream-v1.bin", &bytes);
    assert_eq!(StreamRecipe::decode(&bytes).unwrap(), recipe);
}

/// The body of a recipe is a zstd frame, whose bytes may differ from one libzstd to the next: what was written once
/// has to be read for ever, which is what this holds to.
#[test]
fn a_whole_recipe_that_was_written_once_is_read() {
    let layer = DiffId(Digest::sha256(b"header\nhello\n"));
    let recipe = RecipeFile::open(&golden("recipe-v1.bin"), &layer).unwrap();
    assert_eq!(
        recipe.contents().unwrap(),
        [ContentRef {
            id: content(),
            size: 6
        }]
    );
    let mut segments = recipe.segments().unwrap();
    assert_eq!(
        segments.next_segment().unwrap(),
        Segment::Literal(b"header\n".to_vec())
    );
    assert_eq!(segments.next_segment().unwrap(), Segment::Whole);
    assert_eq!(segments.next_segment().unwrap(), Segment::End);
}

#[test]
fn a_recipe_that_is_written_now_is_read_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
    let writer = store.write().unwrap();
    let layer = DiffId(Digest::sha256(b"header\nhello\n"));
    let mut sink = writer.begin_recipe().unwrap();
    sink.literal(b"header\n").unwrap();
    sink.content(None).unwrap();
    sink.finish(
        &layer,
        13,
        1,
        &[ContentRef {
            id: content(),
            size: 6,
        }],
    )
    .unwrap();
    writer.publish().unwrap();
    assert_eq!(store.recipe(&layer).unwrap().contents().unwrap().len(), 1);
}
