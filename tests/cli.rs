//! The program from outside: streams, exit codes, and the main job on the sample.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it removes is its own"
)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A store of its own, beside a folder to write to.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A place whose store has the sample.
    fn with_sample() -> Self {
        let place = Self::new();
        place.ok(&["import", sample().to_str().unwrap()]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("ocistore").unwrap();
        command
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what has to fail; returns its exit code and the first line it said.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} should fail");
        assert!(output.stdout.is_empty(), "{args:?} printed a result");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code().unwrap(),
            errors.lines().next().unwrap_or_default().to_owned(),
        )
    }

    fn json(&self, args: &[&str]) -> Value {
        let value: Value = serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap();
        assert_eq!(value["schema"], 1, "{args:?}");
        value
    }

    /// Lists all files below a folder of the store.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path("store").join(folder), &mut found);
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample")
}

fn copy_folder(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(done.success());
}

/// Returns every blob of a layout by its path.
fn blobs(layout: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths = Vec::new();
    walk(&layout.join("blobs"), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|p| {
            (
                p.strip_prefix(layout).unwrap().to_owned(),
                fs::read(&p).unwrap(),
            )
        })
        .collect()
}

#[test]
fn import_prints_a_name_and_a_digest_a_line() {
    let place = Place::new();
    let printed = place.ok(&["import", sample().to_str().unwrap()]);
    let names: Vec<&str> = printed
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "sample:1",
            "sample:2",
            "sample:zstd",
            "sample:plain",
            "sample:multi"
        ]
    );
    let quiet = place.ok(&["import", "-q", &format!("oci:{}:2", sample().display())]);
    assert_eq!(
        quiet.trim(),
        printed.lines().nth(1).unwrap().split(' ').nth(1).unwrap()
    );
}

#[test]
fn every_blob_comes_back_byte_for_byte() {
    let place = Place::with_sample();
    let to = place.text("out");
    let names = [
        "sample:1",
        "sample:2",
        "sample:zstd",
        "sample:plain",
        "sample:multi",
    ];
    place.ok(&[&["export"], &names[..], &[&format!("oci:{to}")]].concat());
    assert_eq!(blobs(Path::new(&to)), blobs(&sample()));
    let archive = place.text("out.tar");
    place.ok(&[
        &["export"],
        &names[..],
        &[&format!("oci-archive:{archive}")],
    ]
    .concat());
    let other = Place::new();
    other.ok(&["import", &format!("oci-archive:{archive}")]);
    let again = other.text("again");
    other.ok(&[
        "export",
        "out:1",
        "out:2",
        "out:zstd",
        "out:plain",
        "out:multi",
        &again,
    ]);
    assert_eq!(blobs(Path::new(&again)), blobs(&sample()));
}

#[test]
fn dropped_blobs_come_back_as_the_same_tars_and_that_is_said() {
    let place = Place::new();
    place.ok(&["import", "--blobs", "drop", sample().to_str().unwrap()]);
    let to = place.text("out");
    let report = place.json(&["export", "sample:2", &to]);
    assert!(!report["new_digests"].as_array().unwrap().is_empty());
    let other = Place::new();
    // Import checks every diff_id: the tars are those of the original.
    other.ok(&["import", &to]);
    let tree = |place: &Place, name: &str| {
        let target = place.text("tree");
        place.ok(&["checkout", name, &target]);
        target
    };
    let (a, b) = (tree(&place, "sample:2"), tree(&other, "out:2"));
    let same = std::process::Command::new("diff")
        .args(["-r", "--no-dereference", &a, &b])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&same.stdout);
    assert!(text.lines().all(|line| line.contains("is a ")), "{text}");
}

#[test]
fn an_import_of_what_is_there_writes_no_file_again() {
    let place = Place::with_sample();
    let report = place.json(&["import", sample().to_str().unwrap()]);
    assert_eq!(report["objects"]["new"], 0);
    assert_eq!(report["layers"]["new"], 0);
}

