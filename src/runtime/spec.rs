//! Owns the shape of `config.json` (runtime-spec config.md, 1.0): the fields that a bundle of ours has, in the order
//! in which they are written.

use std::collections::BTreeMap;

use serde::Serialize;

/// A whole config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) oci_version: &'static str,
    pub(super) process: Process,
    pub(super) root: Root,
    pub(super) hostname: &'static str,
    pub(super) mounts: Vec<Mount>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) linux: Linux,
}

/// What is run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    pub(super) terminal: bool,
    pub(super) user: User,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    pub(super) capabilities: Capabilities,
    pub(super) rlimits: Vec<Rlimit>,
    pub(super) no_new_privileges: bool,
}

/// Who runs it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) additional_gids: Vec<u32>,
}

/// The capabilities of each set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Capabilities {
    pub(super) bounding: &'static [&'static str],
    pub(super) effective: &'static [&'static str],
    pub(super) inheritable: &'static [&'static str],
    pub(super) permitted: &'static [&'static str],
    pub(super) ambient: &'static [&'static str],
}

/// A limit of what is run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Rlimit {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) hard: u64,
    pub(super) soft: u64,
}

/// The root filesystem, relative to the bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Root {
    pub(super) path: &'static str,
}

/// What is mounted over the root filesystem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Mount {
    pub(super) destination: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) options: Vec<&'static str>,
}

/// What only Linux has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<Resources>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) masked_paths: &'static [&'static str],
    pub(super) readonly_paths: &'static [&'static str],
}

/// Ids of the container, and those of the host that stand for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct IdMapping {
    #[serde(rename = "containerID")]
    pub(super) container: u32,
    #[serde(rename = "hostID")]
    pub(super) host: u32,
    pub(super) size: u32,
}

/// What a control group allows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Resources {
    pub(super) devices: Vec<DeviceRule>,
}

/// Which devices may be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct DeviceRule {
    pub(super) allow: bool,
    pub(super) access: &'static str,
}

/// A namespace that is made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Namespace {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

impl Spec {
    /// Returns the bytes of the file: indented, with a newline at the end; the same for the same values.
    pub(super) fn encode(&self) -> Result<Vec<u8>, super::ConvertError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| super::ConvertError::new(format!("it cannot be written as JSON: {e}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
