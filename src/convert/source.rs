//! Owns where images come from: layouts, archives of layouts, archives of `docker save`, a stream.
//! Hands out documents' and blobs' bytes; whether they are what their digests name is for the reader to check.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
pub use super::blob::{BlobReader, SourceBlob};
use super::docker::{self, Held};
use crate::compress::Compression;
use crate::digest::Digest;
use crate::error::{Context, Error, Result, quoted};
use crate::limits::Limits;
use crate::reference::{self, ImageName, Pick, Place};
use crate::store::durable;
use crate::wire::{self, Descriptor, Document, WireError};

/// The annotation that image builders put the full name in, beside a tag in [`wire::REF_NAME`].
const FULL_NAME: &str = "io.containerd.image.name";

/// A place that images come from, open. Threads may share it.
#[derive(Debug)]
pub struct Source {
    what: String,
    repository: Option<String>,
    roots: Vec<Root>,
    kind: Kind,
}

/// What a source offers by itself, picked already: an image, an index or anything else with a descriptor.
#[derive(Clone, PartialEq, Debug)]
pub struct Root {
    /// What it is.
    pub descriptor: Descriptor,
    /// What it is called there: a tag or a full name.
    pub name_hint: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Layout(PathBuf),
    Oci(Archive),
    Docker(Archive, docker::Blobs),
    Blobs(HashMap<Digest, SourceBlob>),
}

/// Which kind of archive is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Oci,
    Docker,
    Any,
}

impl Source {
    /// Opens `place`. `scratch` makes files for what has to be inflated or spooled first.
    pub fn open(
        place: &Place,
        limits: &Limits,
        scratch: &dyn Fn() -> Result<File>,
    ) -> Result<Self> {
        let bounds = Bounds { limits, scratch };
        match place {
            Place::Layout(path, pick) => Self::layout(path, pick, limits),
            Place::OciArchive(path, pick) => Self::archive_at(path, pick, Wanted::Oci, bounds),
            Place::DockerArchive(path, pick) => {
                Self::archive_at(path, pick, Wanted::Docker, bounds)
            }
            Place::Path(path, pick) if path.is_dir() => Self::layout(path, pick, limits),
            Place::Path(path, pick) => Self::archive_at(path, pick, Wanted::Any, bounds),
            Place::Stream => {
                let mut file = scratch()?;
                io::copy(&mut io::stdin().lock(), &mut file).context("read", "standard input")?;
                Self::archive(file, None, &Pick::All, Wanted::Any, bounds)
            }
        }
    }

    /// Returns a source of our own making: one root, and all that it leads to.
    pub(super) fn of_blobs(
        (what, repository): (String, Option<String>),
        descriptor: Descriptor,
        blobs: Vec<(Digest, SourceBlob)>,
    ) -> Self {
        let root = Root {
            descriptor,
            name_hint: None,
        };
        Self {
            what,
            repository,
            roots: vec![root],
            kind: Kind::Blobs(blobs.into_iter().collect()),
        }
    }

