//! `checkout`: lays out a root filesystem, or makes one that of another image.

use std::os::unix::ffi::OsStrExt as _;

use serde_json::json;

use super::args::{Checkout, Link};
use super::laying;
use super::output::Output;
use super::session::Session;
use crate::build::checkout::{Wanted, checkout};
use crate::build::update::{Local, Request, Updated, update};
use crate::error::{Error, Result};
use crate::path::TreePath;
use crate::rootfs::Options;

pub(super) fn run(session: &Session, args: &Checkout) -> Result<()> {
    let options = Options {
        sub: sub(args)?,
        ..laying::options(session, &args.laying, args.link.unwrap_or(Link::Hardlink))?
    };
    let store = session.open()?;
    let writer = store.write()?;
    let found = store.find_image(&args.reference, args.laying.platform.as_deref())?;
    let image = store.image(&found)?;
    let wanted = Wanted {
        manifest: &found,
        root: &image.root,
    };
    let target = args.target.display().to_string();
    let digest = found.digest.to_string();
    let watch = session.watch();
    if args.update {
        let request = request(args, options);
        watch.begin("updating", None);
        let updated = update(&writer, wanted, &args.target, &request, watch);
        watch.end();
        return tell(session, updated?, &digest, &target);
    }
    watch.begin("checking out", None);
    let done = checkout(&writer, wanted, &args.target, &options, watch);
    watch.end();
    let (report, not_recorded) = done?;
    laying::say(session, &report);
    if let Some(why) = not_recorded {
        session.note(&format!(
            "ocistore: note: it cannot be updated later: {why}"
        ));
    }
    Output {
        text: laying::text(&report),
        json: json!({"digest": digest, "target": target, "report": report}),
        quiet: vec![digest],
    }
    .print(session)
}

fn request(args: &Checkout, options: Options) -> Request {
    let owners = &args.laying.owners;
    let said = owners.rootless || !owners.uid_map.is_empty() || !owners.gid_map.is_empty();
    Request {
        link: args.link.map(|_| options.link),
        owners: said.then(|| options.owners.clone()),
        local: match args.force {
            true => Local::Replace,
            false => Local::Refuse,
        },
        options,
    }
}

fn tell(session: &Session, updated: Updated, digest: &str, target: &str) -> Result<()> {
    let Updated {
        before,
        counts,
        replaced,
        report,
    } = updated;
    laying::say(session, &report);
    let same = counts.added + counts.changed + counts.removed == 0;
    let mut text = format!(
        "added      {:>8} paths  {} changed, {} removed\n",
        counts.added, counts.changed, counts.removed
    );
    if !same {
        text += &laying::text(&report);
    }
    Output {
        text,
        json: json!({
            "digest": digest, "before": before.digest.to_string(), "target": target,
            "counts": counts, "replaced": replaced, "report": report,
        }),
        quiet: vec![digest.to_owned()],
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
