//! A mount that lives is a root of collections, wherever it lives; one that is no more is none.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use ocistore::mount::{self, Access, Changes, Spec};
use ocistore::store::Store;
use ocistore::store::locks::Wait;
use ocistore::watch::Unwatched;

use super::scene::{Scene, rich};

/// Takes the image's name away and collects.
fn forget(scene: &Scene) {
    scene.place.ok(&["untag", "image:1"]);
    scene.place.ok(&["gc"]);
}

#[test]
fn gc_keeps_what_is_mounted_and_frees_it_after_umount() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let objects = scene.objects();
    scene.mount("ro", &[]);
    let before = scene.place.tree("work/ro");
    forget(&scene);
    // What was read before may be in the page cache.
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    assert_eq!(scene.place.tree("work/ro"), before);
    assert_eq!(scene.objects(), objects);
    scene.place.is_sound();
    scene.umount("ro", &[]);
    scene.place.ok(&["gc"]);
    scene.is_empty();
}

#[test]
fn gc_keeps_what_is_mounted_in_another_mount_namespace() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let objects = scene.objects();
    let script = "\"$0\" --store \"$1\" mount image:1 \"$2\" -q && echo ready && read -r line && cat \"$2/bin/ping\"";
    let mut other = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(scene.place.path("ocistore"))
        .args([scene.at("store"), scene.at("there")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let id = lines.next().unwrap().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    // It is not to be seen here.
    assert_eq!(fs::read_dir(scene.at("there")).unwrap().count(), 0);
    forget(&scene);
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    assert_eq!(scene.objects(), objects);
    let (code, line) = scene.place.fails(&["umount", &id]);
    assert!(code == 75 && line.contains("elsewhere"), "{line}");
    other.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "ping");
    assert!(other.wait().unwrap().success());
    scene.place.ok(&["gc"]);
    scene.is_empty();
}

#[test]
fn what_the_system_unmounted_goes_unless_it_has_changes() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    scene.mount("ro", &[]);
    scene.mount("same", &["--rw"]);
    let id = scene.mount("rootfs", &["--rw"]);
    fs::write(scene.at("rootfs/etc/noted"), "changed").unwrap();
    for name in ["ro", "same", "rootfs"] {
        scene.system_umount(name);
    }
    // A dry run looks, and takes nothing.
    let report = scene.place.json(&["gc", "--dry-run"]);
    assert_eq!(
        (
            scene.folders().len(),
            &report["report"]["left_mounts"][0]["id"]
        ),
        (3, &id.clone().into())
    );
    let said = scene.place.ok(&["gc"]);
    assert!(
        said.contains(&format!("`ocistore umount --discard {id}`")),
        "{said}"
    );
    assert_eq!(scene.folders(), [id.as_str()]);
    // Its changes stay, and keep nothing else.
    forget(&scene);
    assert!(scene.place.names("work/store/layers/sha256").is_empty());
    let (code, line) = scene.place.fails(&["mount", &scene.place.out("")]);
    assert!(code == 3 && line.contains("import"), "{line}");
    scene.place.ok(&["import", &scene.place.text("image")]);
    scene.place.ok(&["mount", &scene.place.out("")]);
    assert_eq!(fs::read(scene.at("rootfs/etc/noted")).unwrap(), b"changed");
    assert_eq!(fs::read(scene.at("rootfs/bin/ping")).unwrap(), b"ping");
    scene.system_umount("rootfs");
    scene.place.ok(&["umount", "--discard", &id]);
    forget(&scene);
    scene.is_empty();
}

#[test]
fn a_mount_of_a_bundle_is_kept_as_long_as_the_bundle_says_it_is_its_own() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let store = Store::open(&scene.at("store"), Wait::Never).unwrap();
    let reader = store.read().unwrap();
    let found = store.find("image:1").unwrap();
    let bundle = scene.at("bundle");
    fs::create_dir(&bundle).unwrap();
    let spec = Spec {
        descriptor: &found,
        manifest: found.digest,
        root: store.image(&found).unwrap().root,
        target: &bundle.join("rootfs"),
        access: Access::ReadWrite,
        bundle: Some(&bundle),
    };
    let mounted = mount::mount(&reader, &spec, &Unwatched).unwrap();
    let id = mounted.id;
    fs::write(
        bundle.join("ocistore.json"),
        format!("{{\"rootfs\":{{\"kind\":\"mount\",\"id\":\"{id}\"}}}}"),
    )
    .unwrap();
    let find = |path: &std::path::Path| mount::find(&store, path).unwrap().map(|(id, _)| id);
    assert_eq!(find(&bundle.join("rootfs")), Some(id));
    assert!(find(&bundle.join("rootfs/bin")).is_none() && mount::is_live(&store, id));
    let busy = mount::detached(&reader, id, &Unwatched).unwrap_err();
    assert_eq!(busy.exit_code(), 75);
    let done = mount::umount(&store, &bundle.join("rootfs"), Changes::Keep).unwrap();
    assert!(done.kept && !mount::is_live(&store, id));
    // As commit needs it: seen without being attached, and alive as long as it is.
    let root = mount::detached(&reader, id, &Unwatched).unwrap();
    assert!(mount::is_live(&store, id));
    assert!(rustix::fs::statat(&root, "bin/ping", rustix::fs::AtFlags::empty()).is_ok());
    drop(root);
    drop(reader);
    scene.place.ok(&["gc"]);
    assert_eq!(scene.folders().len(), 1);
    let reader = store.read().unwrap();
    mount::again(&reader, id, &bundle.join("rootfs"), &Unwatched).unwrap();
    drop(reader);
    scene.system_umount("bundle/rootfs");
    fs::remove_dir_all(&bundle).unwrap();
    scene.place.ok(&["gc"]);
    assert!(scene.folders().is_empty());
}

#[test]
fn a_record_that_cannot_be_read_stops_gc() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let objects = scene.objects();
    let id = scene.mount("ro", &[]);
    let record = scene.at(&format!("store/mounts/{id}/record"));
    let whole = fs::read(&record).unwrap();
    scene.place.ok(&["untag", "image:1"]);
    for bad in [&b"{"[..], b"", b"{\"version\":9}"] {
        fs::write(&record, bad).unwrap();
        let (code, line) = scene.place.fails(&["gc"]);
        assert!(code == 3 && line.contains("record of a mount"), "{line}");
        assert_eq!(scene.objects(), objects);
    }
    fs::write(&record, whole).unwrap();
    scene.umount("ro", &[]);
    scene.place.ok(&["gc"]);
    scene.is_empty();
}

#[test]
fn an_ocistore_that_knows_no_mounts_is_kept_out() {
    let Some(scene) = Scene::with(rich()) else {
        return;
    };
    let format = || fs::read_to_string(scene.at("store/format")).unwrap();
    assert!(!format().contains("mounts"));
    scene.mount("one", &[]);
    scene.mount("two", &[]);
    assert!(
        format().contains("\nread-only-compatible: mounts\n"),
        "{}",
        format()
    );
}
