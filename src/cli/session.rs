//! Owns one run of the program: its store, its streams, its watch.

use std::path::PathBuf;
use std::time::Duration;

use super::args::{Format, Global};
use super::output::Style;
use super::terminal::{Notes, Terminal};
use crate::convert::rebuild;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::locks::Wait;
use crate::watch::Watch;

pub(super) struct Session {
    global: Global,
    terminal: Terminal,
}

impl Session {
    pub(super) fn new(global: Global) -> Self {
        let notes = match global.quiet {
            true => Notes::LeftAway,
            false => Notes::Told,
        };
        let terminal = Terminal::new(global.progress, notes);
        Self { global, terminal }
    }

    /// Opens the store, which must be there; a lost catalog is made again.
    pub(super) fn open(&self) -> Result<Store> {
        self.ready(Store::open(&self.root()?, self.wait())?)
    }

    /// Opens the store, or makes it.
    pub(super) fn open_or_make(&self) -> Result<Store> {
        self.ready(Store::create(&self.root()?, self.wait())?)
    }

    /// Opens the store to look for damage: a catalog that cannot be made again is damage to tell, not to stop at.
    pub(super) fn open_to_check(&self) -> Result<Store> {
        let store = Store::open(&self.root()?, self.wait())?;
        match self.rebuild(&store) {
            Ok(()) => {}
            Err(e) => self.say(&format!("ocistore: warning: {e}")),
        }
        Ok(store)
    }

    fn ready(&self, store: Store) -> Result<Store> {
        self.rebuild(&store)?;
        Ok(store)
    }

    fn rebuild(&self, store: &Store) -> Result<()> {
        if rebuild::rebuild_if_lost(store, self.watch())? == rebuild::Rebuilt::Yes {
            self.say("ocistore: note: the catalog was lost or torn and has been made again from the files");
        }
        Ok(())
    }

    fn root(&self) -> Result<PathBuf> {
        if let Some(store) = &self.global.store {
            return Ok(store.clone());
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/ocistore"));
        }
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("ocistore"))
            .ok_or_else(|| {
                Error::usage("find", "the store", "HOME is not set")
                    .hint("name it with --store DIR")
            })
    }

    fn wait(&self) -> Wait {
        if self.global.no_wait {
            Wait::Never
        } else {
            Wait::Forever
        }
    }

    /// Returns how long to wait for commands that began earlier.
    pub(super) fn patience(&self, seconds: u32) -> Duration {
        match self.wait() {
            Wait::Forever => Duration::from_secs(u64::from(seconds)),
            Wait::Never => Duration::ZERO,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        self.global.jobs.map_or_else(cores, usize::from)
    }

    pub(super) fn style(&self) -> Style {
        if self.global.json || self.global.format == Some(Format::Json) {
            Style::Json
        } else if self.global.quiet {
            Style::Quiet
        } else {
            Style::Text
        }
    }

    pub(super) fn watch(&self) -> &dyn Watch {
        &self.terminal
    }

    /// Says something that is no result.
    pub(super) fn say(&self, line: &str) {
        self.terminal.say(line);
    }

    /// Says something that is no result, unless only results are wanted.
    pub(super) fn note(&self, line: &str) {
        self.terminal.note(line);
    }

    pub(super) fn interrupt_code(&self) -> u8 {
        self.terminal.interrupt_code()
    }
}
