//! Owns what `benches/` measures of collections: marking.

use super::mark::Marks;
use crate::error::Result;
use crate::store::Collector;
use crate::watch::Unwatched;

/// Marks all that is live; returns how many contents that is.
pub fn mark(collector: &Collector<'_>) -> Result<u64> {
    Marks::of(collector, &Unwatched).map(|marks| marks.contents().len() as u64)
}