    /// Returns what is there, of what was picked.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// Returns how errors and progress call it.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns the repository that names without one belong to; a stream has none.
    pub fn default_repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// Opens the blob of `digest`, or returns `None` where the source does not have it.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<SourceBlob>> {
        let below = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        match &self.kind {
            Kind::Layout(folder) => open_file(&folder.join(below))?
                .map(SourceBlob::whole)
                .transpose(),
            Kind::Oci(archive) => Ok(archive
                .find(below.as_bytes())?
                .map(|range| SourceBlob::range(archive, range))),
            Kind::Blobs(blobs) => Ok(blobs.get(digest).cloned()),
            Kind::Docker(archive, blobs) => Ok(blobs.get(digest).map(|held| match held {
                Held::Bytes(bytes) => SourceBlob::bytes(Arc::clone(bytes)),
                Held::Range(range) => SourceBlob::range(archive, *range),
            })),
        }
    }

    fn layout(path: &Path, pick: &Pick, limits: &Limits) -> Result<Self> {
        let what = quoted(path).to_string();
        let malformed = |why: String| Error::malformed("read the image layout", &what, why);
        let metadata = match std::fs::metadata(path) {
            Err(e) if is_missing(&e) => {
                return Err(Error::missing(
                    "read the image layout",
                    &what,
                    "there is no such folder",
                ));
            }
            other => other.context("read the image layout", &what)?,
        };
        if !metadata.is_dir() {
            return Err(
                malformed("it is not a folder".to_owned()).hint("archives are oci-archive:FILE")
            );
        }
        let read = |name: &str| -> Result<Vec<u8>> {
            let path = path.join(name);
            let file =
                open_file(&path)?.ok_or_else(|| malformed(format!("it has no file '{name}'")))?;
            read_document(file, &path, limits)
        };
        wire::check_layout_file(&read("oci-layout")?)
            .map_err(|e| malformed(format!("oci-layout: {e}")))?;
        let roots = index_roots(&read("index.json")?, None)
            .map_err(|e| e.into_error("read the image layout", &what))?;
        let repository = repository_of_folder(path);
        let roots = picked(roots, pick, repository.as_deref(), &what)?;
        Ok(Self {
            what,
            repository,
            roots,
            kind: Kind::Layout(path.to_owned()),
        })
    }

    fn archive_at(path: &Path, pick: &Pick, wanted: Wanted, bounds: Bounds<'_>) -> Result<Self> {
        let missing = || {
            Error::missing(
                "read the images in",
                quoted(path),
                "there is no such file or folder",
            )
        };
        let file = open_file(path)
            .map_err(|e| e.hint("a stream is read with `-`"))?
            .ok_or_else(missing)?;
        Self::archive(file, Some(path), pick, wanted, bounds)
    }

    fn archive(
        file: File,
        path: Option<&Path>,
        pick: &Pick,
        wanted: Wanted,
        bounds: Bounds<'_>,
    ) -> Result<Self> {
        let limits = bounds.limits;
        let what = path.map_or_else(
            || "standard input".to_owned(),
            |path| quoted(path).to_string(),
        );
        let repository = path.map(repository_of_file);
        let archive = Archive::open(inflated(file, &what, bounds)?, &what, limits)?;
        let malformed = |why: String| Error::malformed("read the archive", &what, why);
        let is_layout = archive.find(b"oci-layout")?.is_some();
        let is_saved = archive.find(b"manifest.json")?.is_some();
        let (roots, kind) = match wanted {
            Wanted::Docker => read_docker(archive, limits)?,
            Wanted::Any if is_saved && !is_layout => read_docker(archive, limits)?,
            Wanted::Oci | Wanted::Any if is_layout => {
                let layout = archive
                    .read("oci-layout", limits.document_bytes)?
                    .unwrap_or_default();
                wire::check_layout_file(&layout)
                    .map_err(|e| malformed(format!("oci-layout: {e}")))?;
                let index = archive.read("index.json", limits.document_bytes)?;
                let index =
                    index.ok_or_else(|| malformed("it has no member 'index.json'".to_owned()))?;
                let roots = index_roots(&index, Some(FULL_NAME))
                    .map_err(|e| e.into_error("read the archive", &what))?;
                (roots, Kind::Oci(archive))
            }
            Wanted::Oci => return Err(malformed("it has no member 'oci-layout'".to_owned())),
            Wanted::Any => {
                return Err(malformed(
                    "it has neither 'oci-layout' nor 'manifest.json'".to_owned(),
                ));
            }
        };
        let roots = picked(roots, pick, repository.as_deref(), &what)?;
        Ok(Self {
            what,
            repository,
            roots,
            kind,
        })
    }
}

/// What bounds the reading of an archive, and where it may be inflated to.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    limits: &'a Limits,
    scratch: &'a dyn Fn() -> Result<File>,
}

fn read_docker(archive: Archive, limits: &Limits) -> Result<(Vec<Root>, Kind)> {
    let (roots, blobs) = docker::read(&archive, limits)?;
    Ok((roots, Kind::Docker(archive, blobs)))
}

fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a file, following symlinks; a fifo, device, socket or folder in its place is malformed input, and so is a way
/// to it that leads nowhere.
pub(super) fn open_file(path: &Path) -> Result<Option<File>> {
    let malformed = |why: &str| Err(Error::malformed("read", quoted(path), why));
    // Looked at before it is opened: opening alone makes some devices act.
    let opened = match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return malformed("it is not a regular file"),
        Ok(_) => durable::open_regular(path),
        Err(e) => Err(e),
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            malformed("its symlinks lead nowhere")
        }
        Err(e) => Err(e).context("read", quoted(path)),
    }
}

