//! Owns putting a layer's tar together again, bit for bit, from its recipe and its contents.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt as _;

use crate::digest::{ContentHasher, ContentId, DiffId, DigestHasher};
use crate::error::{Context, Error, Result};
use crate::recipe::{ContentRef, Piece, Segment};
use crate::store::{RecipeFile, Store};

/// How many bytes of a content are in memory at a time.
const CHUNK: usize = 256 << 10;

/// What was put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assembled {
    /// The digest of the tar, which is the one the recipe promises.
    pub diff_id: DiffId,
    /// The length of the tar in bytes.
    pub size: u64,
}

/// Writes the tar of `recipe`'s layer to `out`; `open` finds its contents.
///
/// What was written counts only once this returns: a damaged content is noticed when it has been read.
pub fn assemble(
    recipe: &RecipeFile,
    open: &dyn Fn(&ContentId) -> Result<File>,
    out: &mut dyn Write,
) -> Result<Assembled> {
    let layer = recipe.trailer().diff_id;
    // Contents first: reading them moves the file that the segments come from.
    let mut contents = recipe.contents()?.into_iter();
    let mut segments = recipe.segments()?;
    let mut tar = Tar {
        out,
        layer,
        hasher: DigestHasher::new(layer.0.algorithm()),
        size: 0,
        most: recipe.trailer().tar_size,
        buffer: vec![0; CHUNK],
    };
    loop {
        let segment = segments.next_segment()?;
        let mut next = || {
            contents
                .next()
                .ok_or_else(|| damaged(&layer, "it needs more contents than it lists"))
        };
        match segment {
            Segment::Literal(bytes) => tar.put(&bytes)?,
            Segment::Whole => {
                let content = next()?;
                tar.whole(&content, &open(&content.id)?)?;
            }
            Segment::Pieces(pieces) => {
                let content = next()?;
                tar.pieces(&content, &open(&content.id)?, &pieces)?;
            }
            Segment::End => break,
        }
    }
    if contents.next().is_some() {
        return Err(damaged(&layer, "it lists more contents than it needs"));
    }
    tar.finish()
}

/// Writes the tar of a layer of the store.
pub fn assemble_layer(store: &Store, layer: &DiffId, out: &mut dyn Write) -> Result<()> {
    let recipe = store.recipe(layer)?;
    assemble(&recipe, &|id| store.open_object(id), out).map(drop)
}

/// A tar on its way out.
struct Tar<'a> {
    out: &'a mut dyn Write,
    layer: DiffId,
    hasher: DigestHasher,
    size: u64,
    most: u64,
    buffer: Vec<u8>,
}

impl Tar<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > self.most {
            return Err(damaged(&self.layer, "its tar is longer than it says"));
        }
        self.hasher.update(bytes);
        self.out
            .write_all(bytes)
            .context("write the layer", self.layer)
    }

    /// Puts all of a content, which must be what its name says.
    fn whole(&mut self, content: &ContentRef, file: &File) -> Result<()> {
        let len = file
            .metadata()
            .context("read the object", content.id)?
            .len();
        if len != content.size {
            return Err(bad_object(
                content,
                format!("expected {} bytes, got {len}", content.size),
            ));
        }
        let mut hasher = ContentHasher::default();
        self.range(content, file, Piece { offset: 0, len }, |bytes| {
            hasher.update(bytes);
        })?;
        if hasher.finish() != content.id {
            return Err(bad_object(
                content,
                "its bytes are not what its name says".to_owned(),
            ));
        }
        Ok(())
    }

    /// Puts pieces of a content; whether they are right shows in the sum over the tar.
    fn pieces(&mut self, content: &ContentRef, file: &File, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            if piece
                .offset
                .checked_add(piece.len)
                .is_none_or(|end| end > content.size)
            {
                return Err(damaged(&self.layer, "a piece lies outside of its content"));
            }
            self.range(content, file, *piece, |_| {})?;
        }
        Ok(())
    }

    fn range(
        &mut self,
        content: &ContentRef,
        file: &File,
        piece: Piece,
        mut see: impl FnMut(&[u8]),
    ) -> Result<()> {
        let Piece {
            offset: mut at,
            len: mut left,
        } = piece;
        // Taken out while it is read from, so that `put` may borrow the rest.
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            let bytes = &mut buffer[..now];
            match file.read_exact_at(bytes, at) {
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(bad_object(content, "it is cut off".to_owned()));
                }
                other => other.context("read the object", content.id)?,
            }
            see(bytes);
            self.put(bytes)?;
            at += now as u64;
            left -= now as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn finish(self) -> Result<Assembled> {
        let diff_id = DiffId(self.hasher.finish());
        if diff_id != self.layer || self.size != self.most {
            return Err(
                damaged(&self.layer, &format!("recipe and contents make {diff_id}"))
                    .hint("`ocistore fsck` names what is damaged"),
            );
        }
        Ok(Assembled {
            diff_id,
            size: self.size,
        })
    }
}

