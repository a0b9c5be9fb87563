//! Owns points in time as image documents write them: RFC 3339 (image-spec config.md, "created"). Asks no clock.

use std::fmt;

/// A point in time, as it is written in a document.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Time(String);

/// Why a text is not a time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a time like 2026-11-24T16:35:00Z or 2026-11-24T17:35:00+01:00, got '{0}'")]
pub struct TimeError(String);

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

/// Days of 400 years, after which the calendar begins anew.
const ERA_DAYS: u64 = 146_097;

impl Time {
    /// The last second whose year has four digits.
    pub const UNIX_MAX: u64 = 253_402_300_799;

    /// Returns the time that is so many seconds after 1970; of those after [`Self::UNIX_MAX`], that one.
    pub fn of_unix(seconds: u64) -> Self {
        let seconds = seconds.min(Self::UNIX_MAX);
        let (year, month, day) = date(seconds / 86400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Self(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        ))
    }

    /// Parses RFC 3339; it stays as it is written.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        match is_time(text.as_bytes()) {
            Some(true) => Ok(Self(text.to_owned())),
            _ => Err(TimeError(text.escape_debug().to_string())),
        }
    }

    /// Returns how it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns year, month and day of a day counted from 1970 on.
///
/// Years are counted from March here, so that a leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (year, month + 3),
        _ => (year + 1, month - 9),
    };
    (era * 400 + year, month, day)
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Tells whether it is a time; `None` where it breaks off.
fn is_time(text: &[u8]) -> Option<bool> {
    let shape = |at: usize, mark: u8| text.get(at) == Some(&mark);
    let marks =
        shape(4, b'-') && shape(7, b'-') && shape(10, b'T') && shape(13, b':') && shape(16, b':');
    let (year, month, day) = (
        number(text, 0, 4)?,
        number(text, 5, 2)?,
        number(text, 8, 2)?,
    );
    let (hour, minute, second) = (
        number(text, 11, 2)?,
        number(text, 14, 2)?,
        number(text, 17, 2)?,
    );
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return Some(false);
        }
        rest = &fraction[digits..];
    }
    Some(marks && in_range && is_offset(rest)?)
}

fn is_offset(text: &[u8]) -> Option<bool> {
    if text == b"Z" {
        return Some(true);
    }
    let (hour, minute) = (number(text, 1, 2)?, number(text, 4, 2)?);
    let marks = matches!(text[0], b'+' | b'-') && text[3] == b':';
    Some(marks && text.len() == 6 && hour < 24 && minute < 60)
}

/// Reads so many digits.
fn number(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    text.get(at..at + digits)?.iter().try_fold(0, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_what_date_prints_for_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (Time::UNIX_MAX, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time::of_unix(seconds).as_str(), text);
            assert_eq!(Time::parse(text), Ok(Time(text.to_owned())));
        }
    }

    #[test]
    fn every_day_of_400_years_is_the_one_after_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(
                date(days),
                (u64::from(year), u64::from(month), u64::from(day))
            );
            day += 1;
            if day > days_of(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn a_time_is_rfc_3339_and_stays_as_it_is_written() {
        for good in [
            "2026-11-24T17:35:00+01:00",
            "2026-11-24T17:35:00.123456789-08:30",
            "2024-02-29T00:00:00Z",
        ] {
            assert_eq!(Time::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "now",
            "1700000000",
            "2026-11-24",
            "2026-11-24T17:35:00",
            "2026-11-24 17:35:00Z",
            "2026-11-24t17:35:00z",
            "2026-13-24T17:35:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T17:35:60Z",
            "2026-11-24T17:35:00.Z",
            "2026-11-24T17:35:00+0100",
            "2026-11-24T17:35:00+01:00x",
            "2026-11-24T17:35:00Zé",
            "+026-11-24T17:35:00Z",
        ] {
            assert!(Time::parse(bad).is_err(), "{bad}");
        }
    }
}
