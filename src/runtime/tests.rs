//! The table of image-spec conversion.md, row by row, and what no runtime could start.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::idmap::IdMap;

const PASSWD: &[u8] = b"root:x:0:0::/root:\nada:x:1000:1001::/home/ada:\n";
const GROUP: &[u8] = b"root:x:0:root\nvideo:x:44:ada\nhigh:x:70000:ada\n";

fn accounts() -> Accounts {
    Accounts {
        passwd: Some(PASSWD.to_vec()),
        group: Some(GROUP.to_vec()),
    }
}

fn try_with(image: &Value, isolation: &Isolation) -> Result<Converted, ConvertError> {
    convert(Request {
        config: image.to_string().as_bytes(),
        accounts: &accounts(),
        isolation,
    })
}

fn read(converted: &Converted) -> Value {
    serde_json::from_slice(&converted.bytes).unwrap()
}

/// What becomes of an image of Linux with this `config`.
fn of(config: &Value) -> Value {
    let image = json!({"os": "linux", "architecture": "amd64", "config": config});
    read(&try_with(&image, &Isolation::None).unwrap())
}

fn refused(config: &Value) -> String {
    let image = json!({"os": "linux", "architecture": "amd64", "config": config});
    try_with(&image, &Isolation::None).unwrap_err().to_string()
}

fn rootless() -> Isolation {
    Isolation::Rootless {
        uid: 1234,
        gid: 5678,
        resolv_conf: Some(vec!["nosuid"]),
    }
}

fn mapped(uids: &[&str], gids: &[&str]) -> Isolation {
    let map = |ranges: &[&str]| {
        let mut map = IdMap::default();
        ranges.iter().for_each(|range| map.add(range).unwrap());
        Mapping::from(Some(map).filter(|_| !ranges.is_empty()))
    };
    Isolation::Mapped {
        uids: map(uids),
        gids: map(gids),
    }
}

fn mount<'v>(spec: &'v Value, at: &str) -> Option<&'v Value> {
    let mounts = spec["mounts"].as_array().unwrap();
    mounts.iter().find(|mount| mount["destination"] == at)
}

fn namespaces(spec: &Value) -> Vec<&str> {
    let all = spec["linux"]["namespaces"].as_array().unwrap();
    all.iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect()
}

#[test]
fn an_entrypoint_goes_before_what_cmd_says() {
    for (config, args) in [
        (
            json!({"Entrypoint": ["a", "b"], "Cmd": ["c"]}),
            json!(["a", "b", "c"]),
        ),
        (json!({"Entrypoint": ["a"]}), json!(["a"])),
        (
            json!({"Cmd": ["c", ""], "Entrypoint": null}),
            json!(["c", ""]),
        ),
        (json!({"Entrypoint": [], "Cmd": []}), json!(["sh"])),
        (json!({}), json!(["sh"])),
    ] {
        assert_eq!(of(&config)["process"]["args"], args, "{config}");
    }
}

#[test]
fn the_environment_is_the_images_and_what_it_does_not_set() {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (env, wanted) in [
        (json!(null), json!([PATH, "TERM=xterm", "HOME=/root"])),
        (
            json!(["A=b=c", "B="]),
            json!(["A=b=c", "B=", PATH, "TERM=xterm", "HOME=/root"]),
        ),
        (
            json!(["HOME=/", "TERM=", "PATH=/bin"]),
            json!(["HOME=/", "TERM=", "PATH=/bin"]),
        ),
        (
            json!(["A=1", "B=2", "A=3"]),
            json!(["A=3", "B=2", PATH, "TERM=xterm", "HOME=/root"]),
        ),
    ] {
        assert_eq!(of(&json!({"Env": env}))["process"]["env"], wanted, "{env}");
    }
    assert_eq!(
        refused(&json!({"Env": ["A=1", "oops"]})),
        "expected NAME=VALUE in its Env, got 'oops'"
    );
    assert!(refused(&json!({"Env": ["=1"]})).contains("got '=1'"));
    // Who has no line in passwd has no home there either.
    assert_eq!(
        of(&json!({"User": "7"}))["process"]["env"],
        json!([PATH, "TERM=xterm"])
    );
}

