//! Owns the header of a gzip member (RFC 1952, 2.3): how long it is, and what it says of who made it.

use crate::encoders::Hints;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its length in bytes.
    pub len: usize,
    /// Who may have made what follows.
    pub hints: Hints,
}

/// The flags of a header.
const CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Reads the header that `bytes` begin with, or `None` where there is none, or not all of it.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, extra_flags, system] = *bytes.first_chunk::<10>()?
    else {
        return None;
    };
    if flags & RESERVED != 0 {
        return None;
    }
    let mut len = 10;
    if flags & EXTRA != 0 {
        let size = bytes.get(len..len + 2)?;
        len += 2 + usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            len += bytes.get(len..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & CHECKSUM != 0 {
        len += 2;
    }
    let hints = Hints {
        extra_flags,
        system,
        has_name: flags & NAME != 0,
    };
    (len <= bytes.len()).then_some(Header { len, hints })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_are_passed_over() {
        let plain = [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 2, 255, 9];
        let hints = Hints {
            extra_flags: 2,
            system: 255,
            has_name: false,
        };
        assert_eq!(header(&plain), Some(Header { len: 10, hints }));
        let mut full = [0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 3].to_vec();
        full.extend([3, 0, 1, 2, 3]);
        full.extend(b"layer.tar\0a comment\0");
        full.extend([7, 8]);
        let hints = Hints {
            extra_flags: 0,
            system: 3,
            has_name: true,
        };
        let len = full.len();
        assert_eq!(header(&full), Some(Header { len, hints }));
        for cut in 0..len {
            assert_eq!(header(&full[..cut]), None, "{cut}");
        }
        full[3] |= 0x80;
        assert_eq!(header(&full), None);
    }
}
