//! `completion` and `man`: made from the arguments themselves. The one home of `clap_complete` and `clap_mangen`.

use clap::CommandFactory as _;

use super::args::{Cli, Completion, Man};
use super::output::print_bytes;
use super::session::Session;
use crate::error::{Context, Error, Result};

pub(super) fn completion(_session: &Session, args: &Completion) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ocistore", &mut script);
    print_bytes(&script)
}

pub(super) fn man(_session: &Session, args: &Man) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let command = match &args.command {
        None => command,
        Some(name) => command.find_subcommand(name).cloned().ok_or_else(|| {
            Error::usage("print the man page of", name, "there is no such command")
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .context("make", "the man page")?;
    print_bytes(&page)
}
