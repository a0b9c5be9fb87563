//! Owns writing a layer: from its entries to a tar, and from that, while it streams past, to the layer's recipe, its
//! diff_id and its blob.
//!
//! The bytes depend on the entries and the compression alone. One thread reads contents and cuts the tar into blocks;
//! these are hashed, and compressed side by side, in the order they come.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write};
use std::sync::mpsc;

use rayon::prelude::*;

use super::tar::{Said, padding, put_header};
use crate::compress::{Block, Blocks, Compression};
use crate::digest::{Algorithm, ContentHasher, ContentId, DiffId, Digest, DigestHasher};
use crate::entry::{LayerEntry, What};
use crate::error::{Context, Error, Result};
use crate::meta::Meta;
use crate::path::TreePath;
use crate::recipe::ContentRef;
use crate::store::{NewBlob, RecipeSink, Writer};
use crate::tree::{Content, Kind};
use crate::watch::Watch;
use crate::wire;

/// Two blocks of zeros end a tar.
const END: [u8; 1024] = [0; 1024];

/// Opens a content.
pub type Open<'a> = dyn Fn(&ContentId) -> Result<File> + Sync + 'a;

/// A layer that was written. Its recipe is staged, and its blob where it is compressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Composed {
    /// The media type of the blob.
    pub media_type: &'static str,
    /// The blob's digest; of a plain layer, the tar's.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The length of the tar in bytes.
    pub tar_size: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The contents that it carries, in order; one may come more than once.
    pub contents: Vec<ContentRef>,
}

/// Writes a layer into the session of `writer`. Of one that is not compressed only the recipe is kept.
pub fn compose(
    writer: &Writer<'_>,
    entries: &[LayerEntry],
    open: &Open<'_>,
    compression: Compression,
    watch: &dyn Watch,
) -> Result<Composed> {
    let mut press = Press::new(writer, compression)?;
    let mut recipe = writer.begin_recipe()?;
    watch.begin("write the layer", Some(bytes_of(entries)));
    let (to, blocks) = mpsc::sync_channel(2 * rayon::current_num_threads());
    let block_len = press.blocks.block_len();
    let (streamed, pressed) = std::thread::scope(|scope| {
        let recipe = &mut recipe;
        let streaming = scope.spawn(move || {
            let out = Cut {
                now: Vec::with_capacity(block_len),
                block_len,
                recipe,
                to,
            };
            stream(entries, (open, watch), out)
        });
        let pressed = press.take(&blocks);
        // Whoever still sends is told that nobody takes it.
        drop(blocks);
        let streamed = streaming.join().unwrap_or_else(|_| {
            let why = "its reader stopped unexpectedly";
            Err(Error::failed("write", "the layer", why))
        });
        (streamed, pressed)
    });
    watch.end();
    // Where blocks are not taken any more, the reason why is told.
    match pressed.and(streamed) {
        Ok(contents) => press.finish(recipe, entries.len() as u64, contents),
        Err(e) => {
            press.discard()?;
            recipe.discard()?;
            Err(e)
        }
    }
}

/// Writes a layer's tar, uncompressed, to `out`.
pub fn write_tar(
    entries: &[LayerEntry],
    open: &Open<'_>,
    out: &mut dyn Write,
    watch: &dyn Watch,
) -> Result<()> {
    stream(
        entries,
        (open, watch),
        Plain {
            to: out,
            now: Vec::new(),
        },
    )
    .map(drop)
}

fn bytes_of(entries: &[LayerEntry]) -> u64 {
    let size = |entry: &LayerEntry| match &entry.what {
        What::Leaf(Kind::File(content), _) => content.size(),
        _ => 0,
    };
    entries.iter().map(size).sum()
}

/// Where a tar goes.
trait Out {
    /// Takes bytes that are no content's.
    fn literal(&mut self, bytes: &[u8]) -> Result<()>;

    /// Hears that a content is next.
    fn begin_content(&mut self) -> Result<()>;

    /// Takes up to `left` of a content's bytes from `file`; returns them.
    fn content(&mut self, file: &mut File, left: u64) -> Result<&[u8]>;

    /// Ends.
    fn finish(self) -> Result<()>;
}

