//! Owns what precedes an entry: PAX records, global ones, GNU long names, and the sparse maps among them.

use crate::meta::{Mtime, Xattrs};
use crate::recipe::Piece;

type Why = String;

/// Everything that extension headers said of the next entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extended {
    /// Where the first of them begins.
    pub(crate) began: Option<u64>,
    pub(crate) long_name: Option<Vec<u8>>,
    pub(crate) long_link: Option<Vec<u8>>,
    pub(crate) pax: Pax,
    /// Something came twice.
    pub(crate) repeated: bool,
}

/// The PAX records that matter here. A field is `None` where no record set it, or an empty one unset it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pax {
    seen: bool,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) linkpath: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Said<u32>,
    pub(crate) gid: Said<u32>,
    pub(crate) mtime: Said<Mtime>,
    schily: Xattrs,
    libarchive: Xattrs,
    pub(crate) sparse: PaxSparse,
}

/// What an entry's own records say of a field that a global header may set too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Said<T> {
    /// Nothing: the global header counts, else the header.
    #[default]
    Nothing,
    /// That it is the header's, whatever the global header says: an empty value.
    Header,
    /// A value.
    Value(T),
}

impl<T> Said<T> {
    /// Returns the value that counts; none where it is the header's.
    pub(crate) fn or_global(self, global: Option<T>) -> Option<T> {
        match self {
            Self::Nothing => global,
            Self::Header => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<T> From<Option<T>> for Said<T> {
    /// Takes in what [`optional`] read.
    fn from(read: Option<T>) -> Self {
        read.map_or(Self::Header, Self::Value)
    }
}

/// Whether a key came twice in one header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keys {
    Once,
    Repeated,
}

/// The sparse forms 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` or `GNU.sparse.realsize`.
    pub(crate) real_size: Option<u64>,
    pub(crate) pieces: Vec<Piece>,
    /// An offset whose length has not come yet.
    offset: Option<u64>,
    pub(crate) has_map: bool,
}

/// What global PAX headers may set for all entries that follow (POSIX pax, "pax Header Block").
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Globals {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Mtime>,
}

/// The largest owner: 2³²−1 means "leave it" to chown.
const ID_MAX: u64 = u32::MAX as u64 - 1;

impl Extended {
    pub(crate) fn take_long_name(&mut self, data: &[u8]) -> Result<(), Why> {
        let name = long(data)?;
        self.repeated |= self.long_name.replace(name).is_some();
        Ok(())
    }

    pub(crate) fn take_long_link(&mut self, data: &[u8]) -> Result<(), Why> {
        let link = long(data)?;
        self.repeated |= self.long_link.replace(link).is_some();
        Ok(())
    }

    pub(crate) fn take_pax(&mut self, data: &[u8], pieces_max: u64) -> Result<(), Why> {
        let is_second = std::mem::replace(&mut self.pax.seen, true);
        self.repeated |= is_second;
        let framed = self.pax.size.is_some() || self.pax.sparse.is_used();
        let mut keys = std::collections::HashSet::new();
        for_each_record(data, |key, value| {
            let may_repeat = key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
            self.repeated |= !may_repeat && !keys.insert(key.to_vec());
            self.repeated |= self.pax.set(key, value, pieces_max)? == Keys::Repeated;
            Ok(())
        })?;
        if is_second && framed && !keys.contains(&b"size"[..]) {
            // Other readers forget the first header then, and with it where the next entry begins.
            return Err(
                "a second PAX header that does not repeat the size of the first".to_owned(),
            );
        }
        Ok(())
    }
}

/// A long name ends with a NUL; within it, one would mean two things to two readers.
fn long(data: &[u8]) -> Result<Vec<u8>, Why> {
    let end = data
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |last| last + 1);
    match &data[..end] {
        name if name.contains(&0) => Err("NUL in a long name".to_owned()),
        name => Ok(name.to_vec()),
    }
}

