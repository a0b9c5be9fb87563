//! Owns deleting: one collector at a time moves dead files to the trash, in batches between which others commit, and
//! unlinks them when nobody is left who may need them. The steps, and why they are in this order, are in `docs/gc.md`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp};

use super::epochs::Counted;
use super::locks::{Lock, Mode, Wait};
use super::mounts::{self, Left};
use super::trash::{self, Unlinked};
use super::{Store, claims, durable, epochs, writer};
use crate::error::{Cause, Context, Error, Result, quoted};
use crate::watch::Watch;
use crate::wire::Descriptor;

/// How long to sleep before looking again whether something is free.
const NAP: Duration = Duration::from_millis(20);

/// The right to delete. One at a time; nobody else waits for longer than for one batch.
#[derive(Debug)]
pub struct Collector<'s> {
    store: &'s Store,
    _alone: Lock,
    /// Tells who commits that a collection is under way.
    _collecting: Lock,
    /// Nobody else unlinks: all trash can be looked at.
    _counted: Counted<'s>,
    /// What was unlinked when it began: an earlier collection had to leave it.
    earlier: Unlinked,
    /// The claims that were read: what one says never changes, and there may be thousands of them by the end.
    read: RefCell<BTreeSet<String>>,
}

/// Which claims and names there were at one look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    claims: BTreeSet<String>,
    names: Option<NamesFile>,
}

/// What claims and names there are.
#[derive(Debug)]
pub struct Roots {
    /// What was claimed since the last time.
    pub claimed: Vec<Descriptor>,
    /// All that has a name, or is mounted.
    pub named: Vec<Descriptor>,
    /// The look at which it was so.
    pub look: Look,
}

/// What tells one state of `index.json` from every other: each change is a new file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct NamesFile {
    inode: u64,
    size: u64,
    times: [(i64, u32); 2],
}

/// The right to move files to the trash, for one short batch: nobody claims anything meanwhile.
#[derive(Debug)]
pub struct Batch<'c> {
    store: &'c Store,
    epoch: u64,
    /// All epochs, where nobody else holds one: then nobody can need what goes.
    alone: Option<Vec<Lock>>,
    _nobody_claims: Lock,
}

