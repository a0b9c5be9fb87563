//! Owns the bytes of a generated header, in each dialect and with numbers spelled in each way.

/// The size of a tar's unit.
pub(super) const BLOCK: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Gnu,
    Star,
}

/// How a number is written.
#[derive(Clone, Copy)]
pub(super) enum Spelling {
    Zeros,
    Spaces,
    Base256,
    Full,
}

/// What a header is to say.
pub(super) struct Head {
    pub(super) dialect: Dialect,
    pub(super) spelling: Spelling,
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u64,
    pub(super) owner: u64,
    pub(super) mtime: i64,
    pub(super) device: u64,
}

impl Head {
    pub(super) fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let name = &self.name[..self.name.len().min(100)];
        block[..name.len()].copy_from_slice(name);
        let link = &self.link[..self.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        block[156] = self.kind;
        for (at, len, value) in [
            (100, 8, self.mode.cast_signed()),
            (108, 8, self.owner.cast_signed()),
            (116, 8, self.owner.cast_signed()),
            (124, 12, self.size.cast_signed()),
            (136, 12, self.mtime),
        ] {
            self.number(&mut block[at..at + len], value);
        }
        let magic: &[u8] = match self.dialect {
            Dialect::V7 => b"",
            Dialect::Ustar | Dialect::Star => b"ustar\x0000",
            Dialect::Gnu => b"ustar  \0",
        };
        block[257..257 + magic.len()].copy_from_slice(magic);
        if self.dialect == Dialect::Star {
            block[508..].copy_from_slice(b"tar\0");
        }
        if self.dialect != Dialect::V7 {
            self.number(&mut block[329..337], self.device.cast_signed());
            self.number(&mut block[337..345], self.device.cast_signed());
        }
        set_sum(&mut block);
        block
    }

    fn number(&self, field: &mut [u8], value: i64) {
        let width = field.len() - 1;
        match self.spelling {
            Spelling::Zeros => {
                field[..width].copy_from_slice(format!("{value:0width$o}").as_bytes());
            }
            Spelling::Spaces => {
                field[..width].copy_from_slice(format!("{value:width$o}").as_bytes());
            }
            Spelling::Full => {
                let full = field.len();
                field.copy_from_slice(format!("{value:0full$o}").as_bytes());
            }
            Spelling::Base256 => {
                let bytes = value.to_be_bytes();
                let fill = if value < 0 { 0xff } else { 0 };
                field.fill(fill);
                let len = field.len();
                field[len - 7..].copy_from_slice(&bytes[1..]);
                field[0] |= 0x80;
            }
        }
    }
}

/// Puts a header's checksum right.
pub(in crate::fuzzing) fn set_sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Adds data and what fills up its last block.
pub(super) fn padded(data: &[u8], tar: &mut Vec<u8>) {
    tar.extend(data);
    tar.extend(std::iter::repeat_n(0, data.len().wrapping_neg() % BLOCK));
}