#[test]
fn the_working_directory_is_the_images_or_the_root() {
    assert_eq!(
        of(&json!({"WorkingDir": "/srv/x"}))["process"]["cwd"],
        "/srv/x"
    );
    assert_eq!(of(&json!({"WorkingDir": ""}))["process"]["cwd"], "/");
    assert_eq!(of(&json!({}))["process"]["cwd"], "/");
    assert_eq!(
        refused(&json!({"WorkingDir": "srv"})),
        "its WorkingDir 'srv' is not an absolute path"
    );
}

#[test]
fn the_user_is_the_one_of_the_images_tables() {
    let user = |user: &str| of(&json!({"User": user}))["process"]["user"].clone();
    assert_eq!(
        user("ada"),
        json!({"uid": 1000, "gid": 1001, "additionalGids": [44, 70000]})
    );
    assert_eq!(user("1000"), json!({"uid": 1000, "gid": 1001}));
    assert_eq!(user("ada:7"), json!({"uid": 1000, "gid": 7}));
    assert_eq!(user(""), json!({"uid": 0, "gid": 0, "additionalGids": [0]}));
    assert!(refused(&json!({"User": "eve"})).contains("its user 'eve' is not in"));
    let home = of(&json!({"User": "ada"}))["process"]["env"][2].clone();
    assert_eq!(home, "HOME=/home/ada");
}

#[test]
fn fields_without_a_place_of_their_own_become_annotations() {
    let image = json!({
        "os": "linux", "architecture": "arm64", "variant": "v8", "author": "Ada <a@b>",
        "os.version": "6.1", "os.features": ["x", "y"], "created": "2026-01-02T03:04:05.6+02:00",
        "config": {
            "StopSignal": "SIGQUIT",
            "ExposedPorts": {"80/tcp": {}, "443": {}, "53/udp": {}},
            "Labels": {"mine": "1", "org.opencontainers.image.author": "Eve"},
        },
    });
    let spec = read(&try_with(&image, &Isolation::None).unwrap());
    assert_eq!(
        spec["annotations"],
        json!({
            "mine": "1",
            "org.opencontainers.image.architecture": "arm64",
            // A label goes before what the config says elsewhere.
            "org.opencontainers.image.author": "Eve",
            "org.opencontainers.image.created": "2026-01-02T03:04:05.6+02:00",
            "org.opencontainers.image.exposedPorts": "443,53/udp,80/tcp",
            "org.opencontainers.image.os": "linux",
            "org.opencontainers.image.os.features": "x,y",
            "org.opencontainers.image.os.version": "6.1",
            "org.opencontainers.image.stopSignal": "SIGQUIT",
            "org.opencontainers.image.variant": "v8",
        })
    );
    // What an image does not say is no annotation.
    assert_eq!(
        of(&json!({"ExposedPorts": {}}))["annotations"],
        json!({
            "org.opencontainers.image.architecture": "amd64",
            "org.opencontainers.image.os": "linux",
        })
    );
}

#[test]
fn labels_that_a_runtime_would_obey_are_left_out_and_named() {
    let labels = json!({
        "run.oci.handler": "wasm", "org.systemd.property.TimeoutStopUSec": "uint64 1",
        "module.wasm.image/variant": "compat", "": "nothing", "run.ocelot": "stays",
    });
    let image = json!({"os": "linux", "config": {"Labels": labels}});
    let converted = try_with(&image, &Isolation::None).unwrap();
    assert_eq!(
        converted.left_out,
        [
            "",
            "module.wasm.image/variant",
            "org.systemd.property.TimeoutStopUSec",
            "run.oci.handler"
        ]
    );
    assert_eq!(
        read(&converted)["annotations"],
        json!({"org.opencontainers.image.os": "linux", "run.ocelot": "stays"})
    );
}

#[test]
fn a_volume_is_a_mount_after_the_others_in_the_order_of_their_paths() {
    let spec = of(&json!({"Volumes": {"/srv/b": {}, "/srv": {}, "/a b": null}}));
    let mounts = spec["mounts"].as_array().unwrap();
    let at: Vec<&str> = mounts[mounts.len() - 3..]
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap())
        .collect();
    assert_eq!(at, ["/a b", "/srv", "/srv/b"]);
    assert_eq!(
        mount(&spec, "/srv").unwrap(),
        &json!({
            "destination": "/srv", "type": "tmpfs", "source": "none",
            "options": ["rw", "nosuid", "nodev", "noexec", "relatime"],
        })
    );
    for (volume, why) in [
        ("", "is not an absolute path below the root"),
        ("srv", "is not an absolute path below the root"),
        ("/", "is not an absolute path below the root"),
        ("//.", "is not an absolute path below the root"),
        ("/a/../..", "has a '..'"),
    ] {
        let said = refused(&json!({"Volumes": {volume: {}}}));
        assert!(said.contains(why), "{volume}: {said}");
    }
}

