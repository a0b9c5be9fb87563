//! Owns which versions of the library there are, which levels, and which of the one did which of the other alike.

/// Versions that do not differ in what they make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Generation {
    /// 1.15.0 to 1.15.9.
    V1_15_0,
    /// 1.15.10.
    V1_15_10,
    /// 1.15.11 to 1.15.14.
    V1_15_11,
    /// 1.15.15 to 1.17.11.
    V1_15_15,
    /// 1.18.0.
    V1_18_0,
    /// 1.18.1.
    V1_18_1,
    /// 1.18.2 to 1.19.1.
    V1_18_2,
    /// What Go's own `compress/flate` is from Go 1.27 on. `encoders::go` names its streams: here they have no encoding.
    Go1_27,
}

/// Levels by what they do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// 0: nothing is compressed.
    Stored,
    /// 1, the fastest with matches.
    One,
    /// 2.
    Two,
    /// 3.
    Three,
    /// 4.
    Four,
    /// 5, the default.
    Five,
    /// 6.
    Six,
    /// 7.
    Seven,
    /// 8.
    Eight,
    /// 9, the slowest.
    Nine,
    /// -2: no matches, only codes.
    Huffman,
}

impl Generation {
    /// All of the library itself, the oldest first.
    pub const ALL: [Self; 7] = [
        Self::V1_15_0,
        Self::V1_15_10,
        Self::V1_15_11,
        Self::V1_15_15,
        Self::V1_18_0,
        Self::V1_18_1,
        Self::V1_18_2,
    ];

    /// Returns its first version, and its last.
    pub(super) fn versions(self) -> (&'static str, &'static str) {
        match self {
            Self::V1_15_0 => ("1.15.0", "1.15.9"),
            Self::V1_15_10 => ("1.15.10", "1.15.10"),
            Self::V1_15_11 => ("1.15.11", "1.15.14"),
            Self::V1_15_15 => ("1.15.15", "1.17.11"),
            Self::V1_18_0 => ("1.18.0", "1.18.0"),
            Self::V1_18_1 => ("1.18.1", "1.18.1"),
            Self::V1_18_2 => ("1.18.2", "1.19.1"),
            Self::Go1_27 => ("as in Go 1.27", "as in Go 1.27"),
        }
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::V1_15_0 => 1,
            Self::V1_15_10 => 10,
            Self::V1_15_11 => 11,
            Self::V1_15_15 => 15,
            Self::V1_18_0 => 20,
            Self::V1_18_1 => 21,
            Self::V1_18_2 => 22,
            Self::Go1_27 => u8::MAX,
        }
    }

    /// Returns how many bytes at a match's beginning may differ from a better one's, at levels 5 and 6.
    pub(super) fn skipped(self) -> usize {
        match self >= Self::V1_15_10 {
            true => 2,
            false => 0,
        }
    }

    /// Whether levels 1 to 3 have tables of five bytes, not of four.
    pub(super) fn hashes_five(self) -> bool {
        self >= Self::V1_15_11
    }

    /// Whether level 4 takes a position for a distance where it compares two matches.
    pub(super) fn takes_distances_for_positions(self) -> bool {
        self >= Self::V1_18_0
    }

    /// Whether a header that may serve again has no more symbols than occur.
    pub(super) fn has_exact_headers(self) -> bool {
        self >= Self::V1_18_1
    }

    /// Whether the end of a block counts where codes are to serve again.
    pub(super) fn counts_every_end(self) -> bool {
        self >= Self::V1_18_2
    }

    /// Whether levels 7 to 9 try a better match two bytes later, and extend it back.
    pub(super) fn extends_back(self) -> bool {
        self >= Self::V1_15_15
    }

    /// How many bits a literal takes at least where level 9 weighs literals: some have no code.
    pub(super) fn least_literal(self) -> u8 {
        u8::from(self == Self::Go1_27)
    }

    /// Whether level 9 weighs literals by at most half a window of them.
    pub(super) fn weighs_half_a_window(self) -> bool {
        self >= Self::V1_18_2
    }
}

impl Level {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 11] = [
        Self::Five,
        Self::Nine,
        Self::One,
        Self::Six,
        Self::Three,
        Self::Seven,
        Self::Eight,
        Self::Two,
        Self::Four,
        Self::Huffman,
        Self::Stored,
    ];

    pub(super) fn has_matches(self) -> bool {
        !matches!(self, Self::Stored | Self::Huffman)
    }

    /// Returns the generations that brought a change to the level.
    pub(super) fn turns(self) -> &'static [Generation] {
        use Generation::{V1_15_10, V1_15_11, V1_15_15, V1_18_0, V1_18_1, V1_18_2};
        match self {
            Self::Stored | Self::Huffman => &[],
            Self::One | Self::Two | Self::Three => &[V1_15_11, V1_18_1, V1_18_2],
            Self::Four => &[V1_18_0, V1_18_1, V1_18_2],
            Self::Five | Self::Six => &[V1_15_10, V1_18_1, V1_18_2],
            Self::Seven | Self::Eight | Self::Nine => &[V1_15_15, V1_18_1, V1_18_2],
        }
    }

    /// Returns the first generation of those that do the level alike, and the last.
    pub(super) fn span(self, generation: Generation) -> (Generation, Generation) {
        let all = Generation::ALL;
        let turn = self.turns().iter().rfind(|turn| **turn <= generation);
        let next = self.turns().iter().find(|turn| **turn > generation);
        let first = turn.copied().unwrap_or(all[0]);
        let is_before = |one: &&Generation| next.is_none_or(|next| *one < next);
        let last = all.iter().rfind(is_before).copied();
        (first, last.unwrap_or(first))
    }

    /// Returns a generation for each way in which the level was done, the likeliest first: those of 2023, then the newest.
    pub(super) fn generations(self) -> Vec<Generation> {
        let likeliest = self.span(Generation::V1_15_15).0;
        let mut all = vec![likeliest];
        for generation in Generation::ALL.into_iter().rev() {
            let first = self.span(generation).0;
            if !all.contains(&first) {
                all.push(first);
            }
        }
        all
    }

    /// Returns the library's number for it.
    pub fn number(self) -> i8 {
        match self {
            Self::Stored => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Seven => 7,
            Self::Eight => 8,
            Self::Nine => 9,
            Self::Huffman => -2,
        }
    }
}
