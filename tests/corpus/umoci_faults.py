"""Foretells where `umoci raw unpack` (0.4.7) makes something else of an image than its tars say.

Each rule here is a fault of umoci, with its reason, and gives the value that is
right, worked out from the tars: same-tree then allows that one value and no other.
"""

import decimal
import posixpath

import layout
from printing import printable, timestamp

IMPLICIT = "umoci gives a directory that no layer names the time of unpacking"
ABOVE_IMPLICIT = "umoci makes a directory that no layer names, and leaves its parent's time changed"
EMPTY_XATTR = "umoci drops xattrs without a value"
XATTR = "SCHILY.xattr."


class Node:
    """What the rules need to know of one inode."""

    def __init__(self, mtime, is_directory, empty_xattrs=()):
        self.mtime = mtime
        self.is_directory = is_directory
        self.empty_xattrs = list(empty_xattrs)


class Model:
    """The merged tree, as far as the rules need it."""

    def __init__(self):
        self.nodes = {".": Node(0, True)}
        self.reasons = {}

    def add_layer(self, path):
        for _, member in layout.members(path):
            name = posixpath.normpath("/" + member.name).lstrip("/") or "."
            folder, base = posixpath.split(name)
            if base == ".wh..wh..opq":
                self.remove_below(folder)
            elif base.startswith(".wh."):
                self.remove(posixpath.join(folder, base[len(".wh.") :]))
            else:
                self.add_parents(name)
                self.add(name, member)

    def remove_below(self, folder):
        prefix = folder + "/" if folder else ""
        for path in [path for path in self.nodes if path.startswith(prefix) and path != "."]:
            self.forget(path)

    def remove(self, name):
        self.remove_below(name)
        self.forget(name)

    def forget(self, path):
        self.nodes.pop(path, None)
        self.reasons.pop(path, None)

    def add_parents(self, name):
        """Makes the directories above an entry that have none of their own."""
        folder = posixpath.dirname(name) or "."
        missing = []
        while folder not in self.nodes:
            missing.append(folder)
            folder = posixpath.dirname(folder) or "."
        if missing:
            self.reasons.setdefault(folder, ABOVE_IMPLICIT)
        for path in missing:
            self.nodes[path] = Node(0, True)
            self.reasons[path] = IMPLICIT

    def add(self, name, member):
        if not member.isdir() and name in self.nodes and self.nodes[name].is_directory:
            self.remove_below(name)
        self.reasons.pop(name, None)
        if member.islnk():
            target = posixpath.normpath("/" + member.linkname).lstrip("/")
            if target in self.nodes:
                self.nodes[name] = self.nodes[target]
        else:
            self.nodes[name] = Node(mtime_ns(member), member.isdir(), empty_xattrs(member))

    def faults(self):
        """Yields (what, path, right value, reason) for each fault to expect."""
        for path, node in self.nodes.items():
            if path in self.reasons:
                yield "mtime", shown(path), timestamp(node.mtime), self.reasons[path]
            for name in node.empty_xattrs:
                yield "xattr:" + shown(name), shown(path), "0x", EMPTY_XATTR


def mtime_ns(member):
    # As text: a float does not hold nanoseconds.
    seconds = decimal.Decimal(member.pax_headers.get("mtime", member.mtime))
    return int(seconds * 10**9)


def empty_xattrs(member):
    return [
        key[len(XATTR) :]
        for key, value in member.pax_headers.items()
        if key.startswith(XATTR) and value == ""
    ]


def shown(text):
    """Returns a name as same-tree prints it."""
    return printable(layout.raw(text))


def write(directory, manifest, destination):
    """Writes the faults to expect with one image, as same-tree reads them with --allow."""
    model = Model()
    for layer in manifest.document["layers"]:
        model.add_layer(layout.blob_path(directory, layer["digest"]))
    with open(destination, "w", encoding="ascii") as file:
        for what, path, right, reason in model.faults():
            file.write("\t".join((what, path, right, reason)) + "\n")
