//! Owns making images: verbs over what is converted, laid out and mounted. Knows the store, never the terminal.

pub mod config;
pub mod documents;
mod image;
pub mod tarball;
