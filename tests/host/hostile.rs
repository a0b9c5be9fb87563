//! Checkouts beside somebody who renames and replaces what he can reach, all the time or at the worst moment.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::bench::{Place, Tree, Who, can_run, look};
use super::midway::{broad, catch, unfinished};

/// A directory that no checkout has any business in, with names that the image has too.
struct Victim {
    path: PathBuf,
    before: (Tree, Vec<(PathBuf, i64, i64)>),
}

impl Victim {
    fn new(place: &Place) -> Self {
        let path = place.path("victim");
        fs::create_dir_all(path.join("d0")).unwrap();
        for name in ["f0", "p0", "s0", "d0/f1", "d0/p1"] {
            fs::write(path.join(name), "not for you").unwrap();
        }
        let before = Self::look(&path);
        Self { path, before }
    }

    /// All that is to be seen, and when each inode was changed in any way.
    fn look(path: &Path) -> (Tree, Vec<(PathBuf, i64, i64)>) {
        let tree = look(path);
        let changes = tree.keys().map(|name| {
            let stat = fs::symlink_metadata(path.join(name)).unwrap();
            (path.join(name), stat.ctime(), stat.ctime_nsec())
        });
        let changes = changes.collect();
        (tree, changes)
    }

    fn is_untouched(&self) {
        assert_eq!(Self::look(&self.path), self.before);
    }
}

/// Somebody who looks for unfinished directories and harms them, again and again.
struct Attacker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<PathBuf>>,
}

impl Attacker {
    /// `harm` returns what it replaced, as a path below the unfinished directory.
    fn new(
        folder: PathBuf,
        wait: Duration,
        harm: impl Fn(&Path, usize) -> Option<PathBuf> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut replaced = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let Some(staging) = unfinished(&folder).pop() else {
                    std::thread::sleep(Duration::from_micros(100));
                    continue;
                };
                if replaced.is_empty() {
                    std::thread::sleep(wait);
                }
                replaced.extend(harm(&staging, replaced.len()));
            }
            replaced
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<PathBuf> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Lets `harm` loose on many checkouts, until it met something and `wanted` of them failed: none may reach the victim,
/// and each fails or is right but for what was replaced after it was made.
fn attack(
    wanted: u32,
    harm: impl Fn(&Path, &Path, usize) -> Option<PathBuf> + Copy + Send + 'static,
) {
    let place = Place::in_memory(Who::Root, broad());
    let victim = Victim::new(&place);
    place.ok(&["checkout", "image:1", &place.out("tree")]);
    let right = place.tree("work/tree");
    fs::remove_dir_all(place.path("work/tree")).unwrap();
    let (mut replaced, mut failed) = (0, 0);
    for round in 0.. {
        // When an attacker comes in time is up to the machine: that some never do is no end of the test.
        if round >= 24 && replaced > 0 && failed >= wanted {
            break;
        }
        assert!(round < 480, "{replaced} replaced, {failed} failed");
        let mode = ["hardlink", "reflink", "copy"][round % 3];
        let path = victim.path.clone();
        // Early and late, once and all the time.
        let wait = Duration::from_millis([0, 2, 5, 11, 30, 100, 270][round % 7]);
        let most = [1, 3, usize::MAX][round / 3 % 3];
        let harm = move |staging: &Path, count| {
            (count < most)
                .then(|| harm(staging, &path, count))
                .flatten()
        };
        let attacker = Attacker::new(place.path("work"), wait, harm);
        let target = place.out("tree");
        let output = place.run(Who::Root, &["checkout", "--link", mode, "image:1", &target]);
        let done = attacker.end();
        victim.is_untouched();
        replaced += done.len();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let mut made = place.tree("work/tree");
            let mut wanted = right.clone();
            for tree in [&mut made, &mut wanted] {
                tree.retain(|path, _| !done.iter().any(|gone| Path::new(path).starts_with(gone)));
            }
            assert!(made == wanted, "{said}");
            fs::remove_dir_all(&target).unwrap();
        } else {
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.starts_with("ocistore: cannot "), "{said}");
            assert!(!Path::new(&target).exists());
        }
        for name in place.names("work").iter().filter(|name| *name != "store") {
            // What cannot be removed while somebody puts things into it is named.
            let left = name.contains(".ocistore-") && said.contains(name.as_str());
            assert!(left || name.starts_with("away-"), "{name}: {said}");
            let path = place.path(&format!("work/{name}"));
            fs::remove_dir_all(&path)
                .or_else(|_| fs::remove_file(&path))
                .unwrap();
        }
    }
    place.is_sound();
}

#[test]
fn directories_swapped_for_symlinks_while_they_are_filled_lead_nowhere() {
    if !can_run(&["mount"]) {
        return;
    }
    attack(1, |staging, victim, count| {
        let entries = fs::read_dir(staging).ok()?.flatten();
        let mut dirs: Vec<_> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .collect();
        dirs.sort_by_key(fs::DirEntry::file_name);
        let dir = dirs.get(count * 7 % dirs.len().max(1))?;
        let away = staging.with_file_name(format!("away-{count}"));
        fs::rename(dir.path(), away).ok()?;
        symlink(victim, dir.path()).ok()?;
        Some(dir.file_name().into())
    });
}

#[test]
fn fifos_and_symlinks_swapped_while_they_get_their_metadata_are_not_followed() {
    if !can_run(&["mount"]) {
        return;
    }
    // What is replaced after it got its metadata is no harm: none has to fail.
    attack(0, |staging, victim, count| {
        let dir = staging.join(format!("d{}", count % 60));
        let mut hit = None;
        // There is little time between the name and its metadata.
        for attempt in 0..4000 {
            let path = dir.join(["p0", "s0", "p1", "s1", "p7", "s7"][attempt % 6]);
            if fs::remove_file(&path).is_ok() && symlink(victim.join("f0"), &path).is_ok() {
                hit = dir.file_name().map(PathBuf::from);
            }
        }
        hit
    });
}