#[test]
fn a_checkout_is_hard_links_with_the_images_own_metadata() {
    let place = Place::with_sample();
    let target = place.text("tree");
    let report = place.json(&["checkout", "sample:1", &target]);
    assert!(report["report"]["linked"]["files"].as_u64().unwrap() > 0);
    let hello = fs::metadata(place.path("tree/bin/hello")).unwrap();
    let welcome = fs::metadata(place.path("tree/bin/welcome")).unwrap();
    assert_eq!(hello.ino(), welcome.ino(), "a link group of the image");
    assert!(hello.nlink() > 3, "the store has a link too");
    let same_bytes = fs::metadata(place.path("tree/bin/hello-setuid")).unwrap();
    assert_ne!(hello.ino(), same_bytes.ino());
    assert_eq!(same_bytes.mode() & 0o7777, 0o4755);
}

#[test]
fn a_file_changed_through_a_link_is_noticed_and_not_handed_out_again() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("first")]);
    let victim = place.path("first/etc/motd");
    let mut text = fs::read(&victim).unwrap();
    text.push(b'!');
    let file = fs::OpenOptions::new().write(true).open(&victim).unwrap();
    std::io::Write::write_all(&mut &file, &text).unwrap();
    let (code, line) = place.fails(&["checkout", "sample:1", &place.text("second")]);
    assert_eq!(code, 3, "{line}");
    assert!(line.contains("motd") && line.contains("size"), "{line}");
    assert!(!place.path("second").exists());
    let output = place.run(&["fsck"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("etc/motd"));
}

#[test]
fn untagging_all_and_collecting_leaves_no_file() {
    let place = Place::with_sample();
    let names = [
        "sample:1",
        "sample:2",
        "sample:zstd",
        "sample:plain",
        "sample:multi",
    ];
    place.ok(&["checkout", "sample:2", &place.text("tree")]);
    place.ok(&[&["untag"], &names[..4]].concat());
    place.ok(&["gc"]);
    place.ok(&["checkout", "sample:multi", &place.text("still")]);
    place.ok(&["fsck"]);
    place.ok(&["untag", "sample:multi"]);
    let dry = place.json(&["gc", "--dry-run"]);
    assert!(!place.files("objects").is_empty());
    let real = place.json(&["gc"]);
    assert_eq!(dry["report"], real["report"]);
    fs::remove_dir_all(place.path("tree")).unwrap();
    fs::remove_dir_all(place.path("still")).unwrap();
    place.ok(&["gc"]);
    for folder in ["objects", "inodes", "layers", "blobs", "tmp", "trash"] {
        assert_eq!(place.files(folder), Vec::<PathBuf>::new(), "{folder}");
    }
    place.ok(&["fsck"]);
}

#[test]
fn a_lost_or_torn_catalog_is_made_again_with_all_names() {
    let place = Place::with_sample();
    let before = place.json(&["images"]);
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    assert_eq!(place.json(&["images"]), before);
    place.ok(&["fsck"]);
    let torn = fs::OpenOptions::new()
        .write(true)
        .open(place.path("store/catalog.redb"))
        .unwrap();
    torn.set_len(4096).unwrap();
    assert_eq!(place.json(&["images"]), before);
    place.ok(&["checkout", "sample:2", &place.text("tree")]);
    place.ok(&["fsck"]);
}

#[test]
fn an_object_whose_metadata_came_from_a_collected_layer_outlives_the_catalog() {
    let place = Place::with_sample();
    place.ok(&["checkout", "sample:1", &place.text("before")]);
    // What the file shows is as if the layer that brought its content first had been collected.
    for object in place.files("objects") {
        fs::set_permissions(&object, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    }
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    place.ok(&["fsck"]);
    place.ok(&["checkout", "sample:1", &place.text("after")]);
    let setuid = fs::metadata(place.path("after/bin/hello-setuid")).unwrap();
    assert_eq!(setuid.mode() & 0o7777, 0o4755);
    // Wrong bytes are noticed all the same.
    let object = place.files("objects").pop().unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(object).unwrap();
    std::io::Write::write_all(&mut file, b"!").unwrap();
    fs::remove_file(place.path("store/catalog.redb")).unwrap();
    assert_eq!(place.run(&["fsck"]).status.code(), Some(3));
}

#[test]
fn importing_again_brings_back_what_is_missing_or_changed() {
    let place = Place::with_sample();
    let objects = place.files("objects");
    fs::remove_file(&objects[0]).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&objects[1])
        .unwrap();
    file.set_len(1).unwrap();
    assert_eq!(place.run(&["fsck"]).status.code(), Some(3));
    place.ok(&["import", sample().to_str().unwrap()]);
    place.ok(&["fsck"]);
}

