//! Owns `checkouts/`: what the store knows of the directories that its images were laid out in, so that one can be made
//! that of another image. Byte by byte in `docs/format.md`, "Checkouts".
//!
//! A record keeps nothing: it is no root of collections. One that is lost costs no more than a new checkout.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Statx, StatxFlags};
use serde_json::{Map, Value, json};

use super::mounts::{path_of, path_value};
use super::{Store, Writer, durable};
use crate::digest::{CheckoutId, ContentId, TreeId};
use crate::error::{Context as _, Error, Result, quoted};
use crate::json::strict_json;
use crate::wire::Descriptor;

/// The folder of them all.
const FOLDER: &str = "checkouts";

/// The version of what follows.
const VERSION: u64 = 1;

/// What tells one directory from every other that was or will be at its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    device: (u32, u32),
    inode: u64,
    /// When it was made, where its file system says that.
    born: Option<(i64, u32)>,
}

impl Identity {
    /// Looks at an open directory.
    pub fn of(dir: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let flags = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, flags)?;
        Ok(Self::seen(&stat))
    }

    /// Looks at what a path itself is.
    fn at(path: &Path) -> rustix::io::Result<Self> {
        let flags = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW, flags)?;
        Ok(Self::seen(&stat))
    }

    fn seen(stat: &Statx) -> Self {
        let says = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: says.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        }
    }

    /// Tells whether it is the same directory. A device may have another number after a reboot.
    pub fn is(&self, other: &Self) -> bool {
        let same_device = self.born.is_some() || self.device == other.device;
        self.inode == other.inode && self.born == other.born && same_device
    }
}

/// What a directory holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All of one tree, but for what others changed.
    Whole(TreeId),
    /// It was about to become another, and stopped somewhere on the way.
    Updating {
        /// What it held.
        from: TreeId,
        /// What it was to become, each time that was tried.
        toward: Vec<TreeId>,
        /// The name in it of what was made for that.
        staged: String,
    },
}

/// A checkout.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Where it is, absolute and without symlinks.
    pub path: PathBuf,
    /// Which directory it is.
    pub identity: Identity,
    /// The manifest of the image that it holds, or held.
    pub manifest: Descriptor,
    /// What it holds.
    pub state: State,
    /// How its files were made; whoever made them knows what that means.
    pub how: Map<String, Value>,
}

/// Whether a record has to outlast a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasting {
    /// It has to, before anything else is done.
    Now,
    /// It need not.
    Whenever,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let Self {
            path,
            identity,
            manifest,
            state,
            how,
        } = self;
        let Identity {
            device,
            inode,
            born,
        } = identity;
        let state = match state {
            State::Whole(root) => json!({"is": "whole", "root": root.hex()}),
            State::Updating {
                from,
                toward,
                staged,
            } => json!({
                "is": "updating",
                "root": from.hex(),
                "toward": toward.iter().map(TreeId::hex).collect::<Vec<_>>(),
                "staged": staged,
            }),
        };
        let value = json!({
            "version": VERSION,
            "path": path_value(path),
            "device": [device.0, device.1],
            "inode": inode,
            "born": born.map(|(secs, nanos)| json!([secs, nanos])),
            "manifest": Value::Object(manifest.raw.clone()),
            "state": state,
            "how": Value::Object(how.clone()),
        });
        value.to_string().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let value = strict_json(bytes).map_err(|e| e.to_string())?;
        if value["version"] != VERSION {
            return Err(format!(
                "expected version {VERSION}, got {}",
                value["version"]
            ));
        }
        let how = value["how"].as_object().ok_or("no object 'how'")?;
        Ok(Self {
            path: path_of(&value["path"])?,
            identity: Identity {
                device: (number(&value["device"][0])?, number(&value["device"][1])?),
                inode: number(&value["inode"])?,
                born: match &value["born"] {
                    Value::Null => None,
                    Value::Array(born) if born.len() == 2 => {
                        Some((number(&born[0])?, number(&born[1])?))
                    }
                    _ => return Err("'born' is no time".to_owned()),
                },
            },
            manifest: Descriptor::from_value(&value["manifest"]).map_err(|e| e.to_string())?,
            state: state(&value["state"])?,
            how: how.clone(),
        })
    }
}

fn state(value: &Value) -> Result<State, String> {
    let root = tree_id(&value["root"])?;
    match value["is"].as_str() {
        Some("whole") => Ok(State::Whole(root)),
        Some("updating") => {
            let toward = value["toward"].as_array().ok_or("no list 'toward'")?;
            let staged = value["staged"].as_str().ok_or("no text 'staged'")?;
            Ok(State::Updating {
                from: root,
                toward: toward.iter().map(tree_id).collect::<Result<_, _>>()?,
                staged: staged.to_owned(),
            })
        }
        _ => Err("an unknown state".to_owned()),
    }
}

fn number<T: TryFrom<i128>>(value: &Value) -> Result<T, String> {
    let number = value.as_i64().map(i128::from);
    let number = number.or(value.as_u64().map(i128::from));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{value} is no number that it can be"))
}

