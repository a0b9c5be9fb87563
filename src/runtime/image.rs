//! Owns what is read of an image's config to run it (image-spec config.md, "Properties").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ConvertError;
use crate::json::strict_json;

/// An image's config. What is `null` is as if it were not there, as Go has it.
#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) os: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) variant: Option<String>,
    #[serde(rename = "os.version")]
    pub(super) os_version: Option<String>,
    #[serde(rename = "os.features", default, deserialize_with = "or_default")]
    pub(super) os_features: Vec<String>,
    pub(super) author: Option<String>,
    pub(super) created: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Execution,
}

/// How a container of the image is run.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Execution {
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) exposed_ports: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) volumes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub(super) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stop_signal: Option<String>,
}

fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Image {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ConvertError> {
        serde_json::from_value(strict_json(bytes)?)
            .map_err(|e| ConvertError::new(format!("malformed image config: {e}")))
    }
}
