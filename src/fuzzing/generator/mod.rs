//! Owns making tars out of any bytes: mostly valid ones, of every dialect, with the oddities that tars have.

mod header;
mod sparse;

use super::bytes::Bytes;
use header::{BLOCK, Dialect, Head, Spelling, padded};
use sparse::{sparse_gnu, sparse_pax};

pub(super) use header::set_sum;

/// How long a generated tar may become, about.
const TAR_MAX: usize = 96 << 10;

/// Returns the tar that the bytes describe.
pub fn tar_of(data: &[u8]) -> Vec<u8> {
    let mut from = Bytes(data);
    let end = from.next();
    let (mut tar, mut names) = (Vec::new(), Vec::new());
    while !from.is_empty() && tar.len() < TAR_MAX {
        member(&mut from, &mut names, &mut tar);
    }
    match end % 8 {
        0 => {}
        1 => tar.extend([0; BLOCK]),
        2 => {
            let trimmed = tar.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            tar.truncate(trimmed);
        }
        3 => tar.extend([0; 3 * BLOCK + 7]),
        4 => {
            tar.extend([0; 2 * BLOCK]);
            tar.extend(from.take(8));
            tar.extend(b"after the end");
        }
        _ => tar.extend([0; 2 * BLOCK]),
    }
    tar
}

/// Adds one member: perhaps with extensions, mostly as its dialect has it.
fn member(from: &mut Bytes<'_>, names: &mut Vec<Vec<u8>>, tar: &mut Vec<u8>) {
    let (style, kind, odd) = (from.next(), from.next(), from.next());
    let dialect =
        [Dialect::Ustar, Dialect::Gnu, Dialect::V7, Dialect::Star][usize::from(style % 4)];
    let spelling = match style >> 2 & 7 {
        0 => Spelling::Spaces,
        1 if dialect != Dialect::V7 => Spelling::Base256,
        2 => Spelling::Full,
        _ => Spelling::Zeros,
    };
    let mut head = Head {
        dialect,
        spelling,
        kind: kind_of(kind),
        name: path(from),
        link: Vec::new(),
        size: 0,
        mode: u64::from(from.next()) << 2 | 0o400,
        owner: u64::from(from.next()),
        mtime: i64::from(from.next()) * 7_000_000,
        device: 0,
    };
    let mut data = Vec::new();
    match head.kind {
        b'1' => head.link = target(from, names),
        b'2' => head.link = path(from),
        b'3' | b'4' => head.device = u64::from(from.next()),
        b'5' | b'6' => {}
        b'S' => return sparse_gnu(from, head, tar),
        _ => {
            let len = from.next();
            data = content(from, len);
        }
    }
    if matches!(head.kind, b'0' | 0 | b'2' | b'6') {
        names.push(head.name.clone());
    }
    head.size = data.len() as u64;
    extensions(from, &mut head, &mut data, odd, tar);
    let mut block = head.block();
    match odd {
        250 => block[148] ^= 1,
        251 => head_with_garbage(from, &mut block),
        252 => tar.extend([0; BLOCK]),
        _ => {}
    }
    tar.extend(block);
    padded(&data, tar);
}

fn kind_of(byte: u8) -> u8 {
    match byte % 32 {
        9..=10 => 0,
        11..=14 => b'5',
        15..=18 => b'2',
        19..=22 => b'1',
        23 => b'6',
        24 => b'7',
        25..=27 => b'S',
        28 => b'3',
        29 => b'4',
        30 => b'V',
        _ => b'0',
    }
}

/// A path of a few names that meet each other often, sometimes long, sometimes odd.
fn path(from: &mut Bytes<'_>) -> Vec<u8> {
    const NAMES: [&[u8]; 16] = [
        b"a",
        b"b",
        b"c",
        b"d",
        b"a",
        b"b",
        b"dir",
        b"..",
        b".",
        b"\xff\xfe",
        b".wh.a",
        b".wh..wh..opq",
        b"e e",
        b"\\n",
        b".wh..wh.plnk",
        b"long",
    ];
    let shape = from.next();
    let mut path = Vec::new();
    if shape & 0x40 != 0 && shape & 1 != 0 {
        path.extend(b"./");
    }
    if shape & 0x20 != 0 && shape & 3 == 3 {
        path.push(b'/');
    }
    for i in 0..=(shape & 3) {
        if i > 0 {
            path.push(b'/');
        }
        let pick = from.next();
        match NAMES[usize::from(pick & 15)] {
            // A marker is the last name.
            name if name.starts_with(b".wh.") && i < shape & 3 && pick < 240 => path.push(b'w'),
            b"long" => path.extend(std::iter::repeat_n(b'x', usize::from(pick >> 4) * 14 + 1)),
            name => path.extend(name),
        }
    }
    if shape & 0x90 == 0x90 {
        path.push(b'/');
    }
    path
}

