//! Owns deflate's tables: the symbols of lengths and distances, the fixed codes, the order of code lengths
//! (RFC 1951, 3.2.5 to 3.2.7).

/// The symbol that ends a block.
pub const END_OF_BLOCK: usize = 256;

/// The first symbol of a length.
pub const FIRST_LENGTH: usize = 257;

/// How many literal and length symbols there are; 286 and 287 are never used.
pub const LITERALS: usize = 286;

/// How many distance symbols there are.
pub const DISTANCES: usize = 30;

/// The order in which the lengths of the code length code are written.
pub const CODE_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// How many further bits each length symbol has, from 257 on.
pub const LENGTH_BITS: [u8; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];

/// The shortest match of each length symbol, from 257 on.
pub const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];

/// How many further bits each distance symbol has.
pub const DISTANCE_BITS: [u8; 30] = [
    0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
    13,
];

/// The nearest distance of each distance symbol.
pub const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537,
    2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
];

/// The symbol of each match length, counted from 257 and by the length less 3.
pub const LENGTH_SYMBOL: [u8; 256] = length_symbols();

/// Returns the symbol of a match's distance, from 1 to 32768.
#[inline]
pub fn distance_symbol(distance: u32) -> usize {
    // Two symbols for each power of two: which half is the bit below the highest.
    let less = distance - 1;
    if less < 4 {
        return less as usize;
    }
    let high = less.ilog2();
    (2 * high + (less >> (high - 1) & 1)) as usize
}

/// Returns the lengths of the fixed literal code.
pub fn fixed_literal_lengths() -> [u8; 288] {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    lengths
}

const fn length_symbols() -> [u8; 256] {
    let mut symbols = [0; 256];
    let (mut length, mut symbol) = (0, 0);
    while length < 256 {
        // 258 has a symbol of its own.
        while symbol < 28 && LENGTH_BASE[symbol as usize + 1] as usize <= length + 3 {
            symbol += 1;
        }
        symbols[length] = symbol;
        length += 1;
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_distance_lies_within_its_symbols_range() {
        for length in 3..=258usize {
            let symbol = usize::from(LENGTH_SYMBOL[length - 3]);
            let extra = length - usize::from(LENGTH_BASE[symbol]);
            assert!(extra < 1 << LENGTH_BITS[symbol], "{length}");
        }
        assert_eq!(LENGTH_SYMBOL[255], 28);
        assert_eq!(LENGTH_SYMBOL[254], 27);
        for distance in 1..=32768u32 {
            let symbol = distance_symbol(distance);
            let extra = distance - u32::from(DISTANCE_BASE[symbol]);
            assert!(extra < 1 << DISTANCE_BITS[symbol], "{distance}");
        }
    }
}
