//! Owns one directory of a walk through two trees: the entries of both sides, name by name.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::path::Name;
use crate::tree::Item;

/// A directory that one or both trees have.
pub(crate) struct Level {
    /// The length of its path.
    pub(crate) base: usize,
    before: Peekable<IntoIter<(Name, Item)>>,
    after: Peekable<IntoIter<(Name, Item)>>,
}

/// What a name leads to.
pub(crate) enum Pair {
    /// Only the first tree has it.
    Before(Item),
    /// Only the second tree has it.
    After(Item),
    /// Both have it.
    Both(Item, Item),
}

impl Level {
    pub(crate) fn new(base: usize, before: Vec<(Name, Item)>, after: Vec<(Name, Item)>) -> Self {
        Self {
            base,
            before: before.into_iter().peekable(),
            after: after.into_iter().peekable(),
        }
    }

    /// Returns the next name of either side.
    pub(crate) fn next(&mut self) -> Option<(Name, Pair)> {
        let order = match (self.before.peek(), self.after.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((before, _)), Some((after, _))) => before.cmp(after),
        };
        let before = match order {
            Ordering::Less | Ordering::Equal => self.before.next(),
            Ordering::Greater => None,
        };
        let after = match order {
            Ordering::Less => None,
            Ordering::Greater | Ordering::Equal => self.after.next(),
        };
        match (before, after) {
            (Some((name, before)), Some((_, after))) => Some((name, Pair::Both(before, after))),
            (Some((name, before)), None) => Some((name, Pair::Before(before))),
            (None, Some((name, after))) => Some((name, Pair::After(after))),
            (None, None) => None,
        }
    }
}
