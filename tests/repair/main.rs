//! What `fsck` finds quickly and what `fsck --repair` mends, from outside: each kind of damage, each source of mending.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and what it damages is its own"
)]

mod blobs;
mod calls;
mod harm;
mod objects;
mod place;
mod quick;
mod stores;
