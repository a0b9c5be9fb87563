"""The images that are measured: finds them in a folder of layouts, and copies them into new ones."""

import os
import shutil
import sys
from typing import NamedTuple

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/corpus"))

import layout  # noqa: E402  (of the folder that was just added)
from peers import write_json  # noqa: E402

GZIP = "gzip"


class Image(NamedTuple):
    """One image of one platform with a name in a layout."""

    folder: str
    tag: str
    descriptor: dict
    document: dict

    @property
    def name(self):
        """Returns the name that `import` gives it."""
        return f"{os.path.basename(self.folder)}:{self.tag}"

    @property
    def source(self):
        return f"oci:{self.folder}:{self.tag}"

    def layers(self):
        """Returns the paths of its layers' blobs, the lowest first."""
        return [layout.blob_path(self.folder, one["digest"]) for one in self.document["layers"]]

    def blobs(self):
        """Returns the paths of all its blobs."""
        digests = layout.reachable(self.folder, self.descriptor)
        return [layout.blob_path(self.folder, digest) for digest in digests]

    def is_gzip(self):
        return all(one["mediaType"].endswith(GZIP) for one in self.document["layers"])


def is_layout(folder):
    return os.path.exists(os.path.join(folder, "index.json"))


def find(folder):
    """Returns the images of all layouts in a folder, or of the layout that it is itself."""
    folder = os.path.abspath(folder)
    places = (
        [folder]
        if is_layout(folder)
        else sorted(os.path.join(folder, name) for name in os.listdir(folder))
    )
    found = []
    for place in filter(is_layout, places):
        for entry in layout.images(layout.Source(place, None)):
            manifests = list(layout.manifests(place, entry.descriptor))
            if entry.ref and len(manifests) == 1 and layout.is_image(manifests[0]):
                found.append(Image(place, entry.ref, entry.descriptor, manifests[0].document))
    return found


def families(images):
    """Returns the images of each layout that has at least two of gzip: releases of one thing."""
    by_folder = {}
    for image in filter(Image.is_gzip, images):
        by_folder.setdefault(image.folder, []).append(image)
    return [family for family in by_folder.values() if len(family) > 1]


def new_share(known, image):
    """Returns which share of an image's compressed bytes is in layers that another image has not."""
    there = {one["digest"] for one in known.document["layers"]}
    sizes = [(one["size"], one["digest"] in there) for one in image.document["layers"]]
    return sum(size for size, is_there in sizes if not is_there) / sum(size for size, _ in sizes)


def copy_layout(images, destination):
    """Makes a layout of copies of some images; their tags there are their names with a dash."""
    entries = []
    for image in images:
        for blob in image.blobs():
            target = os.path.join(destination, os.path.relpath(blob, image.folder))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.exists(target):
                shutil.copyfile(blob, target)
        descriptor = {key: image.descriptor[key] for key in ("mediaType", "digest", "size")}
        entries.append({**descriptor, "annotations": {layout.REF_NAME: dashed(image)}})
    write_json(os.path.join(destination, "index.json"), {"schemaVersion": 2, "manifests": entries})
    write_json(os.path.join(destination, "oci-layout"), {"imageLayoutVersion": "1.0.0"})


def dashed(image):
    return image.name.replace(":", "-")
