//! `config`: an image with another config and other annotations, over the same layers.

use serde_json::json;

use super::build_args::{self, Config};
use super::output::Output;
use super::session::Session;
use crate::build::config::{Edit, edit};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::{ImageName, Reference};
use crate::store::Store;
use crate::wire::Media;

pub(super) fn run(session: &Session, args: &Config) -> Result<()> {
    let changes = args.fields.changes()?;
    if changes.is_empty() && !args.history.are_given() {
        return Err(Error::usage("change", &args.reference, "nothing says what")
            .hint("`--config KEY=VALUE` sets, `--clear KEY` clears"));
    }
    let edit_of = Edit {
        changes,
        history: args.history.entry("ocistore config")?,
    };
    let tags = build_args::names(&args.tags)?;
    let store = session.open()?;
    // Before anything is looked up: what is found then stays.
    let writer = store.write()?;
    let image = store.find_image(&args.reference, args.platform.as_deref())?;
    let names = match tags.is_empty() {
        true => vec![own_name(&store, &args.reference)?],
        false => tags,
    };
    let digest = edit(&writer, &image, edit_of, &names, session.watch())?;
    print(session, &names, &digest)
}

/// Returns the name that moves to the new image: the one that the old one was asked for by.
fn own_name(store: &Store, reference: &str) -> Result<ImageName> {
    let act = "name the image made of";
    let hint = "say what to call it with --tag NEW";
    let name = match Reference::parse(reference) {
        Ok(Reference::Name(name)) => Some(name),
        Ok(Reference::Prefix { name, .. }) => name,
        Ok(Reference::Digest(_)) | Err(_) => None,
    };
    let names = store.names()?;
    let Some((name, named)) = name.and_then(|name| Some((name.clone(), names.get(&name)?))) else {
        return Err(Error::usage(act, reference, "it is no name").hint(hint));
    };
    if name.tag().is_none() {
        let why = "its name says a digest, which the new image has not";
        return Err(Error::usage(act, reference, why).hint(hint));
    }
    if named.media() == Media::Index {
        let why = "its name names an index, whose other images would lose it";
        return Err(Error::usage(act, reference, why).hint(hint));
    }
    Ok(name)
}

/// Prints what a command named, as `import` does.
fn print(session: &Session, names: &[ImageName], digest: &Digest) -> Result<()> {
    let lines = names.iter().map(|name| format!("{name} {digest}\n"));
    let images = names
        .iter()
        .map(|name| json!({"name": name.to_string(), "digest": digest.to_string()}));
    Output {
        text: lines.collect(),
        json: json!({"images": images.collect::<Vec<_>>()}),
        quiet: vec![digest.to_string()],
    }
    .print(session)
}