#[test]
fn what_no_runtime_can_start_is_refused() {
    for config in [
        json!({"Cmd": ["a\0b"]}),
        json!({"Entrypoint": ["\0"]}),
        json!({"Env": ["A=\0"]}),
        json!({"WorkingDir": "/\0"}),
        json!({"Volumes": {"/\0": {}}}),
    ] {
        assert!(refused(&config).starts_with("a NUL in its "), "{config}");
    }
    for (image, why) in [
        (json!({"os": "windows"}), "expected os linux, got windows"),
        (json!({}), "expected os linux, got nothing"),
        (
            json!({"os": "linux", "config": {"Cmd": "sh"}}),
            "malformed image config",
        ),
        (
            json!({"os": "linux", "config": {"Env": [1]}}),
            "malformed image config",
        ),
        (
            json!({"os": "linux", "config": {"Labels": {"a": 1}}}),
            "malformed image config",
        ),
        (json!(["linux"]), "malformed image config"),
    ] {
        let said = try_with(&image, &Isolation::None).unwrap_err().to_string();
        assert!(said.contains(why), "{image}: {said}");
    }
    for bytes in [
        &b""[..],
        b"{",
        b"\xef\xbb\xbf{}",
        br#"{"os":"linux","os":"linux"}"#,
    ] {
        let request = Request {
            config: bytes,
            accounts: &accounts(),
            isolation: &Isolation::None,
        };
        convert(request).unwrap_err();
    }
}

#[test]
fn without_a_config_of_its_own_an_image_has_a_shell() {
    let image = json!({"os": "linux", "config": null});
    let spec = read(&try_with(&image, &Isolation::None).unwrap());
    assert_eq!(spec["process"]["args"], json!(["sh"]));
    assert_eq!(spec["process"]["terminal"], true);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    assert_eq!(spec["root"], json!({"path": "rootfs"}));
    assert_eq!(spec["ociVersion"], "1.0.0");
}

#[test]
fn root_has_every_namespace_but_one_of_users() {
    let spec = of(&json!({}));
    assert_eq!(
        namespaces(&spec),
        ["cgroup", "pid", "network", "ipc", "uts", "mount"]
    );
    assert_eq!(spec["linux"].get("uidMappings"), None);
    assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], false);
    let options = mount(&spec, "/dev/pts").unwrap()["options"]
        .as_array()
        .unwrap();
    assert!(options.contains(&json!("gid=5")));
    assert_eq!(mount(&spec, "/sys").unwrap()["type"], "sysfs");
    assert!(mount(&spec, "/sys/fs/cgroup").is_some());
    assert!(mount(&spec, "/etc/resolv.conf").is_none());
}

#[test]
fn a_rootless_container_needs_no_right_of_root() {
    let image = json!({"os": "linux", "config": {"User": "root"}});
    let converted = try_with(&image, &rootless()).unwrap();
    assert_eq!(converted.unstartable, None);
    let spec = read(&converted);
    assert_eq!(
        namespaces(&spec),
        ["cgroup", "pid", "ipc", "uts", "mount", "user"]
    );
    let one = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}]);
    assert_eq!(spec["linux"]["uidMappings"], one(1234));
    assert_eq!(spec["linux"]["gidMappings"], one(5678));
    assert_eq!(spec["linux"].get("resources"), None);
    assert_eq!(spec["process"]["user"], json!({"uid": 0, "gid": 0}));
    let options = mount(&spec, "/dev/pts").unwrap()["options"]
        .as_array()
        .unwrap();
    assert!(!options.contains(&json!("gid=5")));
    assert_eq!(mount(&spec, "/sys").unwrap()["type"], "bind");
    assert!(mount(&spec, "/sys/fs/cgroup").is_none());
    let resolv = mount(&spec, "/etc/resolv.conf").unwrap();
    assert_eq!(resolv["options"], json!(["rbind", "ro", "nosuid"]));
    // A host without the file has nothing to mount.
    let without = Isolation::Rootless {
        uid: 1,
        gid: 1,
        resolv_conf: None,
    };
    let spec = read(&try_with(&image, &without).unwrap());
    assert!(mount(&spec, "/etc/resolv.conf").is_none());
}

