//! Bundles: what `unpack` makes is what umoci makes, and what runc and crun start.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::bench::{Place, Tree, Who, can_run, look};
use super::image::{Image, rich};

const UIDS: &str = "--uid-map=0:200000:65536";
const GIDS: &str = "--gid-map=0:300000:65536";

/// What a container of [`runnable`] says of itself.
const SCRIPT: &str = r#"echo "at $PWD of $HOME with $WORD"
while read -r line; do case $line in Uid:*|Gid:*|Groups:*) echo $line;; esac; done < /proc/self/status
echo changed > /new && echo "wrote $(cd / && echo n*)"
exit 0"#;

/// An image of this machine's shell, the libraries it needs, and two users.
pub(super) fn runnable(config: Value) -> Image {
    let root = (0o755, 0, 0);
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let needed = Command::new("ldd").arg(&shell).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let needed = needed.split_whitespace();
    let libraries: BTreeSet<&str> = needed.filter(|word| word.starts_with('/')).collect();
    // What no entry describes umoci gives the time of unpacking.
    let above = libraries
        .iter()
        .flat_map(|path| Path::new(path).ancestors());
    let mut folders: BTreeSet<String> = above
        .skip(1)
        .filter(|folder| libraries.iter().all(|path| Path::new(path) != *folder))
        .filter_map(|folder| Some(folder.to_str()?.trim_start_matches('/').to_owned()))
        .collect();
    let more = "bin dev etc home proc sys tmp usr usr/lib";
    folders.extend(more.split(' ').map(str::to_owned));
    folders.remove("");
    let mut image = Image::new().config(config).dir("./", root);
    for folder in folders {
        image = image.dir(&format!("{folder}/"), root);
    }
    for path in libraries {
        image = image.file(&path[1..], root, fs::read(path).unwrap());
    }
    let users = "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n";
    let groups = "root:x:0:\nada:x:1001:\nvideo:x:44:ada\naudio:x:29:ada\n";
    image
        .file("bin/sh", root, fs::read(&shell).unwrap())
        .dir("home/ada/", (0o755, 1000, 1000))
        .file("usr/lib/passwd", (0o644, 0, 0), users)
        .symlink("etc/passwd", "../usr/lib/passwd")
        .file("etc/group", (0o644, 0, 0), groups)
}

pub(super) fn config(user: &str) -> Value {
    json!({
        "User": user, "WorkingDir": "/tmp", "Env": ["WORD=hello"],
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": [SCRIPT],
    })
}

