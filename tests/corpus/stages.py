"""The stages of a verification, in their order. verify says what they are for."""

import collections
import os
import shutil
from typing import NamedTuple

import compare
import layout
import peers
import umoci_faults
from checks import Checks
from contents import Contents, summary
from ocistore import DAMAGED, Ocistore, expected_images, export_tag, platform_text

EMPTY_WHEN_DONE = ("objects", "inodes", "layers", "blobs", "tmp", "trash")


class Rootfs(NamedTuple):
    """One root filesystem to compare: an image, or what it is for one platform."""

    name: str
    manifest: layout.Manifest
    directory: str
    platform: str | None

    def title(self):
        return f"{self.name} {self.platform}" if self.platform else self.name


class Run:
    """One verification: the store, what was put into it, and a folder for all that it makes."""

    def __init__(self, options, work):
        self.checks = Checks()
        self.quick = options.quick
        self.sources = options.sources
        self.binary = options.binary
        self.work = work
        self.ocistore = Ocistore(self.binary, os.path.join(work, "store"))
        self.images = expected_images(self.sources)
        self.rootfs = list(self.find_rootfs())
        self.contents = Contents()
        self.count = 0
        # By the title of a Rootfs: the tree that umoci makes, and the list of its faults.
        self.expected = {}
        # By name: the layout that the image was last exported to.
        self.exports = {}
        self.allowed = collections.Counter()

    def find_rootfs(self):
        for name, image in self.images.items():
            found = layout.manifests(image.layout, image.descriptor)
            for manifest in filter(layout.is_image, found):
                platform = platform_text(manifest.platform)
                yield Rootfs(name, manifest, image.layout, platform)

    def folder(self, kind):
        """Returns a path below the work folder that is not there yet."""
        self.count += 1
        os.makedirs(os.path.join(self.work, kind), exist_ok=True)
        return os.path.join(self.work, kind, str(self.count))

    def all(self):
        """Runs all stages. An import that failed leaves nothing to look at."""
        self.checks.stage(self.import_into, self.ocistore)
        if self.checks.failed:
            return
        self.checks.stage(self.fsck, "after import")
        self.checks.stage(self.unpack_by_umoci)
        for mode in self.link_modes():
            self.checks.stage(self.compare_checkouts, mode, self.images)
        self.checks.stage(self.compare_objects, self.images)
        self.checks.stage(self.compare_exports, self.images)
        self.checks.stage(self.offer_to_peers)
        self.checks.stage(self.rebuild_dropped_blobs)
        self.checks.stage(self.fsck, "after checkouts and exports")
        self.checks.stage(self.lose_the_catalog)
        self.checks.stage(self.untag_one)
        self.checks.stage(self.untag_all)
        for reason, times in sorted(self.allowed.items()):
            self.checks.note(f"allowed {times} times: {reason}")

    # 0. the store

    def import_into(self, ocistore, *flags):
        for source in self.sources:
            command = ["import", *flags, source.place()]
            self.checks.tell(" ".join(command), ocistore.run(*command))
        self.compare_names(ocistore, self.images, "after import")

    def compare_names(self, ocistore, images, when):
        expected = {(name, image.descriptor["digest"]) for name, image in images.items()}
        found = set(ocistore.images().items())
        self.checks.tell(f"{len(images)} names {when}", compare.sets(expected, found))

    def fsck(self, when):
        self.checks.tell(f"fsck {when}", self.ocistore.run("fsck"))

    # 1. checkouts

    def link_modes(self):
        if self.quick:
            return ["hardlink"]
        if peers.has_reflinks(self.work):
            return ["hardlink", "reflink", "copy"]
        self.checks.note("no reflinks on this file system: that link mode is not tried")
        return ["hardlink", "copy"]

    def unpack_by_umoci(self):
        """Makes the trees to compare with, and the lists of what is wrong in them."""
        for rootfs in self.rootfs:
            tree, faults, work = (self.folder(kind) for kind in ("umoci", "faults", "layouts"))
            source, problem = peers.umoci_layout(rootfs.directory, rootfs.manifest, work)
            if not peers.umoci_reads(rootfs.manifest):
                self.checks.note(f"{rootfs.title()}: for umoci, skopeo makes it OCI and gzip first")
            problem = problem or peers.umoci_unpack(source, peers.VIEW_REF, tree)
            self.checks.tell(f"umoci unpacks {rootfs.title()}, to compare with", problem)
            umoci_faults.write(rootfs.directory, rootfs.manifest, faults)
            self.expected[rootfs.title()] = (tree, faults)

    def compare_checkouts(self, mode, images):
        for rootfs in self.rootfs:
            if rootfs.name in images:
                self.compare_checkout(mode, rootfs)

    def compare_checkout(self, mode, rootfs):
        tree = self.folder("checkouts")
        title = f"checkout --link {mode} {rootfs.title()}"
        which = ["--platform", rootfs.platform] if rootfs.platform else []
        problem = self.ocistore.run("checkout", "--link", mode, *which, rootfs.name, tree)
        if problem:
            self.checks.tell(title, problem)
            return
        allowed, problem = compare.same_tree(*self.expected[rootfs.title()], tree)
        self.allowed += allowed
        but_for = f", but for {allowed.total()} faults of umoci" if allowed else ""
        self.checks.tell(f"{title} equals umoci's{but_for}", problem)
        self.compare_inodes(mode, title, tree)

    def compare_inodes(self, mode, title, tree):
        """Checks that a checkout shares inodes with the store exactly if it is to."""
        files = {(at.st_dev, at.st_ino) for _, at in compare.regular_files(tree) if at.st_size}
        stored = (compare.inodes(self.ocistore.path(name)) for name in ("objects", "inodes"))
        shared = len(files & set().union(*stored))
        problem = None
        if mode == "hardlink" and files and not shared:
            problem = "no file is a link into the store"
        elif mode != "hardlink" and shared:
            problem = f"{shared} files are links into the store"
        self.checks.tell(f"{title}: {shared} of {len(files)} files are the store's", problem)

    # 2. exports

    def export_all(self, ocistore, images):
        """Exports images, all of one layout by one command; returns the new layout of each."""
        by_layout = {}
        for name, image in images.items():
            by_layout.setdefault(image.layout, []).append(name)
        made = {}
        for names in by_layout.values():
            target = self.folder("exports")
            problem = ocistore.run("export", *names, f"oci:{target}")
            self.checks.tell(f"export {' '.join(names)}", problem)
            made.update((name, target) for name in names)
        return made

    def compare_exports(self, images):
        self.exports = self.export_all(self.ocistore, images)
        for name, image in images.items():
            digest = image.descriptor["digest"]
            exported = self.exported(name)
            if exported is None or exported.descriptor["digest"] != digest:
                self.checks.tell(f"export of {name}", f"its index.json does not name {digest}")
                continue
            digests = layout.reachable(image.layout, image.descriptor)
            problem = compare.blobs(image.layout, exported.layout, digests)
            self.checks.tell(f"export of {name}: {len(digests)} blobs are those imported", problem)

    def exported(self, name):
        """Returns the image of the last export that has a name, or None."""
        image = self.images[name]
        digest = image.descriptor["digest"]
        return compare.find_exported(self.exports[name], export_tag(image), digest)

    def offer_to_peers(self):
        buildah = None if self.quick else peers.Buildah(self.folder("buildah"))
        for name in self.images:
            exported = self.exported(name)
            if exported is None or exported.ref is None:
                self.checks.note(f"{name}: not offered to other tools, which want a name")
                continue
            self.offer_to_skopeo(name, exported)
            rootfs = [rootfs for rootfs in self.rootfs if rootfs.name == name]
            if rootfs and not self.quick:
                self.offer_to_buildah(buildah, rootfs[0], exported)
                self.offer_to_umoci(rootfs[0], exported)

    def offer_to_skopeo(self, name, exported):
        problem = peers.skopeo_copy(exported.layout, exported.ref, self.folder("skopeo"))
        self.checks.tell(f"skopeo copies the export of {name}", problem)

    def offer_to_buildah(self, buildah, rootfs, exported):
        problem = buildah.from_layout(exported.layout, exported.ref, rootfs.platform)
        self.checks.tell(f"buildah makes a container from the export of {rootfs.name}", problem)

    def offer_to_umoci(self, rootfs, exported):
        # What umoci cannot read at all asks nothing of the export.
        if rootfs.platform is None and peers.umoci_reads(rootfs.manifest):
            problem = peers.umoci_unpack(exported.layout, exported.ref, self.folder("umoci"))
            self.checks.tell(f"umoci unpacks the export of {rootfs.name}", problem)

    def rebuild_dropped_blobs(self):
        """Checks the tars that a store makes which keeps no layer blob."""
        dropped = Ocistore(self.binary, os.path.join(self.work, "dropped"))
        self.import_into(dropped, "--blobs", "drop")
        paths = [
            dropped.blob_path(digest) for digest in compare.layer_digests(self.images.values())
        ]
        kept = [path for path in paths if os.path.exists(path)]
        self.checks.tell("--blobs drop keeps no layer blob", f"there is {kept}" if kept else None)
        self.checks.tell("fsck without layer blobs", dropped.run("fsck"))
        made = self.export_all(dropped, self.images)
        for name, image in self.images.items():
            digest = image.descriptor["digest"]
            exported = compare.find_exported(made[name], export_tag(image), digest)
            problem = "the export does not name it"
            if exported is not None:
                problem = compare.rebuilt_tars(image, exported)
            self.checks.tell(f"rebuilt tars of {name} are its diff_ids", problem)
        dropped.delete_catalog()
        self.compare_names(dropped, self.images, "without layer blobs and the catalog")
        self.checks.tell("fsck without layer blobs and the catalog", dropped.run("fsck"))
        self.damage(dropped)

    def damage(self, ocistore):
        """Checks that fsck sees damage: without that, its silence everywhere else says nothing."""
        path, _ = max(compare.regular_files(ocistore.path("objects")), key=lambda file: file[0])
        compare.flip_a_bit(path)
        status = ocistore.status("fsck")
        problem = None if status == DAMAGED else f"expected exit {DAMAGED}, got {status}"
        self.checks.tell("fsck finds a flipped bit", problem)

    # 3. contents

    def compare_objects(self, images):
        expected = summary(self.contents.of(images.values()))
        files = list(compare.regular_files(self.ocistore.path("objects")))
        found = {"nonempty": len(files), "bytes": sum(status.st_size for _, status in files)}
        problem = None
        if found.items() - expected.items():
            problem = f"expected {expected}, got {found}"
        title = f"objects are the {expected['nonempty']} contents of {len(images)} images"
        self.checks.tell(title, problem)

    # 4. and 5. less and less

    def lose_the_catalog(self):
        self.ocistore.delete_catalog()
        self.compare_names(self.ocistore, self.images, "without the catalog")
        self.checks.stage(self.fsck, "without the catalog")
        self.look_again(self.images)

    def look_again(self, images):
        """Checks out and exports images once more. They are to be what they were."""
        self.checks.stage(self.compare_checkouts, "hardlink", images)
        self.checks.stage(self.compare_exports, images)

    def untag_one(self):
        gone = self.name_to_untag()
        rest = {name: image for name, image in self.images.items() if name != gone}
        self.checks.tell(f"untag {gone}", self.ocistore.run("untag", gone))
        self.checks.tell(f"gc without {gone}", self.ocistore.run("gc"))
        self.checks.stage(self.fsck, f"without {gone}")
        self.compare_names(self.ocistore, rest, f"without {gone}")
        self.checks.stage(self.compare_objects, rest)
        self.look_again(rest)
        # A catalog that is rebuilt brings no name back.
        self.ocistore.delete_catalog()
        self.compare_names(self.ocistore, rest, f"without {gone} and the catalog")
        self.checks.stage(self.fsck, f"without {gone} and the catalog")

    def name_to_untag(self):
        """Returns the image with most contents of its own, in the layout with the most images."""
        beside = collections.Counter(image.layout for image in self.images.values())
        crowded = beside.most_common(1)[0][0]
        names = [name for name, image in self.images.items() if image.layout == crowded]
        return min(names, key=self.contents_without)

    def contents_without(self, name):
        return len(self.contents.of(self.images[other] for other in self.images if other != name))

    def untag_all(self):
        self.checks.tell("untag all", self.ocistore.run("untag", *self.ocistore.images()))
        self.delete_checkouts()
        self.checks.tell("gc of all", self.ocistore.run("gc"))
        places = [self.ocistore.path(name) for name in EMPTY_WHEN_DONE]
        left = [path for place in places for path, _ in compare.regular_files(place)]
        problem = f"{len(left)} files, such as {left[:3]}" if left else None
        self.checks.tell("nothing is left in the store", problem)
        self.fsck("of the empty store")
        self.ocistore.delete_catalog()
        self.compare_names(self.ocistore, {}, "in the empty store without the catalog")

    def delete_checkouts(self):
        """Deletes the checkouts, which keep the inodes that they link to."""
        place = os.path.join(self.work, "checkouts")
        os.makedirs(place, exist_ok=True)
        # A checkout is made under another name beside its place first.
        strays = [name for name in os.listdir(place) if not name.isdigit()]
        problem = f"there is {strays}" if strays else None
        self.checks.tell("nothing is left beside the checkouts", problem)
        shutil.rmtree(place)
