//! Owns the proof that a layer's blob can be made again: whoever may have made it is tried on its beginning, and who fits
//! makes all of it, from what the store holds, byte by byte beside the blob.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use super::Candidate;
use super::frame::{self, Frame, Frames};
use super::trial::Trial;
use crate::convert::assemble::assemble_layer;
use crate::convert::regenerate::regenerate;
use crate::digest::Digest;
use crate::encoders::Method;
use crate::error::{Cause, Error, Result};
use crate::store::{LONGEST_STREAM as LONGEST, Store};
use crate::stream::{Body, Part, StreamRecipe};
use crate::watch::Watch;

/// How much of a layer's tar is compressed to see whether somebody may have made it: two blocks of the largest kind.
const TRIAL: usize = 2 << 20;

/// How often all of a blob is made: whoever fits its beginning mostly fits all of it.
const TRIES: usize = 6;

/// A blob that was looked at.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) blob: Digest,
    pub(super) size: u64,
    pub(super) proof: Proof,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Proof {
    /// It was made again.
    Made(StreamRecipe),
    /// It was not, and why.
    None(String),
}

/// Makes a blob again, where that can be.
pub(super) fn prove(store: &Store, candidate: &Candidate, watch: &dyn Watch) -> Result<Proof> {
    let progress = Progress {
        watch,
        size: candidate.size,
        done: std::cell::Cell::new(0),
    };
    let proof = prove_watched(store, candidate, &progress);
    progress.reach(candidate.size);
    match proof {
        Ok(proof) => Ok(proof),
        // Something of the layer is damaged: that is for `fsck` to tell, and nothing to stop for.
        Err(e) if matches!(e.cause(), Cause::Damaged(_)) => Ok(Proof::None(e.to_string())),
        Err(e) => Err(e),
    }
}

fn prove_watched(store: &Store, candidate: &Candidate, progress: &Progress<'_>) -> Result<Proof> {
    let file = store.open_blob(&candidate.blob)?;
    // One that was recorded before a stop need not be looked for again.
    if let Ok(Some(recipe)) = store.stream(&candidate.blob)
        && make(store, &recipe, &file, progress)? == Made::Same
    {
        return Ok(Proof::Made(recipe));
    }
    let tar_size = store.recipe(&candidate.layer)?.trailer().tar_size;
    let mut closest = None;
    for look in [frame::at_a_glance, frame::inflated] {
        let frames = match look(&file, candidate, tar_size)? {
            Ok(frames) => frames,
            Err(why) if closest.is_none() => return Ok(Proof::None(why.to_owned())),
            Err(_) => break,
        };
        if frames.parts.len() == 1 && closest.is_some() {
            // It is the one part that it seemed to be, and was tried as that.
            break;
        }
        let tries = Tries {
            store,
            candidate,
            file: &file,
            frames: &frames,
            progress,
        };
        if let Some(proof) = tries.run(&mut closest)? {
            return Ok(proof);
        }
        if !frames.is_guess {
            break;
        }
    }
    Ok(Proof::None(match closest {
        Some((at, method)) => format!(
            "no encoder known here makes it; the closest, {method}, differs at byte {at} of {}",
            candidate.size
        ),
        None => "nothing is known of who made it".to_owned(),
    }))
}

/// All encoders that may have made a blob, one after another.
struct Tries<'a, 'w> {
    store: &'a Store,
    candidate: &'a Candidate,
    file: &'a File,
    frames: &'a Frames,
    progress: &'a Progress<'w>,
}

impl Tries<'_, '_> {
    /// Has the first that fits the beginning make all of it, then the next.
    fn run(&self, closest: &mut Closest) -> Result<Option<Proof>> {
        let Some(frame) = self.frames.largest() else {
            return Ok(None);
        };
        let beginning = Beginning::of(self, frame)?;
        let mut tries = 0;
        for method in &self.frames.methods {
            self.progress.watch.check()?;
            if let Some(same) = beginning.trial(frame).run(*method) {
                note(closest, frame.begin + same as u64, *method);
                continue;
            }
            let recipe = recipe(self.candidate, &self.frames.parts, *method);
            if !is_worth_it(&recipe) {
                return Ok(Some(Proof::None(NOT_WORTH_IT.to_owned())));
            }
            match make(self.store, &recipe, self.file, self.progress)? {
                Made::Same => return Ok(Some(Proof::Made(recipe))),
                Made::DiffersAt(at) => note(closest, at, *method),
            }
            tries += 1;
            if tries == TRIES {
                break;
            }
        }
        Ok(None)
    }
}

/// The beginning of a part, as it is and compressed.
struct Beginning {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Beginning {
    fn of(tries: &Tries<'_, '_>, frame: &Frame) -> Result<Self> {
        let parts = tries.frames.parts.iter();
        let before = parts.take_while(|other| other.begin < frame.begin);
        let before: u64 = before.map(|frame| frame.plain).sum();
        // What cannot be compressed takes a little more than it is.
        let most = frame.end - frame.begin;
        let most = usize::try_from(most).map_or(TRIAL * 2, |most| most.min(TRIAL * 2));
        Ok(Self {
            plain: beginning(tries.store, tries.candidate, before, frame.plain)?,
            packed: frame::read_at(tries.file, tries.candidate, frame.begin, most)?,
        })
    }

