//! `tag` and `untag`: names, and nothing but names.

use serde_json::json;

use super::args::{Tag, Untag};
use super::output::Output;
use super::session::Session;
use crate::error::{Error, Result};
use crate::reference::ImageName;

pub(super) fn tag(session: &Session, args: &Tag) -> Result<()> {
    let new =
        ImageName::parse(&args.new).map_err(|e| Error::usage("name", &args.new, e.to_string()))?;
    let store = session.open()?;
    let reader = store.read()?;
    let found = store.find(&args.reference)?;
    let digest = found.digest;
    reader.name(&found, &new)?;
    Output {
        text: format!("{new} {digest}\n"),
        json: json!({"name": new.to_string(), "digest": digest.to_string()}),
        quiet: vec![digest.to_string()],
    }
    .print(session)
}

pub(super) fn untag(session: &Session, args: &Untag) -> Result<()> {
    let parse = |text: &String| {
        ImageName::parse(text).map_err(|e| Error::usage("untag", text, e.to_string()))
    };
    let wanted: Vec<ImageName> = args.names.iter().map(parse).collect::<Result<_>>()?;
    let store = session.open()?;
    store.change_names(|names| {
        let gone = |name: &&ImageName| names.get(name).is_none();
        if let Some(name) = wanted.iter().find(gone) {
            return Err(Error::missing("untag", name, "no image has this name")
                .hint("`ocistore images` lists them"));
        }
        wanted.iter().for_each(|name| {
            names.remove(name);
        });
        Ok(())
    })?;
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Output {
        text: names.iter().map(|name| format!("{name}\n")).collect(),
        json: json!({"untagged": names}),
        quiet: names,
    }
    .print(session)
}
