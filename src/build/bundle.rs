//! Owns what a bundle says of itself: `ocistore.json`, which image it was made from and how, and `ocistore.record`, how
//! that image lay in its `rootfs`. Byte by byte in `docs/format.md`, "Bundle".
//!
//! A bundle is its user's: what it says is checked against the store before it is relied on.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value, json};

use crate::digest::{ContentId, TreeId};
use crate::error::{Context as _, Error, Result, quoted};
use crate::json::strict_json;
use crate::rootfs::Ownership;
use crate::rootfs::record::Record;
use crate::store::durable;
use crate::wire::Descriptor;

/// The file that says what a bundle was made from.
pub const INFO: &str = "ocistore.json";

/// The file that says how it lay there.
pub const RECORD: &str = "ocistore.record";

/// The file that a runtime reads.
pub const CONFIG: &str = "config.json";

/// The root filesystem.
pub const ROOTFS: &str = "rootfs";

/// The version of [`INFO`] that this program writes.
const SCHEMA: u64 = 1;

/// The most that is read of [`INFO`], in bytes.
const INFO_MAX: u64 = 4 << 20;

/// The most that is read of [`RECORD`], in bytes: fingerprints of 64 million paths.
const RECORD_MAX: u64 = 1 << 30;

/// What a bundle was made from, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct BundleInfo {
    /// The image as it was asked for.
    pub image: String,
    /// The manifest that it meant.
    pub manifest: Descriptor,
    /// The root of its tree.
    pub root: TreeId,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// Whose the files are.
    pub owners: Ownership,
    /// What `rootfs` is.
    pub rootfs: Rootfs,
    /// The store that it came from.
    pub store: PathBuf,
}

/// What the root filesystem of a bundle is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rootfs {
    /// Files of its own.
    Plain,
    /// A mount of the store with this id.
    Mount(String),
}

impl BundleInfo {
    /// Returns the bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            image,
            manifest,
            root,
            platform,
            owners,
            rootfs,
            store,
        } = self;
        let rootfs = match rootfs {
            Rootfs::Plain => json!({"kind": "plain"}),
            Rootfs::Mount(id) => json!({"kind": "mount", "id": id}),
        };
        let value = json!({
            "schema": SCHEMA,
            "image": image,
            "manifest": Value::Object(manifest.raw.clone()),
            "root": root.to_string(),
            "platform": platform,
            "owners": owners.to_json(),
            "rootfs": rootfs,
            "store": store.display().to_string(),
        });
        let mut bytes = format!("{value:#}").into_bytes();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let value = strict_json(bytes).map_err(|e| e.to_string())?;
        let Value::Object(map) = value else {
            return Err("expected a JSON object".to_owned());
        };
        match map.get("schema").and_then(Value::as_u64) {
            Some(SCHEMA) => {}
            other => return Err(format!("expected schema {SCHEMA}, got {other:?}")),
        }
        let manifest = map.get("manifest").unwrap_or(&Value::Null);
        let root = ContentId::from_hex(text(&map, "root")?).ok_or("'root' is no id of a tree")?;
        Ok(Self {
            image: text(&map, "image")?.to_owned(),
            manifest: Descriptor::from_value(manifest).map_err(|e| e.to_string())?,
            root: TreeId(root.0),
            platform: text(&map, "platform")?.to_owned(),
            owners: Ownership::from_json(object(&map, "owners")?)?,
            rootfs: rootfs_of(object(&map, "rootfs")?)?,
            store: text(&map, "store")?.into(),
        })
    }
}

fn rootfs_of(map: &Map<String, Value>) -> std::result::Result<Rootfs, String> {
    match text(map, "kind")? {
        "plain" => Ok(Rootfs::Plain),
        "mount" => Ok(Rootfs::Mount(text(map, "id")?.to_owned())),
        other => Err(format!("a root filesystem of an unknown kind '{other}'")),
    }
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> std::result::Result<&'m str, String> {
    let found = map.get(key).and_then(Value::as_str);
    found.ok_or_else(|| format!("no text '{key}'"))
}

fn object<'m>(
    map: &'m Map<String, Value>,
    key: &str,
) -> std::result::Result<&'m Map<String, Value>, String> {
    let found = map.get(key).and_then(Value::as_object);
    found.ok_or_else(|| format!("no object '{key}'"))
}

/// A bundle that was found.
#[derive(Debug)]
pub struct Bundle {
    /// Where it is.
    pub path: PathBuf,
    /// The directory.
    pub folder: File,
    /// What it says of itself.
    pub info: BundleInfo,
}