#[test]
fn checkouts_side_by_side_do_not_disturb_each_other() {
    let place = Place::with_sample();
    let names = ["sample:1", "sample:2", "sample:zstd", "sample:plain"];
    std::thread::scope(|scope| {
        for round in 0..24 {
            let (place, name) = (&place, names[round % names.len()]);
            scope
                .spawn(move || place.ok(&["checkout", name, &place.text(&format!("tree{round}"))]));
        }
    });
    place.ok(&["fsck"]);
}

#[test]
fn imports_side_by_side_record_what_is_in_place() {
    let place = Place::new();
    place.ok(&["init"]);
    std::thread::scope(|scope| {
        for tag in ["1", "2", "zstd", "plain", "multi", "1", "2"] {
            let place = &place;
            scope
                .spawn(move || place.ok(&["import", &format!("oci:{}:{tag}", sample().display())]));
        }
    });
    place.ok(&["fsck"]);
    for tag in ["1", "2", "zstd", "plain"] {
        place.ok(&["checkout", &format!("sample:{tag}"), &place.text(tag)]);
    }
}

#[test]
fn an_image_below_nested_indexes_is_found_by_its_own_platform() {
    let place = Place::new();
    let layout = place.path("layout");
    copy_folder(&sample(), &layout);
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut image = index["manifests"][0].clone();
    image.as_object_mut().unwrap().remove("annotations");
    let media_type = "application/vnd.oci.image.index.v1+json";
    let put = |name: &str, child: &Value| {
        let text = serde_json::json!({"schemaVersion": 2, "manifests": [child]}).to_string();
        let digest = ocistore::digest::Digest::sha256(text.as_bytes());
        let to = if name.is_empty() {
            layout.join("blobs/sha256").join(digest.hex())
        } else {
            layout.join(name)
        };
        fs::write(to, &text).unwrap();
        serde_json::json!({"mediaType": media_type, "digest": digest.to_string(), "size": text.len()})
    };
    let outer = put("", &put("", &image));
    put("index.json", &outer);
    place.ok(&["import", layout.to_str().unwrap()]);
    place.ok(&["checkout", "layout", &place.text("tree")]);
    assert!(place.path("tree/bin/hello").is_file());
}

