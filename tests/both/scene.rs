//! A store with a random image, and what one case does with it.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use ocistore::Result;
use ocistore::build::commit::{
    Base, Committed, Extent, Labels, Options, Source, Unchanged, commit,
};
use ocistore::build::documents::{Changes, History};
use ocistore::compress::Compression;
use ocistore::convert::rebuild::rebuild_if_lost;
use ocistore::image::Image;
use ocistore::meta::Mtime;
use ocistore::mount;
use ocistore::reference::ImageName;
use ocistore::rootfs::record::Record;
use ocistore::rootfs::scan::{self, Mask};
use ocistore::rootfs::{self, LinkMode, Ownership, checkout};
use ocistore::store::Store;
use ocistore::store::locks::Wait;
use ocistore::time::Time;
use ocistore::watch::Unwatched;
use ocistore::wire::Descriptor;

use crate::chance::Chance;
use crate::change::{draw, make, set_time};
use crate::seen::{Tree, assert_same, tree};

/// The newest time that what changed may have; all of a base is older.
pub(crate) const NEWEST: i64 = 1_600_000_000;

pub(crate) struct Scene {
    dir: tempfile::TempDir,
    store: Store,
    base: (Descriptor, Image),
    seen: Tree,
}

impl Scene {
    /// Makes an image of a random tree.
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let dir = crate::disk_folder::folder();
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        rebuild_if_lost(&store, &Unwatched).unwrap();
        let made = dir.path().join("made");
        fs::create_dir(&made).unwrap();
        for _ in 0..60 + chance.below(60) {
            let change = draw(&tree(&made, NEWEST), chance);
            make(&made, &change);
        }
        let paths: Vec<PathBuf> = tree(&made, NEWEST).into_keys().collect();
        for (nth, path) in paths.iter().rev().enumerate() {
            let here = if path.as_os_str().is_empty() {
                made.clone()
            } else {
                made.join(path)
            };
            set_time(&here, 1_000_000_000 + i64::try_from(nth).unwrap(), 7).unwrap();
        }
        let seen = tree(&made, NEWEST);
        let folder = File::open(&made).unwrap();
        let source = Source {
            dir: folder.as_fd(),
            base: None,
            upper: None,
        };
        let committed = make_image(&store, source, "base").unwrap();
        let image = store.image(&committed.manifest).unwrap();
        Self {
            base: (committed.manifest, image),
            dir,
            store,
            seen,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes one random change in both ways.
    pub(crate) fn try_case(&self, seed: u64) {
        let (copy, mounted) = (self.path("copy"), self.path("mounted"));
        let record = self.lay_out(&copy);
        let id = self.mount(&mounted);
        assert_same(&self.seen, &tree(&copy, NEWEST), "the base, laid out");
        assert_same(&self.seen, &tree(&mounted, NEWEST), "the base, mounted");
        let chance = &mut Chance::new(seed);
        let mut done = Vec::new();
        for _ in 0..=chance.below(12) {
            let change = draw(&tree(&copy, NEWEST), chance);
            let made = (make(&copy, &change), make(&mounted, &change));
            assert_eq!(made.0, made.1, "{change:?} after {done:#?}");
            done.extend(made.0.then_some(change));
        }
        let seen = tree(&copy, NEWEST);
        let what = format!("after {done:#?}");
        assert_same(&seen, &tree(&mounted, NEWEST), &format!("the mount {what}"));
        let of_copy = self
            .commit_copy(&copy, &record)
            .unwrap_or_else(|e| panic!("{e}, {what}"));
        let of_mount = self
            .commit_mount(&mounted, id)
            .unwrap_or_else(|e| panic!("{e}, {what}"));
        assert_eq!(of_copy.layer, of_mount.layer, "{what}");
        assert_eq!(of_copy.manifest, of_mount.manifest, "{what}");
        assert_eq!(of_copy.layer.is_none(), seen == self.seen, "{what}");
        let out = self.path("out");
        let writer = self.store.write().unwrap();
        let options = rootfs::Options::default();
        checkout(&writer, &of_copy.root, &out, &options, &Unwatched).unwrap();
        assert_same(&seen, &tree(&out, NEWEST), &format!("the new image {what}"));
        drop(writer);
        mount::umount(&self.store, &mounted, mount::Changes::Discard).unwrap();
        for path in [out, copy] {
            fs::remove_dir_all(path).unwrap();
        }
    }

    fn lay_out(&self, to: &Path) -> Record {
        let writer = self.store.write().unwrap();
        let options = rootfs::Options {
            link: LinkMode::Copy,
            flush: rootfs::Flush::Never,
            ..rootfs::Options::default()
        };
        let root = &self.base.1.root;
        checkout(&writer, root, to, &options, &Unwatched).unwrap();
        let folder = File::open(to).unwrap();
        let taken = self
            .store
            .view(|view| Record::take(folder.as_fd(), view, root, &Unwatched));
        taken.unwrap()
    }

    fn mount(&self, at: &Path) -> mount::MountId {
        let reader = self.store.read().unwrap();
        let (descriptor, image) = &self.base;
        let spec = mount::Spec {
            descriptor,
            manifest: descriptor.digest,
            root: image.root,
            target: at,
            access: mount::Access::ReadWrite,
            bundle: None,
        };
        mount::mount(&reader, &spec, &Unwatched).unwrap().id
    }

    fn over_base<'a>(&'a self, record: Option<&'a Record>) -> Base<'a> {
        Base {
            manifest: &self.base.0,
            image: &self.base.1,
            record,
        }
    }

    fn commit_copy(&self, copy: &Path, record: &Record) -> Result<Committed> {
        let folder = File::open(copy).unwrap();
        let source = Source {
            dir: folder.as_fd(),
            base: Some(self.over_base(Some(record))),
            upper: None,
        };
        make_image(&self.store, source, "copy")
    }

    fn commit_mount(&self, mounted: &Path, id: mount::MountId) -> Result<Committed> {
        let folder = File::open(mounted).unwrap();
        let upper = mount::upper(&self.store, id).unwrap();
        let source = Source {
            dir: folder.as_fd(),
            base: Some(self.over_base(None)),
            upper: Some(upper.as_fd()),
        };
        make_image(&self.store, source, "mount")
    }
}

pub(crate) fn make_image(store: &Store, source: Source<'_>, name: &str) -> Result<Committed> {
    let writer = store.write().unwrap();
    let labels = Labels {
        created: Time::of_unix(0),
        changes: Changes::default(),
        history: Some(History::default()),
        unchanged: Unchanged::Unsaid,
        platform: "linux/amd64".to_owned(),
    };
    let options = Options {
        scan: scan::Options {
            owners: Ownership::AsImage,
            mask: Mask::default(),
            clamp: Some(Mtime {
                secs: NEWEST,
                nanos: 0,
            }),
        },
        extent: Extent::Changes,
        compression: Compression::None,
        jobs: None,
    };
    let names = [ImageName::parse(name).unwrap()];
    commit(&writer, source, (labels, &options), &names, &Unwatched)
}
