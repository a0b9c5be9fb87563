//! Checkouts of trees made by hand, compared entry by entry with what the host then has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fixture::{Fixture, Folder, Thing, file, is_root, meta, owned, with_xattr};
use super::*;
use crate::digest::ContentId;
use crate::meta::{Meta, Mtime};
use crate::path::TreePath;
use crate::tree::Device;
use crate::watch::{ActsOnce, Watch};

const MODES: [LinkMode; 3] = [LinkMode::Hardlink, LinkMode::Reflink, LinkMode::Copy];

fn by(link: LinkMode) -> Options {
    Options {
        link,
        ..Options::default()
    }
}

fn rich() -> Folder {
    let inner = Folder::new(meta(0o500, -10))
        .with("setuid", file(owned(0o4755, 70_000, 7), "setuid"))
        .with(
            "old",
            file(
                Meta {
                    mtime: Mtime {
                        secs: -11,
                        nanos: 500_000_000,
                    },
                    ..meta(0o600, 0)
                },
                "old",
            ),
        )
        .with(b"\xff\xfe\n", file(meta(0o644, 5), "not UTF-8"))
        .with(
            "group-2",
            Thing::Linked(meta(0o644, 7), b"linked".to_vec(), 1),
        );
    Folder::new(meta(0o755, 42))
        .with("empty", file(meta(0o640, 3), ""))
        .with("empty2", file(meta(0o640, 3), ""))
        .with(
            "attribute",
            file(
                with_xattr(meta(0o644, 4), "user.note", b"\0value="),
                "attribute",
            ),
        )
        .with(
            "overlay",
            file(
                with_xattr(meta(0o644, 4), "trusted.overlay.opaque", b"y"),
                "overlay",
            ),
        )
        .with(
            "group-1",
            Thing::Linked(meta(0o644, 7), b"linked".to_vec(), 1),
        )
        .with(
            "group-3",
            Thing::Linked(meta(0o644, 7), b"linked".to_vec(), 1),
        )
        .with("like-group", file(meta(0o644, 7), "linked"))
        .with(
            "link",
            Thing::Symlink(meta(0o777, 99), b"/etc/\xffpasswd".to_vec()),
        )
        .with("fifo", Thing::Fifo(meta(0o622, 8), Some(2)))
        .with("fifo-2", Thing::Fifo(meta(0o622, 8), Some(2)))
        .with("locked", Thing::Folder(inner))
        .with(
            "shut",
            Thing::Folder(Folder::new(meta(0o0, 77)).with("in", file(meta(0o444, 1), "in"))),
        )
}

#[test]
fn a_checkout_is_exactly_the_image_in_every_mode() {
    // `look` could not read what an ordinary user shut himself out of.
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    for (at, mode) in MODES.into_iter().enumerate() {
        fixture.proves(&rich(), &format!("out{at}"), &by(mode));
    }
    assert_eq!(fixture.neighbours(), ["out0", "out1", "out2"]);
}

#[test]
fn the_report_counts_links_copies_and_reasons() {
    let fixture = Fixture::new();
    let root = fixture.put(&rich());
    let report = fixture.out(&root, "out", &by(LinkMode::Hardlink)).unwrap();
    let private = report.reflinked.files + report.copied.files;
    assert_eq!((report.linked.files, private, report.empty), (8, 0, 2));
    assert_eq!(
        (
            report.names,
            report.symlinks,
            report.other,
            report.directories
        ),
        (3, 1, 1, 3)
    );
    assert!(report.reasons.is_empty());
    let report = fixture.out(&root, "copy", &by(LinkMode::Copy)).unwrap();
    assert_eq!((report.linked.files, report.copied.files), (0, 8));
    assert_eq!(report.copied.bytes, 6 + 3 + 9 + 9 + 7 + 6 + 6 + 2);
    assert!(report.reasons.is_empty());
    let report = fixture
        .out(&root, "reflink", &by(LinkMode::Reflink))
        .unwrap();
    let without: u64 = report.reasons.values().sum();
    assert_eq!((report.linked.files, report.copied.files), (0, without));
    assert_eq!(report.reflinked.files + report.copied.files, 8);
}

#[test]
fn links_lead_into_the_store_and_copies_do_not() {
    let fixture = Fixture::new();
    let root = fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes")));
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    for (at, mode) in MODES.into_iter().enumerate() {
        let name = format!("out{at}");
        fixture.out(&root, &name, &by(mode)).unwrap();
        let linked = ino(&fixture.path(&name).join("f")) == ino(&fixture.object(b"bytes"));
        assert_eq!(linked, mode == LinkMode::Hardlink);
    }
}

