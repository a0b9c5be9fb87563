//! Owns the catalog's file in tests of crashes: what redb writes goes to the file and into the log.

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::log::FileId;
use crate::store::durable::recorder::{self, Recorder};

/// A file of redb's, recorded where its folder is watched.
#[derive(Debug)]
pub(crate) struct Recording {
    file: FileBackend,
    watched: Option<(Arc<Recorder>, FileId)>,
}

impl Recording {
    pub(crate) fn new(file: FileBackend, path: &Path) -> Self {
        let watched = recorder::of(path).map(|recorder| {
            let id = recorder.open_written(path);
            (recorder, id)
        });
        Self { file, watched }
    }
}

impl StorageBackend for Recording {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.watched {
            None => self.file.set_len(len),
            Some((recorder, id)) => {
                recorder.written(|| self.file.set_len(len), |log| log.set_len(*id, len))
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.watched {
            None => self.file.sync_data(),
            Some((recorder, id)) => recorder.sync_written(*id, || self.file.sync_data()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &self.watched {
            None => self.file.write(offset, data),
            Some((recorder, id)) => recorder.written(
                || self.file.write(offset, data),
                |log| log.write(*id, offset, data),
            ),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
