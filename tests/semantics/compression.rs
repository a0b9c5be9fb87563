//! The table "Compression and media types": what the bytes of a layer's blob are, and who decides.

use std::io::Write as _;

use flate2::{Compression, Crc};

use crate::layout::{self, LAYER, LAYER_GZIP, LAYER_ZSTD, Layer, gzip};
use crate::packed::{Member, frame, padded, skippable, zstd};
use crate::tarball::Tar;
use crate::world::{Imported, accepts, refuses};

type Pack = fn(&[u8]) -> Vec<u8>;

fn tar() -> Vec<u8> {
    Tar::new().file("f", "text").end()
}

/// Imports a blob that holds [`tar`].
#[track_caller]
fn holds(media_type: &str, blob: Vec<u8>) -> Imported {
    accepts([Layer::of(media_type, blob, &tar())])
        .tree(&["f=text"])
        .warns(&[])
}

/// Imports a blob that does not: the error names it and says `why`.
#[track_caller]
fn does_not_hold(media_type: &str, blob: Vec<u8>, why: &str) {
    let layer = Layer::of(media_type, blob, &tar());
    let digest = layer.descriptor()["digest"].as_str().unwrap().to_owned();
    refuses([layer], &[&digest, why]);
}

#[test]
fn gzip_members_one_after_another_are_one_stream() {
    let tar = tar();
    let (first, rest) = tar.split_at(700);
    let members = [gzip(first), gzip(b""), gzip(rest), gzip(b"")].concat();
    holds(LAYER_GZIP, members);
}

#[test]
fn a_gzip_member_a_byte_is_one_stream() {
    holds(LAYER_GZIP, tar().iter().flat_map(|b| gzip(&[*b])).collect());
}

#[test]
fn gzip_extra_name_comment_and_header_checksum_are_passed_over() {
    let fields: [&[fn(&mut Member)]; 5] = [
        &[|m| m.extra = Some(b"Ap\x02\x00xy".to_vec())],
        &[|m| m.name = Some(b"../../etc/passwd".to_vec())],
        &[|m| m.comment = Some(b"\xff not UTF-8".to_vec())],
        &[|m| m.header_checksum = true],
        &[
            |m| m.extra = Some(vec![7; 65_535]),
            |m| m.name = Some(vec![b'n'; 60_000]),
            |m| m.comment = Some(Vec::new()),
            |m| m.header_checksum = true,
            |m| m.text = true,
        ],
    ];
    for set in fields {
        let mut member = Member::of(&tar());
        set.iter().for_each(|set| set(&mut member));
        holds(LAYER_GZIP, member.bytes());
    }
}

#[test]
fn zero_padding_after_gzip_is_passed_over_and_kept() {
    for zeros in [1, 511, 300_000] {
        holds(LAYER_GZIP, padded(gzip(&tar()), zeros));
    }
}

#[test]
fn zstd_frames_one_after_another_are_one_stream() {
    let tar = tar();
    let (first, rest) = tar.split_at(700);
    holds(LAYER_ZSTD, [zstd(first), zstd(b""), zstd(rest)].concat());
}

#[test]
fn skippable_zstd_frames_are_passed_over_wherever_they_are() {
    let tar = tar();
    let (first, rest) = tar.split_at(700);
    let (first, rest) = (zstd(first), zstd(rest));
    for skip in [skippable(0, b""), skippable(15, &vec![1; 100_000])] {
        holds(LAYER_ZSTD, [&skip[..], &first, &rest].concat());
        holds(LAYER_ZSTD, [&first, &skip[..], &rest].concat());
        holds(LAYER_ZSTD, [&first, &rest, &skip[..]].concat());
        holds(LAYER_ZSTD, padded([&first, &rest, &skip[..]].concat(), 9));
    }
}

#[test]
fn zero_padding_after_zstd_is_passed_over_and_kept() {
    for zeros in [1, 3, 300_000] {
        holds(LAYER_ZSTD, padded(zstd(&tar()), zeros));
    }
}

#[test]
fn a_zstd_checksum_is_checked() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&tar()).unwrap();
    let mut blob = encoder.finish().unwrap();
    holds(LAYER_ZSTD, blob.clone());
    *blob.last_mut().unwrap() ^= 1;
    does_not_hold(LAYER_ZSTD, blob, "its zstd stream is broken");
}

#[test]
fn a_zstd_window_of_128_mib_is_taken_and_a_larger_one_refused() {
    // Window descriptor: five bits of exponent over 2¹⁰, three bits of eighths (RFC 8878, 3.1.1.1.2).
    holds(LAYER_ZSTD, frame(17 << 3, &tar()));
    for window in [(17 << 3) + 1, 18 << 3, 31 << 3] {
        let blob = frame(window, &tar());
        does_not_hold(LAYER_ZSTD, blob, "its zstd stream is broken");
    }
}

#[test]
fn a_zstd_window_of_128_mib_is_taken_from_a_real_encoder() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&tar()).unwrap();
    holds(LAYER_ZSTD, encoder.finish().unwrap());
}

#[test]
fn a_zstd_frame_that_wants_a_dictionary_is_refused() {
    let mut blob = frame(0, &tar());
    // The descriptor's lowest two bits say that one byte of a dictionary's number follows the window.
    blob[4] |= 1;
    blob.insert(6, 9);
    does_not_hold(LAYER_ZSTD, blob, "its zstd stream is broken");
}

