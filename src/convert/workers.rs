//! Owns the workers that all layers of an import share: they hash contents and write those that are new.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::recipe::ContentRef;
use crate::store::Writer;

/// How many bytes of small contents go to a worker at a time.
const BATCH_BYTES: usize = 512 << 10;

/// How many small contents go to a worker at a time.
const BATCH_COUNT: usize = 64;

/// How much of a large content goes to its worker at a time, and how many such pieces may wait.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 4;

/// Where the work of several layers goes.
pub(in crate::convert) struct Workers<'a> {
    writer: &'a Writer<'a>,
    jobs: Sender<Job>,
    waiting: Receiver<Job>,
    used: Sender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    failed: Arc<AtomicBool>,
}

enum Job {
    Batch(Batch, Answer),
    Piecemeal(Arriving, Answer),
}

/// Small contents, one after another in one buffer.
pub(in crate::convert) struct Batch {
    pub(in crate::convert) data: Vec<u8>,
    begun: usize,
    contents: Vec<(Range<usize>, u32, Meta)>,
}

/// A large content on its way to a worker.
struct Arriving {
    pieces: mpsc::Receiver<PieceOf>,
    ordinal: u32,
    size: u64,
    meta: Meta,
}

enum PieceOf {
    Data(Vec<u8>),
    Hole(u64),
    /// Nothing more comes, and it was all there.
    End,
}

type Answer = Sender<Result<Vec<(u32, ContentRef)>>>;

/// Collects the names of one layer's contents.
pub(in crate::convert) struct LayerResults {
    answers: Receiver<Result<Vec<(u32, ContentRef)>>>,
    answer: std::cell::RefCell<Option<Answer>>,
    next: AtomicU32,
}

impl<'a> Workers<'a> {
    /// Makes the channels; threads have to [`Desk::work`] on them.
    pub(in crate::convert) fn new(writer: &'a Writer<'a>, jobs: usize) -> Self {
        let (to, waiting) = crossbeam_channel::bounded(2 * jobs);
        let (used, spare) = crossbeam_channel::unbounded();
        Self {
            writer,
            jobs: to,
            waiting,
            used,
            spare,
            failed: Arc::default(),
        }
    }

    /// Returns what a worker thread waits on; it ends when every [`Workers`] is dropped.
    pub(in crate::convert) fn desk(&self) -> Desk<'a> {
        Desk {
            writer: self.writer,
            waiting: self.waiting.clone(),
            used: self.used.clone(),
            failed: Arc::clone(&self.failed),
        }
    }

    pub(in crate::convert) fn begin_layer() -> LayerResults {
        let (answer, answers) = crossbeam_channel::unbounded();
        LayerResults {
            answers,
            answer: Some(answer).into(),
            next: AtomicU32::new(0),
        }
    }

    pub(in crate::convert) fn new_batch(&self) -> Batch {
        let mut data = self.spare.try_recv().unwrap_or_default();
        data.clear();
        Batch {
            data,
            begun: 0,
            contents: Vec::with_capacity(BATCH_COUNT),
        }
    }

    pub(in crate::convert) fn submit(&self, batch: Batch, results: &LayerResults) -> Result<()> {
        if batch.contents.is_empty() {
            return Ok(());
        }
        self.send(Job::Batch(batch, results.answer()?))
    }

    pub(in crate::convert) fn begin_piecemeal(
        &self,
        results: &LayerResults,
        size: u64,
        meta: &Meta,
    ) -> Result<Piecemeal> {
        let (to, pieces) = mpsc::sync_channel(PIECES);
        let ordinal = results.next_ordinal();
        let arriving = Arriving {
            pieces,
            ordinal,
            size,
            meta: meta.clone(),
        };
        self.send(Job::Piecemeal(arriving, results.answer()?))?;
        Ok(Piecemeal { to, left: size })
    }

    fn send(&self, job: Job) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        self.jobs.send(job).map_err(|_| stopped())
    }
}

/// The error of a part whose other part failed; that one's error is the one that is told.
fn stopped() -> Error {
    Error::failed("take in", "the layer", "its writer stopped")
}

impl Batch {
    pub(in crate::convert) fn is_full_for(&self, more: u64) -> bool {
        let bytes = self.data.len() as u64 + more;
        self.contents.len() == BATCH_COUNT
            || (!self.contents.is_empty() && bytes > BATCH_BYTES as u64)
    }

