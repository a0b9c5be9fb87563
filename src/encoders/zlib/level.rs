//! Owns the levels: how hard each seeks for matches. The numbers are zlib's and GNU gzip's, which have them in common.

/// What a level does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) search: Search,
    /// A match of this length makes the search for a better one shorter.
    pub(super) good: usize,
    /// A match of this length is taken at once; without delay, the longest whose places are all noted.
    pub(super) lazy: usize,
    /// A match of this length ends a search.
    pub(super) nice: usize,
    /// How many places a search looks at.
    pub(super) chain: usize,
}

/// When a match is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Search {
    /// At once.
    Greedy,
    /// When the next byte has no longer one.
    Lazy,
}

/// The levels from 1 to 9.
const LEVELS: [Level; 9] = [
    level(Search::Greedy, [4, 4, 8, 4]),
    level(Search::Greedy, [4, 5, 16, 8]),
    level(Search::Greedy, [4, 6, 32, 32]),
    level(Search::Lazy, [4, 4, 16, 16]),
    level(Search::Lazy, [8, 16, 32, 32]),
    level(Search::Lazy, [8, 16, 128, 128]),
    level(Search::Lazy, [8, 32, 128, 256]),
    level(Search::Lazy, [32, 128, 258, 1024]),
    level(Search::Lazy, [32, 258, 258, 4096]),
];

const fn level(search: Search, [good, lazy, nice, chain]: [usize; 4]) -> Level {
    Level {
        search,
        good,
        lazy,
        nice,
        chain,
    }
}

impl Level {
    /// Returns what a level from 1 to 9 does; others are taken for the nearest.
    pub(super) fn of(number: u8) -> Self {
        LEVELS[usize::from(number.clamp(1, 9)) - 1]
    }
}
