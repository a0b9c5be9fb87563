//! Owns a place to work in, whoever is to work there, and looking at what came of it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::image::Image;

/// Tells whether what this needs is there: root, and these programs. Where it has to be, its lack is a failure.
pub(crate) fn can_run(programs: &[&str]) -> bool {
    // A container may have the program and not the right.
    let found = |program: &&str| {
        let attempt: &[&str] = match *program {
            "mount" => &["unshare", "--mount", "true"],
            "unshare" => &["setpriv", "--reuid=100000", "unshare", "--user", "true"],
            other => &["which", other],
        };
        let known = Command::new(attempt[0]).args(&attempt[1..]).output();
        known.is_ok_and(|output| output.status.success())
    };
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let able = root && programs.iter().all(found);
    assert!(
        able || std::env::var_os("OCISTORE_REQUIRE_PEERS").is_none(),
        "this test needs root and {programs:?}"
    );
    if !able {
        eprintln!("skipped: this test needs root and {programs:?}");
    }
    able
}

/// Who runs a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Root,
    /// An ordinary user, without groups.
    User,
    /// The root of a user namespace that an ordinary user made, of the 65536 ids from his own on.
    Namespaced,
}

impl Who {
    /// The user that he is for everybody else.
    pub(crate) fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::User => 12_345,
            Self::Namespaced => 100_000,
        }
    }

    /// Returns a command that runs as this user; the words after the program's come from the caller.
    fn command(self, program: &Path) -> Command {
        if self == Self::Root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let id = self.id();
        command.args([format!("--reuid={id}"), format!("--regid={id}")]);
        command.arg("--clear-groups");
        if self == Self::Namespaced {
            // Waits until the maps are there: who he is in the namespace is decided when the program starts.
            let script = r#"echo ready && read -r line && exec "$@""#;
            command.args(["unshare", "--user", "sh", "-c", script, "sh"]);
        }
        command.arg(program);
        command
    }

    fn output(self, mut command: Command) -> Output {
        if self != Self::Namespaced {
            return command.output().unwrap();
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        // Byte by byte, so that nothing of what follows is swallowed.
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, stdout)
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n");
        for map in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{map}", child.id());
            fs::write(path, format!("0 {} 65536", self.id())).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child.wait_with_output().unwrap()
    }
}

/// A file system of the test's own, gone with it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn new(at: PathBuf, args: &[&str]) -> Self {
        fs::create_dir_all(&at).unwrap();
        let done = Command::new("mount").args(args).arg(&at).status().unwrap();
        assert!(done.success(), "mount {args:?} {}", at.display());
        Self(at)
    }

    pub(crate) fn tmpfs(at: PathBuf, options: &str) -> Self {
        Self::new(at, &["-t", "tmpfs", "-o", options, "ocistore-test"])
    }

    pub(crate) fn bind(from: &str, at: PathBuf) -> Self {
        Self::new(at, &["--bind", from])
    }

    pub(crate) fn remount(&self, how: &str) -> bool {
        let how = format!("remount,{how}");
        let done = Command::new("mount")
            .args(["-o", &how])
            .arg(&self.0)
            .output();
        done.unwrap().status.success()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        if !done.is_ok_and(|done| done.success()) {
            Command::new("umount").arg("-l").arg(&self.0).status().ok();
        }
    }
}

/// A folder of one user's, with a store, what can be imported, and a program that the user can reach.
pub(crate) struct Place {
    /// Goes before the folder that it is in.
    memory: Option<Mount>,
    dir: TempDir,
    pub(crate) who: Who,
}

impl Place {
    /// A place whose store has `image`, as `image:1`.
    pub(crate) fn with(who: Who, image: Image) -> Self {
        let place = Self::empty(who, image);
        place.ok(&["import", &place.text("image")]);
        place
    }

