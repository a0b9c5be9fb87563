//! Owns what a checkout tells: how many files were linked, which were not and why, and what the host would not take.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a checkout did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Files that are hard links into the store.
    pub linked: Count,
    /// Files of their own that share their bytes with the store's.
    pub reflinked: Count,
    /// Files of their own whose bytes were copied.
    pub copied: Count,
    /// Files without bytes.
    pub empty: u64,
    /// Further names of files and other inodes that the image itself links.
    pub names: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices and fifos.
    pub other: u64,
    /// Why files are not what was asked for (links, reflinks), and how many.
    pub reasons: BTreeMap<Reason, u64>,
    /// What is not as the image has it.
    pub warnings: BTreeMap<Warning, Occurrences>,
}

/// A number of files and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Count {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    pub(super) fn merge(&mut self, other: Self) {
        let Self { files, bytes } = other;
        self.files += files;
        self.bytes += bytes;
    }
}

/// Why a file was copied where another way was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Reason {
    /// The store is on another file system than the checkout.
    #[serde(rename = "other filesystem")]
    OtherFilesystem,
    /// The file system or its rules do not allow the link.
    #[serde(rename = "hard links not permitted")]
    LinkRefused,
    /// The file has as many names as it can have, and a fresh one could not be put in its place.
    #[serde(rename = "link limit")]
    LinkLimit,
    /// Its mode keeps its owner from reading it, so that an ordinary user's store could not check it again.
    #[serde(rename = "unreadable by its mode")]
    Unreadable,
    /// The host does not take an attribute of the file, so that the store cannot hold it to be linked.
    #[serde(rename = "xattr refused")]
    XattrRefused,
    /// A collection moved the store's file away while this went on, and another put its bytes in place with other
    /// attributes.
    #[serde(rename = "replaced in the store meanwhile")]
    Replaced,
    /// The file system cannot share bytes between files.
    #[serde(rename = "reflink not supported")]
    NoReflink,
}

impl Reason {
    /// Returns it in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::OtherFilesystem => "other filesystem",
            Self::LinkRefused => "hard links not permitted",
            Self::LinkLimit => "link limit",
            Self::Replaced => "replaced in the store meanwhile",
            Self::Unreadable => "unreadable by its mode",
            Self::XattrRefused => "xattr refused",
            Self::NoReflink => "reflink not supported",
        }
    }
}

/// A way in which a checkout is not as the image has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Warning {
    /// The host does not take an extended attribute.
    #[serde(rename = "xattr refused")]
    XattrRefused,
    /// There is no right to make a device.
    #[serde(rename = "device skipped")]
    DeviceSkipped,
    /// More names than the file system can give one inode.
    #[serde(rename = "link group split")]
    GroupSplit,
}

impl Warning {
    /// Returns it in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::XattrRefused => "xattr refused",
            Self::DeviceSkipped => "device skipped",
            Self::GroupSplit => "link group split",
        }
    }
}

/// How often something happened and where first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Occurrences {
    /// How often.
    pub count: u64,
    /// The first path in tree order, escaped as [`crate::path::escape`] does, and what is to be said of it.
    pub first: String,
}

impl Report {
    /// Takes in the counts of another part of the same checkout; warnings are told apart from them.
    pub(super) fn merge(&mut self, other: Self) {
        let Self {
            linked,
            reflinked,
            copied,
            empty,
            names,
            directories,
            symlinks,
            other: rest,
            reasons,
            warnings,
        } = other;
        self.linked.merge(linked);
        self.reflinked.merge(reflinked);
        self.copied.merge(copied);
        self.empty += empty;
        self.names += names;
        self.directories += directories;
        self.symlinks += symlinks;
        self.other += rest;
        for (reason, count) in reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.warnings.extend(warnings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_reason_are_the_same_in_json() {
        for reason in [
            Reason::Replaced,
            Reason::OtherFilesystem,
            Reason::LinkRefused,
            Reason::LinkLimit,
            Reason::Unreadable,
            Reason::XattrRefused,
            Reason::NoReflink,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.text());
        }
        for warning in [
            Warning::XattrRefused,
            Warning::DeviceSkipped,
            Warning::GroupSplit,
        ] {
            assert_eq!(serde_json::to_value(warning).unwrap(), warning.text());
        }
    }
}
