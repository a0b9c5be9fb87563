"""Compares what ocistore gives back with what was put into it.

A function that compares returns what is wrong in one text, or None.
"""

import gzip
import hashlib
import json
import os
import stat

from images import REF_NAME, sha256

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


def tree(image, root):
    """Compares a checkout with an image: kinds, modes, owners, times, bytes, targets, hard links."""
    found = dict(walk(root))
    if found.keys() != image.tree.keys():
        missing, more = sorted(image.tree.keys() - found.keys()), sorted(found.keys() - image.tree.keys())
        return f"missing {missing[:5]}, too many {more[:5]}"
    links = {}
    for path, node in image.tree.items():
        wrong = entry(os.path.join(root, path), node, found[path])
        if wrong:
            return f"{path}: {wrong}"
        # Files without content are made, each of its own.
        if node.kind == "file":
            links.setdefault(id(node), set()).add(found[path].st_ino)
    numbers = [number for group in links.values() for number in group]
    if len(numbers) != len(links) or len(set(numbers)) != len(numbers):
        return "the hard links are others"
    return None


def walk(root):
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(root, below)) as entries:
            for found in entries:
                path = os.path.join(below, found.name)
                status = found.stat(follow_symlinks=False)
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)


def entry(full, node, status):
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    facts = [
        ("kind", node.kind, kind),
        ("mode", f"{node.mode:04o}", f"{stat.S_IMODE(status.st_mode):04o}"),
        ("mtime", node.mtime, status.st_mtime_ns),
    ]
    if os.geteuid() == 0:
        facts.append(("owner", node.owner, (status.st_uid, status.st_gid)))
    for what, expected, got in facts:
        if expected != got:
            return f"{what}: expected {expected}, got {got}"
    if kind == "symlink" and os.readlink(full) != node.data:
        return "another target"
    if kind == "file":
        with open(full, "rb") as file:
            if file.read() != node.data:
                return "other bytes"
    return None


def export(pool, image, folder, tag, *, kept):
    """Compares an exported layout with an image; `kept` is whether its layer blobs had to be there."""
    with open(os.path.join(folder, "index.json"), "rb") as file:
        entries = json.load(file)["manifests"]
    found = [e for e in entries if e.get("annotations", {}).get(REF_NAME) == tag]
    if len(found) != 1:
        return f"{len(found)} images are called {tag}"
    if found[0]["digest"] == image.digest:
        return exact_blobs(pool, image, folder)
    if kept:
        return f"expected {image.digest}, got {found[0]['digest']}, though its blobs were kept"
    return rebuilt(pool, image, folder, found[0])


def exact_blobs(pool, image, folder):
    for digest in closure_blobs(image):
        try:
            got = read_blob(folder, digest)
        except FileNotFoundError:
            return f"{digest} is missing"
        if got != pool.blob(digest):
            return f"{digest} has other bytes"
    return None


def closure_blobs(image):
    """Returns the digests of all blobs that an image is."""
    return {
        digest
        for part in image.below()
        for digest in [*part.documents, *(blob["digest"] for _, blob in part.layers)]
    }


def rebuilt(pool, image, folder, descriptor):
    """Compares an image whose layers were compressed anew: configs, and the bytes of all tars."""
    document = json.loads(read_blob(folder, descriptor["digest"]))
    expected = json.loads(pool.blob(image.digest))
    if document.keys() != expected.keys():
        return "another kind of document"
    if image.children:
        if len(document["manifests"]) != len(image.children):
            return "another number of images below the index"
        pairs = zip(image.children, document["manifests"])
        wrongs = [rebuilt(pool, child, folder, below) for child, below in pairs]
        return next(filter(None, wrongs), None)
    if document["config"] != expected["config"]:
        return "another config"
    if image.subject:
        if document["layers"] != expected["layers"]:
            return "other files"
        return rebuilt(pool, image.subject, folder, document["subject"])
    found = [diff_id(folder, layer) for layer in document["layers"]]
    if found != [layer.diff_id for layer, _ in image.layers]:
        return f"the tars are {found}"
    return None


def diff_id(folder, descriptor):
    data = read_blob(folder, descriptor["digest"])
    if descriptor["mediaType"].endswith("+gzip"):
        data = gzip.decompress(data)
    return f"sha256:{sha256(data)}"


def read_blob(folder, digest):
    """Returns the bytes of a blob, which are those that its name says."""
    algorithm, _, encoded = digest.partition(":")
    with open(os.path.join(folder, "blobs", algorithm, encoded), "rb") as file:
        data = file.read()
    if hashlib.new(algorithm, data).hexdigest() != encoded:
        raise ValueError(f"{digest} has other bytes")
    return data
