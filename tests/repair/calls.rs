//! Owns what is refused: sources with wrong bytes, calls that make no sense; and what a finding says.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::harm::{flip, open};
use crate::place::{PASSWD, Place, content, sample, snapshot, walk};

#[test]
fn a_source_with_wrong_bytes_under_right_digests_is_refused_and_nothing_is_changed() {
    let place = Place::plain();
    let layout = place.path("evil");
    let copied = std::process::Command::new("cp")
        .args(["-r", &sample()])
        .arg(&layout)
        .status();
    assert!(copied.unwrap().success());
    let mut blobs = Vec::new();
    walk(&layout.join("blobs"), &mut blobs);
    // Every layer is another's, and every plain tar has another content for what is wanted.
    let passwd = content(PASSWD);
    let good: Vec<Vec<u8>> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
    for (blob, bytes) in blobs.iter().zip(&good) {
        let at = bytes.windows(passwd.len()).position(|part| part == passwd);
        if let Some(at) = at {
            open(blob).write_all_at(b"evil", at as u64).unwrap();
        } else if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5]) {
            flip(blob);
        }
    }
    let object = place.object(PASSWD);
    for target in [object, place.recipe(&place.diff_id("sample:plain", 0))] {
        fs::remove_file(target).unwrap();
        let before = snapshot(&place);
        let value = place.fsck(&["--repair", "--from", layout.to_str().unwrap()], 3);
        assert!(value["repairs"].as_array().unwrap().is_empty(), "{value:#}");
        let refused = value["refused"].as_array().unwrap();
        let wrong = "its bytes are those of sha256:";
        assert!(
            refused
                .iter()
                .any(|refused| refused["why"].as_str().unwrap().contains(wrong)),
            "{value:#}"
        );
        assert!(snapshot(&place) == before);
    }
    place.repair(&["--from", layout.to_str().unwrap(), "--from", &sample()]);
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn calls_that_make_no_sense_are_refused_and_sources_that_are_not_there_change_nothing() {
    let place = Place::with_sample();
    assert_eq!(place.code(&["fsck", "--from", &sample()]), 64);
    assert_eq!(place.code(&["fsck", "--quick", "--repair"]), 64);
    flip(&place.object(PASSWD));
    let before = snapshot(&place);
    assert_eq!(
        place.code(&["fsck", "--repair", "--from", "oci:/nowhere"]),
        2
    );
    assert!(snapshot(&place) == before);
}

#[test]
fn damage_is_told_with_how_to_mend_it() {
    let place = Place::with_sample();
    flip(&place.object(PASSWD));
    let output = place.run(&["fsck"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("fsck --repair"), "{errors}");
}
