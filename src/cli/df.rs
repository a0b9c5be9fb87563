//! `df`: what the store holds and saves.

use serde_json::json;

use super::output::{self, Output};
use super::session::Session;
use crate::df::{self, Df, ImageUse};
use crate::error::Result;

pub(super) fn run(session: &Session) -> Result<()> {
    let store = session.open()?;
    let reader = store.read()?;
    let df = df::measure(&reader, session.watch())?;
    let quiet = vec![df.bytes.disk.to_string()];
    Output {
        text: text(&df),
        json: json!(df),
        quiet,
    }
    .print(session)
}

fn text(df: &Df) -> String {
    let Df {
        images,
        layers,
        objects,
        bytes,
        on_disk,
        per_image,
    } = df;
    let row =
        |what: &str, bytes: u64, note: String| vec![what.to_owned(), output::bytes(bytes), note];
    let rows = [
        row(
            "layers, as imported",
            bytes.compressed,
            format!("{layers} layers of {images} images"),
        ),
        row("layers, uncompressed", bytes.uncompressed, String::new()),
        row("unique files", bytes.unique, format!("{objects} contents")),
        row(
            "saved by sharing",
            bytes.saved,
            "against every layer's files once".to_owned(),
        ),
        row(
            "kept beside files",
            bytes.kept,
            "compressed layers; `ocistore compact` drops those that can be made again".to_owned(),
        ),
        row(
            "made again",
            bytes.regenerable,
            "compressed layers that compact dropped".to_owned(),
        ),
        row("on disk", bytes.disk, String::new()),
        row("  objects", on_disk.objects, String::new()),
        row(
            "  inodes",
            on_disk.inodes,
            "for checkouts; gc drops what none holds".to_owned(),
        ),
        row(
            "  blobs",
            on_disk.blobs,
            "documents and kept layers".to_owned(),
        ),
        row("  recipes", on_disk.recipes, String::new()),
        row(
            "  other",
            on_disk.other,
            "catalog, names, compression recipes".to_owned(),
        ),
    ];
    let mut lines = vec![
        ["IMAGE", "DIGEST", "LAYERS", "FILES", "SHARED", "ONLY HERE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.extend(per_image.iter().map(image_row));
    output::table(&rows, &[1]) + "\n" + &output::table(&lines, &[2, 3, 4, 5])
}

fn image_row(image: &ImageUse) -> Vec<String> {
    let short = image
        .digest
        .split_once(':')
        .and_then(|(_, hex)| hex.get(..12))
        .unwrap_or(&image.digest);
    vec![
        if image.names.is_empty() {
            "-".to_owned()
        } else {
            image.names.join(", ")
        },
        short.to_owned(),
        output::bytes(image.compressed),
        output::bytes(image.share.files),
        output::bytes(image.share.shared),
        output::bytes(image.share.exclusive),
    ]
}
