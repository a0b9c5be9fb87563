//! `compact`: drops compressed layers that are proved to be made again.

use serde_json::json;

use super::args::Compact;
use super::output::{self, Output};
use super::session::Session;
use crate::convert::compact::{Act, Options, Report, Scope, compact};
use crate::error::Result;

pub(super) fn run(session: &Session, args: &Compact) -> Result<()> {
    let store = session.open()?;
    let options = Options {
        act: match args.dry_run {
            true => Act::Tell,
            false => Act::Drop,
        },
        scope: Scope::All,
        jobs: session.jobs(),
        patience: session.patience(args.wait),
    };
    let report = compact(&store, &options, session.watch())?;
    Output {
        text: text(&report, args),
        json: json!({"dry_run": args.dry_run, "report": report}),
        quiet: vec![report.bytes.to_string()],
    }
    .print(session)
}

fn text(report: &Report, args: &Compact) -> String {
    let mut text = encoders_text(report);
    for kept in &report.kept {
        text += &format!(
            "kept {} ({}): {}\n",
            kept.blob,
            output::bytes(kept.bytes),
            kept.why
        );
    }
    let dropped = if args.dry_run {
        "could be dropped"
    } else {
        "dropped"
    };
    text += &format!(
        "{} layers of {} {dropped}, for {} of compression recipes; {} layers of {} stay\n",
        report.blobs,
        output::bytes(report.bytes),
        output::bytes(report.recipe_bytes),
        report.kept.len(),
        output::bytes(report.kept_bytes),
    );
    if report.trash_bytes > 0 {
        text += &format!(
            "{} in the trash until commands that began earlier have ended: the next gc frees them\n",
            output::bytes(report.trash_bytes)
        );
    }
    text
}

fn encoders_text(report: &Report) -> String {
    if report.encoders.is_empty() {
        return String::new();
    }
    let head = ["MADE BY", "LAYERS", "BYTES", "RECIPES"].map(str::to_owned);
    let rows = report.encoders.iter().map(|encoder| {
        vec![
            encoder.encoder.clone(),
            encoder.blobs.to_string(),
            output::bytes(encoder.bytes),
            output::bytes(encoder.recipe_bytes),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(rows).collect();
    output::table(&rows, &[1, 2, 3])
}
