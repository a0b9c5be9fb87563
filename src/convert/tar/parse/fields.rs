//! Owns what a header and its extensions say together: names, numbers, targets, each from where it counts.

use super::{Block, Parser, TarError};
use crate::convert::tar::extended::{Extended, check_owner};
use crate::convert::tar::header::Header;
use crate::meta::{Meta, Mtime};
use crate::path::TreePath;
use crate::tree::{Device, TARGET_MAX};
use crate::warning::Warning;

/// What a header says, numbers checked.
pub(super) struct Fields {
    pub(super) path: Vec<u8>,
    pub(super) kind: u8,
    /// Bytes in the tar after the header.
    pub(super) stored: u64,
    pub(super) meta: Meta,
}

impl Parser<'_> {
    /// Reads the numbers of a header, extension headers first.
    pub(super) fn fields(
        &mut self,
        block: &Block,
        extended: &Extended,
    ) -> Result<Fields, TarError> {
        let header = Header(block);
        let pax = &extended.pax;
        let path = match (&pax.sparse.name, &pax.path, &extended.long_name) {
            (Some(name), _, _) | (None, Some(name), _) | (None, None, Some(name)) => name.clone(),
            (None, None, None) => header.path(),
        };
        self.path.clone_from(&path);
        let stored = match pax.size {
            Some(size) => size,
            None => self.header_size(block)?,
        };
        let (xattrs, conflict) = pax.xattrs();
        if conflict {
            self.warn(Warning::XattrConflict);
        }
        let meta = self
            .meta(&header, extended)
            .map(|meta| Meta { xattrs, ..meta });
        Ok(Fields {
            path,
            kind: header.kind(),
            stored,
            meta: self.say(meta)?,
        })
    }

    fn meta(&self, header: &Header<'_>, extended: &Extended) -> Result<Meta, String> {
        let pax = &extended.pax;
        let globals = &self.globals;
        let uid = pax.uid.or_global(globals.uid);
        let uid = uid.map_or_else(|| check_owner(header.uid()?), Ok)?;
        let gid = pax.gid.or_global(globals.gid);
        let gid = gid.map_or_else(|| check_owner(header.gid()?), Ok)?;
        let mtime = pax.mtime.or_global(globals.mtime);
        let mtime = mtime.map_or_else(|| header_time(header), Ok)?;
        // Some tools put the file's type into the mode too.
        let mode = u16::try_from(header.mode()? & i128::from(Meta::MODE_BITS)).unwrap_or_default();
        Ok(Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs: crate::meta::Xattrs::new(),
        })
    }

    pub(super) fn header_size(&mut self, block: &Block) -> Result<u64, TarError> {
        let size = Header(block).size().and_then(|size| {
            let bounds = i128::from(self.limits.layer_bytes);
            u64::try_from(size)
                .ok()
                .filter(|_| size <= bounds)
                .ok_or(format!("a size of {size} (--max-layer)"))
        });
        self.say(size)
    }

    pub(super) fn link_target(
        &mut self,
        block: &Block,
        extended: &Extended,
    ) -> Result<TreePath, TarError> {
        let target = Self::raw_target(block, extended);
        if target.is_empty() {
            return self.refuse("a link to nothing");
        }
        let parsed = TreePath::parse(&target).map_err(|e| format!("its target: {e}"));
        self.say(parsed)
    }

    pub(super) fn symlink_target(
        &mut self,
        block: &Block,
        extended: &Extended,
    ) -> Result<Box<[u8]>, TarError> {
        let target = Self::raw_target(block, extended);
        if target.is_empty() || target.len() > TARGET_MAX {
            return self.refuse(format!(
                "a symlink's target of {} bytes, expected 1 to {TARGET_MAX}",
                target.len()
            ));
        }
        Ok(target.into())
    }

    fn raw_target(block: &Block, extended: &Extended) -> Vec<u8> {
        let long = extended
            .pax
            .linkpath
            .as_ref()
            .or(extended.long_link.as_ref());
        long.cloned()
            .unwrap_or_else(|| Header(block).link().to_vec())
    }

    pub(super) fn device(&mut self, block: &Block) -> Result<Device, TarError> {
        let device = Header(block).device().and_then(|(major, minor)| {
            let fit = |n: i128| u32::try_from(n).map_err(|_| format!("a device number of {n}"));
            Ok(Device {
                major: fit(major)?,
                minor: fit(minor)?,
            })
        });
        self.say(device)
    }
}

fn header_time(header: &Header<'_>) -> Result<Mtime, String> {
    let secs = header.mtime()?;
    let secs = i64::try_from(secs).map_err(|_| format!("a time of {secs}"))?;
    Ok(Mtime { secs, nanos: 0 })
}
