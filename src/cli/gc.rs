//! `gc`: deletes what no name needs.

use serde_json::json;

use super::args::Gc;
use super::output::{self, Output};
use super::session::Session;
use crate::error::Result;
use crate::gc::{self, Report};

pub(super) fn run(session: &Session, args: &Gc) -> Result<()> {
    let store = session.open()?;
    session.watch().begin("collecting", None);
    let watch = session.watch();
    let report = match args.dry_run {
        true => gc::plan(store.survey(watch)?, watch)?.report()?,
        false => {
            gc::plan(store.collect(watch)?, watch)?.sweep(session.patience(args.wait), watch)?
        }
    };
    session.watch().end();
    for stray in &report.strays {
        session.say(&format!(
            "ocistore: warning: '{}': not a file of the store's, left alone",
            stray.display()
        ));
    }
    for left in &report.left_mounts {
        session.say(&format!(
            "ocistore: note: the mount {} of '{}' is no more, and has {}; `ocistore umount --discard {}` removes it",
            left.id,
            left.target.display(),
            if left.bundle.is_some() { "a bundle" } else { "changes" },
            left.id,
        ));
    }
    Output {
        text: text(&report, args),
        json: json!({"dry_run": args.dry_run, "report": report}),
        quiet: vec![report.freed.bytes.to_string()],
    }
    .print(session)
}

fn text(report: &Report, args: &Gc) -> String {
    let dry_run = args.dry_run;
    let head = if dry_run { "WOULD DELETE" } else { "DELETED" };
    let mut rows = vec![
        ["", head, "BYTES", "KEPT", "BYTES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let kinds = [
        ("objects", report.objects),
        ("inodes", report.inodes),
        ("recipes", report.recipes),
        ("streams", report.streams),
        ("documents", report.documents),
        ("blobs", report.blobs),
    ];
    for (kind, tally) in kinds {
        rows.push(vec![
            kind.to_owned(),
            tally.deleted.to_string(),
            output::bytes(tally.deleted_bytes),
            tally.kept.to_string(),
            output::bytes(tally.kept_bytes),
        ]);
    }
    let mut text = output::table(&rows, &[1, 2, 3, 4]);
    let freed = if dry_run { "would be freed" } else { "freed" };
    text += &format!("{} {freed}", output::bytes(report.freed.bytes));
    if report.held_by_checkouts.bytes > 0 {
        text += &format!(
            ", {} still held by checkouts",
            output::bytes(report.held_by_checkouts.bytes)
        );
    }
    text += "\n";
    if report.in_trash.bytes > 0 {
        text += &format!(
            "{} in the trash until commands that began earlier have ended: the next gc frees them\n",
            output::bytes(report.in_trash.bytes)
        );
    }
    text
}
