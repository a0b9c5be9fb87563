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
        match bytes {
            b"" => Err(PathError::Empty),
            b"." | b".." => Err(PathError::Dots),
            _ if bytes.contains(&0) => Err(PathError::Nul),
            _ if bytes.contains(&b'/') => Err(PathError::Slash),
            _ if bytes.len() > NAME_MAX => Err(PathError::TooLong(bytes.len())),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
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

/// One step of a path as a tar header writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Into a child.
    Child(Name),
    /// `..`, which is resolved in the tree and stops at its root.
    Up,
}

/// A path inside an image, relative to its root, in steps; `.`, empty components and a leading `/` are gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreePath(pub Vec<Step>);

impl TreePath {
    /// The deepest path taken: each level is a directory handle at checkout.
    pub const MAX_DEPTH: usize = 1024;

    /// Parses a path of `/`-separated components. An empty path is the root; callers who mind check before.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        for part in bytes.split(|b| *b == b'/') {
            let step = match part {
                b"" | b"." => continue,
                b".." => Step::Up,
                name => Step::Child(Name::parse(name)?),
            };
            if steps.len() == Self::MAX_DEPTH {
                return Err(PathError::TooDeep(Self::MAX_DEPTH));
            }
            steps.push(step);
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (i, step) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            match step {
                Step::Child(name) => fmt::Display::fmt(name, f)?,
                Step::Up => f.write_str("..")?,
            }
        }
        Ok(())
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
        assert_eq!(TreePath::parse(b"./").unwrap().0.len(), 0);
    }

    #[test]
    fn escape_is_readable_and_unambiguous() {
        assert_eq!(escape("käse".as_bytes()), "käse");
        assert_eq!(escape(b"a\xffb\n\\"), "a\\xffb\\x0a\\\\");
    }
}
