//! Owns compression: which one a layer's bytes have, and streams in and out of it.
//! The one home of `flate2` and `zstd`.

use std::io::{self, BufRead, Read, Write};

/// How a layer blob is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// What to make of bytes that are not compressed as their media type says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mislabelled {
    /// They are malformed: two readers would see two layers.
    #[default]
    Refuse,
    /// The bytes decide, with a warning.
    BytesDecide,
}

/// The largest zstd window taken, as a power of two: 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// Returns what the first bytes of a stream say.
    pub fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the name as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns a reader of the plain bytes of `from`.
    ///
    /// It ends with the last member or frame; zeros may follow (some tools pad), anything else is an error.
    pub fn reader<'a, R: BufRead + 'a>(self, from: R) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(from),
            Self::Gzip => Box::new(Members::new(from, Codec::Gzip)),
            Self::Zstd => Box::new(Members::new(from, Codec::Zstd)),
        })
    }

    /// Returns a writer that compresses into `to`; the same input gives the same bytes.
    pub fn writer<W: Write>(self, to: W) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::None => Compressor::None(to),
            Self::Gzip => {
                Compressor::Gzip(Even::new(flate2::write::GzEncoder::new(to, GZIP_STREAM)))
            }
            Self::Zstd => Compressor::Zstd(zstd::Encoder::new(to, 3)?),
        })
    }
}

/// Compresses what is written to it.
#[expect(missing_debug_implementations, reason = "the encoders have none")]
pub enum Compressor<W: Write> {
    /// Passes through.
    None(W),
    /// One gzip member.
    Gzip(Even<flate2::write::GzEncoder<W>>),
    /// One zstd frame.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Ends the stream and returns what it was written to.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(to) => Ok(to),
            Self::Gzip(encoder) => encoder.end()?.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(to) => to.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(to) => to.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// How hard a stream that is no blocks is deflated.
const GZIP_STREAM: flate2::Compression = flate2::Compression::new(6);

/// Deflates into memory.
pub(crate) type Deflater = Even<flate2::write::DeflateEncoder<Vec<u8>>>;

/// Hands on what is written in pieces of one length. What zlib-rs makes depends on how its input is cut.
#[derive(Debug)]
pub struct Even<W> {
    to: W,
    held: Vec<u8>,
}

impl<W: Write> Even<W> {
    const PIECE: usize = 128 << 10;

    fn new(to: W) -> Self {
        Self {
            to,
            held: Vec::with_capacity(Self::PIECE),
        }
    }

    /// Returns what it hands on to.
    pub(crate) fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }

    /// Hands on what is left; returns what it handed on to.
    fn end(mut self) -> io::Result<W> {
        self.hand_on()?;
        Ok(self.to)
    }

    /// Hands on what is held.
    pub(crate) fn hand_on(&mut self) -> io::Result<()> {
        self.to.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }
}

impl<W: Write> Write for Even<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(Self::PIECE - self.held.len());
        self.held.extend_from_slice(&bytes[..n]);
        if self.held.len() == Self::PIECE {
            self.hand_on()?;
        }
        Ok(n)
    }

    /// Does nothing: a piece that is cut short would change what comes after.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a writer of the deflate stream in the gzip member that [`Compression::writer`] makes.
pub(crate) fn deflater(to: Vec<u8>) -> Deflater {
    Even::new(flate2::write::DeflateEncoder::new(to, GZIP_STREAM))
}

/// How hard blocks are deflated: the next level takes a sixth longer, for a seventh of a percent.
const GZIP_LEVEL: u32 = 5;

/// The header of a gzip member that says nothing: no name, no time, no system (RFC 1952).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty block that is the last of a deflate stream (RFC 1951).
pub(crate) const DEFLATE_END: [u8; 2] = [3, 0];

/// Some plain bytes, compressed by themselves.
#[derive(Debug)]
pub struct Block {
    /// Their compressed bytes.
    pub bytes: Vec<u8>,
    sum: flate2::Crc,
}

/// A stream made of blocks that were compressed on their own, so that several can be at a time: its bytes depend on how
/// the plain bytes were cut, and on nothing else. With gzip it is one member, with zstd a frame a block.
#[derive(Debug)]
pub struct Blocks {
    compression: Compression,
    sum: flate2::Crc,
}

