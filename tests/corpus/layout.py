"""Reads OCI image layouts: names, documents, and layers as tar streams.

Shared by the scripts beside it, and written without a look at ocistore: what
both get wrong in the same way, the scripts could not find.
"""

import contextlib
import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from typing import NamedTuple

REF_NAME = "org.opencontainers.image.ref.name"
INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
CONFIG_TYPES = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
}
LAYER_TYPES = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
}
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BLOCK = 1 << 20
TAR_BLOCK = 512


class Source(NamedTuple):
    """A layout directory, and the one name in it that is meant, or None for all."""

    directory: str
    ref: str | None

    def place(self):
        """Returns the source as OCI tools write it."""
        return f"oci:{self.directory}" + (f":{self.ref}" if self.ref else "")


class Image(NamedTuple):
    """One entry of a layout's index.json."""

    layout: str
    ref: str | None
    descriptor: dict


class Manifest(NamedTuple):
    """One manifest below an image, with the platform its index gives it, if any."""

    descriptor: dict
    document: dict
    platform: dict | None


def parse_source(text):
    """Returns the Source that `LAYOUT` or `LAYOUT:REF` names."""
    if os.path.isdir(text):
        return Source(text.rstrip("/"), None)
    directory, _, ref = text.partition(":")
    return Source(directory.rstrip("/"), ref)


def blob_path(layout, digest):
    algorithm, _, encoded = digest.partition(":")
    return os.path.join(layout, "blobs", algorithm, encoded)


def read_json(path):
    with open(path, "rb") as file:
        return json.load(file)


def images(source):
    """Returns the images that a source names."""
    entries = read_json(os.path.join(source.directory, "index.json"))["manifests"]
    found = [
        Image(source.directory, entry.get("annotations", {}).get(REF_NAME), entry)
        for entry in entries
    ]
    if source.ref is not None:
        found = [image for image in found if image.ref == source.ref]
        if not found:
            raise ValueError(f"no image '{source.ref}' in {source.directory}")
    return found


def descriptors(value):
    """Yields every descriptor anywhere in a document."""
    if isinstance(value, dict):
        if {"mediaType", "digest", "size"} <= value.keys():
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from descriptors(item)


def reachable(layout, descriptor):
    """Returns the digests of all blobs that one descriptor leads to, its own first."""
    found, waiting = [], [descriptor]
    while waiting:
        current = waiting.pop()
        digest = current["digest"]
        if digest in found or not os.path.exists(blob_path(layout, digest)):
            continue
        found.append(digest)
        # Only manifests and indexes are followed. What they name may be huge, or no JSON at all.
        if "manifest" in current["mediaType"] or "index" in current["mediaType"]:
            waiting.extend(descriptors(read_json(blob_path(layout, digest))))
    return found


def manifests(layout, descriptor, platform=None):
    """Yields the manifests that one descriptor leads to, through indexes in indexes."""
    document = read_json(blob_path(layout, descriptor["digest"]))
    if descriptor["mediaType"] in INDEX_TYPES or "manifests" in document:
        for child in document["manifests"]:
            yield from manifests(layout, child, child.get("platform"))
    else:
        yield Manifest(descriptor, document, platform)


def is_image(manifest):
    """Tells whether a manifest is of a root filesystem, and not of an artifact."""
    types = {layer["mediaType"] for layer in manifest.document.get("layers", [])}
    return manifest.document["config"]["mediaType"] in CONFIG_TYPES and types <= LAYER_TYPES


def diff_ids(layout, manifest):
    config = read_json(blob_path(layout, manifest.document["config"]["digest"]))
    return config["rootfs"]["diff_ids"]


@contextlib.contextmanager
def zstd_stream(path):
    """Opens what is inside a zstd file, by the zstd command: Python's library has no zstd."""
    with subprocess.Popen(["zstd", "-dcq", "--long=27", path], stdout=subprocess.PIPE) as child:
        yield child.stdout
        # To the end, so that zstd neither waits for a reader nor dies for the lack of one.
        while child.stdout.read(BLOCK):
            pass
    if child.returncode != 0:
        raise ValueError(f"zstd cannot read {path}")


def tar_stream(path):
    """Opens the tar inside a layer blob. What compresses it is told by its first bytes."""
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic.startswith(GZIP_MAGIC):
        return gzip.open(path, "rb")
    if magic == ZSTD_MAGIC:
        return zstd_stream(path)
    return open(path, "rb")


class Completed:
    """A tar stream with the end that some tools leave out.

    umoci-insert pads its last file to no full block, and tarfile insists on one.
    An entry that lacks more than its padding stays the error that it is.
    """

    def __init__(self, stream):
        self.stream = stream
        self.length = 0
        self.ended = False

    def read(self, size):
        data = self.stream.read(size)
        self.length += len(data)
        if len(data) < size and not self.ended:
            self.ended = True
            data += bytes(-self.length % TAR_BLOCK + 2 * TAR_BLOCK)
        return data


def members(path):
    """Yields each entry of a layer blob, with the tar to read its data from."""
    with tar_stream(path) as stream:
        source = Completed(stream)
        # Names are bytes: what is no UTF-8 comes back unchanged from raw().
        names = {"encoding": "utf-8", "errors": "surrogateescape"}
        with tarfile.open(fileobj=source, mode="r|", bufsize=BLOCK, **names) as tar:
            for member in tar:
                yield tar, member
                # tarfile keeps every member it has seen, which for a large layer is a lot.
                tar.members = []


def raw(name):
    """Returns the bytes of a name or value that tarfile has read."""
    return name.encode("utf-8", "surrogateescape")


def sha256(stream):
    digest = hashlib.sha256()
    while block := stream.read(BLOCK):
        digest.update(block)
    return "sha256:" + digest.hexdigest()
