//! Owns a yard: a place in memory with the sample's images to import, where stores come and go.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::bench::{Mount, Place, Who};
use super::image::Image;

/// How many points of a command are tried.
pub(crate) fn points(usual: usize) -> usize {
    match std::env::var("OCISTORE_FAULTS") {
        Ok(text) if text == "long" => usize::MAX,
        Ok(text) => text.parse().unwrap(),
        Err(_) => usual,
    }
}

/// The layout that the images are from: small, by real tools, with all that layers can hold.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample")
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code, or 128 and the signal that ended it.
    pub(crate) code: i32,
    pub(crate) said: String,
}

impl Outcome {
    pub(crate) fn of(output: &Output) -> Self {
        let status = output.status;
        Self {
            code: status.code().or(status.signal().map(|s| 128 + s)).unwrap(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The first line that is an error.
    pub(crate) fn error(&self) -> &str {
        let is_error = |line: &&str| line.starts_with("ocistore: cannot ");
        self.said.lines().find(is_error).unwrap_or_default()
    }
}

/// A place with a folder `work` on a file system of its own.
pub(crate) struct Yard {
    /// Goes before the folder that it is in.
    pub(crate) mount: Mount,
    pub(crate) place: Place,
}

impl Yard {
    /// A yard in memory.
    pub(crate) fn new() -> Self {
        Self::with(Image::new(), |work| Mount::tmpfs(work, "size=512m"))
    }

    /// A yard on a file system that `mount` brings, with `image` as another one to import.
    pub(crate) fn with(image: Image, mount: impl FnOnce(PathBuf) -> Mount) -> Self {
        let place = Place::empty(Who::Root, image);
        if let Some(other) = std::env::var_os("OCISTORE_FAULTS_PROGRAM") {
            fs::remove_file(place.path("ocistore")).unwrap();
            fs::copy(other, place.path("ocistore")).unwrap();
        }
        let mount = mount(place.path("work"));
        Self { mount, place }
    }

    /// A path in its work.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path("work").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.place.out(name)
    }

    /// The program on the store, as words for another program to run; in these `@` is the work folder.
    pub(crate) fn words(&self, args: &[&str]) -> Vec<String> {
        let work = self.text("");
        let args = args.iter().map(|arg| arg.replace("@/", &work));
        let mut words = vec![self.place.text("ocistore"), "--store".to_owned()];
        words.push(self.text("store"));
        words.extend(args);
        words
    }

    /// Runs the program below another one.
    pub(crate) fn run_below(&self, above: &[&str], args: &[&str]) -> Outcome {
        let mut words: Vec<String> = above.iter().map(|&word| word.to_owned()).collect();
        words.extend(self.words(args));
        let mut command = Command::new(&words[0]);
        // Fewer threads, so that the n-th call is the same one each time.
        command.args(&words[1..]).env("RAYON_NUM_THREADS", "1");
        Outcome::of(&command.output().unwrap())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.run_below(&[], args)
    }

    /// Runs what has to work.
    pub(crate) fn ok(&self, args: &[&str]) {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.said);
    }

    /// Removes a file or folder of the work, whatever it is.
    pub(crate) fn clear(&self, name: &str) {
        let path = self.path(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
    }

    /// Puts a copy of one folder in the place of another.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        self.clear(to);
        let mut command = Command::new("cp");
        command.arg("-a").arg(self.path(from)).arg(self.path(to));
        assert!(command.status().unwrap().success());
    }

    /// Folders beside a target that a command which ended in its midst has left.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut names = self.place.names("work");
        names.retain(|name| name.contains(".ocistore-"));
        names
    }
}