impl Blocks {
    /// Begins a stream.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            sum: flate2::Crc::new(),
        }
    }

    /// Returns how many plain bytes a block holds, but for the last.
    pub fn block_len(&self) -> usize {
        match self.compression {
            Compression::None | Compression::Gzip => 1 << 20,
            Compression::Zstd => 4 << 20,
        }
    }

    /// Returns what comes before the first block.
    pub fn head(&self) -> &'static [u8] {
        match self.compression {
            Compression::Gzip => &GZIP_HEAD,
            Compression::None | Compression::Zstd => &[],
        }
    }

    /// Counts in a block, in order.
    pub fn add(&mut self, block: &Block) {
        self.sum.combine(&block.sum);
    }

    /// Returns what comes after the last block.
    pub fn tail(&self) -> Vec<u8> {
        match self.compression {
            Compression::Gzip => [
                &DEFLATE_END[..],
                &self.sum.sum().to_le_bytes(),
                &self.sum.amount().to_le_bytes(),
            ]
            .concat(),
            Compression::None | Compression::Zstd => Vec::new(),
        }
    }
}

impl Compression {
    /// Compresses a block of [`Blocks`].
    pub fn block(self, plain: &[u8]) -> io::Result<Block> {
        let mut sum = flate2::Crc::new();
        let bytes = match self {
            Self::None => plain.to_vec(),
            Self::Gzip => {
                sum.update(plain);
                deflate(plain)?
            }
            Self::Zstd => zstd::bulk::compress(plain, 3)?,
        };
        Ok(Block { bytes, sum })
    }
}

/// Returns deflated bytes that end at a byte, and not the stream.
fn deflate(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflater = flate2::Compress::new(flate2::Compression::new(GZIP_LEVEL), false);
    // Room for what cannot be compressed: a second round would flush twice.
    let room = plain.len() + plain.len() / 8 + 1024;
    let mut bytes = Vec::with_capacity(room);
    loop {
        let used = usize::try_from(deflater.total_in()).unwrap_or(usize::MAX);
        deflater.compress_vec(&plain[used..], &mut bytes, flate2::FlushCompress::Sync)?;
        // Where room is left all was written.
        if bytes.len() < bytes.capacity() {
            return Ok(bytes);
        }
        bytes.reserve(room);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Gzip,
    Zstd,
}

/// Reads gzip members or zstd frames one after another, then zeros to the end.
///
/// The libraries' own multi-stream readers differ in what they let follow; this makes the rule one and ours.
struct Members<'a, R: BufRead> {
    state: State<'a, R>,
    codec: Codec,
}

enum State<'a, R: BufRead> {
    Between(R),
    Gzip(Box<flate2::bufread::GzDecoder<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'a, R>>),
    Done,
}

impl<R: BufRead> Members<'_, R> {
    fn new(from: R, codec: Codec) -> Self {
        Self {
            state: State::Between(from),
            codec,
        }
    }

    /// Begins the next member, or ends at the end of the input.
    fn begin(&mut self, mut from: R) -> io::Result<()> {
        let head = from.fill_buf()?;
        let more = matches!(
            (head.first(), self.codec),
            (None | Some(0), _)
                | (Some(0x1f), Codec::Gzip)
                | (Some(0x28 | 0x50..=0x5f), Codec::Zstd)
        );
        if !more {
            return Err(after_the_end());
        }
        self.state = match (head.first(), self.codec) {
            (None, _) => State::Done,
            (Some(0), _) => {
                skip_zeros(&mut from)?;
                State::Done
            }
            (Some(_), Codec::Gzip) => State::Gzip(Box::new(flate2::bufread::GzDecoder::new(from))),
            (Some(_), Codec::Zstd) => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
        };
        Ok(())
    }
}

