//! Owns finding paths in the tree: symlinks lead inside it, `..` stops at its root, loops end.

use std::collections::VecDeque;

use super::arena::{Arena, Child, DirId, LeafId, ROOT};
use super::{Stop, Why, stop};
use crate::error::Result;
use crate::meta::Meta;
use crate::path::{Name, Step, TreePath};
use crate::tree::Kind;

/// How many symlinks one path may lead through (Linux's own limit).
const SYMLINKS_MAX: u32 = 40;

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

/// A step on the way, and whether it was written by a symlink: those never make anything.
struct Next {
    step: Step,
    linked: bool,
}

impl Arena<'_> {
    /// Finds the directory that `path` leads to, the last step followed too.
    pub(super) fn find_dir(&mut self, path: &TreePath) -> Result<Option<DirId>, Stop> {
        self.walk(ROOT, queue(path), Missing::Tell)
    }

    /// Finds where `path`'s last step is; that step itself is not followed.
    pub(super) fn find_parent(
        &mut self,
        path: &TreePath,
        missing: Missing,
    ) -> Result<Option<Place>, Stop> {
        let Some((last, parents)) = path.0.split_last() else {
            return Ok(Some(Place::Dir(ROOT)));
        };
        let steps = queue(&TreePath(parents.to_vec()));
        let Some(dir) = self.walk(ROOT, steps, missing)? else {
            return Ok(None);
        };
        Ok(Some(match last {
            Step::Child(name) => Place::Name(dir, name.clone()),
            Step::Up => Place::Dir(self.dirs[dir.0].parent),
        }))
    }

    /// Walks to a directory; `None` where the way ends and nothing is to be made.
    fn walk(
        &mut self,
        from: DirId,
        mut steps: VecDeque<Next>,
        missing: Missing,
    ) -> Result<Option<DirId>, Stop> {
        let mut at = from;
        let mut symlinks = 0;
        while let Some(Next { step, linked }) = steps.pop_front() {
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
                if missing == Missing::Tell && self.is_replaced(at, &name) {
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
                match prepend(&mut steps, &target) {
                    Ok(()) => continue,
                    Err(why) => return refuse_or_nothing(missing, &why),
                }
            }
            let up_follows = matches!(steps.front(), Some(Next { step: Step::Up, .. }));
            match self.make_parent(at, name, (leaf.is_some(), linked || up_follows), missing)? {
                Some(made) => at = made,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn is_replaced(&self, dir: DirId, name: &Name) -> bool {
        // Mostly empty: then there is nothing to hash.
        !self.replaced.is_empty() && self.replaced.contains(&(dir, name.clone()))
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
        name: Name,
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
        self.put(dir, name, Child::Dir(made));
        Ok(Some(made))
    }
}

fn refuse_or_nothing(missing: Missing, why: &str) -> Result<Option<DirId>, Stop> {
    match missing {
        Missing::Tell => Ok(None),
        Missing::Make => stop(why),
    }
}

fn queue(path: &TreePath) -> VecDeque<Next> {
    path.0
        .iter()
        .map(|step| Next {
            step: step.clone(),
            linked: false,
        })
        .collect()
}

fn prepend(steps: &mut VecDeque<Next>, target: &[u8]) -> Result<(), Why> {
    let target = TreePath::parse(target).map_err(|e| format!("a symlink on the way: {e}"))?;
    if steps.len() + target.0.len() > 2 * TreePath::MAX_DEPTH {
        return Err("symlinks on the way make a path too deep".to_owned());
    }
    for step in target.0.into_iter().rev() {
        steps.push_front(Next { step, linked: true });
    }
    Ok(())
}
