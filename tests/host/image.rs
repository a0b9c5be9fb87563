//! Owns an image made for the tests: one plain layer, in a layout of its own.

use std::fs;
use std::path::Path;

use ocistore::digest::Digest;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// When everything was changed last.
pub(crate) const MTIME: u64 = 1_700_000_000;

/// A layer while it grows.
pub(crate) struct Image {
    layer: Builder<Vec<u8>>,
    config: Value,
}

/// Mode, user and group.
pub(crate) type Meta = (u32, u64, u64);

impl Image {
    pub(crate) fn new() -> Self {
        Self {
            layer: Builder::new(Vec::new()),
            config: json!({}),
        }
    }

    /// Says how it is run.
    pub(crate) fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    fn add(mut self, path: &str, kind: EntryType, (mode, uid, gid): Meta, how: How<'_>) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(MTIME);
        header.set_size(0);
        let mut bytes: &[u8] = b"";
        match how {
            How::Plain => {}
            How::Bytes(data) => {
                header.set_size(data.len() as u64);
                bytes = data;
            }
            How::Device(major, minor) => {
                header.set_device_major(major).unwrap();
                header.set_device_minor(minor).unwrap();
            }
            How::Link(target) => header.set_link_name(target).unwrap(),
        }
        self.layer.append_data(&mut header, path, bytes).unwrap();
        self
    }

    pub(crate) fn dir(self, path: &str, meta: Meta) -> Self {
        self.add(path, EntryType::Directory, meta, How::Plain)
    }

    pub(crate) fn file(self, path: &str, meta: Meta, bytes: impl AsRef<[u8]>) -> Self {
        self.add(path, EntryType::Regular, meta, How::Bytes(bytes.as_ref()))
    }

    /// Gives the next entry an extended attribute.
    pub(crate) fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.layer
            .append_pax_extensions([(key.as_str(), value)])
            .unwrap();
        self
    }

    pub(crate) fn hard_link(self, path: &str, to: &str) -> Self {
        self.add(path, EntryType::Link, (0o644, 0, 0), How::Link(to))
    }

    pub(crate) fn symlink(self, path: &str, to: &str) -> Self {
        self.add(path, EntryType::Symlink, (0o777, 1000, 1000), How::Link(to))
    }

    pub(crate) fn fifo(self, path: &str, meta: Meta) -> Self {
        self.add(path, EntryType::Fifo, meta, How::Plain)
    }

    pub(crate) fn device(self, path: &str, meta: Meta, minor: u32) -> Self {
        self.char_device(path, meta, (1, minor))
    }

    pub(crate) fn char_device(self, path: &str, meta: Meta, (major, minor): (u32, u32)) -> Self {
        self.add(path, EntryType::Char, meta, How::Device(major, minor))
    }

    /// Writes the layout, in which the image is called `1`.
    pub(crate) fn write(self, to: &Path) {
        let layer = self.layer.into_inner().unwrap();
        let blobs = to.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8], media_type: &str| {
            let digest = Digest::sha256(bytes);
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
            json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
        };
        let layer = put(&layer, "application/vnd.oci.image.layer.v1.tar");
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = put(
            config.to_string().as_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let mut manifest = put(
            manifest.to_string().as_bytes(),
            "application/vnd.oci.image.manifest.v1+json",
        );
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(to.join("index.json"), index.to_string()).unwrap();
        fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    }
}

#[derive(Clone, Copy)]
enum How<'a> {
    Plain,
    Bytes(&'a [u8]),
    Device(u32, u32),
    Link(&'a str),
}

/// An image of everything that owners and rights matter for. No id in it is over 65535.
pub(crate) fn rich() -> Image {
    const TOOL: &[u8] = b"a tool of many names\n";
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Image::new()
        .dir("./", (0o755, 0, 0))
        .dir("bin/", (0o755, 0, 0))
        .file("bin/tool", (0o4755, 0, 0), TOOL)
        .hard_link("bin/tool-too", "bin/tool")
        .file("bin/twin", (0o755, 1000, 1000), TOOL)
        .xattr("security.capability", capability)
        .file("bin/ping", (0o755, 0, 0), "ping")
        .dir("dev/", (0o755, 0, 0))
        .device("dev/null", (0o666, 0, 0), 3)
        .hard_link("dev/null-too", "dev/null")
        .device("dev/zero", (0o666, 0, 5), 5)
        .fifo("dev/fifo", (0o622, 1000, 5))
        .dir("etc/", (0o755, 0, 0))
        .file("etc/shadow", (0o000, 0, 42), "nobody reads this")
        .hard_link("etc/shadow-", "etc/shadow")
        .file("etc/drop", (0o200, 1000, 1000), "only written to")
        .file("etc/empty", (0o000, 1000, 1000), "")
        .xattr("trusted.note", b"trust")
        .file("etc/trusted", (0o644, 0, 0), "trusted")
        .xattr("user.note", b"a note")
        .file("etc/noted", (0o644, 65_535, 65_535), "noted")
        .symlink("etc/link", "shadow")
        .dir("home/", (0o755, 0, 0))
        .dir("home/ada/", (0o700, 1000, 1000))
        .file("home/ada/notes", (0o600, 1000, 1000), "notes")
        .dir("shut/", (0o000, 0, 0))
        .file("shut/in", (0o444, 0, 0), "shut in")
}
