"""Makes small OCI images that share layers and files in many ways, and says what each of them holds.

The same content comes with other times, modes and owners; the same tar comes plain and compressed in
two ways; layers lie over each other in other orders, with whiteouts, opaque directories and hard
links. All paths of one name are of one kind, so that what a stack of layers gives is never in doubt.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import random
import tarfile
from typing import NamedTuple

OCI = "application/vnd.oci.image"
REF_NAME = "org.opencontainers.image.ref.name"
# This machine's comes first: it is what a checkout picks of an index.
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORMS = (HERE, "s390x" if HERE != "s390x" else "amd64")
TAG = "1"


class Node:
    """One inode of a tree; two paths that have the same object are hard links."""

    def __init__(self, kind, mode, owner, mtime, data):
        self.kind, self.mode, self.owner, self.mtime, self.data = kind, mode, owner, mtime, data


class Layer(NamedTuple):
    """A layer's tar: what it does to a tree, what it carries, and its forms as blobs."""

    entries: list
    diff_id: str
    contents: frozenset
    blobs: list  # descriptors: plain, gzip, gzip otherwise


class Image(NamedTuple):
    """A document that a name can point to."""

    descriptor: dict
    source: str  # the layout that it is the image TAG of
    tree: dict | None  # this machine's; None for an artifact
    children: tuple  # images below an index
    subject: object  # the image that an artifact is about
    documents: frozenset  # digests of its own, and other blobs that are always kept
    layers: tuple  # of a manifest: pairs of a Layer and a descriptor

    @property
    def digest(self):
        return self.descriptor["digest"]

    def below(self):
        """Yields all that comes with it, itself first."""
        yield self
        for image in (*self.children, *([self.subject] if self.subject else [])):
            yield from image.below()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Maker:
    """Makes a pool of images below a folder."""

    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.blobs = os.path.join(folder, "blobs", "sha256")
        os.makedirs(self.blobs)
        self.contents = [self.content() for _ in range(220)]
        # From 4 MiB on a content goes another way into a store.
        self.large = [self.random.randbytes((4 << 20) + 4096 + n) for n in range(2)]

    def content(self):
        size = self.random.choice((0, 1, 30, 200, 200, 700, 5000, 40000))
        return self.random.randbytes(size)

    def put(self, data, media_type):
        digest = sha256(data)
        with open(os.path.join(self.blobs, digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def put_json(self, value, media_type):
        return self.put(json.dumps(value).encode(), media_type)

    # Layers

    def facts(self, mode):
        pick = self.random.choice
        owner = (pick((0, 0, 33, 1000)), pick((0, 0, 33)))
        # Few times, so that the same content often comes with the same metadata, and often not.
        mtime = 1_700_000_000_000_000_000 + pick((0, 0, 1, 10**9, 123_456_789_012))
        return mode, owner, mtime

    def layer(self, number):
        """Makes a layer of some files in a few directories."""
        pick, entries = self.random.choice, []
        folders = sorted(self.random.sample(range(8), self.random.randint(1, 4)))
        for folder in (f"d{n}" for n in folders):
            entries += self.folder_entries(folder)
        absent = [n for n in range(8) if n not in folders]
        if number % 3 == 2:
            entries.append((f".wh.d{pick(absent)}", None))
        if number % 8 == 5:
            entries.append((f"d{folders[0]}/large", self.file(pick(self.large))))
        return self.finish(entries)

    def folder_entries(self, folder):
        rng = self.random
        yield folder, Node("directory", *self.facts(rng.choice((0o755, 0o700, 0o1777))), None)
        if rng.random() < 0.15:
            yield f"{folder}/.wh..wh..opq", None
        taken = sorted(rng.sample(range(24), rng.randint(1, 12)))
        last = None
        for n in taken:
            path = f"{folder}/f{n}"
            kind = rng.random()
            if kind < 0.12:
                yield f"{folder}/.wh.f{n}", None
            elif kind < 0.2:
                yield f"{folder}/s{n}", Node("symlink", *self.facts(0o777), f"f{rng.randrange(24)}")
            elif kind < 0.32 and last:
                # The same node again: a hard link.
                yield f"{folder}/h{n}", last
            else:
                last = self.file(rng.choice(self.contents))
                yield path, last

    def file(self, data):
        return Node("file", *self.facts(self.random.choice((0o644, 0o644, 0o755, 0o600, 0o4755))), data)

    def finish(self, entries):
        tar = tar_of(entries)
        files = [node.data for _, node in entries if node and node.kind == "file"]
        media = f"{OCI}.layer.v1.tar"
        blobs = [self.put(tar, media)]
        blobs += [self.put(gzip.compress(tar, level, mtime=0), f"{media}+gzip") for level in (6, 1)]
        contents = frozenset(sha256(data) for data in files if data)
        return Layer(entries, f"sha256:{sha256(tar)}", contents, blobs)

    # Images

    def source(self, name, descriptors):
        """Makes a layout that shares the pool's blobs; returns its folder."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        os.symlink(os.path.join(self.folder, "blobs"), os.path.join(folder, "blobs"))
        manifests = [
            {**descriptor, "annotations": {REF_NAME: tag}} for tag, descriptor in descriptors
        ]
        index = {"schemaVersion": 2, "manifests": manifests}
        write_json(os.path.join(folder, "index.json"), index)
        write_json(os.path.join(folder, "oci-layout"), {"imageLayoutVersion": "1.0.0"})
        return folder

    def image(self, name, stack, architecture):
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"name": self.random.choice((name, "same"))}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in stack]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.put_json(config, f"{OCI}.config.v1+json"),
            "layers": [blob for _, blob in stack],
        }
        root = self.put_json(manifest, manifest["mediaType"])
        documents = frozenset([root["digest"], manifest["config"]["digest"]])
        tree = tree_of([layer.entries for layer, _ in stack])
        source = self.source(name, [(TAG, root)])
        return Image(root, source, tree, (), None, documents, tuple(stack))

    def index(self, name, children):
        manifests = []
        for child, architecture in zip(children, PLATFORMS):
            entry = dict(child.descriptor)
            if not child.children:
                entry["platform"] = {"os": "linux", "architecture": architecture}
            manifests.append(entry)
        value = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
        root = self.put_json(value, value["mediaType"])
        source = self.source(name, [(TAG, root)])
        documents = frozenset([root["digest"]])
        return Image(root, source, children[0].tree, tuple(children), None, documents, ())

    def artifact(self, name, subject):
        config = self.put(b"{}", "application/vnd.oci.empty.v1+json")
        notes = self.put(f"about {name}".encode(), "text/plain")
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "artifactType": "application/vnd.example.notes",
            "config": config,
            "layers": [notes],
            "subject": subject.descriptor,
        }
        root = self.put_json(manifest, manifest["mediaType"])
        documents = frozenset(d["digest"] for d in (root, config, notes))
        source = self.source(name, [(TAG, root)])
        return Image(root, source, None, (), subject, documents, ())

    def stacks(self, layers, count):
        """Yields stacks of layers, many of which begin as another one does."""
        rng, made = self.random, []
        for _ in range(count):
            base = rng.choice(made)[: rng.randint(1, 4)] if made and rng.random() < 0.7 else []
            rest = [layer for layer in layers if all(layer is not old for old, _ in base)]
            upper = [(layer, rng.choice(layer.blobs)) for layer in rng.sample(rest, rng.randint(1, 3))]
            made.append(base + upper)
            yield made[-1]


class Pool(NamedTuple):
    """All images there are to import."""

    images: dict  # by digest: those that sources have as TAG
    groups: list  # of each group its versions: (layout, digest of tag a, digest of tag b)
    blobs: str  # the folder of all blobs

    def blob(self, digest):
        with open(os.path.join(self.blobs, digest.split(":")[1]), "rb") as file:
            return file.read()


def make_pool(folder, seed):
    """Makes 30 images, 6 indexes (2 of them with an index inside), 2 artifacts and 2 groups."""
    maker = Maker(folder, seed)
    layers = [maker.layer(number) for number in range(28)]
    single = [
        maker.image(f"image{n}", stack, PLATFORMS[0]) for n, stack in enumerate(maker.stacks(layers, 30))
    ]
    other = [
        maker.image(f"other{n}", stack, PLATFORMS[1]) for n, stack in enumerate(maker.stacks(layers, 6))
    ]
    indexes = [maker.index(f"index{n}", [single[3 * n], other[n]]) for n in range(4)]
    indexes += [maker.index(f"nested{n}", [indexes[n], other[4 + n]]) for n in range(2)]
    artifacts = [maker.artifact(f"artifact{n}", single[7 * n]) for n in range(2)]
    groups = []
    for group in range(2):
        versions = []
        for version in range(2):
            a, b = maker.random.sample(single, 2)
            tags = [("a", a.descriptor), ("b", b.descriptor)]
            versions.append((maker.source(f"v{version}/group{group}", tags), a.digest, b.digest))
        groups.append(versions)
    images = {image.digest: image for image in [*single, *other, *indexes, *artifacts]}
    return Pool(images, groups, maker.blobs)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def tar_of(entries):
    """Returns the tar of a layer's entries."""
    raw, first = io.BytesIO(), {}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, node in entries:
            member = tarfile.TarInfo(path)
            if node is None:
                tar.addfile(member)
            elif id(node) in first:
                set_facts(member, node)
                member.type, member.linkname = tarfile.LNKTYPE, first[id(node)]
                tar.addfile(member)
            else:
                first[id(node)] = path
                set_facts(member, node)
                add(tar, member, node)
    return raw.getvalue()


def set_facts(member, node):
    member.mode, (member.uid, member.gid) = node.mode, node.owner
    seconds, rest = divmod(node.mtime, 10**9)
    member.mtime = seconds
    if rest:
        member.pax_headers = {"mtime": f"{seconds}.{rest:09d}"}


def add(tar, member, node):
    if node.kind == "directory":
        member.type = tarfile.DIRTYPE
    elif node.kind == "symlink":
        member.type, member.linkname = tarfile.SYMTYPE, node.data
    else:
        member.size = len(node.data)
    tar.addfile(member, io.BytesIO(node.data) if node.kind == "file" else None)


def tree_of(layers):
    """Returns what a stack of layers gives: nodes by path."""
    tree = {}
    for entries in layers:
        for path, node in entries:
            if node is None:
                folder, _, name = path.rpartition("/")
                gone = name.removeprefix(".wh.")
                below = f"{folder}/" if gone == ".wh..opq" else None
                path = f"{folder}/{gone}" if folder else gone
                for old in list(tree):
                    if old.startswith(below or f"{path}/") or (below is None and old == path):
                        del tree[old]
        tree |= {path: node for path, node in entries if node is not None}
    return tree
