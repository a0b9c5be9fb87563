//! `checkout`: lays out a root filesystem.

use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;

use super::args::Checkout;
use super::laying;
use super::output::Output;
use super::session::Session;
use crate::error::{Error, Result};
use crate::path::TreePath;
use crate::rootfs::{Options, checkout};

pub(super) fn run(session: &Session, args: &Checkout) -> Result<()> {
    let options = Options {
        sub: sub(args)?,
        ..laying::options(session, &args.laying, args.link)?
    };
    let store = session.open()?;
    let writer = store.write()?;
    let found = store.find_image(&args.reference, args.laying.platform.as_deref())?;
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
    laying::say(session, &report);
    let target = args.target.display().to_string();
    Output {
        text: laying::text(&report),
        json: json!({"digest": found.digest.to_string(), "target": target, "report": report}),
        quiet: vec![found.digest.to_string()],
    }
    .print(session)
}

fn sub(args: &Checkout) -> Result<Option<TreePath>> {
    let parse = |sub: &std::ffi::OsString| {
        TreePath::parse(sub.as_bytes())
            .map_err(|e| Error::usage("check out", sub.to_string_lossy(), e.to_string()))
    };
    args.path.as_ref().map(parse).transpose()
}
