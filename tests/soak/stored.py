"""Computes from the names in a store and the images themselves which files it must consist of.

Shares no code with ocistore. For use while no command is under way.
"""

import json
import os

from images import REF_NAME, sha256

# Beside these there are an epoch and the lock files.
FILES = {"format", "oci-layout", "index.json", "catalog.redb"}


def names(store):
    """Returns the digest of every name."""
    with open(os.path.join(store, "index.json"), "rb") as file:
        return {
            entry["annotations"][REF_NAME]: entry["digest"] for entry in json.load(file)["manifests"]
        }


def images_below(pool, store, digests):
    """Returns all that names lead to, and what is about any of it, if that is in the store."""
    live = {}
    waiting = [pool.images[digest] for digest in digests]
    while waiting:
        for image in waiting.pop().below():
            live[image.digest] = image
        if not waiting:
            waiting = [
                image
                for image in pool.images.values()
                if image.subject
                and image.digest not in live
                and image.subject.digest in live
                and os.path.exists(blob_path(store, image.digest))
            ]
    return live.values()


def blob_path(store, digest):
    return os.path.join(store, "blobs", *digest.split(":"))


def wrong_files(pool, store, kept):
    """Returns what is wrong with the files of a store after gc, or None.

    `kept` are the digests of the named images whose layer blobs have to be there.
    """
    found = set(files_below(store))
    images = list(images_below(pool, store, set(names(store).values())))
    layers = [pair for image in images for pair in image.layers]
    documents = {blob_name(digest) for image in images for digest in image.documents}
    blobs = {blob_name(blob["digest"]) for _, blob in layers if is_packed(blob)}
    must_keep = {
        blob_name(blob["digest"])
        for digest in kept
        for image in pool.images[digest].below()
        for _, blob in image.layers
        if is_packed(blob)
    }
    recipes = {f"layers/{layer.diff_id.replace(':', '/')}" for layer, _ in layers}
    contents = set().union(*(layer.contents for layer, _ in layers))
    objects = {path for path in found if path.startswith("objects/")}
    return (
        sets("blobs", documents | must_keep, {p for p in found if p.startswith("blobs/")}, blobs)
        or sets("layers", recipes, {p for p in found if p.startswith("layers/")})
        or wrong_objects(store, objects, contents)
        or leftovers(found)
    )


def is_packed(blob):
    """Tells whether a layer blob is compressed: others are not kept."""
    return not blob["mediaType"].endswith(".tar")


def blob_name(digest):
    return f"blobs/{digest.replace(':', '/')}"


def files_below(store):
    for folder, _, here in os.walk(store):
        for name in here:
            yield os.path.relpath(os.path.join(folder, name), store)


def sets(what, expected, found, allowed=frozenset()):
    missing, more = expected - found, found - expected - allowed
    if not missing and not more:
        return None
    return f"{what}: missing {sorted(missing)[:5]}, too many {sorted(more)[:5]}"


def wrong_objects(store, paths, contents):
    """Compares objects by their bytes: what they are called is for fsck to check."""
    found = []
    for path in paths:
        with open(os.path.join(store, path), "rb") as file:
            found.append(sha256(file.read()))
    if len(found) != len(set(found)):
        return "objects: one content twice"
    return sets("objects", contents, set(found))


def leftovers(found):
    """Returns which files are neither of an image nor of every store."""
    folders = ("blobs/", "layers/", "objects/")
    rest = {path for path in found if not path.startswith(folders)} - FILES
    epochs = {path for path in rest if path.startswith("epochs/")}
    if len(epochs) > 1:
        return f"more than one epoch: {sorted(epochs)}"
    locks = {path for path in rest if path.startswith("locks/") and "claim" not in path}
    return sets("files", set(), rest - epochs - locks)
