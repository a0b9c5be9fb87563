//! Owns the streams of the zlib family: zlib itself (Python, Java, Bazel), GNU gzip,
//! BusyBox's gzip and pigz.
//!
//! All take the decisions of Jean-loup Gailly's and Mark Adler's deflate, which is under the zlib license, and of GNU
//! gzip, where it began; they are read there and made again here (`docs/decisions/0003-our-own-zlib-decisions.md`).

mod block;
mod deflate;
mod huffman;
mod level;
mod pigz;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod window;

use super::{Engine, Hints};
use crate::codec::{Cursor, DecodeError, put_varint};

pub use pigz::Form;

/// Which program made a stream, and how it was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Settings {
    /// zlib with its default strategy and a window of 32 KiB.
    Zlib {
        /// How hard it sought.
        level: Level,
        /// How much memory it took.
        memory: Memory,
    },
    /// pigz.
    Pigz {
        /// How hard it sought.
        level: Level,
        /// How blocks depend on each other.
        form: Form,
        /// How large they are.
        block: BlockSize,
    },
    /// GNU gzip.
    Gnu {
        /// How hard it sought.
        level: Level,
    },
    /// BusyBox's gzip, which has no level below 4.
    Busybox {
        /// How hard it sought.
        level: Level,
        /// How it was built.
        size: BusyboxSize,
    },
}

/// How much memory BusyBox's gzip was built to take (`CONFIG_GZIP_FAST`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BusyboxSize {
    /// 0, which is the default.
    Small,
    /// 1.
    Medium,
    /// 2, as Debian has it.
    Large,
}

/// A compression level: 1 to 9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level(u8);

/// A memory level of zlib: 1 to 9. It sets how large the hash table and the blocks are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Memory(u8);

/// The size of pigz's blocks, in KiB: 32 to 65536.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockSize(u32);

impl Level {
    /// Returns a level, unless it is out of range.
    pub fn new(number: u8) -> Option<Self> {
        (1..=9).contains(&number).then_some(Self(number))
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Self::new(cursor.byte()?).ok_or_else(|| cursor.bad("compression level"))
    }

    /// Returns those that a gzip header allows, the likeliest first.
    fn candidates(hints: Hints) -> Vec<Self> {
        let numbers: &[u8] = match (hints.extra_flags, hints.system) {
            (2, 255) => &[9, 6, 1, 5, 4, 7, 8, 3, 2],
            (2, _) => &[9],
            (4, _) => &[1],
            (0, _) => &[6, 9, 1, 5, 4, 7, 8, 3, 2],
            _ => &[],
        };
        numbers.iter().copied().map(Self).collect()
    }
}

impl Memory {
    /// What zlib takes unless told otherwise.
    pub const DEFAULT: Self = Self(8);

    /// Returns a memory level, unless it is out of range.
    pub fn new(number: u8) -> Option<Self> {
        (1..=9).contains(&number).then_some(Self(number))
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Self::new(cursor.byte()?).ok_or_else(|| cursor.bad("memory level"))
    }
}

impl BusyboxSize {
    fn number(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Medium => 1,
            Self::Large => 2,
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => Ok(Self::Small),
            1 => Ok(Self::Medium),
            2 => Ok(Self::Large),
            _ => Err(cursor.bad("size")),
        }
    }
}

impl BlockSize {
    /// What pigz takes unless told otherwise: 128 KiB.
    pub const DEFAULT: Self = Self(128);

    /// Returns a size in KiB, unless it is out of range.
    pub fn new(kibibytes: u32) -> Option<Self> {
        (32..=65536).contains(&kibibytes).then_some(Self(kibibytes))
    }

    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let number = u32::try_from(cursor.varint()?).ok();
        number
            .and_then(Self::new)
            .ok_or_else(|| cursor.bad("block size"))
    }
}

