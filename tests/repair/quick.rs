//! Owns what the quick check finds, and what it leaves to the full one.

use std::fs;
use std::os::unix::fs::FileExt as _;

use serde_json::Value;

use crate::harm::{Damage, chmod, flip, open};
use crate::place::{PASSWD, Place};

#[test]
fn a_quick_check_finds_what_was_written_through_links_and_reads_no_object() {
    let harms: [(&str, Damage); 5] = [
        ("other bytes, the same length", |path| {
            open(path).write_all_at(b"X", 0).unwrap();
        }),
        ("another length", |path| open(path).set_len(1).unwrap()),
        ("another mode", |path| chmod(path, 0o666)),
        ("another time", |path| {
            open(path).set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
        ("nothing", |path| fs::remove_file(path).unwrap()),
    ];
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    let quick = place.fsck(&["--quick"], 0);
    let full = place.fsck(&[], 0);
    assert_eq!(
        (&quick["quick"], &full["quick"]),
        (&true.into(), &false.into())
    );
    let read = |value: &Value| value["report"]["checked"]["bytes"].as_u64().unwrap();
    assert!(read(&quick) < read(&full) / 4);
    for (what, harm) in harms {
        let place = Place::with_sample();
        place.ok(&["checkout", "sample:1", &place.text("tree")]);
        let target = match what {
            "nothing" => place.object(PASSWD),
            _ => place.path("tree").join(PASSWD),
        };
        harm(&target);
        let found = place.fsck(&["--quick"], 3);
        let finding = &found["report"]["findings"][0];
        assert_eq!(finding["paths"][0], "/etc/passwd", "{what}");
        // An inode beside the object, too: the setuid one has metadata of its own.
        let place = Place::with_sample();
        place.ok(&["checkout", "sample:1", &place.text("tree")]);
        if what != "nothing" {
            harm(&place.path("tree/bin/hello-setuid"));
            assert_eq!(place.kinds(&["--quick"]).len(), 1, "{what}");
        }
    }
}

#[test]
fn a_quick_check_says_that_it_was_quick_and_bad_hardware_is_for_the_full_one() {
    let place = Place::with_sample();
    assert!(place.ok(&["fsck", "--quick"]).contains("quick check"));
    assert!(!place.ok(&["fsck"]).contains("quick check"));
    flip(&place.object(PASSWD));
    place.fsck(&["--quick"], 0);
    place.fsck(&[], 3);
    open(&place.blob(&place.layer("sample:1", 0)))
        .set_len(9)
        .unwrap();
    assert_eq!(place.kinds(&["--quick"]), ["blob_damaged"]);
}
