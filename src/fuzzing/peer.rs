//! Owns the comparison of our tar parser with the one of the `tar` crate, on the part of the format where the two
//! mean to agree.
//!
//! Where they are known to differ nothing is compared, from the first such header on:
//! - types that only one of them knows (`S` with its map, `X`, `V`, `g`), and extension headers under the V7 magic,
//!   which the crate lists as entries;
//! - a GNU long name and a PAX path for one entry: the crate takes the long name, as GNU tar does not;
//! - PAX sparse files, which the crate does not know;
//! - an empty PAX value, which the crate takes as it is, and POSIX as "the header counts again";
//! - a key twice: the crate takes the first, POSIX the last;
//! - star's prefix, which the crate reads over the times that follow it, and a ustar version other than `00`;
//! - markers, which become other paths here.

use ::tar::{Archive, Entry as Theirs};

use crate::entry::{Action, Entry};
use crate::path::TreePath;

/// Compares what both read, as long as they mean to agree.
pub(super) fn compare(data: &[u8], ours: &[Entry]) {
    let mut archive = Archive::new(data);
    let entries = archive.entries().expect("an archive at its beginning");
    let mut ours = ours.iter();
    for theirs in entries {
        let Ok(mut theirs) = theirs else { return };
        let Some((path, link)) = names(&mut theirs) else {
            return;
        };
        let ours = ours.next().expect("an entry that the tar crate sees");
        compare_entry(ours, &theirs, &path, &link);
    }
    assert!(
        ours.next().is_none(),
        "an entry that the tar crate does not see"
    );
}

/// Returns path and link, or nothing where the two readers differ by intention.
fn names(theirs: &mut Theirs<'_, &[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = theirs.header().as_bytes();
    let magic = &header[257..265];
    let known = matches!(header[156], 0 | b'0'..=b'7');
    let star = header[508..512] == *b"tar\0";
    let odd_version = magic.starts_with(b"ustar\0") && magic != b"ustar\x0000";
    if !known || star || odd_version {
        return None;
    }
    let header_path = theirs.header().path_bytes().into_owned();
    let (path, link) = (theirs.path_bytes().into_owned(), theirs.link_name_bytes());
    let link = link.map(std::borrow::Cow::into_owned).unwrap_or_default();
    let marked = |path: &[u8]| path.windows(4).any(|w| w == b".wh.");
    if marked(&path) || path.contains(&0) || link.contains(&0) {
        return None;
    }
    let has_long_name = path != header_path;
    pax_agrees(theirs, has_long_name.then_some(&path), &link).then_some((path, link))
}

/// Tells whether what PAX says is what the crate made of it.
fn pax_agrees(theirs: &mut Theirs<'_, &[u8]>, path: Option<&Vec<u8>>, link: &[u8]) -> bool {
    let Ok(Some(records)) = theirs.pax_extensions() else {
        return true;
    };
    let mut seen = std::collections::HashSet::new();
    for record in records {
        let Ok(record) = record else { return false };
        let (key, value) = (record.key_bytes(), record.value_bytes());
        let other_name = (key == b"path" && path.is_some_and(|path| path != value))
            || (key == b"linkpath" && link != value);
        if value.is_empty()
            || other_name
            || key.starts_with(b"GNU.sparse.")
            || !seen.insert(key.to_vec())
        {
            return false;
        }
    }
    true
}

fn compare_entry(ours: &Entry, theirs: &Theirs<'_, &[u8]>, path: &[u8], link: &[u8]) {
    assert_eq!(Ok(&ours.path), TreePath::parse(path).as_ref());
    let kind = match theirs.header().as_bytes()[156] {
        0 | b'0' | b'7' if path.ends_with(b"/") => b'5',
        0 | b'7' => b'0',
        kind => kind,
    };
    let (ours_kind, size) = match &ours.action {
        Action::File(_, payload) => (b'0', payload.size),
        Action::Link(target) => {
            assert_eq!(Ok(target), TreePath::parse(link).as_ref());
            (b'1', 0)
        }
        Action::Symlink(_, target) => {
            assert_eq!(&**target, link);
            (b'2', 0)
        }
        Action::Char(..) => (b'3', 0),
        Action::Block(..) => (b'4', 0),
        Action::Dir(_) => (b'5', 0),
        Action::Fifo(_) => (b'6', 0),
        Action::Whiteout | Action::Opaque => panic!("a marker without its prefix"),
    };
    assert_eq!((ours_kind, size), (kind, theirs.size()), "{}", ours.path);
}