    /// A place whose store is still to be made.
    pub(crate) fn empty(who: Who, image: Image) -> Self {
        let dir = super::disk_folder::folder();
        let place = Self {
            memory: None,
            dir,
            who,
        };
        fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
        let built = env!("CARGO_BIN_EXE_ocistore");
        let program = place.path("ocistore");
        if fs::hard_link(built, &program).is_err() {
            fs::copy(built, &program).unwrap();
        }
        image.write(&place.path("image"));
        fs::create_dir(place.path("work")).unwrap();
        place.give("work");
        place
    }

    /// A place whose work is on a disk that waits for nothing, for what is done many times.
    pub(crate) fn in_memory(who: Who, image: Image) -> Self {
        let mut place = Self::empty(who, image);
        place.memory = Some(Mount::tmpfs(place.path("work"), "size=512m"));
        place.give("work");
        place.ok(&["import", &place.text("image")]);
        place
    }

    /// Gives a file to whoever this place is for.
    pub(crate) fn give(&self, name: &str) {
        let id = Some(self.who.id());
        std::os::unix::fs::chown(self.path(name), id, id).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Where a checkout of this name goes.
    pub(crate) fn out(&self, name: &str) -> String {
        self.text(&format!("work/{name}"))
    }

    /// The program, run by `who` on this place's store.
    pub(crate) fn command(&self, who: Who) -> Command {
        let mut command = who.command(&self.path("ocistore"));
        command.arg("--store").arg(self.path("work/store"));
        command
    }

    pub(crate) fn run(&self, who: Who, args: &[&str]) -> Output {
        let mut command = self.command(who);
        command.args(args);
        who.output(command)
    }

    /// Runs what has to work; returns what it said beside its result.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(self.who, args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {errors}");
        errors
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(self.who, &[args, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs what has to fail; returns its exit code and the one line it said.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(self.who, args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{args:?} should fail");
        let line = errors.lines().next().unwrap_or_default().to_owned();
        let code = output.status.code().unwrap();
        assert!(code == 64 || errors.lines().count() == 1, "{errors}");
        (code, line)
    }

    /// Checks that the store is sound, and that collecting takes nothing that is needed.
    pub(crate) fn is_sound(&self) {
        for args in [&["fsck"][..], &["gc"], &["fsck"]] {
            let output = self.run(self.who, args);
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{args:?}: {said}{errors}");
        }
    }

    /// What is in a folder.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// All that is below a folder.
    pub(crate) fn tree(&self, name: &str) -> Tree {
        look(&self.path(name))
    }
}

/// All that is to be seen below a folder, itself included, by path.
pub(crate) type Tree = BTreeMap<String, Entry>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) body: Vec<u8>,
    /// The first path of the same inode.
    pub(crate) same: String,
}

pub(crate) fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first = BTreeMap::new();
    look_below(root, Path::new(""), &mut first, &mut tree);
    tree
}

fn look_below(root: &Path, path: &Path, first: &mut BTreeMap<u64, String>, tree: &mut Tree) {
    let here = root.join(path);
    let stat = fs::symlink_metadata(&here).unwrap();
    let kind = stat.file_type();
    let (kind, body) = match kind {
        _ if kind.is_dir() => ('d', Vec::new()),
        _ if kind.is_symlink() => {
            let target = fs::read_link(&here).unwrap();
            ('l', target.into_os_string().into_encoded_bytes())
        }
        _ if kind.is_file() => ('f', fs::read(&here).unwrap()),
        _ if kind.is_fifo() => ('p', Vec::new()),
        _ => ('c', stat.rdev().to_string().into_bytes()),
    };
    if kind == 'd' {
        let entries = fs::read_dir(&here).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            look_below(root, &path.join(name), first, tree);
        }
    }
    // No two names of the images here become one by this.
    let path = path.to_string_lossy().into_owned();
    let same = first.entry(stat.ino()).or_insert_with(|| path.clone());
    let entry = Entry {
        kind,
        mode: stat.mode() & 0o7777,
        owner: (stat.uid(), stat.gid()),
        mtime: (stat.mtime(), stat.mtime_nsec()),
        body,
        same: same.clone(),
    };
    tree.insert(path, entry);
}
