//! Owns building tars byte by byte, those that no library would write too.

/// The unit of a tar.
pub const BLOCK: usize = 512;

/// A tar header, ustar unless said otherwise.
#[derive(Clone)]
pub struct Header {
    block: [u8; BLOCK],
    /// Whether the size field is what was asked for, not what the data is.
    sized: bool,
    /// Whether the checksum field is what was asked for.
    summed: bool,
}

impl Header {
    /// Returns a POSIX header of mode 0644, or 0755 for a directory, owned by 0:0, of 1970.
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mut header = Self {
            block: [0; BLOCK],
            sized: false,
            summed: false,
        };
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        header = header
            .field(0, name.as_ref())
            .mode(mode)
            .uid(0)
            .gid(0)
            .mtime(0)
            .field(257, b"ustar\x0000");
        header.block[156] = kind;
        header
    }

    /// Returns one of the dialect before POSIX: no magic, no prefix, type NUL.
    pub fn v7(name: impl AsRef<[u8]>) -> Self {
        Self::new(0, name).field(257, &[0; 8])
    }

    /// Returns one of GNU's dialect.
    pub fn gnu(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self::new(kind, name).field(257, b"ustar  \0")
    }

    /// Puts raw bytes at an offset; NULs stay where they are shorter than the field.
    pub fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn mode(self, mode: u32) -> Self {
        self.field(100, format!("{mode:07o}\0").as_bytes())
    }

    pub fn uid(self, uid: u32) -> Self {
        self.field(108, format!("{uid:07o}\0").as_bytes())
    }

    pub fn gid(self, gid: u32) -> Self {
        self.field(116, format!("{gid:07o}\0").as_bytes())
    }

    /// Sets the size field, whatever the data.
    pub fn size(mut self, size: u64) -> Self {
        self.sized = true;
        self.field(124, &number(size))
    }

    /// Sets the size field's raw bytes.
    pub fn raw_size(mut self, bytes: &[u8; 12]) -> Self {
        self.sized = true;
        self.field(124, bytes)
    }

    pub fn mtime(self, secs: u64) -> Self {
        self.field(136, format!("{secs:011o}\0").as_bytes())
    }

    pub fn link(self, target: impl AsRef<[u8]>) -> Self {
        self.field(157, target.as_ref())
    }

    pub fn device(self, major: u32, minor: u32) -> Self {
        self.field(329, format!("{major:07o}\0{minor:07o}\0").as_bytes())
    }

    pub fn prefix(self, prefix: &str) -> Self {
        self.field(345, prefix.as_bytes())
    }

    /// Sets the checksum field, right or wrong.
    pub fn checksum(mut self, sum: u32) -> Self {
        self.summed = true;
        self.field(148, format!("{sum:06o}\0 ").as_bytes())
    }

    /// Returns the sum of the bytes, each taken as `value` takes it.
    pub fn sum(&self, value: impl Fn(u8) -> i64) -> i64 {
        let spaced = self.clone().field(148, b"        ");
        spaced.block.iter().map(|b| value(*b)).sum()
    }

    fn finish(self, data: usize) -> [u8; BLOCK] {
        let sized = if self.sized {
            self
        } else {
            self.size(data as u64)
        };
        if sized.summed {
            return sized.block;
        }
        let sum = u32::try_from(sized.sum(i64::from)).unwrap();
        sized.checksum(sum).block
    }
}

/// A tar on its way.
#[derive(Clone, Default)]
pub struct Tar {
    pub bytes: Vec<u8>,
    /// Where the last entry begins.
    pub at: usize,
    /// Whether the last header was an extension of the entry to come.
    extending: bool,
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry: header, data, padding.
    pub fn add(mut self, header: Header, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let kind = header.block[156];
        if !self.extending {
            self.at = self.bytes.len();
        }
        self.extending = matches!(kind, b'x' | b'X' | b'L' | b'K');
        self.bytes.extend(header.finish(data.len()));
        self.bytes.extend(data);
        let full = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(full, 0);
        self
    }

    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.add(Header::new(b'0', name), data)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.add(Header::new(b'5', name), "")
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(Header::new(b'2', name).link(target).mode(0o777), "")
    }

    pub fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(Header::new(b'1', name).link(target), "")
    }

    pub fn fifo(self, name: impl AsRef<[u8]>) -> Self {
        self.add(Header::new(b'6', name), "")
    }

    pub fn char(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.add(Header::new(b'3', name).device(major, minor), "")
    }

    pub fn block(self, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        self.add(Header::new(b'4', name).device(major, minor), "")
    }

    /// Adds a PAX header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'x', records)
    }

    /// Adds a PAX header for all entries that follow.
    pub fn global(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'g', records)
    }

    fn extension(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
        self.raw_extension(kind, data)
    }

    /// Adds an extension header of any data: `x`, `X`, `g`, `L` or `K`.
    pub fn raw_extension(self, kind: u8, data: impl AsRef<[u8]>) -> Self {
        let header = match kind {
            b'L' | b'K' => Header::gnu(kind, "././@LongLink"),
            _ => Header::new(kind, "PaxHeaders/x"),
        };
        self.add(header, data)
    }

    /// Adds a GNU long name for the next entry.
    pub fn long_name(self, name: impl AsRef<[u8]>) -> Self {
        self.raw_extension(b'L', [name.as_ref(), b"\0"].concat())
    }

    /// Adds a GNU long target for the next entry.
    pub fn long_link(self, target: impl AsRef<[u8]>) -> Self {
        self.raw_extension(b'K', [target.as_ref(), b"\0"].concat())
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend(bytes.as_ref());
        self
    }

    /// Takes bytes off the end.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - bytes);
        self
    }

    /// Adds the two blocks of zeros that end a tar.
    pub fn end(self) -> Vec<u8> {
        self.raw([0; 2 * BLOCK]).bytes
    }
}

