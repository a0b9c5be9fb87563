//! Owns what a power cut leaves of an export to a layout: what the index names is there, byte for byte.

use std::fs;
use std::path::Path;

use super::run::{Bounds, Checked, During as _, Outcome, run};
use super::scenario::{Step, World, scratch};
use super::states::Disk;
use crate::convert::export::{Export, Options, export};
use crate::digest::Digest;
use crate::reference::{Pick, Place};
use crate::store::Store;
use crate::store::durable::recorder::{Omit, Recorder};
use crate::store::locks::Wait;
use crate::watch::Unwatched;

/// What is exported one after another: a source and its name in the store.
const IMAGES: [(usize, &str); 2] = [(0, "a:1"), (1, "b:1")];

/// Exports two images into one layout and checks the states that a power cut may leave.
pub(super) fn run_exports(world: &World, bounds: Bounds, omit: Omit) -> Outcome {
    let (beside, disk) = (scratch(), scratch());
    let root = beside.path().join("store");
    for (source, name) in IMAGES {
        world.perform(&root, Step::Import(source, name)).unwrap();
    }
    let store = Store::open(&root, Wait::Never).unwrap();
    let watching = Recorder::watch(disk.path(), omit);
    for (_, name) in IMAGES {
        give(&store, name, &disk.path().join("layout")).unwrap();
        watching.finished();
    }
    let states = Disk::new(watching.end());
    run(&states, bounds, &|state, disk, _| {
        let layout = disk.join("layout");
        let names = names(&layout)?;
        if names < state.finished || names > (state.finished + 1).min(IMAGES.len()) {
            return Err(format!("the layout has {names} names"));
        }
        check(world, &layout, names)?;
        for (_, name) in IMAGES {
            give(&store, name, &layout)?;
        }
        check(world, &layout, IMAGES.len())?;
        let strays = fs::read_dir(&layout).unwrap().flatten();
        let strays = strays.filter(|e| e.file_name().to_string_lossy().starts_with('.'));
        match strays.count() {
            0 => Ok(()),
            some => Err(format!("{some} folders of dead exports are left")),
        }
    })
}

fn give(store: &Store, name: &str, layout: &Path) -> Checked<()> {
    let reader = store.read().during("reading")?;
    let wanted = [Export {
        descriptor: store.find(name).during("finding")?,
        name: name.to_owned(),
    }];
    let place = Place::Layout(layout.to_owned(), Pick::All);
    let options = Options {
        jobs: 1,
        ..Options::default()
    };
    export(&reader, &wanted, &place, &options, &Unwatched).during("exporting")?;
    Ok(())
}

/// How many names a layout has; none where there is no index.
fn names(layout: &Path) -> Checked<usize> {
    let Ok(bytes) = fs::read(layout.join("index.json")) else {
        return Ok(0);
    };
    let index: serde_json::Value = serde_json::from_slice(&bytes).during("reading the index")?;
    let entries = index["manifests"].as_array();
    entries
        .map(Vec::len)
        .ok_or_else(|| "the index has no manifests".to_owned())
}

/// The blobs of the first `images` are there, byte for byte, and with them what makes a layout.
fn check(world: &World, layout: &Path, images: usize) -> Checked<()> {
    for (source, name) in &IMAGES[..images] {
        for blob in &world.sources[*source].blobs {
            let bytes =
                fs::read(layout.join("blobs/sha256").join(blob)).during("reading a blob")?;
            if Digest::sha256(&bytes).hex() != *blob {
                return Err(format!("a blob of {name} has other bytes"));
            }
        }
    }
    if images > 0 {
        fs::read(layout.join("oci-layout")).during("reading the mark of a layout")?;
    }
    Ok(())
}
