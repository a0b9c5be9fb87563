//! `exists`: an answer by exit code alone.

use std::process::ExitCode;

use super::args::Exists;
use super::session::Session;
use crate::error::{Cause, Result};

pub(super) fn run(session: &Session, args: &Exists) -> Result<ExitCode> {
    let found = session.open().and_then(|store| store.find(&args.reference));
    match found {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(e) if matches!(e.cause(), Cause::Missing(_)) => Ok(ExitCode::FAILURE),
        Err(e) => Err(e),
    }
}
