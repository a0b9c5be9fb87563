//! Owns reading one file of an image out of its tree: symlinks are resolved inside the tree, by the tree alone.

use std::collections::VecDeque;
use std::io::Read as _;

use crate::digest::{ContentId, TreeId};
use crate::error::{Context, Error, Result};
use crate::path::{Name, Step, TreePath};
use crate::store::Store;
use crate::tree::{Content, Item, Kind, Nodes};

const ACT: &str = "read the image's file";

/// How many symlinks are followed, as the kernel has it (path_resolution(7)).
const SYMLINKS_MAX: usize = 40;

/// What is left of a way: a name, or up.
type Steps = VecDeque<Option<Name>>;

/// Finds the regular file at `path` in the tree `root`; `None` where nothing is there.
pub(super) fn find_file(nodes: &dyn Nodes, root: &TreeId, path: &str) -> Result<Option<Content>> {
    let mut followed = 0;
    let mut way = vec![*root];
    let mut steps = parse(path, path.as_bytes())?;
    while let Some(step) = steps.pop_front() {
        let Some(name) = step else {
            // The root is its own parent.
            way.truncate(way.len().saturating_sub(1).max(1));
            continue;
        };
        let here = way.last().unwrap_or(root);
        let node = nodes.node(here)?;
        let kind = match node.get(name.as_bytes()) {
            None => return Ok(None),
            Some(Item::Dir(subtree)) => {
                way.push(subtree.id);
                continue;
            }
            Some(Item::Leaf(leaf)) => &leaf.kind,
        };
        match kind {
            Kind::Symlink(target) => {
                followed += 1;
                if followed > SYMLINKS_MAX {
                    return Err(refuse(path, "more than 40 symlinks lead to it"));
                }
                if target.starts_with(b"/") {
                    way.truncate(1);
                }
                let mut before = parse(path, target)?;
                before.append(&mut steps);
                steps = before;
            }
            Kind::File(content) if steps.is_empty() => return Ok(Some(*content)),
            Kind::Char(_) | Kind::Block(_) | Kind::Fifo if steps.is_empty() => {
                return Err(refuse(path, "it is not a regular file"));
            }
            // Nothing can be below it.
            Kind::File(_) | Kind::Char(_) | Kind::Block(_) | Kind::Fifo => return Ok(None),
        }
    }
    Err(refuse(path, "it is a directory"))
}

fn parse(path: &str, bytes: &[u8]) -> Result<Steps> {
    let parsed = TreePath::parse(bytes).map_err(|e| refuse(path, e.to_string()))?;
    let name = |step| match step {
        Step::Up => None,
        Step::Child(name) => Some(name.to_name()),
    };
    Ok(parsed.steps().map(name).collect())
}

fn refuse(path: &str, why: impl Into<String>) -> Error {
    Error::malformed(ACT, format!("'{path}'"), why)
}

