//! Owns what files hold after a power cut: bytes that no sync covers, and the catalog's writes, each by itself.

use super::{Dice, Disk};
use crate::store::crash::log::{FileId, Op, Snapshot};

/// What became of bytes that no sync covers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Whole,
    /// As at the last sync; empty where there was none.
    Lost,
    Half,
    Zeros,
    /// The bytes are there, their file's metadata is not.
    Bare,
    /// Each file for itself.
    Mixed(u64),
}

impl Fate {
    /// Those that are the same for all files.
    pub(super) const SAME: [Self; 5] =
        [Self::Whole, Self::Lost, Self::Half, Self::Zeros, Self::Bare];
}

/// What a file is found to hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Bytes {
    /// A snapshot: 0 is the first.
    Whole(usize),
    Half(usize),
    Zeros(usize),
    Bare(usize),
    /// The catalog: what it held after so many operations, and by a seed some of its writes up to `done`.
    Written {
        synced: usize,
        upto: usize,
        some: Option<u64>,
    },
}

impl Disk {
    /// Returns what a file holds after `done` operations.
    pub(super) fn bytes(&self, file: FileId, done: usize, fate: Fate) -> Bytes {
        let known = &self.log.files[file];
        let synced = self.syncs[file].iter().rev().find(|at| **at <= done);
        let fate = match fate {
            Fate::Mixed(seed) => {
                let mut dice = Dice(seed ^ file as u64);
                match dice.below(6) {
                    at @ 0..5 => Fate::SAME[at],
                    _ => Fate::Mixed(dice.next()),
                }
            }
            other => other,
        };
        if known.is_written {
            return self.written(file, (synced.copied().unwrap_or(0), done), fate);
        }
        // The first snapshot that was taken later may be in part what is being written now.
        let later = &known.later;
        let now = later.iter().position(|(at, _)| *at >= done);
        let now = now.map_or(later.len(), |at| at + 1);
        let safe = synced.map_or(0, |synced| {
            later.iter().take_while(|(at, _)| at < synced).count()
        });
        match fate {
            _ if safe >= now => Bytes::Whole(safe),
            Fate::Whole | Fate::Mixed(_) => Bytes::Whole(now),
            Fate::Lost => Bytes::Whole(safe),
            Fate::Half => Bytes::Half(now),
            Fate::Zeros => Bytes::Zeros(now),
            Fate::Bare => Bytes::Bare(now),
        }
    }

    fn written(&self, file: FileId, (synced, done): (usize, usize), fate: Fate) -> Bytes {
        let open = self.writes[file]
            .iter()
            .filter(|op| (synced..done).contains(*op));
        let open: Vec<usize> = open.copied().collect();
        let Some(last) = open.last() else {
            return Bytes::Written {
                synced,
                upto: synced,
                some: None,
            };
        };
        let (upto, some) = match fate {
            Fate::Whole => (last + 1, None),
            Fate::Lost => (synced, None),
            Fate::Half => (open[open.len() / 2], None),
            // The last in part.
            Fate::Zeros => (last + 1, Some(0)),
            Fate::Bare => (last + 1, Some((done as u64) | 1)),
            Fate::Mixed(seed) => (last + 1, Some(seed | 1)),
        };
        Bytes::Written { synced, upto, some }
    }

    fn snapshot(&self, file: FileId, number: usize) -> &Snapshot {
        let known = &self.log.files[file];
        match number {
            0 => &known.base,
            later => &known.later[later - 1].1,
        }
    }

    /// Makes what a file holds.
    pub(super) fn held(&self, file: FileId, bytes: Bytes) -> Snapshot {
        let base = &self.log.files[file].base;
        let with = |bytes: Vec<u8>, of: &Snapshot| Snapshot {
            bytes: bytes.into(),
            meta: of.meta.clone(),
        };
        match bytes {
            Bytes::Whole(at) => self.snapshot(file, at).clone(),
            Bytes::Half(at) => {
                let whole = &self.snapshot(file, at).bytes;
                with(whole[..whole.len() / 2].to_vec(), base)
            }
            Bytes::Zeros(at) => {
                let whole = self.snapshot(file, at);
                with(vec![0; whole.bytes.len()], whole)
            }
            Bytes::Bare(at) => with(self.snapshot(file, at).bytes.to_vec(), base),
            Bytes::Written { synced, upto, some } => {
                let mut held = base.bytes.to_vec();
                let writes = self.writes[file].iter().take_while(|op| **op < upto);
                let writes: Vec<usize> = writes.copied().collect();
                let mut dice = Dice(some.unwrap_or_default());
                for op in &writes {
                    let is_last = Some(op) == writes.last();
                    let part = match some {
                        Some(0) if is_last => Part::Half,
                        Some(1..) if *op >= synced => Part::any(&mut dice),
                        _ => Part::Whole,
                    };
                    part.put(&mut held, &self.log.ops[*op]);
                }
                with(held, base)
            }
        }
    }
}

/// How much of one of the catalog's writes there is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Half,
    /// Each sector by itself.
    Sectors(u64),
    Nothing,
}

impl Part {
    fn any(dice: &mut Dice) -> Self {
        match dice.below(5) {
            0 | 1 => Self::Whole,
            2 | 3 => Self::Nothing,
            _ => Self::Sectors(dice.next()),
        }
    }

    fn put(self, held: &mut Vec<u8>, op: &Op) {
        match (op, self) {
            (_, Self::Nothing) => {}
            (Op::Write(_, offset, bytes), part) => {
                let mut at = usize::try_from(*offset).unwrap();
                let sectors = bytes.chunks(512);
                let half = sectors.len() / 2;
                for (number, sector) in sectors.enumerate() {
                    let there = match part {
                        Self::Half => number < half,
                        Self::Sectors(seed) => Dice(seed ^ number as u64).below(2) == 0,
                        _ => true,
                    };
                    let end = at + sector.len();
                    if there {
                        held.resize(held.len().max(end), 0);
                        held[at..end].copy_from_slice(sector);
                    }
                    at = end;
                }
            }
            (Op::SetLen(_, len), _) => held.resize(usize::try_from(*len).unwrap(), 0),
            (other, _) => panic!("no write: {other:?}"),
        }
    }
}