    /// Ends a content whose bytes were put into `data`.
    pub(in crate::convert) fn end_content(&mut self, ordinal: u32, meta: &Meta) {
        self.contents
            .push((self.begun..self.data.len(), ordinal, meta.clone()));
        self.begun = self.data.len();
    }
}

impl LayerResults {
    pub(in crate::convert) fn next_ordinal(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn answer(&self) -> Result<Answer> {
        self.answer.borrow().clone().ok_or_else(stopped)
    }

    /// Returns why a worker stopped, if one did.
    pub(in crate::convert) fn failure(&self) -> Option<Error> {
        self.answer.borrow_mut().take();
        self.answers.iter().find_map(Result::err)
    }

    /// Waits for all contents; they come back in the order of the tar.
    pub(in crate::convert) fn collect(&self) -> Result<Vec<ContentRef>> {
        // Ours was the last but the jobs' own: the channel ends when they are done.
        self.answer.borrow_mut().take();
        let mut contents: Vec<Option<ContentRef>> = Vec::new();
        for answer in &self.answers {
            for (ordinal, content) in answer? {
                let at = ordinal as usize;
                if contents.len() <= at {
                    contents.resize(at + 1, None);
                }
                contents[at] = Some(content);
            }
        }
        let all: Option<Vec<ContentRef>> = contents.into_iter().collect();
        all.filter(|all| all.len() == self.next.load(Ordering::Relaxed) as usize)
            .ok_or_else(stopped)
    }
}

/// The sending end of a large content.
pub(in crate::convert) struct Piecemeal {
    to: mpsc::SyncSender<PieceOf>,
    left: u64,
}

impl Piecemeal {
    pub(in crate::convert) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.send(PieceOf::Data(piece.to_vec()), piece.len() as u64)?;
        }
        Ok(())
    }

    pub(in crate::convert) fn hole(&mut self, len: u64) -> Result<()> {
        if len == 0 {
            Ok(())
        } else {
            self.send(PieceOf::Hole(len), len)
        }
    }

    fn send(&mut self, piece: PieceOf, len: u64) -> Result<()> {
        self.to.send(piece).map_err(|_| stopped())?;
        self.left -= len;
        if self.left == 0 {
            self.to.send(PieceOf::End).map_err(|_| stopped())?;
        }
        Ok(())
    }
}

/// A worker's place.
pub(in crate::convert) struct Desk<'a> {
    writer: &'a Writer<'a>,
    waiting: Receiver<Job>,
    used: Sender<Vec<u8>>,
    failed: Arc<AtomicBool>,
}

impl Desk<'_> {
    /// Works until nobody sends work any more.
    pub(in crate::convert) fn work(self) {
        for job in &self.waiting {
            // Nobody listening means that the layer has failed already.
            let (done, answer) = match job {
                Job::Batch(batch, answer) => (self.add_batch(batch), answer),
                Job::Piecemeal(arriving, answer) => (self.add_piecemeal(&arriving), answer),
            };
            self.failed.fetch_or(done.is_err(), Ordering::Relaxed);
            answer.send(done).ok();
        }
    }

    fn add_batch(&self, batch: Batch) -> Result<Vec<(u32, ContentRef)>> {
        let Batch {
            data,
            begun: _,
            contents,
        } = batch;
        let mut done = Vec::with_capacity(contents.len());
        for (range, ordinal, meta) in contents {
            let size = range.len() as u64;
            let id = self.writer.add_object(&data[range], &meta)?;
            done.push((ordinal, ContentRef { id, size }));
        }
        self.used.send(data).ok();
        Ok(done)
    }

    fn add_piecemeal(&self, arriving: &Arriving) -> Result<Vec<(u32, ContentRef)>> {
        let mut object = self.writer.begin_object(arriving.size)?;
        for piece in &arriving.pieces {
            match piece {
                PieceOf::Data(bytes) => object.write(&bytes)?,
                PieceOf::Hole(len) => object.hole(len)?,
                PieceOf::End => {
                    let id = object.finish(&arriving.meta)?;
                    return Ok(vec![(
                        arriving.ordinal,
                        ContentRef {
                            id,
                            size: arriving.size,
                        },
                    )]);
                }
            }
        }
        // The layer ended early: it says itself why.
        Ok(Vec::new())
    }
}
