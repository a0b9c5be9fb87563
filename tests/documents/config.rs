//! `config`: what it changes, what it leaves, and what it is called.

use serde_json::json;

use crate::place::{EPOCH, Place};

#[test]
fn a_config_changes_and_layers_stay() {
    let place = Place::with_sample();
    let (before, layers) = (place.config("sample:1"), place.manifest("sample:1"));
    let set = ["--config", "env=A=1", "--config", "annotation=k=v"];
    let printed = place.ok(&[&["config", "sample:1", "-m", "why"], &set[..]].concat());
    assert_eq!(printed, format!("sample:1 {}\n", place.digest("sample:1")));
    let (config, manifest) = (place.config("sample:1"), place.manifest("sample:1"));
    assert_eq!(
        config["config"],
        json!({"Cmd": ["/bin/hello"], "Env": ["A=1"]})
    );
    assert_eq!(manifest["annotations"], json!({"k": "v"}));
    assert_eq!(manifest["layers"], layers["layers"]);
    let entry = json!({
        "created": EPOCH.1, "created_by": "ocistore config", "comment": "why", "empty_layer": true,
    });
    assert_eq!(config["history"].as_array().unwrap().last(), Some(&entry));
    for field in ["created", "architecture", "os", "rootfs"] {
        assert_eq!(config[field], before[field], "{field}");
    }
    place.ok(&["fsck"]);
}

#[test]
fn the_history_says_what_its_flags_say() {
    let place = Place::with_sample();
    let entries = |flags: &[&str]| {
        place.ok(&[
            &["config", "sample:1", "-t", "new", "--config", "author=me"],
            flags,
        ]
        .concat());
        place.config("new")["history"].as_array().unwrap()[2..].to_vec()
    };
    assert_eq!(entries(&["--no-history"]), [] as [serde_json::Value; 0]);
    let by = "ocistore config";
    let entry = json!({"created": EPOCH.1, "created_by": by, "author": "me", "empty_layer": true});
    assert_eq!(entries(&[]), [entry]);
    let created = "2026-11-24T17:35:00+01:00";
    let flags = ["--author", "you", "--created", created, "--created-by", "x"];
    let entry =
        json!({"created": created, "created_by": "x", "author": "you", "empty_layer": true});
    assert_eq!(entries(&flags), [entry]);
}

#[test]
fn the_same_change_gives_the_same_digest() {
    let place = Place::with_sample();
    let change = |tag: &str| {
        let args = ["config", "sample:1", "-q", "-t", tag, "--config", "user=1"];
        place.ok(&args)
    };
    assert_eq!(change("a"), change("b"));
    // A change that changes nothing gives the image that was there.
    let same = [
        "config",
        "sample:1",
        "-t",
        "c",
        "--config",
        "os=linux",
        "--no-history",
    ];
    place.ok(&same);
    assert_eq!(place.digest("c"), place.digest("sample:1"));
}

#[test]
fn a_new_image_takes_the_name_of_the_old_one_or_those_it_is_given() {
    let place = Place::with_sample();
    let old = place.digest("sample:1");
    let set = ["--config", "user=1"];
    let printed = place.ok(&[&["config", "sample:1", "-t", "a", "-t", "b:2"], &set[..]].concat());
    let new = place.digest("a");
    assert_eq!(printed, format!("a:latest {new}\nb:2 {new}\n"));
    assert_eq!(place.digest("sample:1"), old);
    let by_digest = [&["config", &old], &set[..]].concat();
    let (code, line) = place.fails(&by_digest);
    assert!(code == 64 && line.contains("--tag NEW"), "{line}");
    let tagged = format!("x@{old}");
    let (code, line) = place.fails(&[&["config", "a", "-t", &tagged], &set[..]].concat());
    assert!(code == 64 && line.contains("NAME[:TAG]"), "{line}");
}

#[test]
fn the_name_of_an_index_does_not_move() {
    let place = Place::with_sample();
    let index = place.digest("sample:multi");
    let change = ["config", "sample:multi", "--platform", "linux/arm64"];
    let set = ["--config", "user=1"];
    let (code, line) = place.fails(&[&change[..], &set].concat());
    assert!(code == 64 && line.contains("--tag NEW"), "{line}");
    place.ok(&[&change[..], &["-t", "arm"], &set].concat());
    assert_eq!(place.config("arm")["architecture"], "arm64");
    assert_eq!(place.digest("sample:multi"), index);
    let missing = [
        "config",
        "sample:multi",
        "--platform",
        "linux/s390x",
        "-t",
        "x",
    ];
    assert_eq!(place.fails(&[&missing[..], &set].concat()).0, 2);
}

#[test]
fn what_makes_no_sense_is_a_wrong_call_and_changes_nothing() {
    let place = Place::with_sample();
    let before = place.ok(&["images", "--digests"]);
    for (flags, says) in [
        (&["--config", "env=A"][..], "expected env=NAME=VALUE"),
        (&["--config", "colour=red"], "expected one of user, env"),
        (&["--clear", "os"], "has to say its os"),
        (&[], "nothing says what"),
        (&["--no-history"], "nothing says what"),
    ] {
        let (code, line) = place.fails(&[&["config", "sample:1"], flags].concat());
        assert!(code == 64 && line.contains(says), "{flags:?}: {line}");
    }
    let set = ["config", "sample:1", "--config", "user=1"];
    let output = place.run_at("yesterday", &set);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(
        place.fails(&["config", "nobody", "--config", "user=1"]).0,
        2
    );
    assert_eq!(place.ok(&["images", "--digests"]), before);
}

#[test]
fn an_image_that_lost_its_name_stays_whole_under_its_new_one() {
    let place = Place::with_sample();
    place.ok(&["config", "sample:1", "--config", "user=1"]);
    place.ok(&[
        "untag",
        "sample:2",
        "sample:zstd",
        "sample:plain",
        "sample:multi",
    ]);
    place.ok(&["gc"]);
    place.ok(&["fsck"]);
    place.ok(&["export", "sample:1", &format!("oci:{}", place.text("out"))]);
}