    fn trial(&self, frame: &Frame) -> Trial<'_> {
        Trial {
            is_all: self.plain.len() as u64 == frame.plain,
            len: frame.end - frame.begin,
            plain: &self.plain,
            packed: &self.packed,
        }
    }
}

const NOT_WORTH_IT: &str = "what would have to be kept to make it again takes nearly as much";

/// Whether a compression recipe is so much shorter than its blob that the blob may go for it, and short enough to be read.
fn is_worth_it(recipe: &StreamRecipe) -> bool {
    let len = recipe.encode().len() as u64;
    len <= LONGEST && len <= recipe.size / 4
}

/// The encoder that came the farthest, and to where.
type Closest = Option<(u64, Method)>;

fn note(closest: &mut Closest, at: u64, method: Method) {
    if closest.is_none_or(|(farthest, _)| at > farthest) {
        *closest = Some((at, method));
    }
}

fn recipe(candidate: &Candidate, frames: &[Frame], method: Method) -> StreamRecipe {
    let part = |frame: &Frame| Part {
        head: frame.head.clone(),
        body: Some(Body {
            plain: frame.plain,
            method,
        }),
        tail: frame.tail.clone(),
    };
    StreamRecipe {
        blob: candidate.blob,
        size: candidate.size,
        layer: candidate.layer,
        parts: frames.iter().map(part).collect(),
    }
}

/// Returns the beginning of what is in a part, from `at` of the tar on.
fn beginning(store: &Store, candidate: &Candidate, at: u64, len: u64) -> Result<Vec<u8>> {
    let mut window = Window {
        skip: at,
        most: usize::try_from(len).map_or(TRIAL, |len| len.min(TRIAL)),
        bytes: Vec::new(),
    };
    match assemble_layer(store, &candidate.layer, &mut window) {
        // It has what it wants.
        Err(_) if window.bytes.len() == window.most => Ok(window.bytes),
        Err(e) => Err(e),
        Ok(()) => Ok(window.bytes),
    }
}

/// Takes some bytes of what passes, and then no more.
struct Window {
    skip: u64,
    most: usize,
    bytes: Vec<u8>,
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        let room = self.most - self.bytes.len();
        let taken = &bytes[skipped..];
        self.bytes
            .extend_from_slice(&taken[..taken.len().min(room)]);
        match taken.len() > room {
            true => Err(io::Error::other("enough")),
            false => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came of making all of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Made {
    Same,
    DiffersAt(u64),
}

/// Makes all of a blob, from what the store holds, beside the one that is kept.
fn make(
    store: &Store,
    recipe: &StreamRecipe,
    kept: &File,
    progress: &Progress<'_>,
) -> Result<Made> {
    let mut beside = Beside {
        kept,
        at: 0,
        buffer: Vec::new(),
        differs: false,
        progress,
    };
    let tar = |to: &mut dyn Write| assemble_layer(store, &recipe.layer, to);
    match regenerate(recipe, tar, &mut beside, progress.watch) {
        Ok(()) => Ok(Made::Same),
        Err(e) if matches!(e.cause(), Cause::Interrupted) => Err(e),
        Err(_) if beside.differs => Ok(Made::DiffersAt(beside.at)),
        Err(e) => whose_fault(e, store, recipe, beside.at, progress),
    }
}

/// Tells a blob that ends otherwise from a layer that is damaged.
fn whose_fault(
    error: Error,
    store: &Store,
    recipe: &StreamRecipe,
    at: u64,
    progress: &Progress<'_>,
) -> Result<Made> {
    progress.watch.check()?;
    match assemble_layer(store, &recipe.layer, &mut io::sink()) {
        Ok(()) if matches!(error.cause(), Cause::Damaged(_)) => Ok(Made::DiffersAt(at)),
        Ok(()) => Err(error),
        Err(e) => Err(e),
    }
}

/// Compares what is made with what is kept.
struct Beside<'a, 'w> {
    kept: &'a File,
    at: u64,
    buffer: Vec<u8>,
    differs: bool,
    progress: &'a Progress<'w>,
}

impl Write for Beside<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.resize(bytes.len(), 0);
        let mut have = 0;
        while have < bytes.len() {
            match self
                .kept
                .read_at(&mut self.buffer[have..], self.at + have as u64)
            {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let pairs = bytes.iter().zip(&self.buffer[..have]);
        let same = pairs.take_while(|(a, b)| a == b).count();
        self.at += same as u64;
        self.progress.reach(self.at);
        if same < bytes.len() {
            self.differs = true;
            return Err(io::Error::other("it differs"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far a blob was made, in the best of all tries.
struct Progress<'w> {
    watch: &'w dyn Watch,
    size: u64,
    done: std::cell::Cell<u64>,
}

impl Progress<'_> {
    fn reach(&self, at: u64) {
        let (before, now) = (self.done.get(), at.min(self.size));
        if now > before {
            self.watch.advance(now - before);
            self.done.set(now);
        }
    }
}
