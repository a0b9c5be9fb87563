"""Trials of laying trees and layouts out, against cp."""

import contextlib
import os
import shutil

from images import copy_layout
from results import Row
from scene import file_system
from trial import ImageTrial, Turn


class Checkout(ImageTrial):
    """A checkout by hard links of what was checked out before, against `cp -al` of that.

    Both only link. Ours is on the disk when it ends, cp's is not.
    """

    name = "checkout"

    def turns(self):
        return [
            Turn(self.ours, ("checkout again",)),
            Turn(self.cp, ("cp -al", "sync after cp -al"), "cp"),
        ]

    def ours(self, folder):
        # The first one is made before, for cp: it makes inodes that this one finds.
        self.scene.tree(self.image)
        store, target = self.scene.store(self.image), os.path.join(folder, "checkout")
        self.measure(
            "checkout again", self.scene.command(store, "checkout", self.image.name, target)
        )

    def cp(self, folder):
        self.measure(
            "cp -al", ["cp", "-al", self.scene.tree(self.image), os.path.join(folder, "cp")]
        )
        self.measure_on("sync after cp -al", ["sync", "-f", folder])

    def rows(self):
        work, ours = f"checkout of {self.image.name} again", ("checkout again",)
        return [
            Row(work, ours, "cp -al of an existing one", ("cp -al",), 0.60),
            Row(work, ours, "cp -al, sync -f", ("cp -al", "sync after cp -al")),
        ]


class Copy(ImageTrial):
    """A checkout by copies, against `cp -a` of an existing one."""

    name = "copy"

    def turns(self):
        return [
            Turn(self.ours, ("checkout --link copy",)),
            Turn(self.cp, ("cp -a", "sync after cp -a"), "cp"),
        ]

    def ours(self, folder):
        store, target = self.scene.store(self.image), os.path.join(folder, "checkout")
        command = self.scene.command(store, "checkout", "--link", "copy", self.image.name, target)
        self.measure("checkout --link copy", command)

    def cp(self, folder):
        self.measure("cp -a", ["cp", "-a", self.scene.tree(self.image), os.path.join(folder, "cp")])
        self.measure_on("sync after cp -a", ["sync", "-f", folder])

    def rows(self):
        work, ours = f"checkout of {self.image.name} by copies", ("checkout --link copy",)
        return [
            Row(work, ours, "cp -a of an existing one", ("cp -a",), 0.70),
            Row(work, ours, "cp -a, sync -f", ("cp -a", "sync after cp -a")),
        ]


class Reflink(ImageTrial):
    """A checkout by reflinks, on a file system of its own, against `cp -a --reflink=always`."""

    name = "reflink"
    GIGABYTES = 8

    def __init__(self, scene, image, kind):
        super().__init__(scene, image)
        self.kind, self.point = kind, None

    def title(self):
        return f"{super().title()} on {self.kind}"

    def turns(self):
        if os.geteuid() != 0 or shutil.which(f"mkfs.{self.kind}") is None:
            self.measures.absent["checkout --link reflink"] = f"needs root and mkfs.{self.kind}"
            return []
        return [
            Turn(self.ours, ("checkout --link reflink",)),
            Turn(self.cp, ("cp -a --reflink", "sync after cp"), "cp"),
        ]

    @contextlib.contextmanager
    def place(self):
        with file_system(self.kind, self.scene.prepared, self.GIGABYTES) as self.point:
            yield
        self.scene.forget(self.point)

    def round_folder(self):
        folder = os.path.join(self.point, f"round{self.number}")
        os.mkdir(folder)
        return folder

    def tree(self):
        return self.scene.tree(self.image, "reflink", self.point)

    def ours(self, folder):
        store, target = self.scene.store(self.image, self.point), os.path.join(folder, "checkout")
        command = self.scene.command(
            store, "checkout", "--link", "reflink", self.image.name, target
        )
        self.measure("checkout --link reflink", command)

    def cp(self, folder):
        command = ["cp", "-a", "--reflink=always", self.tree(), os.path.join(folder, "cp")]
        self.measure("cp -a --reflink", command)
        self.measure_on("sync after cp", ["sync", "-f", folder])

    def rows(self):
        work, ours = (
            f"checkout of {self.image.name} by reflinks on {self.kind}",
            ("checkout --link reflink",),
        )
        theirs = ("cp -a --reflink", "sync after cp")
        return [
            Row(work, ours, "cp -a --reflink=always of an existing one", theirs[:1], 0.70),
            Row(work, ours, "cp -a --reflink=always, sync -f", theirs),
        ]


class Export(ImageTrial):
    """An export to a new layout, against `cp -r` of a layout with this image alone.

    An export is on the disk when it ends, and every blob was hashed on the way; `cp -r` does neither.
    """

    name = "export"

    def turns(self):
        return [Turn(self.ours, ("export",)), Turn(self.cp, ("cp -r", "sync after cp -r"), "cp")]

    def ours(self, folder):
        store, target = self.scene.store(self.image), os.path.join(folder, "export")
        self.measure(
            "export", self.scene.command(store, "export", self.image.name, f"oci:{target}")
        )

    def cp(self, folder):
        layout = os.path.join(self.scene.prepared, f"layout-{self.image.name}")
        if not os.path.exists(layout):
            copy_layout([self.image], layout)
        self.measure("cp -r", ["cp", "-r", layout, os.path.join(folder, "cp")])
        self.measure_on("sync after cp -r", ["sync", "-f", folder])

    def rows(self):
        work, ours, theirs = (
            f"export of {self.image.name}",
            ("export",),
            ("cp -r", "sync after cp -r"),
        )
        return [
            Row(work, ours, "cp -r of its layout", theirs[:1], 1.1),
            Row(work, ours, "cp -r, sync -f", theirs),
        ]
