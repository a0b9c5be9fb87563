//! Owns the headers that layers are written with: ustar, and a PAX header before it for what that cannot say.
//!
//! An entry's bytes depend on nothing but the entry. What no reader would get back is refused.

use std::collections::BTreeMap;

use ::tar::{EntryType, Header};

use super::header::BLOCK;
use crate::entry::{WHITEOUT, is_marker};
use crate::limits::Limits;
use crate::meta::{Meta, Mtime};
use crate::path::{NAME_MAX, Step, TreePath};
use crate::tree::{Device, Kind};

type Why = String;

/// What a name or a link's target may have in a header.
const FITS: usize = 100;

/// What an owner may be in a header, and a device's number: seven octal digits.
const SEVEN_DIGITS: u32 = (1 << 21) - 1;

/// What a size or a time may be in a header: eleven octal digits.
const ELEVEN_DIGITS: u64 = (1 << 33) - 1;

/// An entry as its header says it.
pub(crate) enum Said<'a> {
    Dir(&'a Meta),
    Leaf(&'a Kind, &'a Meta),
    /// Another name, its target, and the metadata of both.
    Link(&'a TreePath, &'a Meta),
    Whiteout,
}

/// Adds the header blocks of an entry.
pub(crate) fn put_header(to: &mut Vec<u8>, path: &TreePath, said: &Said<'_>) -> Result<(), Why> {
    let mut header = Header::new_ustar();
    let mut records = Records::default();
    let name = name_of(path, said)?;
    let fits = records.unless_fits("path", &name);
    header.as_old_mut().name[..fits].copy_from_slice(&name[..fits]);
    let whiteout = whiteout_meta();
    let meta = match said {
        Said::Dir(meta) | Said::Leaf(_, meta) | Said::Link(_, meta) => meta,
        Said::Whiteout => &whiteout,
    };
    put_meta(&mut header, &mut records, meta)?;
    header.set_size(0);
    match said {
        Said::Dir(_) => header.set_entry_type(EntryType::Directory),
        Said::Whiteout => header.set_entry_type(EntryType::Regular),
        Said::Link(target, _) => {
            header.set_entry_type(EntryType::Link);
            put_target(&mut header, &mut records, &joined(target));
        }
        Said::Leaf(kind, _) => put_kind(&mut header, &mut records, kind)?,
    }
    header.set_cksum();
    records.put(to)?;
    to.extend_from_slice(header.as_bytes());
    Ok(())
}

/// What a whiteout's own file is like.
fn whiteout_meta() -> Meta {
    Meta {
        mode: 0o644,
        ..Meta::default()
    }
}

/// Returns the name as it stands in the tar.
fn name_of(path: &TreePath, said: &Said<'_>) -> Result<Vec<u8>, Why> {
    for step in path.steps() {
        match step {
            Step::Child(name) if is_marker(name) => {
                let why = "in a layer a name that begins with '.wh.' says that something is gone";
                return Err(why.to_owned());
            }
            Step::Child(_) => {}
            Step::Up => return Err("a path with '..' in it".to_owned()),
        }
    }
    match said {
        Said::Whiteout => whiteout_of(path),
        Said::Dir(_) if path.is_root() => Ok(b"./".to_vec()),
        Said::Dir(_) => Ok([joined(path), b"/".to_vec()].concat()),
        Said::Leaf(..) | Said::Link(..) => Ok(joined(path)),
    }
}

fn whiteout_of(path: &TreePath) -> Result<Vec<u8>, Why> {
    let Some((parent, Step::Child(name))) = path.split_last() else {
        return Err("the root cannot be gone".to_owned());
    };
    if WHITEOUT.len() + name.as_bytes().len() > NAME_MAX {
        return Err(format!(
            "a layer cannot say that a name of {} bytes is gone: '.wh.' comes before it; in a squashed image nothing is",
            name.as_bytes().len()
        ));
    }
    let mut whole = joined(&parent);
    if !parent.is_root() {
        whole.push(b'/');
    }
    Ok([&whole[..], WHITEOUT, name.as_bytes()].concat())
}

fn joined(path: &TreePath) -> Vec<u8> {
    let steps: Vec<&[u8]> = path
        .steps()
        .map(|step| match step {
            Step::Child(name) => name.as_bytes(),
            Step::Up => b"..",
        })
        .collect();
    steps.join(&b'/')
}

