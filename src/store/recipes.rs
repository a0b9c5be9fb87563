//! Owns recipe files: written while a layer streams past, read back segment by segment, checked before use.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{Writer, durable};
use crate::compress::{Compression, Compressor};
use crate::digest::{DiffId, RecipeHasher, RecipeSum};
use crate::error::{Context, Error, Result, quoted};
use crate::recipe::{self, ContentRef, Piece, REF_LEN, Segment, SegmentWriter, TAIL_LEN, Trailer};

/// A recipe on its way in.
#[expect(missing_debug_implementations, reason = "the zstd encoder has none")]
pub struct RecipeSink<'w> {
    writer: &'w Writer<'w>,
    path: std::path::PathBuf,
    body: SegmentWriter<Compressor<Summing>>,
}

/// Writes to a file, hashes and counts.
#[derive(Debug)]
struct Summing {
    to: BufWriter<File>,
    hasher: RecipeHasher,
    len: u64,
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Writer<'_> {
    /// Begins a layer's recipe.
    pub fn begin_recipe(&self) -> Result<RecipeSink<'_>> {
        let path = self.unique("recipe");
        let begin = |file| -> io::Result<_> {
            let mut to = Summing {
                to: BufWriter::new(file),
                hasher: RecipeHasher::default(),
                len: 0,
            };
            to.write_all(recipe::MAGIC)?;
            Ok(SegmentWriter::new(Compression::Zstd.writer(to)?))
        };
        let body = begin(durable::create_new(&path)?).context("write", quoted(&path))?;
        Ok(RecipeSink {
            writer: self,
            path,
            body,
        })
    }
}

impl RecipeSink<'_> {
    /// Adds bytes that stand in the tar as they are.
    pub fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.body
            .literal(bytes)
            .context("write", quoted(&self.path))
    }

    /// Adds the next content: whole, or the pieces of it that the tar carries.
    pub fn content(&mut self, pieces: Option<&[Piece]>) -> Result<()> {
        match pieces {
            None => self.body.whole(),
            Some(pieces) => self.body.pieces(pieces),
        }
        .context("write", quoted(&self.path))
    }

    /// Ends the recipe and stages it.
    pub fn finish(
        self,
        layer: &DiffId,
        tar_size: u64,
        entries: u64,
        contents: &[ContentRef],
    ) -> Result<()> {
        let Self { writer, path, body } = self;
        let end = || -> io::Result<()> {
            let mut to = body.finish()?.finish()?;
            let body_len = to.len - recipe::MAGIC.len() as u64;
            for content in contents {
                to.write_all(&recipe::encode_ref(content))?;
            }
            let trailer = Trailer {
                diff_id: *layer,
                tar_size,
                entries,
                body_len,
                refs: contents.len() as u64,
            };
            let tail = recipe::encode_tail(&trailer, |bytes| {
                to.hasher.update(bytes);
                to.hasher.finish()
            });
            to.to.write_all(&tail)?;
            to.to.flush()
        };
        end().context("write", quoted(&path))?;
        durable::rename(&path, &writer.staged_recipe(layer))?;
        writer.staged().recipes.insert(*layer);
        Ok(())
    }

    /// Gives up; nothing stays.
    pub fn discard(self) -> Result<()> {
        durable::remove(&self.path)
    }
}

impl Writer<'_> {
    /// Opens a recipe of this session or of the store.
    pub fn recipe(&self, layer: &DiffId) -> Result<RecipeFile> {
        let staged = self.staged_recipe(layer);
        if staged.exists() {
            RecipeFile::open(&staged, layer)
        } else {
            self.store.recipe(layer)
        }
    }

    /// Opens an object of this session or of the store.
    pub fn open_object(&self, id: &crate::digest::ContentId) -> Result<File> {
        match File::open(self.staged_object(id)) {
            Ok(file) => Ok(file),
            Err(_) => self.store.open_object(id),
        }
    }
}

/// A recipe, checked against its checksum.
#[derive(Debug)]
pub struct RecipeFile {
    file: File,
    path: std::path::PathBuf,
    trailer: Trailer,
    len: u64,
}

impl RecipeFile {
    pub(crate) fn open(path: &Path, layer: &DiffId) -> Result<Self> {
        Self::read(durable::open_regular(path), path, layer)
    }

