//! Owns checking out a whole image so that it can be updated later: the store is told what the directory holds, and how
//! its files were made.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::digest::TreeId;
use crate::error::{Context as _, Error, Result, quoted};
use crate::rootfs::{self, LinkMode, Options, Ownership, Report, Warning};
use crate::store::Writer;
use crate::store::checkouts::{Identity, Lasting, Record, State};
use crate::watch::Watch;
use crate::wire::Descriptor;

/// What a directory is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The manifest.
    pub manifest: &'a Descriptor,
    /// The root of its tree.
    pub root: &'a TreeId,
}

/// How the files of a checkout were made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct How {
    /// How they relate to the store's.
    pub link: LinkMode,
    /// Whose they are.
    pub owners: Ownership,
    /// Whether devices could not be made.
    pub lacks_devices: bool,
}

/// Lays out an image as the directory `target`, which must be empty or not there yet ([`rootfs::checkout`]).
///
/// Beside the report it is returned why the directory cannot be updated later, where the store could not take a record
/// of it. One of a part of an image never can, and has none.
pub fn checkout(
    writer: &Writer<'_>,
    wanted: Wanted<'_>,
    target: &Path,
    options: &Options,
    watch: &dyn Watch,
) -> Result<(Report, Option<Error>)> {
    let record = |dir: BorrowedFd<'_>, report: &Report| -> Result<()> {
        if options.sub.is_some() {
            return Ok(());
        }
        let how = How {
            link: options.link,
            owners: options.owners.clone(),
            lacks_devices: lacks_devices(report),
        };
        let record = Record {
            path: real_path(target)?,
            identity: Identity::of(dir).context("look at", quoted(target))?,
            manifest: wanted.manifest.clone(),
            state: State::Whole(*wanted.root),
            how: how.to_json(),
        };
        writer.record_checkout(&record, Lasting::Whenever)
    };
    let from = (writer, wanted.root);
    let (report, recorded) = rootfs::checkout_and(from, target, options, watch, record)?;
    Ok((report, recorded.err()))
}

/// Returns the path of a directory without symlinks.
pub(super) fn real_path(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().context("look at", quoted(dir))
}

pub(super) fn lacks_devices(report: &Report) -> bool {
    report.warnings.contains_key(&Warning::DeviceSkipped)
}

impl How {
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let Self {
            link,
            owners,
            lacks_devices,
        } = self;
        let fields = [
            ("link", json!(link_text(*link))),
            ("owners", owners.to_json()),
            ("lacks-devices", json!(lacks_devices)),
        ];
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    pub(super) fn from_json(map: &Map<String, Value>) -> Result<Self, String> {
        let field = |name: &str| map.get(name).ok_or(format!("no '{name}'"));
        let link = field("link")?.as_str();
        let all = [LinkMode::Hardlink, LinkMode::Reflink, LinkMode::Copy];
        let link = all.into_iter().find(|mode| link == Some(link_text(*mode)));
        let owners = field("owners")?.as_object().ok_or("no object 'owners'")?;
        let lacks = field("lacks-devices")?.as_bool();
        Ok(Self {
            link: link.ok_or("'link' is none that is known")?,
            owners: Ownership::from_json(owners)?,
            lacks_devices: lacks.ok_or("'lacks-devices' is neither true nor false")?,
        })
    }
}

/// Returns a way to make files as flags and records call it.
pub(crate) fn link_text(link: LinkMode) -> &'static str {
    match link {
        LinkMode::Hardlink => "hardlink",
        LinkMode::Reflink => "reflink",
        LinkMode::Copy => "copy",
    }
}