#[test]
fn two_images_share_a_content_under_different_metadata() {
    let fixture = Fixture::new();
    let one = Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes"));
    let two = Folder::new(meta(0o755, 1))
        .with("f", file(meta(0o600, 3), "bytes"))
        .with(
            "g",
            file(with_xattr(meta(0o600, 3), "user.a", b"b"), "bytes"),
        );
    fixture.proves(&one, "one", &by(LinkMode::Hardlink));
    let report = fixture.proves(&two, "two", &by(LinkMode::Hardlink));
    assert_eq!((report.linked.files, report.copied.files), (2, 0));
    let again = fixture.proves(&two, "again", &by(LinkMode::Hardlink));
    assert_eq!(again, report);
    let ino = |name: &str| fs::metadata(fixture.path(name)).unwrap().ino();
    assert_eq!(ino("two/f"), ino("again/f"));
    assert_ne!(ino("one/f"), ino("two/f"));
    fixture.proves(&one, "one-again", &by(LinkMode::Hardlink));
}

#[test]
fn files_that_merely_look_alike_are_different_inodes() {
    let fixture = Fixture::new();
    let tree = Folder::new(meta(0o755, 1))
        .with("a", file(meta(0o644, 2), "same"))
        .with("b", file(meta(0o644, 2), "same"))
        .with(
            "c",
            Thing::Folder(Folder::new(meta(0o755, 1)).with("d", file(meta(0o644, 2), "same"))),
        );
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let mut first: Option<[u64; 3]> = None;
    for name in ["out", "again", "once-more"] {
        let report = fixture.proves(&tree, name, &by(LinkMode::Hardlink));
        assert_eq!((report.linked.files, report.copied.files), (3, 0));
        assert!(report.reasons.is_empty());
        // All are the store's, each the same one every time, and the first in tree order is the object's own.
        let here = ["a", "b", "c/d"].map(|path| ino(&fixture.path(name).join(path)));
        assert_eq!(here[0], ino(&fixture.object(b"same")));
        assert_eq!(*first.get_or_insert(here), here);
    }
    // Another image that has it twice shares them, too.
    let twice = Folder::new(meta(0o755, 1))
        .with("x", file(meta(0o644, 2), "same"))
        .with("y", file(meta(0o644, 2), "same"));
    fixture.proves(&twice, "twice", &by(LinkMode::Hardlink));
    let shared = ["twice/x", "twice/y"].map(|path| ino(&fixture.path(path)));
    assert_eq!(Some(shared.as_slice()), first.as_ref().map(|all| &all[..2]));
}

#[test]
fn files_that_look_alike_with_other_metadata_than_their_object_are_different_inodes_too() {
    let fixture = Fixture::new();
    fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(meta(0o600, 9), "same")));
    let tree = Folder::new(meta(0o755, 1))
        .with("a", file(meta(0o644, 2), "same"))
        .with("b", file(meta(0o644, 2), "same"))
        .with("f", file(meta(0o600, 9), "same"))
        .with("g", file(meta(0o600, 9), "same"));
    for name in ["one", "two"] {
        let report = fixture.proves(&tree, name, &by(LinkMode::Hardlink));
        assert_eq!((report.linked.files, report.copied.files), (4, 0));
    }
    for path in ["a", "b", "f", "g"] {
        let ino = |of: &str| fs::metadata(fixture.path(of).join(path)).unwrap().ino();
        assert_eq!(ino("one"), ino("two"), "{path}");
    }
}

#[test]
fn a_change_through_one_of_files_that_look_alike_is_found_and_not_handed_out() {
    let fixture = Fixture::new();
    let tree = Folder::new(meta(0o755, 1))
        .with("a", file(meta(0o644, 2), "same"))
        .with("b", file(meta(0o644, 2), "same"));
    let root = fixture.put(&tree);
    fixture
        .out(&root, "first", &by(LinkMode::Hardlink))
        .unwrap();
    let written = fs::OpenOptions::new()
        .write(true)
        .open(fixture.path("first/b"))
        .unwrap();
    written.write_all_at(b"S", 0).unwrap();
    assert_eq!(fs::read(fixture.path("first/a")).unwrap(), b"same");
    let error = fixture
        .out(&root, "second", &by(LinkMode::Hardlink))
        .unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let text = error.to_string();
    assert!(text.contains("'b'") && text.contains("inodes/"), "{text}");
    assert_eq!(fixture.neighbours(), ["first"]);
}

