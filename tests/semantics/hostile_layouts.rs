//! The table "Manifests": what a layout's files may be on the disk. Links are followed, nothing is waited for.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::layout::{CONFIG, LAYER, Layer, Layout, MANIFEST, config, manifest};
use crate::tarball::Tar;
use crate::world::{World, is_root, quickly};

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device).unwrap();
}

/// A layout of one image, and its descriptors: manifest, config, layer.
fn image(world: &World) -> (Layout, [Value; 3]) {
    let layout = world.layout();
    let layer = Layer::from(Tar::new().file("f", "f"));
    let config = layout.document(CONFIG, &config(std::slice::from_ref(&layer)));
    let blob = layout.blob(LAYER, &layer.blob);
    let manifest = manifest(&config, std::slice::from_ref(&blob));
    let manifest = layout.document(MANIFEST, &manifest);
    layout.index(std::slice::from_ref(&manifest));
    (layout, [manifest, config, blob])
}

/// Returns the name below the layout of each file that matters.
fn files(layout: &Layout, descriptors: &[Value]) -> Vec<String> {
    let blobs = descriptors.iter().map(|d| layout.blob_path(d));
    let blobs = blobs.map(|p| p.strip_prefix(&layout.path).unwrap().to_owned());
    let blobs = blobs.map(|p| p.to_str().unwrap().to_owned());
    ["oci-layout".to_owned(), "index.json".to_owned()]
        .into_iter()
        .chain(blobs)
        .collect()
}

#[test]
fn symlinks_in_a_layout_are_followed() {
    let world = World::new();
    let (layout, descriptors) = image(&world);
    let aside = world.path("aside");
    fs::create_dir(&aside).unwrap();
    for (number, name) in files(&layout, &descriptors).iter().enumerate() {
        let (from, to) = (layout.path.join(name), aside.join(number.to_string()));
        fs::rename(&from, &to).unwrap();
        symlink(&to, &from).unwrap();
    }
    fs::rename(layout.path.join("blobs"), aside.join("blobs")).unwrap();
    symlink("../aside/blobs", layout.path.join("blobs")).unwrap();
    let world = World::new();
    symlink(&layout.path, world.path("image")).unwrap();
    let layout = Layout {
        path: world.path("image"),
    };
    world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
}

#[test]
fn a_symlink_to_a_file_of_the_host_is_refused_by_its_digest() {
    let world = World::new();
    let (layout, descriptors) = image(&world);
    let secret = world.path("host").join("secret");
    for descriptor in &descriptors {
        let path = layout.blob_path(descriptor);
        let aside = world.path("aside");
        fs::rename(&path, &aside).unwrap();
        fs::write(
            &secret,
            vec![b'x'; fs::metadata(&aside).unwrap().len().try_into().unwrap()],
        )
        .unwrap();
        symlink(&secret, &path).unwrap();
        world.refuses(&layout.source(), 3, &["its bytes are"]);
        fs::rename(&aside, &path).unwrap();
    }
}

/// Everything that can stand in a file's place but a file.
fn in_place(path: &Path, what: &str) {
    match what {
        "fifo" => node(path, FileType::Fifo, 0),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "directory" => fs::create_dir(path).unwrap(),
        "link to a fifo" => {
            let fifo = path.with_extension("fifo");
            node(&fifo, FileType::Fifo, 0);
            symlink(fifo, path).unwrap();
        }
        "link to a directory" => symlink("/proc", path).unwrap(),
        "link to a device" => symlink("/dev/zero", path).unwrap(),
        "link to itself" => symlink(path, path).unwrap(),
        "long chain of links" => {
            for n in 0..50 {
                let to = path.with_extension((n + 1).to_string());
                symlink(to, path.with_extension(n.to_string())).unwrap();
            }
            symlink(path.with_extension("0"), path).unwrap();
        }
        // "device":
        _ => node(path, FileType::CharacterDevice, rustix::fs::makedev(1, 5)),
    }
}

#[test]
fn what_is_no_file_in_a_files_place_is_refused_and_never_waited_for() {
    let kinds = [
        "fifo",
        "socket",
        "directory",
        "link to a fifo",
        "link to a directory",
        "link to a device",
        "link to itself",
        "long chain of links",
        "device",
    ];
    for what in kinds {
        if what == "device" && !is_root() {
            continue;
        }
        let count = files(&image(&World::new()).0, &[]).len() + 3;
        for which in 0..count {
            let world = World::new();
            let (layout, descriptors) = image(&world);
            let name = files(&layout, &descriptors)[which].clone();
            let path = layout.path.join(&name);
            fs::remove_file(&path).unwrap();
            in_place(&path, what);
            let name = name.rsplit('/').next().unwrap().to_owned();
            let (code, said) = quickly(|| world.fails(&["import", &layout.source()]));
            assert_eq!(code, 4, "{what} as {name}: {said}");
            assert!(said.contains(&name), "{what}: {said}");
            assert!(said.starts_with("ocistore: cannot "), "{said}");
            assert!(!world.path("root").exists());
        }
    }
}

#[test]
fn a_dangling_symlink_is_a_missing_file() {
    let world = World::new();
    let (layout, descriptors) = image(&world);
    for name in files(&layout, &descriptors) {
        let path = layout.path.join(&name);
        let aside = world.path("aside");
        fs::rename(&path, &aside).unwrap();
        symlink("gone", &path).unwrap();
        let name = name.rsplit('/').next().unwrap();
        world.refuses(&layout.source(), 4, &[name]);
        fs::rename(&aside, &path).unwrap();
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_refused() {
    for folder in ["blobs", "blobs/sha256"] {
        let world = World::new();
        let (layout, _) = image(&world);
        let path = layout.path.join(folder);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "file").unwrap();
        world.refuses(&layout.source(), 4, &["sha256"]);
    }
}

#[test]
fn a_layout_that_is_a_file_a_fifo_or_not_there_is_told_apart() {
    let world = World::new();
    fs::write(world.path("file"), "text").unwrap();
    node(&world.path("fifo"), FileType::Fifo, 0);
    for (name, code) in [("file", 4), ("fifo", 4), ("gone", 2), ("file/below", 2)] {
        let path = world.path(name);
        let source = format!("oci:{}", path.display());
        let (actual, said) = quickly(|| world.fails(&["import", &source]));
        assert_eq!(actual, code, "{said}");
        let (actual, said) = quickly(|| world.fails(&["import", path.to_str().unwrap()]));
        assert_eq!(actual, code, "{said}");
    }
}

#[test]
fn files_that_no_document_names_are_not_looked_at() {
    let world = World::new();
    let (layout, _) = image(&world);
    let blobs = layout.path.join("blobs");
    node(&layout.path.join("fifo"), FileType::Fifo, 0);
    node(&blobs.join("sha256/.wh..wh..opq"), FileType::Fifo, 0);
    symlink("/", blobs.join("md5")).unwrap();
    fs::write(blobs.join("sha256").join("0".repeat(64)), "stray").unwrap();
    quickly(|| world.ok(&["import", &layout.source()]));
    let copy = world.path("copy");
    world.ok(&["export", "image", &format!("oci:{}", copy.display())]);
    assert_eq!(crate::layout::blobs_in(&copy).len(), 3);
}
