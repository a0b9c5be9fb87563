//! Owns how long work is watched: progress goes out through it, a wish to stop comes in.
//! The library itself never prints.

use crate::error::{Cause, Error, Result};

/// Watches long work. Every method may be called from any thread.
pub trait Watch: Sync {
    /// Tells that work on `what` begins, of about `total` bytes where that is known.
    fn begin(&self, what: &str, total: Option<u64>);

    /// Tells that `bytes` more are done.
    fn advance(&self, bytes: u64);

    /// Tells that the work ended.
    fn end(&self);

    /// Tells something that a person should know while the work goes on.
    fn notice(&self, what: &str) {
        let _ = what;
    }

    /// Returns whether the work should stop and clean up after itself.
    fn stop(&self) -> bool;

    /// Fails where the work should stop; called between steps of any length.
    fn check(&self) -> Result<()> {
        if self.stop() {
            return Err(Error::new("finish", "the command", Cause::Interrupted));
        }
        Ok(())
    }
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _what: &str, _total: Option<u64>) {}

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}

    fn stop(&self) -> bool {
        false
    }
}

/// Does something at one of the times it is asked whether to stop, and never stops.
#[cfg(test)]
pub(crate) struct ActsOnce<'t> {
    asked: std::sync::atomic::AtomicU64,
    at: u64,
    act: &'t (dyn Fn() + Sync),
}

#[cfg(test)]
impl<'t> ActsOnce<'t> {
    /// Acts when it is asked for the `at`-th time, counted from 1.
    pub(crate) fn new(at: u64, act: &'t (dyn Fn() + Sync)) -> Self {
        let asked = std::sync::atomic::AtomicU64::new(0);
        Self { asked, at, act }
    }

    /// Returns how often it was asked.
    pub(crate) fn asked(self) -> u64 {
        self.asked.into_inner()
    }
}

#[cfg(test)]
impl Watch for ActsOnce<'_> {
    fn begin(&self, _what: &str, _total: Option<u64>) {}

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}

    fn stop(&self) -> bool {
        let before = self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if before + 1 == self.at {
            (self.act)();
        }
        false
    }
}
