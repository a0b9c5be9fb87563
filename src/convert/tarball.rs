//! Owns root filesystem tarballs: a file that is no image, but the one layer of one. It is read once here, to know its
//! digests; the import reads it again, as any layer.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blob::SourceBlob;
use super::inflate::check_growth;
use super::source::{self, Source};
use crate::compress::Compression;
use crate::digest::{Algorithm, DiffId, Digest, DigestHasher};
use crate::error::{Context, Error, Result, quoted};
use crate::limits::Limits;
use crate::watch::Watch;
use crate::wire::{Descriptor, layer_media_type};

/// How much is read at a time.
const CHUNK: usize = 256 << 10;

/// A tarball, open and read once.
#[derive(Debug)]
pub struct Tarball {
    what: String,
    repository: Option<String>,
    blob: SourceBlob,
    /// It as a layer.
    pub layer: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
}

impl Tarball {
    /// Opens the tarball at `path`; without one, standard input is spooled into a file that `scratch` makes.
    ///
    /// Its first bytes tell whether it is plain, gzip or zstd.
    pub fn open(
        path: Option<&Path>,
        limits: &Limits,
        scratch: &dyn Fn() -> Result<File>,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let (file, what) = match path {
            Some(path) => {
                let missing =
                    || Error::missing("read the tarball", quoted(path), "there is no such file");
                let file = source::open_file(path)
                    .map_err(|e| e.hint("a stream is read with `tar:-`"))?
                    .ok_or_else(missing)?;
                (file, quoted(path).to_string())
            }
            None => {
                let mut file = scratch()?;
                io::copy(&mut io::stdin().lock(), &mut file).context("read", "standard input")?;
                (file, "standard input".to_owned())
            }
        };
        let blob = SourceBlob::whole(file)?;
        if blob.size() == 0 {
            // What a tool that failed leaves, more often than what anybody means.
            return Err(Error::malformed("read the tarball", what, "it is empty")
                .hint("a root filesystem without files is `tar -cf FILE -T /dev/null`"));
        }
        watch.begin("reading the tarball", Some(blob.size()));
        let (layer, diff_id) = read(&blob, &what, limits, watch)?;
        watch.end();
        Ok(Self {
            what,
            repository: path.map(source::repository_of_file),
            blob,
            layer,
            diff_id,
        })
    }

    /// Returns it as a source of one image: the one that `manifest` points to, with these documents.
    pub fn into_source(self, manifest: Descriptor, documents: [(Digest, Vec<u8>); 2]) -> Source {
        let mut blobs = vec![(self.layer.digest, self.blob)];
        blobs.extend(documents.map(|(digest, bytes)| (digest, SourceBlob::bytes(bytes.into()))));
        Source::of_blobs((self.what, self.repository), manifest, blobs)
    }
}

/// Reads, hashing what passes.
struct Hashing<'a, R> {
    from: R,
    hasher: DigestHasher,
    read: Arc<AtomicU64>,
    watch: &'a dyn Watch,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(to)?;
        self.hasher.update(&to[..n]);
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        self.watch.advance(n as u64);
        Ok(n)
    }
}

/// Returns what a tarball is as a layer, and the digest of its tar.
fn read(
    blob: &SourceBlob,
    what: &str,
    limits: &Limits,
    watch: &dyn Watch,
) -> Result<(Descriptor, DiffId)> {
    let refuse = |why: String| Error::malformed("read the tarball", what, why);
    let mut head = Vec::new();
    let begin = blob.reader().take(8).read_to_end(&mut head);
    begin.context("read", what)?;
    let compression = Compression::sniff(&head);
    let so_far = Arc::new(AtomicU64::new(0));
    let mut packed = Hashing {
        from: blob.reader(),
        hasher: DigestHasher::new(Algorithm::Sha256),
        read: Arc::clone(&so_far),
        watch,
    };
    let mut tar = DigestHasher::new(Algorithm::Sha256);
    {
        let from = BufReader::with_capacity(CHUNK, &mut packed);
        let broken = |e: io::Error| refuse(format!("its {} stream: {e}", compression.name()));
        let mut plain = compression.reader(from).map_err(broken)?;
        let mut chunk = vec![0; CHUNK];
        let mut total = 0u64;
        loop {
            watch.check()?;
            let n = match plain.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(broken)?,
            };
            if n == 0 {
                break;
            }
            total += n as u64;
            check_growth(total, so_far.load(Ordering::Relaxed), limits).map_err(refuse)?;
            tar.update(&chunk[..n]);
        }
    }
    io::copy(&mut packed, &mut io::sink()).context("read", what)?;
    let size = so_far.load(Ordering::Relaxed);
    let layer = Descriptor::new(layer_media_type(compression), packed.hasher.finish(), size);
    Ok((layer, DiffId(tar.finish())))
}