#[test]
fn a_file_changed_through_a_link_is_not_handed_out() {
    for mode in MODES {
        let fixture = Fixture::new();
        let tree = Folder::new(meta(0o755, 1))
            .with("a", file(meta(0o644, 2), "fine"))
            .with(
                "usr",
                Thing::Folder(Folder::new(meta(0o755, 1)).with("b", file(meta(0o644, 2), "bytes"))),
            );
        let root = fixture.put(&tree);
        fixture
            .out(&root, "first", &by(LinkMode::Hardlink))
            .unwrap();
        let written = fs::OpenOptions::new()
            .write(true)
            .open(fixture.path("first/usr/b"))
            .unwrap();
        written.write_all_at(b"B", 0).unwrap();
        let error = fixture.out(&root, "second", &by(mode)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(text.contains("'usr/b'") && text.contains("mtime"), "{text}");
        assert!(
            text.contains(&ContentId::of(b"bytes").hex()) && text.contains("ocistore fsck"),
            "{text}"
        );
        assert_eq!(fixture.neighbours(), ["first"]);
    }
}

#[test]
fn every_kind_of_change_is_noticed_and_named() {
    for what in ["size", "mode", "mtime"] {
        let fixture = Fixture::new();
        let tree = Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes"));
        let root = fixture.put(&tree);
        fixture
            .out(&root, "first", &by(LinkMode::Hardlink))
            .unwrap();
        let file = fs::File::options()
            .write(true)
            .open(fixture.path("first/f"))
            .unwrap();
        match what {
            "size" => file.set_len(2).unwrap(),
            "mode" => file
                .set_permissions(fs::Permissions::from_mode(0o600))
                .unwrap(),
            _ => file.set_modified(std::time::SystemTime::now()).unwrap(),
        }
        let error = fixture
            .out(&root, "second", &by(LinkMode::Hardlink))
            .unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_changed_variant_is_named_with_the_file_to_remove() {
    let fixture = Fixture::new();
    fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes")));
    let other = Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 3), "bytes"));
    let root = fixture.put(&other);
    fixture
        .out(&root, "first", &by(LinkMode::Hardlink))
        .unwrap();
    fs::set_permissions(fixture.path("first/f"), fs::Permissions::from_mode(0o600)).unwrap();
    let error = fixture
        .out(&root, "second", &by(LinkMode::Hardlink))
        .unwrap_err();
    assert_eq!(error.exit_code(), 3);
    let text = error.to_string();
    let remove = text
        .split("moves '")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    rustix::fs::rename(remove, fixture.path("removed")).unwrap();
    fixture.proves(&other, "second", &by(LinkMode::Hardlink));
}

#[test]
fn a_missing_object_is_damage() {
    for mode in MODES {
        let fixture = Fixture::new();
        let root =
            fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes")));
        rustix::fs::rename(fixture.object(b"bytes"), fixture.path("gone")).unwrap();
        let error = fixture.out(&root, "out", &by(mode)).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("missing"), "{error}");
        assert_eq!(fixture.neighbours(), ["gone"]);
    }
}

#[test]
fn an_object_without_a_record_is_read_before_it_is_used() {
    let fixture = Fixture::new();
    let tree = Folder::new(meta(0o755, 1)).with("f", file(meta(0o644, 2), "bytes"));
    let root = fixture.put(&tree);
    // A catalog that has the tree but lost the object's row.
    let node = fixture
        .store
        .view(|view| view.node(&root))
        .unwrap()
        .encode();
    let lose = || {
        rustix::fs::rename(
            fixture.store.root().join("catalog.redb"),
            fixture.path("lost"),
        )
        .unwrap();
        let fill = |change: &crate::store::catalog::Change<'_>| {
            change.put_nodes(std::iter::once((&root, node.as_slice())))
        };
        fixture.store.create_catalog(fill).unwrap();
    };
    lose();
    let report = fixture.out(&root, "out", &by(LinkMode::Hardlink)).unwrap();
    assert_eq!(report.linked.files, 1);
    assert_eq!(fs::read(fixture.path("out/f")).unwrap(), b"bytes");
    let object = fs::OpenOptions::new()
        .write(true)
        .open(fixture.object(b"bytes"))
        .unwrap();
    object.write_all_at(b"B", 0).unwrap();
    let error = fixture
        .out(&root, "bad", &by(LinkMode::Hardlink))
        .unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert_eq!(fixture.neighbours(), ["lost", "out"]);
}

