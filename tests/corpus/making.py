"""Makes OCI image layouts for measuring: layers are streamed, so that none has to fit into memory."""

import contextlib
import hashlib
import io
import json
import os
import random
import tarfile
import zlib

CHUNK = 1 << 20


class Blob:
    """Writes a blob of a layout while it hashes it, and its tar."""

    def __init__(self, layout, compress):
        self.folder = os.path.join(layout, "blobs/sha256")
        os.makedirs(self.folder, exist_ok=True)
        self.path = os.path.join(self.folder, "new")
        self.file = open(self.path, "wb")
        self.digest, self.diff_id, self.size = hashlib.sha256(), hashlib.sha256(), 0
        self.packer = zlib.compressobj(1, zlib.DEFLATED, 31) if compress else None

    def write(self, data):
        self.diff_id.update(data)
        self.put(self.packer.compress(data) if self.packer else data)
        return len(data)

    def put(self, data):
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)

    def close(self):
        if self.packer:
            self.put(self.packer.flush())
        self.file.close()
        os.rename(self.path, os.path.join(self.folder, self.digest.hexdigest()))

    def descriptor(self, media_type):
        digest = f"sha256:{self.digest.hexdigest()}"
        return {"mediaType": media_type, "digest": digest, "size": self.size}


class Noise(io.RawIOBase):
    """Reads bytes that no compression makes smaller."""

    def __init__(self, size, seed):
        self.left, self.random = size, random.Random(seed)

    def readable(self):
        return True

    def readinto(self, to):
        n = min(len(to), self.left, CHUNK)
        to[:n] = self.random.randbytes(n)
        self.left -= n
        return n


def put_json(layout, value, media_type):
    blob = Blob(layout, compress=False)
    blob.write(json.dumps(value).encode())
    blob.close()
    return blob.descriptor(media_type)


@contextlib.contextmanager
def layer(layout, compress):
    """Yields a tar to write a layer with, and the list that its blob is in when it is done."""
    blob, done = Blob(layout, compress), []
    with tarfile.open(fileobj=blob, mode="w|", bufsize=CHUNK) as tar:
        yield tar, done
    blob.close()
    done.append((blob.descriptor(layer_type(compress)), f"sha256:{blob.diff_id.hexdigest()}"))


def add_file(tar, name, data):
    """Adds a file to a tar that is being written."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    # It would remember all of them.
    tar.members.clear()


def layer_type(compress):
    return "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress else "")


def make_image(layout, layers):
    """Puts the documents of an image called 1 over its layers: descriptors and diff_ids."""
    oci = "application/vnd.oci.image"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put_json(layout, config, f"{oci}.config.v1+json"),
        "layers": [descriptor for descriptor, _ in layers],
    }
    root = put_json(layout, manifest, f"{oci}.manifest.v1+json")
    root["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    for name, value in [
        ("index.json", {"schemaVersion": 2, "manifests": [root]}),
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
    ]:
        with open(os.path.join(layout, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