/// Returns a PAX record, its length included in itself.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut len = rest.len();
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    [len.to_string().as_bytes(), &rest].concat()
}

/// Returns a number as GNU writes what octal digits cannot hold: base 256, big endian, first bit set.
pub fn base256<const N: usize>(value: i128) -> [u8; N] {
    let bytes = value.to_be_bytes();
    let mut field = [0; N];
    field.copy_from_slice(&bytes[16 - N..]);
    field[0] |= 0x80;
    field
}

/// A sparse file: its name, its size, and what of it is no hole.
#[derive(Clone)]
pub struct Sparse<'a> {
    pub name: &'a str,
    pub size: u64,
    pub pieces: Vec<(u64, &'a [u8])>,
}

impl Sparse<'_> {
    /// Returns the file's content.
    pub fn content(&self) -> Vec<u8> {
        let mut content = vec![0; usize::try_from(self.size).unwrap()];
        for (offset, data) in &self.pieces {
            let at = usize::try_from(*offset).unwrap();
            content[at..at + data.len()].copy_from_slice(data);
        }
        content
    }

    fn data(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|(_, data)| data.to_vec())
            .collect()
    }

    /// Adds it in each of the four forms.
    pub fn forms(&self, tar: &Tar) -> [(&'static str, Tar); 4] {
        [
            ("old GNU", self.gnu(tar.clone())),
            ("PAX 0.0", self.pax00(tar.clone())),
            ("PAX 0.1", self.pax01(tar.clone())),
            ("PAX 1.0", self.pax10(tar.clone())),
        ]
    }

    /// Adds it as old GNU tars have it: four pieces in the header, 21 in each block after it.
    pub fn gnu(&self, tar: Tar) -> Tar {
        let data = self.data();
        let slot = |(offset, data): &(u64, &[u8])| slot(*offset, data.len() as u64);
        let slots: Vec<[u8; 24]> = self.pieces.iter().map(slot).collect();
        let (first, rest) = slots.split_at(slots.len().min(4));
        let mut header = Header::gnu(b'S', self.name)
            .size(data.len() as u64)
            .field(483, &number(self.size))
            .field(386, &first.concat());
        header.block[482] = u8::from(!rest.is_empty());
        let mut more = Vec::new();
        let mut blocks = rest.chunks(21).peekable();
        while let Some(slots) = blocks.next() {
            let mut block = slots.concat();
            block.resize(BLOCK, 0);
            block[504] = u8::from(blocks.peek().is_some());
            more.extend(block);
        }
        let padding = vec![0; data.len().next_multiple_of(BLOCK) - data.len()];
        tar.add(header, "").raw(more).raw(data).raw(padding)
    }

    /// Adds it as GNU tar's first PAX form has it: a record for each number.
    pub fn pax00(&self, tar: Tar) -> Tar {
        let mut records = record("GNU.sparse.size", self.size.to_string().as_bytes());
        let count = self.pieces.len().to_string();
        records.extend(record("GNU.sparse.numblocks", count.as_bytes()));
        for (offset, data) in &self.pieces {
            records.extend(record("GNU.sparse.offset", offset.to_string().as_bytes()));
            records.extend(record(
                "GNU.sparse.numbytes",
                data.len().to_string().as_bytes(),
            ));
        }
        tar.raw_extension(b'x', records)
            .file(self.name, self.data())
    }

    /// Adds it as GNU tar's second PAX form has it: one record of all numbers.
    pub fn pax01(&self, tar: Tar) -> Tar {
        let numbers = |(offset, data): &(u64, &[u8])| format!("{offset},{}", data.len());
        let map: Vec<String> = self.pieces.iter().map(numbers).collect();
        tar.pax(&[
            ("GNU.sparse.size", self.size.to_string().as_bytes()),
            (
                "GNU.sparse.numblocks",
                self.pieces.len().to_string().as_bytes(),
            ),
            ("GNU.sparse.name", self.name.as_bytes()),
            ("GNU.sparse.map", map.join(",").as_bytes()),
        ])
        .file("GNUSparseFile.1/x", self.data())
    }

    /// Adds it as GNU tar's third PAX form has it: the numbers before the data.
    pub fn pax10(&self, tar: Tar) -> Tar {
        let mut data = format!("{}\n", self.pieces.len());
        for (offset, piece) in &self.pieces {
            data += &format!("{offset}\n{}\n", piece.len());
        }
        let mut data = data.into_bytes();
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        data.extend(self.data());
        self.pax10_of(tar, data)
    }

    /// As [`Sparse::pax10`], with any numbers and data.
    pub fn pax10_of(&self, tar: Tar, data: impl AsRef<[u8]>) -> Tar {
        tar.pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", self.name.as_bytes()),
            ("GNU.sparse.realsize", self.size.to_string().as_bytes()),
        ])
        .file("GNUSparseFile.1/x", data)
    }
}

/// Returns a size as GNU tar writes it: in base 256 where octal digits cannot hold it.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value >= 1 << 33 {
        return base256(i128::from(value));
    }
    field.copy_from_slice(format!("{value:011o}\0").as_bytes());
    field
}

/// Returns where a piece of a sparse file is, as old GNU tars write it.
pub fn slot(offset: u64, len: u64) -> [u8; 24] {
    let mut slot = [0; 24];
    slot.copy_from_slice(format!("{offset:011o}\0{len:011o}\0").as_bytes());
    slot
}
