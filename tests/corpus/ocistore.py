"""Speaks to ocistore, and says how it names things.

All that a changed command line would change here stands in this file.
"""

import json
import os
import subprocess

import layout
import peers

# The exit status for damage found in the store.
DAMAGED = 3


class Ocistore:
    """An ocistore binary and a store."""

    def __init__(self, binary, store):
        self.binary = binary
        self.store = store

    def run(self, *arguments):
        """Returns what is wrong with a command's run, or None."""
        return peers.run(self.binary, "--store", self.store, *arguments)

    def status(self, *arguments):
        """Returns the exit status of a command."""
        command = [self.binary, "--store", self.store, *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def images(self):
        """Returns the digest of every image the store names, by its name."""
        command = [self.binary, "--store", self.store, "images", "--json"]
        document = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return {image["name"]: image["digest"] for image in document["images"]}

    def delete_catalog(self):
        os.unlink(self.path("catalog.redb"))

    def path(self, name):
        return os.path.join(self.store, name)

    def blob_path(self, digest):
        return layout.blob_path(self.store, digest)


def store_name(image, alone):
    """Returns what `import` calls an image of a layout."""
    base = os.path.basename(os.path.abspath(image.layout))
    if image.ref is None:
        return f"{base}:latest" if alone else f"{base}@{image.descriptor['digest']}"
    is_full = ":" in image.ref or "/" in image.ref
    return image.ref if is_full else f"{base}:{image.ref}"


def export_tag(image):
    """Returns the tag that `export` gives an image of a layout, or None where it has no name."""
    return image.ref and image.ref.split("/")[-1].split(":")[-1]


def platform_text(platform):
    """Returns a platform as --platform takes it, or None."""
    if platform is None:
        return None
    parts = [platform["os"], platform["architecture"], platform.get("variant")]
    return "/".join(part for part in parts if part)


def expected_images(sources):
    """Returns the images of all sources by the names that the store will give them."""
    found = {}
    for source in sources:
        alone = len(layout.images(layout.Source(source.directory, None))) == 1
        for image in layout.images(source):
            name = store_name(image, alone)
            if name in found:
                raise ValueError(
                    f"two images would be called {name}: give them in runs of their own"
                )
            found[name] = image
    return found
