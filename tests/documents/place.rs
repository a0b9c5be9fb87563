//! A store of its own with the sample in it, and a folder beside it to write to.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// What `SOURCE_DATE_EPOCH` is in these tests, and how it is written.
pub(crate) const EPOCH: (&str, &str) = ("1700000000", "2023-11-14T22:13:20Z");

pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn with_sample() -> Self {
        let place = Self::new();
        place.ok(&["import", sample().to_str().unwrap()]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs ocistore on this store, with the time of these tests.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_at(EPOCH.0, args)
    }

    /// Runs ocistore on this store, with another `SOURCE_DATE_EPOCH`.
    pub(crate) fn run_at(&self, epoch: &str, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("ocistore").unwrap();
        let command = command.env("SOURCE_DATE_EPOCH", epoch);
        command
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .output()
            .unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what has to fail; returns its exit code and the first line it said.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} should fail");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = errors.lines().next().unwrap_or_default().to_owned();
        (output.status.code().unwrap(), line)
    }

    /// Returns the digest that a reference leads to.
    pub(crate) fn digest(&self, reference: &str) -> String {
        self.ok(&["inspect", "-q", reference]).trim().to_owned()
    }

    pub(crate) fn config(&self, reference: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "--config", reference])).unwrap()
    }

    pub(crate) fn manifest(&self, reference: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "--raw", reference])).unwrap()
    }
}

pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sample")
}
