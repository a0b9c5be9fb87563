//! Owns the recipe of a layer: every byte of its tar that is not a file's content, in order, and which contents
//! go between. Byte by byte in `docs/format.md`, "Recipe".
//!
//! A recipe file is `magic, body, references, trailer`. The body is a zstd frame of segments, written while the
//! layer streams past; the references follow uncompressed, at a place the trailer names, so that whoever only
//! wants to know what a layer needs inflates nothing.

use std::io::{self, BufRead, Read, Write};

use crate::codec::{Cursor, DecodeError, put_varint};
use crate::digest::{ContentId, DiffId, RecipeSum};
use crate::image::{put_digest, take_digest};

/// The first bytes of every recipe file; the last of them is the version.
pub const MAGIC: &[u8; 8] = b"ocircpe\x01";

/// The length of one reference: an id and a little-endian size.
pub const REF_LEN: usize = 40;

/// The length of the trailer's checksum and of the length field before it.
pub const TAIL_LEN: usize = 32 + 2;

/// A content that a layer's tar carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentRef {
    /// Its name.
    pub id: ContentId,
    /// Its length, holes filled in; at least 1.
    pub size: u64,
}

/// What a recipe says of itself and of its layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The length of the tar in bytes.
    pub tar_size: u64,
    /// How many entries the layer has.
    pub entries: u64,
    /// The length of the body in bytes.
    pub body_len: u64,
    /// How many references follow the body.
    pub refs: u64,
}

impl Trailer {
    /// Returns the canonical bytes, without length and checksum.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            diff_id,
            tar_size,
            entries,
            body_len,
            refs,
        } = self;
        let mut to = Vec::with_capacity(128);
        put_digest(&mut to, &diff_id.0);
        for value in [tar_size, entries, body_len, refs] {
            put_varint(&mut to, *value);
        }
        to
    }

    /// Decodes canonical bytes, and nothing else.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(data);
        let trailer = Self {
            diff_id: DiffId(take_digest(&mut cursor)?),
            tar_size: cursor.varint()?,
            entries: cursor.varint()?,
            body_len: cursor.varint()?,
            refs: cursor.varint()?,
        };
        cursor.end()?;
        Ok(trailer)
    }
}

/// Returns the bytes of one reference.
pub fn encode_ref(content: &ContentRef) -> [u8; REF_LEN] {
    let mut to = [0; REF_LEN];
    to[..32].copy_from_slice(&content.id.0);
    to[32..].copy_from_slice(&content.size.to_le_bytes());
    to
}

/// Reads one reference.
pub fn decode_ref(from: &[u8; REF_LEN]) -> Result<ContentRef, DecodeError> {
    let mut cursor = Cursor::new(from);
    let id = ContentId(cursor.array()?);
    match u64::from_le_bytes(cursor.array()?) {
        0 => Err(cursor.bad("size")),
        size => Ok(ContentRef { id, size }),
    }
}

/// Returns the end of a recipe file: trailer, its length, and the checksum of all before the checksum.
pub fn encode_tail(trailer: &Trailer, sum: impl FnOnce(&[u8]) -> RecipeSum) -> Vec<u8> {
    let mut tail = trailer.encode();
    let len = u16::try_from(tail.len()).unwrap_or(u16::MAX);
    tail.extend_from_slice(&len.to_le_bytes());
    let sum = sum(&tail);
    tail.extend_from_slice(&sum.0);
    tail
}

/// One step of the tar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    /// Bytes as they stand here.
    Literal(Vec<u8>),
    /// The next content, whole.
    Whole,
    /// Pieces of the next content: a sparse file's data without its holes.
    Pieces(Vec<Piece>),
    /// The end of the tar.
    End,
}

/// A run of a content's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// The longest literal that one segment holds; a longer one is several.
pub const LITERAL_MAX: usize = 64 << 10;

/// The most pieces that one content may be in.
pub const PIECES_MAX: usize = 1 << 20;

const END: u8 = 0;
const LITERAL: u8 = 1;
const WHOLE: u8 = 2;
const PIECES: u8 = 3;

/// Writes segments, joining literals.
#[derive(Debug)]
pub struct SegmentWriter<W: Write> {
    to: W,
    literal: Vec<u8>,
}

