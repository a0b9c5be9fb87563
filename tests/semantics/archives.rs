//! The table "Archives": members are looked up in memory, and none of their names is ever a path on the host.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::layout::{Layer, Layout, config, gzip};
use crate::packed::{zeros_frame, zstd};
use crate::tarball::{BLOCK, Header, Tar, base256};
use crate::world::{World, quickly};

/// The members of an OCI archive of one image, by name.
fn members(world: &World) -> Vec<(String, Vec<u8>)> {
    let layout = world.layout();
    layout.index(&[layout.small_image("f")]);
    members_of(&layout)
}

fn members_of(layout: &Layout) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| (name.to_owned(), fs::read(layout.path.join(name)).unwrap());
    let blobs = layout.blobs().into_iter();
    let blobs = blobs.map(|(name, bytes)| (format!("blobs/sha256/{name}"), bytes));
    [read("oci-layout"), read("index.json")]
        .into_iter()
        .chain(blobs)
        .collect()
}

/// The members of what old versions of `docker save` write, of one image.
pub fn saved() -> Vec<(String, Vec<u8>)> {
    let layer = Layer::from(Tar::new().file("f", "f"));
    let config = config(std::slice::from_ref(&layer)).to_string();
    let list = json!([{"Config": "c.json", "RepoTags": ["image:1"], "Layers": ["1/layer.tar"]}]);
    vec![
        ("1/layer.tar".to_owned(), layer.blob),
        ("c.json".to_owned(), config.into_bytes()),
        ("manifest.json".to_owned(), list.to_string().into_bytes()),
    ]
}

pub fn tar(members: &[(String, Vec<u8>)]) -> Tar {
    let tar = Tar::new();
    members.iter().fold(tar, |tar, (n, d)| tar.file(n, d))
}

pub fn put(world: &World, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = world.path("image.tar");
    fs::write(&path, bytes).unwrap();
    path
}

/// Imports an archive of the image, which has to be taken; nothing may appear beside the store.
#[track_caller]
pub fn taken(bytes: impl AsRef<[u8]>) {
    let world = World::new();
    let path = put(&world, bytes);
    let before = crate::tree::snapshot(&world.path("host"));
    let report = world.ok(&["import", path.to_str().unwrap()]);
    let name = report["images"][0]["name"].as_str().unwrap();
    let root = world.path("root");
    world.ok(&["checkout", name, root.to_str().unwrap()]);
    assert_eq!(crate::tree::list(&root), ["f=f"]);
    assert_eq!(crate::tree::snapshot(&world.path("host")), before);
    let beside = fs::read_dir(world.path("")).unwrap();
    let mut beside: Vec<_> = beside.map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["host", "image.tar", "root", "store"]);
}

#[track_caller]
pub fn refused(bytes: impl AsRef<[u8]>, code: i32, why: &[&str]) {
    let world = World::new();
    let path = put(&world, bytes);
    quickly(|| world.refuses(path.to_str().unwrap(), code, why));
}

/// Both kinds of archive.
fn both() -> [Vec<(String, Vec<u8>)>; 2] {
    [members(&World::new()), saved()]
}

#[test]
fn an_archive_is_taken_plain_gzipped_or_with_zstd_around_it() {
    for members in both() {
        let plain = tar(&members).end();
        taken(&plain);
        taken(gzip(&plain));
        taken(zstd(&plain));
        taken([gzip(&plain[..700]), gzip(&plain[700..])].concat());
    }
}

