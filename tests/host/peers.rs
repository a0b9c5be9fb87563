//! What other tools make of a commit: umoci, skopeo, buildah and runc show what was committed, and `umoci repack` of the
//! same change writes the same layer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::bench::{Place, Who, can_run};
use super::bundles::{config, runnable, start};
use super::image::Image;

/// Changes a root filesystem in all the ways that a layer can say; what was touched then has one time.
const CHANGE: &str = r#"set -eu
echo after > srv/changed
rm srv/removed
rm -r srv/whole
rm -r srv/replaced
echo 'now a file' > srv/replaced
mkdir -p srv/new/below
echo new > srv/new/file
ln srv/new/file srv/new/below/twin
ln srv/kept srv/kept-too
setfattr -n user.note -v noted srv/new/file
cp srv/new/file srv/new/able
setcap cap_net_raw+ep srv/new/able
mknod -m 640 srv/new/null c 1 3
mknod -m 600 srv/new/loop b 7 1
mkfifo srv/new/fifo
ln -s ../changed srv/new/link
echo latin > "$(printf 'srv/new/caf\351')"
long=$(printf '%0200d' 0)
mkdir "srv/new/$long"
echo far > "srv/new/$long/$long"
chown 1000:1001 srv/owned
chmod 4711 srv/moded
: > srv/new/empty
find . -newermt 2024-01-01 -exec touch -h -d @1750000000.123456789 {} +
"#;

fn base() -> Image {
    let root = (0o755, 0, 0);
    runnable(config("ada"))
        .dir("srv/", root)
        .file("srv/changed", root, "before")
        .file("srv/kept", root, "kept")
        .file("srv/removed", root, "removed")
        .dir("srv/whole/", root)
        .file("srv/whole/in", root, "in")
        .dir("srv/replaced/", root)
        .file("srv/replaced/in", root, "in")
        .file("srv/owned", root, "owned")
        .file("srv/moded", root, "moded")
        .file("srv/untouched", root, "untouched")
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn change(rootfs: &str) {
    run("sh", &["-c", &format!("cd '{rootfs}'\n{CHANGE}")]);
}

/// Unpacks the base, changes it, and commits it with these flags.
fn committed(place: &Place, name: &str, flags: &[&str]) {
    let bundle = place.out(&format!("bundle-{}", name.replace(':', "-")));
    place.ok(&["unpack", "image:1", &bundle]);
    change(&format!("{bundle}/rootfs"));
    place.ok(&[&["commit", &bundle, name], flags].concat());
}

/// Fails with every difference of two trees: types, metadata with times and attributes, contents, links.
fn same_tree(ours: &str, theirs: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/same-tree");
    let output = Command::new(script).args([ours, theirs]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{theirs}: {said}{errors}");
}

/// A store of buildah's in a folder of its own, in which it runs.
struct Buildah(PathBuf);

impl Buildah {
    fn run(&self, args: &[&str]) -> String {
        let [root, runroot] = ["buildah", "buildah-run"].map(|name| self.0.join(name));
        let storage = [
            "--root",
            root.to_str().unwrap(),
            "--runroot",
            runroot.to_str().unwrap(),
            "--storage-driver",
            "vfs",
        ];
        let mut command = Command::new("buildah");
        // It makes a name of the path of a layout, which has to be in small letters.
        let command = command.current_dir(&self.0).args(storage).args(args);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "buildah {args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

#[test]
fn what_was_committed_is_what_other_tools_show() {
    if !can_run(&["umoci", "skopeo", "buildah", "runc", "setfattr", "setcap"]) {
        return;
    }
    let place = Place::with(Who::Root, base());
    let buildah = Buildah(place.path("work"));
    for how in ["gzip", "zstd"] {
        let name = format!("changed:{how}");
        committed(&place, &name, &["--compress", how]);
        let (tree, layout, copy) = (
            place.out(&format!("tree-{how}")),
            place.out(&format!("layout-{how}")),
            place.out(&format!("copy-{how}")),
        );
        place.ok(&["checkout", "--link", "copy", &name, &tree]);
        same_tree(&tree, &place.out(&format!("bundle-changed-{how}/rootfs")));
        let there = format!("oci:{layout}:{how}");
        place.ok(&["export", &name, &there]);

        // Else it compresses the base's layer, which is a plain tar.
        let copied = format!("oci:{copy}:{how}");
        run("skopeo", &["copy", "--preserve-digests", &there, &copied]);
        let digest = |at: &str| run("skopeo", &["inspect", "--format", "{{.Digest}}", at]);
        assert_eq!(digest(&format!("oci:{copy}:{how}")), digest(&there));
        let own = place.run(place.who, &["inspect", "-q", &name]).stdout;
        assert_eq!(String::from_utf8(own).unwrap(), digest(&there));

        // From what skopeo copied: it is whole.
        let container = buildah.run(&["from", &format!("oci:copy-{how}:{how}")]);
        let mounted = buildah.run(&["mount", &container]);
        // The time of the root is that of what buildah did in it to begin with.
        run("touch", &["-r", &tree, &mounted]);
        same_tree(&tree, &mounted);
        buildah.run(&["umount", &container]);
        buildah.run(&["rm", &container]);
    }
    // umoci reads no zstd.
    let image = format!("{}:gzip", place.out("layout-gzip"));
    run("umoci", &["unpack", "--image", &image, &place.out("umoci")]);
    same_tree(&place.out("tree-gzip"), &place.out("umoci/rootfs"));

    place.ok(&["unpack", "changed:zstd", &place.out("again")]);
    let said = start(&place, "runc", "again");
    assert!(said.contains("at /tmp of /home/ada with hello"), "{said}");
    place.is_sound();
}

/// What an entry of a layer says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Said {
    kind: u8,
    mode: u32,
    owner: (u64, u64),
    /// As the PAX header has it, or whole seconds.
    mtime: String,
    link: Vec<u8>,
    device: (Option<u32>, Option<u32>),
    xattrs: BTreeMap<String, Vec<u8>>,
    bytes: Vec<u8>,
}

/// Returns the entries of the top layer of an image in a layout, by path.
fn top_layer(layout: &str, tag: &str) -> BTreeMap<Vec<u8>, Said> {
    let at = format!("oci:{layout}:{tag}");
    let manifest: Value = serde_json::from_str(&run("skopeo", &["inspect", "--raw", &at])).unwrap();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap();
    let digest = layer["digest"].as_str().unwrap().replace(':', "/");
    let blob = File::open(Path::new(layout).join("blobs").join(digest)).unwrap();
    let mut plain = Command::new("gzip");
    let plain = plain.arg("-dc").stdin(blob).stdout(Stdio::piped());
    let mut child = plain.spawn().unwrap();
    let mut archive = tar::Archive::new(child.stdout.take().unwrap());
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().trim_ascii_end().to_vec();
        let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
        let said = said(&mut entry);
        assert!(entries.insert(path, said).is_none(), "a path comes twice");
    }
    assert!(child.wait().unwrap().success());
    entries
}

fn said(entry: &mut tar::Entry<'_, impl std::io::Read>) -> Said {
    let mut xattrs = BTreeMap::new();
    let mut mtime = entry.header().mtime().unwrap().to_string();
    for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
        let extension = extension.unwrap();
        let key = extension.key().unwrap();
        if key == "mtime" {
            extension.value().unwrap().clone_into(&mut mtime);
        }
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
        }
    }
    let header = entry.header();
    let kind = header.entry_type();
    let device = match kind.is_character_special() || kind.is_block_special() {
        true => (
            header.device_major().unwrap(),
            header.device_minor().unwrap(),
        ),
        false => (None, None),
    };
    let mut said = Said {
        kind: kind.as_byte(),
        mode: header.mode().unwrap(),
        owner: (header.uid().unwrap(), header.gid().unwrap()),
        mtime,
        link: entry
            .link_name_bytes()
            .map_or_else(Vec::new, |link| link.to_vec()),
        device,
        xattrs,
        bytes: Vec::new(),
    };
    entry.read_to_end(&mut said.bytes).unwrap();
    said
}