#[test]
fn devices_come_out_as_the_image_has_them() {
    if !is_root() {
        return;
    }
    let null = Device { major: 1, minor: 3 };
    let tree = Folder::new(meta(0o755, 1)).with("null", Thing::Char(meta(0o666, 5), null));
    let report = Fixture::new().proves(&tree, "out", &by(LinkMode::Hardlink));
    assert_eq!(report.other, 1);
}

#[test]
fn a_directory_has_the_rights_that_it_hands_on() {
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        let halves = [tag.to_le_bytes(), rights.to_le_bytes()].concat();
        [halves, id.to_le_bytes().to_vec()].concat()
    };
    // As setfacl -d -m u:5:rwx makes it (linux/posix_acl_xattr.h).
    let nobody = u32::MAX;
    let entries = [
        (1, 7, nobody),
        (2, 7, 5),
        (4, 5, nobody),
        (0x10, 7, nobody),
        (0x20, 5, nobody),
    ];
    let value = [2u32.to_le_bytes().to_vec(), entries.map(entry).concat()].concat();
    let dir = with_xattr(meta(0o755, 1), "system.posix_acl_default", &value);
    let image = Folder::new(meta(0o755, 1)).with("d", Thing::Folder(Folder::new(dir)));
    let fixture = Fixture::new();
    for (name, link) in [("linked", LinkMode::Hardlink), ("copied", LinkMode::Copy)] {
        let options = Options {
            link,
            ..Options::default()
        };
        let report = fixture.proves(&image, name, &options);
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    if !is_root() {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tree = Folder::new(meta(0o755, 1))
        .with(
            "ping",
            file(
                with_xattr(owned(0o4755, 12, 13), "security.capability", capability),
                "ping",
            ),
        )
        .with(
            "twin",
            file(
                with_xattr(owned(0o4755, 12, 13), "security.capability", capability),
                "ping",
            ),
        )
        .with("plain", file(owned(0o755, 12, 13), "ping"));
    let fixture = Fixture::new();
    for (at, mode) in MODES.into_iter().enumerate() {
        fixture.proves(&tree, &format!("out{at}"), &by(mode));
    }
}

#[test]
fn attributes_the_host_refuses_are_counted_once_a_file() {
    let odd = |secs| with_xattr(meta(0o644, secs), "nonsense.name", b"x");
    let tree = Folder::new(odd(1))
        .with("b", file(odd(2), "b"))
        .with("a", file(odd(2), "a"))
        .with("s", Thing::Symlink(odd(3), b"a".to_vec()));
    let fixture = Fixture::new();
    let root = fixture.put(&tree);
    for (at, mode) in MODES.into_iter().enumerate() {
        let report = fixture.out(&root, &format!("out{at}"), &by(mode)).unwrap();
        let refused = &report.warnings[&Warning::XattrRefused];
        assert_eq!(refused.count, 4);
        assert!(
            refused.first.starts_with(".: nonsense.name: "),
            "{}",
            refused.first
        );
        assert_eq!(
            report.linked.files,
            if mode == LinkMode::Hardlink { 2 } else { 0 }
        );
    }
    let strict = Options {
        strictness: Strictness::Refuse,
        ..Options::default()
    };
    assert_eq!(
        fixture
            .out(&root, "strict", &strict)
            .unwrap_err()
            .exit_code(),
        1
    );
    assert!(!fixture.path("strict").exists());
}

#[test]
fn a_tree_of_a_thousand_levels_comes_out_and_goes_away() {
    let mut tree = Folder::new(meta(0o755, 1)).with("bottom", file(meta(0o644, 2), "bottom"));
    for level in 0..1000 {
        let name = format!("level-{level}");
        tree = Folder::new(meta(0o755, level)).with(&name, Thing::Folder(tree));
    }
    let fixture = Fixture::new();
    let root = fixture.put(&tree);
    let report = fixture.out(&root, "out", &by(LinkMode::Hardlink)).unwrap();
    assert_eq!((report.directories, report.linked.files), (1001, 1));
    rustix::fs::rename(fixture.object(b"bottom"), fixture.path("gone")).unwrap();
    fixture
        .out(&root, "bad", &by(LinkMode::Hardlink))
        .unwrap_err();
    assert_eq!(fixture.neighbours(), ["gone", "out"]);
    // The test's own folder is removed by means that do not go as deep.
    let flat = Staging::beside(&fixture.store, &fixture.path("flat"), "check out to").unwrap();
    flat.discard().unwrap();
    let mut here = fixture.path("out");
    for level in (0..1000).rev() {
        let next = fixture.path(&format!("deep-{level}"));
        rustix::fs::rename(here.join(format!("level-{level}")), &next).unwrap();
        here = next;
    }
}

#[test]
fn targets_that_hold_something_are_refused() {
    let fixture = Fixture::new();
    let root = fixture.put(&rich());
    fs::create_dir(fixture.path("full")).unwrap();
    fs::create_dir(fixture.path("full/x")).unwrap();
    fs::create_dir(fixture.path("empty")).unwrap();
    symlink("empty", fixture.path("link")).unwrap();
    symlink("nowhere", fixture.path("dangling")).unwrap();
    drop(
        fs::File::options()
            .write(true)
            .create_new(true)
            .open(fixture.path("file"))
            .unwrap(),
    );
    let before = fixture.neighbours();
    for name in [
        "full",
        "full/",
        "link",
        "link/",
        "dangling",
        "file",
        "store",
        "store/tmp/x",
        "missing/x",
    ] {
        let error = fixture.out(&root, name, &Options::default()).unwrap_err();
        assert_eq!(error.exit_code(), 1, "{name}: {error}");
    }
    assert_eq!(fixture.neighbours(), before);
    assert_eq!(
        fs::read_dir(fixture.store.root().join("tmp"))
            .unwrap()
            .count(),
        0
    );
    fixture.out(&root, "empty/", &Options::default()).unwrap();
    fixture.out(&root, "./new/.", &Options::default()).unwrap();
    assert!(fixture.path("empty/fifo").exists() && fixture.path("new/fifo").exists());
}

/// Asks to stop at the n-th look.
struct StopAt(AtomicU64);

impl Watch for StopAt {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
    fn stop(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[test]
fn stopping_at_any_moment_leaves_nothing_behind() {
    let fixture = Fixture::new();
    fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(meta(0o600, 2), "setuid")));
    let root = fixture.put(&rich());
    let mut stops = 0;
    for at in 1.. {
        let writer = fixture.store.write().unwrap();
        let watch = StopAt(AtomicU64::new(at));
        match checkout(
            &writer,
            &root,
            &fixture.path("out"),
            &Options::default(),
            &watch,
        ) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.exit_code(), 130, "{error}"),
        }
        drop(writer);
        assert!(
            fixture.neighbours().is_empty(),
            "{:?}",
            fixture.neighbours()
        );
        assert_eq!(
            fs::read_dir(fixture.store.root().join("tmp"))
                .unwrap()
                .count(),
            0
        );
        stops += 1;
    }
    assert!(stops > 6, "{stops}");
}

