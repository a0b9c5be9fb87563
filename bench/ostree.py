"""The trial beside ostree, which keeps files once and checks out by hard links as we do."""

import os
import tarfile

import layout  # put on the path by images.py
import measuring
from results import Row
from trial import ImageTrial, Turn


def without_what_it_refuses(layer, target):
    """Writes a layer again without devices, fifos, whiteouts and names that are not UTF-8."""
    with tarfile.open(target, "w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as tar:
        for source, member in layout.members(layer):
            is_whiteout = os.path.basename(member.name).startswith(".wh.")
            if member.isdev() or is_whiteout or not is_utf8(member.name):
                continue
            tar.addfile(member, source.extractfile(member) if member.isreg() else None)
            tar.members.clear()


def is_utf8(name):
    """Returns whether a name, as tarfile has read it, stands for bytes that are UTF-8."""
    return not any("\udc80" <= c <= "\udcff" for c in name)


class Ostree(ImageTrial):
    """Import against `ostree commit` of the layers' tars, checkout against `ostree checkout -H`; no promise.

    Its repository is bare, as ours: files as they are, named by a hash of content and metadata. It has no
    timestamps, devices and fifos. The layers it gets are without what it refuses.
    """

    name = "ostree"

    def turns(self):
        return [
            Turn(self.take_in_and_out, ("import", "first checkout", "checkout again")),
            Turn(self.theirs, ("ostree commit", "ostree checkout -H"), "ostree"),
        ]

    def layers(self):
        for number, layer in enumerate(self.image.layers()):
            target = os.path.join(self.scene.prepared, f"{self.image.name}-{number}.tar.gz")
            if not os.path.exists(target):
                without_what_it_refuses(layer, target)
            yield target

    def theirs(self, folder):
        repo = f"--repo={folder}/ostree"
        trees = [f"--tree=tar={layer}" for layer in self.layers()]
        measuring.prepare(["ostree", repo, "init", "--mode=bare"])
        flags = ["--branch=b", "--tar-autocreate-parents"]
        self.measure("ostree commit", ["ostree", repo, "commit", *flags, *trees])
        self.measure(
            "ostree checkout -H", ["ostree", repo, "checkout", "-H", "b", f"{folder}/tree"]
        )

    def rows(self):
        name, new = self.image.name, ("import", "first checkout")
        commit, checkout = "ostree commit", "ostree checkout -H"
        return [
            Row(f"import of {name} into an empty store", new[:1], commit, (commit,)),
            Row(
                f"import and first checkout of {name}",
                new,
                f"{commit}, checkout -H",
                (commit, checkout),
            ),
            Row(f"checkout of {name} again", ("checkout again",), checkout, (checkout,)),
        ]