impl<W: Write> SegmentWriter<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self {
            to,
            literal: Vec::new(),
        }
    }

    /// Adds bytes that stand in the tar as they are.
    pub fn literal(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.literal.len() + bytes.len() >= LITERAL_MAX {
            let (now, later) = bytes.split_at(LITERAL_MAX - self.literal.len());
            self.literal.extend_from_slice(now);
            self.flush_literal()?;
            bytes = later;
        }
        self.literal.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds the next content, whole.
    pub fn whole(&mut self) -> io::Result<()> {
        self.flush_literal()?;
        self.to.write_all(&[WHOLE])
    }

    /// Adds pieces of the next content.
    pub fn pieces(&mut self, pieces: &[Piece]) -> io::Result<()> {
        self.flush_literal()?;
        let mut record = vec![PIECES];
        put_varint(&mut record, pieces.len() as u64);
        for Piece { offset, len } in pieces {
            put_varint(&mut record, *offset);
            put_varint(&mut record, *len);
        }
        self.to.write_all(&record)
    }

    /// Ends the tar.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_literal()?;
        self.to.write_all(&[END])?;
        Ok(self.to)
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if self.literal.is_empty() {
            return Ok(());
        }
        let mut head = vec![LITERAL];
        put_varint(&mut head, self.literal.len() as u64);
        self.to.write_all(&head)?;
        self.to.write_all(&self.literal)?;
        self.literal.clear();
        Ok(())
    }
}

/// Reads the next segment; a malformed one is `InvalidData`.
pub fn read_segment(from: &mut impl BufRead) -> io::Result<Segment> {
    match read_byte(from)? {
        END => Ok(Segment::End),
        LITERAL => {
            let len = read_bounded(from, LITERAL_MAX)?;
            let mut bytes = vec![0; len];
            from.read_exact(&mut bytes)?;
            Ok(Segment::Literal(bytes))
        }
        WHOLE => Ok(Segment::Whole),
        PIECES => {
            let count = read_bounded(from, PIECES_MAX)?;
            let mut pieces = Vec::new();
            for _ in 0..count {
                pieces.push(Piece {
                    offset: read_varint(from)?,
                    len: read_varint(from)?,
                });
            }
            Ok(Segment::Pieces(pieces))
        }
        _ => Err(invalid("segment")),
    }
}

fn read_bounded(from: &mut impl BufRead, most: usize) -> io::Result<usize> {
    match usize::try_from(read_varint(from)?) {
        Ok(value) if value <= most => Ok(value),
        _ => Err(invalid("length in a recipe")),
    }
}

fn read_varint(from: &mut impl BufRead) -> io::Result<u64> {
    let mut bytes = Vec::with_capacity(10);
    loop {
        let byte = read_byte(from)?;
        bytes.push(byte);
        if byte & 0x80 == 0 || bytes.len() == 10 {
            return Cursor::new(&bytes)
                .varint()
                .map_err(|_| invalid("varint in a recipe"));
        }
    }
}

fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn step() -> impl Strategy<Value = Segment> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..50).prop_map(Segment::Literal),
            Just(Segment::Whole),
            prop::collection::vec((any::<u64>(), any::<u64>()), 0..4).prop_map(|p| {
                Segment::Pieces(
                    p.into_iter()
                        .map(|(offset, len)| Piece { offset, len })
                        .collect(),
                )
            }),
        ]
    }

    fn write(steps: &[Segment]) -> Vec<u8> {
        let mut writer = SegmentWriter::new(Vec::new());
        for step in steps {
            match step {
                Segment::Literal(bytes) => writer.literal(bytes).unwrap(),
                Segment::Whole => writer.whole().unwrap(),
                Segment::Pieces(pieces) => writer.pieces(pieces).unwrap(),
                Segment::End => {}
            }
        }
        writer.finish().unwrap()
    }

    fn join(steps: Vec<Segment>) -> Vec<Segment> {
        let mut joined: Vec<Segment> = Vec::new();
        for step in steps {
            match (joined.last_mut(), step) {
                (Some(Segment::Literal(last)), Segment::Literal(more)) => last.extend(more),
                (_, step) => joined.push(step),
            }
        }
        joined
    }

    proptest! {
        #[test]
        fn segments_come_back(steps in prop::collection::vec(step(), 0..20)) {
            let bytes = write(&steps);
            let mut from = &bytes[..];
            let mut back = Vec::new();
            loop {
                match read_segment(&mut from).unwrap() {
                    Segment::End => break,
                    segment => back.push(segment),
                }
            }
            prop_assert!(from.is_empty());
            prop_assert_eq!(back, join(steps));
        }
    }

    #[test]
    fn a_long_literal_is_split() {
        let bytes = write(&[Segment::Literal(vec![7; LITERAL_MAX * 2 + 5])]);
        let mut from = &bytes[..];
        let mut total = 0;
        while let Segment::Literal(part) = read_segment(&mut from).unwrap() {
            assert!(part.len() <= LITERAL_MAX);
            total += part.len();
        }
        assert_eq!(total, LITERAL_MAX * 2 + 5);
    }

    #[test]
    fn a_trailer_comes_back_from_its_bytes() {
        let diff_id = DiffId(Digest::sha256(b"tar"));
        let trailer = Trailer {
            diff_id,
            tar_size: 1,
            entries: 2,
            body_len: 300,
            refs: 4,
        };
        assert_eq!(Trailer::decode(&trailer.encode()).unwrap(), trailer);
    }
}