#[test]
fn an_object_that_was_moved_away_and_came_again_with_other_attributes_is_not_handed_out() {
    let fixture = Fixture::new();
    let noted = with_xattr(meta(0o644, 4), "user.note", b"this");
    let tree = Folder::new(meta(0o755, 1)).with("f", file(noted, "bytes"));
    let root = fixture.put(&tree);
    let writer = fixture.store.write().unwrap();
    // As a collection and another import do meanwhile, between the plan and the links.
    let replace = || {
        let (object, store) = (fixture.object(b"bytes"), fixture.store.root());
        let away = store
            .join("trash/1")
            .join(object.strip_prefix(store).unwrap());
        fs::create_dir_all(away.parent().unwrap()).unwrap();
        rustix::fs::rename(&object, &away).unwrap();
        let again = crate::store::durable::create_new(&object).unwrap();
        std::io::Write::write_all(&mut &again, b"bytes").unwrap();
        let bare = crate::store::inodes::Owners::of_process().apply(&meta(0o644, 4));
        crate::store::inodes::give(&again, &bare).unwrap();
    };
    let watch = ActsOnce::new(1, &replace);
    let target = fixture.path("out");
    let report = checkout(&writer, &root, &target, &Options::default(), &watch).unwrap();
    let note = crate::store::inodes::get_xattr(&target.join("f"), b"user.note");
    assert_eq!(note.unwrap().as_deref(), Some(b"this".as_slice()));
    assert_eq!(
        (
            report.linked.files,
            report.copied.files + report.reflinked.files
        ),
        (0, 1)
    );
}