#[test]
fn maps_are_the_container_s_as_they_are_the_files() {
    let image = json!({"os": "linux", "config": {"User": "ada"}});
    let isolation = mapped(&["1000:7:2", "0:200000:1000"], &["0:300000:65536"]);
    let converted = try_with(&image, &isolation).unwrap();
    assert_eq!(converted.unstartable, None);
    let spec = read(&converted);
    assert_eq!(
        namespaces(&spec),
        ["cgroup", "pid", "network", "ipc", "uts", "mount", "user"]
    );
    assert_eq!(
        spec["linux"]["uidMappings"],
        json!([
            {"containerID": 0, "hostID": 200_000, "size": 1000},
            {"containerID": 1000, "hostID": 7, "size": 2},
        ])
    );
    assert_eq!(
        spec["linux"]["gidMappings"],
        json!([{"containerID": 0, "hostID": 300_000, "size": 65536}])
    );
    // The group 70000 is in no range: nobody can be in it.
    assert_eq!(spec["process"]["user"]["additionalGids"], json!([44]));
    // Without a map of their own, groups are the host's.
    let spec = read(&try_with(&image, &mapped(&["0:1:65536"], &[])).unwrap());
    assert_eq!(
        spec["linux"]["gidMappings"],
        json!([{"containerID": 0, "hostID": 0, "size": 4_294_967_295_u32}])
    );
    // The group of terminals is left out where there is none.
    let spec = read(&try_with(&json!({"os": "linux"}), &mapped(&["0:1"], &["0:1"])).unwrap());
    let options = mount(&spec, "/dev/pts").unwrap()["options"]
        .as_array()
        .unwrap();
    assert!(!options.contains(&json!("gid=5")));
}

#[test]
fn a_user_that_the_namespace_does_not_have_is_told() {
    let image = json!({"os": "linux", "config": {"User": "ada"}});
    let why = |isolation: &Isolation| try_with(&image, isolation).unwrap().unstartable;
    assert_eq!(why(&Isolation::None), None);
    assert_eq!(why(&rootless()), Some(Unstartable::User(1000)));
    let maps = mapped(&["0:1:65536"], &["0:1:1001"]);
    assert_eq!(why(&maps), Some(Unstartable::Group(1001)));
}

#[test]
fn the_bytes_are_the_same_each_time() {
    let labels: serde_json::Map<String, Value> = (0..50)
        .map(|at| (format!("l{}", at * 7919 % 50), json!("x")))
        .collect();
    let image = json!({"os": "linux", "config": {"Labels": labels}});
    let first = try_with(&image, &Isolation::None).unwrap();
    assert!(first.bytes.ends_with(b"}\n") && first.bytes.starts_with(b"{\n  \"ociVersion\""));
    for _ in 0..5 {
        assert_eq!(try_with(&image, &Isolation::None).unwrap(), first);
    }
    let mut backwards: Vec<_> = labels.into_iter().collect();
    backwards.reverse();
    let backwards: serde_json::Map<String, Value> = backwards.into_iter().collect();
    let image = json!({"config": {"Labels": backwards}, "os": "linux"});
    assert_eq!(try_with(&image, &Isolation::None).unwrap(), first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_converted_is_json_whatever_tables_and_users_say(
        user in ".{0,12}|[a-z]{1,3}(:[a-z0-9]{0,3})?|[0-9]{1,11}",
        passwd in "([a-c]{0,2}(:x?(:[0-9]{0,11}){0,3}(:[a-z/]{0,4}){0,3})?\n?){0,4}",
        group in "([a-c]{0,2}(:x?(:[0-9]{0,11})?(:[a-c,]{0,6})?)?\n?){0,4}",
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut group = group.into_bytes();
        group.extend(noise);
        let accounts = Accounts { passwd: Some(passwd.into_bytes()), group: Some(group) };
        let image = json!({"os": "linux", "config": {"User": user}});
        for isolation in [Isolation::None, rootless(), mapped(&["0:1:1000"], &[])] {
            let config = image.to_string();
            let request = Request { config: config.as_bytes(), accounts: &accounts, isolation: &isolation };
            if let Ok(converted) = convert(request) {
                let spec = read(&converted);
                for id in ["uid", "gid"] {
                    let id = spec["process"]["user"][id].as_u64().unwrap();
                    prop_assert!(id < u64::from(u32::MAX));
                }
            }
        }
    }
}