fn damaged(layer: &DiffId, why: &str) -> Error {
    Error::damaged("assemble the layer", layer, why)
}

fn bad_object(content: &ContentRef, why: String) -> Error {
    Error::damaged("read the object", content.id, why)
        .hint("`ocistore fsck` names the images that need it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::meta::Meta;
    use crate::store::locks::Wait;
    use tempfile::TempDir;

    const BIG: usize = CHUNK * 2 + 77;

    /// A store with one layer: a head, a big content whole, then pieces of a small one.
    fn layer() -> (TempDir, Store, Vec<u8>, DiffId) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        let big: Vec<u8> = (0..=250).cycle().take(BIG).collect();
        let sparse = b"data\0\0\0\0more";
        let tar = [b"head", &big[..], b"padding", b"data", b"more", b"end"].concat();
        let diff_id = DiffId(Digest::sha256(&tar));
        let writer = store.write().unwrap();
        let meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let contents = [&big[..], sparse].map(|data| ContentRef {
            id: writer.add_object(data, &meta).unwrap(),
            size: data.len() as u64,
        });
        let mut recipe = writer.begin_recipe().unwrap();
        recipe.literal(b"head").unwrap();
        recipe.content(None).unwrap();
        recipe.literal(b"padding").unwrap();
        let pieces = [Piece { offset: 0, len: 4 }, Piece { offset: 8, len: 4 }];
        recipe.content(Some(&pieces)).unwrap();
        recipe.literal(b"end").unwrap();
        recipe
            .finish(&diff_id, tar.len() as u64, 2, &contents)
            .unwrap();
        writer.publish().unwrap();
        drop(writer);
        (dir, store, tar, diff_id)
    }

    fn run(store: &Store, diff_id: &DiffId) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        assemble(
            &store.recipe(diff_id).unwrap(),
            &|id| store.open_object(id),
            &mut out,
        )?;
        Ok(out)
    }

    /// Changes an object behind the store's back.
    fn spoil(store: &Store, data: &[u8], to: &[u8]) {
        let path = store.root().join(store.object_path(&ContentId::of(data)));
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(to.len() as u64).unwrap();
        file.write_all_at(to, 0).unwrap();
    }

    #[test]
    fn a_layer_comes_back_bit_for_bit() {
        let (_dir, store, tar, diff_id) = layer();
        assert_eq!(run(&store, &diff_id).unwrap(), tar);
    }

    #[test]
    fn a_content_that_changed_or_shrank_is_named() {
        for to in [&b"data\0\0\0\0mare"[..], b"data\0\0"] {
            let (_dir, store, _, diff_id) = layer();
            spoil(&store, b"data\0\0\0\0more", to);
            assert_eq!(run(&store, &diff_id).unwrap_err().exit_code(), 3);
        }
        let (_dir, store, tar, diff_id) = layer();
        let big = &tar[4..4 + BIG];
        let mut changed = big.to_vec();
        changed[BIG - 1] ^= 1;
        spoil(&store, big, &changed);
        let error = run(&store, &diff_id).unwrap_err();
        assert!(
            error.to_string().contains(&ContentId::of(big).hex()),
            "{error}"
        );
    }

    #[test]
    fn a_missing_content_is_damage() {
        let (_dir, store, tar, diff_id) = layer();
        let path = store
            .root()
            .join(store.object_path(&ContentId::of(&tar[4..4 + BIG])));
        crate::store::durable::remove(&path).unwrap();
        assert_eq!(run(&store, &diff_id).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn a_recipe_whose_contents_do_not_add_up_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        let diff_id = DiffId(Digest::sha256(b"abc"));
        let make = |listed: usize, used: usize, size: u64| {
            let writer = store.write().unwrap();
            let id = writer
                .add_object(
                    b"abc",
                    &Meta {
                        mode: 0o644,
                        ..Meta::default()
                    },
                )
                .unwrap();
            let mut recipe = writer.begin_recipe().unwrap();
            (0..used).for_each(|_| recipe.content(None).unwrap());
            let contents = vec![ContentRef { id, size: 3 }; listed];
            recipe.finish(&diff_id, size, 1, &contents).unwrap();
            writer.publish().unwrap();
        };
        make(1, 1, 3);
        assert_eq!(run(&store, &diff_id).unwrap(), b"abc");
        for (listed, used, size) in [
            (2, 1, 3),
            (0, 1, 3),
            (2, 2, 6),
            (1, 1, 4),
            (1, 1, 2),
            (0, 0, 0),
        ] {
            make(listed, used, size);
            assert_eq!(
                run(&store, &diff_id).unwrap_err().exit_code(),
                3,
                "{listed} {used} {size}"
            );
        }
    }
}
