//! Owns how it is written down whose the files of a checkout are: in bundles, and in what a store knows of its checkouts.

use serde_json::{Map, Value, json};

use super::owners::Ownership;
use crate::idmap::IdMap;

impl Ownership {
    /// Returns it as JSON (`docs/format.md`, "Bundle").
    pub(crate) fn to_json(&self) -> Value {
        let ranges = |map: &Option<IdMap>| {
            let text = |(container, host, size)| format!("{container}:{host}:{size}");
            map.as_ref()
                .map(|map| map.ranges().map(text).collect::<Vec<_>>())
        };
        match self {
            Self::AsImage => json!({"kind": "image"}),
            Self::Rootless { uid, gid } => json!({"kind": "rootless", "uid": uid, "gid": gid}),
            Self::Mapped { uids, gids } => {
                json!({"kind": "mapped", "uids": ranges(uids), "gids": ranges(gids)})
            }
        }
    }

    /// Reads what [`Self::to_json`] gave.
    pub(crate) fn from_json(map: &Map<String, Value>) -> Result<Self, String> {
        let id = |key: &str| {
            let id = map.get(key).and_then(Value::as_u64);
            let id = id.and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| format!("'{key}' is no id"))
        };
        match map.get("kind").and_then(Value::as_str) {
            Some("image") => Ok(Self::AsImage),
            Some("rootless") => Ok(Self::Rootless {
                uid: id("uid")?,
                gid: id("gid")?,
            }),
            Some("mapped") => Ok(Self::Mapped {
                uids: id_map(map.get("uids"))?,
                gids: id_map(map.get("gids"))?,
            }),
            Some(other) => Err(format!("owners of an unknown kind '{other}'")),
            None => Err("no text 'kind'".to_owned()),
        }
    }
}

fn id_map(value: Option<&Value>) -> Result<Option<IdMap>, String> {
    let Some(Value::Array(ranges)) = value else {
        return Ok(None);
    };
    let mut map = IdMap::default();
    for range in ranges {
        let range = range.as_str().unwrap_or_default();
        map.add(range).map_err(|e| format!("'{range}': {e}"))?;
    }
    Ok(Some(map))
}
