//! Owns the tests of crashes: what a store did to its disk is recorded, the states that a power cut may leave of it
//! are made, and in each the store is opened again and has to keep what it promised. See `docs/gc.md`.

pub(crate) mod backend;
mod check;
mod exports;
pub(crate) mod log;
mod run;
mod scenario;
mod sources;
mod states;
mod tests;
