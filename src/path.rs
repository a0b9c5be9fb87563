//! Owns names and paths inside an image: raw bytes, parsed once.
//! Refuses whatever could mean something to a host's file system: `/`, NUL, `.`, `..`, over 255 bytes.

use std::borrow::Borrow;
use std::fmt;

/// The longest name a file may have, in bytes (NAME_MAX of every Linux file system that matters).
pub const NAME_MAX: usize = 255;

/// One component of a path: never empty, `.`, `..`, over 255 bytes, nor with `/` or NUL in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Why bytes are not a name or a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// A name of no bytes.
    #[error("empty name")]
    Empty,
    /// A NUL byte.
    #[error("NUL in a name")]
    Nul,
    /// A slash where one component was expected.
    #[error("slash in a name")]
    Slash,
    /// `.` or `..` where a name was expected.
    #[error("'.' or '..' as a name")]
    Dots,
    /// A component that no file system takes.
    #[error("a name of {0} bytes, more than 255")]
    TooLong(usize),
    /// More components than the limit.
    #[error("a path of more than {0} components")]
    TooDeep(usize),
}

impl Name {
    /// Parses one component.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        check(bytes).map(|()| Self(bytes.into()))
    }

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it borrowed.
    pub fn borrowed(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }
}

/// Refuses what is no name.
fn check(bytes: &[u8]) -> Result<(), PathError> {
    match bytes {
        b"" => Err(PathError::Empty),
        b"." | b".." => Err(PathError::Dots),
        _ if bytes.contains(&0) => Err(PathError::Nul),
        _ if bytes.contains(&b'/') => Err(PathError::Slash),
        _ if bytes.len() > NAME_MAX => Err(PathError::TooLong(bytes.len())),
        _ => Ok(()),
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

/// A component of a path, borrowed: what a [`Name`] is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef<'a>(&'a [u8]);

impl<'a> NameRef<'a> {
    /// Returns the raw bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns a name of its own.
    pub fn to_name(self) -> Name {
        Name(self.0.into())
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.0))
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(self.0))
    }
}

/// One step of a path as a tar header writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Into a child.
    Child(NameRef<'a>),
    /// `..`, which is resolved in the tree and stops at its root.
    Up,
}

/// A path inside an image, relative to its root, in steps; `.`, empty components and a leading `/` are gone.
///
/// It takes its bytes and no more: a layer has millions of paths, and the longest have a thousand steps.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath {
    /// Names and `..`, with `/` between them.
    joined: Box<[u8]>,
}

impl TreePath {
    /// The deepest path taken: each level is a directory handle at checkout.
    pub const MAX_DEPTH: usize = 1024;

    /// Parses a path of `/`-separated components. An empty path is the root; callers who mind check before.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let mut joined = Vec::with_capacity(bytes.len());
        let mut depth = 0;
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => {}
                name => check(name)?,
            }
            if depth == Self::MAX_DEPTH {
                return Err(PathError::TooDeep(Self::MAX_DEPTH));
            }
            depth += 1;
            if !joined.is_empty() {
                joined.push(b'/');
            }
            joined.extend_from_slice(part);
        }
        Ok(Self {
            joined: joined.into(),
        })
    }

    /// Tells whether it is the root itself, spelled without a step.
    pub fn is_root(&self) -> bool {
        self.joined.is_empty()
    }

    /// Returns the steps, from the root on.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = Step<'_>> + Clone {
        // Splitting nothing gives one empty part.
        let parts = self.joined.split(|b| *b == b'/');
        parts.filter(|part| !part.is_empty()).map(step)
    }

    /// Returns the path without its last step, and that step; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, Step<'_>)> {
        if self.is_root() {
            return None;
        }
        let cut = self.joined.iter().rposition(|b| *b == b'/');
        let (parents, last) = match cut {
            Some(cut) => (&self.joined[..cut], &self.joined[cut + 1..]),
            None => (&[][..], &self.joined[..]),
        };
        let parents = Self {
            joined: parents.into(),
        };
        Some((parents, step(last)))
    }

    /// Returns the path of a child.
    #[must_use]
    pub fn join(&self, name: &Name) -> Self {
        let parts = [&self.joined[..], name.as_bytes()];
        Self {
            joined: match self.is_root() {
                true => name.as_bytes().into(),
                false => parts.join(&b'/').into(),
            },
        }
    }
}

/// Returns what a component that was checked before is.
fn step(part: &[u8]) -> Step<'_> {
    match part {
        b".." => Step::Up,
        name => Step::Child(NameRef(name)),
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => f.write_str("."),
            false => f.write_str(&escape(&self.joined)),
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Returns `bytes` for people: UTF-8 as it is, control bytes and others as `\xNN`, a backslash doubled.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => c.to_string().bytes().for_each(|b| push_hex(&mut text, b)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| push_hex(&mut text, *b));
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    text.push_str("\\x");
    text.push_str(&crate::digest::hex(&[byte]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_refuses_what_a_host_would_interpret() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        for good in [&b"a"[..], b"...", b".a", b"\xff\xfe", &[b'x'; 255]] {
            assert_eq!(Name::parse(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn spellings_of_one_path_are_equal() {
        let plain = TreePath::parse(b"a/b").unwrap();
        for same in [&b"./a/b"[..], b"a//b", b"/a/b", b"a/b/", b"a/./b/."] {
            assert_eq!(TreePath::parse(same).unwrap(), plain);
        }
        assert!(TreePath::parse(b"./").unwrap().is_root());
    }

    #[test]
    fn a_path_is_its_steps() {
        let path = TreePath::parse(b"/a/./../b").unwrap();
        let (parents, last) = path.split_last().unwrap();
        assert_eq!(parents, TreePath::parse(b"a/..").unwrap());
        assert_eq!(last, Step::Child(NameRef(b"b")));
        assert_eq!(path.steps().count(), 3);
        assert_eq!(path.steps().nth(1), Some(Step::Up));
        let name = Name::parse(b"b").unwrap();
        assert_eq!(parents.join(&name), path);
        assert_eq!(TreePath::default().join(&name).to_string(), "b");
        assert_eq!(TreePath::default().steps().count(), 0);
        assert!(TreePath::default().split_last().is_none());
    }

    #[test]
    fn escape_is_readable_and_unambiguous() {
        assert_eq!(escape("käse".as_bytes()), "käse");
        assert_eq!(escape(b"a\xffb\n\\"), "a\\xffb\\x0a\\\\");
    }
}