/// Writes the tar; returns the contents that it carries.
fn stream(
    entries: &[LayerEntry],
    (open, watch): (&Open<'_>, &dyn Watch),
    mut out: impl Out,
) -> Result<Vec<ContentRef>> {
    let mut linked = Linked::of(entries);
    let mut contents = Vec::new();
    let mut header = Vec::new();
    for entry in entries {
        watch.check()?;
        header.clear();
        let said = linked.said(entry)?;
        put_header(&mut header, &entry.path, &said).map_err(|why| refused(&entry.path, why))?;
        out.literal(&header)?;
        if let What::Leaf(Kind::File(Content::Object { id, size }), _) = &entry.what {
            let content = ContentRef {
                id: *id,
                size: *size,
            };
            copy(&content, &mut open(id)?, (&mut out, watch))?;
            out.literal(&END[..padding(*size)])?;
            contents.push(content);
        }
    }
    out.literal(&END)?;
    out.finish()?;
    Ok(contents)
}

fn refused(path: &TreePath, why: String) -> Error {
    Error::malformed("put into a layer", format!("'{path}'"), why)
}

/// Copies a content, which must be what its name says.
fn copy(
    content: &ContentRef,
    file: &mut File,
    (out, watch): (&mut impl Out, &dyn Watch),
) -> Result<()> {
    let bad = |why: String| {
        Error::damaged("read the object", content.id, why)
            .hint("`ocistore fsck` names the images that need it")
    };
    let len = file
        .metadata()
        .context("read the object", content.id)?
        .len();
    if len != content.size {
        return Err(bad(format!("expected {} bytes, got {len}", content.size)));
    }
    out.begin_content()?;
    let mut hasher = ContentHasher::default();
    let mut left = content.size;
    while left > 0 {
        let bytes = out
            .content(file, left)
            .map_err(|e| e.part_of("read the object", content.id))?;
        if bytes.is_empty() {
            return Err(bad("it is cut off".to_owned()));
        }
        hasher.update(bytes);
        left -= bytes.len() as u64;
        watch.advance(bytes.len() as u64);
        watch.check()?;
    }
    if hasher.finish() != content.id {
        return Err(bad("its bytes are not what its name says".to_owned()));
    }
    Ok(())
}

/// What other names of the layer lead to.
struct Linked<'a>(HashMap<&'a TreePath, Option<&'a Meta>>);

impl<'a> Linked<'a> {
    fn of(entries: &'a [LayerEntry]) -> Self {
        let target = |entry: &'a LayerEntry| match &entry.what {
            What::Link(target) => Some((target, None)),
            _ => None,
        };
        Self(entries.iter().filter_map(target).collect())
    }

    /// Returns what an entry's header says. A link has the metadata of its inode: some readers give it to both names.
    fn said(&mut self, entry: &'a LayerEntry) -> Result<Said<'a>> {
        Ok(match &entry.what {
            What::Dir(meta) => Said::Dir(meta),
            What::Leaf(kind, meta) => {
                if let Some(target) = self.0.get_mut(&entry.path) {
                    *target = Some(meta);
                }
                Said::Leaf(kind, meta)
            }
            What::Link(target) => match self.0.get(target).copied().flatten() {
                Some(meta) => Said::Link(target, meta),
                None => {
                    let why = format!("a link to '{target}', which the layer does not have before");
                    return Err(refused(&entry.path, why));
                }
            },
            What::Whiteout => Said::Whiteout,
        })
    }
}

/// A tar that goes where it is told, as it is.
struct Plain<'a> {
    to: &'a mut dyn Write,
    now: Vec<u8>,
}

/// How many bytes of a content are read at a time.
const CHUNK: u64 = 256 << 10;

impl Out for Plain<'_> {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).context("write", "the layer")
    }

    fn begin_content(&mut self) -> Result<()> {
        Ok(())
    }

    fn content(&mut self, file: &mut File, left: u64) -> Result<&[u8]> {
        self.now.clear();
        file.take(left.min(CHUNK))
            .read_to_end(&mut self.now)
            .context("read", "a content")?;
        self.to.write_all(&self.now).context("write", "the layer")?;
        Ok(&self.now)
    }

    fn finish(self) -> Result<()> {
        self.to.flush().context("write", "the layer")
    }
}