fn is_whiteout(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap();
    name.starts_with(b".wh.")
}

#[test]
fn a_commit_and_umoci_repack_write_the_same_entries() {
    if !can_run(&["umoci", "skopeo", "setfattr", "setcap"]) {
        return;
    }
    let place = Place::with(Who::Root, base());
    committed(&place, "changed:1", &[]);
    let (ours, theirs) = (place.out("ours"), place.out("theirs"));
    place.ok(&["export", "changed:1", &format!("oci:{ours}:1")]);
    place.ok(&["export", "image:1", &format!("oci:{theirs}:1")]);
    let bundle = place.out("umoci");
    let image = format!("{theirs}:1");
    run("umoci", &["unpack", "--image", &image, &bundle]);
    change(&format!("{bundle}/rootfs"));
    run("umoci", &["repack", "--image", &image, &bundle]);

    let (mut ours, mut theirs) = (top_layer(&ours, "1"), top_layer(&theirs, "1"));
    // umoci says that what was in a directory is gone, where a file took its place: the file says so already.
    theirs.remove(&b"srv/replaced/.wh.in"[..]).unwrap();
    let names = |entries: &BTreeMap<Vec<u8>, Said>| -> Vec<String> {
        let text = |path: &Vec<u8>| path.escape_ascii().to_string();
        entries.keys().map(text).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    for entries in [&mut ours, &mut theirs] {
        for (path, said) in entries.iter_mut() {
            // Of a whiteout only the name counts: ours is an empty file of 1970, theirs has the time of the repack.
            if is_whiteout(path) {
                assert_eq!((said.kind, said.bytes.len()), (b'0', 0));
                (said.mode, said.owner, said.mtime) = (0, (0, 0), String::new());
            }
        }
    }
    for (path, said) in &mut ours {
        // umoci rounds to seconds, where ours has all of it.
        if let Some(whole) = said.mtime.strip_suffix(".123456789") {
            said.mtime = whole.to_owned();
        }
        assert_eq!(*said, theirs[path], "{}", path.escape_ascii());
    }
}