/// A yard that belongs to an ordinary user, in which root checks out.
fn yard(place: &Place) -> PathBuf {
    let yard = place.path("work/yard");
    fs::create_dir(&yard).unwrap();
    let user = Some(Who::User.id());
    std::os::unix::fs::chown(&yard, user, user).unwrap();
    yard
}

#[test]
fn whoever_owns_the_directory_around_gains_nothing_by_swapping_what_is_made_there() {
    if !can_run(&["setpriv", "mount"]) {
        return;
    }
    let place = Place::in_memory(Who::Root, broad());
    let victim = Victim::new(&place);
    let yard = yard(&place);
    let id = Who::User.id();
    let script = r#"while :; do for s in .tree.ocistore-*; do
        [ -d "$s" ] && [ ! -L "$s" ] || continue
        mv "$s" "away-$((n += 1))" && if [ $((n % 2)) = 0 ]; then ln -s "$0" "$s"; else mkdir -m 777 "$s"; fi
    done; done"#;
    let mut attacker = Command::new("setpriv")
        .args([&format!("--reuid={id}"), &format!("--regid={id}")])
        .args(["--clear-groups", "sh", "-c", script])
        .arg(&victim.path)
        .current_dir(&yard)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut failed = 0;
    for round in 0.. {
        if round >= 12 && failed > 0 {
            break;
        }
        assert!(round < 240);
        let target = place.text("work/yard/tree");
        let output = place.run(
            Who::Root,
            &["checkout", "--link", "copy", "image:1", &target],
        );
        victim.is_untouched();
        if output.status.success() {
            assert_eq!(place.names("work/yard/tree").len(), 60);
            fs::remove_dir_all(&target).unwrap();
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(!Path::new(&target).exists(), "{said}");
        }
    }
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    // Nothing of the image stays where somebody else moved it.
    for name in place.names("work/yard") {
        if yard.join(&name).is_symlink() {
            continue;
        }
        assert_eq!(place.names(&format!("work/yard/{name}")), [""; 0], "{name}");
    }
    place.is_sound();
}

#[test]
fn an_unfinished_directory_that_was_swapped_is_neither_put_in_place_nor_followed() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::in_memory(Who::Root, broad());
    let victim = Victim::new(&place);
    let yard = yard(&place);
    let caught = catch(&place, Who::Root, "work/yard");
    fs::rename(&caught.staging, yard.join("away")).unwrap();
    symlink(&victim.path, &caught.staging).unwrap();
    let staging = caught.staging.clone();
    let (code, line) = caught.go_on();
    victim.is_untouched();
    assert_eq!(code, 1);
    assert!(
        line.contains("the new directory beside it was moved away"),
        "{line}"
    );
    assert!(
        line.contains("cannot remove the unfinished directory"),
        "{line}"
    );
    assert!(staging.is_symlink());
    assert!(place.names("work/yard/away").is_empty());
    assert!(!yard.join("tree").exists());
}

#[test]
fn a_target_that_was_replaced_meanwhile_is_left_as_it_is() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::in_memory(Who::Root, broad());
    let victim = Victim::new(&place);
    let yard = yard(&place);
    let target = yard.join("tree");
    let put: [(&str, &dyn Fn()); 4] = [
        ("symlink", &|| symlink(&victim.path, &target).unwrap()),
        ("file", &|| fs::write(&target, "a file").unwrap()),
        ("full", &|| fs::create_dir_all(target.join("full")).unwrap()),
        ("dangling", &|| symlink("nowhere", &target).unwrap()),
    ];
    for empty in [false, true] {
        for (what, put) in &put {
            if empty {
                fs::create_dir(&target).unwrap();
            }
            let caught = catch(&place, Who::Root, "work/yard");
            if empty {
                fs::remove_dir(&target).unwrap();
            }
            put();
            let before = look(&yard).remove("tree");
            let (code, line) = caught.go_on();
            assert_eq!(code, 1, "{what}");
            assert!(
                line.contains("something else appeared there meanwhile; "),
                "{line}"
            );
            victim.is_untouched();
            assert_eq!(look(&yard).remove("tree"), before, "{what}");
            assert_eq!(place.names("work/yard"), ["tree"], "{what}");
            fs::remove_file(&target)
                .or_else(|_| fs::remove_dir_all(&target))
                .unwrap();
        }
    }
    place.is_sound();
}

#[test]
fn a_directory_around_that_was_replaced_meanwhile_gets_nothing_and_keeps_nothing() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::in_memory(Who::Root, broad());
    let victim = Victim::new(&place);
    let yard = yard(&place);
    let caught = catch(&place, Who::Root, "work/yard");
    fs::rename(&yard, place.path("work/moved")).unwrap();
    symlink(&victim.path, &yard).unwrap();
    let (code, line) = caught.go_on();
    assert_eq!(code, 1);
    assert!(line.contains("/yard' is another now; "), "{line}");
    victim.is_untouched();
    assert!(place.names("work/moved").is_empty());
    place.is_sound();
}

#[test]
fn an_interrupted_checkout_leaves_nothing() {
    if !can_run(&["mount"]) {
        return;
    }
    let place = Place::in_memory(Who::Root, broad());
    for (signal, wanted) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let caught = catch(&place, Who::Root, "work");
        caught.signal(signal);
        let (code, line) = caught.go_on();
        assert_eq!(
            (code, line.as_str()),
            (wanted, "ocistore: cannot finish the command: interrupted")
        );
        assert_eq!(place.names("work"), ["store"]);
        assert!(place.names("work/store/tmp").is_empty());
    }
    place.is_sound();
}
