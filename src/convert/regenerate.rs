//! Owns making a layer's blob again from its tar, by its compression recipe: bounded in memory, in order, on all cores where
//! the stream is made of blocks.

use std::io::Write;
use std::sync::{Mutex, PoisonError, mpsc};

use crate::digest::{Digest, DigestHasher};
use crate::encoders::{BlockEncoder, Engine, Place, Shape, StreamEncoder};
use crate::error::{Context, Error, Result};
use crate::stream::{Body, StreamRecipe};
use crate::watch::Watch;

/// How much of the tar goes from thread to thread at a time.
const CHUNK: usize = 256 << 10;

/// How many of these may wait.
const WAITING: usize = 8;

/// Writes the blob of `recipe` to `out`; `assemble` writes the tar that is in it.
///
/// What was written counts only once this returns: whether it is the blob shows in its digest, at the end.
pub(crate) fn regenerate(
    recipe: &StreamRecipe,
    assemble: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
    out: &mut dyn Write,
    watch: &dyn Watch,
) -> Result<()> {
    let (to, from) = mpsc::sync_channel::<Vec<u8>>(WAITING);
    std::thread::scope(|scope| {
        let assembler = scope.spawn(move || {
            let mut chunks = Chunks {
                to,
                now: Vec::with_capacity(CHUNK),
            };
            assemble(&mut chunks)?;
            chunks.flush().context("assemble", "the layer")
        });
        let made = make(recipe, &from, out, watch);
        // Who made nothing of it wants no more of it.
        drop(from);
        let assembled = assembler
            .join()
            .unwrap_or_else(|_| Err(Error::failed("assemble", "the layer", "its thread died")));
        match made {
            // What is wrong with the tar says more than that it ended too early.
            Err(Stopped::Short) => Err(assembled.err().unwrap_or_else(|| {
                let why = "its tar is shorter than its compression recipe says";
                Error::damaged("make the blob", recipe.blob, why)
            })),
            Err(Stopped::Failed(e)) => Err(e),
            Ok(()) => assembled,
        }
    })
}

/// Why a blob was not made to its end.
enum Stopped {
    /// No more of the tar came.
    Short,
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn make(
    recipe: &StreamRecipe,
    from: &mpsc::Receiver<Vec<u8>>,
    out: &mut dyn Write,
    watch: &dyn Watch,
) -> Result<(), Stopped> {
    let blob = recipe.blob;
    let mut out = Out {
        to: out,
        blob,
        hasher: DigestHasher::new(blob.algorithm()),
        size: 0,
        most: recipe.size,
    };
    let mut plain = Plain {
        from,
        now: Vec::new(),
        at: 0,
        watch,
    };
    for part in &recipe.parts {
        out.put(&part.head)?;
        if let Some(body) = &part.body {
            compress(*body, &mut plain, &mut out)?;
        }
        out.put(&part.tail)?;
    }
    if plain.next(1)?.is_some() {
        let why = "its tar is longer than its compression recipe says";
        return Err(Error::damaged("make the blob", blob, why).into());
    }
    Ok(out.finish()?)
}

/// The tar on its way to another thread.
struct Chunks {
    to: mpsc::SyncSender<Vec<u8>>,
    now: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.now.len());
        self.now.extend_from_slice(&bytes[..n]);
        if self.now.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let full = std::mem::replace(&mut self.now, Vec::with_capacity(CHUNK));
        let stopped = |_| std::io::Error::other("nobody takes more of it");
        self.to.send(full).map_err(stopped)
    }
}

/// The tar as it comes.
struct Plain<'a> {
    from: &'a mpsc::Receiver<Vec<u8>>,
    now: Vec<u8>,
    at: usize,
    watch: &'a dyn Watch,
}

impl Plain<'_> {
    /// Returns up to `most` bytes, at least one, or `None` at the end of the tar.
    fn next(&mut self, most: u64) -> Result<Option<&[u8]>> {
        while self.at == self.now.len() {
            self.watch.check()?;
            match self.from.recv() {
                Ok(next) => (self.now, self.at) = (next, 0),
                Err(mpsc::RecvError) => return Ok(None),
            }
        }
        let left = self.now.len() - self.at;
        let n = usize::try_from(most).map_or(left, |most| most.min(left));
        self.at += n;
        Ok(Some(&self.now[self.at - n..self.at]))
    }
}

/// The blob as it goes.
struct Out<'a> {
    to: &'a mut dyn Write,
    blob: Digest,
    hasher: DigestHasher,
    size: u64,
    most: u64,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > self.most {
            return Err(self.other("it gets longer than it was"));
        }
        self.hasher.update(bytes);
        self.to
            .write_all(bytes)
            .context("write the blob", self.blob)
    }

    fn finish(self) -> Result<()> {
        let (blob, size, most) = (self.blob, self.size, self.most);
        if size != most {
            return Err(other(blob, "it gets shorter than it was"));
        }
        match self.hasher.finish() {
            digest if digest == blob => Ok(()),
            digest => Err(other(blob, &format!("it gets the digest {digest}"))),
        }
    }

    fn other(&self, why: &str) -> Error {
        other(self.blob, why)
    }
}

