//! Owns the record of a mount: JSON, of one version, and nothing in it that is not known.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::digest::{self, ContentId, Digest, TreeId};
use crate::error::{Context as _, Result};
use crate::json::strict_json;
use crate::wire::Descriptor;

/// The version of what follows.
const VERSION: u64 = 1;

/// Which mount of a store: 16 hex digits that are never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MountId([u8; 8]);

impl MountId {
    /// Returns one that there was never before.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; 8];
        let flags = rustix::rand::GetRandomFlags::empty();
        rustix::rand::getrandom(&mut bytes, flags).context("ask the system for", "random bytes")?;
        Ok(Self(bytes))
    }

    /// Parses what [`fmt::Display`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text, 16).ok()?;
        let id = Self(number.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(&self.0))
    }
}

/// Whether a mount can be written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It cannot.
    ReadOnly,
    /// It can: changes go to the store's folder of the mount.
    ReadWrite,
}

impl Access {
    /// Returns it as mounts are told: `ro` or `rw`.
    pub fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

/// What a mount is.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// What it keeps: the image as its name leads to it.
    pub descriptor: Descriptor,
    /// The manifest of the image that it shows.
    pub manifest: Digest,
    /// The tree that it shows.
    pub root: TreeId,
    /// Where it was attached, absolute.
    pub target: PathBuf,
    /// Whether it can be written to.
    pub access: Access,
    /// The bundle that it is the root filesystem of, absolute.
    pub bundle: Option<PathBuf>,
    /// Which inode of its image has which number: [`crate::mount::erofs::LAYOUT`] when it was made.
    pub layout: u64,
    /// What its upper folder shows of itself as long as nobody changed the root directory; filled in when it is made.
    pub upper_root: String,
}

impl Record {
    /// Returns the bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self {
            descriptor,
            manifest,
            root,
            target,
            access,
            bundle,
            layout,
            upper_root,
        } = self;
        let value = json!({
            "version": VERSION,
            "descriptor": Value::Object(descriptor.raw.clone()),
            "manifest": manifest.to_string(),
            "root": root.hex(),
            "target": path_value(target),
            "access": access.text(),
            "bundle": bundle.as_ref().map(|bundle| path_value(bundle)),
            "layout": layout,
            "upper-root": upper_root,
        });
        value.to_string().into_bytes()
    }

    /// Decodes the bytes of a whole record of this version, and nothing else.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value = strict_json(bytes).map_err(|_| "it is not JSON".to_owned())?;
        let Value::Object(mut fields) = value else {
            return Err("it is not a JSON object".to_owned());
        };
        let mut take = |name: &str| fields.remove(name).ok_or(format!("it has no '{name}'"));
        if take("version")? != VERSION {
            return Err("it is of a version that this ocistore does not know".to_owned());
        }
        let record = Self {
            descriptor: Descriptor::from_value(&take("descriptor")?).map_err(|e| e.to_string())?,
            manifest: Digest::parse(&text(take("manifest")?)?).map_err(|e| e.to_string())?,
            root: tree_id(&text(take("root")?)?)?,
            target: path_of(&take("target")?)?,
            access: match text(take("access")?)?.as_str() {
                "ro" => Access::ReadOnly,
                "rw" => Access::ReadWrite,
                other => return Err(format!("its 'access' is '{other}'")),
            },
            bundle: match take("bundle")? {
                Value::Null => None,
                bundle => Some(path_of(&bundle)?),
            },
            layout: take("layout")?
                .as_u64()
                .ok_or("its 'layout' is no number")?,
            upper_root: text(take("upper-root")?)?,
        };
        nothing_more(&fields)?;
        Ok(record)
    }
}

fn nothing_more(fields: &Map<String, Value>) -> Result<(), String> {
    match fields.keys().next() {
        None => Ok(()),
        Some(more) => Err(format!("it has '{more}', which nobody knows")),
    }
}

fn tree_id(text: &str) -> Result<TreeId, String> {
    let id = ContentId::from_hex(text).map(|id| TreeId(id.0));
    id.ok_or("its 'root' is no id".to_owned())
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("one of its fields is no text".to_owned()),
    }
}

/// Returns a path as text, or as a list of bytes where it is none.
pub(in crate::store) fn path_value(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => path.as_os_str().as_bytes().into(),
    }
}

pub(in crate::store) fn path_of(value: &Value) -> Result<PathBuf, String> {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    let path = match value {
        Value::String(text) => Some(PathBuf::from(text)),
        Value::Array(bytes) => {
            let bytes: Option<Vec<u8>> = bytes.iter().map(byte).collect();
            bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
        }
        _ => None,
    };
    path.filter(|path| path.is_absolute())
        .ok_or("it has a path that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn record() -> Record {
        let manifest = Digest::sha256(b"manifest");
        Record {
            descriptor: Descriptor::new(wire::OCI_MANIFEST, manifest, 7),
            manifest,
            root: TreeId([3; 32]),
            target: PathBuf::from("/mnt/root"),
            access: Access::ReadWrite,
            bundle: Some(PathBuf::from(OsString::from_vec(b"/b\xff".to_vec()))),
            layout: 1,
            upper_root: "ab".to_owned(),
        }
    }

    #[test]
    fn a_record_comes_back_from_its_bytes() {
        let record = record();
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn what_is_not_a_whole_record_of_this_version_is_none() {
        let whole = String::from_utf8(record().encode()).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"rw\"", "\"rx\""),
            ("\"layout\":1,", ""),
            ("\"layout\":1,", "\"layout\":1,\"more\":1,"),
            ("/mnt/root", "mnt/root"),
            ("{", ""),
        ] {
            assert_ne!(whole.replacen(from, to, 1), whole);
            assert!(
                Record::decode(whole.replacen(from, to, 1).as_bytes()).is_err(),
                "{from}"
            );
        }
        assert!(Record::decode(b"").is_err());
    }

    #[test]
    fn an_id_is_its_sixteen_digits() {
        let id = MountId::random().unwrap();
        assert_eq!(MountId::parse(&id.to_string()), Some(id));
        for bad in [
            "",
            "0",
            "+000000000000001",
            "000000000000000G",
            "00000000000000001",
        ] {
            assert_eq!(MountId::parse(bad), None, "{bad}");
        }
    }
}
