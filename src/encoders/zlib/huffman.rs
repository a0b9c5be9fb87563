//! Owns the code lengths: Huffman's by a heap, cut to the longest allowed as zlib's `gen_bitlen` does, and the codes.

/// The longest code of literals and distances.
const MOST_BITS: usize = 15;

/// The most symbols of an alphabet.
const MOST_SYMBOLS: usize = 286;

/// A node's place in the arrays: the symbols first, then what joins two nodes.
type Node = u16;

/// One alphabet's code.
#[derive(Debug)]
pub(super) struct Code {
    /// How many bits each symbol has, 0 for none.
    pub(super) lengths: [u8; MOST_SYMBOLS],
    /// The bits, as they are written.
    pub(super) bits: [u16; MOST_SYMBOLS],
    /// The last symbol that has a code.
    pub(super) last: usize,
}

/// The heap, with what it works on.
#[derive(Debug)]
pub(super) struct Heap {
    /// From 1 on; the children of `n` are `2 n` and `2 n + 1`.
    nodes: [Node; MOST_SYMBOLS + 1],
    len: usize,
    counts: [u32; 2 * MOST_SYMBOLS],
    depths: [u8; 2 * MOST_SYMBOLS],
    parents: [Node; 2 * MOST_SYMBOLS],
    lengths: [u8; 2 * MOST_SYMBOLS],
    /// All nodes in the order in which they left the heap.
    order: [Node; 2 * MOST_SYMBOLS],
    taken: usize,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            lengths: [0; MOST_SYMBOLS],
            bits: [0; MOST_SYMBOLS],
            last: 0,
        }
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            nodes: [0; MOST_SYMBOLS + 1],
            len: 0,
            counts: [0; 2 * MOST_SYMBOLS],
            depths: [0; 2 * MOST_SYMBOLS],
            parents: [0; 2 * MOST_SYMBOLS],
            lengths: [0; 2 * MOST_SYMBOLS],
            order: [0; 2 * MOST_SYMBOLS],
            taken: 0,
        }
    }
}

impl Code {
    /// Makes the code for how often each symbol comes, of at most `most_bits` bits.
    ///
    /// There are at least two codes: where fewer symbols come, 0, 1 or 2 are given one.
    pub(super) fn build(&mut self, counts: &[u32], most_bits: usize, heap: &mut Heap) {
        heap.load(counts);
        self.last = heap.at_least_two();
        heap.join(counts.len());
        let per_length = heap.measure(counts.len(), most_bits);
        self.lengths.fill(0);
        self.lengths[..=self.last].copy_from_slice(&heap.lengths[..=self.last]);
        self.assign(&per_length);
    }

    /// Makes a code of given lengths.
    pub(super) fn fixed(lengths: &[u8]) -> Self {
        let mut code = Self {
            last: lengths.len().min(MOST_SYMBOLS) - 1,
            ..Self::default()
        };
        let mut per_length = [0; MOST_BITS + 1];
        for (symbol, &length) in lengths.iter().enumerate() {
            per_length[usize::from(length)] += 1;
            if let Some(to) = code.lengths.get_mut(symbol) {
                *to = length;
            }
        }
        code.assign(&per_length);
        code
    }

    /// Numbers the codes (RFC 1951, 3.2.2), and turns their bits around.
    fn assign(&mut self, per_length: &[u16; MOST_BITS + 1]) {
        let mut next = [0u16; MOST_BITS + 1];
        for bits in 2..=MOST_BITS {
            next[bits] = (next[bits - 1] + per_length[bits - 1]) << 1;
        }
        for (&length, code) in self.lengths.iter().zip(&mut self.bits) {
            if length != 0 {
                let next = &mut next[usize::from(length)];
                *code = next.reverse_bits() >> (16 - u32::from(length));
                *next = next.wrapping_add(1);
            }
        }
    }
}

impl Heap {
    /// Takes the symbols that come.
    fn load(&mut self, counts: &[u32]) {
        (self.len, self.taken) = (0, 0);
        self.counts[..counts.len()].copy_from_slice(counts);
        self.lengths[..counts.len()].fill(0);
        for (symbol, _) in (0..).zip(counts).filter(|(_, count)| **count != 0) {
            self.add(symbol);
        }
    }

    fn add(&mut self, symbol: Node) {
        self.len += 1;
        self.nodes[self.len] = symbol;
        self.depths[usize::from(symbol)] = 0;
    }

