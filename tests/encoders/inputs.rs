//! Owns the inputs: of every size at which encoders change their ways, and of every kind that layers are made of.

/// A small generator (xorshift64*), so that a seed names an input on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that follow each other begin far from each other.
        let mut random = Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Returns the seeds to go through.
pub(crate) fn cases() -> std::ops::Range<u64> {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let first = number("OCISTORE_ENCODER_SEED", 1);
    first..first + number("OCISTORE_ENCODER_CASES", 300)
}

/// Where encoders change their ways: windows, blocks, the longest stored block, the ends of hash tables.
const EDGES: [usize; 16] = [
    0,
    1,
    2,
    3,
    4,
    16,
    258,
    512,
    1 << 12,
    1 << 14,
    32768,
    65535,
    65536,
    1 << 17,
    1 << 18,
    1 << 20,
];

/// Returns the input of a seed. Most are small; one in forty is of megabytes.
pub(crate) fn input(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let size = match random.below(40) {
        0 => 1_000_000 + random.below(2_000_000),
        1..=3 => random.below(600_000),
        4..=13 => (random.pick(&EDGES) + random.below(9)).saturating_sub(4),
        14..=27 => random.below(70_000),
        _ => random.below(3_000),
    };
    let mut data = Vec::with_capacity(size + 70_000);
    while data.len() < size {
        let most = 1 + random.below(size);
        piece(&mut random, most, &mut data);
    }
    data.truncate(size);
    data
}

/// Appends up to about `most` bytes of one kind.
fn piece(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    match random.below(9) {
        0 => to.extend((0..most).map(|_| random.next().to_le_bytes()[1])),
        1 => to.resize(to.len() + most, 0),
        2 => to.resize(to.len() + most, random.next().to_le_bytes()[2]),
        3 => text(random, most, to),
        4 => numbers(random, most, to),
        5 => few_symbols(random, most, to),
        6 => headers(random, most, to),
        7 => repeats(random, most, to),
        _ => copies(random, most, to),
    }
}

fn text(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    const WORDS: [&str; 24] = [
        "the ",
        "layer ",
        "of ",
        "an ",
        "image ",
        "is ",
        "a ",
        "tar ",
        "file",
        "\n",
        "usr/",
        "lib/",
        "def ",
        "return ",
        "self.",
        "self, ",
        "    ",
        "import ",
        "None",
        "0x",
        "(",
        ")",
        ": ",
        "python3.11/",
    ];
    let end = to.len() + most;
    while to.len() < end {
        to.extend_from_slice(random.pick(&WORDS).as_bytes());
        if random.below(6) == 0 {
            to.extend_from_slice(random.below(100_000).to_string().as_bytes());
        }
    }
}

fn numbers(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    let (mut value, step) = (random.next(), random.below(70_000) as u64);
    let end = to.len() + most;
    while to.len() < end {
        to.extend_from_slice(&u32::try_from(value & 0xffff_ffff).unwrap().to_le_bytes());
        value = value.wrapping_add(step + random.below(3) as u64);
    }
}

/// Skewed, so that codes get long.
fn few_symbols(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    let symbols = 1 + random.below(255);
    let first = random.below(256);
    for _ in 0..most {
        let low = random
            .below(symbols)
            .min(random.below(symbols))
            .min(random.below(symbols));
        to.push(u8::try_from((first + low) % 256).unwrap());
    }
}

/// What a tar is between its contents.
fn headers(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    let end = to.len() + most;
    while to.len() < end {
        let mut header = [0u8; 512];
        let name = format!(
            "usr/share/doc/package-{}/file{}",
            random.below(400),
            random.below(9000)
        );
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        let size = format!(
            "{:011o}\0{:011o}\0",
            random.below(90_000),
            random.next() & 0xffff_ffff
        );
        header[124..148].copy_from_slice(size.as_bytes());
        header[257..263].copy_from_slice(b"ustar\0");
        to.extend_from_slice(&header);
        let filler = random.below(900);
        text(random, filler, to);
        to.resize(to.len().next_multiple_of(512), 0);
    }
}

/// One short pattern, again and again, now and then disturbed.
fn repeats(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    let len = 1 + random.below(300);
    let pattern: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
    let end = to.len() + most;
    while to.len() < end {
        to.extend_from_slice(&pattern);
        if random.below(20) == 0 {
            to.push(random.next().to_le_bytes()[0]);
        }
    }
}

/// Pieces of what came before, from near and far.
fn copies(random: &mut Random, most: usize, to: &mut Vec<u8>) {
    let end = to.len() + most;
    while to.len() < end {
        let far = 1 + random.below(to.len().min(70_000));
        let from = to.len().saturating_sub(far);
        let len = (3 + random.below(400)).min(to.len() - from);
        to.extend_from_within(from..from + len);
        let odd = 1 + random.below(12);
        to.extend((0..odd).map(|_| random.next().to_le_bytes()[3]));
    }
}