impl Pax {
    /// Takes in a record. A key that was there in another spelling is told; the same key its caller sees.
    fn set(&mut self, key: &[u8], value: &[u8], pieces_max: u64) -> Result<Keys, Why> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.linkpath = text(value)?,
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, owner)?.into(),
            b"gid" => self.gid = optional(value, owner)?.into(),
            b"mtime" => self.mtime = optional(value, time)?.into(),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.schily.insert(xattr_name(name.to_vec())?, value.into());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let value = crate::base64::decode_any(value)
                        .map_err(|e| format!("an attribute's value is not base64: {e}"))?;
                    let name = xattr_name(unescape(name)?)?;
                    if self.libarchive.insert(name, value.into()).is_some() {
                        return Ok(Keys::Repeated);
                    }
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value, pieces_max)?;
                }
            }
        }
        Ok(Keys::Once)
    }

    /// Returns the extended attributes, and whether two forms of one differ.
    pub(crate) fn xattrs(&self) -> (Xattrs, bool) {
        let mut merged = self.libarchive.clone();
        let mut conflict = false;
        for (name, value) in &self.schily {
            let other = merged.insert(name.clone(), value.clone());
            conflict |= other.is_some_and(|other| other != *value);
        }
        (merged, conflict)
    }
}

impl PaxSparse {
    fn set(&mut self, key: &[u8], value: &[u8], pieces_max: u64) -> Result<(), Why> {
        match key {
            b"major" => self.major = optional(value, decimal)?,
            b"minor" => self.minor = optional(value, decimal)?,
            b"name" => self.name = text(value)?,
            b"size" | b"realsize" => self.real_size = optional(value, decimal)?,
            b"numblocks" => self.has_map = true,
            b"offset" => {
                self.has_map = true;
                if self.offset.replace(decimal(value)?).is_some() {
                    return Err("two sparse offsets without a length between them".to_owned());
                }
            }
            b"numbytes" => {
                let Some(offset) = self.offset.take() else {
                    return Err("a sparse length without its offset".to_owned());
                };
                self.add(
                    Piece {
                        offset,
                        len: decimal(value)?,
                    },
                    pieces_max,
                )?;
            }
            b"map" => self.set_map(value, pieces_max)?,
            _ => {}
        }
        Ok(())
    }

    fn set_map(&mut self, value: &[u8], pieces_max: u64) -> Result<(), Why> {
        self.has_map = true;
        self.pieces.clear();
        if value.is_empty() {
            return Ok(());
        }
        let mut numbers = value.split(|b| *b == b',');
        while let Some(offset) = numbers.next() {
            let Some(len) = numbers.next() else {
                return Err("a sparse map with an offset that has no length".to_owned());
            };
            self.add(
                Piece {
                    offset: decimal(offset)?,
                    len: decimal(len)?,
                },
                pieces_max,
            )?;
        }
        Ok(())
    }

