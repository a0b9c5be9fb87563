//! Owns what can be typed of commands that make images, and what it means for an image's documents.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::args::{Compress, Owners};
use super::clock;
use crate::build::documents::{Changes, History};
use crate::error::{Error, Result};
use crate::reference::ImageName;
use crate::time::Time;

/// Flags that change an image's config and annotations.
#[derive(Args, Debug)]
pub(super) struct ConfigFlags {
    #[arg(
        long = "config",
        value_name = "KEY=VALUE",
        help = "Set user, env, entrypoint, cmd, workdir, label, expose, volume, stop-signal, created, author, \
architecture, os, variant or annotation, as in env=NAME=VALUE; repeatable"
    )]
    pub(super) set: Vec<String>,
    #[arg(
        long,
        value_name = "KEY[=NAME]",
        help = "Clear all that KEY has, or NAME of it, before anything is set; repeatable"
    )]
    pub(super) clear: Vec<String>,
}

impl ConfigFlags {
    pub(super) fn changes(&self) -> Result<Changes> {
        Changes::parse(&self.set, &self.clear)
    }
}

/// Flags for the history entry of what a command does.
#[derive(Args, Debug)]
#[command(next_help_heading = "History")]
pub(super) struct HistoryFlags {
    /// Say why, in the history
    #[arg(short, long, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// Who did it [default: the image's author]
    #[arg(long, value_name = "TEXT")]
    pub(super) author: Option<String>,
    /// When, as in 2026-11-24T16:35:00Z [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    pub(super) created: Option<Time>,
    /// With which command [default: this one]
    #[arg(long, value_name = "TEXT")]
    pub(super) created_by: Option<String>,
    /// Add no entry
    #[arg(long, conflicts_with_all = ["message", "author", "created_by"])]
    pub(super) no_history: bool,
}

impl HistoryFlags {
    /// Returns when it was done.
    pub(super) fn time(&self) -> Result<Time> {
        match &self.created {
            Some(created) => Ok(created.clone()),
            None => clock::now(),
        }
    }

    /// Returns the entry of what `command` does.
    pub(super) fn entry(&self, command: &str) -> Result<Option<History>> {
        if self.no_history {
            return Ok(None);
        }
        let created_by = self.created_by.as_deref().unwrap_or(command);
        Ok(Some(History {
            created: Some(self.time()?),
            created_by: Some(created_by.to_owned()),
            author: self.author.clone(),
            comment: self.message.clone(),
        }))
    }

    /// Tells whether any of them was given.
    pub(super) fn are_given(&self) -> bool {
        let Self {
            message,
            author,
            created,
            created_by,
            no_history: _,
        } = self;
        message.is_some() || author.is_some() || created.is_some() || created_by.is_some()
    }
}

#[derive(Args, Debug)]
pub(super) struct Config {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// What to call the new image; repeatable [default: as the old one, which loses the name]
    #[arg(short, long = "tag", value_name = "NEW")]
    pub(super) tags: Vec<String>,
    /// Which image of an index: OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    #[command(flatten)]
    pub(super) fields: ConfigFlags,
    #[command(flatten)]
    pub(super) history: HistoryFlags,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a field is a flag")]
pub(super) struct Commit {
    /// A bundle of `unpack`, or any folder: that is a root filesystem then
    #[arg(value_name = "BUNDLE|DIR")]
    pub(super) source: PathBuf,
    /// What to call the new image; any number of names
    #[arg(value_name = "REF", required = true)]
    pub(super) names: Vec<String>,
    /// The image that DIR was made from; without it the new image has one layer, with all of DIR
    #[arg(long, value_name = "REF")]
    pub(super) base: Option<String>,
    /// Of the base, if it is an index, or of an image without one: OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    /// How the layer is compressed
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    pub(super) compress: Compress,
    /// Put everything into one layer, instead of what changed over the base's layers
    #[arg(long)]
    pub(super) squash: bool,
    /// Leave a path and all below it as the base has it; repeatable
    #[arg(long, value_name = "PATH")]
    pub(super) mask_path: Vec<OsString>,
    /// Take in what is in the image's volumes, too
    #[arg(long)]
    pub(super) no_mask_volumes: bool,
    /// Add an entry to the history where nothing changed, too
    #[arg(long, conflicts_with = "no_history")]
    pub(super) history_empty: bool,
    /// From now on the bundle is one of the new image
    #[arg(long)]
    pub(super) refresh: bool,
    #[command(flatten)]
    pub(super) owners: Owners,
    #[command(flatten)]
    pub(super) fields: ConfigFlags,
    #[command(flatten)]
    pub(super) history: HistoryFlags,
}

/// Reads names for a new image; each once.
pub(super) fn names(texts: &[String]) -> Result<Vec<ImageName>> {
    let mut names = Vec::new();
    for text in texts {
        let name = ImageName::parse(text)
            .map_err(|e| Error::usage("name", format!("'{text}'"), e.to_string()))?;
        if name.tag().is_none() {
            let why = "a new image has another digest than a name can know";
            return Err(
                Error::usage("name", format!("'{text}'"), why).hint("name it as NAME[:TAG]")
            );
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
