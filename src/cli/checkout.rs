//! `checkout`: lays out a root filesystem.

use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;

use super::args::{self, Checkout};
use super::output::{self, Output};
use super::session::Session;
use crate::error::{Error, Result};
use crate::idmap::IdMap;
use crate::path::TreePath;
use crate::rootfs::{Flush, LinkMode, Options, Ownership, Report, Strictness, checkout};

pub(super) fn run(session: &Session, args: &Checkout) -> Result<()> {
    let options = options(session, args)?;
    let store = session.open()?;
    let writer = store.write()?;
    let found = store.find_image(&args.reference, args.platform.as_deref())?;
    let image = store.image(&found)?;
    session.watch().begin("checking out", None);
    let report = checkout(
        &writer,
        &image.root,
        &args.target,
        &options,
        session.watch(),
    );
    session.watch().end();
    let report = report?;
    say(session, &report);
    let target = args.target.display().to_string();
    Output {
        text: text(&report),
        json: json!({"digest": found.digest.to_string(), "target": target, "report": report}),
        quiet: vec![found.digest.to_string()],
    }
    .print(session)
}

fn options(session: &Session, args: &Checkout) -> Result<Options> {
    let sub = args.path.as_ref().map(|sub| {
        TreePath::parse(sub.as_bytes())
            .map_err(|e| Error::usage("check out", sub.to_string_lossy(), e.to_string()))
    });
    Ok(Options {
        link: match args.link {
            args::Link::Hardlink => LinkMode::Hardlink,
            args::Link::Reflink => LinkMode::Reflink,
            args::Link::Copy => LinkMode::Copy,
        },
        jobs: std::num::NonZeroUsize::new(session.jobs()),
        sub: sub.transpose()?,
        owners: owners(args)?,
        strictness: match args.strict {
            true => Strictness::Refuse,
            false => Strictness::Report,
        },
        flush: match args.no_sync {
            true => Flush::Never,
            false => Flush::Whole,
        },
    })
}

fn owners(args: &Checkout) -> Result<Ownership> {
    let uids = id_map("--uid-map", &args.uid_map)?;
    let gids = id_map("--gid-map", &args.gid_map)?;
    Ok(if args.rootless {
        Ownership::rootless()
    } else if uids.is_some() || gids.is_some() {
        Ownership::Mapped { uids, gids }
    } else {
        Ownership::of_process()
    })
}

/// Reads all values of a flag; without any there is no map, and ids stay as they are.
fn id_map(flag: &str, ranges: &[String]) -> Result<Option<IdMap>> {
    if ranges.is_empty() {
        return Ok(None);
    }
    let mut map = IdMap::default();
    for range in ranges {
        map.add(range)
            .map_err(|e| Error::usage("use", format!("'{flag} {range}'"), e.to_string()))?;
    }
    Ok(Some(map))
}

fn say(session: &Session, report: &Report) {
    for (warning, seen) in &report.warnings {
        let more = if seen.count > 1 {
            format!(" (and {} more)", seen.count - 1)
        } else {
            String::new()
        };
        session.say(&format!(
            "ocistore: warning: {}{more}: {}",
            seen.first,
            warning.text()
        ));
    }
}

fn text(report: &Report) -> String {
    let mut lines = String::new();
    for (how, count) in [
        ("linked", report.linked),
        ("reflinked", report.reflinked),
        ("copied", report.copied),
    ] {
        if count.files > 0 {
            lines += &format!(
                "{how:<10} {:>8} files  {}\n",
                count.files,
                output::bytes(count.bytes)
            );
        }
    }
    for (reason, count) in &report.reasons {
        lines += &format!("           {count:>8} not as asked: {}\n", reason.text());
    }
    let Report {
        empty,
        names,
        directories,
        symlinks,
        other,
        ..
    } = report;
    lines
        + &format!(
            "made       {directories:>8} folders  {symlinks} symlinks, {empty} empty files, {names} more names, {other} other\n"
        )
}
