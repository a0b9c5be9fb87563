//! Owns tar headers of images' archives: which members one has, and where their bytes are.
//! Members' names are looked up in memory; none is ever a path on the host.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use tar::{EntryType, Header, PaxExtensions};

use crate::error::{Context, Error, Result};
use crate::limits::Limits;
use crate::path::{Name, Step, TreePath, escape};

/// The unit that headers and contents are padded to.
pub(super) const BLOCK: usize = 512;

/// How much memory the index of one archive may take, in bytes: about a million members.
const INDEX_MAX: usize = 128 << 20;

/// What one member costs beside its names.
const MEMBER_COST: usize = 96;

/// The longest path looked up, in bytes.
const PATH_MAX: usize = 4096;

/// How many links are followed from one name.
const LINKS_MAX: usize = 40;

/// Where a member's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A tar file, indexed. Threads read its members side by side.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    what: String,
    members: HashMap<Box<[u8]>, Member>,
}

#[derive(Debug)]
enum Member {
    File(Range),
    /// Its target, relative to the folder it is in.
    Symlink(Box<[u8]>),
    /// Its target, relative to the archive's root.
    Hardlink(Box<[u8]>),
    /// A folder, or what has no bytes to read: a fifo, a device.
    Other,
}

impl Archive {
    /// Indexes a plain tar; `what` names it in errors. A later member of a name replaces an earlier one.
    pub(super) fn open(file: File, what: &str, limits: &Limits) -> Result<Self> {
        let len = file.metadata().context("read the archive", what)?.len();
        let mut walk = Walk {
            file: &file,
            what,
            len,
            at: 0,
            extension_bytes: limits.extension_bytes,
        };
        let mut members = HashMap::new();
        let mut cost = 0;
        while let Some((name, member)) = walk.next_member()? {
            let Some(key) = key_of(&name) else { continue };
            cost += MEMBER_COST + key.len() + member.names_len();
            if cost > INDEX_MAX {
                return Err(
                    walk.malformed("it has more members than an archive of images can have")
                );
            }
            members.insert(key, member);
        }
        Ok(Self {
            file: Arc::new(file),
            what: what.to_owned(),
            members,
        })
    }

    /// Returns the file that ranges are of.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns how errors call it.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Finds the file that `path` leads to, through links to other members.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Range>> {
        let malformed = |why: String| {
            Error::malformed(
                "read the archive",
                format!("{}, member '{}'", self.what, escape(path)),
                why,
            )
        };
        let steps = |target: &[u8]| TreePath::parse(target).map_err(|e| malformed(e.to_string()));
        // `None` is a step up.
        let owned = |path: TreePath| -> Vec<Option<Name>> {
            let step = |step| match step {
                Step::Up => None,
                Step::Child(name) => Some(name.to_name()),
            };
            path.steps().map(step).collect()
        };
        let mut left: VecDeque<Option<Name>> = owned(steps(path)?).into();
        let mut at = At::default();
        let (mut links, mut walked) = (0, 0);
        while let Some(step) = left.pop_front() {
            walked += 1;
            match step {
                None => at.pop(),
                Some(name) => at.push(&name),
            }
            if walked > TreePath::MAX_DEPTH || at.0.len() > PATH_MAX {
                return Err(malformed("its links lead on for too long".to_owned()));
            }
            let (target, from_root) = match self.members.get(at.0.as_slice()) {
                Some(Member::Symlink(target)) => (target, target.starts_with(b"/")),
                Some(Member::Hardlink(target)) => (target, true),
                Some(Member::File(range)) if left.is_empty() => return Ok(Some(*range)),
                Some(Member::Other) if left.is_empty() => {
                    return Err(malformed("it is not a regular file".to_owned()));
                }
                Some(Member::File(_) | Member::Other) | None => continue,
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(malformed(format!(
                    "more than {LINKS_MAX} links lead on from it"
                )));
            }
            at.pop();
            if from_root {
                at.0.clear();
            }
            for step in owned(steps(target)?).into_iter().rev() {
                left.push_front(step);
            }
        }
        Ok(None)
    }

    /// Reads a small member whole; one over `most` bytes is an error.
    pub(super) fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(Range { offset, size }) = self.find(path.as_bytes())? else {
            return Ok(None);
        };
        if size > most {
            let object = format!("{}, member '{}'", self.what, path.escape_debug());
            return Err(Error::malformed(
                "read the archive",
                object,
                format!("{size} bytes, more than {most} (--max-json)"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut bytes, offset)
            .context("read the archive", &self.what)?;
        Ok(Some(bytes))
    }
}

/// Where a look-up is: names with `/` between them, as members are called.
#[derive(Default)]
struct At(Vec<u8>);

impl At {
    fn push(&mut self, name: &Name) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name.as_bytes());
    }

    fn pop(&mut self) {
        let cut = self.0.iter().rposition(|b| *b == b'/');
        self.0.truncate(cut.unwrap_or(0));
    }
}