impl Store {
    /// Takes the right to delete, and frees what an earlier collection had to leave in the trash.
    ///
    /// Waits while another collects, or fails where the store was opened with [`Wait::Never`].
    pub fn collect(&self, watch: &dyn Watch) -> Result<Collector<'_>> {
        let begin = |collector: &Collector<'_>| {
            self.drop_dead_mounts()?;
            self.drop_gone_checkouts()?;
            collector.free()
        };
        self.begin_collection(begin, watch)
    }

    /// Takes the same right to look only: what others left is counted, not unlinked.
    pub fn survey(&self, watch: &dyn Watch) -> Result<Collector<'_>> {
        self.begin_collection(|_| Ok(Unlinked::default()), watch)
    }

    fn begin_collection<'s>(
        &'s self,
        free: impl FnOnce(&Collector<'s>) -> Result<Unlinked>,
        watch: &dyn Watch,
    ) -> Result<Collector<'s>> {
        let alone = self.lock_gc(watch)?;
        let collecting = self.path(claims::COLLECTING);
        let mut collector = Collector {
            store: self,
            _alone: alone,
            _collecting: Lock::take(&collecting, Mode::Exclusive, Wait::Forever)?,
            _counted: self.held.count(0),
            earlier: Unlinked::default(),
            read: RefCell::default(),
        };
        // Before dead claims go: what a live one leads to may be in the trash, and then its epoch is held.
        collector.earlier = free(&collector)?;
        claims::remove_dead(self)?;
        writer::sweep_leftovers(self)?;
        self.sweep_staged_files()?;
        Ok(collector)
    }

    pub(super) fn lock_gc(&self, watch: &dyn Watch) -> Result<Lock> {
        let path = self.path("locks/gc");
        let mut told = false;
        loop {
            if let Some(lock) = Lock::try_take(&path, Mode::Exclusive)? {
                if told {
                    watch.end();
                }
                return Ok(lock);
            }
            if self.wait == Wait::Never {
                let busy = Cause::Busy("another collection is under way".to_owned());
                return Err(Error::new("sweep", quoted(&self.root), busy)
                    .hint("run it again later, or without --no-wait"));
            }
            if !told {
                watch.notice("another collection is under way: waiting for it to end");
                watch.begin("waiting for another collection", None);
                told = true;
            }
            watch.check()?;
            std::thread::sleep(NAP);
        }
    }

    /// Removes what a command that died had staged of names or of the catalog: under their locks nobody is at it.
    fn sweep_staged_files(&self) -> Result<()> {
        for (lock, staged) in [
            ("names", "index.json"),
            ("names", "new"),
            ("catalog", "catalog.redb"),
        ] {
            let lock = self.path("locks").join(lock);
            let _lock = Lock::take(&lock, Mode::Exclusive, Wait::Forever)?;
            let staged = self.path("tmp").join(staged);
            // Looked at first: on a read-only file system a dry run has nothing to remove.
            if staged.try_exists().context("look at", quoted(&staged))? {
                durable::remove(&staged)?;
            }
        }
        Ok(())
    }

    /// Returns which `index.json` is there now, or `None` where there is none: reading it tells that this is damage.
    fn names_file(&self) -> Result<Option<NamesFile>> {
        let wanted = StatxFlags::INO | StatxFlags::SIZE | StatxFlags::MTIME | StatxFlags::CTIME;
        let seen = rustix::fs::statx(&self.folder, "index.json", AtFlags::empty(), wanted);
        if matches!(seen, Err(rustix::io::Errno::NOENT)) {
            return Ok(None);
        }
        let stat = seen.context("look at", "the store's 'index.json'")?;
        let time = |time: StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Ok(Some(NamesFile {
            inode: stat.stx_ino,
            size: stat.stx_size,
            times: [time(stat.stx_mtime), time(stat.stx_ctime)],
        }))
    }
}

impl<'s> Collector<'s> {
    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Returns what was unlinked when this collection began.
    pub fn earlier(&self) -> Unlinked {
        self.earlier
    }

    /// Looks which claims and names there are now.
    pub fn look(&self) -> Result<Look> {
        // In this order: a claim goes only after its names are there.
        let claims = claims::names(self.store)?;
        let names = self.store.names_file()?;
        Ok(Look { claims, names })
    }

    /// Returns what has to stay: claims that were not returned before, then names, then what is mounted.
    pub fn roots(&self) -> Result<Roots> {
        let claims = claims::names(self.store)?;
        let mut claimed = Vec::new();
        for claim in claims.difference(&*self.read.borrow()) {
            claimed.extend(claims::roots(self.store, claim)?);
        }
        self.read.replace(claims.clone());
        let names = self.store.names_file()?;
        let named = self.store.names()?;
        let named = named.entries().iter().map(|e| e.descriptor.clone());
        let mut named: Vec<Descriptor> = named.collect();
        // After claims and names: who mounts has a name or a claim until its mount can be seen.
        named.extend(mounts::roots(self.store)?);
        Ok(Roots {
            claimed,
            named,
            look: Look { claims, names },
        })
    }

    /// Returns the mounts that are no more and keep nothing from being collected, but have changes or a bundle.
    pub fn left_mounts(&self) -> Result<Vec<Left>> {
        Ok(self.store.mounts()?.left)
    }

    /// Begins moving away: from here on whoever commits looks in the trash for what is not in place.
    ///
    /// Returns the epoch that the trash is of.
    pub fn open_trash(&self) -> Result<u64> {
        // A collection that stopped half-way left some of this epoch: a second file of one name would replace the first,
        // which somebody may need for its metadata.
        if self.store.trash()?.pop() >= Some(self.epoch()?) {
            self.begin_epoch()?;
        }
        let epoch = self.epoch()?;
        let _nobody_claims = self.store.publishing(Mode::Exclusive)?;
        durable::create_folder(&self.store.path(trash::place(epoch, Path::new(""))))?;
        Ok(epoch)
    }

