//! An image's config as a runtime's: `config.json` of a bundle, by image-spec conversion.md.
//!
//! Values in, bytes out: it reads no file, of the host or of an image. What it is given of an image (config, passwd,
//! group) may be anything.

mod annotations;
mod convert;
mod defaults;
mod image;
mod isolation;
mod spec;
#[cfg(test)]
mod tests;
mod users;

pub use convert::{Converted, Request, Unstartable, convert};
pub use isolation::{Isolation, Mapping};
pub use users::{Accounts, USER_TABLE_MAX};

/// Why an image's config is not one that a container can be started from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(String);

impl ConvertError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<crate::json::JsonError> for ConvertError {
    fn from(e: crate::json::JsonError) -> Self {
        Self(e.to_string())
    }
}
