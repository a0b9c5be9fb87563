//! Owns what a zstd frame's header says (RFC 8878, 3.1): reason to try one encoder before another, no more.

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameHints {
    /// How far back matches may reach in bytes, where it is not all of the content (a single segment).
    pub window: Option<u64>,
    /// How many plain bytes there are, where it is said.
    pub size: Option<u64>,
    /// Whether a checksum of the plain bytes ends the frame.
    pub has_checksum: bool,
    /// The dictionary that is needed; 0 for none.
    pub dictionary: u32,
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl FrameHints {
    /// Returns what the first bytes of a frame say; the longest header has 18 bytes.
    ///
    /// Nothing where they do not begin a frame, or not the whole of its header.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let (descriptor, mut rest) = head.strip_prefix(&MAGIC)?.split_first()?;
        // The reserved bit is zero.
        if descriptor & 0x08 != 0 {
            return None;
        }
        let is_single = descriptor & 0x20 != 0;
        let window = match is_single {
            true => None,
            false => Some(window(take(&mut rest, 1)?)),
        };
        let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let dictionary = u32::try_from(take(&mut rest, dictionary_len)?).ok()?;
        let size = match (descriptor >> 6, is_single) {
            (0, false) => None,
            (0, true) => Some(take(&mut rest, 1)?),
            (1, _) => Some(take(&mut rest, 2)? + 256),
            (2, _) => Some(take(&mut rest, 4)?),
            _ => Some(take(&mut rest, 8)?),
        };
        Some(Self {
            window,
            size,
            has_checksum: descriptor & 0x04 != 0,
            dictionary,
        })
    }

    /// Returns the power of two that the window is, where it is one.
    pub fn window_log(&self) -> Option<u8> {
        let window = self.window?;
        let log = window.trailing_zeros();
        u8::try_from(log).ok().filter(|_| window.is_power_of_two())
    }
}

/// An exponent and eighths of its power.
fn window(descriptor: u64) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + base / 8 * (descriptor & 7)
}

/// Takes a number of at most 8 bytes, the lowest first.
fn take(from: &mut &[u8], len: usize) -> Option<u64> {
    let (number, rest) = from.split_at_checked(len)?;
    *from = rest;
    let high_first = number.iter().rev();
    Some(high_first.fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &[u8]) -> Option<FrameHints> {
        let head = [&MAGIC, rest].concat();
        // All of it is needed.
        assert!((0..head.len()).all(|cut| FrameHints::parse(&head[..cut]).is_none()));
        let hints = FrameHints::parse(&head);
        assert_eq!(FrameHints::parse(&[&head, &b"more"[..]].concat()), hints);
        hints
    }

    #[test]
    fn each_field_is_read() {
        // What klauspost's encoder begins a layer with: 8 MiB, a checksum.
        let of_podman = FrameHints {
            window: Some(8 << 20),
            size: None,
            has_checksum: true,
            dictionary: 0,
        };
        assert_eq!(parse(&[0x04, 0x68]), Some(of_podman));
        assert_eq!(of_podman.window_log(), Some(23));
        let sizes = [
            (&[0x20, 7][..], 7),
            (&[0x60, 0, 1], 512),
            (&[0xa0, 1, 2, 3, 4], 0x0403_0201),
            (&[0xe0, 1, 0, 0, 0, 0, 0, 0, 0x80], 1 << 63 | 1),
        ];
        for (head, size) in sizes {
            let hints = parse(head).unwrap();
            assert_eq!((hints.size, hints.window), (Some(size), None));
            assert!(!hints.has_checksum);
        }
        let odd = parse(&[0x03, 0x59, 1, 2, 3, 4]).unwrap();
        assert_eq!(odd.window, Some((2 << 20) + (1 << 18)));
        assert_eq!((odd.dictionary, odd.window_log()), (0x0403_0201, None));
        assert_eq!(parse(&[0x03, 0xff, 1, 2, 3, 4]).unwrap().window_log(), None);
    }

    #[test]
    fn what_is_no_frame_says_nothing() {
        assert_eq!(FrameHints::parse(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            FrameHints::parse(&[0x28, 0xb5, 0x2f, 0xfd, 0x08, 0x68]),
            None
        );
        let skippable = [0x5a, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(FrameHints::parse(&skippable), None);
    }
}