    /// Returns the current epoch.
    fn epoch(&self) -> Result<u64> {
        let folder = self.store.path("epochs");
        if let Some(current) = epochs::current(&folder)? {
            return Ok(current);
        }
        epochs::begin(&folder, 1)?;
        Ok(epochs::current(&folder)?.unwrap_or(1))
    }

    /// Begins a batch of the trash of `epoch`: nobody claims anything until it is dropped.
    pub fn begin_batch(&self, epoch: u64) -> Result<Batch<'_>> {
        let nobody_claims = self.store.publishing(Mode::Exclusive)?;
        Ok(Batch {
            store: self.store,
            epoch,
            alone: epochs::hold_all(&self.store.path("epochs"))?,
            _nobody_claims: nobody_claims,
        })
    }

    /// Begins the next epoch: whoever comes from now on cannot have seen in place what is in the trash.
    pub fn begin_epoch(&self) -> Result<()> {
        // After a power cut there can be trash of an epoch that is no more.
        let last = self.store.trash()?.pop().unwrap_or(0);
        epochs::begin(&self.store.path("epochs"), self.epoch()?.max(last) + 1)
    }

    /// Waits until nobody holds an earlier epoch, for `patience` at the most; returns whether that is so.
    pub fn wait_for_others(&self, patience: Duration, watch: &dyn Watch) -> Result<bool> {
        let (folder, current) = (self.store.path("epochs"), self.epoch()?);
        let begin = Instant::now();
        loop {
            if epochs::end_before(&folder, current)?.is_none() {
                return Ok(true);
            }
            if begin.elapsed() >= patience {
                return Ok(false);
            }
            watch.check()?;
            std::thread::sleep(NAP);
        }
    }

    /// Unlinks the trash that nobody can need any more.
    pub fn free(&self) -> Result<Unlinked> {
        let current = self.epoch()?;
        let held = epochs::end_before(&self.store.path("epochs"), current)?;
        let mut unlinked = Unlinked::default();
        for epoch in self.store.trash()? {
            // Whoever holds an epoch may need what was moved away in it or later.
            if epoch < held.unwrap_or(current) {
                unlinked = unlinked.add(trash::empty(self.store, epoch)?);
            }
        }
        Ok(unlinked)
    }

    /// Returns what is in the trash now.
    pub fn in_trash(&self) -> Result<Unlinked> {
        let mut all = Unlinked::default();
        for epoch in self.store.trash()? {
            all = all.add(trash::measure(self.store, epoch)?);
        }
        Ok(all)
    }

    /// Makes the names below one of the store's folders durable, without waiting for what others write.
    pub fn sync_below(&self, folder: &str) -> Result<()> {
        use rayon::prelude::*;
        let folder = self.store.path(folder);
        let entries = std::fs::read_dir(&folder).context("read the folder", quoted(&folder))?;
        let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
        let paths = paths.context("read the folder", quoted(&folder))?;
        paths
            .par_iter()
            .filter(|path| path.is_dir())
            .try_for_each(|path| durable::sync_folder(path))
    }
}

impl Batch<'_> {
    /// Tells whether nobody can enter while this lives.
    pub fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Moves a file to the trash, or unlinks it where nobody can need it; that it is gone already is fine.
    pub(crate) fn discard(&self, below: &Path) -> Result<()> {
        match &self.alone {
            Some(_alone) => durable::remove(&self.store.path(below)),
            None => self.move_away(below),
        }
    }

    fn move_away(&self, below: &Path) -> Result<()> {
        let (from, to) = (
            self.store.path(below),
            self.store.path(trash::place(self.epoch, below)),
        );
        match durable::rename_new(&from, &to) {
            Ok(true) => Ok(()),
            // It was moved away before, brought back, or put in place again, and is dead once more.
            Ok(false) => durable::rename(&from, &to),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e),
        }
    }
}
