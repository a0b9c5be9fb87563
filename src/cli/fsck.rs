//! `fsck`: re-hashes everything and names all damage; mends it where that is asked for.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use serde_json::json;

use super::args::Fsck;
use super::output::{self, Output};
use super::session::Session;
use crate::convert::repair::{Refused, Repair, Report, check, repair};
use crate::convert::source::Source;
use crate::error::Result;
use crate::limits::Limits;
use crate::reference::Place;
use crate::store::verify::{Checked, Depth, Finding, Findings};

/// The exit code where damage was found, or is left.
const DAMAGED: u8 = 3;

pub(super) fn run(session: &Session, args: &Fsck) -> Result<ExitCode> {
    if args.repair {
        return mend(session, &args.from);
    }
    let depth = if args.quick {
        Depth::Quick
    } else {
        Depth::Full
    };
    let store = session.open_to_check()?;
    let reader = store.read()?;
    session.watch().begin("checking", None);
    let findings = check(&reader, depth, session.watch(), jobs(session))?;
    session.watch().end();
    let sound = findings.is_sound();
    Output {
        text: text(&findings, depth),
        json: json!({"sound": sound, "quick": args.quick, "report": findings}),
        quiet: findings.findings.iter().map(|f| f.object.clone()).collect(),
    }
    .print(session)?;
    if !sound {
        session.note(
            "ocistore: damage found, nothing was changed; `ocistore fsck --repair` mends what it can, and more of it \
             with --from LAYOUT, where the same images are",
        );
    }
    Ok(exit_code(&findings.findings))
}

fn jobs(session: &Session) -> NonZeroUsize {
    NonZeroUsize::new(session.jobs()).unwrap_or(NonZeroUsize::MIN)
}

fn exit_code(left: &[Finding]) -> ExitCode {
    match left {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::from(DAMAGED),
    }
}

fn mend(session: &Session, from: &[String]) -> Result<ExitCode> {
    let store = session.open_to_check()?;
    // Held for its scratch files, and so that nothing is collected meanwhile.
    let writer = store.write()?;
    let limits = Limits::default();
    let open = |from: &String| Source::open(&Place::parse(from), &limits, &|| writer.scratch());
    let sources = from.iter().map(open).collect::<Result<Vec<Source>>>()?;
    let report = repair(&store, &sources, session.watch(), jobs(session))?;
    let sound = report.is_sound();
    let Report {
        found,
        repairs,
        refused,
        unmended,
    } = &report;
    Output {
        text: repair_text(&report),
        json: json!({
            "sound": sound, "quick": false, "report": found,
            "repairs": repairs, "refused": refused, "unmended": unmended,
        }),
        quiet: unmended.iter().map(|f| f.object.clone()).collect(),
    }
    .print(session)?;
    if !sound {
        session.note(&left_over(unmended, from));
    }
    Ok(exit_code(unmended))
}

/// Says what helps against damage that is left.
fn left_over(unmended: &[Finding], from: &[String]) -> String {
    let mut line = "ocistore: not all was mended, nothing was deleted; ".to_owned();
    line += match from.is_empty() {
        true => "--from LAYOUT mends from another copy of the images; ",
        false => "the sources do not have what is missing; ",
    };
    line += "other images, and other parts of these, can be checked out (`checkout --path`)";
    if unmended.iter().any(|finding| finding.images.is_empty()) {
        line += "; what no image needs goes with `ocistore gc` once the rest is mended";
    }
    line
}

fn repair_text(report: &Report) -> String {
    let Report {
        found,
        repairs,
        refused,
        unmended,
    } = report;
    let mut text: String = repairs.iter().map(repaired_text).collect();
    for Refused { from, object, why } in refused {
        text += &format!("refused   {object} of {from}: {why}\n");
    }
    for finding in unmended {
        text += &format!("unmended  {}", finding_text(finding));
    }
    text += &strays_text(found);
    text + &format!(
        "{} mended, {} left; {}\n",
        repairs.len(),
        count(unmended.len()),
        checked_text(&report.checked()),
    )
}

fn repaired_text(repair: &Repair) -> String {
    let Repair {
        kind,
        object,
        from,
        images,
        paths,
        path_count,
        kept_as,
    } = repair;
    let kind = json!(kind).as_str().unwrap_or_default().to_owned();
    let mut text = format!("mended    {kind} {object}, from {from}\n");
    if let Some(kept_as) = kept_as {
        text += &format!("    what was there is kept as {kept_as}\n");
    }
    text + &needed_text(images, paths, *path_count)
}

fn count(damages: usize) -> String {
    match damages {
        0 => "no damage".to_owned(),
        1 => "1 damage".to_owned(),
        n => format!("{n} damages"),
    }
}

fn strays_text(findings: &Findings) -> String {
    let strays = findings.strays.iter().map(|stray| {
        format!(
            "stray     {}: not a file of the store's; harmless\n",
            stray.display()
        )
    });
    strays.collect()
}

fn checked_text(checked: &Checked) -> String {
    format!(
        "checked {} objects, {} inodes, {} blobs, {} recipes, {} compression recipes, {} tree nodes, {}",
        checked.objects,
        checked.inodes,
        checked.blobs,
        checked.recipes,
        checked.streams,
        checked.nodes,
        output::bytes(checked.bytes),
    )
}

fn text(findings: &Findings, depth: Depth) -> String {
    let mut text: String = findings.findings.iter().map(finding_text).collect();
    text += &strays_text(findings);
    text += &format!(
        "{} found; {}\n",
        count(findings.findings.len()),
        checked_text(&findings.checked)
    );
    if depth == Depth::Quick {
        text += "this was a quick check: files were looked at, not read; `ocistore fsck` hashes them all\n";
    }
    text
}

fn finding_text(finding: &Finding) -> String {
    let Finding {
        kind,
        object,
        detail,
        images,
        paths,
        path_count,
    } = finding;
    let kind = json!(kind).as_str().unwrap_or_default().to_owned();
    format!("{kind} {object}: {detail}\n") + &needed_text(images, paths, *path_count)
}

fn needed_text(images: &[String], paths: &[String], path_count: u64) -> String {
    let mut text = String::new();
    if !images.is_empty() {
        text += &format!("    needed by {}\n", images.join(", "));
    }
    for path in paths {
        text += &format!("    at /{}\n", path.trim_start_matches('/'));
    }
    let more = path_count.saturating_sub(paths.len() as u64);
    if more > 0 {
        text += &format!("    and {more} more paths\n");
    }
    text
}
