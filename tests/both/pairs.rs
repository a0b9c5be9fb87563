//! Images of a tree that changes, and checkouts that are updated from one to another: whole, changed by somebody, and
//! stopped on the way.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ocistore::build::checkout::{Wanted, checkout};
use ocistore::build::commit::Source;
use ocistore::build::update::{Local, Request, update};
use ocistore::convert::rebuild::rebuild_if_lost;
use ocistore::error::Cause;
use ocistore::image::Image;
use ocistore::rootfs::{Flush, LinkMode, Options};
use ocistore::store::Store;
use ocistore::store::locks::Wait;
use ocistore::watch::{Unwatched, Watch};
use ocistore::wire::Descriptor;

use crate::chance::Chance;
use crate::change::{Change, draw, make};
use crate::scene::{NEWEST, make_image};
use crate::seen::{Tree, assert_same, tree};

/// A time after that of anything in an image: changes of a checkout are told apart by it.
const NEVER: i64 = i64::MAX;

struct Made {
    manifest: Descriptor,
    image: Image,
    seen: Tree,
}

impl Made {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            manifest: &self.manifest,
            root: &self.image.root,
        }
    }
}

/// Stops whoever asks for the so-manieth time.
struct StopsAt(AtomicU64);

impl Watch for StopsAt {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn stop(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }
}

/// Updates a checkout of each kind `count` times.
pub(crate) fn try_pairs(chance: &mut Chance, count: u64) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
    rebuild_if_lost(&store, &Unwatched).unwrap();
    let made = images(&store, &dir.path().join("made"), chance);
    for link in [LinkMode::Hardlink, LinkMode::Copy] {
        let options = Options {
            link,
            flush: Flush::Never,
            ..Options::default()
        };
        let at = dir.path().join(format!("{link:?}"));
        let first = chance.pick(&made).unwrap();
        let writer = store.write().unwrap();
        let done = checkout(&writer, first.wanted(), &at, &options, &Unwatched);
        assert!(done.unwrap().1.is_none());
        assert_same(&first.seen, &tree(&at, NEVER), "laid out");
        drop(writer);
        for _ in 0..count {
            step(&store, &at, (&made, link), chance);
        }
    }
}

fn images(store: &Store, at: &Path, chance: &mut Chance) -> Vec<Made> {
    fs::create_dir(at).unwrap();
    let mut made = Vec::new();
    for nth in 0..4 {
        let changes = if nth == 0 { 80 } else { chance.below(25) };
        for _ in 0..changes {
            make(at, &draw(&tree(at, NEWEST), chance));
        }
        let folder = File::open(at).unwrap();
        let source = Source {
            dir: folder.as_fd(),
            base: None,
            upper: None,
        };
        let committed = make_image(store, source, &format!("image{nth}")).unwrap();
        let image = store.image(&committed.manifest).unwrap();
        let seen = tree(at, NEWEST);
        made.push(Made {
            manifest: committed.manifest,
            image,
            seen,
        });
    }
    made
}

fn step(store: &Store, at: &Path, (made, link): (&[Made], LinkMode), chance: &mut Chance) {
    let writer = store.write().unwrap();
    let request = |local| Request {
        local,
        options: Options {
            flush: Flush::Never,
            ..Options::default()
        },
        ..Request::default()
    };
    let plain = request(Local::Refuse);
    let wanted = chance.pick(made).unwrap();
    match chance.below(4) {
        0 => {
            let toward = chance.pick(made).unwrap();
            let stops = StopsAt(AtomicU64::new(chance.below(60)));
            let stopped = update(&writer, toward.wanted(), at, &plain, &stops);
            if let Err(e) = stopped {
                assert!(matches!(e.cause(), Cause::Interrupted), "{e}");
            }
        }
        // Through a link into the store nobody may write.
        1 if link == LinkMode::Copy => {
            let before = tree(at, NEVER);
            let mut done = Vec::new();
            for _ in 0..=chance.below(4) {
                let change = draw(&tree(at, NEVER), chance);
                let unseen = matches!(change, Change::SetXattr(..) | Change::RemoveXattr(..));
                if !unseen && make(at, &change) {
                    done.push(change);
                }
            }
            let changed = tree(at, NEVER);
            let refused = update(&writer, wanted.wanted(), at, &plain, &Unwatched);
            if is_more_than_times(&before, &changed) {
                assert!(refused.is_err(), "{done:#?}");
                assert_same(&changed, &tree(at, NEVER), "refused");
            }
            let force = request(Local::Replace);
            update(&writer, wanted.wanted(), at, &force, &Unwatched).unwrap();
            let what = format!("forced after {done:#?}");
            assert_same(&wanted.seen, &tree(at, NEVER), &what);
            return;
        }
        _ => {}
    }
    update(&writer, wanted.wanted(), at, &plain, &Unwatched).unwrap();
    assert_same(&wanted.seen, &tree(at, NEVER), "updated");
}

/// Tells whether names were added or removed: times of directories may change without that.
fn is_more_than_times(before: &Tree, after: &Tree) -> bool {
    !before.keys().eq(after.keys())
}
