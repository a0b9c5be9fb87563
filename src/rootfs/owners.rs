//! Owns whose the files of a checkout are: the image's owners, those that stand for them, or one user alone.
//! Refuses owners that no map holds or that the host does not let us give, before anything is laid out.

use std::collections::HashSet;

use super::probe::Probe;
use crate::error::{Error, Result};
use crate::idmap::IdMap;
use crate::meta::Meta;
use crate::store::inodes::Owners;

/// Whose the files of a checkout are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// Those that the image names, which takes root.
    AsImage,
    /// One user's, whatever the image says. Devices, which take root too, are left out.
    Rootless {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Those that stand for the image's, where there is a map; the image's own where there is none.
    Mapped {
        /// For users.
        uids: Option<IdMap>,
        /// For groups.
        gids: Option<IdMap>,
    },
}

/// Whose id an id is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdKind {
    User,
    Group,
}

/// An id of the image that no range holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unmapped {
    /// What kind of id it is.
    kind: &'static str,
    id: u32,
    /// The flag whose ranges do not hold it.
    flag: &'static str,
}

impl Ownership {
    /// Returns what this process may give: the image's owners as root, its own files as anybody else.
    pub fn of_process() -> Self {
        match Owners::of_process() {
            Owners::AsImage => Self::AsImage,
            Owners::Own { uid, gid } => Self::Rootless { uid, gid },
        }
    }

    /// Returns the ownership of a checkout that needs no right beyond those of whoever runs this process.
    pub fn rootless() -> Self {
        Self::Rootless {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Returns an image's metadata with the owner that a file of the host is to have.
    pub(super) fn apply(&self, meta: &Meta) -> (Meta, Option<Unmapped>) {
        let mut meta = meta.clone();
        let mut unmapped = None;
        match self {
            Self::AsImage => {}
            Self::Rootless { uid, gid } => (meta.uid, meta.gid) = (*uid, *gid),
            Self::Mapped { uids, gids } => {
                let sides = [
                    (uids, &mut meta.uid, "user id", "--uid-map"),
                    (gids, &mut meta.gid, "group id", "--gid-map"),
                ];
                for (map, id, kind, flag) in sides {
                    match map.as_ref().map(|map| map.host_of(*id)) {
                        None => {}
                        Some(Some(host)) => *id = host,
                        Some(None) => {
                            unmapped = unmapped.or(Some(Unmapped {
                                kind,
                                id: *id,
                                flag,
                            }));
                        }
                    }
                }
            }
        }
        (meta, unmapped)
    }

    /// Returns what an image says where a file of the host belongs to `id`, or `None` where no map holds it.
    pub(super) fn image_of(&self, id: u32, kind: IdKind) -> Option<u32> {
        let map = match (self, kind) {
            (Self::AsImage, _) => return Some(id),
            // Who has no other rights is root in the image.
            (Self::Rootless { uid, gid: _ }, IdKind::User) => {
                return Some(if id == *uid { 0 } else { id });
            }
            (Self::Rootless { uid: _, gid }, IdKind::Group) => {
                return Some(if id == *gid { 0 } else { id });
            }
            (Self::Mapped { uids, gids: _ }, IdKind::User) => uids,
            (Self::Mapped { uids: _, gids }, IdKind::Group) => gids,
        };
        match map {
            None => Some(id),
            Some(map) => map.image_of(id),
        }
    }

    /// Returns the next step where the host does not let files be somebody's.
    fn next_step(&self) -> &'static str {
        match self {
            Self::AsImage => {
                "map owners with --uid-map and --gid-map, or leave them out with --rootless"
            }
            Self::Mapped { .. } => {
                "map to ids that you may give files to, or leave owners out with --rootless"
            }
            Self::Rootless { .. } => "name a directory on another file system",
        }
    }
}

/// Asks the host of each owner once, in tree order, so that the first file that cannot be had is named.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    owners: &'a Ownership,
    probe: &'a Probe,
    /// Who can be given files; most have the owner of the one before.
    passed: HashSet<(u32, u32)>,
    last: Option<(u32, u32)>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(owners: &'a Ownership, probe: &'a Probe) -> Self {
        Self {
            owners,
            probe,
            passed: HashSet::new(),
            last: None,
        }
    }

    /// Fails where what is at `path` cannot have its owner.
    pub(super) fn pass(
        &mut self,
        meta: &Meta,
        unmapped: Option<Unmapped>,
        path: impl FnOnce() -> String,
    ) -> Result<()> {
        if let Some(Unmapped { kind, id, flag }) = unmapped {
            let why = format!("its {kind} {id} is in no range of {flag}");
            let hint = format!("add a {flag} that holds {id}, or leave owners out with --rootless");
            return Err(Error::failed("check out", quoted(&path()), why).hint(hint));
        }
        let owner = (meta.uid, meta.gid);
        if self.last == Some(owner) || self.passed.contains(&owner) {
            self.last = Some(owner);
            return Ok(());
        }
        if let Some(why) = self.probe.refuses_owner(owner) {
            let (uid, gid) = owner;
            let why = format!("the host does not let a file belong to {uid}:{gid}: {why}");
            let error = Error::failed("check out", quoted(&path()), why);
            return Err(error.hint(self.owners.next_step()));
        }
        self.passed.insert(owner);
        self.last = Some(owner);
        Ok(())
    }
}

fn quoted(path: &str) -> String {
    format!("'{path}'")
}
