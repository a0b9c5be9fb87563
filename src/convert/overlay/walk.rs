//! Owns finding paths in the tree: symlinks lead inside it, `..` stops at its root, loops end.

use super::arena::{Arena, Child, DirId, LeafId, ROOT};
use super::{Stop, Why, stop};
use crate::error::Result;
use crate::meta::Meta;
use crate::path::{Name, NameRef, Step, TreePath};
use crate::tree::Kind;

/// How many symlinks one path may lead through (Linux's own limit).
const SYMLINKS_MAX: u32 = 40;

/// How many steps the symlinks on one path may put before it, all together: paths are no longer either.
const STEPS_MAX: usize = TreePath::MAX_DEPTH;

/// What to do about a parent that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// Find nothing.
    Tell,
    /// Make it, as an implicit directory.
    Make,
}

/// Where a path's last step is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A name in a directory, there or not.
    Name(DirId, Name),
    /// A directory, found by `..` or as the root.
    Dir(DirId),
}

impl Arena<'_> {
    /// Finds the directory that `path` leads to, the last step followed too.
    pub(super) fn find_dir(&mut self, path: &TreePath) -> Result<Option<DirId>, Stop> {
        self.walk(path.steps(), Missing::Tell)
    }

    /// Finds where `path`'s last step is; that step itself is not followed.
    pub(super) fn find_parent(
        &mut self,
        path: &TreePath,
        missing: Missing,
    ) -> Result<Option<Place>, Stop> {
        let mut parents = path.steps();
        let Some(Step::Child(name)) = parents.next_back() else {
            // All of it is walked: what a `..` leads up from has to be there.
            return Ok(self.walk(path.steps(), missing)?.map(Place::Dir));
        };
        let dir = self.walk(parents, missing)?;
        Ok(dir.map(|dir| Place::Name(dir, name.to_name())))
    }

    /// Walks to a directory; `None` where the way ends and nothing is to be made.
    fn walk<'p>(
        &mut self,
        mut steps: impl Iterator<Item = Step<'p>> + Clone,
        missing: Missing,
    ) -> Result<Option<DirId>, Stop> {
        let mut at = ROOT;
        let mut symlinks = 0;
        let mut detour = Detour::default();
        loop {
            let turn = detour.left.pop();
            let linked = turn.is_some();
            let step = match &turn {
                Some(turn) => turn
                    .as_ref()
                    .map_or(Step::Up, |n| Step::Child(n.borrowed())),
                None => match steps.next() {
                    Some(step) => step,
                    None => return Ok(Some(at)),
                },
            };
            let name = match step {
                Step::Up => {
                    at = self.dirs[at.0].parent;
                    continue;
                }
                Step::Child(name) => name,
            };
            let leaf = match self.child(at, name.as_bytes())? {
                Some(Child::Dir(dir)) => {
                    at = dir;
                    continue;
                }
                Some(Child::Leaf(leaf)) => Some(leaf),
                None => None,
            };
            if let Some(target) = leaf.and_then(|leaf| self.target(leaf)) {
                if missing == Missing::Tell && self.is_replaced(at, name) {
                    return Ok(None);
                }
                self.followed = true;
                symlinks += 1;
                if symlinks > SYMLINKS_MAX {
                    return refuse_or_nothing(missing, "a parent leads through too many symlinks");
                }
                at = if target.first() == Some(&b'/') {
                    ROOT
                } else {
                    at
                };
                match detour.prepend(&target) {
                    Ok(()) => continue,
                    Err(why) => return refuse_or_nothing(missing, &why),
                }
            }
            let up_follows = match detour.left.last() {
                Some(turn) => turn.is_none(),
                None => steps.clone().next() == Some(Step::Up),
            };
            match self.make_parent(at, name, (leaf.is_some(), linked || up_follows), missing)? {
                Some(made) => at = made,
                None => return Ok(None),
            }
        }
    }

    fn is_replaced(&self, dir: DirId, name: NameRef<'_>) -> bool {
        // Mostly empty: then there is nothing to hash.
        !self.replaced.is_empty() && self.replaced.contains(&(dir, name.to_name()))
    }

    fn target(&self, leaf: LeafId) -> Option<Box<[u8]>> {
        match &self.leaves[leaf.0].kind {
            Kind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// Makes a directory where a parent is missing, or where a lower layer has something else.
    fn make_parent(
        &mut self,
        dir: DirId,
        name: NameRef<'_>,
        (occupied, fixed): (bool, bool),
        missing: Missing,
    ) -> Result<Option<DirId>, Stop> {
        if missing == Missing::Tell {
            return Ok(None);
        }
        if fixed {
            return stop(format!(
                "the way to its parent ends at '{name}', which is no directory"
            ));
        }
        if occupied && self.is_fresh(dir, name.as_bytes()) {
            return stop(format!(
                "its parent '{name}' is no directory in the same layer"
            ));
        }
        let made = self.new_dir(dir, Meta::implicit_dir())?;
        self.put(dir, name.to_name(), Child::Dir(made));
        Ok(Some(made))
    }
}

fn refuse_or_nothing(missing: Missing, why: &str) -> Result<Option<DirId>, Stop> {
    match missing {
        Missing::Tell => Ok(None),
        Missing::Make => stop(why),
    }
}

/// The steps that symlinks put before what is left of a path, the next one last; `None` is a step up. They never make
/// anything.
#[derive(Default)]
struct Detour {
    left: Vec<Option<Name>>,
    /// How many there were so far.
    steps: usize,
}

impl Detour {
    fn prepend(&mut self, target: &[u8]) -> Result<(), Why> {
        let target = TreePath::parse(target).map_err(|e| format!("a symlink on the way: {e}"))?;
        self.steps += target.steps().count();
        if self.steps > STEPS_MAX {
            return Err(format!("symlinks on the way take over {STEPS_MAX} steps"));
        }
        self.left
            .extend(target.steps().rev().map(|step| match step {
                Step::Up => None,
                Step::Child(name) => Some(name.to_name()),
            }));
        Ok(())
    }
}