    /// Checks what came of opening the recipe that belongs at `path`.
    pub(super) fn read(opened: io::Result<File>, path: &Path, layer: &DiffId) -> Result<Self> {
        let damaged = |why: &str| {
            Error::damaged("read the recipe", quoted(path), why)
                .hint("import an image with this layer again")
        };
        let mut file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            other => other.context("open the recipe", quoted(path))?,
        };
        let len = file
            .metadata()
            .context("read the recipe", quoted(path))?
            .len();
        let trailer = check(&mut file, len).context("read the recipe", quoted(path))?;
        let trailer = trailer.ok_or_else(|| damaged("its bytes are not what its checksum says"))?;
        if trailer.diff_id != *layer {
            return Err(damaged("it is another layer's"));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            trailer,
            len,
        })
    }

    /// Returns what the recipe says of its layer.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Returns the recipe file's length in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Returns the contents that the layer carries, in order; one may come more than once.
    pub fn contents(&self) -> Result<Vec<ContentRef>> {
        let mut file = &self.file;
        let at = recipe::MAGIC.len() as u64 + self.trailer.body_len;
        let context = || quoted(&self.path);
        file.seek(SeekFrom::Start(at))
            .context("read the recipe", context())?;
        let mut from = BufReader::new(file);
        let mut contents = Vec::new();
        for _ in 0..self.trailer.refs {
            let mut bytes = [0; REF_LEN];
            from.read_exact(&mut bytes)
                .context("read the recipe", context())?;
            let content = recipe::decode_ref(&bytes)
                .map_err(|e| Error::damaged("read the recipe", context(), e.to_string()))?;
            contents.push(content);
        }
        Ok(contents)
    }

    /// Returns a reader of the segments.
    pub fn segments(&self) -> Result<Segments> {
        let context = || quoted(&self.path);
        let mut file = self
            .file
            .try_clone()
            .context("read the recipe", context())?;
        file.seek(SeekFrom::Start(recipe::MAGIC.len() as u64))
            .context("read the recipe", context())?;
        let body = BufReader::new(file.take(self.trailer.body_len));
        let plain = Compression::Zstd
            .reader(body)
            .context("read the recipe", context())?;
        Ok(Segments {
            from: BufReader::new(plain),
            path: self.path.clone(),
        })
    }
}

/// Checks the sum over the whole file and returns the trailer, or `None` where anything is off.
fn check(file: &mut File, len: u64) -> io::Result<Option<Trailer>> {
    let least = (recipe::MAGIC.len() + TAIL_LEN) as u64;
    let Some(summed) = len.checked_sub(32).filter(|_| len >= least) else {
        return Ok(None);
    };
    let mut hasher = RecipeHasher::default();
    let mut from = BufReader::with_capacity(256 << 10, &mut *file).take(summed);
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        let n = bytes.len();
        from.consume(n);
    }
    let mut sum = [0; 32];
    file.seek(SeekFrom::Start(summed))?;
    file.read_exact(&mut sum)?;
    if hasher.finish() != RecipeSum(sum) {
        return Ok(None);
    }
    read_trailer(file, summed)
}

fn read_trailer(file: &mut File, summed: u64) -> io::Result<Option<Trailer>> {
    let mut magic = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic)?;
    let mut len = [0; 2];
    file.seek(SeekFrom::Start(summed - 2))?;
    file.read_exact(&mut len)?;
    let trailer_len = u64::from(u16::from_le_bytes(len));
    let Some(begin) = (summed - 2).checked_sub(trailer_len) else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::from(u16::from_le_bytes(len))];
    file.seek(SeekFrom::Start(begin))?;
    file.read_exact(&mut bytes)?;
    let Ok(trailer) = Trailer::decode(&bytes) else {
        return Ok(None);
    };
    let refs = trailer.refs.checked_mul(REF_LEN as u64);
    let end = refs.and_then(|refs| {
        refs.checked_add(trailer.body_len)?
            .checked_add(recipe::MAGIC.len() as u64)
    });
    Ok((magic == *recipe::MAGIC && end == Some(begin)).then_some(trailer))
}

/// Reads a recipe's segments in order.
#[expect(missing_debug_implementations, reason = "the decoder has none")]
pub struct Segments {
    from: BufReader<Box<dyn Read>>,
    path: std::path::PathBuf,
}

impl Segments {
    /// Returns the next segment; the last is [`Segment::End`].
    pub fn next_segment(&mut self) -> Result<Segment> {
        recipe::read_segment(&mut self.from).context("read the recipe", quoted(&self.path))
    }
}
