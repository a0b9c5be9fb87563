"""Trials of what a store does with what it has: known images, releases, gc, diff, fsck."""

import os

import measuring
from images import copy_layout, dashed, new_share
from results import Row
from scene import count
from trial import ImageTrial, Trial, Turn

LINKS = ("hardlink", "copy")


class Again(ImageTrial):
    """The import of an image that is there already, against reading its blobs with `sha256sum`."""

    name = "again"
    makes_files = False

    def turns(self):
        return [
            Turn(self.ours, ("import again",)),
            Turn(self.sha256sum, ("sha256sum",), "sha256sum"),
        ]

    def ours(self, _):
        store = self.scene.store(self.image)
        self.measure("import again", self.scene.command(store, "import", self.image.source))

    def sha256sum(self, _):
        self.measure("sha256sum", ["sha256sum", *self.image.blobs()])

    def rows(self):
        work = f"import of {self.image.name}, which is there already"
        return [Row(work, ("import again",), "sha256sum of its blobs", ("sha256sum",), 1.0)]


class Second(Trial):
    """The import of a release when the one before is there, against its import into an empty store."""

    name = "second"

    def __init__(self, scene, family):
        super().__init__(scene)
        self.first, self.image = family[:2]

    def title(self):
        return f"{self.name} {self.image.name}"

    def turns(self):
        return [Turn(self.beside, ("import beside",)), Turn(self.alone, ("import alone",))]

    def beside(self, folder):
        store = os.path.join(folder, "beside")
        self.scene.import_into(store, [self.first])
        self.measure("import beside", self.scene.command(store, "import", self.image.source))

    def alone(self, folder):
        store = os.path.join(folder, "alone")
        self.measure("import alone", self.scene.command(store, "import", self.image.source))

    def rows(self):
        share = new_share(self.first, self.image)
        work = f"import of {self.image.name} when {self.first.name} is there ({share:.0%} of its bytes are new)"
        at_most = share + 0.10
        return [Row(work, ("import beside",), "into an empty store", ("import alone",), at_most)]


class Gc(Trial):
    """A gc after every second name went, against `umoci gc` on one layout of the same images.

    umoci deletes whole blobs, a handful; ours deletes blobs, and files that no other image has.
    """

    name = "gc"
    makes_files = False

    def __init__(self, scene, images):
        super().__init__(scene)
        self.images, self.dead = images, images[1::2]

    def turns(self):
        return [Turn(self.ours, ("gc",)), Turn(self.umoci, ("umoci gc",), "umoci")]

    def ours(self, folder):
        store = os.path.join(folder, "store")
        self.scene.import_into(store, self.images)
        names = [image.name for image in self.dead]
        measuring.prepare(self.scene.command(store, "untag", "-q", *names))
        before = count(store)
        self.measure("gc", self.scene.command(store, "gc"))
        self.scene.deleted(before - count(store))

    def umoci(self, folder):
        layout = os.path.join(folder, "layout")
        copy_layout(self.images, layout)
        for image in self.dead:
            measuring.prepare(["umoci", "rm", "--image", f"{layout}:{dashed(image)}"])
        self.measure("umoci gc", ["umoci", "gc", "--layout", layout])

    def rows(self):
        work = f"gc of a store whose {len(self.images)} images went to {len(self.images) - len(self.dead)} names"
        return [Row(work, ("gc",), "umoci gc of one layout of them", ("umoci gc",), 1.0)]


class AfterGc(Gc):
    """The import of an image right after a gc took it, against the same where nothing was ever deleted.

    In both stores the images are there that the gc left. On ext4 the kernel avoids inodes that were freed
    a short while ago, and looks for others one by one. That takes minutes to end, and so does each round.
    """

    name = "after-gc"
    makes_files = True

    def turns(self):
        # Never the other way round: what one deletes, the other would suffer from.
        return [Turn(self.both, ("import", "import after gc"))]

    def both(self, folder):
        image, live = self.dead[0], [one for one in self.images if one not in self.dead]
        fresh, store = os.path.join(folder, "fresh"), os.path.join(folder, "store")
        self.scene.import_into(fresh, live)
        self.measure("import", self.scene.command(fresh, "import", image.source))
        self.scene.import_into(store, self.images)
        names = [one.name for one in self.dead]
        measuring.prepare(self.scene.command(store, "untag", "-q", *names))
        before = count(store)
        measuring.prepare(self.scene.command(store, "gc", "-q"))
        deleted = before - count(store)
        self.measure("import after gc", self.scene.command(store, "import", image.source))
        self.scene.deleted(deleted)

    def rows(self):
        work = f"import of {self.dead[0].name} right after gc deleted it"
        return [Row(work, ("import after gc",), "where nothing was deleted", ("import",))]


