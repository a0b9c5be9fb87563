//! Owns a place with a store whose image is mounted, and what of the store must never change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ocistore::digest::ContentId;

use super::bench::{Place, Who, can_run};
use super::image::{self, Image};

/// A place of root's. What is mounted in it is unmounted before it goes.
pub(crate) struct Scene {
    pub(crate) place: Place,
}

impl Scene {
    /// A scene with `image` as `image:1`, where this machine can mount.
    pub(crate) fn with(image: Image) -> Option<Self> {
        let scene = Self::empty(image)?;
        scene.place.ok(&["import", &scene.place.text("image")]);
        Some(scene)
    }

    pub(crate) fn empty(image: Image) -> Option<Self> {
        can_run(&["mount"]).then(|| Self {
            place: Place::empty(Who::Root, image),
        })
    }

    /// Mounts the image at `work/NAME`; returns its id.
    pub(crate) fn mount(&self, name: &str, flags: &[&str]) -> String {
        let out = self.place.out(name);
        let done = self
            .place
            .json(&[&["mount", "image:1", &out], flags].concat());
        done["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.place.path(&format!("work/{name}"))
    }

    pub(crate) fn umount(&self, name: &str, flags: &[&str]) {
        let out = self.place.out(name);
        self.place.ok(&[&["umount", &out], flags].concat());
    }

    /// What the system itself does at a shutdown: nobody tells the store.
    pub(crate) fn system_umount(&self, name: &str) {
        let done = Command::new("umount").arg(self.at(name)).status().unwrap();
        assert!(done.success());
    }

    /// The ids of mounts that have folders.
    pub(crate) fn folders(&self) -> Vec<String> {
        match self.at("store/mounts").exists() {
            true => self.place.names("work/store/mounts"),
            false => Vec::new(),
        }
    }

    /// Every object's file: what it is called, what it holds and what is known of it.
    pub(crate) fn objects(&self) -> BTreeMap<PathBuf, (bool, [i64; 8])> {
        let mut found = BTreeMap::new();
        for fan in fs::read_dir(self.at("store/objects")).unwrap() {
            for file in fs::read_dir(fan.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let stat = fs::metadata(&path).unwrap();
                let known = [
                    i64::from(stat.mode()),
                    i64::from(stat.uid()),
                    i64::from(stat.gid()),
                    i64::try_from(stat.nlink()).unwrap(),
                    i64::try_from(stat.len()).unwrap(),
                    stat.mtime(),
                    stat.ctime(),
                    stat.ctime_nsec(),
                ];
                let id = ContentId::of(&fs::read(&path).unwrap()).hex();
                let named = format!("{}/{}", &id[..2], &id[2..]);
                found.insert(path.clone(), (path.ends_with(named), known));
            }
        }
        assert!(found.values().all(|(right, _)| *right), "{found:?}");
        found
    }

    /// Asserts that nothing of an image is left, and no mount.
    pub(crate) fn is_empty(&self) {
        assert_eq!(self.folders(), Vec::<String>::new());
        for folder in ["objects", "layers", "blobs"] {
            for fan in self.place.names(&format!("work/store/{folder}")) {
                let names = self.place.names(&format!("work/store/{folder}/{fan}"));
                assert_eq!(names, Vec::<String>::new(), "{folder}");
            }
        }
        assert_eq!(self.place.names("work/store/tmp"), Vec::<String>::new());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = self.place.text("work");
        let mut targets: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|target| target.starts_with(&ours))
            .collect();
        targets.reverse();
        for target in targets {
            Command::new("umount").args(["-l", target]).status().ok();
        }
    }
}

/// The image of owners and rights, with what an image for mounts has to have besides.
pub(crate) fn rich() -> Image {
    let long = "n".repeat(255);
    let mut image = image::rich()
        .dir("many/", (0o755, 0, 0))
        .file("zeros", (0o644, 7, 7), vec![0; 70_000])
        .symlink("far", &"t".repeat(90))
        .xattr("trusted.overlay.opaque", b"y")
        .dir("opaque/", (0o755, 0, 0))
        .xattr("trusted.overlay.redirect", b"/etc")
        .file("opaque/in", (0o644, 0, 0), "in")
        .file(&long, (0o600, 3, 3), "long");
    for at in 0..400 {
        image = image.file(
            &format!("many/file-{at:04}-of-many"),
            (0o644, 0, 0),
            format!("{at}"),
        );
    }
    image
}

/// Everything that is to be seen of a tree and that [`super::bench::look`] does not show: links and attributes.
pub(crate) fn more(root: &Path) -> BTreeMap<PathBuf, (u64, BTreeMap<String, Vec<u8>>)> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(path) = waiting.pop() {
        let here = root.join(&path);
        let stat = fs::symlink_metadata(&here).unwrap();
        // How many links a directory has is for its file system to say.
        let links = if stat.is_dir() { 0 } else { stat.nlink() };
        let names = xattr::list(&here).unwrap();
        let xattrs = names.map(|name| {
            let value = xattr::get(&here, &name).unwrap().unwrap();
            (name.into_string().unwrap(), value)
        });
        let xattrs = xattrs.collect();
        if stat.is_dir() {
            let entries = fs::read_dir(&here).unwrap();
            waiting.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
        }
        found.insert(path, (links, xattrs));
    }
    found
}