#[test]
fn other_bytes_after_the_stream_are_refused() {
    for (media_type, blob, other) in [
        (LAYER_GZIP, gzip(&tar()), zstd(b"")),
        (LAYER_ZSTD, zstd(&tar()), gzip(b"")),
    ] {
        let trails: [&[u8]; 6] = [b"x", b"\0\0x", &other, b"\0\x1f\x8b", &[0, blob[0]], &tar()];
        for trail in trails {
            let long = [&blob[..], trail].concat();
            does_not_hold(media_type, long, "stream is broken");
        }
        // A member that begins and ends at once.
        does_not_hold(media_type, [&blob, &blob[..3]].concat(), "stream is broken");
        // The second is whole, but zeros have ended the stream.
        let late = [&padded(blob.clone(), 5), &blob[..]].concat();
        does_not_hold(media_type, late, "other bytes follow it");
    }
}

#[test]
fn a_truncated_stream_is_refused_wherever_it_is_cut() {
    for (media_type, blob) in [(LAYER_GZIP, gzip(&tar())), (LAYER_ZSTD, zstd(&tar()))] {
        for cut in [5, 11, blob.len() / 2, blob.len() - 9, blob.len() - 1] {
            does_not_hold(media_type, blob[..cut].to_vec(), "stream is broken");
        }
    }
}

#[test]
fn a_gzip_member_whose_checksum_or_length_is_wrong_is_refused() {
    let blob = gzip(&tar());
    for back in [1, 5] {
        let mut wrong = blob.clone();
        let at = wrong.len() - back;
        wrong[at] ^= 1;
        does_not_hold(LAYER_GZIP, wrong, "its gzip stream is broken");
    }
    let mut member = Member::of(&tar());
    member.header_checksum = true;
    let mut wrong = member.bytes();
    wrong[10] ^= 1;
    does_not_hold(LAYER_GZIP, wrong, "its gzip stream is broken");
}

#[test]
fn a_gzip_member_of_another_method_or_with_reserved_flags_is_refused() {
    let mut method = gzip(&tar());
    method[2] = 7;
    does_not_hold(LAYER_GZIP, method, "its gzip stream is broken");
    let mut flags = gzip(&tar());
    flags[3] = 0x20;
    does_not_hold(LAYER_GZIP, flags, "its gzip stream is broken");
}

#[test]
fn a_compressed_blob_of_no_bytes_is_refused() {
    for (media_type, name) in [(LAYER_GZIP, "gzip"), (LAYER_ZSTD, "zstd")] {
        let blob = Layer::of(media_type, Vec::new(), b"");
        refuses([blob], &[&format!("says compression {name}")]);
    }
}

#[test]
fn a_blob_that_inflates_to_nothing_is_an_empty_layer() {
    for (media_type, blob) in [
        (LAYER, Vec::new()),
        (LAYER_GZIP, gzip(b"")),
        (LAYER_ZSTD, zstd(b"")),
        (LAYER_ZSTD, skippable(3, b"nothing else")),
    ] {
        accepts([Layer::of(media_type, blob, b"")])
            .tree(&[])
            .warns(&[]);
    }
}

#[test]
fn bytes_that_are_not_what_the_media_type_says_are_refused() {
    let packed: [(&str, &str, Pack); 3] = [
        (LAYER, "none", <[u8]>::to_vec),
        (LAYER_GZIP, "gzip", gzip),
        (LAYER_ZSTD, "zstd", zstd),
    ];
    for (media_type, said, _) in packed {
        for (_, is, pack) in packed.iter().filter(|(other, ..)| *other != media_type) {
            let why = format!("its media type says compression {said}, its bytes {is}");
            does_not_hold(media_type, pack(&tar()), &why);
        }
    }
}

#[test]
fn a_plain_blob_that_is_no_tar_is_refused() {
    for blob in [&b"BZh91AY&SY"[..], b"\xfd7zXZ\0", b"{}", &[b'x'; 600]] {
        let layer = Layer::plain(blob);
        let digest = layer.descriptor()["digest"].as_str().unwrap().to_owned();
        refuses([layer], &[&digest, "at byte 0"]);
    }
}

#[test]
fn the_deflate_stream_may_be_stored_fixed_or_dynamic() {
    for level in [0, 1, 9] {
        let mut member = Member::of(&tar());
        member.level = Compression::new(level);
        holds(LAYER_GZIP, member.bytes());
    }
    let mut crc = Crc::new();
    crc.update(&tar());
    assert_eq!(crc.amount(), u32::try_from(tar().len()).unwrap());
}

#[test]
fn a_layer_that_comes_twice_in_two_compressions_is_one_layer() {
    let tar = tar();
    let imported = accepts([Layer::gzip(&tar), Layer::zstd(&tar), Layer::plain(&tar)]);
    assert_eq!(imported.report["layers"]["new"], 1);
    assert_eq!(imported.report["layers"]["known"], 2);
    let blobs = layout::blobs_in(&imported.world().path("copy"));
    // Three layers, a config and a manifest.
    assert_eq!(blobs.len(), 5);
    imported.tree(&["f=text"]);
}
