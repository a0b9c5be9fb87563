//! Owns the alphabet of the record formats: minimal varints, length-prefixed bytes, and a cursor that
//! refuses every other spelling. See `docs/format.md`, "Alphabet".

use std::collections::BTreeMap;

use crate::meta::{Meta, Mtime, Xattrs};
use crate::path::{Name, PathError};

/// Why bytes are not a record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("cut off at byte {0}")]
    Short(usize),
    /// A field holds what its type cannot.
    #[error("bad {what} at byte {at}")]
    Bad {
        /// The field.
        what: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// Bytes follow the record.
    #[error("{0} bytes after the record")]
    Trailing(usize),
    /// A version this program does not know.
    #[error("version {0} is not known to this ocistore")]
    Version(u8),
    /// A name that is none.
    #[error("bad name at byte {at}: {source}")]
    Name {
        /// Where it begins.
        at: usize,
        /// What is wrong with it.
        source: PathError,
    },
}

/// Appends `value` as a little-endian base-128 varint.
pub(crate) fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// Appends a signed value, zigzagged.
pub(crate) fn put_signed(to: &mut Vec<u8>, value: i64) {
    put_varint(to, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Appends all metadata of an inode.
pub(crate) fn put_meta(to: &mut Vec<u8>, meta: &Meta) {
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = meta;
    put_varint(to, u64::from(*mode));
    put_varint(to, u64::from(*uid));
    put_varint(to, u64::from(*gid));
    put_signed(to, mtime.secs);
    put_varint(to, u64::from(mtime.nanos));
    put_varint(to, xattrs.len() as u64);
    for (key, value) in xattrs {
        put_bytes(to, key);
        put_bytes(to, value);
    }
}

/// Reads a record from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn bad(&self, what: &'static str) -> DecodeError {
        DecodeError::Bad { what, at: self.at }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.data[self.at..];
        let taken = rest.get(..len).ok_or(DecodeError::Short(self.data.len()))?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads a varint; a longer spelling than needed is refused, so that every value has one.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let begin = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Bad {
            what: "varint",
            at: begin,
        })
    }

    /// Reads a varint that has to fit the type wanted.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        let at = self.at;
        T::try_from(self.varint()?).map_err(|_| DecodeError::Bad { what, at })
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.number("length")?;
        self.take(len)
    }

    pub(crate) fn name(&mut self) -> Result<Name, DecodeError> {
        let at = self.at;
        Name::parse(self.bytes()?).map_err(|source| DecodeError::Name { at, source })
    }

    pub(crate) fn meta(&mut self) -> Result<Meta, DecodeError> {
        let mode = self.number("mode")?;
        if mode & !Meta::MODE_BITS != 0 {
            return Err(self.bad("mode"));
        }
        let (uid, gid) = (self.number("uid")?, self.number("gid")?);
        let mtime = Mtime {
            secs: self.signed()?,
            nanos: self.number("nanoseconds")?,
        };
        if mtime.nanos >= 1_000_000_000 {
            return Err(self.bad("nanoseconds"));
        }
        Ok(Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs: self.xattrs()?,
        })
    }

    fn xattrs(&mut self) -> Result<Xattrs, DecodeError> {
        let count: u64 = self.varint()?;
        let mut xattrs = BTreeMap::new();
        for _ in 0..count {
            let (key, value): (Box<[u8]>, Box<[u8]>) = (self.bytes()?.into(), self.bytes()?.into());
            if key.is_empty()
                || xattrs
                    .last_key_value()
                    .is_some_and(|(last, _)| *last >= key)
            {
                return Err(self.bad("order of xattrs"));
            }
            xattrs.insert(key, value);
        }
        Ok(xattrs)
    }

    /// Ends the record: nothing may follow.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.data.len() - self.at {
            0 => Ok(()),
            more => Err(DecodeError::Trailing(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            put_signed(&mut bytes, signed);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint().unwrap(), value);
            prop_assert_eq!(cursor.signed().unwrap(), signed);
            cursor.end().unwrap();
        }
    }

    #[test]
    fn a_longer_spelling_of_a_varint_is_refused() {
        for bad in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] {
            assert!(Cursor::new(bad).varint().is_err(), "{bad:?}");
        }
    }
}