fn read_document(file: File, path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let most = limits.document_bytes;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .context("read", quoted(path))?;
    if bytes.len() as u64 > most {
        let why = format!("it has more than {most} bytes (--max-json)");
        return Err(Error::malformed("read", quoted(path), why));
    }
    Ok(bytes)
}

/// Returns a plain tar's file: `file` itself, or a scratch file with what it inflates to.
fn inflated(mut file: File, what: &str, bounds: Bounds<'_>) -> Result<File> {
    let expansion = bounds.limits.expansion;
    let mut head = [0; 8];
    let len = file
        .read_at(&mut head, 0)
        .context("read the archive", what)?;
    let compression = Compression::sniff(&head[..len]);
    if compression == Compression::None {
        return Ok(file);
    }
    file.rewind().context("read the archive", what)?;
    let packed = file.metadata().context("read the archive", what)?.len();
    let most = packed
        .saturating_mul(expansion)
        .max(bounds.limits.free_bytes);
    let mut plain = compression
        .reader(BufReader::with_capacity(256 << 10, file))
        .context("read the archive", what)?;
    let mut to = (bounds.scratch)()?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let n = match plain.read(&mut buffer) {
            Ok(0) => return Ok(to),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::malformed("inflate the archive", what, e.to_string())),
        };
        total += n as u64;
        if total > most {
            return Err(Error::malformed(
                "inflate the archive",
                what,
                format!("it expands more than {expansion} : 1 (--max-expansion)"),
            ));
        }
        to.write_all(&buffer[..n])
            .context("write", "a scratch file")?;
    }
}

/// Reads an `index.json`; where `full_name` is given, that annotation goes before a mere tag.
fn index_roots(bytes: &[u8], full_name: Option<&str>) -> Result<Vec<Root>, WireError> {
    let document = Document::parse(bytes, wire::OCI_INDEX).map_err(|e| e.within("index.json"))?;
    let Document::Index(children) = document else {
        return Err(WireError::Malformed(
            "index.json: expected an index".to_owned(),
        ));
    };
    let hint = |descriptor: &Descriptor| {
        let tag = descriptor.annotation(wire::REF_NAME);
        let full = full_name
            .and_then(|key| descriptor.annotation(key))
            .filter(|n| ImageName::parse(n).is_ok());
        let is_full = tag.is_some_and(|tag| tag.contains([':', '/']));
        full.filter(|_| !is_full).or(tag).map(str::to_owned)
    };
    Ok(children
        .into_iter()
        .map(|descriptor| Root {
            name_hint: hint(&descriptor),
            descriptor,
        })
        .collect())
}

/// Keeps what was picked: by digest, by the name as it is written there, or by the full name.
fn picked(
    roots: Vec<Root>,
    pick: &Pick,
    repository: Option<&str>,
    what: &str,
) -> Result<Vec<Root>> {
    let wanted = match pick {
        Pick::All => return Ok(roots),
        Pick::Digest(digest) => {
            let found: Vec<Root> = roots
                .iter()
                .filter(|r| r.descriptor.digest == *digest)
                .cloned()
                .collect();
            return if found.is_empty() {
                Err(not_there(&roots, &digest.to_string(), what))
            } else {
                Ok(found)
            };
        }
        Pick::Ref(wanted) => wanted,
    };
    let exact = |r: &&Root| {
        [
            r.name_hint.as_deref(),
            r.descriptor.annotation(wire::REF_NAME),
        ]
        .contains(&Some(wanted.as_str()))
    };
    let mut found: Vec<Root> = roots.iter().filter(exact).cloned().collect();
    if found.is_empty() {
        let name = ImageName::parse(wanted).ok();
        let full = |r: &&Root| name.is_some() && full_name(r, repository) == name;
        found = roots.iter().filter(full).cloned().collect();
    }
    let Some(first) = found.first() else {
        return Err(not_there(&roots, wanted, what));
    };
    if let Some(other) = found
        .iter()
        .find(|r| r.descriptor.digest != first.descriptor.digest)
    {
        let why = format!(
            "it names both {} and {}",
            first.descriptor.digest, other.descriptor.digest
        );
        return Err(
            Error::malformed("pick", format!("'{wanted}' in {what}"), why)
                .hint("pick one by its digest"),
        );
    }
    Ok(found)
}

