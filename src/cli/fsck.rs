//! `fsck`
pub(super) fn run(_: &super::session::Session) -> crate::Result<std::process::ExitCode> { Ok(std::process::ExitCode::SUCCESS) }
