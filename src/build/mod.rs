//! What is made of images here: verbs over conversions, checkouts and the store.

pub(crate) mod layer;
