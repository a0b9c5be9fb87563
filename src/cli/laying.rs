//! Owns what `checkout` and `unpack` have in common: whose files are, and what is told of how they were made.

use super::args::{self, Laying};
use super::output;
use super::session::Session;
use crate::error::{Error, Result};
use crate::idmap::IdMap;
use crate::rootfs::{Flush, LinkMode, Options, Ownership, Report, Strictness};

pub(super) fn options(session: &Session, args: &Laying, link: args::Link) -> Result<Options> {
    Ok(Options {
        link: match link {
            args::Link::Hardlink => LinkMode::Hardlink,
            args::Link::Reflink => LinkMode::Reflink,
            args::Link::Copy => LinkMode::Copy,
        },
        jobs: std::num::NonZeroUsize::new(session.jobs()),
        sub: None,
        owners: owners(&args.owners)?,
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

/// Returns whose files are to be, or are.
pub(super) fn owners(args: &args::Owners) -> Result<Ownership> {
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

/// Says what is not as the image has it.
pub(super) fn say(session: &Session, report: &Report) {
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

/// Returns what was made, for people.
pub(super) fn text(report: &Report) -> String {
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
