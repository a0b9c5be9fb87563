//! Owns the 512 bytes of a tar header in every dialect: V7, ustar, old GNU, star, base-256 numbers.

use crate::recipe::Piece;

/// The size of a tar's unit.
pub(crate) const BLOCK: usize = 512;

/// One header block.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

/// Which dialect a header speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// Pieces in a header, or in a block that extends it.
pub(crate) struct SparsePart {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) more: bool,
}

type Why = String;

impl Header<'_> {
    /// Tells whether the block is all zeros, which ends a tar.
    pub(crate) fn is_end(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    /// Checks the checksum; some old tars summed signed bytes.
    pub(crate) fn check_sum(&self) -> Result<(), Why> {
        let wanted = number(&self.0[148..156]).map_err(|why| format!("checksum: {why}"))?;
        let spaced = || {
            self.0
                .iter()
                .enumerate()
                .map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b })
        };
        let unsigned: i64 = spaced().map(i64::from).sum();
        let signed: i64 = spaced().map(|b| i64::from(b.cast_signed())).sum();
        if wanted == i128::from(unsigned) || wanted == i128::from(signed) {
            return Ok(());
        }
        Err(format!(
            "expected the checksum {unsigned:o} (octal), got {wanted:o}"
        ))
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar  \0", _) => Dialect::Gnu,
            (b"ustar\x0000", b"tar\0") => Dialect::Star,
            (magic, _) if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Returns the path, with the prefix where the dialect has one.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => until_nul(&self.0[345..500]),
            Dialect::Star => until_nul(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, name].join(&b'/')
        }
    }

    pub(crate) fn link(&self) -> &[u8] {
        until_nul(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Result<i128, Why> {
        number(&self.0[100..108]).map_err(|why| format!("mode: {why}"))
    }

    pub(crate) fn uid(&self) -> Result<i128, Why> {
        number(&self.0[108..116]).map_err(|why| format!("uid: {why}"))
    }

    pub(crate) fn gid(&self) -> Result<i128, Why> {
        number(&self.0[116..124]).map_err(|why| format!("gid: {why}"))
    }

    pub(crate) fn size(&self) -> Result<i128, Why> {
        number(&self.0[124..136]).map_err(|why| format!("size: {why}"))
    }

    pub(crate) fn mtime(&self) -> Result<i128, Why> {
        number(&self.0[136..148]).map_err(|why| format!("mtime: {why}"))
    }

    /// Returns major and minor; V7 has no field for them.
    pub(crate) fn device(&self) -> Result<(i128, i128), Why> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let field = |range: std::ops::Range<usize>| {
            number(&self.0[range]).map_err(|why| format!("device: {why}"))
        };
        Ok((field(329..337)?, field(337..345)?))
    }

    /// Returns an old GNU sparse file's real size and the pieces in its header.
    pub(crate) fn gnu_sparse(&self) -> Result<(i128, SparsePart), Why> {
        if self.dialect() != Dialect::Gnu {
            return Err("type S without the GNU magic".to_owned());
        }
        let real = number(&self.0[483..495]).map_err(|why| format!("real size: {why}"))?;
        Ok((real, sparse_part(&self.0[386..482], self.0[482])?))
    }

    /// Reads this block as one that extends a sparse header.
    pub(crate) fn gnu_sparse_more(&self) -> Result<SparsePart, Why> {
        sparse_part(&self.0[..504], self.0[504])
    }
}

fn sparse_part(slots: &[u8], more: u8) -> Result<SparsePart, Why> {
    let mut pieces = Vec::new();
    for slot in slots.chunks_exact(24) {
        // An unused slot is blank, and the last. Which of its fields tells is written nowhere, and no tool was seen to
        // write anything after one.
        match (slot[0], slot[12]) {
            (0, 0) if more == 0 => break,
            (0, _) | (_, 0) => return Err("a sparse map with a blank in it".to_owned()),
            _ => {}
        }
        let field = |bytes| {
            let value = number(bytes).map_err(|why| format!("sparse map: {why}"))?;
            u64::try_from(value).map_err(|_| format!("sparse map: {value} is out of range"))
        };
        pieces.push(Piece {
            offset: field(&slot[..12])?,
            len: field(&slot[12..])?,
        });
    }
    Ok(SparsePart {
        pieces,
        more: more != 0,
    })
}

/// Reads a numeric field: octal between spaces, or base-256 where the first bit is set. A blank one is 0.
pub(crate) fn number(field: &[u8]) -> Result<i128, Why> {
    if field[0] & 0x80 != 0 {
        return base256(field);
    }
    let is_blank = |b: &u8| matches!(b, 0 | b' ');
    let begin = field.iter().position(|b| !is_blank(b)).unwrap_or(0);
    if field[..begin].contains(&0) {
        // Some readers pass over leading NULs, for others the number ends there.
        return Err(format!("'{}' begins with a NUL", field.escape_ascii()));
    }
    // Nor are a newline or a tab blanks to all of them.
    let digits = until_nul(&field[begin..]);
    let end = digits.iter().rposition(|b| *b != b' ');
    let digits = &digits[..end.map_or(0, |last| last + 1)];
    let octal = |value: i128, digit: &u8| match digit {
        b'0'..=b'7' => Some(value * 8 + i128::from(digit - b'0')),
        _ => None,
    };
    // At most 12 digits fit a field: no overflow.
    digits
        .iter()
        .try_fold(0, octal)
        .ok_or_else(|| format!("'{}' is not octal", digits.escape_ascii()))
}

/// Two's complement, big endian, without the first bit.
fn base256(field: &[u8]) -> Result<i128, Why> {
    let negative = field[0] & 0x40 != 0;
    let first = i128::from(field[0] & 0x3f) - if negative { 0x40 } else { 0 };
    let value = field[1..].iter().try_fold(first, |value, byte| {
        value
            .checked_mul(256)
            .map(|value| value + i128::from(*byte))
    });
    value.ok_or_else(|| "a base-256 number that nothing can hold".to_owned())
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_blank_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xf6", -10),
            (b"77777777", 0o77_777_777),
        ] {
            assert_eq!(number(field).unwrap(), value, "{field:?}");
        }
        assert!(number(b"12x4567\0").is_err());
        assert!(number(b"0000008\0").is_err());
        assert!(number(b"12 34\0\0\0").is_err());
        assert!(number(b"\x00000644\0").is_err());
    }
}
