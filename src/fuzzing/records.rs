//! The property of records: every decoder takes the one encoding of a value and no other.

use crate::codec::Cursor;
use crate::image::{Image, put_digest, take_digest};
use crate::recipe::{self, REF_LEN, Segment, SegmentWriter, Trailer};
use crate::rootfs::record::Record;
use crate::store::inodes::Given;
use crate::stream::StreamRecipe;
use crate::tree::Node;

/// What decodes, encodes to the same bytes. The first byte picks the record.
pub fn records(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let again = match which % 10 {
        0 => Node::decode(data).ok().map(|node| whole_node(&node)),
        1 => image(data),
        2 => Given::decode(data).ok().map(|given| given.encode()),
        3 => Trailer::decode(data).ok().map(|trailer| trailer.encode()),
        4 => reference(data),
        5 => digest(data),
        6 => return segments(data),
        7 => tree_record(data),
        8 => stream(data),
        _ => return joined_segments(data),
    };
    if let Some(again) = again {
        assert_eq!(
            again,
            data,
            "a record of kind {} has two spellings",
            which % 10
        );
    }
}

/// Encodes a node; its shape and sums are asked for too, since they are asked for wherever one is read.
fn whole_node(node: &Node) -> Vec<u8> {
    let bytes = node.encode();
    let _ = node.shape();
    assert!(
        node.entries
            .iter()
            .all(|(name, item)| node.get(name.as_bytes()) == Some(item))
    );
    bytes
}

/// An image is closed by a checksum, which no mutation meets: it is put right here.
fn image(data: &[u8]) -> Option<Vec<u8>> {
    let body = data.len().checked_sub(32)?;
    let mut summed = data.to_vec();
    let sum = crate::digest::ImageSum::of(&data[..body]);
    summed[body..].copy_from_slice(&sum.0);
    let again = Image::decode(&summed).ok()?.encode();
    assert_eq!(again, summed);
    Image::decode(data).ok().map(|image| image.encode())
}

/// The record of a tree is closed by a checksum, too.
fn tree_record(data: &[u8]) -> Option<Vec<u8>> {
    let body = data.len().checked_sub(32)?;
    let mut summed = data.to_vec();
    let sum = crate::digest::RecordSum::of(&data[..body]);
    summed[body..].copy_from_slice(&sum.0);
    let again = Record::decode(&summed).ok()?.encode();
    assert_eq!(again, summed);
    Record::decode(data).ok().map(|record| record.encode())
}

/// A compression recipe is closed by a checksum, too.
fn stream(data: &[u8]) -> Option<Vec<u8>> {
    let body = data.len().checked_sub(32)?;
    let mut summed = data.to_vec();
    let sum = crate::digest::StreamSum::of(&data[..body]);
    summed[body..].copy_from_slice(&sum.0);
    let again = StreamRecipe::decode(&summed).ok()?.encode();
    assert_eq!(again, summed);
    StreamRecipe::decode(data)
        .ok()
        .map(|recipe| recipe.encode())
}

fn reference(data: &[u8]) -> Option<Vec<u8>> {
    let bytes: &[u8; REF_LEN] = data.try_into().ok()?;
    recipe::decode_ref(bytes)
        .ok()
        .map(|content| recipe::encode_ref(&content).to_vec())
}

fn digest(data: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(data);
    let digest = take_digest(&mut cursor).ok()?;
    cursor.end().ok()?;
    let mut again = Vec::new();
    put_digest(&mut again, &digest);
    Some(again)
}

/// Every segment that is read, written alone, is as long as what was read, and reads as the same.
fn segments(data: &[u8]) {
    let mut rest = data;
    loop {
        let before = rest;
        match recipe::read_segment(&mut rest) {
            Err(_) | Ok(Segment::End) => return,
            Ok(segment) => {
                let used = before.len() - rest.len();
                let written = write(std::slice::from_ref(&segment));
                // Literals may be split in more ways than one; an empty one is not written at all.
                match &segment {
                    Segment::Literal(bytes)
                        if bytes.is_empty() || bytes.len() >= recipe::LITERAL_MAX => {}
                    _ => assert_eq!(written[..written.len() - 1], before[..used]),
                }
            }
        }
    }
}

/// A whole stream of segments, written and read again, is the same once neighbouring literals are joined.
fn joined_segments(data: &[u8]) {
    let Some(read) = read_all(data) else { return };
    let again = read_all(&write(&read));
    assert_eq!(again.map(join), Some(join(read)));
}

fn read_all(mut from: &[u8]) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    loop {
        match recipe::read_segment(&mut from).ok()? {
            Segment::End => return Some(segments),
            segment => segments.push(segment),
        }
    }
}

fn write(segments: &[Segment]) -> Vec<u8> {
    let mut writer = SegmentWriter::new(Vec::new());
    for segment in segments {
        match segment {
            Segment::Literal(bytes) => writer.literal(bytes),
            Segment::Whole => writer.whole(),
            Segment::Pieces(pieces) => writer.pieces(pieces),
            Segment::End => Ok(()),
        }
        .expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

fn join(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::new();
    for segment in segments {
        match (joined.last_mut(), segment) {
            (_, Segment::Literal(more)) if more.is_empty() => {}
            (Some(Segment::Literal(last)), Segment::Literal(more)) => last.extend(more),
            (_, segment) => joined.push(segment),
        }
    }
    joined
}
