//! `import`: takes images in.

use serde_json::json;

use super::args::{self, Import};
use super::output::{self, Output};
use super::session::Session;
use crate::convert::import::{Blobs, Options, Report, Strictness, import};
use crate::convert::source::Source;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::reference::{ImageName, Pick, Place};

pub(super) fn run(session: &Session, args: &Import) -> Result<()> {
    let options = options(session, args)?;
    let places = places(args);
    if options.name.is_some() && places.len() > 1 {
        return Err(
            Error::usage("name", "several sources", "--name names one image")
                .hint("import them one by one"),
        );
    }
    let store = session.open_or_make()?;
    let mut whole = Report::default();
    for place in &places {
        let writer = store.write()?;
        let source = Source::open(place, &|| writer.scratch())?;
        let report = import(&writer, &source, &options, session.watch())?;
        output::say_warnings(session, &report.warnings);
        add(&mut whole, report);
    }
    print(session, &whole)
}

fn options(session: &Session, args: &Import) -> Result<Options> {
    let name = |text: &String| {
        ImageName::parse(text).map_err(|e| Error::usage("name", text, e.to_string()))
    };
    Ok(Options {
        blobs: match args.blobs {
            args::Blobs::Keep => Blobs::Keep,
            args::Blobs::Drop => Blobs::Drop,
        },
        name: args.name.as_ref().map(name).transpose()?,
        strictness: if args.strict {
            Strictness::Strict
        } else {
            Strictness::Warn
        },
        limits: Limits::default(),
        jobs: session.jobs(),
    })
}

fn places(args: &Import) -> Vec<Place> {
    match &args.layout {
        Some(layout) => {
            let pick = args.reference.clone().map_or(Pick::All, Pick::Ref);
            vec![Place::Layout(layout.clone(), pick)]
        }
        None => args
            .sources
            .iter()
            .map(|source| Place::parse(source))
            .collect(),
    }
}

fn add(whole: &mut Report, report: Report) {
    let Report {
        images,
        layers_new,
        layers_known,
        objects_new,
        bytes_new,
        warnings,
    } = report;
    whole.images.extend(images);
    whole.layers_new += layers_new;
    whole.layers_known += layers_known;
    whole.objects_new += objects_new;
    whole.bytes_new += bytes_new;
    whole.warnings.merge(warnings);
}

fn print(session: &Session, report: &Report) -> Result<()> {
    let Report {
        images,
        layers_new,
        layers_known,
        objects_new,
        bytes_new,
        warnings,
    } = report;
    session.note(&format!(
        "{layers_new} new layers, {layers_known} known; {objects_new} new files of {}",
        output::bytes(*bytes_new)
    ));
    let lines = images
        .iter()
        .map(|(name, digest)| format!("{name} {digest}\n"));
    Output {
        text: lines.collect(),
        json: json!({
            "images": images.iter()
                .map(|(name, digest)| json!({"name": name.to_string(), "digest": digest.to_string()}))
                .collect::<Vec<_>>(),
            "layers": {"new": layers_new, "known": layers_known},
            "objects": {"new": objects_new, "bytes": bytes_new},
            "warnings": output::warnings_json(warnings),
        }),
        quiet: images.iter().map(|(_, digest)| digest.to_string()).collect(),
    }
    .print(session)
}
