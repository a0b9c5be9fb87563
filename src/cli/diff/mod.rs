//! `diff`: what differs between the root filesystems of two images, told as it is found.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Diff as Args;
use super::output::{self, Style};
use super::session::Session;
use crate::diff::{Below, Change, Diff, Options, Question, Stat, Sum, Type, What};
use crate::digest::{Digest, TreeId};
use crate::error::Result;
use crate::path::escape;
use crate::store::Store;
use crate::store::catalog::View;

/// How much text is put together before it is printed.
const FULL: usize = 256 << 10;

/// An image that is compared.
struct Side {
    digest: Digest,
    root: TreeId,
}

pub(super) fn run(session: &Session, args: &Args) -> Result<ExitCode> {
    let store = session.open()?;
    let _reading = store.read()?;
    let platform = args.platform.as_deref();
    let sides = (
        side(&store, &args.before, platform)?,
        side(&store, &args.after, platform)?,
    );
    let stat = store.view(|view| print(session, args, view, &sides))?;
    Ok(match args.exit_code && !stat.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn side(store: &Store, reference: &str, platform: Option<&str>) -> Result<Side> {
    let found = store.find_image(reference, platform)?;
    let root = store.image(&found)?.root;
    Ok(Side {
        digest: found.digest,
        root,
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
    let mut diff = Diff::new(view, (before.root, after.root), options, session.watch());
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
        let (before, after) = (before.digest, after.digest);
        let head = format!("{{\n  \"schema\": 1,\n  \"a\": \"{before}\",\n  \"b\": \"{after}\",\n");
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
