//! `diff --tar`: the layer that makes the second tree of the first, in a file of its own or on standard output.

use std::fs::Permissions;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::args::Diff as Args;
use super::super::output::Output;
use super::super::session::Session;
use super::{after, image_side};
use crate::build::layer::changes;
use crate::convert::compose::write_tar;
use crate::digest::ContentId;
use crate::entry::LayerEntry;
use crate::error::{Context as _, Error, Result, quoted};
use crate::rootfs::scan::Storing;
use crate::store::{Store, Writer};

/// Writes the layer; returns whether it says anything.
pub(super) fn run(session: &Session, args: &Args, (store, to): (&Store, &Path)) -> Result<bool> {
    let to_stdout = to == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(
            Error::usage("write", "a tar", "standard output is a terminal")
                .hint("say -o FILE, or send it on to another program"),
        );
    }
    // A directory's contents wait in a session that is never published: nothing of it stays.
    let writer = store.write()?;
    let before = image_side(store, &args.before, args)?;
    let after = after(session, store, (args, &before), &Storing(&writer))?;
    let entries = store.view(|view| {
        let roots = (Some(before.root), after.root);
        changes(&after.over(view), roots, session.watch())
    })?;
    match to_stdout {
        true => write(session, &writer, &entries, &mut io::stdout().lock())?,
        false => {
            put(session, (&writer, to), &entries)?;
            say(session, to, entries.len())?;
        }
    }
    Ok(!entries.is_empty())
}

fn say(session: &Session, to: &Path, entries: usize) -> Result<()> {
    let file = to.display().to_string();
    Output {
        text: format!("{entries} entries in {file}\n"),
        json: json!({"output": file, "entries": entries}),
        quiet: vec![file],
    }
    .print(session)
}

fn write(
    session: &Session,
    writer: &Writer<'_>,
    entries: &[LayerEntry],
    out: &mut dyn Write,
) -> Result<()> {
    let open = |id: &ContentId| writer.open_object(id);
    let mut out = BufWriter::with_capacity(256 << 10, out);
    write_tar(entries, &open, &mut out, session.watch())
}

/// Writes the file beside its place, so that it is there whole or not at all.
fn put(
    session: &Session,
    (writer, to): (&Writer<'_>, &Path),
    entries: &[LayerEntry],
) -> Result<()> {
    let folder = match to.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let file = tempfile::Builder::new()
        .prefix(".ocistore-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(&folder);
    let mut file = file.context("make a file in", quoted(&folder))?;
    write(session, writer, entries, file.as_file_mut())?;
    let kept = file.persist(to).map_err(|e| e.error);
    kept.context("write", quoted(to)).map(drop)
}
