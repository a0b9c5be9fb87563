//! Owns the store, the host around it, and what a test says of an import: accepted as this tree, or refused with that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

use crate::layout::{self, Layer, Layout};
use crate::tarball::Tar;
use crate::tree;

/// A store, a layout to import, and room for checkouts.
pub struct World {
    /// What is mounted goes before the folder it is mounted in.
    mount: Option<Mount>,
    dir: TempDir,
    /// How many MiB the program may write to, where that is bounded.
    memory: Option<u32>,
}

/// A file system in a file.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that another test is just starting may have a handle on it for a moment.
        let umount = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status();
        assert!(umount.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// What an import said.
pub struct Imported {
    /// Its JSON document.
    pub report: Value,
    /// The checkout.
    pub root: PathBuf,
    world: World,
}

/// Imports an image of these layers: it has to be accepted, and to come back byte for byte.
pub fn accepts<L: Into<Layer>>(layers: impl IntoIterator<Item = L>) -> Imported {
    World::new().accepts(layers, &[])
}

/// Imports an image of these layers: it has to be refused as malformed, saying all of `why`.
pub fn refuses<L: Into<Layer>>(layers: impl IntoIterator<Item = L>, why: &[&str]) {
    let world = World::new();
    let layers: Vec<Layer> = layers.into_iter().map(Into::into).collect();
    let layout = world.layout();
    layout.index(&[layout.image(&layers)]);
    world.refuses(&layout.source(), 4, why);
}

/// Imports a tar as the only layer: its last entry has to be refused, by name and place in its layer.
///
/// `lower` layers come before it.
pub fn refuses_last(lower: &[Tar], tar: Tar, name: &str, why: &str) {
    let at = tar.at;
    refuses_at(lower, &tar.end(), at, name, why);
}

/// As [`refuses_last`], for a tar whose end is its own affair.
pub fn refuses_at(lower: &[Tar], tar: &[u8], at: usize, name: &str, why: &str) {
    let layer = Layer::gzip(tar);
    let blob = layer.descriptor()["digest"].as_str().unwrap().to_owned();
    let place = match name {
        "" => format!("entry at byte {at}: "),
        name => format!("entry '{name}' at byte {at}: "),
    };
    let lower = lower.iter().map(|tar| Layer::from(tar.clone()));
    let layers: Vec<Layer> = lower.chain([layer]).collect();
    refuses(layers, &[&blob, &place, why]);
}

impl World {
    /// Makes one whose store is there and empty.
    pub fn new() -> Self {
        Self::begin(None, folder())
    }

    /// Makes one on a file system of its own; none without root, loop devices or the program to make it.
    pub fn mounted(mkfs: &[&str]) -> Option<Self> {
        let dir = folder();
        let (image, place) = (dir.path().join("image"), dir.path().join("mount"));
        fs::File::create(&image)
            .unwrap()
            .set_len(300 << 20)
            .unwrap();
        fs::create_dir(&place).unwrap();
        let run = |program: &str, args: &[&str]| {
            let mut command = std::process::Command::new(program);
            command.args(args).arg(&image);
            if program == "mount" {
                command.arg(&place);
            }
            command.status().is_ok_and(|status| status.success())
        };
        let mounted = is_root() && run(mkfs[0], &mkfs[1..]) && run("mount", &["-o", "loop"]);
        let required = std::env::var_os("OCISTORE_REQUIRE_PEERS").is_some();
        assert!(
            mounted || !required,
            "{} and a loop device are needed here",
            mkfs[0]
        );
        mounted.then(|| Self::begin(Some(Mount(place)), dir))
    }

    /// Makes one in which every user may make files.
    pub fn shared() -> Self {
        let world = Self::new();
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(world.dir.path(), everyone).unwrap();
        world
    }

    /// Runs the program as an ordinary user, with a store of that user's own, in a world that is [`World::shared`].
    pub fn run_as_user(&self, args: &[&str]) -> Output {
        std::process::Command::new("setpriv")
            .args(["--reuid=54321", "--regid=54321", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_ocistore"))
            .arg("--store")
            .arg(self.path("users"))
            .args(args)
            .current_dir("/")
            .output()
            .unwrap()
    }

    /// As [`World::ok`], as an ordinary user.
    pub fn ok_as_user(&self, args: &[&str]) -> Value {
        let output = self.run_as_user(&[args, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn begin(mount: Option<Mount>, dir: TempDir) -> Self {
        let world = Self {
            mount,
            dir,
            memory: None,
        };
        fs::create_dir(world.path("host")).unwrap();
        world.ok(&["init"]);
        world
    }

    /// Makes one whose program has no more memory than this.
    pub fn of_mib(memory: u32) -> Self {
        Self {
            memory: Some(memory),
            ..Self::new()
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        match &self.mount {
            Some(Mount(place)) => place.join(name),
            None => self.dir.path().join(name),
        }
    }

    /// Returns a new, empty layout beside the store, called `image`.
    pub fn layout(&self) -> Layout {
        Layout::make(self.path("image"))
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.program()
            .current_dir(self.path("host"))
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .timeout(Duration::from_secs(300))
            .output()
            .unwrap()
    }

    fn program(&self) -> Command {
        let Some(mib) = self.memory else {
            return Command::cargo_bin("ocistore").unwrap();
        };
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"ulimit -d "$0" && exec "$@""#])
            .arg((u64::from(mib) << 10).to_string())
            .arg(assert_cmd::cargo::cargo_bin("ocistore"));
        shell
    }

    /// Runs what has to succeed; returns its JSON document.
    pub fn ok(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs what has to fail; returns its exit code and all it said.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} should fail");
        assert!(output.stdout.is_empty(), "{args:?} printed a result");
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), errors)
    }

    /// Imports an image of these layers, checks it out, and compares its export with what came.
    pub fn accepts<L: Into<Layer>>(
        self,
        layers: impl IntoIterator<Item = L>,
        flags: &[&str],
    ) -> Imported {
        let layers: Vec<Layer> = layers.into_iter().map(Into::into).collect();
        let layout = self.layout();
        layout.index(&[layout.image(&layers)]);
        self.accepts_layout(&layout, flags)
    }

    /// Imports a layout of one image, checks it out, and compares its export with what came.
    pub fn accepts_layout(self, layout: &Layout, flags: &[&str]) -> Imported {
        let report = self.ok(&[&["import", &layout.source()], flags].concat());
        let root = self.path("root");
        self.ok(&["checkout", "image", root.to_str().unwrap()]);
        let copy = self.path("copy");
        self.ok(&["export", "image", &format!("oci:{}", copy.display())]);
        assert!(
            layout::blobs_in(&copy) == layout.blobs(),
            "the export is not what came"
        );
        let fsck = self.run(&["fsck"]);
        assert!(fsck.status.success(), "fsck: {fsck:?}");
        Imported {
            report,
            root,
            world: self,
        }
    }

    /// Imports what has to be refused: the one line of the error says all of `why`, and nothing is changed.
    pub fn refuses(&self, source: &str, code: i32, why: &[&str]) {
        self.refuses_with(source, &[], code, why);
    }

    /// As [`World::refuses`], with flags.
    pub fn refuses_with(&self, source: &str, flags: &[&str], code: i32, why: &[&str]) {
        let before = tree::snapshot(self.dir.path());
        let (actual, said) = self.fails(&[&["import", source], flags].concat());
        let line = said.trim_end();
        assert_eq!(actual, code, "{line}");
        assert!(
            line.starts_with("ocistore: cannot ") && !line.contains('\n'),
            "expected one line, got {line}"
        );
        for why in why {
            assert!(line.contains(why), "expected '{why}' in: {line}");
        }
        let after = tree::snapshot(self.dir.path());
        for (path, was) in &before {
            assert_eq!(after.get(path), Some(was), "{}", path.display());
        }
        // The lock that writers begin under is made by the first, and stays.
        let lock = Path::new("store/locks/sessions");
        let new = after
            .keys()
            .filter(|path| !before.contains_key(*path) && *path != lock);
        assert_eq!(new.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }
}

impl Imported {
    /// Compares the checked-out tree, as [`tree::list`] writes it.
    #[track_caller]
    pub fn tree(self, wanted: &[&str]) -> Self {
        assert_eq!(tree::list(&self.root), wanted);
        self
    }

    /// Compares what kinds of warnings there were, in the order of their names' declaration.
    #[track_caller]
    pub fn warns(self, wanted: &[(&str, u64)]) -> Self {
        let warnings = self.report["warnings"].as_array().unwrap();
        let kinds: Vec<(&str, u64)> = warnings
            .iter()
            .map(|w| (w["kind"].as_str().unwrap(), w["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(kinds, wanted);
        self
    }

    /// Compares the metadata of one name, as [`tree::stat`] writes it; without root, owners are not looked at.
    #[track_caller]
    pub fn stat(self, path: &str, wanted: &str) -> Self {
        let seen = tree::stat(&self.path(path));
        if is_root() {
            assert_eq!(seen, wanted, "{path}");
        } else {
            let without_owner = |text: &str| {
                let mut parts = text.split(' ');
                (
                    parts.next().map(str::to_owned),
                    parts.nth(1).map(str::to_owned),
                )
            };
            assert_eq!(without_owner(&seen), without_owner(wanted), "{path}");
        }
        self
    }

    /// Compares the extended attributes of one name, as [`tree::xattrs`] writes them.
    #[track_caller]
    pub fn xattrs(self, path: &str, wanted: &[&str]) -> Self {
        assert_eq!(tree::xattrs(&self.path(path)), wanted, "{path}");
        self
    }

    /// Imports the same with `--strict` into a store of its own, which has to be refused.
    #[track_caller]
    pub fn strictly_refused(self, why: &[&str]) -> Self {
        let strict = World::new();
        let source = format!("oci:{}", self.world.path("image").display());
        let why = [why, &["without --strict"]].concat();
        strict.refuses_with(&source, &["--strict"], 4, &why);
        self
    }

    /// Returns where a name of the checkout is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path))
    }

    /// Returns the store, and what else there is.
    pub fn world(&self) -> &World {
        &self.world
    }
}

/// Makes an empty folder: in memory where that can hold all that these tests need, since none waits for a disk's sake.
fn folder() -> TempDir {
    let in_memory = || {
        let place = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(place).ok()?;
        let enough = room.f_bavail * room.f_frsize >= 1 << 30;
        let dir = tempfile::tempdir_in(place).ok().filter(|_| enough)?;
        xattr::set(dir.path(), "user.try", b"1").ok().map(|()| dir)
    };
    match std::env::var_os("TMPDIR") {
        Some(_) => tempfile::tempdir().unwrap(),
        None => in_memory().unwrap_or_else(|| tempfile::tempdir().unwrap()),
    }
}

/// Runs what must not take long, however slow the machine is.
#[track_caller]
pub fn quickly<T>(run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = run();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    outcome
}

/// Tells whether owners, devices and other things that take root can be compared.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    let required = std::env::var_os("OCISTORE_REQUIRE_PEERS").is_some();
    assert!(root || !required, "these tests need root here");
    root
}