/// A tar that is cut into blocks; what of it is no content goes into a recipe, too.
struct Cut<'a, 'w> {
    now: Vec<u8>,
    block_len: usize,
    recipe: &'a mut RecipeSink<'w>,
    to: mpsc::SyncSender<Vec<u8>>,
}

impl Cut<'_, '_> {
    /// Makes sure that there is room in the block; returns how much.
    fn room(&mut self) -> Result<usize> {
        if self.now.len() == self.block_len {
            let full = std::mem::replace(&mut self.now, Vec::with_capacity(self.block_len));
            self.send(full)?;
        }
        Ok(self.block_len - self.now.len())
    }

    fn send(&self, block: Vec<u8>) -> Result<()> {
        let stopped = |_| Error::failed("write", "the layer", "nothing takes its blocks");
        self.to.send(block).map_err(stopped)
    }
}

impl Out for Cut<'_, '_> {
    fn literal(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.recipe.literal(bytes)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.room()?.min(bytes.len()));
            self.now.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn begin_content(&mut self) -> Result<()> {
        self.recipe.content(None)
    }

    fn content(&mut self, file: &mut File, left: u64) -> Result<&[u8]> {
        let room = self.room()? as u64;
        let before = self.now.len();
        file.take(left.min(room))
            .read_to_end(&mut self.now)
            .context("read", "a content")?;
        Ok(&self.now[before..])
    }

    fn finish(mut self) -> Result<()> {
        let last = std::mem::take(&mut self.now);
        self.send(last)
    }
}

/// What becomes of the blocks: a digest of the tar, and a blob.
struct Press<'w> {
    compression: Compression,
    blocks: Blocks,
    tar: DigestHasher,
    tar_size: u64,
    blob: Option<NewBlob<'w>>,
}

impl<'w> Press<'w> {
    fn new(writer: &'w Writer<'w>, compression: Compression) -> Result<Self> {
        let blob = match compression {
            Compression::None => None,
            Compression::Gzip | Compression::Zstd => Some(writer.begin_blob()?),
        };
        Ok(Self {
            compression,
            blocks: Blocks::new(compression),
            tar: DigestHasher::new(Algorithm::Sha256),
            tar_size: 0,
            blob,
        })
    }

    /// Takes the blocks that come, as many at a time as there are.
    fn take(&mut self, from: &mpsc::Receiver<Vec<u8>>) -> Result<()> {
        let most = 2 * rayon::current_num_threads();
        if let Some(blob) = &mut self.blob {
            blob.write(self.blocks.head())?;
        }
        while let Ok(first) = from.recv() {
            let mut plain = vec![first];
            while plain.len() < most
                && let Ok(next) = from.try_recv()
            {
                plain.push(next);
            }
            self.press(&plain)?;
        }
        Ok(())
    }

    fn press(&mut self, plain: &[Vec<u8>]) -> Result<()> {
        let compression = self.compression;
        let mut hash = || {
            for block in plain {
                self.tar.update(block);
                self.tar_size += block.len() as u64;
            }
        };
        let Some(blob) = &mut self.blob else {
            hash();
            return Ok(());
        };
        let pack = || -> std::io::Result<Vec<Block>> {
            plain
                .par_iter()
                .map(|block| compression.block(block))
                .collect()
        };
        let ((), packed) = rayon::join(hash, pack);
        for block in packed.context("compress", "the layer")? {
            self.blocks.add(&block);
            blob.write(&block.bytes)?;
        }
        Ok(())
    }

    fn finish(
        self,
        recipe: RecipeSink<'_>,
        entries: u64,
        contents: Vec<ContentRef>,
    ) -> Result<Composed> {
        let Self {
            compression,
            blocks,
            tar,
            tar_size,
            blob,
        } = self;
        let diff_id = DiffId(tar.finish());
        recipe.finish(&diff_id, tar_size, entries, &contents)?;
        let (digest, size) = match blob {
            Some(mut blob) => {
                blob.write(&blocks.tail())?;
                blob.finish()?
            }
            None => (diff_id.0, tar_size),
        };
        Ok(Composed {
            media_type: wire::layer_media_type(compression),
            digest,
            size,
            diff_id,
            tar_size,
            entries,
            contents,
        })
    }

    fn discard(self) -> Result<()> {
        self.blob.map_or(Ok(()), NewBlob::discard)
    }
}

#[cfg(test)]
mod tests;
