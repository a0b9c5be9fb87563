//! Prints the paths that differ between two images of a store, and in what they do.
//!
//! ```sh
//! cargo run --example diff_images -- STORE BEFORE AFTER
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints, the library does not"
)]

use std::path::Path;
use std::process::ExitCode;

use ocistore::convert::rebuild::rebuild_if_lost;
use ocistore::diff::{Diff, Options, What};
use ocistore::path::escape;
use ocistore::store::Store;
use ocistore::store::locks::Wait;
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
    let [store, before, after] = arguments else {
        let why = "expected STORE BEFORE AFTER";
        return Err(Error::usage("compare", "two images", why));
    };

    let store = Store::open(Path::new(store), Wait::Forever)?;
    // A catalog that was lost is made again from the files.
    rebuild_if_lost(&store, &Unwatched)?;
    // Held for as long as the trees are looked at: what it finds, no `gc` takes away.
    let _reader = store.read()?;
    // A name or a digest; of an index of several platforms the image for this machine.
    let root = |reference: &String| {
        let manifest = store.find_image(reference, None)?;
        Ok::<_, Error>(store.image(&manifest)?.root)
    };
    let roots = (root(before)?, root(after)?);

    // Both trees are walked at once, and what has one hash in both is not looked at: this takes as long as there are
    // differences, not as long as there are files.
    let nodes_read = store.view(|view| {
        let mut diff = Diff::new(view, roots, Options::default(), &Unwatched);
        while let Some(change) = diff.next_change()? {
            let path = escape(change.path);
            match &change.what {
                What::Added => println!("added    /{path}"),
                What::Deleted => println!("deleted  /{path}"),
                What::Changed(aspects) => {
                    let aspects: Vec<&str> = aspects.iter().map(|aspect| aspect.name()).collect();
                    println!("changed  /{path} ({})", aspects.join(", "));
                }
            }
        }
        Ok(diff.nodes_read())
    })?;
    println!("{nodes_read} directories were read");
    Ok(())
}
