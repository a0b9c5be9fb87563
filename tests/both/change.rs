//! Random changes. Each is described by its seed and the tree that it finds, so that it is the same on both sides.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use crate::chance::Chance;
use crate::seen::Tree;

/// Names are few, so that they meet.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e.txt", "f g", "lib", "z\u{e4}"];

/// Times that changes set; all before the newest that a layer may have.
const TIMES: std::ops::Range<i64> = -1000..1_500_000_000;

/// What is done, and to what.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(PathBuf, u64),
    Append(PathBuf, u64),
    Poke(PathBuf, u64),
    Truncate(PathBuf, u64),
    Sparse(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    MakeDir(PathBuf),
    /// Removed with all that is in it, and made again.
    Renew(PathBuf),
    Mode(PathBuf, u32),
    Owner(PathBuf, u32, u32),
    SetXattr(PathBuf, &'static str, u64),
    RemoveXattr(PathBuf, &'static str),
    Link(PathBuf, PathBuf),
    /// Its bytes go to a file of its own.
    Unlink(PathBuf),
    Time(PathBuf, i64, i64),
    Symlink(PathBuf, PathBuf),
    Node(PathBuf, FileType, u64),
}

/// Draws a change to a tree.
pub(crate) fn draw(tree: &Tree, chance: &mut Chance) -> Change {
    let of = |kinds: &[&str]| -> Vec<PathBuf> {
        let is = |path: &&PathBuf| !path.as_os_str().is_empty();
        let paths = tree
            .iter()
            .filter(|(_, seen)| kinds.contains(&seen.kind) || kinds.is_empty());
        paths.map(|(path, _)| path).filter(is).cloned().collect()
    };
    let (any, files, dirs) = (of(&[]), of(&["file"]), of(&["directory"]));
    let new = |chance: &mut Chance| {
        let dir = match chance.below(4) {
            0 => PathBuf::new(),
            _ => chance.pick(&dirs).cloned().unwrap_or_default(),
        };
        dir.join(chance.pick(&NAMES).unwrap())
    };
    let some = |of: &[PathBuf], chance: &mut Chance| {
        chance.pick(of).cloned().unwrap_or_else(|| "a".into())
    };
    let attribute = |chance: &mut Chance| {
        *chance
            .pick(&["user.one", "user.two", "trusted.three", "security.four"])
            .unwrap()
    };
    let root_or = |of: &[PathBuf], chance: &mut Chance| match chance.below(12) {
        0 => PathBuf::new(),
        _ => some(of, chance),
    };
    match chance.below(21) {
        0 | 1 => Change::Write(new(chance), chance.next()),
        2 => Change::Append(some(&files, chance), chance.next()),
        3 => Change::Poke(some(&files, chance), chance.next()),
        4 => Change::Truncate(some(&files, chance), chance.below(9000)),
        5 => Change::Sparse(some(&files, chance), chance.next()),
        6 | 7 => Change::Remove(some(&any, chance)),
        8 => Change::Rename(some(&any, chance), new(chance)),
        9 => Change::Rename(some(&dirs, chance), new(chance)),
        10 => Change::MakeDir(new(chance)),
        11 => Change::Renew(some(&dirs, chance)),
        12 => Change::Mode(
            root_or(&any, chance),
            u32::try_from(chance.below(0o10000)).unwrap() | 0o400,
        ),
        13 => Change::Owner(
            root_or(&any, chance),
            u32::try_from(chance.below(3)).unwrap(),
            100_000,
        ),
        14 => Change::SetXattr(root_or(&any, chance), attribute(chance), chance.next()),
        15 => Change::RemoveXattr(some(&any, chance), attribute(chance)),
        16 | 17 => Change::Link(some(&of(&["file", "symlink", "fifo"]), chance), new(chance)),
        18 => Change::Unlink(some(&files, chance)),
        19 => {
            let span = u64::try_from(TIMES.end - TIMES.start).unwrap();
            let secs = TIMES.start + i64::try_from(chance.below(span)).unwrap();
            Change::Time(
                root_or(&any, chance),
                secs,
                i64::try_from(chance.below(1_000_000_000)).unwrap(),
            )
        }
        _ => match chance.below(3) {
            0 => Change::Symlink(new(chance), some(&any, chance)),
            1 => Change::Node(new(chance), FileType::Fifo, 0),
            _ => Change::Node(
                new(chance),
                FileType::CharacterDevice,
                rustix::fs::makedev(1, 3),
            ),
        },
    }
}

fn bytes(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let len = match chance.below(10) {
        0 => 0,
        1 => 70_000,
        _ => chance.below(5000),
    };
    (0..len).map(|_| chance.next().to_le_bytes()[0]).collect()
}

/// Makes a change below `root`; tells whether the host let it.
pub(crate) fn make(root: &Path, change: &Change) -> bool {
    try_to(root, change).is_ok()
}

fn try_to(root: &Path, change: &Change) -> std::io::Result<()> {
    let at = |path: &PathBuf| match path.as_os_str().is_empty() {
        true => root.to_owned(),
        false => root.join(path),
    };
    match change {
        Change::Write(path, seed) => {
            remove(&at(path)).ok();
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(at(path))?
                .write_all_at(&bytes(*seed), 0)
        }
        Change::Append(path, seed) => {
            let file = real(&at(path))?;
            file.write_all_at(&bytes(*seed), file.metadata()?.len())
        }
        Change::Poke(path, seed) => real(&at(path))?.write_all_at(&seed.to_le_bytes(), 3),
        Change::Truncate(path, len) => real(&at(path))?.set_len(*len),
        Change::Sparse(path, seed) => real(&at(path))?.write_all_at(&bytes(*seed), 300_000),
        Change::Remove(path) => remove(&at(path)),
        Change::Rename(from, to) => fs::rename(at(from), at(to)),
        Change::MakeDir(path) => fs::create_dir(at(path)),
        Change::Renew(path) => {
            fs::remove_dir_all(at(path))?;
            fs::create_dir(at(path))
        }
        Change::Mode(path, mode) => {
            if fs::symlink_metadata(at(path))?.is_symlink() {
                return Err(std::io::ErrorKind::Unsupported.into());
            }
            fs::set_permissions(at(path), Permissions::from_mode(*mode))
        }
        Change::Owner(path, uid, gid) => lchown(at(path), Some(*uid), Some(*gid)),
        Change::SetXattr(path, name, seed) => xattr::set(at(path), name, &seed.to_le_bytes()[..2]),
        Change::RemoveXattr(path, name) => xattr::remove(at(path), name),
        Change::Link(from, to) => fs::hard_link(at(from), at(to)),
        Change::Unlink(path) => unlink(&at(path)),
        Change::Time(path, secs, nanos) => set_time(&at(path), *secs, *nanos),
        Change::Symlink(path, target) => symlink(target, at(path)),
        Change::Node(path, kind, device) => Ok(rustix::fs::mknodat(
            CWD,
            at(path),
            *kind,
            Mode::RUSR | Mode::WUSR,
            *device,
        )?),
    }
}

/// Opens a regular file, and nothing that it may lead to.
fn real(path: &Path) -> std::io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    OpenOptions::new().write(true).open(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn unlink(path: &Path) -> std::io::Result<()> {
    // A fifo would be waited for.
    real(path)?;
    let bytes = fs::read(path)?;
    let mode = fs::symlink_metadata(path)?.permissions();
    let mut beside = path.as_os_str().to_owned();
    beside.push(OsStr::new(".new"));
    fs::write(&beside, bytes)?;
    fs::set_permissions(&beside, mode)?;
    fs::rename(beside, path)
}

pub(crate) fn set_time(path: &Path, secs: i64, nanos: i64) -> std::io::Result<()> {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
