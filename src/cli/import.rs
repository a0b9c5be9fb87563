//! `import`: takes images in.

use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{self, Import};
use super::clock;
use super::output::{self, Output};
use super::session::Session;
use crate::build::documents::Changes;
use crate::build::tarball::Rootfs;
use crate::convert::compact;
use crate::convert::import::{Blobs, Mislabelled, Options, Report, Strictness, import};
use crate::convert::source::Source;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::reference::{ImageName, Pick, Place};
use crate::store::{Store, Writer};
use crate::time::Time;
use crate::wire::DOCUMENT_MAX;

pub(super) fn run(session: &Session, args: &Import) -> Result<()> {
    let options = options(session, args)?;
    let origins = origins(args)?;
    if options.name.is_some() && origins.len() > 1 {
        return Err(
            Error::usage("name", "several sources", "--name names one image")
                .hint("import them one by one"),
        );
    }
    let store = session.open_or_make()?;
    let begin = Instant::now();
    let mut whole = Report::default();
    for origin in &origins {
        let writer = store.write()?;
        let source = origin.open(session, &writer, &options.limits)?;
        let report = import(&writer, &source, &options, session.watch())?;
        output::say_warnings(session, &report.warnings);
        add(&mut whole, report);
    }
    let compacted = match options.blobs {
        Blobs::Auto => compact_new(session, &store, &whole, begin.elapsed())?,
        Blobs::Keep | Blobs::Drop => None,
    };
    print(session, &whole, compacted.as_ref())
}

/// Drops what of the new layers can be made again, as far as proving it takes a quarter of the time that the import took.
/// The images are in by now: whatever stops this takes nothing from them.
fn compact_new(
    session: &Session,
    store: &Store,
    report: &Report,
    took: Duration,
) -> Result<Option<compact::Report>> {
    let options = compact::Options {
        act: compact::Act::Drop,
        scope: compact::Scope::Some {
            blobs: report.blobs.clone(),
            budget: took / 4,
        },
        jobs: session.jobs(),
        patience: Duration::ZERO,
    };
    compact::compact(store, &options, session.watch()).map(Some)
}

fn options(session: &Session, args: &Import) -> Result<Options> {
    let name = |text: &String| {
        ImageName::parse(text).map_err(|e| Error::usage("name", text, e.to_string()))
    };
    Ok(Options {
        blobs: match args.blobs {
            args::Blobs::Keep => Blobs::Keep,
            args::Blobs::Auto => Blobs::Auto,
            args::Blobs::Drop => Blobs::Drop,
        },
        name: args.name.as_ref().map(name).transpose()?,
        strictness: if args.strict {
            Strictness::Strict
        } else {
            Strictness::Warn
        },
        mislabelled: match args.lenient {
            true => Mislabelled::BytesDecide,
            false => Mislabelled::Refuse,
        },
        limits: limits(&args.limits)?,
        jobs: session.jobs(),
    })
}

fn limits(args: &args::Limits) -> Result<Limits> {
    let args::Limits {
        max_json,
        max_extension,
        max_entries,
        max_layers,
        max_sparse,
        max_layer,
        max_expansion,
    } = args;
    let usual = Limits::default();
    if let Some(most) = max_json.filter(|most| *most > DOCUMENT_MAX) {
        let why = format!("{most} bytes are more than {DOCUMENT_MAX}, which no store reads");
        return Err(Error::usage("take", "--max-json", why));
    }
    Ok(Limits {
        document_bytes: max_json.unwrap_or(usual.document_bytes),
        extension_bytes: max_extension.unwrap_or(usual.extension_bytes),
        entries: max_entries.unwrap_or(usual.entries),
        layers: max_layers.unwrap_or(usual.layers),
        sparse_pieces: max_sparse.unwrap_or(usual.sparse_pieces),
        layer_bytes: max_layer.unwrap_or(usual.layer_bytes),
        expansion: max_expansion.unwrap_or(usual.expansion),
        free_bytes: usual.free_bytes,
    })
}

/// Where images come from: as they are, or made of a tarball.
enum Origin {
    Images(Place),
    Rootfs(Rootfs),
}

impl Origin {
    fn open(&self, session: &Session, writer: &Writer<'_>, limits: &Limits) -> Result<Source> {
        let scratch = || writer.scratch();
        match self {
            Self::Images(place) => Source::open(place, limits, &scratch),
            Self::Rootfs(rootfs) => rootfs.open(limits, &scratch, session.watch()),
        }
    }
}

fn origins(args: &Import) -> Result<Vec<Origin>> {
    if let Some(layout) = &args.layout {
        let pick = args.reference.clone().map_or(Pick::All, Pick::Ref);
        check_config(args, "--layout")?;
        return Ok(vec![Origin::Images(Place::Layout(layout.clone(), pick))]);
    }
    let changes = Changes::parse(&args.config, &[])?;
    let origin = |text: &String| match Rootfs::parse(text) {
        Some(rootfs) => Ok(Origin::Rootfs(Rootfs {
            changes: changes.clone(),
            created: clock::source_date_epoch()?.map(Time::of_unix),
            ..rootfs
        })),
        None => {
            check_config(args, text)?;
            Ok(Origin::Images(Place::parse(text)))
        }
    };
    args.sources.iter().map(origin).collect()
}

/// What an image says of itself stays as it is when it comes in.
fn check_config(args: &Import, source: &str) -> Result<()> {
    match args.config.is_empty() {
        true => Ok(()),
        false => Err(
            Error::usage("change", source, "--config is for tar:FILE alone")
                .hint("`ocistore config` makes another image of one that is here"),
        ),
    }
}

fn add(whole: &mut Report, report: Report) {
    let Report {
        images,
        blobs,
        layers_new,
        layers_known,
        objects_new,
        bytes_new,
        warnings,
    } = report;
    whole.blobs.extend(blobs);
    whole.images.extend(images);
    whole.layers_new += layers_new;
    whole.layers_known += layers_known;
    whole.objects_new += objects_new;
    whole.bytes_new += bytes_new;
    whole.warnings.merge(warnings);
}

fn print(session: &Session, report: &Report, compacted: Option<&compact::Report>) -> Result<()> {
    let Report {
        images,
        blobs: _,
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
    if let Some(compacted) = compacted {
        session.note(&format!(
            "{} layers of {} are made again when they are needed",
            compacted.blobs,
            output::bytes(compacted.bytes)
        ));
    }
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
            "compacted": compacted,
            "warnings": output::warnings_json(warnings),
        }),
        quiet: images.iter().map(|(_, digest)| digest.to_string()).collect(),
    }
    .print(session)
}
