"""Trials of the build loop: a bundle, a change of ten files, an image of it again; against umoci."""

import os

import measuring
from copying import Reflink
from images import copy_layout, dashed
from results import Row
from trial import ImageTrial, Turn, root_only

FEW = 5


def change(rootfs):
    """Writes to five files of an image, and makes five new ones."""
    folder = os.path.join(rootfs, "etc")
    if not os.path.isdir(folder):
        folder = rootfs
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    files = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    for path in files[:FEW]:
        with open(path, "ab") as file:
            file.write(b"changed\n")
    for number in range(FEW):
        with open(os.path.join(folder, f"new-{number}"), "wb") as file:
            file.write(b"new\n")


class Build(ImageTrial):
    """`unpack` and `commit` of a copied bundle and of a mounted one, against `umoci unpack` and `umoci repack`.

    Ours is on the disk when it ends; what umoci leaves to be written is measured by itself. Each commits
    the same change of ten files, gzip, to the store or layout that the image came from.
    """

    name = "build"

    def turns(self):
        turns = [
            Turn(self.plain, ("unpack --link copy", "commit")),
            Turn(self.umoci, ("umoci unpack", "sync after umoci", "umoci repack"), "umoci"),
            Turn(self.cp, ("cp -a", "sync after cp -a"), "cp"),
        ]
        if os.geteuid() == 0:
            turns.append(Turn(self.mounted, ("unpack --mount", "commit of a mount")))
        return turns

    def plain(self, folder):
        store, bundle = self.scene.store(self.image), os.path.join(folder, "bundle")
        command = self.scene.command(store, "unpack", "--link", "copy", self.image.name, bundle)
        self.measure("unpack --link copy", command)
        change(os.path.join(bundle, "rootfs"))
        self.measure("commit", self.scene.command(store, "commit", bundle, "bench:plain"))

    def mounted(self, folder):
        store, bundle = self.scene.store(self.image), os.path.join(folder, "mounted")
        command = self.scene.command(store, "unpack", "--mount", self.image.name, bundle)
        self.measure("unpack --mount", command)
        try:
            change(os.path.join(bundle, "rootfs"))
            command = self.scene.command(store, "commit", bundle, "bench:mounted")
            self.measure("commit of a mount", command)
        finally:
            measuring.prepare(self.scene.command(store, "umount", "--discard", bundle))

    def umoci(self, folder):
        layout, bundle = os.path.join(folder, "layout"), os.path.join(folder, "umoci")
        copy_layout([self.image], layout)
        source = f"{layout}:{dashed(self.image)}"
        command = ["umoci", "unpack", *root_only("--rootless"), "--image", source, bundle]
        self.measure("umoci unpack", command)
        self.measure_sync("sync after umoci")
        change(os.path.join(bundle, "rootfs"))
        self.measure("umoci repack", ["umoci", "repack", "--image", f"{layout}:changed", bundle])

    def cp(self, folder):
        self.measure("cp -a", ["cp", "-a", self.scene.tree(self.image), os.path.join(folder, "cp")])
        self.measure_on("sync after cp -a", ["sync", "-f", folder])

    def rows(self):
        name = self.image.name
        unpack, umoci = ("unpack --link copy",), ("umoci unpack",)
        return [
            Row(f"unpack of {name} by copies", unpack, "umoci unpack", umoci, 0.30),
            Row(
                f"unpack of {name} by copies",
                unpack,
                "umoci unpack, sync",
                (*umoci, "sync after umoci"),
            ),
            Row(f"unpack of {name} by copies", unpack, "cp -a of a checkout", ("cp -a",)),
            Row(f"unpack --mount of {name}", ("unpack --mount",), "umoci unpack", umoci, 0.03),
            Row(f"commit of ten files, {name}", ("commit",), "umoci repack", ("umoci repack",), 0.10),
            Row(
                f"commit of ten files in a mount, {name}",
                ("commit of a mount",),
                "umoci repack",
                ("umoci repack",),
                0.03,
            ),
        ]


class BuildReflink(Reflink):
    """`unpack` by reflinks, on a file system of its own, against `umoci unpack` there."""

    name = "unpack-reflink"

    def turns(self):
        # Whether there is such a file system here.
        if not super().turns():
            return []
        return [
            Turn(self.ours, ("unpack",)),
            Turn(self.umoci, ("umoci unpack", "sync after umoci"), "umoci"),
        ]

    def ours(self, folder):
        store, bundle = self.scene.store(self.image, self.point), os.path.join(folder, "bundle")
        self.measure("unpack", self.scene.command(store, "unpack", self.image.name, bundle))

    def umoci(self, folder):
        source = f"{self.image.folder}:{self.image.tag}"
        self.measure(
            "umoci unpack", ["umoci", "unpack", "--image", source, os.path.join(folder, "umoci")]
        )
        self.measure_sync("sync after umoci")

    def rows(self):
        work = f"unpack of {self.image.name} by reflinks on {self.kind}"
        return [Row(work, ("unpack",), f"umoci unpack on {self.kind}", ("umoci unpack",))]
