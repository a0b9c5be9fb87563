//! `export`: gives images back.

use serde_json::json;

use super::args::{self, Export};
use super::output::{self, Output};
use super::session::Session;
use crate::compress::Compression;
use crate::convert::export::{self, ExportReport, Options};
use crate::error::{Error, Result};
use crate::reference::{ImageName, Pick, Place, Reference};
use crate::store::Store;
use crate::store::names::Names;
use crate::wire::{self, Descriptor};

pub(super) fn run(session: &Session, args: &Export) -> Result<()> {
    let Some((destination, references)) = args.references_and_destination.split_last() else {
        return Err(Error::usage("export", "nothing", "no image was named"));
    };
    if references.is_empty() {
        let why = "expected images and then a destination, got one word";
        return Err(Error::usage("export", destination, why));
    }
    let place = Place::parse(destination);
    let store = session.open()?;
    let reader = store.read()?;
    let images = images(&store, args, references, &place)?;
    let options = Options {
        recompress: args.recompress.map(compression),
        jobs: session.jobs(),
    };
    let report = export::export(&reader, &images, &place, &options, session.watch())?;
    print(session, &report)
}

pub(super) fn compression(how: args::Compress) -> Compression {
    match how {
        args::Compress::Gzip => Compression::Gzip,
        args::Compress::Zstd => Compression::Zstd,
        args::Compress::None => Compression::None,
    }
}

fn images(
    store: &Store,
    args: &Export,
    references: &[String],
    place: &Place,
) -> Result<Vec<export::Export>> {
    let names = store.names()?;
    let wanted = match place {
        Place::Layout(_, pick)
        | Place::OciArchive(_, pick)
        | Place::DockerArchive(_, pick)
        | Place::Path(_, pick) => pick.clone(),
        Place::Stream => Pick::All,
    };
    let mut images = Vec::new();
    for reference in references {
        let descriptor = store.find(reference)?;
        let name = match &wanted {
            Pick::Ref(_) if references.len() > 1 => {
                return Err(
                    Error::usage("export", "several images", "the destination names one")
                        .hint("leave the name away: each is called by its tag"),
                );
            }
            Pick::Ref(name) => name.clone(),
            Pick::Digest(digest) => {
                return Err(Error::usage(
                    "export to",
                    digest,
                    "a digest is no name for an image there",
                ));
            }
            // A docker archive knows full names only.
            Pick::All => {
                let docker = matches!(place, Place::DockerArchive(..));
                let called = if args.full_names || docker {
                    Called::Full
                } else {
                    Called::Tag
                };
                name_there(called, &names, reference, &descriptor)
            }
        };
        images.push(export::Export { descriptor, name });
    }
    Ok(images)
}

/// How images are called at the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    Full,
    Tag,
}

/// An image is called by its tag there, or by its full name; one without either by its digest.
fn name_there(called: Called, names: &Names, reference: &str, descriptor: &Descriptor) -> String {
    let by_reference = match Reference::parse(reference) {
        Ok(
            Reference::Name(name)
            | Reference::Prefix {
                name: Some(name), ..
            },
        ) if names.get(&name).is_some() => Some(name),
        _ => None,
    };
    let own = descriptor
        .annotation(wire::REF_NAME)
        .and_then(|text| ImageName::parse(text).ok());
    match by_reference.or(own) {
        Some(name) if called == Called::Full => name.to_string(),
        Some(name) => name.tag().map_or_else(|| name.to_string(), str::to_owned),
        None => descriptor.digest.to_string(),
    }
}

fn print(session: &Session, report: &ExportReport) -> Result<()> {
    let ExportReport {
        images,
        blobs_written,
        blobs_present,
        bytes_written,
        new_digests,
    } = report;
    for (old, new) in new_digests {
        session.say(&format!(
            "ocistore: note: made anew, its digest is another: {old} is now {new}"
        ));
    }
    session.note(&format!(
        "{blobs_written} blobs of {} written, {blobs_present} were there",
        output::bytes(*bytes_written)
    ));
    let lines = images
        .iter()
        .map(|image| format!("{} {}\n", image.name, image.new));
    Output {
        text: lines.collect(),
        json: json!({
            "images": images.iter().map(|image| json!({
                "name": image.name, "digest": image.new.to_string(), "from": image.old.to_string(),
            })).collect::<Vec<_>>(),
            "blobs": {"written": blobs_written, "present": blobs_present, "bytes": bytes_written},
            "new_digests": new_digests.iter()
                .map(|(old, new)| json!({"old": old.to_string(), "new": new.to_string()}))
                .collect::<Vec<_>>(),
        }),
        quiet: images.iter().map(|image| image.new.to_string()).collect(),
    }
    .print(session)
}
