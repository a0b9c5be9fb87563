//! The property of containers' configs: whatever an image's config, users and groups are, what is made of them is one
//! document, the same each time, and asks for nothing but what its image may.

use serde_json::Value;

use crate::idmap::IdMap;
use crate::json::strict_json;
use crate::runtime::{Accounts, Isolation, Mapping, Request, convert};

/// Converts a config with a passwd and a group, which lines of `--` part.
pub fn runtime(data: &[u8]) {
    let mut parts = split(data);
    let config = parts.next().unwrap_or_default();
    let accounts = Accounts {
        passwd: parts.next().map(<[u8]>::to_vec),
        group: parts.next().map(<[u8]>::to_vec),
    };
    for isolation in isolations() {
        let request = Request {
            config,
            accounts: &accounts,
            isolation: &isolation,
        };
        let made = convert(request);
        assert_eq!(convert(request), made);
        if let Ok(made) = made {
            let spec = strict_json(&made.bytes).expect("what is made is JSON without a key twice");
            check(&spec);
        }
    }
}

fn split(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const LINE: &[u8] = b"\n--\n";
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let here = rest?;
        let cut = here.windows(LINE.len()).position(|part| part == LINE);
        rest = cut.map(|cut| &here[cut + LINE.len()..]);
        Some(cut.map_or(here, |cut| &here[..cut]))
    })
}

fn isolations() -> [Isolation; 3] {
    let mut map = IdMap::default();
    map.add("0:100000:1000").expect("a range");
    [
        Isolation::None,
        Isolation::Rootless {
            uid: 1,
            gid: 2,
            resolv_conf: Some(Vec::new()),
        },
        Isolation::Mapped {
            uids: Mapping::Map(map),
            gids: Mapping::Same,
        },
    ]
}

fn check(spec: &Value) {
    let process = &spec["process"];
    assert!(
        process["args"]
            .as_array()
            .is_some_and(|args| !args.is_empty())
    );
    assert!(
        process["cwd"]
            .as_str()
            .is_some_and(|cwd| cwd.starts_with('/'))
    );
    for id in ["uid", "gid"] {
        let id = process["user"][id].as_u64();
        assert!(id.is_some_and(|id| id < u64::from(u32::MAX)));
    }
    let mut names = std::collections::HashSet::new();
    for variable in process["env"].as_array().into_iter().flatten() {
        let name = variable.as_str().and_then(|text| text.split_once('='));
        assert!(name.is_some_and(|(name, _)| !name.is_empty() && names.insert(name.to_owned())));
    }
    // An image asks for no other right, no other source of a mount, and gives no orders.
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(
        process["capabilities"]["bounding"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(spec.get("hooks"), None);
    for mount in spec["mounts"].as_array().into_iter().flatten() {
        let at = mount["destination"].as_str().expect("a text");
        assert!(at.starts_with('/') && !at.split('/').any(|name| name == ".."));
        let own = ["/sys", "/etc/resolv.conf"].map(Value::from);
        assert!(mount["type"] != "bind" || own.contains(&mount["source"]));
    }
    let annotations = spec["annotations"].as_object().expect("an object");
    assert!(annotations.keys().all(|key| !key.starts_with("run.oci.")));
}
