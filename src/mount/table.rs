//! Owns finding out which of our mounts is at a path: by the number that the system has for it, and the name of it in
//! the system's table of mounts.

use std::fs;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

use crate::error::{Context as _, Result, quoted};
use crate::store::mounts::MountId;

/// How the name of each of our mounts begins.
pub(super) const SOURCE: &str = "ocistore:";

/// Returns which of our mounts has its root at `path`.
pub(super) fn mount_at(path: &Path) -> Result<Option<MountId>> {
    let seen = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID);
    let stat = match seen {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        other => other.context("look at", quoted(path))?,
    };
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    let table = fs::read_to_string("/proc/self/mountinfo")
        .context("read", "the table of mounts '/proc/self/mountinfo'")?;
    Ok(table
        .lines()
        .find_map(|line| source_of(line, stat.stx_mnt_id)))
}

/// Returns which of our mounts a line of the table is of, where it has this number (proc(5), "mountinfo").
fn source_of(line: &str, number: u64) -> Option<MountId> {
    let (fields, kind) = line.split_once(" - ")?;
    let own: u64 = fields.split(' ').next()?.parse().ok()?;
    let mut kind = kind.split(' ');
    let is_overlay = own == number && kind.next()? == "overlay";
    MountId::parse(kind.next()?.strip_prefix(SOURCE)?).filter(|_| is_overlay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_ours_by_number_kind_and_source() {
        let line = "46 27 0:39 / /mnt/a\\040b rw,relatime shared:1 - overlay ocistore:00000000000000ab ro,index=on";
        let id = MountId::parse("00000000000000ab");
        assert!(id.is_some() && source_of(line, 46) == id);
        assert_eq!(source_of(line, 27), None);
        assert_eq!(source_of(&line.replace("overlay", "ext4"), 46), None);
        assert_eq!(source_of(&line.replace("ocistore:", "other:"), 46), None);
    }
}
