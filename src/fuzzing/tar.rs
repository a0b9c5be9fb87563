//! The property of tars: what is taken apart is put together again byte for byte, and its recipe reads as the tar did.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::compress::{Compression, Compressor};
use crate::convert::assemble::assemble;
use crate::convert::overlay::{LayerEntries, Overlay};
use crate::convert::replay::replay;
use crate::convert::tar::{Stored, Tape, TarError, parse_layer};
use crate::digest::{ContentId, DiffId, Digest, RecipeHasher, TreeId};
use crate::entry::{Action, Entry};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::recipe::{self, ContentRef, Piece, SegmentWriter, Trailer};
use crate::store::RecipeFile;
use crate::tree::{Node, Nodes};
use crate::warning::Warnings;

/// What one input may ask for.
const LIMITS: Limits = Limits {
    document_bytes: 0,
    layers: 0,
    entries: 4096,
    layer_bytes: 1 << 20,
    extension_bytes: 64 << 10,
    sparse_pieces: 1024,
    expansion: 1000,
    free_bytes: 1 << 20,
};

/// A tar that is taken in comes out again, and reads the same from its recipe. It is tried as it is, and with its
/// checksums put right, which hardly any mutation leaves right.
pub fn tar(data: &[u8]) {
    check(data);
    if let Some(mended) = mend(data) {
        check(&mended);
    }
}

/// Puts right the checksum of one header after another, as the parser meets them; `None` where all are right.
fn mend(data: &[u8]) -> Option<Vec<u8>> {
    const HEADERS_MAX: usize = 40;
    let mut mended: Option<Vec<u8>> = None;
    for _ in 0..HEADERS_MAX {
        let now = mended.as_deref().unwrap_or(data);
        let mut tape = MemoryTape::unrecorded(now);
        match parse_layer(&mut tape, &LIMITS, &mut Warnings::default()) {
            Err(TarError::Refused { why, .. }) if why.contains("checksum") => {}
            _ => break,
        }
        let end = tape.at;
        let mended = mended.get_or_insert_with(|| data.to_vec());
        super::generator::set_sum(&mut mended[end - 512..end]);
    }
    mended
}

/// The property itself, for one tar.
pub(super) fn check(data: &[u8]) {
    let Ok(layer) = take_apart(data) else { return };
    super::peer::compare(data, &layer.entries);
    let recipe = layer.recipe(data);
    put_together(data, &layer, &recipe);
    let (entries, contents) =
        replay(&recipe, &mut Warnings::default()).expect("a recipe that was just written");
    assert_eq!(entries, layer.entries);
    assert_eq!(contents, layer.refs());
    merge(&layer);
}

/// A layer, taken apart in memory.
pub(super) struct Layer {
    pub(super) entries: Vec<Entry>,
    pub(super) contents: Vec<Vec<u8>>,
    pub(super) warnings: Warnings,
    body: Vec<u8>,
}

/// Takes a tar apart.
pub(super) fn take_apart(data: &[u8]) -> Result<Layer, TarError> {
    let mut tape = MemoryTape::new(data);
    let mut warnings = Warnings::default();
    let entries = parse_layer(&mut tape, &LIMITS, &mut warnings)?;
    assert_eq!(tape.at, data.len(), "the parser stopped before the end");
    for entry in &entries {
        check_entry(entry, data, &tape.contents);
    }
    let body = tape
        .body
        .map(|body| body.finish().and_then(Compressor::finish));
    Ok(Layer {
        entries,
        contents: tape.contents,
        warnings,
        body: body
            .and_then(std::result::Result::ok)
            .expect("memory takes everything"),
    })
}

/// What any entry is, wherever it came from.
fn check_entry(entry: &Entry, data: &[u8], contents: &[Vec<u8>]) {
    assert!(entry.at < data.len() as u64 && entry.at.is_multiple_of(512));
    let meta = match &entry.action {
        Action::File(meta, payload) => {
            let size = payload.ordinal.map_or(0, |n| contents[n as usize].len());
            assert_eq!(payload.size, size as u64);
            meta
        }
        Action::Symlink(meta, target) => {
            assert!(
                !target.is_empty()
                    && target.len() <= crate::tree::TARGET_MAX
                    && !target.contains(&0)
            );
            meta
        }
        Action::Dir(meta) | Action::Char(meta, _) | Action::Block(meta, _) | Action::Fifo(meta) => {
            meta
        }
        Action::Link(_) | Action::Whiteout | Action::Opaque => return,
    };
    assert!(meta.mode <= 0o7777 && meta.mtime.nanos < 1_000_000_000);
    assert!(meta.uid < u32::MAX && meta.gid < u32::MAX);
    assert!(
        meta.xattrs
            .keys()
            .all(|key| !key.is_empty() && !key.contains(&0))
    );
}

impl Layer {
    pub(super) fn refs(&self) -> Vec<ContentRef> {
        let reference = |data: &Vec<u8>| ContentRef {
            id: ContentId::of(data),
            size: data.len() as u64,
        };
        self.contents.iter().map(reference).collect()
    }

    /// Writes the recipe file as the store does, and opens it.
    fn recipe(&self, data: &[u8]) -> RecipeFile {
        let refs = self.refs();
        let diff_id = DiffId(Digest::sha256(data));
        let mut bytes = recipe::MAGIC.to_vec();
        bytes.extend(&self.body);
        refs.iter()
            .for_each(|r| bytes.extend(recipe::encode_ref(r)));
        let trailer = Trailer {
            diff_id,
            tar_size: data.len() as u64,
            entries: self.entries.len() as u64,
            body_len: self.body.len() as u64,
            refs: refs.len() as u64,
        };
        let mut hasher = RecipeHasher::default();
        hasher.update(&bytes);
        let tail = recipe::encode_tail(&trailer, |tail| {
            hasher.update(tail);
            hasher.finish()
        });
        bytes.extend(tail);
        let file = in_memory(&bytes);
        RecipeFile::open(&path_of(&file), &diff_id).expect("a recipe that was just written")
    }
}