    /// Adds symbols until there are two; returns the last of all.
    fn at_least_two(&mut self) -> usize {
        let mut last = self.nodes[..=self.len]
            .last()
            .copied()
            .filter(|_| self.len > 0);
        while self.len < 2 {
            let (forced, new_last) = match last {
                None => (0, 0),
                Some(last) if last < 2 => (last + 1, last + 1),
                Some(last) => (0, last),
            };
            last = Some(new_last);
            self.counts[usize::from(forced)] = 1;
            self.add(forced);
        }
        usize::from(last.unwrap_or(0))
    }

    /// Joins the two rarest until one is left; joints are numbered from `first` on.
    fn join(&mut self, first: usize) {
        for node in (1..=self.len / 2).rev() {
            self.sink(node);
        }
        let mut joint = first;
        while self.len >= 2 {
            let rarest = self.nodes[1];
            self.nodes[1] = self.nodes[self.len];
            self.len -= 1;
            self.sink(1);
            let second = self.nodes[1];
            self.take(rarest);
            self.take(second);
            let number = Node::try_from(joint).unwrap_or(Node::MAX);
            let [a, b] = [rarest, second].map(usize::from);
            self.counts[joint] = self.counts[a] + self.counts[b];
            self.depths[joint] = self.depths[a].max(self.depths[b]) + 1;
            self.parents[a] = number;
            self.parents[b] = number;
            self.nodes[1] = number;
            self.sink(1);
            joint += 1;
        }
        self.take(self.nodes[1]);
    }

    fn take(&mut self, node: Node) {
        self.order[self.taken] = node;
        self.taken += 1;
    }

    /// Restores the heap below a place.
    fn sink(&mut self, mut at: usize) {
        let node = self.nodes[at];
        loop {
            let mut child = 2 * at;
            if child > self.len {
                break;
            }
            if child < self.len && self.comes_before(self.nodes[child + 1], self.nodes[child]) {
                child += 1;
            }
            if self.comes_before(node, self.nodes[child]) {
                break;
            }
            self.nodes[at] = self.nodes[child];
            at = child;
        }
        self.nodes[at] = node;
    }

    /// The rarer comes first; of equally rare ones the shallower, of equally deep ones either.
    fn comes_before(&self, one: Node, other: Node) -> bool {
        let [one, other] = [one, other].map(usize::from);
        (self.counts[one], self.depths[one]) <= (self.counts[other], self.depths[other])
    }

    /// Sets the lengths; returns how many symbols there are of each. Those below `symbols` are symbols.
    fn measure(&mut self, symbols: usize, most_bits: usize) -> [u16; MOST_BITS + 1] {
        let mut per_length = [0u16; MOST_BITS + 1];
        let mut too_long = 0i32;
        let mut root = true;
        for &node in self.order[..self.taken].iter().rev() {
            let node = usize::from(node);
            let mut bits = if root {
                0
            } else {
                usize::from(self.lengths[usize::from(self.parents[node])]) + 1
            };
            root = false;
            if bits > most_bits {
                bits = most_bits;
                too_long += 1;
            }
            self.lengths[node] = bits.to_le_bytes()[0];
            if node < symbols {
                per_length[bits] += 1;
            }
        }
        if too_long > 0 {
            shorten(&mut per_length, most_bits, too_long);
            self.hand_out(&per_length, symbols);
        }
        per_length
    }

    /// Gives the rarest symbols the longest codes.
    fn hand_out(&mut self, per_length: &[u16; MOST_BITS + 1], symbols: usize) {
        let mut order = self.order[..self.taken]
            .iter()
            .map(|node| usize::from(*node));
        for (bits, &count) in (0u8..16).zip(per_length).rev() {
            for symbol in order
                .by_ref()
                .filter(|node| *node < symbols)
                .take(usize::from(count))
            {
                self.lengths[symbol] = bits;
            }
        }
    }
}

/// Makes room for codes that were cut, two at a time: a shorter one becomes longer, and one of the two stands beside it.
fn shorten(per_length: &mut [u16; MOST_BITS + 1], most_bits: usize, mut too_long: i32) {
    while too_long > 0 {
        let mut bits = most_bits - 1;
        while per_length[bits] == 0 {
            bits -= 1;
        }
        per_length[bits] -= 1;
        per_length[bits + 1] += 2;
        per_length[most_bits] -= 1;
        too_long -= 2;
    }
}
