//! Owns which ids of the host stand for those of an image. A map holds no id twice, on either side, and none beyond
//! the last: what would is refused when the range is read.

use std::fmt;

/// A range of an image's ids, and where the host's begin that stand for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    container: u32,
    host: u32,
    /// At least 1, and so that neither side ends beyond the last id, which is 2³²−2.
    size: u32,
}

/// Ranges of an image's ids and the host's that stand for them, as `user_namespaces(7)` has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdMap {
    /// By the image's ids.
    ranges: Vec<Range>,
}

/// Why a range is none, or does not fit beside the others.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdMapError {
    /// Too few or too many parts.
    #[error("expected CONTAINER:HOST:SIZE or CONTAINER:HOST")]
    Shape,
    /// A part is no number of 32 bits.
    #[error("'{0}' is no number from 0 to 4294967295")]
    Number(String),
    /// Nothing is in it.
    #[error("its size is 0")]
    Empty,
    /// It does not end where ids do.
    #[error("it ends beyond 4294967294, the last id")]
    Overflow,
    /// An id of the image would be two ids of the host.
    #[error("it has ids of the image in common with {0}")]
    SameContainer(String),
    /// An id of the host would be two ids of the image.
    #[error("it has ids of the host in common with {0}")]
    SameHost(String),
}

impl IdMap {
    /// Adds the range that `text` says, as `CONTAINER:HOST:SIZE`, or as `CONTAINER:HOST` for one id.
    pub fn add(&mut self, text: &str) -> Result<(), IdMapError> {
        let new = Range::parse(text)?;
        for there in &self.ranges {
            if new.meets(there, |range| range.container) {
                return Err(IdMapError::SameContainer(there.to_string()));
            }
            if new.meets(there, |range| range.host) {
                return Err(IdMapError::SameHost(there.to_string()));
            }
        }
        let at = self
            .ranges
            .partition_point(|range| range.container < new.container);
        self.ranges.insert(at, new);
        Ok(())
    }

    /// Returns the host's id that stands for the image's `id`, where a range holds it.
    pub fn host_of(&self, id: u32) -> Option<u32> {
        let after = self.ranges.partition_point(|range| range.container <= id);
        let range = self.ranges[..after].last()?;
        let offset = id - range.container;
        (offset < range.size).then(|| range.host + offset)
    }

    /// Returns the image's id that the host's `id` stands for, where a range holds it.
    pub fn image_of(&self, id: u32) -> Option<u32> {
        let within = |range: &&Range| id >= range.host && id - range.host < range.size;
        let range = self.ranges.iter().find(within)?;
        Some(range.container + (id - range.host))
    }

    /// Returns the ranges in the order of the image's ids: where each begins there, where on the host, and its size.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let ranges = self.ranges.iter();
        ranges.map(|range| (range.container, range.host, range.size))
    }
}

impl Range {
    fn parse(text: &str) -> Result<Self, IdMapError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (container, host, size) = match parts[..] {
            [container, host, size] => (number(container)?, number(host)?, number(size)?),
            [container, host] => (number(container)?, number(host)?, 1),
            _ => return Err(IdMapError::Shape),
        };
        if size == 0 {
            return Err(IdMapError::Empty);
        }
        // 2³²−1 is no id: system calls take it for "leave as it is".
        if container.checked_add(size).is_none() || host.checked_add(size).is_none() {
            return Err(IdMapError::Overflow);
        }
        Ok(Self {
            container,
            host,
            size,
        })
    }

    /// Tells whether two ranges share an id of the side that `begin` picks.
    fn meets(&self, other: &Self, begin: impl Fn(&Self) -> u32) -> bool {
        let (ours, theirs) = (begin(self), begin(other));
        ours < theirs + other.size && theirs < ours + self.size
    }
}

/// Reads digits and nothing else: a sign is accepted by the standard parser, but by no other tool.
fn number(text: &str) -> Result<u32, IdMapError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = digits.then(|| text.parse().ok()).flatten();
    value.ok_or_else(|| IdMapError::Number(text.to_owned()))
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            container,
            host,
            size,
        } = self;
        write!(f, "{container}:{host}:{size}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[&str]) -> Result<IdMap, IdMapError> {
        let mut map = IdMap::default();
        ranges.iter().try_for_each(|range| map.add(range))?;
        Ok(map)
    }

    #[test]
    fn ids_are_mapped_by_the_range_that_holds_them_and_by_no_other() {
        let map = map(&["1000:5:2", "0:100000:1000", "4294967294:7"]).unwrap();
        for (id, host) in [
            (0, Some(100_000)),
            (999, Some(100_999)),
            (1000, Some(5)),
            (1001, Some(6)),
            (1002, None),
            (4_294_967_293, None),
            (4_294_967_294, Some(7)),
            (u32::MAX, None),
        ] {
            assert_eq!(map.host_of(id), host, "{id}");
        }
        assert_eq!(IdMap::default().host_of(0), None);
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "expected CONTAINER"),
            ("0", "expected CONTAINER"),
            ("0:1:2:3", "expected CONTAINER"),
            ("0::1", "'' is no number"),
            ("+0:1:1", "'+0' is no number"),
            ("-1:1:1", "'-1' is no number"),
            ("a:1:1", "'a' is no number"),
            (" 0:1:1", "' 0' is no number"),
            ("0:1:4294967296", "'4294967296' is no number"),
            ("0:1:0", "size is 0"),
            ("4294967295:0:1", "beyond 4294967294"),
            ("0:4294967295:1", "beyond 4294967294"),
            ("0:2:4294967295", "beyond 4294967294"),
            ("4294967290:0:6", "beyond 4294967294"),
        ] {
            let said = map(&[text]).unwrap_err().to_string();
            assert!(said.contains(why), "{text}: {said}");
        }
        map(&["0:0:4294967295"]).unwrap();
    }

    #[test]
    fn ranges_that_share_an_id_on_either_side_are_refused() {
        let said = |ranges: &[&str]| map(ranges).unwrap_err().to_string();
        assert_eq!(
            said(&["0:100000:10", "9:200000:1"]),
            "it has ids of the image in common with 0:100000:10"
        );
        assert_eq!(
            said(&["10:100000:10", "0:200000:11"]),
            "it has ids of the image in common with 10:100000:10"
        );
        assert_eq!(
            said(&["0:100000:10", "10:100009:1"]),
            "it has ids of the host in common with 0:100000:10"
        );
        map(&["0:100000:10", "10:100010:10", "20:99999"]).unwrap();
    }
}
