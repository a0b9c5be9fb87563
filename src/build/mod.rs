//! The build loop: an image becomes a bundle that can be written to, and what came of it an image again.
//! New images are made of old ones, or of a root filesystem.

pub mod bundle;
pub mod checkout;
pub mod commit;
pub mod compare;
pub mod config;
pub mod documents;
mod image;
pub mod layer;
mod lookup;
pub mod mounted;
pub mod tarball;
pub mod unpack;
pub mod update;

pub use unpack::{Unpacked, unpack};
