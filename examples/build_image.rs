//! Makes an image of a directory, with a config that says what to run, and exports it to a layout.
//!
//! ```sh
//! cargo run --example build_image -- STORE DIRECTORY NAME LAYOUT PROGRAM
//! ```
//!
//! The same directory gives the same digest each time: the image says that it was made in 1970.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints, the library does not"
)]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use ocistore::build::commit::{self, Extent, Labels, Source, Unchanged, commit};
use ocistore::build::config::{Edit, edit};
use ocistore::build::documents::{Changes, History};
use ocistore::compress::Compression;
use ocistore::convert::export::{self, Export, export};
use ocistore::convert::rebuild::rebuild_if_lost;
use ocistore::error::Context as _;
use ocistore::reference::{ImageName, Place};
use ocistore::rootfs::{Ownership, scan};
use ocistore::store::locks::Wait;
use ocistore::store::{Store, host_platform};
use ocistore::time::Time;
use ocistore::watch::Unwatched;
use ocistore::{Error, Result};

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
    let [store, directory, name, layout, program] = arguments else {
        let why = "expected STORE DIRECTORY NAME LAYOUT PROGRAM";
        return Err(Error::usage("build", "an image", why));
    };
    let store = Store::create(Path::new(store), Wait::Forever)?;
    // A new store has no catalog yet, and one that was lost is made again from the files.
    rebuild_if_lost(&store, &Unwatched)?;
    let name = ImageName::parse(name).map_err(|e| Error::usage("name", name, e.to_string()))?;

    take_in(&store, Path::new(directory), &name)?;
    set_program(&store, &name, program)?;
    give_back(&store, &name, layout)
}

/// Makes the image: one layer of all that is in the directory.
fn take_in(store: &Store, directory: &Path, name: &ImageName) -> Result<()> {
    let dir = File::open(directory).context("open", directory.display())?;
    let source = Source {
        dir: dir.as_fd(),
        // With a base, which is an image of the store, the layer would have what differs from that.
        base: None,
        upper: None,
    };
    let labels = Labels {
        created: Time::of_unix(0),
        changes: Changes::default(),
        history: Some(history("a directory")),
        unchanged: Unchanged::Unsaid,
        platform: host_platform(),
    };
    let options = commit::Options {
        scan: scan::Options {
            // As root files belong in the image to whom they belong here; else all of them to root.
            owners: Ownership::of_process(),
            mask: scan::Mask::default(),
            clamp: None,
        },
        extent: Extent::Changes,
        compression: Compression::Zstd,
        jobs: None,
    };
    let writer = store.write()?;
    let names = std::slice::from_ref(name);
    let made = commit(&writer, source, (labels, &options), names, &Unwatched)?;
    if let Some(layer) = made.layer {
        println!("layer of {} entries", layer.entries);
    }
    Ok(())
}

/// Gives the name to an image of the same layer that says which program to run.
fn set_program(store: &Store, name: &ImageName, program: &str) -> Result<()> {
    // The writer comes first: what is found while it is there stays.
    let writer = store.write()?;
    let manifest = store.find_image(&name.to_string(), None)?;
    let set = [
        format!("entrypoint={program}"),
        "label=org.example.made-with=ocistore".to_owned(),
    ];
    let change = Edit {
        changes: Changes::parse(&set, &[])?,
        history: Some(history("its program")),
    };
    let names = std::slice::from_ref(name);
    let digest = edit(&writer, &manifest, change, names, &Unwatched)?;
    println!("{name} {digest}");
    Ok(())
}

/// Exports the image to a layout, which other tools read, under its tag.
fn give_back(store: &Store, name: &ImageName, layout: &str) -> Result<()> {
    let reader = store.read()?;
    let image = Export {
        descriptor: store.find(&name.to_string())?,
        name: name.tag().unwrap_or("latest").to_owned(),
    };
    let place = Place::parse(&format!("oci:{layout}"));
    let options = export::Options::default();
    let report = export(&reader, &[image], &place, &options, &Unwatched)?;
    println!(
        "{} blobs written to {layout}, {} were there",
        report.blobs_written, report.blobs_present
    );
    Ok(())
}

/// Returns an entry of the image's history.
fn history(comment: &str) -> History {
    History {
        created: Some(Time::of_unix(0)),
        created_by: Some("build_image".to_owned()),
        author: None,
        comment: Some(comment.to_owned()),
    }
}
