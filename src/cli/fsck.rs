//! `fsck`: re-hashes everything and names all damage.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use serde_json::json;

use super::output::{self, Output};
use super::session::Session;
use crate::convert::rebuild;
use crate::error::Result;
use crate::store::Store;
use crate::store::reach::Reach;
use crate::store::verify::{Finding, Findings, verify};

/// The exit code where damage was found.
const DAMAGED: u8 = 3;

pub(super) fn run(session: &Session) -> Result<ExitCode> {
    let store = session.open_to_check()?;
    let reader = store.read()?;
    session.watch().begin("checking", None);
    let jobs = NonZeroUsize::new(session.jobs()).unwrap_or(NonZeroUsize::MIN);
    let mut findings = verify(&reader, session.watch(), jobs)?;
    if findings.is_sound() {
        check_trees(&store, &mut findings)?;
    }
    session.watch().end();
    let sound = findings.is_sound();
    Output {
        text: text(&findings),
        json: json!({"sound": sound, "report": findings}),
        quiet: findings.findings.iter().map(|f| f.object.clone()).collect(),
    }
    .print(session)?;
    if !sound {
        session.note(
            "ocistore: damage found, nothing was changed; importing the named images again brings back what is \
             missing or changed; remove a file whose bytes or attributes are wrong first",
        );
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    })
}

/// Computes every image's tree anew from its layers' recipes, and compares.
fn check_trees(store: &Store, findings: &mut Findings) -> Result<()> {
    for (digest, docs) in Reach::of_all(store)?.images {
        let Some(image) = store.view(|view| view.image(&digest))? else {
            continue;
        };
        let root = rebuild::root_from_recipes(store, &docs)?;
        findings.note_root(&image, &[digest.to_string()], &root);
    }
    Ok(())
}

fn text(findings: &Findings) -> String {
    let Findings {
        checked,
        findings,
        strays,
    } = findings;
    let mut text: String = findings.iter().map(finding_text).collect();
    for stray in strays {
        text += &format!(
            "stray     {}: not a file of the store's; harmless\n",
            stray.display()
        );
    }
    text + &format!(
        "{} found; checked {} objects, {} inodes, {} blobs, {} recipes, {} tree nodes, {}\n",
        match findings.len() {
            0 => "no damage".to_owned(),
            1 => "1 damage".to_owned(),
            n => format!("{n} damages"),
        },
        checked.objects,
        checked.inodes,
        checked.blobs,
        checked.recipes,
        checked.nodes,
        output::bytes(checked.bytes),
    )
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
    let mut text = format!("{kind} {object}: {detail}\n");
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