impl Member {
    fn names_len(&self) -> usize {
        match self {
            Self::File(_) | Self::Other => 0,
            Self::Symlink(target) | Self::Hardlink(target) => target.len(),
        }
    }
}

/// Returns the one spelling of a member's name, or nothing for a name that leads out or is none.
fn key_of(name: &[u8]) -> Option<Box<[u8]>> {
    let path = TreePath::parse(name).ok()?;
    let mut names = Vec::new();
    for step in path.steps() {
        match step {
            Step::Child(name) => names.push(name.as_bytes()),
            Step::Up => return None,
        }
    }
    (!names.is_empty()).then(|| names.join(&b'/').into_boxed_slice())
}

/// Walks the headers of a tar.
struct Walk<'a> {
    file: &'a File,
    what: &'a str,
    len: u64,
    at: u64,
    /// The longest extension header read: a name or PAX records.
    extension_bytes: u64,
}

/// What extension headers say of the next entry.
#[derive(Default)]
struct Extension {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    linkpath: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Walk<'_> {
    /// Returns the next member and its name.
    fn next_member(&mut self) -> Result<Option<(Vec<u8>, Member)>> {
        let mut extension = Extension::default();
        while let Some(header) = self.header()? {
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => {
                    extension.long_name = Some(until_nul(self.extension(&header)?));
                }
                EntryType::GNULongLink => {
                    extension.long_link = Some(until_nul(self.extension(&header)?));
                }
                EntryType::XHeader => {
                    let records = self.extension(&header)?;
                    extension
                        .take_pax(&records)
                        .map_err(|why| self.malformed(&why))?;
                }
                EntryType::Regular
                | EntryType::Continuous
                | EntryType::Link
                | EntryType::Symlink
                | EntryType::Directory
                | EntryType::Fifo
                | EntryType::Char
                | EntryType::Block => {
                    return self.member(&header, extension).map(Some);
                }
                EntryType::GNUSparse => return Err(self.malformed("a sparse member")),
                _ => {
                    let size = self.size(&header, &extension)?;
                    self.data(size)?;
                    extension = Extension::default();
                }
            }
        }
        Ok(None)
    }

    fn member(&mut self, header: &Header, extension: Extension) -> Result<(Vec<u8>, Member)> {
        let range = {
            let size = self.size(header, &extension)?;
            self.data(size)?
        };
        let Extension {
            long_name,
            long_link,
            path,
            linkpath,
            size: _,
        } = extension;
        let name = path
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = linkpath.or(long_link);
        let target = || {
            link.or_else(|| header.link_name_bytes().map(Into::into))
                .unwrap_or_default()
        };
        let kind = header.entry_type();
        if kind.is_file() || kind.is_contiguous() {
            return Ok((name, Member::File(range)));
        }
        if !kind.is_symlink() && !kind.is_hard_link() {
            return Ok((name, Member::Other));
        }
        if range.size > 0 {
            return Err(self.malformed(&format!("a link with bytes, '{}'", escape(&name))));
        }
        let target = target().into_boxed_slice();
        Ok((
            name,
            if kind.is_symlink() {
                Member::Symlink(target)
            } else {
                Member::Hardlink(target)
            },
        ))
    }

    /// Reads the next header; `None` at the end of the archive, marked or not.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.at == self.len {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let Range { offset, size: _ } = self.data(BLOCK as u64)?;
        self.file
            .read_exact_at(header.as_mut_bytes(), offset)
            .context("read the archive", self.what)?;
        if header.as_bytes().iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let mut summed = header.clone();
        summed.set_cksum();
        match (header.cksum(), summed.cksum()) {
            (Ok(said), Ok(is)) if said == is => Ok(Some(header)),
            _ => {
                self.at = offset;
                Err(self.malformed("no tar header"))
            }
        }
    }

    fn size(&self, header: &Header, extension: &Extension) -> Result<u64> {
        if let Some(size) = extension.size {
            return Ok(size);
        }
        let blank = header.as_old().size.iter().all(|b| matches!(b, 0 | b' '));
        match header.entry_size() {
            _ if blank => Ok(0),
            Ok(size) => Ok(size),
            Err(_) => Err(self.malformed("a size that is no number")),
        }
    }

    /// Steps over `size` bytes and their padding.
    fn data(&mut self, size: u64) -> Result<Range> {
        let offset = self.at;
        match offset.checked_add(size) {
            Some(end) if end <= self.len => {
                // The last padding may be missing.
                self.at = end
                    .checked_next_multiple_of(BLOCK as u64)
                    .unwrap_or(end)
                    .min(self.len);
                Ok(Range { offset, size })
            }
            _ => Err(self.malformed("it is cut off")),
        }
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = self.size(header, &Extension::default())?;
        let most = self.extension_bytes;
        if size > most {
            return Err(self.malformed(&format!(
                "an extension header of {size} bytes, more than {most} (--max-extension)"
            )));
        }
        let Range { offset, size } = self.data(size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut bytes, offset)
            .context("read the archive", self.what)?;
        Ok(bytes)
    }

    fn malformed(&self, why: &str) -> Error {
        Error::malformed(
            "read the archive",
            format!("{} at byte {}", self.what, self.at),
            why,
        )
    }
}

