//! Owns the extended attributes of an image's inodes: which of a tree's can be there, and as which bytes.

use crate::digest::ContentId;
use crate::meta::Meta;

use super::disk::FileType;

/// The bytes before the first attribute (`struct erofs_xattr_ibody_header`).
const HEADER: usize = 12;

/// As many as an inode can have: it counts them in words of 4 bytes, the header as one.
const MOST: usize = HEADER + 4 * (u16::MAX as usize - 1);

/// The longest name (XATTR_NAME_MAX).
const NAME_MAX: usize = 255;

/// What overlayfs looks for in a lower layer, and hides.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Beginnings of names, and their numbers. An access control list is its beginning.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (ACL_ACCESS, 2),
    (ACL_DEFAULT, 3),
    (b"trusted.", 4),
    (b"security.", 6),
];
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Why an attribute of the tree is not in the image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOut {
    /// No Linux file system has attributes of such a name.
    Namespace,
    /// Only files and directories have attributes of users, and a symlink has no access control list.
    NotOnThisType,
    /// It is no access control list that a kernel could obey.
    MalformedAcl,
    /// There is no room for it.
    TooLarge,
}

impl LeftOut {
    /// Returns it in words, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Namespace => {
                "an extended attribute of a name space that no file system has is left out"
            }
            Self::NotOnThisType => {
                "an extended attribute is left out that only files and directories can have"
            }
            Self::MalformedAcl => "an access control list that is malformed is left out",
            Self::TooLarge => "an extended attribute that is too large is left out",
        }
    }
}

/// Encodes the attributes of an inode, with those that lead an overlay to its object where it has one.
///
/// Each of the tree's that cannot be there is told.
pub(super) fn encode(
    meta: &Meta,
    kind: FileType,
    object: Option<&ContentId>,
    mut left_out: impl FnMut(LeftOut),
) -> Vec<u8> {
    let mut to = vec![0; HEADER];
    if let Some(object) = object {
        let (fan, rest) = (object.hex(), object.hex().split_off(2));
        let redirect = format!("/{}/{rest}", &fan[..2]);
        put(&mut to, 4, (b"overlay.metacopy", b""));
        put(&mut to, 4, (b"overlay.redirect", redirect.as_bytes()));
    }
    for (name, value) in &meta.xattrs {
        match prepare(name, value, kind) {
            Err(why) => left_out(why),
            Ok((_, rest))
                if to.len() + (4 + rest.len() + value.len()).next_multiple_of(4) > MOST =>
            {
                left_out(LeftOut::TooLarge);
            }
            Ok((prefix, rest)) => put(&mut to, prefix, (&rest, value)),
        }
    }
    match to.len() {
        HEADER => Vec::new(),
        _ => to,
    }
}

/// Returns the number of a name's beginning, and the rest of it.
fn prepare(name: &[u8], value: &[u8], kind: FileType) -> Result<(u8, Vec<u8>), LeftOut> {
    let found = PREFIXES
        .iter()
        .find_map(|(prefix, number)| Some((*number, name.strip_prefix(*prefix)?)));
    let (number, rest) = found.ok_or(LeftOut::Namespace)?;
    let is_acl = matches!(number, 2 | 3);
    // A list has the name itself; what is only called so has no number. Others have more than their beginning.
    if is_acl != rest.is_empty() {
        return Err(LeftOut::Namespace);
    }
    if is_acl && kind == FileType::Symlink {
        return Err(LeftOut::NotOnThisType);
    }
    let misplaced = number == 3 && kind != FileType::Directory;
    if is_acl && (misplaced || !is_acl_of(value)) {
        return Err(LeftOut::MalformedAcl);
    }
    if number == 1 && !matches!(kind, FileType::Regular | FileType::Directory) {
        return Err(LeftOut::NotOnThisType);
    }
    let (rest, added) = match name.strip_prefix(OVERLAY) {
        // overlayfs shows `trusted.overlay.overlay.x` as `trusted.overlay.x`, and never obeys it.
        Some(own) => ([b"overlay.overlay.", own].concat(), b"overlay.".len()),
        None => (rest.to_vec(), 0),
    };
    if name.len() + added > NAME_MAX || value.len() > usize::from(u16::MAX) {
        return Err(LeftOut::TooLarge);
    }
    Ok((number, rest))
}

