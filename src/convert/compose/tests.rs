//! Layers are written, read back by the parser, and by other readers of tars.

use std::process::Command;

use super::super::assemble::assemble;
use super::super::replay::replay;
use super::*;
use crate::entry::{Action, Entry, Payload};
use crate::meta::Mtime;
use crate::store::Store;
use crate::store::locks::Wait;
use crate::tree::Device;
use crate::warning::Warnings;
use crate::watch::Unwatched;
use tempfile::TempDir;

const BIG: usize = (3 << 20) + 777;

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn meta() -> Meta {
    Meta {
        mode: 0o4755,
        uid: 1000,
        gid: 5,
        mtime: Mtime {
            secs: 1_600_000_000,
            nanos: 0,
        },
        ..Meta::default()
    }
}

/// Metadata of which nothing fits into a header.
fn large_meta() -> Meta {
    let mut meta = Meta {
        mode: 0o7777,
        uid: 4_000_000_000,
        gid: 2_097_152,
        mtime: Mtime {
            secs: -11,
            nanos: 500_000_000,
        },
        ..Meta::default()
    };
    let value = |bytes: &[u8]| bytes.into();
    meta.xattrs.insert(value(b"user.b"), value(b"\0\n=\xff"));
    meta.xattrs.insert(value(b"user.a"), value(b""));
    meta
}

fn entry(text: &str, what: What) -> LayerEntry {
    LayerEntry {
        path: path(text),
        what,
    }
}

struct Scene {
    _dir: TempDir,
    store: Store,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
    Scene { _dir: dir, store }
}

fn file(writer: &Writer<'_>, bytes: &[u8], meta: Meta) -> What {
    let content = match bytes {
        b"" => Content::Empty,
        _ => Content::Object {
            id: writer.add_object(bytes, &meta).unwrap(),
            size: bytes.len() as u64,
        },
    };
    What::Leaf(Kind::File(content), meta)
}

fn big() -> Vec<u8> {
    (0..=250u8).cycle().take(BIG).collect()
}

fn every_kind(writer: &Writer<'_>) -> Vec<LayerEntry> {
    let long = ["n".repeat(250), "m".repeat(250)].join("/");
    let target: Box<[u8]> = b"t".repeat(4095).into();
    let device = Device {
        major: 10,
        minor: 229,
    };
    vec![
        entry("", What::Dir(meta())),
        entry("a", file(writer, b"small", meta())),
        entry("b", What::Leaf(Kind::Char(device), meta())),
        entry("big", file(writer, &big(), large_meta())),
        entry("c", What::Leaf(Kind::Block(device), meta())),
        entry("d", What::Dir(large_meta())),
        entry("d/a", What::Link(path("big"))),
        entry("d/empty", file(writer, b"", meta())),
        entry("d/fifo", What::Leaf(Kind::Fifo, meta())),
        entry("d/gone", What::Whiteout),
        entry("d/s", What::Leaf(Kind::Symlink(target), meta())),
        entry(&"n".repeat(250), What::Dir(meta())),
        entry(&long, file(writer, &[7; 512], meta())),
        entry("o", What::Link(path(&long))),
        entry("z", What::Whiteout),
    ]
}

/// What a reader of the layer has to find.
fn expected(entries: &[LayerEntry]) -> Vec<(TreePath, Action)> {
    let mut ordinal = 0;
    let mut action = |what: &What| match what.clone() {
        What::Dir(meta) => Action::Dir(meta),
        What::Leaf(Kind::File(content), meta) => {
            let size = content.size();
            let carried = (size > 0).then_some(ordinal);
            ordinal += u32::from(size > 0);
            let ordinal = carried;
            Action::File(meta, Payload { ordinal, size })
        }
        What::Leaf(Kind::Symlink(target), meta) => Action::Symlink(meta, target),
        What::Leaf(Kind::Char(device), meta) => Action::Char(meta, device),
        What::Leaf(Kind::Block(device), meta) => Action::Block(meta, device),
        What::Leaf(Kind::Fifo, meta) => Action::Fifo(meta),
        What::Link(to) => Action::Link(to),
        What::Whiteout => Action::Whiteout,
    };
    entries
        .iter()
        .map(|entry| (entry.path.clone(), action(&entry.what)))
        .collect()
}

fn made(writer: &Writer<'_>, entries: &[LayerEntry], compression: Compression) -> Composed {
    let open = |id: &ContentId| writer.open_object(id);
    compose(writer, entries, &open, compression, &Unwatched).unwrap()
}

fn tar_of(writer: &Writer<'_>, entries: &[LayerEntry]) -> Vec<u8> {
    let mut tar = Vec::new();
    let open = |id: &ContentId| writer.open_object(id);
    write_tar(entries, &open, &mut tar, &Unwatched).unwrap();
    tar
}

#[test]
fn a_layer_is_read_back_as_it_was_written_and_its_recipe_makes_the_same_tar() {
    let Scene { _dir, store } = scene();
    let writer = store.write().unwrap();
    let entries = every_kind(&writer);
    let tar = tar_of(&writer, &entries);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let composed = made(&writer, &entries, compression);
        assert_eq!(composed.diff_id.0, Digest::sha256(&tar));
        assert_eq!(composed.tar_size, tar.len() as u64);
        assert_eq!(composed.entries, entries.len() as u64);
        let recipe = writer.recipe(&composed.diff_id).unwrap();
        let mut warnings = Warnings::default();
        let (read, contents) = replay(&recipe, &mut warnings).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(contents, composed.contents);
        let read: Vec<_> = read
            .into_iter()
            .map(|Entry { path, action, .. }| (path, action))
            .collect();
        assert_eq!(read, expected(&entries));
        let mut again = Vec::new();
        assemble(&recipe, &|id| writer.open_object(id), &mut again).unwrap();
        assert!(again == tar);
    }
}

