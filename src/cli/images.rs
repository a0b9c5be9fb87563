//! `images`: lists what has a name.
pub(super) fn run(_: &super::session::Session, _:&super::args::Images) -> crate::Result<()> { Ok(()) }
