"""Compares what ocistore gives back with what was put into it.

A function that compares returns what is wrong in one text, or None.
"""

import filecmp
import json
import os
import stat
import subprocess
from collections import Counter

import layout

HERE = os.path.dirname(os.path.abspath(__file__))


def blobs(original, exported, digests):
    """Returns what is wrong with the blobs of an export, or None."""
    for digest in digests:
        copy = layout.blob_path(exported, digest)
        if not os.path.exists(copy):
            return f"{digest} is missing"
        if not filecmp.cmp(layout.blob_path(original, digest), copy, shallow=False):
            return f"{digest} has other bytes"
    return None


def find_exported(directory, tag, digest):
    """Returns the image of an exported layout that has a tag, or else a digest, or None."""
    found = layout.images(layout.Source(directory, None))
    named = [image for image in found if image.ref == tag]
    same = [image for image in found if image.descriptor["digest"] == digest]
    return next(iter(named + same), None)


def rebuilt_tars(image, exported):
    """Returns what is wrong with the layers of an image exported without its blobs, or None."""
    before = list(layout.manifests(image.layout, image.descriptor))
    after = list(layout.manifests(exported.layout, exported.descriptor))
    if len(before) != len(after):
        return f"{len(before)} manifests became {len(after)}"
    for old, new in zip(before, after):
        if not layout.is_image(old):
            continue
        expected = layout.diff_ids(image.layout, old)
        if layout.diff_ids(exported.layout, new) != expected:
            return f"the diff_ids of {old.descriptor['digest']} changed"
        found = [rebuilt_diff_id(exported.layout, layer) for layer in new.document["layers"]]
        if found != expected:
            return f"expected the tars {expected}, got {found}"
    return None


def rebuilt_diff_id(directory, layer):
    with layout.tar_stream(layout.blob_path(directory, layer["digest"])) as stream:
        return layout.sha256(stream)


def layer_digests(images):
    """Returns the digests of all layers of some images."""
    return {
        layer["digest"]
        for image in images
        for manifest in layout.manifests(image.layout, image.descriptor)
        if layout.is_image(manifest)
        for layer in manifest.document["layers"]
    }


def regular_files(directory):
    """Yields the path and lstat of every regular file below a directory, which may be missing."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                yield path, status


def inodes(directory):
    return {(status.st_dev, status.st_ino) for _, status in regular_files(directory)}


def flip_a_bit(path):
    """Changes the first byte of a file, and nothing that can be seen without reading it."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        byte = file.read(1)[0]
        file.seek(0)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def sets(expected, found):
    """Returns how two sets differ, or None."""
    if expected == found:
        return None
    return f"missing {sorted(expected - found)}, too many {sorted(found - expected)}"


def same_tree(expected, faults, tree):
    """Returns how often each reason allowed a difference, and what is wrong, or None."""
    command = [os.path.join(HERE, "same-tree"), "--json", "--allow", faults, expected, tree]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode > 1:
        return Counter(), done.stderr.decode("utf-8", "replace")
    document = json.loads(done.stdout)
    allowed = Counter(found["reason"] for found in document["allowed"])
    return allowed, differences_text(document["differences"], command)


def differences_text(differences, command):
    """Returns the first differences and how to see the others, or None."""
    if not differences:
        return None
    lines = [
        f"{found['what']} {found['path']}: {found['a']} != {found['b']}" for found in differences
    ]
    again = " ".join(argument for argument in command if argument != "--json")
    return "\n     ".join([f"{len(lines)} differences, umoci's side first: {again}"] + lines[:5])