fn other(blob: Digest, why: &str) -> Error {
    Error::damaged("make the blob again", blob, why)
        .hint("`ocistore fsck` names what is damaged; import an image with this layer again")
}

fn compress(body: Body, plain: &mut Plain<'_>, out: &mut Out<'_>) -> Result<(), Stopped> {
    match body.method.engine() {
        Engine::Stream(stream) => compress_stream(stream, body.plain, plain, out),
        Engine::Blocks(blocks) => compress_blocks(&*blocks, body.plain, plain, out),
    }
}

fn compress_stream(
    mut stream: Box<dyn StreamEncoder>,
    mut left: u64,
    plain: &mut Plain<'_>,
    out: &mut Out<'_>,
) -> Result<(), Stopped> {
    let mut packed = Vec::new();
    while left > 0 {
        let bytes = plain.next(left)?.ok_or(Stopped::Short)?;
        left -= bytes.len() as u64;
        let written = stream.write(bytes, &mut packed);
        written.context("compress", "the layer")?;
        out.put(&packed)?;
        packed.clear();
    }
    let finished = stream.finish(&mut packed);
    finished.context("compress", "the layer")?;
    Ok(out.put(&packed)?)
}

fn compress_blocks(
    blocks: &dyn BlockEncoder,
    len: u64,
    plain: &mut Plain<'_>,
    out: &mut Out<'_>,
) -> Result<(), Stopped> {
    let shape = blocks.shape();
    let most = shape.block * rayon::current_num_threads().max(1);
    // What blocks refer to, and behind it blocks.
    let (mut buffer, mut before): (Vec<u8>, usize) = (Vec::with_capacity(shape.before + most), 0);
    let mut at = 0u64;
    loop {
        while buffer.len() - before < most && at + ((buffer.len() - before) as u64) < len {
            let have = (buffer.len() - before) as u64;
            let room = (most as u64 - have).min(len - at - have);
            buffer.extend_from_slice(plain.next(room)?.ok_or(Stopped::Short)?);
        }
        let cuts = cuts(shape, at, &buffer[before..], len);
        let end = cuts.last().map_or(0, |cut| cut.end);
        let is_done = cuts.last().is_some_and(|cut| cut.place == Place::Last);
        press(blocks, &buffer, before, &cuts, out)?;
        at += end as u64;
        if is_done {
            return Ok(());
        }
        let used = before + end;
        buffer.drain(..used - used.min(shape.before));
        before = used.min(shape.before);
    }
}

/// A block in what has come.
struct Cut {
    begin: usize,
    end: usize,
    place: Place,
}

/// Cuts what has come of `len` bytes, from `at` on, into whole blocks, and the last one where it is there.
fn cuts(shape: Shape, at: u64, there: &[u8], len: u64) -> Vec<Cut> {
    let (mut cuts, mut begin) = (Vec::new(), 0usize);
    loop {
        let is_inner = shape.is_inner(at + begin as u64, len);
        let end = match is_inner {
            true => begin + shape.block,
            false => there.len(),
        };
        let is_there = match is_inner {
            true => end <= there.len(),
            false => at + there.len() as u64 == len,
        };
        if !is_there {
            return cuts;
        }
        let place = match is_inner {
            true => Place::Inner,
            false => Place::Last,
        };
        cuts.push(Cut { begin, end, place });
        if !is_inner {
            return cuts;
        }
        begin = end;
    }
}

/// One layer's blocks at a time have all cores. Not rayon: whoever waits there takes up another layer meanwhile, and with
/// it another layer's memory.
static PRESS: Mutex<()> = Mutex::new(());

/// Compresses blocks side by side; writes them in order.
fn press(
    blocks: &dyn BlockEncoder,
    buffer: &[u8],
    before: usize,
    cuts: &[Cut],
    out: &mut Out<'_>,
) -> Result<()> {
    let most_before = blocks.shape().before;
    let pack = &|cut: &Cut| -> std::io::Result<Vec<u8>> {
        let (begin, end) = (before + cut.begin, before + cut.end);
        let mut packed = Vec::with_capacity((end - begin) / 2);
        let dictionary = &buffer[begin.saturating_sub(most_before)..begin];
        blocks.block(dictionary, &buffer[begin..end], cut.place, &mut packed)?;
        Ok(packed)
    };
    let packed: Vec<std::io::Result<Vec<u8>>> = {
        let _alone = PRESS.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            let threads: Vec<_> = cuts
                .iter()
                .map(|cut| scope.spawn(move || pack(cut)))
                .collect();
            let died = |_| Err(std::io::Error::other("its thread died"));
            let packed = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(died));
            packed.collect()
        })
    };
    for packed in packed {
        out.put(&packed.context("compress", "the layer")?)?;
    }
    Ok(())
}
