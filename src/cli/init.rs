//! `init`: makes the store.

use super::output::Output;
use super::session::Session;
use crate::error::Result;

pub(super) fn run(session: &Session) -> Result<()> {
    let store = session.open_or_make()?;
    let root = store.root().display().to_string();
    Output {
        text: format!("{root}\n"),
        json: serde_json::json!({"store": root}),
        quiet: vec![root],
    }
    .print(session)
}