fn put(to: &mut Vec<u8>, prefix: u8, (name, value): (&[u8], &[u8])) {
    to.push(u8::try_from(name.len()).unwrap_or_default());
    to.push(prefix);
    to.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
    to.extend_from_slice(name);
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Tells whether a kernel takes it for an access control list (`posix_acl_from_xattr`, `posix_acl_valid`).
fn is_acl_of(value: &[u8]) -> bool {
    const VERSION: [u8; 4] = [2, 0, 0, 0];
    const NAMED: [u16; 2] = [0x02, 0x08];
    let Some(entries) = value.strip_prefix(&VERSION) else {
        return false;
    };
    if entries.is_empty() || entries.len() % 8 != 0 {
        return false;
    }
    let (mut tags, mut fine) = (Vec::new(), true);
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let rights = u16::from_le_bytes([entry[2], entry[3]]);
        fine &= rights <= 7 && (!NAMED.contains(&tag) || entry[4..] != [0xff; 4]);
        // In this order, and only the named ones more than once.
        fine &= tags
            .last()
            .is_none_or(|last| *last < tag || *last == tag && NAMED.contains(&tag));
        fine &= matches!(tag, 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20);
        tags.push(tag);
    }
    let has = |tag| tags.contains(&tag);
    fine && has(0x01) && has(0x04) && has(0x20) && (has(0x10) || !(has(0x02) || has(0x08)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &[u8], value: &[u8], kind: FileType) -> (Vec<u8>, Vec<LeftOut>) {
        let mut meta = Meta::default();
        meta.xattrs.insert(name.into(), value.into());
        let mut left_out = Vec::new();
        let bytes = encode(&meta, kind, None, |why| left_out.push(why));
        (bytes, left_out)
    }

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut to = vec![2, 0, 0, 0];
        for (tag, rights, id) in entries {
            to.extend_from_slice(&tag.to_le_bytes());
            to.extend_from_slice(&rights.to_le_bytes());
            to.extend_from_slice(&id.to_le_bytes());
        }
        to
    }

    const ANY: u32 = u32::MAX;

    #[test]
    fn an_attribute_is_its_prefix_and_the_rest() {
        let (bytes, left_out) = encoded(b"user.note", b"va", FileType::Regular);
        assert_eq!(&bytes[12..], b"\x04\x01\x02\x00noteva\0\0");
        assert!(left_out.is_empty());
    }

    #[test]
    fn the_marks_of_an_overlay_are_escaped() {
        let (bytes, _) = encoded(b"trusted.overlay.opaque", b"y", FileType::Directory);
        assert_eq!(&bytes[14..], b"\x01\x00overlay.overlay.opaquey\0");
        let (bytes, _) = encoded(b"trusted.overlay.overlay.a", b"", FileType::Directory);
        assert_eq!(&bytes[16..], b"overlay.overlay.overlay.a\0\0\0");
    }

    #[test]
    fn what_no_file_system_holds_is_left_out_and_told() {
        use LeftOut::{MalformedAcl, Namespace, NotOnThisType, TooLarge};
        let long = [b"user.".as_slice(), &[b'x'; 251]].concat();
        for (name, value, kind, why) in [
            (&b"com.apple.x"[..], &b""[..], FileType::Regular, Namespace),
            (b"user.", b"", FileType::Regular, Namespace),
            (
                b"system.posix_acl_accesses",
                b"",
                FileType::Regular,
                Namespace,
            ),
            (b"user.x", b"", FileType::Symlink, NotOnThisType),
            (ACL_ACCESS, b"\x02", FileType::Regular, MalformedAcl),
            (&long, b"", FileType::Regular, TooLarge),
            (b"user.x", &[0; 65536], FileType::Regular, TooLarge),
        ] {
            assert_eq!(encoded(name, value, kind), (Vec::new(), vec![why]));
        }
        assert!(encoded(b"trusted.x", b"", FileType::Symlink).1.is_empty());
    }

    #[test]
    fn only_so_many_have_room() {
        let mut meta = Meta::default();
        for at in 0..5 {
            let name = format!("user.{at}").into_bytes();
            meta.xattrs.insert(name.into(), vec![1; 65_000].into());
        }
        let mut left_out = 0;
        let bytes = encode(&meta, FileType::Regular, None, |_| left_out += 1);
        assert_eq!(
            (left_out, bytes.len()),
            (1, HEADER + 4 * (4 + 1 + 3 + 65_000))
        );
    }

    #[test]
    fn an_access_control_list_is_one_that_a_kernel_obeys() {
        let plain = [(1, 7, ANY), (4, 5, ANY), (0x20, 4, ANY)];
        let named = [
            (1, 7, ANY),
            (2, 7, 5),
            (2, 6, 4),
            (4, 5, ANY),
            (0x10, 7, ANY),
            (0x20, 0, ANY),
        ];
        for (entries, fine) in [
            (&plain[..], true),
            (&named[..], true),
            (&plain[1..], false),
            (&[(1, 8, ANY), (4, 5, ANY), (0x20, 4, ANY)], false),
            (
                &[(1, 7, ANY), (2, 7, 5), (4, 5, ANY), (0x20, 4, ANY)],
                false,
            ),
            (&[(4, 7, ANY), (1, 5, ANY), (0x20, 4, ANY)], false),
        ] {
            assert_eq!(is_acl_of(&acl(entries)), fine, "{entries:?}");
        }
        assert!(
            encoded(ACL_DEFAULT, &acl(&plain), FileType::Directory)
                .1
                .is_empty()
        );
        assert!(
            !encoded(ACL_DEFAULT, &acl(&plain), FileType::Regular)
                .1
                .is_empty()
        );
    }
}
