//! Owns a container's annotations: the image's labels, and what its config says beside them (image-spec conversion.md,
//! "Annotation Fields" and "Annotations"). Labels go first. Annotations of manifests and indexes are not taken.
//!
//! Labels that a runtime takes as orders are left out: an image says how it was made, not what the host does.

use std::collections::BTreeMap;

use super::image::Image;

const PREFIX: &str = "org.opencontainers.image.";

/// What runtimes obey: crun's handlers and hooks, runc's and crun's properties of systemd units.
const ORDERS: [&str; 3] = ["run.oci.", "module.wasm.image/", "org.systemd.property."];

/// Returns the annotations, and the labels that were left out.
pub(super) fn annotations(image: &Image) -> (BTreeMap<String, String>, Vec<String>) {
    let Image {
        os,
        architecture,
        variant,
        os_version,
        os_features,
        author,
        created,
        config,
    } = image;
    let list = |items: Vec<&str>| Some(items.join(",")).filter(|_| !items.is_empty());
    let features = list(os_features.iter().map(String::as_str).collect());
    let ports = list(config.exposed_ports.keys().map(String::as_str).collect());
    let said = [
        ("os", os.clone()),
        ("architecture", architecture.clone()),
        ("variant", variant.clone()),
        ("os.version", os_version.clone()),
        ("os.features", features),
        ("author", author.clone()),
        ("created", created.clone()),
        ("stopSignal", config.stop_signal.clone()),
        ("exposedPorts", ports),
    ];
    let said = said.into_iter();
    let mut annotations: BTreeMap<String, String> = said
        .filter_map(|(key, value)| value.map(|value| (format!("{PREFIX}{key}"), value)))
        .collect();
    let mut left_out = Vec::new();
    for (key, value) in &config.labels {
        if key.is_empty() || ORDERS.iter().any(|order| key.starts_with(order)) {
            left_out.push(key.clone());
        } else {
            annotations.insert(key.clone(), value.clone());
        }
    }
    (annotations, left_out)
}
