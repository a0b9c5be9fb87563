"""Finds the different file contents of layers, from their tars alone."""

import hashlib
import os

import layout


class Contents:
    """The contents of layers, each layer read once however often it is asked for."""

    def __init__(self):
        self._layers = {}

    def of(self, images):
        """Returns the size of every content in all layers of some images, by its identity."""
        sizes = {}
        for image in images:
            for manifest in layout.manifests(image.layout, image.descriptor):
                if layout.is_image(manifest):
                    for layer in manifest.document["layers"]:
                        sizes.update(self._of_layer(image.layout, layer["digest"]))
        return sizes

    def _of_layer(self, directory, digest):
        if digest not in self._layers:
            self._layers[digest] = read_layer(layout.blob_path(directory, digest))
        return self._layers[digest]


def content_id(file):
    digest = hashlib.sha256()
    while block := file.read(layout.BLOCK):
        digest.update(block)
    return digest.digest()


def read_layer(path):
    """Returns the size of every content in one layer: also of files that a later layer hides."""
    sizes = {}
    for tar, member in layout.members(path):
        whiteout = os.path.basename(member.name).startswith(".wh.")
        if member.isreg() and not whiteout:
            sizes[content_id(tar.extractfile(member))] = member.size
    return sizes


def summary(sizes):
    """Returns the counts that unique-contents prints."""
    nonempty = [size for size in sizes.values() if size > 0]
    return {"contents": len(sizes), "nonempty": len(nonempty), "bytes": sum(nonempty)}
