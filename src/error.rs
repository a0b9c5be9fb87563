//! Owns the crate's error: an act, its object and the cause, and which exit code that is.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What could not be done, to what, and why.
///
/// Displays as one line, `cannot <act> <object>: <cause>`, then `; <next step>` where there is one. Whatever names and
/// texts of an image are in it, no control character is: a terminal would obey it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    act: &'static str,
    object: String,
    cause: Cause,
    hint: Option<String>,
}

/// Why something could not be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The operating system refused.
    Io(io::Error),
    /// A reference, image or store is not there, or not one.
    Missing(String),
    /// The store is damaged, or bytes are not what a digest or size says.
    Damaged(String),
    /// The input is malformed or unsafe.
    Malformed(String),
    /// Another process holds the store.
    Busy(String),
    /// The call itself makes no sense.
    Usage(String),
    /// A signal asked to stop.
    Interrupted,
    /// Anything else.
    Failed(String),
}

impl Error {
    /// Returns the error of an `act` on `object`.
    pub fn new(act: &'static str, object: impl fmt::Display, cause: Cause) -> Self {
        Self(Box::new(Inner {
            act,
            object: object.to_string(),
            cause,
            hint: None,
        }))
    }

    /// Returns the error of a reference, image or store that is not there.
    pub fn missing(act: &'static str, object: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(act, object, Cause::Missing(why.into()))
    }

    /// Returns the error of bytes that are not what names them.
    pub fn damaged(act: &'static str, object: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(act, object, Cause::Damaged(why.into()))
    }

    /// Returns the error of input that is malformed or unsafe.
    pub fn malformed(act: &'static str, object: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(act, object, Cause::Malformed(why.into()))
    }

    /// Returns the error of a call that makes no sense.
    pub fn usage(act: &'static str, object: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(act, object, Cause::Usage(why.into()))
    }

    /// Returns an error of no other kind.
    pub fn failed(act: &'static str, object: impl fmt::Display, why: impl Into<String>) -> Self {
        Self::new(act, object, Cause::Failed(why.into()))
    }

    /// Adds the next step for whoever reads it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the next step where none is said yet.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: &str) -> Self {
        self.0.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Says of a refusal of the system what it was part of; other errors name that already.
    #[must_use]
    pub(crate) fn part_of(mut self, act: &'static str, object: impl fmt::Display) -> Self {
        if matches!(self.0.cause, Cause::Io(_)) {
            (self.0.act, self.0.object) = (act, object.to_string());
        }
        self
    }

    /// Returns why it failed.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Tells whether the system said that there is no such file.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(&self.0.cause, Cause::Io(e) if e.kind() == io::ErrorKind::NotFound)
    }

    /// Tells whether the system said that the file system cannot be written to.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(&self.0.cause, Cause::Io(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Returns the exit code of the command-line contract.
    pub fn exit_code(&self) -> u8 {
        match &self.0.cause {
            Cause::Io(_) | Cause::Failed(_) => 1,
            Cause::Missing(_) => 2,
            Cause::Damaged(_) => 3,
            Cause::Malformed(_) => 4,
            Cause::Usage(_) => 64,
            Cause::Busy(_) => 75,
            Cause::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            act,
            object,
            cause,
            hint,
        } = &*self.0;
        let next = hint.as_ref().map_or_else(String::new, |h| format!("; {h}"));
        let line = format!("cannot {act} {object}: {cause}{next}");
        line.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => f.write_str(&io_text(e)),
            Self::Missing(why)
            | Self::Damaged(why)
            | Self::Malformed(why)
            | Self::Busy(why)
            | Self::Usage(why)
            | Self::Failed(why) => f.write_str(why),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Io(e) => Some(e),
            _ => None,
        }
    }
}

/// Says what the system said, in lower case and without its number.
pub(crate) fn io_text(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text.to_owned(),
    }
}

/// Names the act and the object that a failed system call was part of.
pub trait Context<T> {
    /// Turns a system error into the crate's.
    fn context(self, act: &'static str, object: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, act: &'static str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::new(act, object, Cause::Io(e)))
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, act: &'static str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::new(act, object, Cause::Io(e.into())))
    }
}

/// Shows a path in an error, quoted.
///
/// It is put into words only where there is an error: most things that could fail do not.
pub(crate) fn quoted(path: &Path) -> Quoted<'_> {
    Quoted(path)
}

/// A path in quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_act_object_cause_and_next_step() {
        let gone = io::Error::from_raw_os_error(2);
        let error = Err::<(), _>(gone).context("open", "'x'").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot open 'x': no such file or directory"
        );
        let error =
            Error::missing("check out", "debian:13", "no such image").hint("see `ocistore images`");
        assert_eq!(
            error.to_string(),
            "cannot check out debian:13: no such image; see `ocistore images`"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn what_an_image_says_never_reaches_the_terminal_as_it_is() {
        let error = Error::malformed("import", "'a\nb'", "got \u{1b}[2J, \u{9b}, é");
        let line = r"cannot import 'a\nb': got \u{1b}[2J, \u{9b}, é";
        assert_eq!(error.to_string(), line);
    }
}