#[test]
fn a_part_of_the_tree_becomes_the_target() {
    let fixture = Fixture::new();
    let root = fixture.put(&rich());
    let sub = |path: &[u8]| Options {
        sub: Some(TreePath::parse(path).unwrap()),
        ..Options::default()
    };
    let names = |name: &str| {
        let mut names: Vec<_> = fs::read_dir(fixture.path(name))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    fixture.out(&root, "dir", &sub(b"/shut")).unwrap();
    assert_eq!(
        fs::metadata(fixture.path("dir")).unwrap().mode() & 0o7777,
        0
    );
    fixture
        .out(&root, "file", &sub(b"locked/../locked/group-2"))
        .unwrap();
    assert_eq!(names("file"), ["group-2"]);
    assert_eq!(
        fs::metadata(fixture.path("file")).unwrap().mode() & 0o7777,
        0o500
    );
    fixture.out(&root, "symlink", &sub(b"link")).unwrap();
    assert_eq!(names("symlink"), ["link"]);
    for (path, why) in [
        (&b"nothing"[..], "no 'nothing'"),
        (b"empty/x", "not a directory"),
        (b"link/x", "symlink"),
    ] {
        let error = fixture.out(&root, "none", &sub(path)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(fixture.neighbours(), ["dir", "file", "symlink"]);
}

#[test]
fn a_part_names_its_files_by_their_path_in_the_image() {
    let fixture = Fixture::new();
    let inner = Folder::new(meta(0o755, 1)).with("b", file(meta(0o644, 2), "bytes"));
    let root = fixture.put(&Folder::new(meta(0o755, 1)).with("usr", Thing::Folder(inner)));
    rustix::fs::rename(fixture.object(b"bytes"), fixture.path("gone")).unwrap();
    let options = Options {
        sub: Some(TreePath::parse(b"usr").unwrap()),
        ..Options::default()
    };
    let error = fixture.out(&root, "out", &options).unwrap_err();
    assert!(error.to_string().contains("'usr/b'"), "{error}");
}

#[test]
fn files_of_another_owner_come_out_as_those_of_the_asked_one() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::new();
    let root =
        fixture.put(&Folder::new(meta(0o755, 1)).with("f", file(owned(0o4711, 12, 13), "bytes")));
    let options = Options {
        owners: Ownership::Rootless {
            uid: 1000,
            gid: 1001,
        },
        ..Options::default()
    };
    fixture.out(&root, "out", &options).unwrap();
    let stat = fs::metadata(fixture.path("out/f")).unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (1000, 1001, 0o4711)
    );
    fixture.out(&root, "again", &Options::default()).unwrap();
    assert_eq!(fs::metadata(fixture.path("again/f")).unwrap().uid(), 12);
}

#[test]
fn one_thread_makes_the_same() {
    let fixture = Fixture::new();
    let one = Options {
        jobs: std::num::NonZeroUsize::new(1),
        ..Options::default()
    };
    let root = fixture.put(&rich());
    let report = fixture.out(&root, "one", &one).unwrap();
    assert_eq!(
        fixture.out(&root, "many", &Options::default()).unwrap(),
        report
    );
}

/// Gives a file as many names as it can have, less `spare`; `None` where the file system has no limit in reach.
fn fill_up(path: &Path, names: &Path, spare: u64) -> Option<()> {
    fs::create_dir(names).unwrap();
    for at in 0..70_000 {
        if let Err(e) = fs::hard_link(path, names.join(at.to_string())) {
            assert_eq!(
                e.raw_os_error(),
                Some(rustix::io::Errno::MLINK.raw_os_error())
            );
            for at in at - spare..at {
                rustix::fs::rename(names.join(at.to_string()), names.join("spare")).ok();
                rustix::fs::unlink(names.join("spare")).unwrap();
            }
            return Some(());
        }
    }
    None
}

#[test]
fn an_inode_at_the_limit_of_links_is_replaced_by_a_fresh_one() {
    let fixture = Fixture::new();
    let tree = Folder::new(meta(0o755, 1))
        .with("a", Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1))
        .with("b", Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1));
    fixture.put(&tree);
    let object = fixture.object(b"bytes");
    let before = fs::metadata(&object).unwrap().ino();
    // On a file system without a limit there is nothing to prove.
    let Some(()) = fill_up(&object, &fixture.path("names"), 0) else {
        return;
    };
    let report = fixture.proves(&tree, "out", &by(LinkMode::Hardlink));
    assert_eq!((report.linked.files, report.names), (1, 1));
    let after = fs::metadata(&object).unwrap();
    assert_ne!(after.ino(), before);
    assert_eq!(after.nlink(), 3);
    assert!(report.reasons.is_empty());
}

