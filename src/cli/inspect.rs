//! `inspect`: an image's documents, as they are and as they are understood.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args::Inspect;
use super::output::{self, Output};
use super::session::Session;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::json::strict_json;
use crate::store::Store;
use crate::store::reach::Reach;
use crate::wire::{Descriptor, Document, Manifest, Media};

pub(super) fn run(session: &Session, args: &Inspect) -> Result<()> {
    let store = session.open()?;
    let _reading = store.read()?;
    let platform = args.platform.clone();
    let found = match &platform {
        Some(platform) => store.find_image(&args.reference, Some(platform))?,
        None => store.find(&args.reference)?,
    };
    if args.raw {
        return output::print_bytes(&store.document(&found.digest)?);
    }
    if args.config {
        return print_config(&store, &args.reference, platform.as_deref());
    }
    let bytes = store.document(&found.digest)?;
    let (text, json) = match Document::parse(&bytes, &found.media_type) {
        Ok(Document::Index(children)) => index(&found, &bytes, &children),
        Ok(Document::Manifest(manifest)) => image(&store, &found, &bytes, &manifest)?,
        _ => (head(&found), json!({"descriptor": found.raw})),
    };
    Output {
        text,
        json,
        quiet: vec![found.digest.to_string()],
    }
    .print(session)
}

fn print_config(store: &Store, reference: &str, platform: Option<&str>) -> Result<()> {
    let found = store.find_image(reference, platform)?;
    match Document::parse(&store.document(&found.digest)?, &found.media_type) {
        Ok(Document::Manifest(manifest)) => {
            output::print_bytes(&store.document(&manifest.config.digest)?)
        }
        _ => Err(Error::missing(
            "print the config of",
            reference,
            "it is no manifest",
        )),
    }
}

fn head(descriptor: &Descriptor) -> String {
    format!(
        "digest      {}\nmedia type  {}\n",
        descriptor.digest, descriptor.media_type
    )
}

fn index(found: &Descriptor, bytes: &[u8], children: &[Descriptor]) -> (String, Value) {
    let mut rows = vec![row(["PLATFORM", "DIGEST", "MEDIA TYPE"])];
    for child in children {
        let platform = child.platform.as_deref().unwrap_or("-");
        rows.push(row([
            platform,
            &child.digest.to_string(),
            &child.media_type,
        ]));
    }
    let text = head(found) + "\n" + &output::table(&rows, &[]);
    (
        text,
        json!({"descriptor": found.raw, "index": document(bytes)}),
    )
}

fn row(cells: [&str; 3]) -> Vec<String> {
    cells.into_iter().map(str::to_owned).collect()
}

fn document(bytes: &[u8]) -> Value {
    strict_json(bytes).unwrap_or(Value::Null)
}

fn image(
    store: &Store,
    found: &Descriptor,
    bytes: &[u8],
    manifest: &Manifest,
) -> Result<(String, Value)> {
    let config = match manifest.config.media() {
        Media::Config => document(&store.document(&manifest.config.digest)?),
        _ => Value::Null,
    };
    let history = config.get("history").cloned().unwrap_or_else(|| json!([]));
    let mut text = head(found);
    describe(&mut text, manifest, &config);
    describe_layers(&mut text, store, manifest, &config)?;
    describe_history(&mut text, &history);
    let referrers = referrers(store, &found.digest)?;
    describe_referrers(&mut text, &referrers);
    let layers = manifest
        .layers
        .iter()
        .map(|layer| layer_json(store, layer))
        .collect::<Result<Vec<_>>>()?;
    let json = json!({
        "descriptor": found.raw,
        "manifest": document(bytes),
        "config": config,
        "history": history,
        "layers": layers,
        "artifactType": manifest.artifact_type,
        "annotations": document(bytes).get("annotations").cloned(),
        "subject": manifest.subject.as_ref().map(|s| Value::Object(s.raw.clone())),
        "referrers": referrers.iter().map(|r| Value::Object(r.raw.clone())).collect::<Vec<_>>(),
    });
    Ok((text, json))
}

