//! Owns the structures of an EROFS image, byte by byte: superblock, inode, directory blocks.
//!
//! The names are those of the kernel's `fs/erofs/erofs_fs.h`. All numbers are little-endian.

use crate::meta::Mtime;

/// The size of a block.
pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
pub(super) const BLOCK_BYTES: usize = 4096;

/// Where the superblock is, in a block that holds nothing else: its checksum is of the rest of that block.
const SUPER_OFFSET: usize = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
const BLOCK_BITS: u8 = 12;

/// Checksum of the superblock, and inodes that have the time of their last modification.
const COMPATIBLE: u32 = 0x1 | 0x2;
/// Files in chunks.
const INCOMPATIBLE: u32 = 0x4;

/// The size of an inode (`struct erofs_inode_extended`).
pub(super) const INODE: u64 = INODE_BYTES as u64;
const INODE_BYTES: usize = 64;

/// What an inode's number counts: `nid` × 32 is where it is, since the area of inodes begins with the image.
const SLOT: u64 = 32;

/// A chunk as large as can be, 8 TiB: one entry tells that a file has no data in the image.
const CHUNK_BITS: u32 = 12 + CHUNK_FORMAT as u32;
const CHUNK_FORMAT: u16 = 31;
/// The address of what is not in the image.
const NO_ADDRESS: u32 = u32::MAX;

/// How an inode's data is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Data {
    /// In whole blocks, from this one on. Also what has no data.
    Plain { block: u32 },
    /// In whole blocks from this one on, and the rest behind the inode.
    Inline { block: u32 },
    /// A device: its numbers.
    Device { rdev: u32 },
    /// Nowhere in the image: all of it is a hole.
    Elsewhere,
}

/// An inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    /// Type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    pub(super) size: u64,
    pub(super) links: u32,
    /// The bytes of its attributes.
    pub(super) xattrs: u64,
    pub(super) data: Data,
}

/// Where an inode has its number of links.
pub(super) const LINKS_AT: u64 = LINKS as u64;
const LINKS: usize = 44;

impl Inode {
    /// Returns the bytes.
    pub(super) fn encode(&self, nid: u64) -> [u8; INODE_BYTES] {
        const EXTENDED: u16 = 1;
        let (layout, union) = match self.data {
            Data::Plain { block } => (0, block),
            Data::Device { rdev } => (0, rdev),
            Data::Inline { block } => (2, block),
            Data::Elsewhere => (4, u32::from(CHUNK_FORMAT)),
        };
        let mut to = [0; INODE_BYTES];
        let mut put = |at: usize, bytes: &[u8]| to[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(EXTENDED | layout << 1).to_le_bytes());
        put(2, &xattr_count(self.xattrs).to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &union.to_le_bytes());
        // What 32-bit programs see: the number as far as it goes.
        put(20, &low(nid).to_le_bytes());
        put(24, &self.uid.to_le_bytes());
        put(28, &self.gid.to_le_bytes());
        put(32, &self.mtime.secs.to_le_bytes());
        put(40, &self.mtime.nanos.to_le_bytes());
        put(LINKS, &self.links.to_le_bytes());
        to
    }
}

/// Returns the lower half.
fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

/// Returns how an inode says how long its attributes are: in words of 4 bytes, the header of 12 as one.
fn xattr_count(bytes: u64) -> u16 {
    match bytes {
        0 => 0,
        _ => u16::try_from((bytes - 12) / 4 + 1).unwrap_or(u16::MAX),
    }
}

/// Returns an inode's number.
pub(super) fn nid(at: u64) -> u64 {
    at / SLOT
}

/// Returns how many bytes of chunk entries a file of this size has behind its inode.
pub(super) fn chunk_entries(size: u64) -> u64 {
    4 * size.div_ceil(1 << CHUNK_BITS)
}

/// Returns the chunk entries of so many bytes: holes, all of them.
pub(super) fn holes(bytes: u64) -> impl Iterator<Item = u8> {
    (0..bytes).map(|_| NO_ADDRESS.to_le_bytes()[0])
}

/// Returns a device's numbers as the kernel writes them, unless they are larger than it knows.
pub(super) fn rdev(major: u32, minor: u32) -> Option<u32> {
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// What a name in a directory leads to.
#[derive(Clone, Debug)]
pub(super) struct Dirent {
    pub(super) name: Box<[u8]>,
    pub(super) nid: u64,
    pub(super) kind: FileType,
}

/// The type of an inode, as a directory tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum FileType {
    Regular = 1,
    Directory = 2,
    Char = 3,
    Block = 4,
    Fifo = 5,
    Symlink = 7,
}

