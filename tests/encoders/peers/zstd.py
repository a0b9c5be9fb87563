"""Answers inputs with zstd frames (tests/encoders/peer.rs says how questions look).

The argument says whose: `command`, `zstandard` or `backports.zstd`. The question `version` asks for libzstd's; it is
empty where the program is not there. Others have a way, a level, `check` or `no-check`, `long` or `short`.
"""

import importlib
import os
import re
import struct
import subprocess
import sys
import tempfile

COMMAND = os.environ.get("OCISTORE_PEER_ZSTD", "zstd")


def number(text):
    parts = [int(part) for part in text.split(".")]
    return str(parts[0] * 10000 + parts[1] * 100 + parts[2])


class Cli:
    def version(self):
        said = subprocess.run([COMMAND, "--version"], capture_output=True, text=True).stdout
        return number(re.search(r"v(\d+\.\d+\.\d+)", said)[1])

    def compress(self, way, level, check, long, plain):
        args = [COMMAND, "-q", "-c", "--" + check]
        args += ["--ultra", f"-{level}"] if level > 0 else [f"--fast={-level}"]
        args += ["--long"] if long else []
        args += ["--single-thread"] if way.startswith("single") else ["-T3"]
        if way.endswith("pipe"):
            return subprocess.run(args, input=plain, stdout=subprocess.PIPE, check=True).stdout
        with tempfile.NamedTemporaryFile() as file:
            file.write(plain)
            file.flush()
            return subprocess.run([*args, file.name], stdout=subprocess.PIPE, check=True).stdout


class Zstandard:
    def version(self):
        self.zstd = importlib.import_module("zstandard")
        return number(".".join(map(str, self.zstd.ZSTD_VERSION)))

    def compress(self, way, level, check, long, plain):
        more = {"window_log": 27, "enable_ldm": True} if long else {}
        parameters = self.zstd.ZstdCompressionParameters(
            compression_level=level,
            write_checksum=check == "check",
            write_content_size=way in ("known", "whole"),
            threads=2 if way == "workers" else 0,
            **more,
        )
        compressor = self.zstd.ZstdCompressor(compression_params=parameters)
        if way == "whole":
            return compressor.compress(plain)
        stream = compressor.compressobj(size=len(plain) if way == "known" else -1)
        return stream.compress(plain) + stream.flush()


class Backports:
    def version(self):
        self.zstd = importlib.import_module("backports.zstd")
        return number(self.zstd.zstd_version)

    def compress(self, way, level, check, long, plain):
        names = self.zstd.CompressionParameter
        options = {
            names.compression_level: level,
            names.checksum_flag: check == "check",
        }
        if long:
            options |= {names.window_log: 27, names.enable_long_distance_matching: 1}
        if way == "workers":
            options |= {names.nb_workers: 2}
        if way == "whole":
            return self.zstd.compress(plain, options=options)
        compressor = self.zstd.ZstdCompressor(options=options)
        return compressor.compress(plain) + compressor.flush()


def answer(peer, question, plain):
    if question == "version":
        try:
            return peer.version().encode()
        except (ImportError, OSError):
            return b""
    way, level, check, long = question.split()
    return peer.compress(way, int(level), check, long == "long", plain)


peer = {"command": Cli, "zstandard": Zstandard, "backports.zstd": Backports}[sys.argv[1]]()
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while head := read(4):
    question = read(struct.unpack("<I", head)[0]).decode()
    plain = read(struct.unpack("<I", read(4))[0])
    made = answer(peer, question, plain)
    write(struct.pack("<I", len(made)) + made)
    sys.stdout.buffer.flush()
