//! Owns writing deflate's bits: the lowest first (RFC 1951, 3.1.1).

/// Bits that are not yet a byte.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bits {
    held: u64,
    count: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of `value`, at most 32; its other bits are zero.
    #[inline]
    pub fn put(&mut self, value: u32, count: u32, to: &mut Vec<u8>) {
        debug_assert!(count <= 32 && u64::from(value) < 1 << count);
        self.held |= u64::from(value) << self.count;
        self.count += count;
        if self.count >= 32 {
            to.extend_from_slice(&self.held.to_le_bytes()[..4]);
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Appends many codes: the lowest bits of values, with how many of them, at most 48. Their other bits are zero.
    #[inline]
    pub fn put_all(&mut self, codes: impl Iterator<Item = (u64, u32)>, to: &mut Vec<u8>) {
        const ROOM: usize = 4096;
        let mut room = [0; ROOM + 8];
        let (mut held, mut count, mut at) = (self.held, self.count, 0);
        for (value, len) in codes {
            debug_assert!(len <= 48 && value < 1 << len);
            room[at..at + 8].copy_from_slice(&held.to_le_bytes());
            at += (count / 8) as usize;
            held >>= count & !7;
            count &= 7;
            held |= value << count;
            count += len;
            if at >= ROOM - 8 {
                to.extend_from_slice(&room[..at]);
                at = 0;
            }
        }
        to.extend_from_slice(&room[..at]);
        let whole = count / 8;
        to.extend_from_slice(&held.to_le_bytes()[..whole as usize]);
        (self.held, self.count) = (held >> (whole * 8), count % 8);
    }

    /// Returns how many bits follow the last whole byte.
    pub fn odd(&self) -> u32 {
        self.count % 8
    }

    /// Fills the last byte up with zeros, and appends it.
    pub fn align(&mut self, to: &mut Vec<u8>) {
        let bytes = self.count.div_ceil(8) as usize;
        to.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bits_come_first() {
        let (mut bits, mut to) = (Bits::default(), Vec::new());
        for (value, count) in [(1, 1), (2, 2), (0xabcd_ef01, 32), (0, 0), (3, 2)] {
            bits.put(value, count, &mut to);
        }
        assert_eq!(bits.odd(), 5);
        bits.align(&mut to);
        let wanted = 1u64 | 2 << 1 | 0xabcd_ef01 << 3 | 3 << 35;
        assert_eq!(to, wanted.to_le_bytes()[..5]);
        bits.align(&mut to);
        assert_eq!(to.len(), 5);
    }
}