#[test]
fn an_archive_from_a_stream_is_taken() {
    let world = World::new();
    let program = assert_cmd::cargo::cargo_bin("ocistore");
    let mut child = Command::new(program)
        .arg("--store")
        .arg(world.path("store"))
        .args(["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    to.write_all(&gzip(&tar(&saved()).end())).unwrap();
    drop(to);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("image:1 sha256:"), "{said}");
}

#[test]
fn an_archive_that_is_both_is_a_layout_unless_docker_archive_is_said() {
    let layout = members(&World::new());
    // As newer versions of `docker save` write it, but the two kinds hold different images here.
    let whole = tar(&[layout, saved()].concat()).end();
    for (kind, name) in [
        ("", "image:latest"),
        ("oci-archive:", "image:latest"),
        ("docker-archive:", "image:1"),
    ] {
        let world = World::new();
        let path = put(&world, &whole);
        let report = world.ok(&["import", &format!("{kind}{}", path.display())]);
        assert_eq!(report["images"][0]["name"], name);
    }
    let world = World::new();
    let path = put(&world, tar(&saved()).end());
    let source = format!("oci-archive:{}", path.display());
    world.refuses(&source, 4, &["it has no member 'oci-layout'"]);
}

#[test]
fn spellings_of_one_member_name_are_one_name() {
    for members in both() {
        for spell in [
            |name: &str| format!("./{name}"),
            |name: &str| format!("/{name}"),
            |name: &str| name.replace('/', "//"),
            |name: &str| format!("././/{}", name.replace('/', "/./")),
        ] {
            let respelled = members.iter().map(|(n, d)| (spell(n), d.clone()));
            taken(tar(&respelled.collect::<Vec<_>>()).end());
        }
    }
}

#[test]
fn a_later_member_of_a_name_replaces_an_earlier_one() {
    for members in both() {
        let decoys = members
            .iter()
            .map(|(n, _)| (n.replace('/', "//"), b"decoy".to_vec()));
        let decoys: Vec<_> = decoys.collect();
        taken(tar(&[decoys.clone(), members.clone()].concat()).end());
        let last = tar(&[members, decoys].concat()).end();
        refused(last, 4, &["image.tar'"]);
    }
}

#[test]
fn a_later_member_that_is_no_file_replaces_a_file() {
    for members in both() {
        for (name, _) in &members {
            for other in [
                tar(&members).fifo(name),
                tar(&members).dir(name),
                tar(&members).char(name, 1, 3),
                tar(&members).symlink(name, "gone"),
                tar(&members).link(name, "gone"),
            ] {
                refused(other.end(), 4, &[]);
            }
        }
    }
}

#[test]
fn names_that_lead_out_or_are_none_are_no_members_and_never_written() {
    let hostile = Tar::new()
        .file("../host/x", "x")
        .file("../../../../../../../../tmp/ocistore-escape", "x")
        .file("/etc/ocistore-escape", "x")
        .file("", "x")
        .file(".", "x")
        .file("..", "x")
        .file("a/..", "x")
        .pax(&[("path", b"a\0b")])
        .file("x", "x")
        .pax(&[("path", &[b'x'; 300])])
        .file("x", "x")
        .pax(&[("path", &b"/".repeat(100_000))])
        .file("x", "x")
        .long_name(b"x/".repeat(5000))
        .file("x", "x")
        .symlink("escape", "/")
        .file("escape/host/x", "x")
        .file("store/index.json", "x");
    for members in both() {
        let rest = tar(&members).bytes;
        taken(hostile.clone().raw(rest).end());
    }
    for path in ["/tmp/ocistore-escape", "/etc/ocistore-escape"] {
        assert!(!PathBuf::from(path).exists());
    }
}

#[test]
fn links_between_members_are_followed() {
    for members in both() {
        let mut linked = Tar::new();
        for (number, (name, bytes)) in members.iter().enumerate() {
            let up = "../".repeat(name.matches('/').count());
            linked = linked
                .file(format!("real/{number}"), bytes)
                .symlink(format!("chain/{number}"), format!("../real/{number}"));
            // Each way in turn: relative, absolute in the archive, more ups than there are folders, a hard link.
            linked = match number % 4 {
                0 => linked.symlink(name, format!("{up}chain/{number}")),
                1 => linked.symlink(name, format!("/chain/{number}")),
                2 => linked.symlink(name, format!("../../../../{up}chain/{number}")),
                _ => linked.link(name, format!("chain/{number}")),
            };
        }
        taken(linked.end());
    }
}

#[test]
fn a_link_to_a_folder_of_members_is_followed() {
    let moved = members(&World::new()).into_iter();
    let moved: Vec<_> = moved
        .map(|(n, d)| (n.replace("blobs/", "elsewhere/"), d))
        .collect();
    taken(tar(&moved).symlink("blobs", "elsewhere").end());
    taken(tar(&moved).symlink("blobs", "./x/../elsewhere/").end());
}

#[test]
fn links_that_lead_out_lead_nowhere_and_loops_end() {
    let world = World::new();
    let secret = world.path("host").join("secret");
    fs::write(&secret, "secret").unwrap();
    for members in both() {
        for (number, (name, _)) in members.iter().enumerate() {
            let rest: Vec<_> = members.iter().filter(|(n, _)| n != name).cloned().collect();
            let base = name.rsplit('/').next().unwrap();
            let long = (0..50).fold(tar(&rest), |tar, n| {
                tar.symlink(format!("l{n}"), format!("l{}", n + 1))
            });
            for hostile in [
                tar(&rest).symlink(name, secret.to_str().unwrap()),
                tar(&rest).link(name, secret.to_str().unwrap()),
                tar(&rest).symlink(name, "../../../../../../../../etc/passwd"),
                tar(&rest).symlink(name, base),
                tar(&rest)
                    .symlink(name, "/x")
                    .symlink("x", "y")
                    .symlink("y", "x"),
                long.symlink("l50", "l0").symlink(name, "/l0"),
            ] {
                refused(hostile.end(), 4, &["image.tar'"]);
            }
            // One of each kind is enough of the blobs.
            if number == 3 {
                break;
            }
        }
    }
}

#[test]
fn a_member_that_is_no_file_is_no_blob() {
    let members = members(&World::new());
    let (name, bytes) = members.last().unwrap();
    let rest = tar(&members[..members.len() - 1]);
    let digest = name.rsplit('/').next().unwrap();
    for hostile in [
        rest.clone().fifo(name),
        rest.clone().char(name, 1, 5),
        rest.clone().block(name, 8, 0),
        rest.clone().dir(name),
    ] {
        refused(hostile.end(), 4, &[digest]);
    }
    let sparse = rest.add(Header::gnu(b'S', name), bytes);
    refused(sparse.end(), 4, &["a sparse member"]);
}

#[test]
fn bytes_that_are_not_what_their_member_names_are_refused() {
    let mut members = members(&World::new());
    for at in 2..members.len() {
        let mut wrong = members[at].1.clone();
        wrong[0] ^= 1;
        let right = std::mem::replace(&mut members[at].1, wrong);
        let digest = members[at].0.rsplit('/').next().unwrap().to_owned();
        refused(tar(&members).end(), 3, &[&digest]);
        members[at].1 = right;
    }
    let mut members = saved();
    members[0].1[600] ^= 1;
    refused(tar(&members).end(), 3, &["its bytes are"]);
}

#[test]
fn a_truncated_archive_is_refused() {
    for members in both() {
        let whole = tar(&members).bytes;
        for cut in [1, 100, 512, 600, whole.len() / 2, whole.len() - 600] {
            let plain = &whole[..cut];
            refused(plain, 4, &["image.tar'"]);
            let packed = gzip(&whole);
            refused(
                &packed[..packed.len() * cut / whole.len()],
                4,
                &["image.tar'"],
            );
        }
    }
    refused("", 4, &["image.tar'"]);
    refused(
        [0; 1024],
        4,
        &["it has neither 'oci-layout' nor 'manifest.json'"],
    );
}

#[test]
fn a_header_with_a_wrong_checksum_or_size_is_refused() {
    let members = members(&World::new());
    let whole = tar(&members);
    let at = format!("at byte {}", whole.bytes.len());
    let big = |header: Header| whole.clone().add(header, "").end();
    let file = || Header::new(b'0', "x");
    refused(big(file().checksum(0)), 4, &[&at, "no tar header"]);
    refused(big(file().size(8 << 30)), 4, &["it is cut off"]);
    refused(
        big(file().raw_size(&base256(i128::from(u64::MAX)))),
        4,
        &["it is cut off"],
    );
    refused(big(file().raw_size(&base256(-1))), 4, &["image.tar'"]);
    refused(
        big(file().raw_size(b"9999999999x\0")),
        4,
        &["a size that is no number"],
    );
    let ones = [b'7'; 12];
    refused(big(file().raw_size(&ones)), 4, &["it is cut off"]);
    let pax = |size: &str| {
        whole
            .clone()
            .pax(&[("size", size.as_bytes())])
            .file("x", "x")
            .end()
    };
    refused(pax("18446744073709551615"), 4, &["it is cut off"]);
    refused(
        pax("18446744073709551616"),
        4,
        &["a PAX size that is no number"],
    );
    refused(pax("-1"), 4, &["a PAX size that is no number"]);
    refused(pax(""), 4, &["a PAX size that is no number"]);
    for kind in [b'x', b'L', b'K'] {
        let header = Header::new(kind, "x").size(1 << 32);
        refused(big(header), 4, &["an extension header of 4294967296 bytes"]);
    }
}

#[test]
fn extension_headers_name_and_measure_the_next_member_only() {
    let members = members(&World::new());
    let mut named = Tar::new();
    for (number, (name, bytes)) in members.iter().enumerate() {
        let len = bytes.len().to_string();
        named = match number % 3 {
            0 => named.long_name(name).file("short", bytes),
            1 => named.pax(&[("path", name.as_bytes())]).file("short", bytes),
            // A parser that takes the header's size reads the data as headers.
            _ => named
                .pax(&[("size", len.as_bytes())])
                .add(Header::new(b'0', name).size(0), bytes),
        };
    }
    // PAX goes before a long name; a size is no long name's.
    let (name, bytes) = members.last().unwrap();
    let named = named
        .file("decoy", "")
        .pax(&[("path", name.as_bytes())])
        .long_name("wrong")
        .file("short", bytes);
    taken(named.file("decoy2", "x").end());
}

#[test]
fn an_archive_that_expands_too_far_is_refused() {
    let zeros = vec![0; 100 << 20];
    refused(gzip(&zeros), 4, &["it expands more than 1000 : 1"]);
    refused(
        zeros_frame(256 << 10),
        4,
        &["it expands more than 1000 : 1"],
    );
    let member = Tar::new()
        .add(Header::new(b'0', "z").size(32 << 30), "")
        .bytes;
    let bomb = [zstd(&member), zeros_frame(256 << 10)].concat();
    refused(bomb, 4, &["it expands more than 1000 : 1"]);
}

#[test]
fn thousands_of_members_are_fine_and_bounded() {
    for members in both() {
        let many = (0..20_000).fold(Tar::new(), |tar, n| tar.file(format!("m/{n}"), ""));
        taken(many.raw(tar(&members).bytes).end());
    }
    // Long names that all have to be remembered: 0.3 GB of them.
    let mut many = Tar::new();
    for n in 0..300 {
        many = many
            .long_name([format!("{n}/").as_bytes(), &b"x/".repeat(500_000)].concat())
            .file("", "");
    }
    let world = World::of_mib(384);
    let path = put(&world, many.end());
    quickly(|| world.refuses(path.to_str().unwrap(), 4, &["image.tar'"]));
}

#[test]
fn the_blocks_after_an_archive_are_not_read() {
    for members in both() {
        let garbage = [b'x'; 3 * BLOCK];
        taken([tar(&members).end(), garbage.to_vec()].concat());
        // The end may be marked by one block, or by none.
        taken([tar(&members).bytes, vec![0; BLOCK]].concat());
        taken(tar(&members).bytes);
    }
}

#[test]
fn links_that_lead_on_for_too_long_are_refused_at_once() {
    let (down, up) = (vec!["n".repeat(200); 12].join("/"), [".."; 12].join("/"));
    let [mut rest, _] = both();
    let (name, _) = rest.remove(1);
    let tar = (0..39).fold(tar(&rest), |tar, n| {
        let steps = [down.as_str(), up.as_str(), down.as_str(), up.as_str()].join("/");
        let target = format!("{steps}/l{}", n + 1);
        tar.long_link(target).symlink(format!("l{n}"), "")
    });
    quickly(|| {
        refused(
            tar.symlink(&name, "/l0").end(),
            4,
            &["lead on for too long"],
        );
    });
}
