//! Owns what a container gets that no image asks for: namespaces, mounts, capabilities, limits. The values are those
//! of umoci, which are runtime-tools' own, and a control-group namespace.

use super::isolation::Isolation;
use super::spec::{
    Capabilities, DeviceRule, Linux, Mount, Namespace, Process, Resources, Rlimit, Root, Spec, User,
};

/// The version of runtime-spec whose fields are used.
const VERSION: &str = "1.0.0";

/// What is run where an image says nothing.
pub(super) const SHELL: &str = "sh";

/// Environment that an image does not have to set.
pub(super) const ENV: [(&str, &str); 2] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("TERM", "xterm"),
];

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const MASKED: &[&str] = &[
    "/proc/kcore",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READ_ONLY: &[&str] = &[
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The group of terminals: `tty` of every distribution.
const TTY: u32 = 5;

/// Returns the config of a container that runs a shell.
pub(super) fn spec(isolation: &Isolation) -> Spec {
    let (uid_mappings, gid_mappings) = isolation.mappings();
    Spec {
        oci_version: VERSION,
        process: process(),
        root: Root { path: "rootfs" },
        hostname: "ocistore",
        mounts: mounts(isolation),
        annotations: std::collections::BTreeMap::new(),
        linux: Linux {
            uid_mappings,
            gid_mappings,
            resources: resources(isolation),
            namespaces: namespaces(isolation),
            masked_paths: MASKED,
            readonly_paths: READ_ONLY,
        },
    }
}

fn process() -> Process {
    Process {
        terminal: true,
        user: User::default(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".to_owned(),
        capabilities: Capabilities {
            bounding: CAPABILITIES,
            effective: CAPABILITIES,
            inheritable: CAPABILITIES,
            permitted: CAPABILITIES,
            ambient: CAPABILITIES,
        },
        rlimits: vec![Rlimit {
            kind: "RLIMIT_NOFILE",
            hard: 1024,
            soft: 1024,
        }],
        no_new_privileges: true,
    }
}

/// Returns the rules of devices; who is not root cannot set any.
fn resources(isolation: &Isolation) -> Option<Resources> {
    match isolation {
        Isolation::Rootless { .. } => None,
        Isolation::None | Isolation::Mapped { .. } => Some(Resources {
            devices: vec![DeviceRule {
                allow: false,
                access: "rwm",
            }],
        }),
    }
}

/// Returns the namespaces; in a network namespace of its own a rootless container could reach nothing.
fn namespaces(isolation: &Isolation) -> Vec<Namespace> {
    let network = match isolation {
        Isolation::Rootless { .. } => None,
        Isolation::None | Isolation::Mapped { .. } => Some("network"),
    };
    let user = isolation.has_user_namespace().then_some("user");
    let kinds = ["cgroup", "pid"].into_iter().chain(network);
    kinds
        .chain(["ipc", "uts", "mount"])
        .chain(user)
        .map(|kind| Namespace { kind })
        .collect()
}

fn mount(
    destination: &str,
    kind: &'static str,
    source: &'static str,
    options: &[&'static str],
) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind,
        source,
        options: options.to_vec(),
    }
}

fn mounts(isolation: &Isolation) -> Vec<Mount> {
    let mut pts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    // Where the group is none, the mount would fail.
    if isolation.has_gid(TTY) {
        pts.push("gid=5");
    }
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
    ];
    match isolation {
        Isolation::None | Isolation::Mapped { .. } => mounts.extend([
            mount(
                "/sys",
                "sysfs",
                "sysfs",
                &["nosuid", "noexec", "nodev", "ro"],
            ),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
        ]),
        // It takes the network namespace to mount a sysfs.
        Isolation::Rootless { resolv_conf, .. } => {
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            mounts.push(mount("/sys", "bind", "/sys", &options));
            if let Some(kept) = resolv_conf {
                const PATH: &str = "/etc/resolv.conf";
                let options: Vec<_> = ["rbind", "ro"].iter().chain(kept).copied().collect();
                mounts.push(mount(PATH, "bind", PATH, &options));
            }
        }
    }
    mounts
}

/// Returns the mount that keeps what is written to a volume out of the root filesystem.
pub(super) fn volume(destination: &str) -> Mount {
    let options = ["rw", "nosuid", "nodev", "noexec", "relatime"];
    mount(destination, "tmpfs", "none", &options)
}