fn put_meta(header: &mut Header, records: &mut Records, meta: &Meta) -> Result<(), Why> {
    header.set_mode(u32::from(meta.mode & Meta::MODE_BITS));
    header.set_uid(u64::from(records.unless_small("uid", meta.uid)?));
    header.set_gid(u64::from(records.unless_small("gid", meta.gid)?));
    let Mtime { secs, nanos } = meta.mtime;
    let whole = u64::try_from(secs).ok().filter(|s| *s <= ELEVEN_DIGITS);
    header.set_mtime(whole.unwrap_or(0));
    if whole.is_none() || nanos > 0 {
        records.add(b"mtime", time(meta.mtime)?.as_bytes());
    }
    for (name, value) in &meta.xattrs {
        if name.contains(&b'=') {
            return Err(format!(
                "a tar cannot hold the extended attribute '{}': its name has a '='",
                name.escape_ascii()
            ));
        }
        records.add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    Ok(())
}

/// Writes seconds as PAX has them: half a second before −10 is −10.5.
fn time(Mtime { secs, nanos }: Mtime) -> Result<String, Why> {
    let (sign, whole, nanos) = match (secs, nanos) {
        (0.., _) => ("", secs.unsigned_abs(), nanos),
        (_, 0) => ("-", secs.unsigned_abs(), 0),
        _ => ("-", secs.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    if i64::try_from(whole).is_err() {
        return Err(format!("a tar cannot hold the time {secs}"));
    }
    let fraction = format!("{nanos:09}");
    let fraction = fraction.trim_end_matches('0');
    Ok(match fraction {
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    })
}

fn put_kind(header: &mut Header, records: &mut Records, kind: &Kind) -> Result<(), Why> {
    match kind {
        Kind::File(content) => {
            header.set_entry_type(EntryType::Regular);
            let size = content.size();
            if size <= ELEVEN_DIGITS {
                header.set_size(size);
            } else {
                records.add(b"size", size.to_string().as_bytes());
            }
            Ok(())
        }
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            put_target(header, records, target);
            Ok(())
        }
        Kind::Char(device) => put_device(header, EntryType::Char, *device),
        Kind::Block(device) => put_device(header, EntryType::Block, *device),
        Kind::Fifo => {
            header.set_entry_type(EntryType::Fifo);
            Ok(())
        }
    }
}

fn put_target(header: &mut Header, records: &mut Records, target: &[u8]) {
    let fits = records.unless_fits("linkpath", target);
    header.as_old_mut().linkname[..fits].copy_from_slice(&target[..fits]);
}

fn put_device(header: &mut Header, kind: EntryType, device: Device) -> Result<(), Why> {
    header.set_entry_type(kind);
    let Device { major, minor } = device;
    if major > SEVEN_DIGITS || minor > SEVEN_DIGITS {
        return Err(format!("a tar cannot hold the device {major}:{minor}"));
    }
    let set = |header: &mut Header| {
        header.set_device_major(major)?;
        header.set_device_minor(minor)
    };
    set(header).map_err(|e| e.to_string())
}

/// What a PAX header says, sorted by its keys.
#[derive(Default)]
struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), value.to_vec());
    }

    /// Says a text here where it is too long for the header; returns how much of it the header has.
    fn unless_fits(&mut self, key: &str, text: &[u8]) -> usize {
        if text.len() <= FITS {
            return text.len();
        }
        self.add(key.as_bytes(), text);
        // A name that ends with a slash would be a directory's.
        text[..FITS]
            .iter()
            .rposition(|b| *b != b'/')
            .map_or(0, |last| last + 1)
    }

    /// Says an owner here where it is too large for the header; returns what the header has.
    fn unless_small(&mut self, key: &str, owner: u32) -> Result<u32, Why> {
        match owner {
            0..=SEVEN_DIGITS => Ok(owner),
            u32::MAX => Err(format!("an owner of {owner}, which means none")),
            _ => {
                self.add(key.as_bytes(), owner.to_string().as_bytes());
                Ok(0)
            }
        }
    }

    /// Adds the header, if there is anything to say.
    fn put(self, to: &mut Vec<u8>) -> Result<(), Why> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut data = Vec::new();
        for (key, value) in &self.0 {
            put_record(&mut data, key, value);
        }
        let most = Limits::default().extension_bytes;
        if data.len() as u64 > most {
            return Err(format!(
                "its names and attributes take {} bytes, more than the {most} that readers of layers take",
                data.len()
            ));
        }
        let mut header = Header::new_ustar();
        let name = b"././@PaxHeader";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_entry_type(EntryType::XHeader);
        header.set_cksum();
        to.extend_from_slice(header.as_bytes());
        to.extend_from_slice(&data);
        to.resize(to.len() + padding(data.len() as u64), 0);
        Ok(())
    }
}

/// Returns how many zeros follow `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// Adds `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn put_record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    to.extend_from_slice(len.to_string().as_bytes());
    to.push(b' ');
    to.extend_from_slice(key);
    to.push(b'=');
    to.extend_from_slice(value);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_digits() {
        for len in [
            1, 80, 85, 86, 87, 88, 89, 90, 985, 990, 991, 992, 993, 9_990,
        ] {
            let mut record = Vec::new();
            put_record(&mut record, b"key", &vec![b'x'; len]);
            let said = record.split(|b| *b == b' ').next().unwrap();
            assert_eq!(said, record.len().to_string().as_bytes());
        }
    }

    #[test]
    fn times_are_written_as_pax_has_them() {
        for (secs, nanos, text) in [
            (1, 500_000_000, "1.5"),
            (-11, 500_000_000, "-10.5"),
            (-1, 999_999_999, "-0.000000001"),
            (-10, 0, "-10"),
            (1 << 40, 0, "1099511627776"),
        ] {
            assert_eq!(time(Mtime { secs, nanos }).unwrap(), text);
        }
        let far = Mtime {
            secs: i64::MIN,
            nanos: 0,
        };
        assert!(time(far).is_err());
    }

    #[test]
    fn what_a_layer_cannot_say_is_refused() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        let plain = Meta::default();
        let refused = |path: &TreePath, said: &Said<'_>| {
            put_header(&mut Vec::new(), path, said).unwrap_err();
        };
        refused(&path("a/.wh.b"), &Said::Dir(&plain));
        refused(&path(".wh.a/b"), &Said::Dir(&plain));
        refused(&path(".wh.a"), &Said::Whiteout);
        refused(&path(&"n".repeat(252)), &Said::Whiteout);
        put_header(&mut Vec::new(), &path(&"n".repeat(251)), &Said::Whiteout).unwrap();
        let mut odd = Meta::default();
        odd.xattrs.insert(b"user.a=b"[..].into(), b""[..].into());
        refused(&path("a"), &Said::Dir(&odd));
        let mut many = Meta::default();
        for n in 0..20 {
            let name = format!("user.{n}").into_bytes().into();
            many.xattrs.insert(name, vec![0; 60_000].into());
        }
        refused(&path("a"), &Said::Dir(&many));
        let owner = Meta {
            uid: u32::MAX,
            ..Meta::default()
        };
        refused(&path("a"), &Said::Dir(&owner));
    }
}
