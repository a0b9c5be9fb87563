//! Owns what becomes of whole stores: what was lost together, what is kept, and what cannot be mended.

use std::fs;

use crate::harm::{chmod, flip, open};
use crate::place::{NAMES, PASSWD, Place, kinds_of, only, sample, snapshot};

#[test]
fn somebodys_work_is_kept_byte_for_byte() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    let link = place.path("tree").join(PASSWD);
    fs::write(&link, "three days of work").unwrap();
    let repairs = place.repair(&[]);
    let kept = repairs[0]["kept_as"].as_str().unwrap();
    let id = repairs[0]["object"].as_str().unwrap().replace('/', "");
    let id = id.strip_prefix("objects").unwrap();
    assert_eq!(kept, format!("lost+found/object-{id}.0"));
    for path in [&link, &place.path("store").join(kept)] {
        assert_eq!(fs::read(path).unwrap(), b"three days of work");
    }
    place.is_as_new(&NAMES);
    // It is no stray, and no garbage.
    assert!(
        place.fsck(&[], 0)["report"]["strays"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    place.ok(&["untag", "sample:1"]);
    place.ok(&["gc"]);
    assert_eq!(
        fs::read(place.path("store").join(kept)).unwrap(),
        b"three days of work"
    );
    // The same file again does not replace what was kept before.
    place.ok(&["checkout", "sample:2", &place.text("tree2")]);
    fs::write(place.path("tree2").join(PASSWD), "more of it").unwrap();
    let again = place.repair(&[]);
    assert_eq!(again[0]["kept_as"], format!("lost+found/object-{id}.1"));
    assert_eq!(fs::read(&link).unwrap(), b"three days of work");
}

#[test]
fn all_files_of_a_store_come_back_from_a_source_as_long_as_there_are_names() {
    let part = Place::with_sample();
    part.ok(&["export", "sample:1", &part.text("part")]);
    let place = Place::with_sample();
    for folder in ["objects", "layers", "blobs"] {
        for path in place.files(folder) {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    // What the source does not have is told, and what it has is mended.
    let left = place.fsck(&["--repair", "--from", &part.text("part")], 3);
    assert!(!left["repairs"].as_array().unwrap().is_empty());
    place.checks_out("sample:1");
    place.repair(&["--from", &sample()]);
    place.fsck(&[], 0);
    place.checks_out("sample:2");
}

#[test]
fn who_died_after_a_file_was_moved_away_left_it_missing_and_the_next_repair_mends_it() {
    for kept_layers in [true, false] {
        let place = match kept_layers {
            true => Place::with_sample(),
            false => Place::plain(),
        };
        let object = place.object(PASSWD);
        chmod(&object, 0o600);
        // What `detach` does, and then nothing.
        let lost = place.path("store/lost+found");
        fs::create_dir(&lost).unwrap();
        let below = object.strip_prefix(place.path("store/objects")).unwrap();
        let id = below.to_str().unwrap().replace('/', "");
        let kept = lost.join(format!("object-{id}.0"));
        fs::rename(&object, &kept).unwrap();
        let from = only(&place.repair(&[]), "missing");
        // Where no layer is kept its bytes are there and nowhere else.
        assert_eq!(from, format!("lost+found/object-{id}.0"));
        assert!(kept.is_file());
        place.is_as_new(match kept_layers {
            true => &NAMES,
            false => &["sample:plain"],
        });
    }
}

#[test]
fn a_second_repair_does_nothing() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("tree")]);
    fs::write(place.path("tree").join(PASSWD), "work").unwrap();
    flip(&place.recipe(&place.diff_id("sample:1", 0)));
    flip(&place.object("bin/hello"));
    assert_eq!(place.repair(&["--from", &sample()]).len(), 3);
    let before = snapshot(&place);
    assert!(place.repair(&["--from", &sample()]).is_empty());
    assert!(snapshot(&place) == before);
}

#[test]
fn what_cannot_be_mended_is_named_and_takes_down_nothing_else() {
    let place = Place::new(&["--blobs", "drop", &sample()]);
    flip(&place.object("etc/motd"));
    let before = snapshot(&place);
    let left = place.fsck(&["--repair"], 3);
    assert!(left["repairs"].as_array().unwrap().is_empty());
    let unmended = &left["unmended"][0];
    assert_eq!(unmended["kind"], "flipped");
    assert_eq!(unmended["paths"][0], "/etc/motd");
    assert!(!unmended["images"].as_array().unwrap().is_empty());
    // Damage that cannot be mended stays where it is: nothing of it is hidden.
    assert!(snapshot(&place) == before);
    place.ok(&["checkout", "--path", "usr", "sample:1", &place.text("part")]);
    let text = place.run(&["fsck", "--repair"]);
    let errors = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(errors.contains("--from"), "{errors}");
    assert!(String::from_utf8_lossy(&text.stdout).contains("unmended  flipped objects/"));
}

#[test]
fn a_store_without_a_catalog_is_of_use_though_a_layer_is_beyond_mending() {
    let place = Place::new(&["--blobs", "drop", &sample()]);
    let layer = place.diff_id("sample:2", 2);
    fs::remove_file(place.recipe(&layer)).unwrap();
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    assert_ne!(place.code(&["images"]), 0);
    let left = place.fsck(&["--repair"], 3);
    assert!(kinds_of(&left["unmended"]).contains(&"recipe_missing".to_owned()));
    place.checks_out("sample:1");
    place.repair(&["--from", &sample()]);
    place.checks_out("sample:2");
}

#[test]
fn a_catalog_that_is_torn_is_made_anew() {
    for len in [0, 100, 5_000, 20_000] {
        let place = Place::with_sample();
        open(&place.path("store/catalog.redb"))
            .set_len(len)
            .unwrap();
        place.fsck(&["--repair"], 0);
        place.is_as_new(&NAMES);
    }
}