fn tree_id(value: &Value) -> Result<TreeId, String> {
    let id = value.as_str().and_then(ContentId::from_hex);
    id.map(|id| TreeId(id.0))
        .ok_or_else(|| format!("{value} is no id of a tree"))
}

impl Store {
    /// Returns what is known of the directory at `path`, which is absolute and without symlinks.
    ///
    /// A record that a power cut tore is as good as none.
    pub fn checkout_at(&self, path: &Path) -> Result<Option<Record>> {
        let file = self.checkout_file(path);
        match read(&file)? {
            Some(Ok(record)) if record.path == path => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    fn checkout_file(&self, path: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        let id = CheckoutId::of(path.as_os_str().as_bytes());
        self.path(FOLDER).join(id.hex())
    }

    /// Removes the records of directories that are gone. One that is torn is of no use either; what is not one of ours
    /// stays.
    pub(super) fn drop_gone_checkouts(&self) -> Result<()> {
        let folder = self.path(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.context("read the folder", quoted(&folder))?,
        };
        for entry in entries {
            let entry = entry.context("read the folder", quoted(&folder))?;
            let name = entry.file_name();
            let is_ours = name.to_str().and_then(ContentId::from_hex).is_some();
            let file = entry.path();
            if is_ours && is_of_nothing(&file)? {
                durable::remove(&file)?;
            }
        }
        Ok(())
    }
}

/// Tells whether a record is of a directory that is no more.
fn is_of_nothing(file: &Path) -> Result<bool> {
    let Some(record) = read(file)? else {
        return Ok(false);
    };
    let Ok(record) = record else {
        let bytes = fs::read(file).context("read", quoted(file))?;
        // One of another version is another program's.
        return Ok(strict_json(&bytes).is_err());
    };
    match Identity::at(&record.path) {
        Ok(there) => Ok(!there.is(&record.identity)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(true),
        // It may be there: nobody can tell.
        Err(_) => Ok(false),
    }
}

fn read(file: &Path) -> Result<Option<Result<Record, String>>> {
    match fs::read(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => {
            let bytes = other.context("read", quoted(file))?;
            Ok(Some(Record::decode(&bytes)))
        }
    }
}

impl Writer<'_> {
    /// Says what a directory holds.
    pub fn record_checkout(&self, record: &Record, lasting: Lasting) -> Result<()> {
        let store = self.store();
        let file = store.checkout_file(&record.path);
        let staged = self.own_file("checkout");
        durable::create_folder(&store.path(FOLDER))?;
        let write = || -> Result<()> {
            match lasting {
                Lasting::Now => {
                    durable::sync_parent(&store.path(FOLDER))?;
                    durable::replace(&file, &staged, &record.encode())
                }
                Lasting::Whenever => {
                    use std::io::Write as _;
                    let mut new = durable::create_new(&staged)?;
                    let written = new.write_all(&record.encode());
                    written.context("write", quoted(&staged))?;
                    durable::rename(&staged, &file)
                }
            }
        };
        write().map_err(|e| {
            // Whatever is left of it goes with the session at the latest.
            durable::remove(&staged).ok();
            e.or_hint("the directory cannot be updated without it")
        })
    }
}

impl Record {
    /// Fails where `dir` is another directory than the one that was recorded.
    pub fn check_is(&self, dir: BorrowedFd<'_>) -> Result<()> {
        let now = Identity::of(dir).context("look at", quoted(&self.path))?;
        if now.is(&self.identity) {
            return Ok(());
        }
        let why = "it is another directory than the one that was checked out there";
        Err(Error::failed("update", quoted(&self.path), why)
            .hint("check the image out to a new directory"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::wire::OCI_MANIFEST;

    fn record(state: State, born: Option<(i64, u32)>) -> Record {
        let manifest = Digest::sha256(b"manifest");
        Record {
            path: PathBuf::from("/srv/root"),
            identity: Identity {
                device: (8, 1),
                inode: u64::MAX,
                born,
            },
            manifest: Descriptor::new(OCI_MANIFEST, manifest, 8),
            state,
            how: [("link".to_owned(), "copy".into())].into_iter().collect(),
        }
    }

    #[test]
    fn a_record_comes_back_from_its_bytes() {
        let updating = State::Updating {
            from: TreeId([1; 32]),
            toward: vec![TreeId([2; 32]), TreeId([3; 32])],
            staged: "x".to_owned(),
        };
        for record in [
            record(State::Whole(TreeId([7; 32])), None),
            record(updating, Some((-5, 999_999_999))),
        ] {
            assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn a_torn_record_and_one_of_another_version_are_refused() {
        let whole = record(State::Whole(TreeId([7; 32])), None).encode();
        let text = String::from_utf8(whole.clone()).unwrap();
        assert!(Record::decode(&whole[..whole.len() / 2]).is_err());
        let other = text.replace("\"version\":1", "\"version\":2");
        assert_ne!(other, text);
        assert!(Record::decode(other.as_bytes()).is_err());
    }
}
