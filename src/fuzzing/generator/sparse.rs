//! Owns generated sparse files, in the old form of GNU and in the three of PAX.

use super::header::{BLOCK, Dialect, Head, Spelling, padded, set_sum};
use super::record;
use crate::fuzzing::bytes::Bytes;

/// Pieces in order, and the size of the file they are of; now and then one that does not fit.
fn pieces(from: &mut Bytes<'_>) -> (Vec<(u64, u64)>, u64) {
    let count = from.next() % 7;
    let mut pieces = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let (hole, len) = (u64::from(from.next()) * 64, u64::from(from.next()) * 8);
        pieces.push((at + hole, len));
        at += hole + len;
    }
    let rest = from.next();
    let size = if rest == 255 {
        at.saturating_sub(1)
    } else {
        at + u64::from(rest)
    };
    (pieces, size)
}

fn stored(pieces: &[(u64, u64)]) -> Vec<u8> {
    let len: u64 = pieces.iter().map(|(_, len)| len).sum();
    (0..len).map(|i| b'a' + (i % 23) as u8).collect()
}

/// Adds a member of type `S`.
pub(super) fn sparse_gnu(from: &mut Bytes<'_>, mut head: Head, tar: &mut Vec<u8>) {
    let (pieces, size) = pieces(from);
    let data = stored(&pieces);
    head.dialect = Dialect::Gnu;
    head.spelling = Spelling::Zeros;
    head.size = data.len() as u64;
    head.name.truncate(99);
    let mut block = head.block();
    let slot = |to: &mut [u8], (offset, len): (u64, u64)| {
        to[..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
        to[12..24].copy_from_slice(format!("{len:011o}\0").as_bytes());
    };
    let (first, more) = pieces.split_at(pieces.len().min(4));
    first
        .iter()
        .zip(block[386..].chunks_exact_mut(24))
        .for_each(|(piece, to)| slot(to, *piece));
    block[482] = u8::from(!more.is_empty());
    block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    set_sum(&mut block);
    tar.extend(block);
    if !more.is_empty() {
        let mut block = [0; BLOCK];
        more.iter()
            .zip(block.chunks_exact_mut(24))
            .for_each(|(piece, to)| slot(to, *piece));
        tar.extend(block);
    }
    padded(&data, tar);
}

/// Makes a member sparse in one of the three ways of PAX.
pub(super) fn sparse_pax(
    from: &mut Bytes<'_>,
    head: &mut Head,
    data: &mut Vec<u8>,
    records: &mut Vec<u8>,
) {
    let (pieces, size) = pieces(from);
    let size = size.to_string();
    *data = stored(&pieces);
    match from.next() % 3 {
        0 => {
            record(records, b"GNU.sparse.size", size.as_bytes());
            record(
                records,
                b"GNU.sparse.numblocks",
                pieces.len().to_string().as_bytes(),
            );
            for (offset, len) in &pieces {
                record(records, b"GNU.sparse.offset", offset.to_string().as_bytes());
                record(records, b"GNU.sparse.numbytes", len.to_string().as_bytes());
            }
        }
        1 => {
            let map: Vec<String> = pieces
                .iter()
                .map(|(offset, len)| format!("{offset},{len}"))
                .collect();
            record(records, b"GNU.sparse.size", size.as_bytes());
            record(
                records,
                b"GNU.sparse.numblocks",
                pieces.len().to_string().as_bytes(),
            );
            record(records, b"GNU.sparse.map", map.join(",").as_bytes());
        }
        _ => {
            let name = std::mem::replace(&mut head.name, b"GNUSparseFile.0/f".to_vec());
            record(records, b"GNU.sparse.major", b"1");
            record(records, b"GNU.sparse.minor", b"0");
            record(records, b"GNU.sparse.name", &name);
            record(records, b"GNU.sparse.realsize", size.as_bytes());
            let mut map = format!("{}\n", pieces.len());
            pieces
                .iter()
                .for_each(|(offset, len)| map.push_str(&format!("{offset}\n{len}\n")));
            let mut whole = Vec::new();
            padded(map.as_bytes(), &mut whole);
            whole.append(data);
            *data = whole;
        }
    }
    head.size = data.len() as u64;
}
