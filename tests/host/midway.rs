//! Owns meddling with a checkout while it is at work: it is stopped, something is done, and it goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::bench::{Place, Who};
use super::image::Image;

/// An image with a lot to make: directories full of files, symlinks and fifos.
pub(crate) fn broad() -> Image {
    let mut image = Image::new().dir("./", (0o755, 0, 0));
    for dir in 0..60 {
        image = image.dir(&format!("d{dir}/"), (0o755, 0, 0));
        for at in 0..40 {
            let bytes = format!("file {at} of directory {dir}");
            image = image.file(&format!("d{dir}/f{at}"), (0o644, 0, 0), bytes);
        }
        for at in 0..8 {
            image = image
                .symlink(&format!("d{dir}/s{at}"), "f0")
                .fifo(&format!("d{dir}/p{at}"), (0o622, 0, 0));
        }
    }
    image
}

/// Returns the directories on their way to a place in `folder`.
pub(crate) fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(".ocistore-"))
        .collect()
}

/// A checkout that was caught at work.
pub(crate) struct Caught {
    child: Child,
    /// The directory on its way.
    pub(crate) staging: PathBuf,
}

impl Caught {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it go on; returns its exit code and the first line it said.
    pub(crate) fn go_on(self) -> (i32, String) {
        let output = self.finish();
        let errors = String::from_utf8(output.stderr).unwrap();
        let line = errors.lines().next().unwrap_or_default().to_owned();
        (output.status.code().unwrap(), line)
    }

    fn finish(self) -> Output {
        self.signal(Signal::CONT);
        self.child.wait_with_output().unwrap()
    }

    fn is_stopped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    }
}

/// Starts a checkout with copies to `folder/tree` and stops it at work, which may take some attempts.
pub(crate) fn catch(place: &Place, who: Who, folder: &str) -> Caught {
    let target = place.text(&format!("{folder}/tree"));
    for attempt in 0..200 {
        let mut command: Command = place.command(who);
        command.args(["checkout", "--link", "copy", "image:1", &target]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let staging = loop {
            if let Some(staging) = unfinished(&place.path(folder)).pop() {
                break Some(staging);
            }
            if child.try_wait().unwrap().is_some() {
                break None;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        let Some(staging) = staging else { continue };
        // Not always at its beginning.
        std::thread::sleep(Duration::from_millis(attempt % 20));
        let caught = Caught { child, staging };
        caught.signal(Signal::STOP);
        while !caught.is_stopped() && caught.staging.exists() {
            std::thread::yield_now();
        }
        if caught.is_stopped() && caught.staging.exists() {
            return caught;
        }
        caught.finish();
        fs::remove_dir_all(&target).ok();
    }
    panic!("no checkout could be stopped at work");
}