class Diff(Trial):
    """The difference of two releases, against `diff -rq` of their checkouts.

    Checkouts by hard links of one store have inodes in common, which diff skips; of copies, or of what
    another tool unpacked, it reads everything. It compares bytes only, ours metadata too.
    """

    name = "diff"
    makes_files = False

    def __init__(self, scene, family):
        super().__init__(scene)
        self.pair, self.place_of = (family[0], family[-1]), None

    def title(self):
        return f"{self.name} {self.pair[0].name} {self.pair[1].name}"

    def turns(self):
        if not self.scene.has_command("diff"):
            self.measures.absent["diff"] = "this ocistore has no diff"
            return []
        return [
            Turn(self.ours, ("diff",)),
            Turn(self.linked, ("diff -rq",), "diff"),
            Turn(self.copied, ("diff -rq of copies",), "diff"),
        ]

    def prepared(self):
        if self.place_of is None:
            self.place_of = os.path.join(self.scene.prepared, f"diff-{self.pair[0].name}")
            os.mkdir(self.place_of)
            store = os.path.join(self.place_of, "store")
            self.scene.import_into(store, self.pair)
            for image in self.pair:
                for link in LINKS:
                    checkout = [
                        "checkout",
                        "-q",
                        "--link",
                        link,
                        image.name,
                        self.tree(image, link),
                    ]
                    measuring.prepare(self.scene.command(store, *checkout))
        return self.place_of

    def ours(self, _):
        store, names = os.path.join(self.prepared(), "store"), [image.name for image in self.pair]
        self.measure("diff", self.scene.command(store, "diff", *names))

    def linked(self, _):
        self.theirs("diff -rq", "hardlink")

    def copied(self, _):
        self.theirs("diff -rq of copies", "copy")

    def theirs(self, key, link):
        self.prepared()
        trees = [self.tree(image, link) for image in self.pair]
        self.measure(key, ["diff", "-rq", "--no-dereference", *trees], allowed=(0, 1))

    def tree(self, image, link):
        return os.path.join(self.place_of, f"{link}-{image.name}")

    def rows(self):
        work = f"diff {self.pair[0].name} {self.pair[1].name}"
        return [
            Row(work, ("diff",), "diff -rq of two checkouts by hard links", ("diff -rq",), 0.02),
            Row(work, ("diff",), "diff -rq of two checkouts by copies", ("diff -rq of copies",)),
        ]


class Fsck(ImageTrial):
    """A full fsck, against `b3sum` over the objects: one process after another, and two side by side.

    fsck hashes the kept blobs, inodes, recipes and tree nodes as well.
    """

    name = "fsck"
    makes_files = False

    def turns(self):
        return [
            Turn(self.ours, ("fsck",)),
            Turn(lambda _: self.b3sum(1), ("b3sum",), "b3sum"),
            Turn(lambda _: self.b3sum(2), ("b3sum -P 2",), "b3sum"),
        ]

    def ours(self, _):
        self.measure("fsck", self.scene.command(self.scene.store(self.image), "fsck"))

    def b3sum(self, side_by_side):
        objects = os.path.join(self.scene.store(self.image), "objects")
        line = f"find {objects} -type f -print0 | xargs -0 -n 1000 -P {side_by_side} b3sum"
        self.measure("b3sum" if side_by_side == 1 else "b3sum -P 2", ["sh", "-c", line])

    def rows(self):
        work, ours = f"fsck of a store with {self.image.name}", ("fsck",)
        return [
            Row(work, ours, "b3sum over the objects", ("b3sum",), 1.1),
            Row(work, ours, "b3sum over the objects, two at a time", ("b3sum -P 2",)),
        ]