/// A link leads mostly to what is there.
fn target(from: &mut Bytes<'_>, names: &[Vec<u8>]) -> Vec<u8> {
    let pick = usize::from(from.next());
    match names.get(pick % names.len().max(1)) {
        Some(name) if pick < 240 => name.clone(),
        _ => path(from),
    }
}

fn content(from: &mut Bytes<'_>, len: u8) -> Vec<u8> {
    let fill = from.next();
    let len = match len {
        0..=200 => usize::from(len % 16),
        201..=240 => usize::from(len) * 5,
        _ => BLOCK * usize::from(len - 240),
    };
    vec![fill; len]
}

/// Puts extension headers before the member, for what its header cannot say and for what it could.
fn extensions(
    from: &mut Bytes<'_>,
    head: &mut Head,
    data: &mut Vec<u8>,
    odd: u8,
    tar: &mut Vec<u8>,
) {
    let wanted = from.next();
    let mut records = Vec::new();
    let long = head.name.len() > 100 || wanted & 3 == 3;
    if long {
        let name = std::mem::replace(&mut head.name, b"short".to_vec());
        if wanted & 4 == 0 {
            long_name(b'L', &name, tar);
        } else {
            record(&mut records, b"path", &name);
        }
    }
    if head.link.len() > 100 {
        let link = std::mem::replace(&mut head.link, b"short".to_vec());
        if wanted & 4 == 0 {
            long_name(b'K', &link, tar);
        } else {
            record(&mut records, b"linkpath", &link);
        }
    }
    if wanted & 0x18 == 0x18 {
        more_records(from, head, data, &mut records);
    }
    if odd == 249 {
        let mut global = Vec::new();
        record(&mut global, b"mtime", b"77.25");
        record(&mut global, b"comment", b"none");
        extension(b'g', &global, tar);
    }
    if !records.is_empty() {
        extension(b'x', &records, tar);
    }
}

/// Adds PAX records that say the same as the header, something else, or what only PAX says.
fn more_records(from: &mut Bytes<'_>, head: &mut Head, data: &mut Vec<u8>, records: &mut Vec<u8>) {
    let wanted = from.next();
    if wanted & 1 != 0 {
        let (whole, part) = (from.next(), from.next());
        let sign = if wanted & 2 != 0 { "-" } else { "" };
        record(
            records,
            b"mtime",
            format!("{sign}{whole}.{part}").as_bytes(),
        );
    }
    if wanted & 4 != 0 {
        record(records, b"uid", b"3000000");
        record(records, b"gid", b"");
    }
    if wanted & 8 != 0 && matches!(head.kind, b'0' | 0 | b'7') {
        record(records, b"size", data.len().to_string().as_bytes());
        head.size = u64::from(from.next());
    }
    if wanted & 16 != 0 {
        record(records, b"SCHILY.xattr.user.a", from.take(4));
        record(records, b"LIBARCHIVE.xattr.user.b%41", b"aGk");
    }
    if wanted & 0xc0 == 0xc0 && matches!(head.kind, b'0' | 0) {
        sparse_pax(from, head, data, records);
    }
}

fn record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    to.extend(len.to_string().as_bytes());
    to.push(b' ');
    to.extend(key);
    to.push(b'=');
    to.extend(value);
    to.push(b'\n');
}

fn long_name(kind: u8, name: &[u8], tar: &mut Vec<u8>) {
    let mut data = name.to_vec();
    data.push(0);
    extension(kind, &data, tar);
}

fn extension(kind: u8, data: &[u8], tar: &mut Vec<u8>) {
    let head = Head {
        dialect: if matches!(kind, b'L' | b'K') {
            Dialect::Gnu
        } else {
            Dialect::Ustar
        },
        spelling: Spelling::Zeros,
        kind,
        name: b"././@Extension".to_vec(),
        link: Vec::new(),
        size: data.len() as u64,
        mode: 0o644,
        owner: 0,
        mtime: 0,
        device: 0,
    };
    tar.extend(head.block());
    padded(data, tar);
}

/// Adds a member without metadata.
pub(super) fn plain_member((kind, name, link): (u8, &[u8], &[u8]), data: &[u8], tar: &mut Vec<u8>) {
    let head = Head {
        dialect: Dialect::Ustar,
        spelling: Spelling::Zeros,
        kind,
        name: name.to_vec(),
        link: link.to_vec(),
        size: data.len() as u64,
        mode: 0o644,
        owner: 0,
        mtime: 0,
        device: 0,
    };
    tar.extend(head.block());
    padded(data, tar);
}

/// Garbage where readers should not look, and where they should.
fn head_with_garbage(from: &mut Bytes<'_>, block: &mut [u8; BLOCK]) {
    let (at, byte) = (usize::from(from.next()) * 2, from.next());
    block[at] = byte;
    set_sum(block);
}

/// The property of tars, for the tar that the bytes describe.
pub fn differential(data: &[u8]) {
    super::tar::check(&tar_of(data));
}
