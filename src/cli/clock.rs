//! Owns the time that new images say they were made at: what `SOURCE_DATE_EPOCH` says, else the clock's.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::time::Time;

/// The variable that makes builds reproducible (reproducible-builds.org, "SOURCE_DATE_EPOCH").
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// Returns the seconds since 1970 that `SOURCE_DATE_EPOCH` says, where it is set and not empty.
pub(super) fn source_date_epoch() -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    let seconds = text.parse().ok().filter(|_| {
        // A sign is no digit.
        text.bytes().all(|b| b.is_ascii_digit())
    });
    match seconds {
        Some(seconds @ 0..=Time::UNIX_MAX) => Ok(Some(seconds)),
        _ => {
            let why = format!("expected seconds since 1970, got '{}'", text.escape_debug());
            Err(Error::usage("take", VARIABLE, why))
        }
    }
}

/// Returns the time that something done now says it was done at.
pub(super) fn now() -> Result<Time> {
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    };
    Ok(Time::of_unix(source_date_epoch()?.unwrap_or_else(clock)))
}