impl<R: BufRead> Read for Members<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            let got = match &mut self.state {
                State::Done => return Ok(0),
                State::Between(_) => 0,
                State::Gzip(decoder) => decoder.read(to)?,
                State::Zstd(decoder) => decoder.read(to)?,
            };
            if got > 0 {
                return Ok(got);
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Between(from) => self.begin(from)?,
                State::Gzip(decoder) => self.state = State::Between(decoder.into_inner()),
                State::Zstd(decoder) => self.state = State::Between(decoder.finish()),
                State::Done => {}
            }
        }
    }
}

/// Returns how long each gzip member of `from` is, and how many plain bytes are in it. Zeros may follow the last.
///
/// Where there are more than `most`, returns one more than these.
pub fn member_lengths(from: impl BufRead, most: usize) -> io::Result<Vec<(u64, u64)>> {
    let mut from = Counting { from, read: 0 };
    let (mut members, mut sink) = (Vec::new(), io::sink());
    while from.fill_buf()?.first().is_some_and(|first| *first != 0) {
        let begin = from.read;
        let mut member = flate2::bufread::GzDecoder::new(from);
        let plain = io::copy(&mut member, &mut sink)?;
        from = member.into_inner();
        members.push((from.read - begin, plain));
        if members.len() > most {
            return Ok(members);
        }
    }
    skip_zeros(&mut from)?;
    Ok(members)
}

/// Counts what is taken.
struct Counting<R> {
    from: R,
    read: u64,
}

impl<R: BufRead> Read for Counting<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(to)?;
        self.read += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount as u64;
        self.from.consume(amount);
    }
}

fn after_the_end() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "other bytes follow it")
}

fn skip_zeros(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let rest = from.fill_buf()?;
        if rest.is_empty() {
            return Ok(());
        }
        if rest.iter().any(|b| *b != 0) {
            return Err(after_the_end());
        }
        let len = rest.len();
        from.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(compression: Compression, data: &[u8]) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new()).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unpack(compression: Compression, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        compression.reader(data)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn members_follow_each_other_and_zeros_may_pad() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut data = pack(compression, b"one");
            assert_eq!(Compression::sniff(&data), compression);
            data.extend(pack(compression, b""));
            data.extend(pack(compression, b"two"));
            assert_eq!(unpack(compression, &data).unwrap(), b"onetwo");
            data.extend([0; 700]);
            assert_eq!(unpack(compression, &data).unwrap(), b"onetwo");
            data.push(1);
            assert!(unpack(compression, &data).is_err());
        }
    }

    #[test]
    fn a_cut_off_stream_is_an_error() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let data = pack(compression, &[7; 10_000]);
            for cut in 1..data.len() {
                assert!(unpack(compression, &data[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn blocks_that_were_compressed_on_their_own_are_one_stream() {
        let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let noise: Vec<u8> = (0..100_000u64)
            .flat_map(|n| crate::digest::ContentId::of(&n.to_le_bytes()).0)
            .collect();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut blocks = Blocks::new(compression);
            let mut packed = blocks.head().to_vec();
            for part in [&text[..], b"x", &noise, b""] {
                let block = compression.block(part).unwrap();
                blocks.add(&block);
                packed.extend(&block.bytes);
            }
            packed.extend(blocks.tail());
            let plain = [&text[..], b"x", &noise].concat();
            assert_eq!(unpack(compression, &packed).unwrap(), plain);
        }
    }

    #[test]
    fn members_are_measured() {
        let (one, two) = (
            pack(Compression::Gzip, b"one"),
            pack(Compression::Gzip, &vec![7; 90_000]),
        );
        let lengths = [(one.len() as u64, 3), (two.len() as u64, 90_000)];
        let mut data = [one, two].concat();
        assert_eq!(member_lengths(&data[..], 2).unwrap(), lengths);
        data.extend([0; 700]);
        assert_eq!(member_lengths(&data[..], 2).unwrap(), lengths);
        data.push(1);
        assert!(member_lengths(&data[..], 2).is_err());
        assert_eq!(member_lengths(&data[..], 1).unwrap(), lengths);
    }

    #[test]
    fn a_skippable_zstd_frame_is_skipped() {
        let mut data = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        data.extend(pack(Compression::Zstd, b"x"));
        assert_eq!(unpack(Compression::Zstd, &data).unwrap(), b"x");
    }
}
