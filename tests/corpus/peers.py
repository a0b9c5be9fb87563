"""Runs the other tools that read OCI images: umoci, skopeo, buildah.

Each function returns what is wrong in one text, or None.
"""

import json
import os
import shutil
import subprocess

import layout

NEEDED = ("umoci", "skopeo", "buildah", "zstd")
UMOCI_LAYERS = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
VIEW_REF = "image"


def missing():
    """Returns the names of the tools that are not here."""
    return [name for name in NEEDED if shutil.which(name) is None]


def run(*command, folder=None):
    """Returns what is wrong with a command's run, or None."""
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    # The last lines: tools tell what they do first, and why they stopped at the end.
    return f"{' '.join(command)}: exit {done.returncode}: " + "\n     ".join(said.splitlines()[-5:])


def view(directory, manifest, destination):
    """Makes a layout that holds one manifest of another, whose blobs it shares, as VIEW_REF."""
    os.makedirs(destination)
    os.symlink(
        os.path.abspath(os.path.join(directory, "blobs")), os.path.join(destination, "blobs")
    )
    descriptor = {key: manifest.descriptor[key] for key in ("mediaType", "digest", "size")}
    descriptor["annotations"] = {layout.REF_NAME: VIEW_REF}
    write_json(os.path.join(destination, "oci-layout"), {"imageLayoutVersion": "1.0.0"})
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    write_json(os.path.join(destination, "index.json"), index)


def write_json(path, document):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)


def umoci_reads(manifest):
    """Tells whether umoci 0.4.7 knows all media types of an image: no zstd, nothing of Docker."""
    types = {layer["mediaType"] for layer in manifest.document["layers"]}
    return manifest.document["config"]["mediaType"] == OCI_CONFIG and types <= UMOCI_LAYERS


def umoci_layout(directory, manifest, work):
    """Makes a layout from which umoci can unpack one manifest; returns it, and what is wrong."""
    seen = os.path.join(work, "view")
    view(directory, manifest, seen)
    if umoci_reads(manifest):
        return seen, None
    converted = os.path.join(work, "gzip")
    problem = run(
        "skopeo", "copy", "--quiet", "--format", "oci", "--dest-compress-format", "gzip",
        f"oci:{seen}:{VIEW_REF}", f"oci:{converted}:{VIEW_REF}",
    )  # fmt: skip
    return converted, problem


def umoci_unpack(directory, ref, destination):
    return run("umoci", "raw", "unpack", "--image", f"{directory}:{ref}", destination)


def skopeo_copy(directory, ref, destination):
    return run("skopeo", "copy", "--quiet", "--all", f"oci:{directory}:{ref}", f"dir:{destination}")


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, work):
        self._base = ["buildah", "--root", f"{work}/storage", "--runroot", f"{work}/run"]
        # overlay unpacks a layer once; vfs copies all below it too, but works everywhere.
        overlay = run(*self._base, "--storage-driver", "overlay", "images")
        self._base += ["--storage-driver", "vfs" if overlay else "overlay"]

    def from_layout(self, directory, ref, platform):
        which = ["--platform", platform] if platform else []
        # buildah names the image after its path, and not every path is a name.
        folder, base = os.path.split(directory)
        return run(*self._base, "from", "--quiet", *which, f"oci:{base}:{ref}", folder=folder)


def has_reflinks(directory):
    """Tells whether the file system of a directory can share blocks between files."""
    source, copy = os.path.join(directory, "probe"), os.path.join(directory, "probe-copy")
    with open(source, "w", encoding="ascii") as file:
        file.write("probe")
    works = run("cp", "--reflink=always", source, copy) is None
    for path in (source, copy):
        if os.path.exists(path):
            os.unlink(path)
    return works
