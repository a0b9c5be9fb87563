//! Owns whose ids a container runs with: the host's, one user's alone, or those of maps.

use super::spec::IdMapping;
use crate::idmap::IdMap;

/// What separates the ids of a container from the host's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Nothing: it is started by root, and its ids are the host's.
    None,
    /// A user namespace with one id, which is whoever starts it: no right of root is needed.
    Rootless {
        /// The user of the host that is the container's root.
        uid: u32,
        /// The group of the host that is the container's root's.
        gid: u32,
        /// How the host's `/etc/resolv.conf` has to be mounted, where it has one: without a network namespace of its
        /// own the container asks the host's servers for names. The mount options that the host's mount has and that
        /// a user namespace cannot take away.
        resolv_conf: Option<Vec<&'static str>>,
    },
    /// A user namespace, started by root; where there is no map, ids are the host's.
    Mapped {
        /// For users.
        uids: Mapping,
        /// For groups.
        gids: Mapping,
    },
}

/// Which ids of the host stand for those of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// The same ones.
    Same,
    /// Those of a map.
    Map(IdMap),
}

impl From<Option<IdMap>> for Mapping {
    fn from(map: Option<IdMap>) -> Self {
        map.map_or(Self::Same, Self::Map)
    }
}

impl Mapping {
    /// Returns the id of the host that stands for a container's.
    pub fn host_of(&self, id: u32) -> Option<u32> {
        match self {
            // The last 32-bit number is no id.
            Self::Same => Some(id).filter(|id| *id != u32::MAX),
            Self::Map(map) => map.host_of(id),
        }
    }

    fn ranges(&self) -> Vec<IdMapping> {
        let mapping = |(container, host, size)| IdMapping {
            container,
            host,
            size,
        };
        match self {
            Self::Same => vec![mapping((0, 0, u32::MAX))],
            Self::Map(map) => map.ranges().map(mapping).collect(),
        }
    }
}

impl Isolation {
    /// Tells whether the container has a user namespace.
    pub(super) fn has_user_namespace(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Returns the maps of users and of groups, as `config.json` has them.
    pub(super) fn mappings(&self) -> (Vec<IdMapping>, Vec<IdMapping>) {
        let root = |host| {
            vec![IdMapping {
                container: 0,
                host,
                size: 1,
            }]
        };
        match self {
            Self::None => (Vec::new(), Vec::new()),
            Self::Rootless { uid, gid, .. } => (root(*uid), root(*gid)),
            Self::Mapped { uids, gids } => (uids.ranges(), gids.ranges()),
        }
    }

    /// Tells whether a user of the container can be one.
    pub(super) fn has_uid(&self, uid: u32) -> bool {
        match self {
            Self::None => true,
            Self::Rootless { .. } => uid == 0,
            Self::Mapped { uids, .. } => uids.host_of(uid).is_some(),
        }
    }

    /// Tells whether a group of the container can be one.
    pub(super) fn has_gid(&self, gid: u32) -> bool {
        match self {
            Self::None => true,
            Self::Rootless { .. } => gid == 0,
            Self::Mapped { gids, .. } => gids.host_of(gid).is_some(),
        }
    }
}
