"""Trials of taking images in, against tools that extract their layers."""

import os

import measuring
from results import MIB, Peak, Row
from trial import ImageTrial, Turn, root_only


def extract(program, layers, folder):
    """Returns the command that has a tar program extract layers one after another."""
    lines = [f"{program} -xf {layer} -C {folder}" for layer in layers]
    return ["sh", "-ec", "\n".join(lines)]


class Extracting(ImageTrial):
    """A trial with tar programs in it."""

    def extractor(self, program):
        def act(folder):
            target = os.path.join(folder, program)
            os.mkdir(target)
            self.measure(f"{program} -xf", extract(program, self.image.layers(), target))
            self.measure_sync(f"sync after {program}")

        return Turn(act, (f"{program} -xf", f"sync after {program}"), program)


class Import(Extracting):
    """Import, first checkout and second one, against unpacking.

    Who writes a tree is done when it is on the disk: ours is when the command ends, theirs after a `sync`,
    which has little of others to write since everything was written back before. umoci applies
    whiteouts, sets all metadata and checks every layer's digest, as we do; bsdtar only extracts one
    layer over the other, whiteouts as files, and checks nothing.
    """

    name = "import"

    def turns(self):
        return [
            Turn(self.take_in_and_out, ("import", "first checkout", "checkout again")),
            Turn(self.umoci, ("umoci raw unpack", "sync after umoci"), "umoci"),
            self.extractor("bsdtar"),
        ]

    def umoci(self, folder):
        source = f"{self.image.folder}:{self.image.tag}"
        target = os.path.join(folder, "umoci")
        command = ["umoci", "raw", "unpack", *root_only("--rootless"), "--image", source, target]
        self.measure("umoci raw unpack", command)
        self.measure_sync("sync after umoci")

    def rows(self):
        name, new, again = self.image.name, ("import", "first checkout"), ("checkout again",)
        umoci = ("umoci raw unpack", "sync after umoci")
        bsdtar = ("bsdtar -xf", "sync after bsdtar")
        work, unpack = f"import of {name} into an empty store", "umoci raw unpack, sync"
        return [
            Row(work, new[:1], unpack, umoci, 0.33),
            Row(work, new[:1], "bsdtar -xf of its layers, sync", bsdtar, 0.70),
            Row(f"import and first checkout of {name}", new, unpack, umoci, 0.38),
            Row(f"checkout of {name} again", again, "umoci raw unpack", umoci[:1], 0.05),
        ]


class Memory(ImageTrial):
    """How much memory an import at two jobs needs."""

    name = "memory"
    most_rounds = 2

    def turns(self):
        return [Turn(self.ours, ("import -j 2",))]

    def ours(self, folder):
        store = os.path.join(folder, "store")
        self.measure(
            "import -j 2", self.scene.command(store, "import", "-j", "2", self.image.source)
        )

    def rows(self):
        return [
            Peak(f"peak memory, import of {self.image.name} at 2 jobs", "import -j 2", 192 * MIB)
        ]


class Others(Extracting):
    """Import beside other tools, with no promise.

    skopeo copies into containers-storage, podman loads an archive of the layout; both unpack layers into
    folders for overlay and keep no compressed blob. GNU tar extracts as bsdtar does.
    """

    name = "others"

    def turns(self):
        return [
            Turn(self.ours, ("import",)),
            self.extractor("tar"),
            Turn(self.skopeo, ("skopeo copy", "sync after skopeo"), "skopeo"),
            Turn(self.podman, ("podman load", "sync after podman"), "podman"),
        ]

    def ours(self, folder):
        store = os.path.join(folder, "store")
        self.measure("import", self.scene.command(store, "import", self.image.source))

    def can_take(self, turn):
        if turn.program in ("skopeo", "podman") and os.geteuid() != 0:
            self.measures.absent |= dict.fromkeys(turn.gives, "needs root")
            return False
        return super().can_take(turn)

    def skopeo(self, folder):
        place = os.path.join(folder, "containers")
        storage = (
            f"containers-storage:[overlay@{place}/storage+{place}/run]localhost/{self.image.name}"
        )
        self.measure("skopeo copy", ["skopeo", "copy", "-q", self.image.source, storage])
        self.measure_sync("sync after skopeo")

    def podman(self, folder):
        archive, place = os.path.join(folder, "archive.tar"), os.path.join(folder, "podman")
        target = f"oci-archive:{archive}:localhost/{self.image.name}"
        measuring.prepare(["skopeo", "copy", "-q", self.image.source, target])
        # podman takes no longer path than 50 bytes for it.
        run = os.path.join(self.scene.work, f"run{os.path.basename(folder)}")
        base = ["podman", "--root", f"{place}/storage", "--runroot", run]
        self.measure(
            "podman load", [*base, "--storage-driver", "overlay", "load", "-q", "-i", archive]
        )
        self.measure_sync("sync after podman")

    def rows(self):
        work = f"import of {self.image.name} into an empty store"
        others = [
            ("GNU tar -xf of its layers", "tar -xf", "sync after tar"),
            ("skopeo copy to containers-storage", "skopeo copy", "sync after skopeo"),
            ("podman load of an OCI archive", "podman load", "sync after podman"),
        ]
        return [Row(work, ("import",), f"{told}, sync", tuple(keys)) for told, *keys in others]
