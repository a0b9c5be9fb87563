"""Answers inputs with the raw deflate streams of a program that writes gzip members: GNU gzip, pigz or `busybox gzip`.

Another build of a program is named by OCISTORE_PEER_GZIP, OCISTORE_PEER_PIGZ or OCISTORE_PEER_BUSYBOX.

Settings are the program's words, `gzip -6`; a word `file` has it read a file instead of a pipe. tests/encoders/peer.rs
says how questions look.
"""

import os
import struct
import subprocess
import sys
import tempfile

read, write = sys.stdin.buffer.read, sys.stdout.buffer.write


def run(words, plain):
    program = os.environ.get("OCISTORE_PEER_" + words[0].upper(), words[0])
    command = [program, *words[1:], "-cn"]
    if "file" not in words:
        return subprocess.run(command, input=plain, capture_output=True, check=True).stdout
    command.remove("file")
    with tempfile.NamedTemporaryFile() as file:
        file.write(plain)
        file.flush()
        return subprocess.run([*command, file.name], capture_output=True, check=True).stdout


while head := read(4):
    words = read(struct.unpack("<I", head)[0]).decode().split()
    member = run(words, read(struct.unpack("<I", read(4))[0]))
    # The header without a name has 10 bytes, the trailer 8.
    stream = member[10:-8]
    write(struct.pack("<I", len(stream)) + stream)
    sys.stdout.buffer.flush()
