//! Owns the window: the last plain bytes and those ahead, with chains of where the same three bytes stood before.

/// How far back the format can refer. The window has twice that, and moves its upper half down when it is full.
pub(super) const SIZE: usize = 1 << 15;

/// How many bytes the window holds.
const SPAN: usize = 2 * SIZE;

/// The shortest match.
pub(super) const SHORTEST: usize = 3;

/// The longest match.
pub(super) const LONGEST: usize = 258;

/// How many bytes are ahead wherever a match is sought, but for the input's end.
pub(super) const AHEAD: usize = LONGEST + SHORTEST + 1;

/// The farthest distance of a match.
pub(super) const REACH: usize = SIZE - AHEAD;

/// From here on the window moves, as soon as too little is ahead.
pub(super) const TOP: usize = SIZE + REACH;

/// What is compared at a time, and so may be looked at beyond the longest match.
const STRIDE: usize = LONGEST.next_multiple_of(8);

/// How long a search for a match goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// How long a match has to be that there be something better.
    pub(super) beat: usize,
    /// The length of a match that ends the search.
    pub(super) nice: usize,
    /// How many places are looked at.
    pub(super) chain: usize,
}

/// A match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) len: usize,
    /// How far back it stands.
    pub(super) distance: usize,
}

pub(super) struct Window {
    bytes: Box<[u8; SPAN + STRIDE]>,
    /// The last place of each hash; 0 for none, so that nothing is found at 0.
    heads: Box<[u16; 1 << 16]>,
    /// The place before each with the same hash.
    chain: Box<[u16; SIZE]>,
    hash_bits: u32,
    /// The next byte to be coded.
    pub(super) at: usize,
    /// How many bytes are there from `at` on.
    pub(super) ahead: usize,
    /// How many places before `at` wait for more bytes to have a hash.
    pub(super) late: usize,
    /// Where the block begins: below 0 when the window has moved past it.
    pub(super) block: isize,
}

impl Window {
    /// Returns an empty window. Hashes have at least 8 bits and at most 16.
    pub(super) fn new(hash_bits: u32) -> Self {
        Self {
            bytes: zeros(),
            heads: zeros(),
            chain: zeros(),
            hash_bits,
            at: 0,
            ahead: 0,
            late: 0,
            block: 0,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.heads[..1 << self.hash_bits].fill(0);
        (self.at, self.ahead, self.late, self.block) = (0, 0, 0, 0);
    }

    /// Takes what comes before the first byte to be coded, at most [`SIZE`] bytes, into the cleared window.
    pub(super) fn prime(&mut self, before: &[u8]) {
        self.bytes[..before.len()].copy_from_slice(before);
        let whole = before.len().saturating_sub(SHORTEST - 1);
        for at in 0..whole {
            self.insert(at);
        }
        (self.at, self.late) = (before.len(), before.len() - whole);
        self.block = isize::try_from(before.len()).unwrap_or(isize::MAX);
    }

    /// Whether no further byte can be taken before the window moves.
    pub(super) fn is_full(&self) -> bool {
        self.at + self.ahead == SPAN
    }

    /// Moves down if need be, and takes as many bytes as there is place for; returns how many.
    pub(super) fn fill(&mut self, plain: &[u8]) -> usize {
        if self.at >= TOP {
            self.slide();
        }
        let end = self.at + self.ahead;
        let taken = plain.len().min(SPAN - end);
        self.bytes[end..end + taken].copy_from_slice(&plain[..taken]);
        self.ahead += taken;
        while self.late > 0 && self.late + self.ahead >= SHORTEST {
            self.insert(self.at - self.late);
            self.late -= 1;
        }
        taken
    }

    /// Makes the two bytes after the last one zeros.
    pub(super) fn end_with_zeros(&mut self) {
        let end = self.at + self.ahead;
        self.bytes[end..end + SHORTEST - 1].fill(0);
    }

    /// What is not overwritten keeps its bytes: GNU gzip looks at them.
    fn slide(&mut self) {
        self.bytes.copy_within(SIZE..SPAN, 0);
        self.at -= SIZE;
        self.late = self.late.min(self.at);
        self.block -= SIZE.cast_signed();
        for places in [&mut self.heads[..1 << self.hash_bits], &mut self.chain[..]] {
            for place in places {
                *place = place.saturating_sub(1 << 15);
            }
        }
    }

    /// Returns the byte at a place.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes[at & (SPAN - 1)]
    }

    /// Returns the bytes from the block's first on, unless some have left the window.
    pub(super) fn block(&self, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(self.block).ok()?;
        self.bytes.get(from..from + len)
    }

    /// Notes the place, and returns the last one with the same hash; 0 for none.
    #[inline]
    pub(super) fn insert(&mut self, at: usize) -> usize {
        let at = at & (SPAN - 1);
        let [a, b, c] = [0, 1, 2].map(|next| u32::from(self.bytes[at + next]));
        let shift = self.hash_bits.div_ceil(3);
        let hash = (a << (2 * shift) ^ b << shift ^ c) & ((1 << self.hash_bits) - 1);
        let head = &mut self.heads[hash as usize & 0xffff];
        let last = *head;
        let [low, high, ..] = at.to_le_bytes();
        *head = u16::from_le_bytes([low, high]);
        self.chain[at & (SIZE - 1)] = last;
        usize::from(last)
    }

    /// Returns the longest match of what stands at `at`, if it beats what there is, of those from `head` back.
    #[inline]
    pub(super) fn longest(&self, at: usize, head: usize, effort: Effort) -> Option<Match> {
        let limit = at.saturating_sub(REACH);
        let scan = self.stride(at);
        let start = pair(scan, 0);
        let (mut best, mut from) = (effort.beat, head);
        let mut end = pair(scan, best - 1);
        let mut place = head;
        let mut left = effort.chain;
        loop {
            let candidate = self.stride(place);
            if pair(candidate, best - 1) == end && pair(candidate, 0) == start {
                let len = same(scan, candidate);
                if len > best {
                    (best, from) = (len, place);
                    if len >= effort.nice || len >= LONGEST {
                        break;
                    }
                    end = pair(scan, best - 1);
                }
            }
            place = usize::from(self.chain[place & (SIZE - 1)]);
            left -= 1;
            if place <= limit || left == 0 {
                break;
            }
        }
        (best > effort.beat).then_some(Match {
            len: best,
            distance: at - from,
        })
    }

    #[inline]
    fn stride(&self, at: usize) -> &[u8; STRIDE] {
        let at = at & (SPAN - 1);
        // Always there: the bytes are that much longer than the window.
        self.bytes[at..at + STRIDE]
            .first_chunk()
            .unwrap_or(&[0; STRIDE])
    }
}

/// Returns zeros on the heap.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "arrays this large stay off the stack"
)]
pub(super) fn zeros<T: Copy + Default, const N: usize>() -> Box<[T; N]> {
    Box::new([T::default(); N])
}

#[inline]
fn pair(bytes: &[u8; STRIDE], at: usize) -> u16 {
    let at = at.min(STRIDE - 2);
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Returns how many bytes are the same, up to the longest match.
#[inline]
fn same(one: &[u8; STRIDE], other: &[u8; STRIDE]) -> usize {
    let (one, _) = one.as_chunks::<8>();
    let (other, _) = other.as_chunks::<8>();
    for (number, (a, b)) in one.iter().zip(other).enumerate() {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return (number * 8 + differ.trailing_zeros() as usize / 8).min(LONGEST);
        }
    }
    LONGEST
}