impl Extension {
    fn take_pax(&mut self, records: &[u8]) -> Result<(), String> {
        let end = records
            .iter()
            .rposition(|b| *b != 0)
            .map_or(0, |last| last + 1);
        for record in PaxExtensions::new(&records[..end]) {
            let record = record.map_err(|_| "a malformed PAX record".to_owned())?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.linkpath = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or("a PAX size that is no number")?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A header to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Head {
    Folder,
    /// A file of this many bytes.
    File(u64),
    /// The next member's name, of this many bytes, its NUL included.
    LongName(u64),
}

/// How many bytes of a name fit into a header.
pub(super) const NAME_FITS: usize = 100;

/// Returns the block of a header that says nothing but name, kind and size.
pub(super) fn header_block(name: &str, head: Head) -> [u8; BLOCK] {
    let (kind, mode, size) = match head {
        Head::Folder => (EntryType::Directory, 0o755, 0),
        Head::File(size) => (EntryType::Regular, 0o644, size),
        Head::LongName(size) => (EntryType::GNULongName, 0o644, size),
    };
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_entry_type(kind);
    let fits = name.len().min(NAME_FITS);
    header.as_old_mut().name[..fits].copy_from_slice(&name.as_bytes()[..fits]);
    header.set_cksum();
    *header.as_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};

    /// Adds an entry of any name and type, as hostile as wanted.
    fn raw(to: &mut Vec<u8>, name: &[u8], kind: EntryType, link: &[u8], data: &[u8]) {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        header.set_entry_type(kind);
        header.set_cksum();
        to.extend_from_slice(header.as_bytes());
        to.extend_from_slice(data);
        to.resize(to.len().next_multiple_of(512), 0);
    }

    pub(in super::super) fn file(to: &mut Vec<u8>, name: &str, data: &[u8]) {
        raw(to, name.as_bytes(), EntryType::Regular, b"", data);
    }

    pub(in super::super) fn symlink(to: &mut Vec<u8>, name: &str, target: &str) {
        raw(
            to,
            name.as_bytes(),
            EntryType::Symlink,
            target.as_bytes(),
            b"",
        );
    }

    pub(in super::super) fn open(bytes: &[u8]) -> Result<Archive> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Archive::open(file, "'x.tar'", &Limits::default())
    }

    #[test]
    fn names_that_lead_out_of_an_archive_are_not_in_it() {
        let mut bytes = Vec::new();
        raw(
            &mut bytes,
            b"../etc/passwd",
            EntryType::Regular,
            b"",
            b"out",
        );
        raw(&mut bytes, b"/abs", EntryType::Regular, b"", b"in");
        raw(&mut bytes, b"link", EntryType::Symlink, b"/etc/passwd", b"");
        raw(&mut bytes, b"up", EntryType::Symlink, b"../../../abs", b"");
        let archive = open(&bytes).unwrap();
        assert!(archive.read("etc/passwd", 9).unwrap().is_none());
        assert!(archive.read("link", 9).unwrap().is_none());
        assert_eq!(archive.read("abs", 9).unwrap().unwrap(), b"in");
        assert_eq!(archive.read("up", 9).unwrap().unwrap(), b"in");
    }

    #[test]
    fn links_are_followed_to_members_and_loops_end() {
        let mut bytes = Vec::new();
        raw(
            &mut bytes,
            b"real/layer.tar",
            EntryType::Regular,
            b"",
            b"layer",
        );
        raw(
            &mut bytes,
            b"a/layer.tar",
            EntryType::Symlink,
            b"../real/layer.tar",
            b"",
        );
        raw(&mut bytes, b"b", EntryType::Symlink, b"a", b"");
        raw(&mut bytes, b"c", EntryType::Link, b"a/layer.tar", b"");
        raw(&mut bytes, b"x", EntryType::Symlink, b"y", b"");
        raw(&mut bytes, b"y", EntryType::Symlink, b"x", b"");
        let archive = open(&bytes).unwrap();
        for path in ["a/layer.tar", "b/layer.tar", "c", "./a/../b//layer.tar"] {
            assert_eq!(archive.read(path, 9).unwrap().unwrap(), b"layer", "{path}");
        }
        assert_eq!(archive.read("x", 9).unwrap_err().exit_code(), 4);
    }

    #[test]
    fn extension_headers_name_and_measure_the_next_member() {
        let mut bytes = Vec::new();
        raw(
            &mut bytes,
            b"pax",
            EntryType::XHeader,
            b"",
            b"16 path=new/name\n",
        );
        assert_eq!(open(&bytes).unwrap_err().exit_code(), 4);
        let mut bytes = Vec::new();
        raw(
            &mut bytes,
            b"pax",
            EntryType::XHeader,
            b"",
            b"17 path=new/name\n\0",
        );
        raw(&mut bytes, b"old", EntryType::Regular, b"", b"abc");
        raw(
            &mut bytes,
            b"././@LongLink",
            EntryType::GNULongName,
            b"",
            b"long\0",
        );
        raw(&mut bytes, b"short", EntryType::Regular, b"", b"def");
        let archive = open(&bytes).unwrap();
        assert_eq!(archive.read("new/name", 9).unwrap().unwrap(), b"abc");
        assert_eq!(archive.read("long", 9).unwrap().unwrap(), b"def");
        assert!(archive.read("old", 9).unwrap().is_none());
    }

    #[test]
    fn what_is_cut_off_or_no_tar_is_malformed() {
        let mut bytes = Vec::new();
        raw(&mut bytes, b"a", EntryType::Regular, b"", &[7; 600]);
        assert!(open(&bytes[..512 + 600]).is_ok());
        for bad in [&bytes[..512 + 599], &bytes[..100], &[b'x'; 1024]] {
            assert_eq!(open(bad).unwrap_err().exit_code(), 4);
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(u64::MAX >> 1);
        header.set_cksum();
        assert_eq!(open(header.as_bytes()).unwrap_err().exit_code(), 4);
    }
}