/// Runs a bundle as it is, with a terminal, as its config says; returns what the container said.
pub(super) fn start(place: &Place, runtime: &str, bundle: &str) -> String {
    let id = format!("ocistore-test-{}-{bundle}-{runtime}", std::process::id());
    let (state, bundle) = (place.out(&format!("state-{runtime}")), place.out(bundle));
    fs::create_dir_all(&state).unwrap();
    place.give(&format!("work/state-{runtime}"));
    let run = format!("{runtime} --root {state} run --bundle {bundle} {id}");
    let run = match place.who {
        Who::Root => run,
        Who::User | Who::Namespaced => {
            let id = place.who.id();
            format!(
                "setpriv --reuid={id} --regid={id} --clear-groups env XDG_RUNTIME_DIR={state} {run}"
            )
        }
    };
    // crun starts nothing on a host that has control groups of both versions; in a mount namespace of its own it has one.
    let unified = "/sys/fs/cgroup/unified";
    let prepare = format!("mountpoint -q {unified} && umount -l {unified}; exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &prepare, "sh"])
        .args(["timeout", "60", "script", "-qec", &run, "/dev/null"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    // What is not typed is shown too.
    let said = said.replace("^@", "").replace("^D\u{8}\u{8}", "");
    let said = without_crun_s_mark(&said);
    assert!(output.status.success(), "{run}: {said}{}", errors(&output));
    said
}

/// Now and then crun 1.8 shows the first that a container says as if it were an error of its own: red, after the time.
fn without_crun_s_mark(said: &str) -> String {
    let Some((before, marked)) = said.split_once("\u{1b}[1;31m") else {
        return said.to_owned();
    };
    let rest = marked.split_once("Z: ").map_or(marked, |(_, rest)| rest);
    format!("{before}{}", rest.replace("\u{1b}[0m", ""))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn umoci(place: &Place, flags: &[&str], bundle: &str) {
    let mut command = Command::new("umoci");
    if place.who == Who::User {
        let id = place.who.id();
        command = Command::new("setpriv");
        command.args([format!("--reuid={id}"), format!("--regid={id}")]);
        command.args(["--clear-groups", "umoci"]);
    }
    command.arg("unpack").args(flags);
    command.args(["--image", &place.text("image:1"), &place.out(bundle)]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", errors(&done));
}

fn read(place: &Place, bundle: &str) -> Value {
    let path = place.path(&format!("work/{bundle}/config.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What umoci writes, as we would: it names itself, says empty annotations, and shares the host's control groups.
fn as_ours(mut theirs: Value) -> Value {
    theirs["hostname"] = json!("ocistore");
    let namespaces = theirs["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.insert(0, json!({"type": "cgroup"}));
    let annotations = theirs["annotations"].as_object_mut().unwrap();
    annotations.retain(|_, value| value != "");
    theirs
}

/// Sorts what has no order of its own.
fn sorted(mut spec: Value) -> Value {
    for list in ["/process/env", "/mounts", "/process/user/additionalGids"] {
        if let Some(Value::Array(items)) = spec.pointer_mut(list) {
            items.sort_by_key(ToString::to_string);
        }
    }
    for mount in spec["mounts"].as_array_mut().unwrap() {
        if let Some(Value::Array(options)) = mount.get_mut("options") {
            options.sort_by_key(ToString::to_string);
        }
    }
    spec
}

#[test]
fn a_bundle_is_umocis_root_filesystem_and_config() {
    if !can_run(&["umoci"]) {
        return;
    }
    let settings = json!({
        "User": "ada", "WorkingDir": "/srv", "Env": ["A=1", "PATH=/bin"], "Cmd": ["/bin/sh"],
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}, "/cache": {}},
        "Labels": {"mine": "1"}, "StopSignal": "SIGINT",
    });
    let place = Place::with(Who::Root, runnable(settings));
    for (name, flags) in [
        ("plain", &[][..]),
        ("mapped", &[UIDS, GIDS]),
        ("rootless", &["--rootless"]),
    ] {
        let (ours, theirs) = (format!("{name}-ours"), format!("{name}-umoci"));
        place.ok(&[&["unpack"], flags, &["image:1", &place.out(&ours)]].concat());
        umoci(&place, flags, &theirs);
        let tree = |bundle: &str| place.tree(&format!("work/{bundle}/rootfs"));
        assert!(tree(&ours) == tree(&theirs), "{name}");
        let mut theirs = as_ours(read(&place, &theirs));
        // When the image was made is not said, which umoci writes as the year 1.
        let annotations = theirs["annotations"].as_object_mut().unwrap();
        let created = annotations.remove("org.opencontainers.image.created");
        assert_eq!(created, Some(json!("0001-01-01T00:00:00Z")));
        assert_eq!(sorted(read(&place, &ours)), sorted(theirs), "{name}");
    }
    place.is_sound();
}

#[test]
fn a_bundles_files_are_its_own_whatever_attributes_and_links_they_have() {
    if !can_run(&["umoci"]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    umoci(&place, &[], "umoci");
    let wanted = place.tree("work/umoci/rootfs");
    for mode in ["reflink", "copy"] {
        place.ok(&["unpack", "--link", mode, "image:1", &place.out(mode)]);
        let rootfs = place.path(&format!("work/{mode}/rootfs"));
        assert!(look(&rootfs) == wanted, "{mode}");
        // Nobody else has a name for a file of the bundle, and whatever is done to it stays there.
        assert_eq!(fs::metadata(rootfs.join("bin/twin")).unwrap().nlink(), 1);
        assert_eq!(fs::metadata(rootfs.join("bin/tool")).unwrap().nlink(), 2);
        fs::write(rootfs.join("bin/tool"), "changed").unwrap();
        fs::write(rootfs.join("etc/noted"), "changed").unwrap();
        fs::remove_dir_all(rootfs.join("home")).unwrap();
    }
    place.is_sound();
    place.ok(&["unpack", "image:1", &place.out("again")]);
    assert!(place.tree("work/again/rootfs") == wanted);
}

#[test]
fn a_bundle_is_private_and_says_what_it_was_made_from() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    let result = place.json(&["unpack", "image:1", &place.out("bundle")]);
    assert_eq!(result["bundle"], place.out("bundle"));
    assert_eq!(result["labels_left_out"], json!([]));
    let files = ["config.json", "ocistore.json", "ocistore.record", "rootfs"];
    assert_eq!(place.names("work/bundle"), files);
    let mode = |bundle: &str| {
        let stat = fs::metadata(place.path(&format!("work/{bundle}"))).unwrap();
        (stat.permissions().mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(mode("bundle"), (0o700, 0, 0));
    let info = fs::read(place.path("work/bundle/ocistore.json")).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["image"], "image:1");
    assert_eq!(info["manifest"]["digest"], result["digest"]);
    assert_eq!(info["store"], place.out("store"));
    // The root of a container goes through it by its group, and sees only what it knows the name of.
    place.ok(&["unpack", UIDS, GIDS, "image:1", &place.out("mapped")]);
    assert_eq!(mode("mapped"), (0o710, 0, 300_000));
}

#[test]
fn runc_and_crun_start_a_bundle_of_root() {
    if !can_run(&["runc", "crun", "unshare", "script"]) {
        return;
    }
    for (user, said) in [
        (
            "",
            "at /tmp of /root with hello\nUid: 0 0 0 0\nGid: 0 0 0 0\nGroups: 0",
        ),
        (
            "ada",
            "at /tmp of /home/ada with hello\nUid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\n\
             Groups: 29 44",
        ),
        (
            "ada:video",
            "at /tmp of /home/ada with hello\nUid: 1000 1000 1000 1000\nGid: 44 44 44 44\nGroups: 44",
        ),
    ] {
        let place = Place::with(Who::Root, runnable(config(user)));
        place.ok(&["unpack", "image:1", &place.out("plain")]);
        place.ok(&["unpack", UIDS, GIDS, "image:1", &place.out("mapped")]);
        for runtime in ["runc", "crun"] {
            for bundle in ["plain", "mapped"] {
                let heard = start(&place, runtime, bundle);
                assert_eq!(
                    groups_of(&heard),
                    groups_of(said),
                    "{runtime} {bundle}: {heard}"
                );
                // Who is not root cannot write to the image's root.
                assert_eq!(heard.contains("wrote new"), user.is_empty(), "{heard}");
            }
        }
    }
}

/// The words of each line up to the groups, those of the user's own group aside: runtimes differ in whether they say it again.
fn groups_of(said: &str) -> Vec<BTreeSet<String>> {
    let own = said
        .lines()
        .find_map(|line| line.strip_prefix("Gid: "))
        .and_then(|gids| gids.split(' ').next())
        .unwrap_or_default()
        .to_owned();
    let words = |line: &str| {
        let is_groups = line.starts_with("Groups:");
        let words = line.split(' ').map(str::to_owned);
        words.filter(|word| !(is_groups && *word == own)).collect()
    };
    let lines = said.lines().skip_while(|line| !line.starts_with("at "));
    lines.take(4).map(words).collect()
}

#[test]
fn runc_and_crun_start_an_ordinary_users_bundle() {
    if !can_run(&["runc", "crun", "unshare", "script", "setpriv"]) {
        return;
    }
    let place = Place::with(Who::User, runnable(config("")));
    // Without the flag too: he is not root.
    place.ok(&["unpack", "image:1", &place.out("own")]);
    place.ok(&["unpack", "--rootless", "image:1", &place.out("flagged")]);
    assert_eq!(read(&place, "own"), read(&place, "flagged"));
    umoci(&place, &["--rootless"], "umoci");
    assert_eq!(
        read(&place, "own")["linux"]["uidMappings"],
        read(&place, "umoci")["linux"]["uidMappings"]
    );
    let trees =
        ["own", "umoci"].map(|bundle| -> Tree { place.tree(&format!("work/{bundle}/rootfs")) });
    assert!(trees[0] == trees[1]);
    for runtime in ["runc", "crun"] {
        let said = start(&place, runtime, "own");
        assert!(said.contains("at /tmp of /root with hello"), "{said}");
        assert!(said.contains("Uid: 0 0 0 0\nGid: 0 0 0 0"), "{said}");
        assert!(said.contains("wrote new"), "{said}");
    }
    let new = fs::metadata(place.path("work/own/rootfs/new")).unwrap();
    assert_eq!(new.uid(), place.who.id());
}

#[test]
fn what_cannot_be_unpacked_leaves_nothing_behind() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, runnable(config("eve")));
    let (code, line) = place.fails(&["unpack", "image:1", &place.out("bundle")]);
    assert_eq!(code, 4);
    assert_eq!(
        line,
        "ocistore: cannot make a container's config of image:1: its user 'eve' is not in the image's \
         /etc/passwd; `ocistore checkout` lays out its files alone"
    );
    let bundle = place.out("bundle");
    for (args, code, why) in [
        (
            &["unpack", "--link", "hardlink", "image:1", &bundle][..],
            64,
            "a bundle is there to be changed, and its files would be the store's own",
        ),
        (&["unpack", "image:2", &bundle], 2, "image:2"),
        (
            &["unpack", "--platform", "linux/arm64", "image:1", &bundle],
            2,
            "linux/arm64",
        ),
        (
            &["unpack", "--rootless", UIDS, "image:1", &bundle],
            64,
            "cannot be used with",
        ),
    ] {
        let (got, line) = place.fails(args);
        assert_eq!(got, code, "{line}");
        assert!(line.contains(why), "{line}");
    }
    assert_eq!(place.names("work"), ["store"]);
}

#[test]
fn a_bundle_goes_to_an_empty_place_only() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, rich());
    let bundle = place.out("bundle");
    fs::create_dir(&bundle).unwrap();
    place.ok(&["unpack", "image:1", &bundle]);
    let (code, line) = place.fails(&["unpack", "image:1", &bundle]);
    assert_eq!(code, 1);
    assert_eq!(
        line,
        format!(
            "ocistore: cannot unpack to '{bundle}': it is not empty; \
             name a directory that is empty or not there yet"
        )
    );
    let inside = place.out("store/objects/bundle");
    let (_, line) = place.fails(&["unpack", "image:1", &inside]);
    assert!(line.contains("it is inside the store"), "{line}");
    // An id that no range holds is found before anything is in its place.
    let (_, line) = place.fails(&["unpack", "--uid-map=0:200000:5", "image:1", &place.out("x")]);
    assert!(line.contains("is in no range of --uid-map"), "{line}");
    assert_eq!(place.names("work"), ["bundle", "store"]);
}

#[test]
fn a_user_that_a_rootless_container_does_not_have_is_told() {
    if !can_run(&[]) {
        return;
    }
    let place = Place::with(Who::Root, runnable(config("ada")));
    let said = place.ok(&["unpack", "--rootless", "image:1", &place.out("bundle")]);
    assert!(
        said.contains("the container's user 1000 is not in its user namespace"),
        "{said}"
    );
}

#[test]
fn labels_that_a_runtime_would_obey_are_told() {
    if !can_run(&[]) {
        return;
    }
    let labels = json!({"run.oci.hooks.stdout": "/tmp/x", "fine": "1"});
    let place = Place::with(Who::Root, runnable(json!({"Labels": labels})));
    let said = place.ok(&["unpack", "image:1", &place.out("bundle")]);
    let told = "ocistore: warning: the label 'run.oci.hooks.stdout' is no annotation of the container: \
                a runtime would obey it\n";
    assert_eq!(said, told);
    assert_eq!(read(&place, "bundle")["annotations"]["fine"], "1");
    assert_eq!(
        read(&place, "bundle")["annotations"].get("run.oci.hooks.stdout"),
        None
    );
}