    fn add(&mut self, piece: Piece, pieces_max: u64) -> Result<(), Why> {
        if self.pieces.len() as u64 >= pieces_max {
            return Err(format!(
                "over {pieces_max} pieces of a sparse file (--max-sparse)"
            ));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// Tells whether any sparse record came.
    pub(crate) fn is_used(&self) -> bool {
        self.has_map
            || self.major.is_some()
            || self.minor.is_some()
            || self.real_size.is_some()
            || self.name.is_some()
    }
}

impl Globals {
    /// Takes in a global header. What could make an entry mean something else is refused.
    pub(crate) fn take(&mut self, data: &[u8]) -> Result<Keys, Why> {
        let mut seen = std::collections::HashSet::new();
        let mut keys = Keys::Once;
        for_each_record(data, |key, value| {
            if !seen.insert(key.to_vec()) {
                keys = Keys::Repeated;
            }
            match key {
                b"uid" => self.uid = optional(value, owner)?,
                b"gid" => self.gid = optional(value, owner)?,
                b"mtime" => self.mtime = optional(value, time)?,
                b"path" | b"size" | b"linkpath" => return Err(global_refused(key)),
                _ if [&b"SCHILY.xattr."[..], b"LIBARCHIVE.xattr.", b"GNU.sparse."]
                    .iter()
                    .any(|prefix| key.starts_with(prefix)) =>
                {
                    return Err(global_refused(key));
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(keys)
    }
}

fn global_refused(key: &[u8]) -> Why {
    format!("a global header that sets {}", key.escape_ascii())
}

/// Calls `each` with the key and value of every record: `LENGTH KEY=VALUE\n`. NULs may pad the end.
fn for_each_record(
    mut data: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Why>,
) -> Result<(), Why> {
    while data.first().is_some_and(|b| *b != 0) {
        let space = data.iter().take(20).position(|b| *b == b' ');
        let space = space.ok_or("a PAX record without its length")?;
        let len = decimal(&data[..space]).map_err(|why| format!("a PAX record's length: {why}"))?;
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= data.len() && *len > space + 1);
        let len = len.ok_or("a PAX record whose length does not fit")?;
        let record = data[space + 1..len]
            .strip_suffix(b"\n")
            .ok_or("a PAX record that does not end with a newline")?;
        let equals = record
            .iter()
            .position(|b| *b == b'=')
            .ok_or("a PAX record without '='")?;
        if equals == 0 {
            return Err("a PAX record with an empty key".to_owned());
        }
        each(&record[..equals], &record[equals + 1..])?;
        data = &data[len..];
    }
    if data.iter().any(|b| *b != 0) {
        return Err("bytes after the padding of a PAX header".to_owned());
    }
    Ok(())
}

/// An empty value means that the header's field counts again (POSIX pax, "Keyword Precedence").
fn optional<T>(value: &[u8], read: impl Fn(&[u8]) -> Result<T, Why>) -> Result<Option<T>, Why> {
    if value.is_empty() {
        Ok(None)
    } else {
        read(value).map(Some)
    }
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, Why> {
    match value {
        b"" => Ok(None),
        _ if value.contains(&0) => Err("NUL in a PAX path".to_owned()),
        _ => Ok(Some(value.to_vec())),
    }
}

/// Reads a decimal number of at most 20 digits.
pub(crate) fn decimal(digits: &[u8]) -> Result<u64, Why> {
    let all = !digits.is_empty() && digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit);
    let value = all
        .then(|| str::from_utf8(digits).ok()?.parse().ok())
        .flatten();
    value.ok_or_else(|| format!("'{}' is not a number that fits", digits.escape_ascii()))
}

fn owner(digits: &[u8]) -> Result<u32, Why> {
    check_owner(i128::from(decimal(digits)?))
}

/// Refuses an owner that would wrap.
pub(crate) fn check_owner(value: i128) -> Result<u32, Why> {
    match u32::try_from(value) {
        Ok(id) if u64::from(id) <= ID_MAX => Ok(id),
        _ => Err(format!("an owner of {value}, expected 0 to {ID_MAX}")),
    }
}

/// Reads decimal seconds. Beyond nine digits a fraction is cut; −10.5 is half a second before −10.
fn time(value: &[u8]) -> Result<Mtime, Why> {
    let bad = || format!("'{}' is not a time", value.escape_ascii());
    let (negative, rest) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = rest.splitn(2, |b| *b == b'.');
    let whole = decimal(parts.next().unwrap_or_default()).map_err(|_| bad())?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let digits = fraction
        .iter()
        .map(|d| u32::from(d - b'0'))
        .chain(std::iter::repeat(0));
    let nanos = digits.take(9).fold(0, |n, d| n * 10 + d);
    let secs = i64::try_from(whole).map_err(|_| bad())?;
    Ok(match (negative, nanos) {
        (false, _) => Mtime { secs, nanos },
        (true, 0) => Mtime { secs: -secs, nanos },
        (true, _) => Mtime {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

fn xattr_name(name: Vec<u8>) -> Result<Box<[u8]>, Why> {
    if name.is_empty() || name.contains(&0) {
        return Err(format!(
            "'{}' is not the name of an extended attribute",
            name.escape_ascii()
        ));
    }
    Ok(name.into())
}

/// libarchive writes names with `%XX` for what is not plain.
fn unescape(name: &[u8]) -> Result<Vec<u8>, Why> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            plain.push(*first);
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|d| str::from_utf8(d).ok())
            .filter(|d| !d.starts_with('+'));
        let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        plain.push(byte.ok_or_else(|| {
            format!("bad escape in the attribute name '{}'", name.escape_ascii())
        })?);
        rest = &after[2..];
    }
    Ok(plain)
}

/// Checks a sparse map: in order, without overlap, within the file, and as long as what is stored.
pub(crate) fn check_map(pieces: &[Piece], size: u64, stored: u64) -> Result<Vec<Piece>, Why> {
    let mut end = 0;
    let mut sum = 0u64;
    let mut kept = Vec::new();
    for piece in pieces {
        let after = piece
            .offset
            .checked_add(piece.len)
            .filter(|after| *after <= size);
        let after = after.ok_or("a piece of a sparse file that ends past its size")?;
        if piece.offset < end {
            return Err("pieces of a sparse file that overlap or go back".to_owned());
        }
        end = after;
        sum += piece.len;
        if piece.len > 0 {
            kept.push(*piece);
        }
    }
    if sum != stored {
        return Err(format!(
            "a sparse file with pieces of {sum} bytes and data of {stored}"
        ));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(
            time(b"-10.5").unwrap(),
            Mtime {
                secs: -11,
                nanos: 500_000_000
            }
        );
        assert_eq!(
            time(b"-10").unwrap(),
            Mtime {
                secs: -10,
                nanos: 0
            }
        );
        assert_eq!(time(b"1.0000000019").unwrap(), Mtime { secs: 1, nanos: 1 });
        for bad in [&b"x"[..], b"1.x", b"--1", b"99999999999999999999", b"."] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn records_with_a_bad_length_are_refused() {
        let mut extended = Extended::default();
        assert!(extended.take_pax(b"12 path=abc\n\0\0", 9).is_ok());
        assert_eq!(extended.pax.path.as_deref(), Some(&b"abc"[..]));
        for bad in [
            &b"11 path=abc\n"[..],
            b"13 path=abc\n",
            b"99 path=abc\n",
            b"x path=abc\n",
            b"6 abc\n",
            b"5 =a\n",
            b"12 path=abc\n\0x",
        ] {
            assert!(Extended::default().take_pax(bad, 9).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_forms_of_attributes_are_read() {
        let mut extended = Extended::default();
        extended
            .take_pax(b"26 SCHILY.xattr.user.a=one\n", 9)
            .unwrap_err();
        extended
            .take_pax(b"27 SCHILY.xattr.user.a=one\n", 9)
            .unwrap();
        extended
            .take_pax(b"33 LIBARCHIVE.xattr.user%2eb=aGk\n", 9)
            .unwrap();
        let (xattrs, conflict) = extended.pax.xattrs();
        assert!(!conflict);
        assert_eq!(&*xattrs[&b"user.a"[..]], b"one");
        assert_eq!(&*xattrs[&b"user.b"[..]], b"hi");
    }

    #[test]
    fn maps_that_overlap_or_lack_data_are_refused() {
        let piece = |offset, len| Piece { offset, len };
        assert!(check_map(&[piece(0, 2), piece(5, 3)], 8, 5).is_ok());
        for (pieces, size, stored) in [
            (vec![piece(0, 2), piece(1, 3)], 8, 5),
            (vec![piece(5, 3), piece(0, 2)], 8, 5),
            (vec![piece(0, 9)], 8, 9),
            (vec![piece(0, 2)], 8, 3),
            (vec![piece(u64::MAX, 2)], 8, 2),
        ] {
            assert!(check_map(&pieces, size, stored).is_err(), "{pieces:?}");
        }
    }
}