fn full_name(root: &Root, repository: Option<&str>) -> Option<ImageName> {
    let hint = root.name_hint.as_deref()?;
    if hint.contains([':', '/', '@']) {
        return ImageName::parse(hint).ok();
    }
    ImageName::tagged(repository?, hint).ok()
}

fn not_there(roots: &[Root], wanted: &str, what: &str) -> Error {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = roots
        .iter()
        .map(|r| {
            r.name_hint
                .clone()
                .unwrap_or_else(|| r.descriptor.digest.to_string())
        })
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let there = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    Error::missing(
        "find",
        format!("'{wanted}' in {what}"),
        format!("it has {there}"),
    )
}

fn repository_of_folder(path: &Path) -> Option<String> {
    // `.` and `..` are called what they lead to.
    let path = match path.file_name() {
        Some(_) => path.to_owned(),
        None => std::fs::canonicalize(path).ok()?,
    };
    Some(reference::repository_from_path(&path))
}

pub(super) fn repository_of_file(path: &Path) -> String {
    const ENDINGS: [&str; 7] = [
        ".tar",
        ".tar.gz",
        ".tgz",
        ".tar.zst",
        ".tar.zstd",
        ".tzst",
        ".oci",
    ];
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let stem = ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .filter(|stem| !stem.is_empty());
    reference::repository_from_path(Path::new(stem.unwrap_or(&name)))
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests;
    use super::super::archive_writer::ArchiveWriter;
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    const CONFIG: &[u8] =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

    fn scratch() -> Result<File> {
        tempfile::tempfile().context("make", "a scratch file")
    }

    fn open(text: &str) -> Result<Source> {
        Source::open(&Place::parse(text), &Limits::default(), &scratch)
    }

    fn put(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        durable::create_new(path).unwrap().write_all(bytes).unwrap();
    }

    fn index(entries: &[(&Digest, &str)]) -> Vec<u8> {
        let entries = entries.iter().map(|(digest, name)| {
            let descriptor = Descriptor::new(wire::OCI_MANIFEST, **digest, 5).named(Some(name));
            serde_json::Value::Object(descriptor.raw)
        });
        let entries: Vec<_> = entries.collect();
        serde_json::json!({ "schemaVersion": 2, "manifests": entries })
            .to_string()
            .into_bytes()
    }

    /// A layout `debian` of two images, whose blobs are just texts.
    fn layout() -> (TempDir, PathBuf, [Digest; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("debian");
        let digests = [&b"first"[..], b"other"].map(|bytes| {
            let digest = Digest::sha256(bytes);
            put(&root.join(format!("blobs/sha256/{}", digest.hex())), bytes);
            digest
        });
        put(&root.join("oci-layout"), wire::LAYOUT_FILE);
        put(
            &root.join("index.json"),
            &index(&[(&digests[0], "12"), (&digests[1], "registry.example/x:13")]),
        );
        (dir, root, digests)
    }

    fn bytes_of(source: &Source, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        source
            .open_blob(digest)
            .unwrap()
            .unwrap()
            .reader()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn a_layout_offers_what_its_index_names() {
        let (_dir, root, digests) = layout();
        let source = open(&root.display().to_string()).unwrap();
        assert_eq!(source.default_repository(), Some("debian"));
        let hints: Vec<_> = source
            .roots()
            .iter()
            .map(|r| r.name_hint.as_deref().unwrap())
            .collect();
        assert_eq!(hints, ["12", "registry.example/x:13"]);
        assert_eq!(bytes_of(&source, &digests[1]), b"other");
        assert!(
            source
                .open_blob(&digests[0])
                .unwrap()
                .unwrap()
                .whole_file()
                .is_some()
        );
        assert!(
            source
                .open_blob(&Digest::sha256(b"gone"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn one_image_is_picked_by_tag_full_name_or_digest() {
        let (_dir, root, digests) = layout();
        let root = root.display();
        for (text, digest) in [
            (format!("oci:{root}:12"), digests[0]),
            (format!("oci:{root}:debian:12"), digests[0]),
            (format!("{root}:registry.example/x:13"), digests[1]),
            (format!("oci:{root}@{}", digests[1]), digests[1]),
        ] {
            let source = open(&text).unwrap();
            assert_eq!(source.roots().len(), 1, "{text}");
            assert_eq!(source.roots()[0].descriptor.digest, digest, "{text}");
        }
        let error = open(&format!("oci:{root}:14")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("12, registry.example/x:13"),
            "{error}"
        );
    }

    #[test]
    fn a_name_that_two_images_have_is_picked_by_digest_only() {
        let (_dir, root, digests) = layout();
        durable::remove(&root.join("index.json")).unwrap();
        put(
            &root.join("index.json"),
            &index(&[(&digests[0], "12"), (&digests[1], "12")]),
        );
        let error = open(&format!("oci:{}:12", root.display())).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        for digest in digests {
            assert!(error.to_string().contains(&digest.to_string()));
            assert_eq!(
                open(&format!("oci:{}@{digest}", root.display()))
                    .unwrap()
                    .roots()
                    .len(),
                1
            );
        }
    }

    #[test]
    fn what_is_no_layout_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let code = |text: String| open(&text).unwrap_err().exit_code();
        assert_eq!(code(format!("oci:{}/gone", dir.path().display())), 2);
        assert_eq!(code(format!("{}/gone", dir.path().display())), 2);
        assert_eq!(
            code(format!("oci-archive:{}/gone", dir.path().display())),
            2
        );
        assert_eq!(code(format!("oci:{}", dir.path().display())), 4);
        put(
            &dir.path().join("oci-layout"),
            br#"{"imageLayoutVersion":"2.0.0"}"#,
        );
        put(&dir.path().join("index.json"), &index(&[]));
        assert_eq!(code(format!("oci:{}", dir.path().display())), 4);
    }

    #[test]
    fn links_in_a_layout_are_followed_and_a_fifo_never_blocks() {
        let (_dir, root, digests) = layout();
        let blob = root.join(format!("blobs/sha256/{}", digests[0].hex()));
        durable::rename(&blob, &root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../../elsewhere", &blob).unwrap();
        let fifo = Digest::sha256(b"fifo");
        let path = root.join(format!("blobs/sha256/{}", fifo.hex()));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let source = open(&root.display().to_string()).unwrap();
        assert_eq!(bytes_of(&source, &digests[0]), b"first");
        assert_eq!(source.open_blob(&fifo).unwrap_err().exit_code(), 4);
    }

    fn oci_archive(annotation: &str) -> (Vec<u8>, Digest) {
        let digest = Digest::sha256(b"first");
        let entry = format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":5,"annotations":{{{annotation}"{}":"12"}}}}"#,
            wire::OCI_MANIFEST,
            wire::REF_NAME
        );
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let mut writer = ArchiveWriter::new(Vec::new());
        let members = [
            (format!("blobs/sha256/{}", digest.hex()), &b"first"[..]),
            ("index.json".to_owned(), index.as_bytes()),
            ("oci-layout".to_owned(), wire::LAYOUT_FILE),
        ];
        for (name, bytes) in members {
            writer
                .file(&name, bytes.len() as u64, |to| {
                    to.write_all(bytes).context("write", "x")
                })
                .unwrap();
        }
        (writer.finish().unwrap(), digest)
    }

    #[test]
    fn an_archive_of_a_layout_is_read_plain_or_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, digest) = oci_archive("");
        for (name, compression) in [
            ("a.tar", Compression::None),
            ("a.tar.gz", Compression::Gzip),
            ("a.tzst", Compression::Zstd),
        ] {
            let mut packed = compression.writer(Vec::new()).unwrap();
            packed.write_all(&bytes).unwrap();
            let path = dir.path().join(name);
            put(&path, &packed.finish().unwrap());
            for text in [
                format!("oci-archive:{}:12", path.display()),
                path.display().to_string(),
            ] {
                let source = open(&text).unwrap();
                assert_eq!(source.default_repository(), Some("a"));
                assert_eq!(bytes_of(&source, &digest), b"first");
                assert!(
                    source
                        .open_blob(&digest)
                        .unwrap()
                        .unwrap()
                        .whole_file()
                        .is_none()
                );
            }
            assert_eq!(
                open(&format!("docker-archive:{}", path.display()))
                    .unwrap_err()
                    .exit_code(),
                4
            );
        }
    }

    #[test]
    fn the_full_name_in_an_archive_goes_before_its_tag() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, _) = oci_archive(&format!(
            r#""{FULL_NAME}":"registry.example/library/debian:12","#
        ));
        put(&dir.path().join("x.tar"), &bytes);
        for pick in ["", ":12", ":registry.example/library/debian:12"] {
            let source = open(&format!("{}/x.tar{pick}", dir.path().display())).unwrap();
            assert_eq!(
                source.roots()[0].name_hint.as_deref(),
                Some("registry.example/library/debian:12")
            );
        }
    }

    #[test]
    fn a_cut_off_archive_is_malformed() {
        let dir = tempfile::tempdir().unwrap();
        let mut packed = Compression::Gzip.writer(Vec::new()).unwrap();
        packed.write_all(&oci_archive("").0).unwrap();
        let packed = packed.finish().unwrap();
        put(&dir.path().join("x.tar.gz"), &packed[..packed.len() / 2]);
        assert_eq!(
            open(&format!("{}/x.tar.gz", dir.path().display()))
                .unwrap_err()
                .exit_code(),
            4
        );
        put(&dir.path().join("empty"), b"");
        assert_eq!(
            open(&format!("{}/empty", dir.path().display()))
                .unwrap_err()
                .exit_code(),
            4
        );
    }

    /// What old versions of `docker save` write: layers in folders, equal ones as links.
    fn saved(layers: &str) -> Vec<u8> {
        let manifest = format!(
            r#"[{{"Config":"c.json","RepoTags":["debian:12","debian:latest"],"Layers":[{layers}]}}]"#
        );
        let mut bytes = Vec::new();
        tests::file(&mut bytes, "1/layer.tar", b"layer one");
        tests::symlink(&mut bytes, "2/layer.tar", "../1/layer.tar");
        tests::file(&mut bytes, "3/layer.tar", b"\x1f\x8bzip");
        tests::file(&mut bytes, "c.json", CONFIG);
        tests::file(&mut bytes, "manifest.json", manifest.as_bytes());
        bytes
    }

    #[test]
    fn a_docker_archive_is_given_manifests_always_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("saved.tar");
        put(
            &path,
            &saved(r#""1/layer.tar","2/layer.tar","3/layer.tar""#),
        );
        let source = open(&path.display().to_string()).unwrap();
        let hints: Vec<_> = source
            .roots()
            .iter()
            .map(|r| r.name_hint.as_deref().unwrap())
            .collect();
        assert_eq!(hints, ["debian:12", "debian:latest"]);
        let root = &source.roots()[0].descriptor;
        let bytes = bytes_of(&source, &root.digest);
        assert!(root.digest.matches(&bytes));
        assert_eq!(
            root.digest,
            open(&path.display().to_string()).unwrap().roots()[0]
                .descriptor
                .digest
        );
        let Document::Manifest(manifest) = Document::parse(&bytes, &root.media_type).unwrap()
        else {
            panic!()
        };
        assert!(manifest.is_image());
        assert_eq!(bytes_of(&source, &manifest.config.digest), CONFIG);
        assert_eq!(manifest.layers[0].digest, Digest::sha256(b"layer one"));
        assert_eq!(manifest.layers[1].digest, manifest.layers[0].digest);
        assert_eq!(
            manifest.layers[2].media_type,
            wire::layer_media_type(Compression::Gzip)
        );
        assert_eq!(
            bytes_of(&source, &manifest.layers[2].digest),
            b"\x1f\x8bzip"
        );
        let picked = open(&format!("docker-archive:{}:debian", path.display())).unwrap();
        assert_eq!(
            picked.roots()[0].name_hint.as_deref(),
            Some("debian:latest")
        );
    }

    #[test]
    fn a_docker_archive_that_lacks_a_layer_is_malformed() {
        let dir = tempfile::tempdir().unwrap();
        for (name, layers) in [
            ("a", r#""4/layer.tar""#),
            ("b", r#""/etc/passwd""#),
            ("c", "7"),
        ] {
            put(&dir.path().join(name), &saved(layers));
            assert_eq!(
                open(&format!("{}/{name}", dir.path().display()))
                    .unwrap_err()
                    .exit_code(),
                4
            );
        }
    }
}