impl Bundle {
    /// Tells whether `path` is a bundle of ours.
    pub fn is_at(path: &Path) -> bool {
        path.join(INFO).symlink_metadata().is_ok()
    }

    /// Opens the bundle at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty());
        let folder = File::from(folder.context("open the bundle", quoted(path))?);
        let Some(bytes) =
            read(&folder, INFO, INFO_MAX).context("read", quoted(&path.join(INFO)))?
        else {
            let why = format!("it has no {INFO}");
            return Err(Error::failed("use the bundle", quoted(path), why)
                .hint("name one that `ocistore unpack` made, or say --base REF"));
        };
        let info = BundleInfo::decode(&bytes);
        let info = info.map_err(|why| {
            Error::malformed("read", quoted(&path.join(INFO)), why)
                .hint("unpack the image anew, and take over what was changed")
        })?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            info,
        })
    }

    /// Opens the root filesystem, which must not be a symlink.
    pub fn rootfs(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.folder, ROOTFS, flags, Mode::empty());
        opened
            .map(File::from)
            .context("open", quoted(&self.path.join(ROOTFS)))
    }

    /// Returns how the image lay in the bundle; `None` where that is lost: then everything is read.
    pub fn record(&self) -> Result<Option<Record>> {
        let bytes = read(&self.folder, RECORD, RECORD_MAX);
        let bytes = bytes.context("read", quoted(&self.path.join(RECORD)))?;
        Ok(bytes.and_then(|bytes| Record::decode(&bytes).ok()))
    }
}

impl Bundle {
    /// Says that the bundle was made from another image, which its files are now.
    pub fn refresh(&self, info: &BundleInfo, record: &Record) -> Result<()> {
        // Whoever stops in between leaves a record of another tree, which vouches for nothing.
        for (name, bytes) in [(INFO, info.encode()), (RECORD, record.encode())] {
            let staged = self.path.join(format!(".{name}.new"));
            match durable::remove(&staged) {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => {}
            }
            durable::replace(&self.path.join(name), &staged, &bytes)?;
        }
        Ok(())
    }
}

/// Reads a regular file of a bundle, or as much as `most`; `None` where there is none.
fn read(folder: &File, name: &str, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => File::from(other?),
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(
            ErrorKind::InvalidData,
            "it is no regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::idmap::IdMap;
    use crate::wire::OCI_MANIFEST;

    fn info(owners: Ownership, rootfs: Rootfs) -> BundleInfo {
        let manifest = Digest::sha256(b"manifest");
        BundleInfo {
            image: "debian:12".to_owned(),
            manifest: Descriptor::new(OCI_MANIFEST, manifest, 8),
            root: TreeId::of(b"root"),
            platform: "linux/amd64".to_owned(),
            owners,
            rootfs,
            store: "/var/lib/ocistore".into(),
        }
    }

    #[test]
    fn what_a_bundle_says_comes_back() {
        let mut uids = IdMap::default();
        uids.add("0:100000:65536").unwrap();
        let mapped = Ownership::Mapped {
            uids: Some(uids),
            gids: None,
        };
        let all = [
            info(Ownership::AsImage, Rootfs::Plain),
            info(Ownership::Rootless { uid: 7, gid: 8 }, Rootfs::Plain),
            info(mapped, Rootfs::Mount("m1".to_owned())),
        ];
        for info in all {
            assert_eq!(BundleInfo::decode(&info.encode()).unwrap(), info);
        }
    }

    #[test]
    fn what_no_bundle_says_is_refused() {
        let whole = info(Ownership::AsImage, Rootfs::Plain).encode();
        let whole = String::from_utf8(whole).unwrap();
        let torn = [
            whole.replace("\"schema\": 1", "\"schema\": 2"),
            whole.replace("\"kind\": \"plain\"", "\"kind\": \"round\""),
            whole.replace(
                "\"kind\": \"image\"",
                "\"kind\": \"mapped\", \"uids\": [\"x\"]",
            ),
            whole.replace("\"root\": \"", "\"root\": \"zz"),
            whole[..whole.len() / 2].to_owned(),
        ];
        for text in torn {
            assert!(BundleInfo::decode(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_directory_that_is_no_bundle_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Bundle::is_at(dir.path()));
        let told = Bundle::open(dir.path()).unwrap_err().to_string();
        assert!(told.contains("ocistore unpack"), "{told}");
    }
}