#[test]
fn a_group_that_reaches_the_limit_stays_one_inode() {
    let fixture = Fixture::new();
    let tree = Folder::new(meta(0o755, 1))
        .with("a", Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1))
        .with("b", Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1))
        .with("c", Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1));
    fixture.put(&tree);
    let Some(()) = fill_up(&fixture.object(b"bytes"), &fixture.path("names"), 2) else {
        return;
    };
    let report = fixture.proves(&tree, "out", &by(LinkMode::Hardlink));
    assert_eq!((report.linked.files, report.names), (0, 2));
    assert_eq!(report.reasons, BTreeMap::from([(Reason::LinkLimit, 1)]));
}

#[test]
fn more_names_than_an_inode_can_have_take_more_inodes() {
    let fixture = Fixture::new();
    let mut tree = Folder::new(meta(0o755, 1));
    for at in 0..65_010 {
        let thing = Thing::Linked(meta(0o644, 2), b"bytes".to_vec(), 1);
        tree = tree.with(format!("{at:05}"), thing);
    }
    let root = fixture.put(&tree);
    let report = fixture.out(&root, "out", &by(LinkMode::Hardlink)).unwrap();
    let first = fs::metadata(fixture.path("out/00000")).unwrap();
    let last = fs::metadata(fixture.path("out/65009")).unwrap();
    if first.ino() == last.ino() {
        // A file system without a limit in reach.
        assert_eq!(report.names, 65_009);
        return;
    }
    assert_eq!(first.nlink() + last.nlink(), 65_010);
    assert_eq!(
        (report.copied.files + report.reflinked.files, report.names),
        (2, 65_008)
    );
    assert_eq!(report.linked.files, 0);
    assert_eq!(report.warnings[&Warning::GroupSplit].count, 1);
}

#[test]
fn an_attribute_whose_value_is_refused_makes_a_copy_and_a_warning() {
    // More than any file system takes.
    let huge = with_xattr(meta(0o644, 2), "user.huge", &vec![b'x'; 70_000]);
    let tree = Folder::new(meta(0o755, 1))
        .with("a", file(huge.clone(), "bytes"))
        .with(
            "b",
            file(with_xattr(meta(0o644, 2), "user.huge", b"small"), "other"),
        )
        .with("c", file(meta(0o644, 2), "bytes"));
    let fixture = Fixture::new();
    let root = fixture.put(&tree);
    let report = fixture.out(&root, "out", &by(LinkMode::Hardlink)).unwrap();
    assert_eq!(
        (report.linked.files, report.reasons[&Reason::XattrRefused]),
        (2, 1)
    );
    let refused = &report.warnings[&Warning::XattrRefused];
    assert_eq!(
        (refused.count, refused.first.split(':').next()),
        (1, Some("a"))
    );
    let ino = |name: &str| fs::metadata(fixture.path(name)).unwrap().ino();
    assert_ne!(ino("out/a"), ino("out/c"));
}

#[test]
fn on_another_file_system_files_are_copied_and_the_reason_is_counted() {
    let fixture = Fixture::new();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(other.path()) == device(fixture.store.root()) {
        return;
    }
    let tree = Folder::new(meta(0o755, 1))
        .with("a", file(meta(0o644, 2), "bytes"))
        .with("b", file(meta(0o600, 2), "bytes"));
    let root = fixture.put(&tree);
    let target = other.path().join("out").to_str().unwrap().to_owned();
    let report = fixture
        .out(&root, &target, &by(LinkMode::Hardlink))
        .unwrap();
    assert_eq!((report.linked.files, report.copied.files), (0, 2));
    assert_eq!(
        report.reasons,
        BTreeMap::from([(Reason::OtherFilesystem, 2)])
    );
    // Nothing was put into the store that could not be linked to anyway.
    assert_eq!(
        fs::read_dir(fixture.store.root().join("inodes"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(fs::read(other.path().join("out/b")).unwrap(), b"bytes");
}
