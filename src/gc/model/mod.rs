//! A model of the protocol of many processes (`docs/gc.md`), of which every interleaving is explored.
//!
//! A state is the whole store (files, trash, rows, names, epochs, claims, locks) with everybody who is at it; a step of
//! the protocol is one transition. After each the invariants are looked at. What holds here holds for the protocol as it
//! is written, with few actors and files; that the code follows the protocol is for its own tests.
//!
//! ```text
//! state.rs     what there is      actors.rs      who reads and tags     scenarios.rs   who meets whom
//! world.rs     invariants         writer.rs      who adds and names     omissions.rs   rules to leave out
//! explore.rs   interleavings      collector.rs   who deletes            tests.rs       with and without rules
//!                                 epochs.rs      how epochs end
//! ```

mod actors;
mod collector;
mod epochs;
mod explore;
mod omissions;
mod scenarios;
mod state;
mod world;
mod writer;

mod tests;