/// Assembles the tar from its recipe and compares it.
fn put_together(data: &[u8], layer: &Layer, recipe: &RecipeFile) {
    let by_id: HashMap<ContentId, &Vec<u8>> = layer
        .contents
        .iter()
        .map(|data| (ContentId::of(data), data))
        .collect();
    let mut out = Vec::with_capacity(data.len());
    let assembled = assemble(recipe, &|id| Ok(in_memory(by_id[id])), &mut out);
    assert!(out == data, "the tar that comes out is another");
    assert_eq!(
        assembled.expect("what was just taken apart").size,
        data.len() as u64
    );
}

/// Puts the layer on an empty tree, and on its own tree: both may refuse it, neither may panic.
fn merge(layer: &Layer) {
    let nodes = Memory::default();
    let Ok(root) = merge_on(&nodes, layer, None, &mut Warnings::default()) else {
        return;
    };
    if let Ok(again) = merge_on(&nodes, layer, Some(root), &mut Warnings::default()) {
        assert!(nodes.0.borrow().contains_key(&again) || again == root);
    }
}

/// Puts the layer on a tree. What is odd about it is noted.
pub(super) fn merge_on(
    nodes: &Memory,
    layer: &Layer,
    lower: Option<TreeId>,
    warnings: &mut Warnings,
) -> Result<TreeId> {
    let mut overlay = Overlay::new(nodes, lower)?;
    let contents = layer.refs();
    let entries = LayerEntries {
        name: "the layer",
        entries: &layer.entries,
        contents: &contents,
    };
    overlay.apply(&entries, warnings)?;
    let merged = overlay.finish()?;
    for (id, bytes) in &merged.nodes {
        let node = Node::decode(bytes).expect("a node that was just encoded");
        assert_eq!(&node.encode(), bytes);
        assert_eq!(TreeId::of(bytes), *id);
    }
    nodes.0.borrow_mut().extend(merged.nodes);
    Ok(merged.root)
}

/// Tree nodes in memory.
#[derive(Default)]
pub(super) struct Memory(pub(super) RefCell<HashMap<TreeId, Vec<u8>>>);

impl Nodes for Memory {
    fn node(&self, id: &TreeId) -> Result<Node> {
        let nodes = self.0.borrow();
        let node = nodes.get(id).and_then(|bytes| Node::decode(bytes).ok());
        node.ok_or_else(|| Error::damaged("read", id, "no such node"))
    }
}

/// Returns a file that is on no disk.
pub(super) fn in_memory(bytes: &[u8]) -> File {
    let fd = rustix::fs::memfd_create("fuzzing", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(fd.expect("memory for a file"));
    file.write_all(bytes).expect("memory takes everything");
    file.rewind().expect("memory can be read again");
    file
}

/// Returns a path that leads to an open file as long as it is open.
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A tape of bytes in memory, recorded while it plays as the importer does.
struct MemoryTape<'a> {
    data: &'a [u8],
    at: usize,
    /// The recipe's body, where it is wanted.
    body: Option<SegmentWriter<Compressor<Vec<u8>>>>,
    contents: Vec<Vec<u8>>,
}

impl<'a> MemoryTape<'a> {
    fn new(data: &'a [u8]) -> Self {
        let body = Compression::Zstd.writer(Vec::new());
        Self {
            body: Some(SegmentWriter::new(body.expect("an encoder"))),
            ..Self::unrecorded(data)
        }
    }

    fn unrecorded(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            body: None,
            contents: Vec::new(),
        }
    }

    fn record(&mut self, literal: &[u8]) {
        if let Some(body) = &mut self.body {
            body.literal(literal).expect("memory takes everything");
        }
    }

    fn next(&mut self, most: u64) -> &'a [u8] {
        let rest = &self.data[self.at..];
        let n = usize::try_from(most).unwrap_or(usize::MAX).min(rest.len());
        self.at += n;
        &rest[..n]
    }
}

impl Tape for MemoryTape<'_> {
    fn at(&self) -> u64 {
        self.at as u64
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let bytes = self.next(to.len() as u64);
        to[..bytes.len()].copy_from_slice(bytes);
        self.record(bytes);
        Ok(bytes.len())
    }

    fn skip(&mut self, len: u64) -> Result<u64> {
        let bytes = self.next(len);
        self.record(bytes);
        Ok(bytes.len() as u64)
    }

    fn content(&mut self, content: &Stored<'_>) -> Result<bool> {
        let written = self.body.as_mut().map(|body| match content.pieces {
            None => body.whole(),
            Some(pieces) => body.pieces(pieces),
        });
        assert!(written.is_none_or(|written| written.is_ok()));
        let whole = [Piece {
            offset: 0,
            len: content.size,
        }];
        assert!(content.size > 0 && content.size <= LIMITS.layer_bytes);
        let mut file = Vec::new();
        let mut stored = 0;
        for piece in content.pieces.unwrap_or(&whole) {
            assert!(piece.offset >= file.len() as u64, "pieces that go back");
            file.resize(usize::try_from(piece.offset).expect("within the limit"), 0);
            let bytes = self.next(piece.len);
            file.extend_from_slice(bytes);
            stored += bytes.len() as u64;
            if (bytes.len() as u64) < piece.len {
                return Ok(false);
            }
        }
        assert_eq!(stored, content.bytes);
        assert!(file.len() as u64 <= content.size);
        file.resize(usize::try_from(content.size).expect("within the limit"), 0);
        self.contents.push(file);
        Ok(true)
    }
}
