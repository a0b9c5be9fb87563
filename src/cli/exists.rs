//! `exists`: an answer by exit code alone.

use std::process::ExitCode;

use super::args::Exists;
use super::session::Session;
use crate::error::{Cause, Result};
use crate::store::Store;

pub(super) fn run(session: &Session, args: &Exists) -> Result<ExitCode> {
    let store = session.open();
    // What names lead to stays readable as long as this is held.
    let find = |store: Store| {
        store
            .read()
            .and_then(|_reading| store.find(&args.reference))
    };
    match store.and_then(find) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(e) if matches!(e.cause(), Cause::Missing(_)) => Ok(ExitCode::FAILURE),
        Err(e) => Err(e),
    }
}
