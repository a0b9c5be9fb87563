"""Makes images for measuring how things grow: variations of a base, and one of any number of files."""

import os
import random

from images import copy_layout, layout  # puts the corpus's modules on the path
from making import add_file, layer, make_image

A_FOLDER = 1000
# The sizes of a base's files where no image is given: about those that a small distribution has.
SIZES = (200, 500, 1000, 2000, 3000, 5000, 8000, 20000)


def content(seed, size):
    """Returns bytes that no other seed gives, and that compress to about half."""
    half = random.Random(seed).randbytes(min(size, 16000) // 2 + 1)
    return (half * (size // len(half) + 1))[:size]


class Varied:
    """A layout with a base image, over which layers are put that change a share of its files."""

    def __init__(self, folder, image, files):
        """Takes an image as the base, or else makes one of that many files."""
        self.folder, self.over = folder, None
        if image:
            copy_layout([image], folder)
            config = layout.read_json(layout.blob_path(folder, image.document["config"]["digest"]))
            self.layers = list(
                zip(image.document["layers"], config["rootfs"]["diff_ids"], strict=True)
            )
            self.files = files_of(image)
        else:
            self.files = [(f"d{n // 50}/f{n}", SIZES[n % len(SIZES)]) for n in range(files)]
            self.layers = self.layer((name, content(name, size)) for name, size in self.files)

    def layer(self, files):
        with layer(self.folder, compress=True) as (tar, done):
            for name, data in files:
                add_file(tar, name, data)
        return done

    def put_over(self, files):
        """Makes an image called 1 of the base and one more layer, whose predecessor goes."""
        if self.over:
            os.unlink(layout.blob_path(self.folder, self.over))
        added = self.layer(files)
        self.over = added[0][0]["digest"]
        make_image(self.folder, self.layers + added)

    def make_base(self):
        make_image(self.folder, self.layers)

    def make_variation(self, number, share):
        """Makes an image called 1 of the base with a share of its files changed, others each time."""
        changed = random.Random(number).sample(self.files, max(1, round(len(self.files) * share)))
        self.put_over((name, content(f"{number} {name}", size)) for name, size in changed)

    def make_addition(self, seed, count):
        """Makes an image called 1 of the base with many small files more."""
        files = ((f"more/d{n // A_FOLDER}/f{n}", f"{seed} {n}\n".encode()) for n in range(count))
        self.put_over(files)


def files_of(image):
    """Returns path and size of the regular files of an image that have something in them."""
    found = {}
    for blob in image.layers():
        for _, member in layout.members(blob):
            if member.isreg() and not os.path.basename(member.name).startswith(".wh."):
                found[member.name] = member.size
    return sorted((name, size) for name, size in found.items() if size)


class Large:
    """A layout with layers of many small files, any of which make an image.

    The last of eleven has one in a hundred of the files, those before it about a tenth each.
    """

    def __init__(self, folder, files):
        self.folder, self.layers = folder, []
        few = files // 100
        sizes = [(files - few) // 10] * 9
        for number, count in enumerate([*sizes, files - few - sum(sizes), few]):
            with layer(folder, compress=True) as (tar, done):
                for file in range(count):
                    add_file(
                        tar, f"l{number}/d{file // A_FOLDER}/f{file}", f"{number} {file}\n".encode()
                    )
            self.layers += done

    def make(self, layers):
        """Makes the image called 1 consist of some layers: a slice."""
        make_image(self.folder, self.layers[layers])