/// Returns what refers to the image as its subject.
fn referrers(store: &Store, subject: &Digest) -> Result<Vec<Descriptor>> {
    let reach = Reach::of_all(store)?;
    let refers = |document: &Document| match document {
        Document::Manifest(manifest) => manifest
            .subject
            .as_ref()
            .is_some_and(|s| s.digest == *subject),
        Document::Index(_) | Document::Unknown(_) => false,
    };
    let documents = reach.documents.into_values();
    let found = documents.filter(|(_, document)| refers(document));
    Ok(found.map(|(descriptor, _)| descriptor).collect())
}

fn describe(text: &mut String, manifest: &Manifest, config: &Value) {
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            // Writing to a string does not fail.
            writeln!(text, "{name:<11} {}", output::printable(value, &[])).ok();
        }
    };
    let field = |name: &str| config.get(name).and_then(Value::as_str);
    line(
        "config",
        Some(&format!(
            "{} {}",
            manifest.config.digest, manifest.config.media_type
        )),
    );
    line("artifact", manifest.artifact_type.as_deref());
    line(
        "subject",
        manifest
            .subject
            .as_ref()
            .map(|s| s.digest.to_string())
            .as_deref(),
    );
    let platform = field("os")
        .zip(field("architecture"))
        .map(|(os, arch)| format!("{os}/{arch}"));
    line("platform", platform.as_deref());
    line("created", field("created"));
    line("author", field("author"));
    let run = config.get("config").cloned().unwrap_or_default();
    for (name, key) in [
        ("entrypoint", "Entrypoint"),
        ("command", "Cmd"),
        ("env", "Env"),
        ("user", "User"),
        ("workdir", "WorkingDir"),
    ] {
        let value = run.get(key).filter(|v| !v.is_null());
        let value = value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        line(name, value.as_deref());
    }
}

fn describe_layers(
    text: &mut String,
    store: &Store,
    manifest: &Manifest,
    config: &Value,
) -> Result<()> {
    let diff_ids = config
        .pointer("/rootfs/diff_ids")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut rows = vec![
        ["LAYER", "SIZE", "DIFF_ID", "KEPT", "MEDIA TYPE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (i, layer) in manifest.layers.iter().enumerate() {
        let diff_id = diff_ids.get(i).and_then(Value::as_str).unwrap_or("-");
        let kept = if store.blob_size(&layer.digest)?.is_some() {
            "yes"
        } else {
            "as files"
        };
        let known = if layer.media() == Media::Other {
            " (unknown, kept as is)"
        } else {
            ""
        };
        rows.push(vec![
            layer.digest.to_string(),
            output::bytes(layer.size),
            diff_id.to_owned(),
            kept.to_owned(),
            format!("{}{known}", layer.media_type),
        ]);
    }
    text.push('\n');
    text.push_str(&output::table(&rows, &[1]));
    Ok(())
}

fn layer_json(store: &Store, layer: &Descriptor) -> Result<Value> {
    Ok(json!({
        "descriptor": layer.raw,
        "known": layer.media() != Media::Other,
        "kept": store.blob_size(&layer.digest)?.is_some(),
    }))
}

fn describe_referrers(text: &mut String, referrers: &[Descriptor]) {
    if referrers.is_empty() {
        return;
    }
    let head = ["REFERRER", "SIZE", "MEDIA TYPE"];
    let mut rows = vec![row(head)];
    for referrer in referrers {
        let (digest, size) = (referrer.digest.to_string(), output::bytes(referrer.size));
        rows.push(row([&digest, &size, &referrer.media_type]));
    }
    text.push('\n');
    text.push_str(&output::table(&rows, &[1]));
}

fn describe_history(text: &mut String, history: &Value) {
    let Some(steps) = history.as_array().filter(|steps| !steps.is_empty()) else {
        return;
    };
    let mut rows = vec![row(["CREATED", "LAYER", "BY"])];
    for step in steps {
        let field = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or("-");
        let empty = step
            .get("empty_layer")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        rows.push(row([
            field("created"),
            if empty { "no" } else { "yes" },
            &one_line(field("created_by")),
        ]));
    }
    text.push('\n');
    text.push_str(&output::table(&rows, &[]));
}

/// What built a layer can be a whole script: its beginning tells which.
fn one_line(text: &str) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match flat.char_indices().nth(100) {
        Some((cut, _)) => format!("{}…", &flat[..cut]),
        None => flat,
    }
}