#[test]
fn a_platform_that_an_image_is_not_for_is_refused() {
    let place = Place::with_sample();
    let (code, line) = place.fails(&["checkout", "--platform", "linux/arm64", "sample:1", "x"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("only for linux/amd64"), "{line}");
    place.ok(&[
        "checkout",
        "--platform",
        "linux/arm64",
        "sample:multi",
        &place.text("arm"),
    ]);
}

#[test]
fn references_are_names_digests_and_their_beginnings() {
    let place = Place::with_sample();
    let images = place.json(&["images"]);
    let digest = images["images"][0]["digest"].as_str().unwrap().to_owned();
    place.ok(&["exists", &digest]);
    place.ok(&["exists", &digest[7..19]]);
    place.ok(&["tag", &digest, "localhost:5000/a/b:c"]);
    place.ok(&["exists", "localhost:5000/a/b:c"]);
    place.ok(&["untag", "localhost:5000/a/b:c"]);
    assert_eq!(
        place.run(&["exists", "localhost:5000/a/b:c"]).status.code(),
        Some(1)
    );
}

#[test]
fn inspect_prints_stored_bytes_and_documents() {
    let place = Place::with_sample();
    let raw = place.ok(&["inspect", "--raw", "sample:1"]);
    let digest = place.json(&["inspect", "sample:1"])["descriptor"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let stored = fs::read(sample().join("blobs").join(digest.replace(':', "/"))).unwrap();
    assert_eq!(raw.as_bytes(), stored);
    let config: Value =
        serde_json::from_str(&place.ok(&["inspect", "--config", "sample:1"])).unwrap();
    assert_eq!(config["rootfs"]["type"], "layers");
}

/// What differs between the sample's first two images, and in what.
const SAMPLE_1_TO_2: &str = "\
C /bin/welcome\tcontent,links
D /etc/motd
C /etc/os-release\tcontent
D /opt
D /opt/ancient
D /opt/precise
D /opt/precise-too
D /opt/remarks
D /srv
D /srv/deep
D /srv/deep/down
C /usr\tmtime
C /usr/share\tmtime
D /usr/share/doc/old
D /usr/share/doc/old/changes
D /usr/share/doc/old/news
C /usr/share/games\ttype
D /usr/share/games/chess
C /usr/share/plugins\txattrs
D /usr/share/plugins/first
D /usr/share/plugins/second
A /usr/share/plugins/third
C /usr/share/terms\tmtime
D /usr/share/terms/five
C /usr/share/terms/four\tmode
";

#[test]
fn diff_prints_a_letter_and_a_path_a_line() {
    let place = Place::with_sample();
    let lines: Vec<&str> = SAMPLE_1_TO_2
        .lines()
        .map(|line| line.split('\t').next().unwrap())
        .collect();
    let printed = place.ok(&["diff", "sample:1", "sample:2"]);
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
    let paths: Vec<&str> = lines.iter().map(|line| &line[2..]).collect();
    let quiet = place.ok(&["diff", "-q", "sample:1", "sample:2"]);
    assert_eq!(quiet.lines().collect::<Vec<_>>(), paths);
    let metadata = place.ok(&["diff", "--metadata", "sample:1", "sample:2"]);
    assert_eq!(metadata, SAMPLE_1_TO_2);
    let content = place.ok(&["diff", "--metadata", "--content", "sample:1", "sample:2"]);
    let of_content = |line: &str| -> Option<String> {
        let Some((path, aspects)) = line.split_once('\t') else {
            return Some(line.to_owned());
        };
        let kept: Vec<&str> = aspects
            .split(',')
            .filter(|aspect| ["type", "content", "links"].contains(aspect))
            .collect();
        (!kept.is_empty()).then(|| format!("{path}\t{}", kept.join(",")))
    };
    let wanted: Vec<String> = SAMPLE_1_TO_2.lines().filter_map(of_content).collect();
    assert_eq!(content.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn diff_the_other_way_round_swaps_what_came_and_what_went() {
    let place = Place::with_sample();
    let back = place.ok(&["diff", "sample:2", "sample:1"]);
    let swapped: String = back
        .lines()
        .map(|line| match line.split_at(1) {
            ("A", path) => format!("D{path}\n"),
            ("D", path) => format!("A{path}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(swapped, place.ok(&["diff", "sample:1", "sample:2"]));
}

#[test]
fn diff_tells_by_its_exit_code_only_where_that_is_asked_for() {
    let place = Place::with_sample();
    let code = |args: &[&str]| place.run(args).status.code();
    assert_eq!(code(&["diff", "sample:1", "sample:2"]), Some(0));
    let (one, two) = ("sample:1", "sample:2");
    assert_eq!(code(&["diff", "--exit-code", one, two]), Some(1));
    assert_eq!(code(&["diff", "--exit-code", "--stat", one, two]), Some(1));
    // The same layers in other blobs are the same files.
    assert_eq!(place.ok(&["diff", "--exit-code", two, "sample:zstd"]), "");
    assert_eq!(place.ok(&["diff", "--exit-code", one, "sample:plain"]), "");
    let (code, line) = place.fails(&["diff", "--exit-code", one, "nobody"]);
    assert_eq!(code, 2, "{line}");
    assert_eq!(place.fails(&["diff", one]).0, 64);
}

#[test]
fn diff_of_an_image_and_its_checkout_is_what_was_changed_there() {
    let place = Place::with_sample();
    let out = place.text("out");
    place.ok(&["checkout", "--link", "copy", "sample:1", &out]);
    assert_eq!(place.ok(&["diff", "--exit-code", "sample:1", &out]), "");
    fs::remove_dir_all(place.path("out/opt")).unwrap();
    fs::write(place.path("out/etc/motd"), "changed").unwrap();
    fs::write(place.path("out/etc/new"), "new").unwrap();
    let code = |args: &[&str]| place.run(args).status.code();
    assert_eq!(code(&["diff", "--exit-code", "sample:1", &out]), Some(1));
    let lines = place.ok(&["diff", "--content", "sample:1", &out]);
    let gone = ["", "/ancient", "/precise", "/precise-too", "/remarks"];
    let gone = gone.map(|path| format!("D /opt{path}\n")).concat();
    assert_eq!(lines, format!("C /etc/motd\nA /etc/new\n{gone}"));
    let told = place.json(&["diff", "sample:1", &out]);
    assert_eq!(told["b"], out);
    assert_eq!(told["differs"], true);
}

#[test]
fn diff_takes_what_no_image_is_called_for_a_directory_and_tells_where_it_is_neither() {
    let place = Place::with_sample();
    assert_eq!(place.fails(&["diff", "sample:1", "nobody"]).0, 2);
    assert_eq!(place.fails(&["diff", "sample:1", "./nobody"]).0, 1);
}

#[test]
fn diff_writes_the_layer_that_makes_one_image_of_another() {
    let place = Place::with_sample();
    let tar = place.text("layer.tar");
    place.ok(&["diff", "--tar", "-o", &tar, "sample:1", "sample:2"]);
    let piped = place.run(&["diff", "--tar", "-o", "-", "sample:1", "sample:2"]);
    assert!(piped.status.success());
    assert!(piped.stdout == fs::read(&tar).unwrap());
    let listed = std::process::Command::new("tar")
        .args(["-tf", &tar])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let changed: Vec<&str> = listed.lines().filter(|line| !line.ends_with('/')).collect();
    for path in ["etc/.wh.motd", "etc/os-release", ".wh.opt", ".wh.srv"] {
        assert!(changed.contains(&path), "no {path} in {listed}");
    }
    assert!(!listed.contains("opt/"), "{listed}");
    place.fails(&["diff", "--tar", "sample:1", "sample:2"]);
}

#[test]
fn diff_writes_the_layer_of_what_a_directory_has_and_keeps_nothing_of_it() {
    let place = Place::with_sample();
    let (out, tar) = (place.text("out"), place.text("layer.tar"));
    place.ok(&["checkout", "--link", "copy", "sample:1", &out]);
    fs::write(place.path("out/etc/new"), "new").unwrap();
    let before = place.files("objects").len();
    let code = |args: &[&str]| place.run(args).status.code();
    let to_tar = ["diff", "--exit-code", "--tar", "-o", &tar, "sample:1", &out];
    assert_eq!(code(&to_tar), Some(1));
    let listed = std::process::Command::new("tar")
        .args(["-xOf", &tar, "etc/new"])
        .output()
        .unwrap();
    assert_eq!(listed.stdout, b"new");
    assert_eq!(place.files("objects").len(), before);
    assert!(place.files("tmp").is_empty());
}

#[test]
fn diff_takes_the_image_of_a_platform_on_both_sides() {
    let place = Place::with_sample();
    let amd64 = ["diff", "--platform", "linux/amd64"];
    let arm64 = ["diff", "--platform", "linux/arm64"];
    let same = [&amd64[..], &["--exit-code", "sample:multi", "sample:1"]].concat();
    assert_eq!(place.ok(&same), "");
    let other = [&arm64[..], &["sample:multi", "sample:multi"]].concat();
    assert_eq!(place.ok(&other), "");
    let (code, line) = place.fails(&[&arm64[..], &["sample:multi", "sample:1"]].concat());
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("linux/amd64"), "{line}");
}

#[test]
fn diff_counts_the_same_whether_it_lists_or_not() {
    let place = Place::with_sample();
    let listed = place.json(&["diff", "sample:1", "sample:2"]);
    let counted = place.json(&["diff", "--stat", "sample:1", "sample:2"]);
    let changes = listed["changes"].as_array().unwrap();
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let text = |field: &str| change[field].as_str().unwrap();
            let aspects = change["differs_in"].as_array().map(|aspects| {
                let names: Vec<_> = aspects.iter().map(|name| name.as_str().unwrap()).collect();
                format!("\t{}", names.join(","))
            });
            let aspects = aspects.unwrap_or_default();
            format!("{} {}{aspects}\n", text("change"), text("path"))
        })
        .collect();
    assert_eq!(lines.concat(), SAMPLE_1_TO_2);
    assert_eq!(listed["stat"], counted["stat"]);
    assert!(counted.get("changes").is_none());
    let images = place.json(&["images"]);
    for (field, name) in [("a", "sample:1"), ("b", "sample:2")] {
        let mut of = images["images"].as_array().unwrap().iter();
        let image = of.find(|image| image["name"] == name).unwrap();
        assert_eq!(listed[field], image["digest"]);
    }
    for (letter, sum) in [("A", "added"), ("D", "deleted"), ("C", "changed")] {
        let of = changes.iter().filter(|change| change["change"] == letter);
        assert_eq!(listed["stat"][sum]["paths"], of.count(), "{sum}");
    }
    assert_eq!(listed["differs"], true);
    assert!(counted["nodes_read"].as_u64() <= listed["nodes_read"].as_u64());
    let same = place.json(&["diff", "sample:1", "sample:plain"]);
    assert_eq!(same["differs"], false);
    assert_eq!(same["changes"], Value::Array(Vec::new()));
    assert_eq!(same["nodes_read"], 0);
    let table = place.ok(&["diff", "--stat", "sample:1", "sample:2"]);
    assert_eq!(
        table,
        [
            "         PATHS  FILES  BYTES\n",
            "added        1      1    2 B\n",
            "deleted     16     12  207 B\n",
            "changed      8      3   72 B\n",
        ]
        .concat()
    );
    let all: u64 = place
        .ok(&["diff", "--stat", "-q", "sample:1", "sample:2"])
        .trim()
        .parse()
        .unwrap();
    assert_eq!(all, changes.len() as u64);
}

/// Makes a docker archive of one image, whose only layer has these empty files.
fn archive_of(files: &[&[u8]], name: &str, to: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    for file in files {
        append(&mut layer, file, b"");
    }
    let layer = layer.into_inner().unwrap();
    let diff_id = ocistore::digest::Digest::sha256(&layer).to_string();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let manifest = serde_json::json!([
        {"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}
    ]);
    let mut archive = tar::Builder::new(fs::File::create(to).unwrap());
    append(&mut archive, b"config.json", config.to_string().as_bytes());
    append(&mut archive, b"layer.tar", &layer);
    append(
        &mut archive,
        b"manifest.json",
        manifest.to_string().as_bytes(),
    );
    archive.finish().unwrap();
}

fn append<W: std::io::Write>(to: &mut tar::Builder<W>, name: &[u8], bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    to.append(&header, bytes).unwrap();
}

#[test]
fn diff_prints_no_name_that_a_terminal_would_obey() {
    let place = Place::new();
    let odd: [&[u8]; 3] = [b"same", b"new\x1b[2J\nA line", b"not \xff text"];
    archive_of(&odd[..1], "plain:1", &place.path("plain.tar"));
    archive_of(&odd, "odd:1", &place.path("odd.tar"));
    place.ok(&["import", &place.text("plain.tar"), &place.text("odd.tar")]);
    let printed = place.ok(&["diff", "plain:1", "odd:1"]);
    assert_eq!(printed, "A /new\\x1b[2J\\x0aA line\nA /not \\xff text\n");
    let json = place.json(&["diff", "odd:1", "plain:1"]);
    let gone = serde_json::json!({
        "change": "D", "path": "/not \\xff text", "type": "file", "size": 0
    });
    assert_eq!(json["changes"][1], gone);
}

#[test]
fn what_is_not_there_is_exit_2_and_a_wrong_call_64() {
    let place = Place::with_sample();
    for args in [
        &["checkout", "nobody", "x"][..],
        &["tag", "nobody", "new"],
        &["untag", "nobody"],
        &["inspect", "nobody"],
        &["export", "nobody", "x"],
        &["import", "oci:/nowhere"],
        &["checkout", "--platform", "plan9/mips", "sample:multi", "x"],
    ] {
        let (code, line) = place.fails(args);
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with("ocistore: cannot "), "{line}");
    }
    for args in [
        &["fly"][..],
        &["import"],
        &["checkout", "a"],
        &["tag", "sample:1", "not a name"],
    ] {
        assert_eq!(place.fails(args).0, 64, "{args:?}");
    }
    let empty = Place::new();
    assert_eq!(empty.fails(&["images"]).0, 2);
}

#[test]
fn damaged_and_malformed_layouts_change_nothing() {
    let damage = |name: &str, harm: &dyn Fn(&Path)| {
        let place = Place::new();
        let layout = place.path("layout");
        copy_folder(&sample(), &layout);
        harm(&layout);
        let (code, line) = place.fails(&["import", layout.to_str().unwrap()]);
        assert!(
            !place.path("store/objects").exists() || place.files("objects").is_empty(),
            "{name}"
        );
        if place.path("store/format").exists() {
            assert_eq!(
                place.json(&["images"])["images"].as_array().unwrap().len(),
                0,
                "{name}"
            );
            place.ok(&["gc"]);
            assert!(
                place.files("blobs").is_empty() && place.files("tmp").is_empty(),
                "{name}"
            );
        }
        (code, line)
    };
    let first_layer = |layout: &Path| {
        let blobs = blobs(layout);
        let (path, _) = blobs
            .iter()
            .find(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b]))
            .unwrap();
        layout.join(path)
    };
    let flip = |layout: &Path| {
        let path = first_layer(layout);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut &file, &bytes).unwrap();
    };
    assert_eq!(damage("a flipped bit", &flip).0, 3);
    assert_eq!(damage("a short blob", &|l| truncate(&first_layer(l))).0, 3);
    assert_eq!(
        damage("a missing blob", &|l| fs::remove_file(first_layer(l))
            .unwrap())
        .0,
        4
    );
    assert_eq!(
        damage("no oci-layout", &|l| fs::remove_file(l.join("oci-layout"))
            .unwrap())
        .0,
        4
    );
    assert_eq!(
        damage("a torn index", &|l| truncate(&l.join("index.json"))).0,
        4
    );
}

fn truncate(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len / 2).unwrap();
}

#[test]
fn the_catalog_of_a_store_tells_its_size_in_json() {
    let place = Place::with_sample();
    let df = place.json(&["df"]);
    for field in ["compressed", "uncompressed", "unique", "disk", "saved"] {
        assert!(df["bytes"][field].is_u64(), "{field}");
    }
    assert_eq!(
        df["objects"].as_u64().unwrap(),
        place.files("objects").len() as u64
    );
    assert!(!df["per_image"].as_array().unwrap().is_empty());
}

#[test]
fn completions_and_the_man_page_name_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            place.ok(&["completion", shell]).contains("checkout"),
            "{shell}"
        );
    }
    assert!(place.ok(&["man"]).contains("checkout"));
}

#[test]
fn a_store_is_read_by_other_tools_as_a_layout() {
    let place = Place::with_sample();
    let index: Value =
        serde_json::from_slice(&fs::read(place.path("store/index.json")).unwrap()).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        "sample:1"
    );
    assert!(place.path("store/oci-layout").is_file());
}
