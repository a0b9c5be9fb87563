//! Owns the shape of results: text for people, one JSON document for programs, bare lines for scripts.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::{Map, Value};

use super::session::Session;
use crate::error::{Context, Result};
use crate::warning::Warnings;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    Json,
    Quiet,
}

/// A result in all its shapes.
pub(super) struct Output {
    /// For people; ends with a newline unless it is empty.
    pub(super) text: String,
    /// For programs: the fields beside `schema`.
    pub(super) json: Value,
    /// For scripts: a line each.
    pub(super) quiet: Vec<String>,
}

impl Output {
    pub(super) fn print(self, session: &Session) -> Result<()> {
        let text = match session.style() {
            Style::Text => printable(&self.text, &['\n']),
            Style::Json => format!("{:#}\n", with_schema(self.json)),
            Style::Quiet => self
                .quiet
                .iter()
                .fold(String::new(), |text, line| text + line + "\n"),
        };
        print_bytes(text.as_bytes())
    }
}

/// Returns text that no terminal obeys: images choose their own platforms, dates and types.
pub(super) fn printable(text: &str, allowed: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && !allowed.contains(&c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

fn with_schema(json: Value) -> Value {
    let mut map = Map::new();
    map.insert("schema".to_owned(), 1.into());
    if let Value::Object(fields) = json {
        map.extend(fields);
    }
    Value::Object(map)
}

/// Prints to stdout. Whoever stopped reading has what they wanted.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(e).context("write to", "standard output")
        }
        _ => Ok(()),
    }
}

/// Says each kind of warning once, with its count.
pub(super) fn say_warnings(session: &Session, warnings: &Warnings) {
    for (warning, noted) in warnings.iter() {
        let more = if noted.count > 1 {
            format!(" (and {} more)", noted.count - 1)
        } else {
            String::new()
        };
        session.say(&format!(
            "ocistore: warning: {}: {}{more}",
            noted.first,
            warning.text()
        ));
    }
}

/// Returns warnings for programs.
pub(super) fn warnings_json(warnings: &Warnings) -> Value {
    let of = |(warning, noted): (crate::warning::Warning, &crate::warning::Noted)| serde_json::json!({"kind": warning.name(), "count": noted.count, "first": noted.first});
    warnings.iter().map(of).collect()
}

/// Returns a length for people, in powers of 1000 as `docker` and `skopeo` print it.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut tenths = u128::from(n) * 10;
    let mut unit = 0;
    tenths /= 1000;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns rows as columns, the first row a head; `right` tells which columns are numbers.
pub(super) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| printable(cell, &[])).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            let done = match right.contains(&column) {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
            // Writing to a string does not fail.
            done.ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_readable() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_164_700_000, "1.1 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["NAME".to_owned(), "SIZE".to_owned()],
            vec!["a".to_owned(), "10 B".to_owned()],
        ];
        assert_eq!(table(&rows, &[1]), "NAME  SIZE\na     10 B\n");
    }
}