#[test]
fn a_blob_holds_the_tar_and_is_the_same_however_many_threads_make_it() {
    let Scene { _dir, store } = scene();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut digests = Vec::new();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let writer = store.write().unwrap();
            let entries = every_kind(&writer);
            let composed = pool.install(|| made(&writer, &entries, compression));
            let tar = tar_of(&writer, &entries);
            writer.publish().unwrap();
            let blob = std::fs::read(
                store
                    .root()
                    .join(crate::store::paths::blob(&composed.digest)),
            );
            let blob = blob.unwrap();
            assert_eq!(blob.len() as u64, composed.size);
            assert_eq!(Digest::sha256(&blob), composed.digest);
            let mut plain = Vec::new();
            let mut reader = compression.reader(&blob[..]).unwrap();
            reader.read_to_end(&mut plain).unwrap();
            assert!(plain == tar);
            digests.push(composed.digest);
        }
        assert_eq!(digests[0], digests[1]);
    }
}

#[test]
fn a_layer_of_nothing_is_the_end_of_a_tar() {
    let Scene { _dir, store } = scene();
    let writer = store.write().unwrap();
    let composed = made(&writer, &[], Compression::None);
    assert_eq!(composed.diff_id.0, Digest::sha256(&[0; 1024]));
    assert_eq!(composed.digest, composed.diff_id.0);
}

#[test]
fn a_content_that_is_not_what_its_name_says_is_refused_and_nothing_is_staged() {
    let Scene { _dir, store } = scene();
    let writer = store.write().unwrap();
    let entries = [entry("a", file(&writer, b"small", meta()))];
    for other in [&b"smell"[..], b"smal", b"smaller"] {
        let open = |_: &ContentId| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(other).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            Ok(file)
        };
        let refused = compose(&writer, &entries, &open, Compression::Gzip, &Unwatched);
        assert_eq!(refused.unwrap_err().exit_code(), 3);
    }
    let published = writer.publish().unwrap();
    assert_eq!((published.recipes, published.blobs), (0, 0));
}

#[test]
fn a_link_to_what_the_layer_does_not_have_before_is_refused() {
    let Scene { _dir, store } = scene();
    let writer = store.write().unwrap();
    let link = entry("a", What::Link(path("b")));
    let target = entry("b", file(&writer, b"small", meta()));
    let open = |id: &ContentId| writer.open_object(id);
    for entries in [vec![link.clone()], vec![link, target]] {
        let refused = compose(&writer, &entries, &open, Compression::Gzip, &Unwatched);
        assert_eq!(refused.unwrap_err().exit_code(), 4);
    }
}

/// Asks a program about a tar; `None` where there is no such program.
fn ask(program: &str, arguments: &[&str], tar: &std::path::Path) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg(tar).env("TZ", "UTC");
    let output = command.output().ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {told}");
    assert_eq!(told, "", "{program}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn other_readers_of_tars_find_the_same_entries() {
    let Scene { _dir, store } = scene();
    let writer = store.write().unwrap();
    let entries = every_kind(&writer);
    let mut tar = tempfile::NamedTempFile::new().unwrap();
    tar.write_all(&tar_of(&writer, &entries)).unwrap();
    let name = |LayerEntry { path, what }: &LayerEntry| match what {
        What::Dir(_) => format!("{path}/"),
        What::Whiteout => {
            let path = path.to_string();
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let slash = if above.is_empty() { "" } else { "/" };
            format!("{above}{slash}.wh.{name}")
        }
        _ => path.to_string(),
    };
    let names: Vec<String> = entries.iter().map(name).collect();
    for (program, arguments) in [("tar", &["-tf"]), ("bsdtar", &["-tf"])] {
        if let Some(listed) = ask(program, arguments, tar.path()) {
            assert_eq!(listed.lines().collect::<Vec<_>>(), names, "{program}");
        }
    }
    let script = "import sys, tarfile\n\
        for m in tarfile.open(sys.argv[1]):\n \
        x = sorted((k[13:], v.encode('utf-8', 'surrogateescape')) for k, v in m.pax_headers.items() if k.startswith('SCHILY'))\n \
        print(m.name, m.type.decode(), oct(m.mode), m.uid, m.gid, m.mtime, m.size, len(m.linkname), len(x))";
    if let Some(listed) = ask("python3", &["-c", script], tar.path()) {
        let big = format!("big 0 0o7777 4000000000 2097152 -10.5 {BIG} 0 2");
        for line in [
            ". 5 0o4755 1000 5 1600000000 0 0 0",
            "a 0 0o4755 1000 5 1600000000 5 0 0",
            &big,
            "d/a 1 0o7777 4000000000 2097152 -10.5 0 3 2",
            "d/.wh.gone 0 0o644 0 0 0 0 0 0",
            "d/s 2 0o4755 1000 5 1600000000 0 4095 0",
        ] {
            assert!(listed.lines().any(|l| l == line), "no {line} in {listed}");
        }
    }
}
