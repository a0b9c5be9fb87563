//! `mount` and `umount`: an image as a file system, without a copy of any file.

use std::path::Path;

use serde_json::{Value, json};

use super::args::{Mount, Umount};
use super::output::{self, Output};
use super::session::Session;
use crate::build::bundle::{Bundle, ROOTFS};
use crate::build::mounted::mount_of;
use crate::error::{Error, Result, quoted};
use crate::mount::{self, Access, Changes, MountId, Mounted, Record, Spec};

pub(super) fn mount(session: &Session, args: &Mount) -> Result<()> {
    match (&args.what, &args.target) {
        (Some(reference), Some(target)) => image(session, args, (reference, target)),
        (Some(bundle), None) => again(session, Path::new(bundle)),
        (None, _) => list(session),
    }
}

fn image(session: &Session, args: &Mount, (reference, target): (&str, &Path)) -> Result<()> {
    let store = session.open()?;
    let reader = store.read()?;
    let (descriptor, found) = store.find_with_image(reference, args.platform.as_deref())?;
    let image = store.image(&found)?;
    let spec = Spec {
        descriptor: &descriptor,
        manifest: found.digest,
        root: image.root,
        target,
        access: match args.rw {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        },
        bundle: None,
    };
    let mounted = mount::mount(&reader, &spec, session.watch())?;
    say(session, &mounted);
    print(session, mounted.id, &mounted.record)
}

/// Mounts a bundle's root filesystem again, with its changes.
fn again(session: &Session, bundle: &Path) -> Result<()> {
    let store = session.open()?;
    let reader = store.read()?;
    let target = bundle.join(ROOTFS);
    let (id, _) = match Bundle::is_at(bundle) {
        true => mount_of(&store, &Bundle::open(bundle)?)?,
        // One that died before it said what it is has its mount all the same.
        false => mount::find(&store, &target)?.ok_or_else(|| {
            let why = "it is no bundle with a mount that is no more";
            Error::missing("mount", quoted(bundle), why)
                .hint("`ocistore mount REF DIR` mounts an image")
        })?,
    };
    let record = mount::again(&reader, id, &target, session.watch())?;
    print(session, id, &record)
}

/// Says what a mount does not have of its image.
pub(super) fn say(session: &Session, mounted: &Mounted) {
    for (why, lacking) in &mounted.image.left_out {
        let more = match lacking.count {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        session.say(&format!(
            "ocistore: warning: '{}'{more}: {}",
            lacking.first,
            why.text()
        ));
    }
    for refused in &mounted.refused {
        session.say(&format!(
            "ocistore: warning: '/': {}: {}",
            crate::path::escape(&refused.name),
            refused.why
        ));
    }
}

fn print(session: &Session, id: MountId, record: &Record) -> Result<()> {
    Output {
        text: format!("{}  {}\n", id, record.target.display()),
        json: json(id, record),
        quiet: vec![id.to_string()],
    }
    .print(session)
}

fn json(id: MountId, record: &Record) -> Value {
    json!({
        "id": id.to_string(),
        "digest": record.manifest.to_string(),
        "target": record.target.display().to_string(),
        "access": record.access.text(),
        "bundle": record.bundle.as_ref().map(|bundle| bundle.display().to_string()),
    })
}

fn list(session: &Session) -> Result<()> {
    let mounts = session.open()?.mounts()?;
    let head = ["ID", "IMAGE", "MODE", "STATE", "TARGET"].map(str::to_owned);
    let (mut rows, mut all) = (vec![head.to_vec()], Vec::new());
    let live = mounts
        .live
        .iter()
        .map(|(id, record)| (*id, record, "mounted"));
    let left = mounts
        .left
        .iter()
        .map(|left| (left.id, &left.record, "left"));
    for (id, record, state) in live.chain(left) {
        rows.push(vec![
            id.to_string(),
            record.manifest.short(),
            record.access.text().to_owned(),
            state.to_owned(),
            record.target.display().to_string(),
        ]);
        let mut value = json(id, record);
        value["state"] = state.into();
        all.push(value);
    }
    let ids = mounts.live.iter().map(|(id, _)| id.to_string());
    Output {
        text: output::table(&rows, &[]),
        quiet: ids.collect(),
        json: json!({"mounts": all}),
    }
    .print(session)
}

pub(super) fn umount(session: &Session, args: &Umount) -> Result<()> {
    let store = session.open()?;
    let changes = match args.discard {
        true => Changes::Discard,
        false => Changes::Keep,
    };
    let id = args.target.to_str().and_then(MountId::parse);
    let done = match id {
        Some(id) if store.mount_record(id)?.is_some() => mount::remove(&store, id, changes),
        _ if Bundle::is_at(&args.target) => {
            mount::umount(&store, &args.target.join(ROOTFS), changes)
        }
        _ => mount::umount(&store, &args.target, changes),
    }?;
    let kept = match done.kept {
        true => "; its changes are kept for its bundle",
        false => "",
    };
    let mut json = json(done.id, &done.record);
    json["kept"] = done.kept.into();
    Output {
        text: format!("unmounted {}{kept}\n", done.record.target.display()),
        json,
        quiet: vec![done.id.to_string()],
    }
    .print(session)
}
