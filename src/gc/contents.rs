//! Owns the set of live contents, as small as it can be: 32 bytes each, in one sorted list for each first byte, as the
//! folders of `objects/` have them.

use crate::digest::ContentId;
use crate::recipe::ContentRef;

/// Below this many new ones a list is not sorted again.
const FEW: usize = 64;

/// A set of contents.
#[derive(Debug)]
pub(super) struct Contents {
    lists: Vec<List>,
    bytes: u64,
}

/// Contents that begin with the same byte.
#[derive(Clone, Debug, Default)]
struct List {
    /// Sorted, each once.
    sorted: Vec<ContentId>,
    /// None of which is among the sorted ones.
    new: Vec<ContentRef>,
}

impl Contents {
    pub(super) fn new() -> Self {
        Self {
            lists: vec![List::default(); 256],
            bytes: 0,
        }
    }

    /// Adds contents; [`Contents::settle`] has to come before they are asked for.
    pub(super) fn add(&mut self, contents: &[ContentRef]) {
        for content in contents {
            let list = &mut self.lists[usize::from(content.id.0[0])];
            if list.has(&content.id) {
                continue;
            }
            list.new.push(*content);
            // As few times as doubling would, with a quarter of the slack.
            if list.new.len() >= FEW.max(list.sorted.len() / 4) {
                self.bytes += list.settle();
            }
        }
    }

    /// Ends adding.
    pub(super) fn settle(&mut self) {
        for list in &mut self.lists {
            self.bytes += list.settle();
            list.new = Vec::new();
        }
    }

    pub(super) fn has(&self, id: &ContentId) -> bool {
        self.lists[usize::from(id.0[0])].has(id)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.lists.iter().map(|list| list.sorted.len()).sum()
    }

    /// Returns the lengths of all, each once.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns all, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ContentId> {
        self.lists.iter().flat_map(|list| &list.sorted)
    }
}

impl List {
    fn has(&self, id: &ContentId) -> bool {
        self.sorted.binary_search(id).is_ok()
    }

    /// Sorts in what is new; returns its bytes.
    fn settle(&mut self) -> u64 {
        self.new.sort_unstable_by_key(|content| content.id);
        self.new.dedup_by_key(|content| content.id);
        self.sorted.reserve_exact(self.new.len());
        self.sorted
            .extend(self.new.iter().map(|content| content.id));
        // Two sorted runs: this merges them.
        self.sorted.sort();
        self.new.drain(..).map(|content| content.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_set_of_contents_has_each_once_in_order() {
        let mut contents = Contents::new();
        let mut expected = BTreeMap::new();
        for round in 0..40_u64 {
            // Each round shares half of its contents with the next one, and has one of them twice.
            let some = (0..500).map(|n| round * 250 + n).chain([round * 250]);
            let some: Vec<ContentRef> = some
                .map(|n| ContentRef {
                    id: ContentId::of(&n.to_le_bytes()),
                    size: n + 1,
                })
                .collect();
            contents.add(&some);
            expected.extend(some.iter().map(|content| (content.id, content.size)));
        }
        contents.settle();
        assert!(contents.iter().eq(expected.keys()));
        assert_eq!(contents.len(), expected.len());
        assert_eq!(contents.bytes(), expected.values().sum::<u64>());
        assert!(expected.keys().all(|id| contents.has(id)));
        assert!(!contents.has(&ContentId::of(b"another")));
    }
}
