//! `diff`: what differs between the root filesystems of two images, or of an image and a directory, told as it is found.

mod tar;

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Diff as Args;
use super::output::{self, Style};
use super::session::Session;
use crate::build::compare;
use crate::diff::{Below, Change, Diff, Options, Question, Stat, Sum, Type, What};
use crate::digest::TreeId;
use crate::error::{Cause, Result};
use crate::path::escape;
use crate::rootfs::scan::{Hashing, Intake, Scanned};
use crate::store::Store;
use crate::store::catalog::View;
use crate::tree::{Layered, NewNodes, Nodes};

/// How much text is put together before it is printed.
const FULL: usize = 256 << 10;

/// What is compared.
pub(super) struct Side {
    /// The digest of an image, or the path of a directory.
    name: String,
    pub(super) root: TreeId,
    /// A directory's nodes that the catalog does not have.
    nodes: NewNodes,
}

impl Side {
    /// Returns where the nodes of this side come from.
    pub(super) fn over<'a>(&'a self, under: &'a dyn Nodes) -> Layered<'a> {
        Layered {
            over: &self.nodes,
            under,
        }
    }
}

pub(super) fn run(session: &Session, args: &Args) -> Result<ExitCode> {
    let store = session.open()?;
    let differs = match &args.output {
        Some(output) => tar::run(session, args, (&store, output))?,
        None => {
            let _reading = store.read()?;
            let before = image_side(&store, &args.before, args)?;
            let after = after(session, &store, (args, &before), &Hashing)?;
            let stat = store.view(|view| print(session, args, view, &(before, after)))?;
            !stat.is_empty()
        }
    };
    Ok(match args.exit_code && differs {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

pub(super) fn image_side(store: &Store, reference: &str, args: &Args) -> Result<Side> {
    let found = store.find_image(reference, args.platform.as_deref())?;
    Ok(Side {
        name: found.digest.to_string(),
        root: store.image(&found)?.root,
        nodes: NewNodes::new(),
    })
}

/// Returns the second side: an image, or a directory where the text can only mean one, or no image has that name.
pub(super) fn after(
    session: &Session,
    store: &Store,
    (args, before): (&Args, &Side),
    intake: &dyn Intake,
) -> Result<Side> {
    let path = Path::new(&args.after);
    if !args.after.starts_with(['/', '.']) {
        match image_side(store, &args.after, args) {
            Err(e) if matches!(e.cause(), Cause::Missing(_)) && path.is_dir() => {}
            other => return other,
        }
    }
    let Scanned {
        root,
        nodes,
        record: _,
    } = compare::directory((store, path), &before.root, intake, session.watch())?;
    Ok(Side {
        name: args.after.clone(),
        root,
        nodes,
    })
}

fn print(session: &Session, args: &Args, view: &View, sides: &(Side, Side)) -> Result<Stat> {
    let (before, after) = sides;
    let options = Options {
        question: match args.content {
            true => Question::Content,
            false => Question::All,
        },
        below: match args.stat {
            true => Below::Counted,
            false => Below::Listed,
        },
    };
    let nodes = after.over(view);
    let roots = (before.root, after.root);
    let mut diff = Diff::new(&nodes, roots, options, session.watch());
    let mut printer = Printer {
        view,
        shape: shape(session, args),
        text: String::new(),
        told: 0,
    };
    printer.begin(sides);
    while let Some(change) = diff.next_change()? {
        printer.change(&change)?;
    }
    printer.end(&diff)?;
    Ok(diff.stat())
}

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A letter and a path a line.
    Lines,
    /// The same, and in what an entry differs.
    Aspects,
    /// A path a line.
    Paths,
    /// A table of the counts.
    Table,
    /// How many paths differ.
    Count,
    /// One document, with all changes.
    Json,
    /// One document, without them.
    JsonStat,
}

fn shape(session: &Session, args: &Args) -> Shape {
    match (session.style(), args.stat) {
        (Style::Json, false) => Shape::Json,
        (Style::Json, true) => Shape::JsonStat,
        (Style::Quiet, false) => Shape::Paths,
        (Style::Quiet, true) => Shape::Count,
        (Style::Text, true) => Shape::Table,
        (Style::Text, false) if args.metadata => Shape::Aspects,
        (Style::Text, false) => Shape::Lines,
    }
}

/// Prints changes as they come: there may be more of them than anyone wants to hold.
struct Printer<'v> {
    view: &'v View,
    shape: Shape,
    text: String,
    told: u64,
}

impl Printer<'_> {
    fn begin(&mut self, (before, after): &(Side, Side)) {
        let (before, after) = (json!(before.name), json!(after.name));
        let head = format!("{{\n  \"schema\": 1,\n  \"a\": {before},\n  \"b\": {after},\n");
        match self.shape {
            Shape::Json => self.text += &(head + "  \"changes\": ["),
            Shape::JsonStat => self.text += &head,
            Shape::Lines | Shape::Aspects | Shape::Paths | Shape::Table | Shape::Count => {}
        }
    }

    fn change(&mut self, change: &Change<'_>) -> Result<()> {
        match self.shape {
            Shape::Lines => self.text += &format!("{}\n", line(change)),
            Shape::Aspects => self.text += &format!("{}{}\n", line(change), aspects(change)),
            Shape::Paths => self.text += &format!("/{}\n", escape(change.path)),
            Shape::Json => {
                let comma = if self.told == 0 { "" } else { "," };
                self.text += &format!("{comma}\n    {}", json_of(change));
            }
            Shape::Table | Shape::Count | Shape::JsonStat => {}
        }
        self.told += 1;
        match self.text.len() < FULL {
            true => Ok(()),
            false => self.print(),
        }
    }

    fn end(&mut self, diff: &Diff<'_>) -> Result<()> {
        let stat = diff.stat();
        let Stat {
            added,
            deleted,
            changed,
        } = stat;
        let close = match self.told {
            0 => "],\n",
            _ => "\n  ],\n",
        };
        let tail = format!(
            "  \"differs\": {},\n  \"stat\": {},\n  \"nodes_read\": {}\n}}\n",
            !stat.is_empty(),
            json!(stat),
            diff.nodes_read()
        );
        match self.shape {
            Shape::Lines | Shape::Aspects | Shape::Paths => {}
            Shape::Table => self.text += &table(&stat),
            Shape::Count => {
                let paths = added.paths + deleted.paths + changed.paths;
                self.text += &format!("{paths}\n");
            }
            Shape::Json => self.text += &(close.to_owned() + &tail),
            Shape::JsonStat => self.text += &tail,
        }
        self.print()
    }

    fn print(&mut self) -> Result<()> {
        // Whoever reads may take their time: nobody waits for the catalog meanwhile.
        self.view.rest();
        output::print_bytes(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

fn letter(what: &What) -> char {
    match what {
        What::Added => 'A',
        What::Deleted => 'D',
        What::Changed(_) => 'C',
    }
}

fn line(change: &Change<'_>) -> String {
    format!("{} /{}", letter(&change.what), escape(change.path))
}

/// Returns a tab, which no escaped path has in it, and the names of what differs.
fn aspects(change: &Change<'_>) -> String {
    match &change.what {
        What::Added | What::Deleted => String::new(),
        What::Changed(aspects) => {
            let names: Vec<&str> = aspects.iter().map(|aspect| aspect.name()).collect();
            format!("\t{}", names.join(","))
        }
    }
}

fn json_of(change: &Change<'_>) -> Value {
    let Change { path, what, kind } = change;
    let mut json = json!({
        "change": letter(what),
        "path": format!("/{}", escape(path)),
        "type": kind.name(),
    });
    if let Type::File(size) = kind {
        json["size"] = json!(size);
    }
    if let What::Changed(aspects) = what {
        json["differs_in"] = aspects.iter().map(|aspect| aspect.name()).collect();
    }
    json
}

fn table(stat: &Stat) -> String {
    let Stat {
        added,
        deleted,
        changed,
    } = stat;
    let head = ["", "PATHS", "FILES", "BYTES"].map(str::to_owned).to_vec();
    let row = |what: &str, sum: &Sum| {
        let Sum {
            paths,
            files,
            bytes,
        } = sum;
        vec![
            what.to_owned(),
            paths.to_string(),
            files.to_string(),
            output::bytes(*bytes),
        ]
    };
    let rows = [
        head,
        row("added", added),
        row("deleted", deleted),
        row("changed", changed),
    ];
    output::table(&rows, &[1, 2, 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Aspect;

    #[test]
    fn a_path_that_a_terminal_would_obey_is_one_line_of_printable_text() {
        let change = Change {
            path: b"a/\x1b[2J\nA /b\t\\\xff",
            what: What::Changed(vec![Aspect::Content, Aspect::Mtime]),
            kind: Type::File(3),
        };
        let path = r"/a/\x1b[2J\x0aA /b\x09\\\xff";
        assert_eq!(line(&change), format!("C {path}"));
        assert_eq!(aspects(&change), "\tcontent,mtime");
        assert_eq!(
            json_of(&change),
            json!({
                "change": "C", "path": path, "type": "file", "size": 3, "differs_in": ["content", "mtime"]
            })
        );
    }
}