impl Settings {
    pub(in crate::encoders) fn encode(self, to: &mut Vec<u8>) {
        match self {
            Self::Zlib { level, memory } => to.extend([0, level.0, memory.0]),
            Self::Pigz { level, form, block } => {
                to.extend([1, level.0, form.number()]);
                put_varint(to, u64::from(block.0));
            }
            Self::Gnu { level } => to.extend([2, level.0]),
            Self::Busybox { level, size } => to.extend([3, level.0, size.number()]),
        }
    }

    pub(in crate::encoders) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.byte()? {
            0 => Ok(Self::Zlib {
                level: Level::decode(cursor)?,
                memory: Memory::decode(cursor)?,
            }),
            1 => Ok(Self::Pigz {
                level: Level::decode(cursor)?,
                form: Form::decode(cursor)?,
                block: BlockSize::decode(cursor)?,
            }),
            2 => Ok(Self::Gnu {
                level: Level::decode(cursor)?,
            }),
            3 => Ok(Self::Busybox {
                level: match Level::decode(cursor)? {
                    Level(1..=3) => return Err(cursor.bad("compression level")),
                    level => level,
                },
                size: BusyboxSize::decode(cursor)?,
            }),
            _ => Err(cursor.bad("program")),
        }
    }

    pub(in crate::encoders) fn engine(self) -> Engine {
        match self {
            Self::Zlib { level, memory } => stream::zlib(level.0, memory.0),
            Self::Pigz { level, form, block } => {
                let shape = stream::zlib_shape(level.0, Memory::DEFAULT.0);
                pigz::pigz(shape, form, block.0 as usize * 1024)
            }
            Self::Gnu { level } => stream::gnu(level.0),
            Self::Busybox { level, size } => stream::busybox(level.0, size),
        }
    }

    /// Python's `gzip` says 255 and, before 3.9, always the slowest; Java says 0 or 255 and never a level; zlib itself, GNU
    /// gzip and pigz say 3 on Unix, of which those that compress files name them.
    pub(in crate::encoders) fn candidates(hints: Hints) -> Vec<Self> {
        let levels = Level::candidates(hints);
        let zlib = |memory| {
            levels
                .iter()
                .map(move |&level| Self::Zlib { level, memory })
        };
        let gnu = levels.iter().map(|&level| Self::Gnu { level });
        let pigz = |form| {
            let block = BlockSize::DEFAULT;
            levels
                .iter()
                .map(move |&level| Self::Pigz { level, form, block })
        };
        let busybox = |size| {
            let slow = levels.iter().filter(|level| level.0 > 3);
            slow.map(move |&level| Self::Busybox { level, size })
        };
        let mut all = Vec::new();
        if hints.system == 3 {
            all.extend(gnu.chain(pigz(Form::Parallel)).chain(pigz(Form::OneThread)));
        }
        all.extend(zlib(Memory::DEFAULT).chain(zlib(Memory(9))));
        if hints.system == 3 {
            all.extend(pigz(Form::Independent));
            if !hints.has_name {
                all.extend(busybox(BusyboxSize::Large));
                all.extend(busybox(BusyboxSize::Small));
                all.extend(busybox(BusyboxSize::Medium));
            }
        }
        all
    }
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Zlib { level, memory } => {
                write!(f, "zlib, level {}", level.0)?;
                match *memory {
                    Memory::DEFAULT => Ok(()),
                    memory => write!(f, ", memory level {}", memory.0),
                }
            }
            Self::Pigz { level, form, block } => {
                write!(f, "pigz, level {}", level.0)?;
                match form {
                    Form::Parallel => {}
                    Form::Independent => f.write_str(", independent blocks")?,
                    Form::OneThread => f.write_str(", one thread")?,
                }
                match *block {
                    BlockSize::DEFAULT => Ok(()),
                    block => write!(f, ", in blocks of {} KiB", block.0),
                }
            }
            Self::Gnu { level } => write!(f, "GNU gzip, level {}", level.0),
            Self::Busybox { level, size } => {
                let built = match size {
                    BusyboxSize::Small => "small",
                    BusyboxSize::Medium => "medium",
                    BusyboxSize::Large => "large",
                };
                write!(f, "BusyBox gzip, level {}, built {built}", level.0)
            }
        }
    }
}