impl FileType {
    /// Returns its bits of a mode.
    pub(super) fn mode(self) -> u16 {
        match self {
            Self::Regular => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Char => 0o020_000,
            Self::Block => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Symlink => 0o120_000,
        }
    }
}

/// The bytes of an entry of a directory without its name.
const DIRENT: usize = 12;

/// Returns how large a directory of names with these lengths, in order, is.
pub(super) fn directory_size(lengths: impl Iterator<Item = usize>) -> u64 {
    let (mut blocks, mut used) = (0, 0);
    for length in lengths {
        if used + DIRENT + length > BLOCK_BYTES {
            (blocks, used) = (blocks + 1, 0);
        }
        used += DIRENT + length;
    }
    blocks * BLOCK + used as u64
}

/// Returns a directory's bytes; its entries are sorted by name, `.` and `..` among them.
///
/// Each block has its own entries first and their names behind them.
pub(super) fn directory(entries: &[Dirent]) -> Vec<u8> {
    let mut to = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut used = 0;
        let fits = rest.iter().take_while(|entry| {
            used += DIRENT + entry.name.len();
            used <= BLOCK_BYTES
        });
        let (block, later) = rest.split_at(fits.count());
        put_block(&mut to, block);
        rest = later;
        if !rest.is_empty() {
            to.resize(to.len().next_multiple_of(BLOCK_BYTES), 0);
        }
    }
    to
}

fn put_block(to: &mut Vec<u8>, entries: &[Dirent]) {
    let mut name_at = entries.len() * DIRENT;
    for Dirent { name, nid, kind } in entries {
        to.extend_from_slice(&nid.to_le_bytes());
        to.extend_from_slice(&u16::try_from(name_at).unwrap_or_default().to_le_bytes());
        to.extend_from_slice(&[*kind as u8, 0]);
        name_at += name.len();
    }
    for entry in entries {
        to.extend_from_slice(&entry.name);
    }
}

/// What an image says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Super {
    pub(super) root: u64,
    pub(super) inodes: u64,
    /// The length of the image, in blocks.
    pub(super) blocks: u32,
    pub(super) uuid: [u8; 16],
}

impl Super {
    /// Returns the image's first block.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = vec![0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            let at = SUPER_OFFSET + at;
            to[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK_BITS]);
        // The root is the first inode: its number is small.
        put(
            14,
            &u16::try_from(self.root).unwrap_or_default().to_le_bytes(),
        );
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(48, &self.uuid);
        put(64, b"ocistore");
        put(80, &INCOMPATIBLE.to_le_bytes());
        let checksum = crc32c(&to[SUPER_OFFSET..]);
        to[SUPER_OFFSET + 4..SUPER_OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
        to
    }
}

/// Returns the CRC-32C as EROFS takes it: begun with ones, not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            1 => crc >> 1 ^ POLYNOMIAL,
            _ => crc >> 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of CRC-32C, which inverts at the end.
        assert_eq!(!crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_directory_is_as_large_as_was_said_before() {
        for count in [1_usize, 15, 16, 17, 200, 4000] {
            let name = |at: usize| vec![b'x'; at * 7 % 255 + 1].into_boxed_slice();
            let entries: Vec<Dirent> = (0..count)
                .map(|at| Dirent {
                    name: name(at),
                    nid: at as u64,
                    kind: FileType::Fifo,
                })
                .collect();
            let size = directory_size(entries.iter().map(|entry| entry.name.len()));
            assert_eq!(directory(&entries).len() as u64, size, "{count}");
        }
    }

    #[test]
    fn a_block_that_is_full_to_the_byte_is_one_block() {
        let lengths = || [4096 - 15 * 267 - 12].into_iter().chain([255; 15]);
        assert_eq!(directory_size(lengths()), 4096);
        let entries: Vec<Dirent> = lengths()
            .map(|length| Dirent {
                name: vec![b'x'; length].into(),
                nid: 1,
                kind: FileType::Regular,
            })
            .collect();
        assert_eq!(directory(&entries).len(), 4096);
    }

    #[test]
    fn devices_are_as_the_kernel_writes_them() {
        assert_eq!(rdev(1, 3), Some(0x103));
        assert_eq!(rdev(0xfff, 0xf_ffff), Some(u32::MAX));
        assert_eq!((rdev(0x1000, 0), rdev(0, 0x10_0000)), (None, None));
    }
}
