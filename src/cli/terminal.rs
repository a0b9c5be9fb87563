//! Owns what a person sees while work goes on, and the signals that end it. The one home of `indicatif` and
//! `signal-hook`.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::When;
use crate::watch::Watch;

/// Whether what is no result and no error is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    Told,
    LeftAway,
}

pub(super) struct Terminal {
    shows: bool,
    notes: Notes,
    bar: Mutex<Option<ProgressBar>>,
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Terminal {
    pub(super) fn new(progress: When, notes: Notes) -> Self {
        let shows = match progress {
            When::Auto => std::io::stderr().is_terminal(),
            When::Never => false,
            When::Always => true,
        };
        let (interrupted, terminated) = (Arc::default(), Arc::default());
        for (signal, flag, code) in [(SIGINT, &interrupted, 130), (SIGTERM, &terminated, 143)] {
            // The first signal asks to clean up; a second one does not wait for that. Where a signal cannot be
            // caught it ends the program as it always did, and the next command cleans up.
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(flag)).ok();
            signal_hook::flag::register(signal, Arc::clone(flag)).ok();
        }
        Self {
            shows,
            notes,
            bar: Mutex::default(),
            interrupted,
            terminated,
        }
    }

    pub(super) fn interrupt_code(&self) -> u8 {
        if self.terminated.load(Ordering::Relaxed) {
            143
        } else {
            130
        }
    }

    /// Says something that is no result, unless only results are wanted.
    pub(super) fn note(&self, line: &str) {
        if self.notes == Notes::Told {
            self.say(line);
        }
    }

    pub(super) fn say(&self, line: &str) {
        let print = || writeln!(std::io::stderr().lock(), "{line}").ok();
        match &*self.bar() {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watch for Terminal {
    fn begin(&self, what: &str, total: Option<u64>) {
        if !self.shows {
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(bar_style()),
            None => ProgressBar::new_spinner(),
        };
        // `--progress always` draws into a file or a pipe too.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.bar() = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar() {
            bar.inc(bytes);
        }
    }

    fn notice(&self, what: &str) {
        self.note(&format!("ocistore: note: {what}"));
    }

    fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn stop(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.terminated.load(Ordering::Relaxed)
    }
}

fn bar_style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
