//! Makes a store, imports a layout into it, and lists its images, each with the first files of its tree.
//!
//! ```sh
//! cargo run --example import_and_list -- STORE LAYOUT
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints, the library does not"
)]

use std::path::Path;
use std::process::ExitCode;

use ocistore::convert::import::{Options, import};
use ocistore::convert::rebuild::rebuild_if_lost;
use ocistore::convert::source::Source;
use ocistore::digest::TreeId;
use ocistore::limits::Limits;
use ocistore::path::escape;
use ocistore::reference::Place;
use ocistore::store::Store;
use ocistore::store::catalog::View;
use ocistore::store::locks::Wait;
use ocistore::tree::{Item, Kind};
use ocistore::watch::Unwatched;
use ocistore::{Error, Result};

/// How many files of each image are listed.
const FILES: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // One line: what could not be done, with what, why, and what helps.
            eprintln!("{e}");
            // As the program has it: 2 for what is not there, 3 for damage, 64 for a wrong call.
            ExitCode::from(e.exit_code())
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [store, layout] = arguments else {
        let why = "expected STORE LAYOUT";
        return Err(Error::usage("import", "a layout", why));
    };

    // Makes the folder if it is not there. A store is opened once and can be used by any number of threads.
    let store = Store::create(Path::new(store), Wait::Forever)?;
    // A new store has no catalog yet, and one that was lost is made again from the files.
    rebuild_if_lost(&store, &Unwatched)?;
    take_in(&store, layout)?;

    // A reader keeps what it finds: no `gc` takes it away before the reader is dropped.
    let reader = store.read()?;
    for entry in reader.store().names()?.entries() {
        // What a third program wrote into the index may have no name.
        let Some(name) = &entry.name else { continue };
        println!("{name} {}", entry.descriptor.digest);
        // A name may lead to an index of several platforms, or to an artifact: then there is no one tree.
        let Some(image) = store.view(|view| view.image(&entry.descriptor.digest))? else {
            continue;
        };
        println!("  {}, {} layers", image.platform, image.layers.len());
        let mut left = FILES;
        store.view(|view| list(view, &image.root, b"", &mut left))?;
    }
    Ok(())
}

/// Imports all images of a layout. A writer is the right to add; what it has put in place stays until it is dropped, and
/// longer where it got a name.
fn take_in(store: &Store, layout: &str) -> Result<()> {
    let writer = store.write()?;
    // `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, or a path of any of them.
    let place = Place::parse(layout);
    // Streams and compressed archives need a file to wait in.
    let scratch = || writer.scratch();
    let source = Source::open(&place, &Limits::default(), &scratch)?;
    let report = import(&writer, &source, &Options::default(), &Unwatched)?;
    println!(
        "{} new layers, {} known, {} new files",
        report.layers_new, report.layers_known, report.objects_new
    );
    // The library prints nothing: what was odd comes back as values.
    for (warning, noted) in report.warnings.iter() {
        println!(
            "warning: {} ({} times, first in {})",
            warning.name(),
            noted.count,
            noted.first
        );
    }
    Ok(())
}

/// Prints files of a directory, and of those in it, until `left` is used up.
///
/// A tree is made of nodes, one a directory; nothing of the host's file system is asked. Names are bytes, and an image may
/// have any in them: `escape` makes them fit for a terminal.
fn list(view: &View, directory: &TreeId, path: &[u8], left: &mut usize) -> Result<()> {
    for (name, item) in view.node(directory)?.entries {
        if *left == 0 {
            break;
        }
        let path = [path, b"/", name.as_bytes()].concat();
        match item {
            Item::Dir(below) => list(view, &below.id, &path, left)?,
            Item::Leaf(leaf) => {
                if let Kind::File(content) = leaf.kind {
                    println!(
                        "  {:o} {:>8} {}",
                        leaf.meta.mode,
                        content.size(),
                        escape(&path)
                    );
                    *left -= 1;
                }
            }
        }
    }
    Ok(())
}
