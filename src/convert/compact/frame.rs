//! Owns taking a compressed blob apart without compressing anything: where its parts begin and end, and what their headers
//! say of who made them.

use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use super::Candidate;
use crate::compress::{Compression, member_lengths};
use crate::encoders::libzstd::FrameHints;
use crate::encoders::{Hints, Method};
use crate::error::{Context, Result};
use crate::gzip;

/// A blob, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frames {
    /// Its parts, in order; at least one.
    pub(super) parts: Vec<Frame>,
    /// Who may have made the largest part, the likeliest first.
    pub(super) methods: Vec<Method>,
    /// Whether there may be more parts than it seems.
    pub(super) is_guess: bool,
}

/// A part of a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// The bytes before the compressed stream.
    pub(super) head: Vec<u8>,
    /// Where in the blob the compressed stream begins.
    pub(super) begin: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// How many bytes of the tar are in it.
    pub(super) plain: u64,
    /// The bytes behind it.
    pub(super) tail: Vec<u8>,
}

impl Frames {
    /// Returns the largest part, by which who made all of them is found out.
    pub(super) fn largest(&self) -> Option<&Frame> {
        largest(&self.parts)
    }
}

fn largest(parts: &[Frame]) -> Option<&Frame> {
    parts.iter().max_by_key(|frame| frame.plain)
}

/// The bytes of a gzip member behind its stream: the checksum and the length (RFC 1952, 2.3.1).
const TRAILER: u64 = 8;

/// The longest header that is looked at.
const HEAD: usize = 64 << 10;

/// The most members that a blob may have: one a file, in those that can be read from the middle.
const MEMBERS: usize = 1 << 18;

/// The most bytes beside compressed streams: they all go into the compression recipe.
const BESIDE: usize = 8 << 20;

/// The longest tar that the slowest encoders are tried on: they take minutes for some hundred megabytes, and with worker threads
/// give nothing to compare before a part of that.
const SLOW_AT_MOST: u64 = 8 << 20;

/// The longest padding behind the last member that is kept.
const PADDING: u64 = 1 << 20;

/// What came of taking a blob apart: its parts, or why it has none that could be made again.
type Apart = Result<std::result::Result<Frames, &'static str>>;

/// Takes a blob apart whose tar has `tar_size` bytes, by its ends where these say that there is one part.
pub(super) fn at_a_glance(file: &File, candidate: &Candidate, tar_size: u64) -> Apart {
    let head = read_at(file, candidate, 0, HEAD)?;
    match Compression::sniff(&head) {
        Compression::Gzip => {}
        Compression::Zstd => return Ok(frames_of_zstd(&head, candidate, tar_size)),
        Compression::None => return Ok(Err("it is not compressed")),
    }
    match only_member(file, candidate, &head, tar_size)? {
        Some((frame, hints)) => Ok(Ok(Frames {
            parts: vec![frame],
            methods: Method::candidates(hints),
            is_guess: true,
        })),
        None => inflated(file, candidate, tar_size),
    }
}

/// Takes a blob of zstd for one frame, or for frames of our own: who made others is not known.
fn frames_of_zstd(
    head: &[u8],
    candidate: &Candidate,
    tar_size: u64,
) -> std::result::Result<Frames, &'static str> {
    let Some(hints) = FrameHints::parse(head) else {
        return Err("its zstd stream does not begin with a frame");
    };
    let mut methods: Vec<Method> = Method::of_blob(hints).into_iter().collect();
    if hints.size.is_none_or(|size| size == tar_size) {
        methods.extend(Method::of_frame(hints));
    }
    if tar_size > SLOW_AT_MOST && !methods.is_empty() {
        methods.retain(|method| !method.is_slow());
        if methods.is_empty() {
            return Err("its zstd level is too slow to be tried on so much");
        }
    }
    let parts = vec![Frame {
        head: Vec::new(),
        begin: 0,
        end: candidate.size,
        plain: tar_size,
        tail: Vec::new(),
    }];
    Ok(Frames {
        parts,
        methods,
        is_guess: false,
    })
}

/// Returns the only member of a blob, where the last bytes say that it is the only one.
fn only_member(
    file: &File,
    candidate: &Candidate,
    head: &[u8],
    tar_size: u64,
) -> Result<Option<(Frame, Hints)>> {
    let Some(header) = gzip::header(head) else {
        return Ok(None);
    };
    let begin = header.len as u64;
    let Some(end) = candidate
        .size
        .checked_sub(TRAILER)
        .filter(|end| *end > begin)
    else {
        return Ok(None);
    };
    let tail = read_at(file, candidate, end, 8)?;
    let says = u32::from_le_bytes([tail[4], tail[5], tail[6], tail[7]]);
    let frame = Frame {
        head: head[..header.len].to_vec(),
        begin,
        end,
        plain: tar_size,
        tail,
    };
    Ok((u64::from(says) == tar_size & 0xffff_ffff).then_some((frame, header.hints)))
}

/// Takes a blob of gzip apart by inflating all of it, to find where members end.
pub(super) fn inflated(file: &File, candidate: &Candidate, _tar_size: u64) -> Apart {
    let mut reader = file.try_clone().context("read the blob", candidate.blob)?;
    reader
        .seek(SeekFrom::Start(0))
        .context("read the blob", candidate.blob)?;
    let reader = BufReader::with_capacity(256 << 10, reader);
    let Ok(lengths) = member_lengths(reader, MEMBERS) else {
        return Ok(Err("its gzip stream is broken"));
    };
    if lengths.len() > MEMBERS {
        return Ok(Err("it has too many members"));
    }
    let (mut parts, mut at, mut beside) = (Vec::new(), 0, 0);
    let (mut hints, mut most) = (None, 0);
    for (len, plain) in lengths {
        let head = read_at(file, candidate, at, HEAD)?;
        let Some(header) = gzip::header(&head) else {
            return Ok(Err("a gzip header in it is too long"));
        };
        beside += header.len;
        if beside > BESIDE {
            return Ok(Err("its gzip headers take too much"));
        }
        if hints.is_none() || plain > most {
            (hints, most) = (Some(header.hints), plain);
        }
        let end = at + len - TRAILER;
        parts.push(Frame {
            head: head[..header.len].to_vec(),
            begin: at + header.len as u64,
            end,
            plain,
            tail: read_at(file, candidate, end, 8)?,
        });
        at += len;
    }
    let padding = candidate.size - at;
    match (parts.last_mut(), hints) {
        (Some(_), _) if padding > PADDING => Ok(Err("too much padding follows its last member")),
        (Some(last), Some(hints)) => {
            let len = usize::try_from(padding).unwrap_or_default();
            last.tail.extend(read_at(file, candidate, at, len)?);
            Ok(Ok(Frames {
                parts,
                methods: Method::candidates(hints),
                is_guess: false,
            }))
        }
        _ => Ok(Err("it is empty")),
    }
}

/// Reads up to `most` bytes.
pub(super) fn read_at(file: &File, candidate: &Candidate, at: u64, most: usize) -> Result<Vec<u8>> {
    let left = candidate.size.saturating_sub(at);
    let len = usize::try_from(left).map_or(most, |left| left.min(most));
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)
        .context("read the blob", candidate.blob)?;
    Ok(bytes)
}
