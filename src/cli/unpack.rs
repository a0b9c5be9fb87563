//! `unpack`: makes a bundle for a container runtime.

use serde_json::json;

use super::args::{Link, Unpack};
use super::output::Output;
use super::session::Session;
use super::{laying, mount};
use crate::build::unpack::{Base, Unpacked, UnpackedMount, unpack, unpack_mounted};
use crate::error::{Error, Result};
use crate::runtime::Unstartable;

pub(super) fn run(session: &Session, args: &Unpack) -> Result<()> {
    if args.mount {
        return by_mount(session, args);
    }
    if args.link == Link::Hardlink {
        return Err(refuse_links());
    }
    let options = laying::options(session, &args.laying, args.link)?;
    let store = session.open()?;
    let writer = store.write()?;
    let found = store.find_image(&args.reference, args.laying.platform.as_deref())?;
    let image = store.image(&found)?;
    let base = Base {
        name: &args.reference,
        manifest: &found,
        image: &image,
    };
    session.watch().begin("unpacking", None);
    let unpacked = unpack(&writer, base, &args.bundle, &options, session.watch());
    session.watch().end();
    let unpacked = unpacked?;
    say(session, &unpacked);
    let Unpacked {
        report, left_out, ..
    } = unpacked;
    let bundle = args.bundle.display().to_string();
    Output {
        text: laying::text(&report),
        json: json!({
            "digest": found.digest.to_string(), "bundle": bundle, "report": report,
            "labels_left_out": left_out,
        }),
        quiet: vec![found.digest.to_string()],
    }
    .print(session)
}

/// Makes a bundle whose root filesystem is a mount.
fn by_mount(session: &Session, args: &Unpack) -> Result<()> {
    let store = session.open()?;
    let reader = store.read()?;
    let found = store.find_image(&args.reference, args.laying.platform.as_deref())?;
    let image = store.image(&found)?;
    let base = Base {
        name: &args.reference,
        manifest: &found,
        image: &image,
    };
    let unpacked = unpack_mounted(&reader, base, &args.bundle, session.watch())?;
    let UnpackedMount { mounted, left_out } = unpacked;
    mount::say(session, &mounted);
    say_left_out(session, &left_out);
    let bundle = args.bundle.display().to_string();
    Output {
        text: format!("mounted {}\n", mounted.record.target.display()),
        json: json!({
            "digest": found.digest.to_string(), "bundle": bundle, "mount": mounted.id.to_string(),
            "labels_left_out": left_out,
        }),
        quiet: vec![found.digest.to_string()],
    }
    .print(session)
}

fn refuse_links() -> Error {
    let why = "a bundle is there to be changed, and its files would be the store's own";
    Error::usage("unpack with", "'--link hardlink'", why)
        .hint("leave it out, or lay out a root filesystem to read with `ocistore checkout`")
}

fn say(session: &Session, unpacked: &Unpacked) {
    laying::say(session, &unpacked.report);
    say_left_out(session, &unpacked.left_out);
    let (what, id) = match unpacked.unstartable {
        Some(Unstartable::User(uid)) => ("user", uid),
        Some(Unstartable::Group(gid)) => ("group", gid),
        None => return,
    };
    session.note(&format!(
        "ocistore: note: the container's {what} {id} is not in its user namespace: it starts once config.json says another"
    ));
}

fn say_left_out(session: &Session, labels: &[String]) {
    for label in labels {
        session.say(&format!(
            "ocistore: warning: the label '{}' is no annotation of the container: a runtime would obey it",
            label.escape_debug()
        ));
    }
}