/// Reads a content that is at most `most` bytes long, and checks that it is the one.
pub(super) fn read_content(
    store: &Store,
    content: Content,
    most: u64,
    path: &str,
) -> Result<Vec<u8>> {
    let (id, size) = match content {
        Content::Empty => return Ok(Vec::new()),
        Content::Object { id, size } => (id, size),
    };
    if size > most {
        let why = format!("it has {size} bytes, more than {most}");
        return Err(refuse(path, why));
    }
    let mut bytes = Vec::new();
    let file = store.open_object(&id)?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .context("read the object", id)?;
    if ContentId::of(&bytes) != id {
        let why = "its bytes are not what its name says";
        return Err(
            Error::damaged("read the object", id, why).hint("`ocistore fsck --repair` mends it")
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Meta;
    use crate::tree::{Leaf, NewNodes, Node};

    /// A directory: names and what they lead to.
    type Folder<'a> = &'a [(&'a str, Thing<'a>)];

    enum Thing<'a> {
        Dir(Folder<'a>),
        Symlink(&'a str),
        File(u64),
        Fifo,
    }
    use Thing::{Dir, Fifo, File, Symlink};

    struct Tree(NewNodes);

    impl Nodes for Tree {
        fn node(&self, id: &TreeId) -> Result<Node> {
            Ok(Node::decode(&self.0[id]).unwrap())
        }
    }

    fn item(thing: &Thing<'_>, nodes: &mut NewNodes) -> Item {
        let leaf = |kind| {
            Item::Leaf(Leaf {
                kind,
                meta: Meta::default(),
                group: None,
            })
        };
        match thing {
            Dir(folder) => Item::Dir(node(folder, nodes).encode_into(nodes)),
            Symlink(target) => leaf(Kind::Symlink(target.as_bytes().into())),
            File(0) => leaf(Kind::File(Content::Empty)),
            File(size) => leaf(Kind::File(Content::Object {
                id: ContentId::of(b"x"),
                size: *size,
            })),
            Fifo => leaf(Kind::Fifo),
        }
    }

    fn node(folder: Folder<'_>, nodes: &mut NewNodes) -> Node {
        let mut entries: Vec<(Name, Item)> = folder
            .iter()
            .map(|(name, thing)| (Name::parse(name.as_bytes()).unwrap(), item(thing, nodes)))
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Node {
            entries,
            ..Node::default()
        }
    }

    fn find(folder: Folder<'_>) -> Result<Option<u64>> {
        let mut nodes = NewNodes::new();
        let root = node(folder, &mut nodes).encode_into(&mut nodes).id;
        let found = find_file(&Tree(nodes), &root, "/etc/passwd")?;
        Ok(found.map(Content::size))
    }

    #[test]
    fn symlinks_lead_where_they_would_with_the_image_as_the_root() {
        let usr = ("usr", Dir(&[("etc", Dir(&[("passwd", File(7))]))]));
        let passwd = Dir(&[("passwd", File(3))]);
        let found = |folder: Folder<'_>| find(folder).unwrap();
        assert_eq!(found(&[("etc", passwd)]), Some(3));
        assert_eq!(found(&[("etc", Symlink("usr/etc")), usr]), Some(7));
        let usr = || ("usr", Dir(&[("etc", Dir(&[("passwd", File(7))]))]));
        for target in [
            "/usr/etc/passwd",
            "../usr/etc/passwd",
            // Nothing is above the root.
            "../../../../usr/./etc//passwd",
            "/../usr/etc/passwd",
        ] {
            let etc = [("passwd", Symlink(target))];
            assert_eq!(found(&[("etc", Dir(&etc)), usr()]), Some(7), "{target}");
        }
        let through = [
            ("etc", Dir(&[("passwd", Symlink("/run/users"))])),
            ("run", Symlink("/var/run")),
            (
                "var",
                Dir(&[("run", Dir(&[("users", Symlink("../../usr/etc/passwd"))]))]),
            ),
            usr(),
        ];
        assert_eq!(found(&through), Some(7));
    }

    #[test]
    fn what_is_nowhere_is_nothing() {
        let found = |folder: Folder<'_>| find(folder).unwrap();
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("etc", Dir(&[]))]), None);
        assert_eq!(found(&[("etc", File(1))]), None);
        assert_eq!(found(&[("etc", Fifo)]), None);
        assert_eq!(found(&[("etc", Symlink("gone"))]), None);
        assert_eq!(
            found(&[("etc", Dir(&[("passwd", Symlink("/gone/too"))]))]),
            None
        );
        assert_eq!(found(&[("etc", Dir(&[("passwd", File(0))]))]), Some(0));
    }

    #[test]
    fn what_is_there_and_no_file_is_refused() {
        let said = |thing| {
            find(&[("etc", Dir(&[("passwd", thing)]))])
                .unwrap_err()
                .to_string()
        };
        let why = "cannot read the image's file '/etc/passwd': ";
        assert_eq!(said(Fifo), format!("{why}it is not a regular file"));
        assert_eq!(said(Dir(&[])), format!("{why}it is a directory"));
        assert_eq!(
            said(Symlink("passwd")),
            format!("{why}more than 40 symlinks lead to it")
        );
        assert_eq!(said(Symlink("/")), format!("{why}it is a directory"));
        let long = "x".repeat(256);
        assert!(said(Symlink(&long)).contains("a name of 256 bytes"));
    }
}
