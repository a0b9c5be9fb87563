//! Owns `--path SUB`: which part of a tree a checkout is of.

use super::planner::Start;
use crate::digest::TreeId;
use crate::error::{Error, Result};
use crate::path::{Name, Step, TreePath, escape};
use crate::store::catalog::View;
use crate::tree::{Item, Kind};

const ACT: &str = "check out the path";

/// Returns where a checkout of `sub` in the tree `root` begins.
///
/// A directory becomes the checkout's root. Anything else stays the one entry of its directory, which becomes the root.
/// Symlinks on the way are not followed: the error says where they lead.
pub(super) fn start(view: &View, root: &TreeId, sub: Option<&TreePath>) -> Result<Start> {
    let Some(sub) = sub else {
        return Ok(Start {
            id: *root,
            only: None,
            base: Vec::new(),
        });
    };
    let mut way: Vec<(TreeId, Name)> = Vec::new();
    let mut steps = sub.steps().peekable();
    while let Some(step) = steps.next() {
        let Step::Child(name) = step else {
            way.pop();
            continue;
        };
        let name = &name.to_name();
        let here = way.last().map_or(*root, |(id, _)| *id);
        match view.node(&here)?.get(name.as_bytes()) {
            None => {
                return Err(Error::missing(
                    ACT,
                    shown(sub),
                    format!("there is no '{}'", display(&way, name)),
                ));
            }
            Some(Item::Dir(subtree)) => way.push((subtree.id, name.clone())),
            Some(Item::Leaf(_)) if steps.peek().is_none() => {
                return Ok(Start {
                    id: here,
                    only: Some(name.clone()),
                    base: join(&way),
                });
            }
            Some(Item::Leaf(leaf)) => return Err(blocked(sub, &display(&way, name), &leaf.kind)),
        }
    }
    let id = way.last().map_or(*root, |(id, _)| *id);
    Ok(Start {
        id,
        only: None,
        base: join(&way),
    })
}

fn blocked(sub: &TreePath, at: &str, kind: &Kind) -> Error {
    match kind {
        Kind::Symlink(target) => Error::missing(
            ACT,
            shown(sub),
            format!("'{at}' is a symlink to '{}'", escape(target)),
        )
        .hint("name the path it leads to"),
        Kind::File(_) | Kind::Char(_) | Kind::Block(_) | Kind::Fifo => {
            Error::missing(ACT, shown(sub), format!("'{at}' is not a directory"))
        }
    }
}

fn shown(sub: &TreePath) -> String {
    format!("'{sub}'")
}

fn join(way: &[(TreeId, Name)]) -> Vec<u8> {
    let names: Vec<&[u8]> = way.iter().map(|(_, name)| name.as_bytes()).collect();
    names.join(&b'/')
}

fn display(way: &[(TreeId, Name)], name: &Name) -> String {
    let mut path = join(way);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    escape(&path)
}
