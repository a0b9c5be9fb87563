//! The properties of what images come in: compressed streams, and archives of images.

use std::io::{self, BufReader, Read, Write as _};

use super::bytes::Bytes;
use super::tar::{in_memory, path_of};
use crate::compress::Compression;
use crate::convert::source::Source;
use crate::digest::Digest;
use crate::limits::Limits;
use crate::reference::{Pick, Place};
use crate::wire::Document;

/// How much of a stream is looked at.
const PLAIN_MAX: u64 = 1 << 20;

/// A stream reads the same in one go and in pieces, and as the libraries' own readers of several members have it.
pub fn streams(data: &[u8]) {
    let mut from = Bytes(data);
    let (style, piece) = (from.next(), usize::from(from.next()));
    let compression = match style & 1 {
        0 => Compression::Gzip,
        _ => Compression::Zstd,
    };
    let made = (style & 2 != 0).then(|| members(&mut from, compression));
    let (packed, expected) = match &made {
        Some((packed, plain)) => (packed.as_slice(), Some(plain)),
        None => (from.0, None),
    };
    let whole = read(compression.reader(packed), 1 << 16);
    let pieces = BufReader::with_capacity(1 + piece, packed);
    let pieces = read(compression.reader(pieces), 1 + piece / 2);
    assert_eq!(whole.is_ok(), pieces.is_ok());
    if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
        assert!(whole == pieces, "in pieces it is another stream");
    }
    match expected {
        Some(plain) => assert_eq!(whole.as_ref().ok(), Some(plain)),
        None => peers(compression, packed, whole.as_ref().ok()),
    }
}

/// Makes a stream of several members, and what it inflates to.
fn members(from: &mut Bytes<'_>, compression: Compression) -> (Vec<u8>, Vec<u8>) {
    let (mut packed, mut plain) = (Vec::new(), Vec::new());
    while !from.is_empty() {
        let len = from.next();
        if len == 255 {
            packed.resize(packed.len() + 512, 0);
            break;
        }
        if len == 254 && compression == Compression::Zstd {
            let skipped = from.take(3);
            packed.extend([0x53, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
            let at = packed.len() - 4;
            packed[at] = skipped.len().to_le_bytes()[0];
            packed.extend(skipped);
            continue;
        }
        let data = from.take(usize::from(len));
        let mut writer = compression.writer(Vec::new()).expect("an encoder");
        writer.write_all(data).expect("memory takes everything");
        packed.extend(writer.finish().expect("memory takes everything"));
        plain.extend(data);
    }
    (packed, plain)
}

fn read<'a>(from: io::Result<Box<dyn Read + 'a>>, piece: usize) -> io::Result<Vec<u8>> {
    let mut from = from?.take(PLAIN_MAX);
    let (mut plain, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(plain),
            n => plain.extend_from_slice(&buffer[..n]),
        }
    }
}

/// What the libraries take to the last byte, we take; what we take, they take without the zeros after it.
fn peers(compression: Compression, packed: &[u8], ours: Option<&Vec<u8>>) {
    if let Ok(theirs) = peer(compression, packed)
        && !packed.is_empty()
    {
        assert_eq!(Some(&theirs), ours, "the library reads it");
    }
    let Some(ours) = ours.filter(|ours| (ours.len() as u64) < PLAIN_MAX) else {
        return;
    };
    let trimmed = packed
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |last| last + 1);
    // A member may end with zeros of its own.
    let mut ends = trimmed..=packed.len().min(trimmed + 12);
    let agrees = |end: usize| peer(compression, &packed[..end]).is_ok_and(|theirs| theirs == *ours);
    assert!(
        trimmed == 0 || ends.any(agrees),
        "the library does not read it"
    );
}

fn peer(compression: Compression, packed: &[u8]) -> io::Result<Vec<u8>> {
    match compression {
        Compression::Gzip => read(
            Ok(Box::new(flate2::bufread::MultiGzDecoder::new(packed))),
            1 << 16,
        ),
        _ => read(
            Ok(Box::new(zstd::stream::read::Decoder::with_buffer(packed)?)),
            1 << 16,
        ),
    }
}

/// An archive of images opens or is refused; what it hands out ends, and a manifest made for it is what it is called.
pub fn archives(data: &[u8]) {
    let mut from = Bytes(data);
    let style = from.next();
    let made = (style & 1 != 0).then(|| archive(&mut from));
    let bytes = made.as_deref().unwrap_or(from.0);
    let packed = match style >> 1 & 3 {
        1 => Some(pack(Compression::Gzip, bytes)),
        2 => Some(pack(Compression::Zstd, bytes)),
        _ => None,
    };
    let file = in_memory(packed.as_deref().unwrap_or(bytes));
    let path = path_of(&file);
    let scratch = || Ok(in_memory(b""));
    for (promise, place) in [
        (Promise::Nothing, Place::OciArchive(path.clone(), Pick::All)),
        (Promise::All, Place::DockerArchive(path.clone(), Pick::All)),
        (Promise::Nothing, Place::Path(path, Pick::All)),
    ] {
        if let Ok(source) = Source::open(&place, &Limits::default(), &scratch) {
            look_at(&source, promise);
        }
    }
}

