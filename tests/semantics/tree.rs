//! Owns writing down what is on the disk: a checkout as readable lines, a folder as all that can be told of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ocistore::digest::Digest;

/// Lists a tree, a line an entry, in the order of raw names:
///
/// - `a/` a directory, `a/f=text` a file with its bytes, `a/l@target` a symlink, `a/p|` a fifo,
///   `a/c%1,3` and `a/b#8,0` devices;
/// - ` ~1` behind those names that are one inode, numbered as they come.
pub fn list(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut groups = BTreeMap::new();
    walk(root, &mut |path, meta| {
        let mut line = escape(path.strip_prefix(root).unwrap().as_os_str().as_bytes());
        line += &kind_of(path, meta);
        if meta.nlink() > 1 && !meta.is_dir() {
            let next = groups.len() + 1;
            // A file of the store that only this name leads to is no group of the image's.
            let group: &mut (usize, Vec<usize>) = groups
                .entry((meta.dev(), meta.ino()))
                .or_insert((next, Vec::new()));
            group.1.push(lines.len());
        }
        lines.push(line);
    });
    let mut many: Vec<_> = groups.into_values().filter(|g| g.1.len() > 1).collect();
    many.sort();
    for (number, (_, names)) in many.into_iter().enumerate() {
        for name in names {
            lines[name] += &format!(" ~{}", number + 1);
        }
    }
    lines
}

fn kind_of(path: &Path, meta: &Metadata) -> String {
    let kind = meta.file_type();
    let device = || {
        let (major, minor) = (
            rustix::fs::major(meta.rdev()),
            rustix::fs::minor(meta.rdev()),
        );
        format!("{major},{minor}")
    };
    if kind.is_dir() {
        "/".to_owned()
    } else if kind.is_symlink() {
        format!(
            "@{}",
            escape(fs::read_link(path).unwrap().as_os_str().as_bytes())
        )
    } else if kind.is_fifo() {
        "|".to_owned()
    } else if kind.is_char_device() {
        format!("%{}", device())
    } else if kind.is_block_device() {
        format!("#{}", device())
    } else {
        match fs::read(path).unwrap() {
            bytes if bytes.len() > 64 => format!("=[{} bytes]", bytes.len()),
            bytes => format!("={}", escape(&bytes)),
        }
    }
}

/// Returns `mode uid:gid seconds.nanoseconds` of one name.
pub fn stat(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    format!(
        "{:04o} {}:{} {}.{:09}",
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    )
}

/// Returns the extended attributes of one name as `name=value`.
pub fn xattrs(path: &Path) -> Vec<String> {
    let mut found: Vec<String> = xattr::list(path)
        .unwrap()
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap();
            format!("{}={}", escape(name.as_bytes()), escape(&value))
        })
        .collect();
    found.sort();
    found
}

/// Everything that can be told of the files below a folder, so that any change shows.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(root, &mut |path, meta| {
        let bytes = match meta.is_file() {
            true => Digest::sha256(&fs::read(path).unwrap()).to_string(),
            false => kind_of(path, meta),
        };
        let name = path.strip_prefix(root).unwrap().to_owned();
        // Folders' own times change with temporary files that come and go.
        let stat = match meta.is_dir() {
            true => format!("{:o}", meta.mode()),
            false => stat(path),
        };
        found.insert(name, format!("{stat} {bytes}"));
    });
    found
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path, &Metadata)) {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort_by(|a: &std::ffi::OsString, b| OsStr::as_bytes(a).cmp(OsStr::as_bytes(b)));
    for name in names {
        let path = folder.join(name);
        let meta = fs::symlink_metadata(&path).unwrap();
        each(&path, &meta);
        if meta.is_dir() {
            walk(&path, each);
        }
    }
}

fn escape(bytes: &[u8]) -> String {
    ocistore::path::escape(bytes)
}