/// What an archive that opened promises: one of `docker save` gets manifests of our own making, a layout is as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    Nothing,
    All,
}

fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut writer = compression.writer(Vec::new()).expect("an encoder");
    writer.write_all(bytes).expect("memory takes everything");
    writer.finish().expect("memory takes everything")
}

fn look_at(source: &Source, promise: Promise) {
    for root in source.roots() {
        let descriptor = &root.descriptor;
        let Some(bytes) = blob(source, &descriptor.digest) else {
            assert!(
                promise == Promise::Nothing,
                "a manifest that was made is there"
            );
            continue;
        };
        let is_named = descriptor.digest.matches(&bytes) && descriptor.size == bytes.len() as u64;
        let Ok(document) = Document::parse(&bytes, &descriptor.media_type) else {
            assert!(
                promise == Promise::Nothing,
                "a manifest that was made is one"
            );
            continue;
        };
        assert!(is_named || promise == Promise::Nothing);
        for below in document.descriptors() {
            // Two layers may claim one digest: that one of them lies is for the importer to see.
            let is_there = blob(source, &below.digest).is_some();
            assert!(is_there || promise == Promise::Nothing);
        }
    }
}

fn blob(source: &Source, digest: &Digest) -> Option<Vec<u8>> {
    let blob = source.open_blob(digest).ok()??;
    let mut bytes = Vec::new();
    blob.reader()
        .take(PLAIN_MAX)
        .read_to_end(&mut bytes)
        .expect("bytes that are there");
    assert_eq!(bytes.len() as u64, blob.size().min(PLAIN_MAX));
    Some(bytes)
}

/// Makes an archive whose members lead to each other.
fn archive(from: &mut Bytes<'_>) -> Vec<u8> {
    let mut tar = Vec::new();
    while !from.is_empty() {
        let kind = from.next();
        let name = name(from.next());
        let (flag, link, data) = match kind & 7 {
            0 => (b'2', self::name(from.next()), Vec::new()),
            1 => (b'1', self::name(from.next()), Vec::new()),
            2 => (b'0', String::new(), from.take(usize::from(kind)).to_vec()),
            3 => (
                b'0',
                String::new(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            4 | 5 => (b'0', String::new(), saved(from).into_bytes()),
            _ => (b'0', String::new(), index(from).into_bytes()),
        };
        super::generator::plain_member((flag, name.as_bytes(), link.as_bytes()), &data, &mut tar);
    }
    tar
}

const CONFIG: &str = r#"{"os":"linux","architecture":"arm","rootfs":{"type":"layers","diff_ids":["sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"]}}"#;

fn name(pick: u8) -> String {
    match pick & 15 {
        0 | 1 => "manifest.json".to_owned(),
        2 => "oci-layout".to_owned(),
        3 => "index.json".to_owned(),
        4 => "config.json".to_owned(),
        5 => "a/layer.tar".to_owned(),
        6 => "b/layer.tar".to_owned(),
        7 => "../a/layer.tar".to_owned(),
        8 => "a/../b".to_owned(),
        9 => "/".to_owned(),
        10 => "b".to_owned(),
        11 => "./x".to_owned(),
        _ => format!("blobs/sha256/{}", Digest::sha256(&[pick >> 4]).hex()),
    }
}

/// A `manifest.json` as `docker save` writes it, or a config.
fn saved(from: &mut Bytes<'_>) -> String {
    let style = from.next();
    if style & 7 == 7 {
        return CONFIG.to_owned();
    }
    let layers: Vec<String> = (0..style & 3)
        .map(|_| format!("{:?}", name(from.next())))
        .collect();
    let tags =
        ["[]", "null", r#"["a:1","b:2"]"#, r#"["<none>:<none>"]"#][usize::from(style >> 4 & 3)];
    let image = format!(
        r#"{{"Config":{:?},"RepoTags":{tags},"Layers":[{}]}}"#,
        name(from.next()),
        layers.join(",")
    );
    if style & 8 != 0 {
        format!("[{image},{image}]")
    } else {
        format!("[{image}]")
    }
}

/// An `index.json`, or a manifest.
fn index(from: &mut Bytes<'_>) -> String {
    let style = from.next();
    let descriptor = |pick: u8| {
        let digest = Digest::sha256(&[pick >> 4]);
        let media_type = [
            "manifest.v1+json",
            "index.v1+json",
            "config.v1+json",
            "layer.v1.tar",
        ][usize::from(pick & 3)];
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{media_type}","digest":"{digest}","size":{}}}"#,
            pick & 7
        )
    };
    let list: Vec<String> = (0..style & 3).map(|_| descriptor(from.next())).collect();
    let list = list.join(",");
    if style & 4 == 0 {
        format!(r#"{{"schemaVersion":2,"manifests":[{list}]}}"#)
    } else {
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{list}]}}"#,
            descriptor(from.next())
        )
    }
}
