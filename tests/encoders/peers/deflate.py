"""Answers inputs with the raw deflate streams of Python's zlib (tests/encoders/peer.rs says how questions look).

Settings are words: `level=6 mem=8`. The first input goes in as one piece, the others in pieces of a size that changes.
"""

import struct
import sys
import zlib

read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
PIECES = [1 << 30, 1 << 14, 1 << 20, 1 << 16, 10240, 1 << 17]
turn = 0
while head := read(4):
    words = read(struct.unpack("<I", head)[0]).decode().split()
    settings = {key: int(value) for key, value in (word.split("=") for word in words if "=" in word)}
    plain = read(struct.unpack("<I", read(4))[0])
    encoder = zlib.compressobj(settings["level"], zlib.DEFLATED, -15, settings.get("mem", 8))
    piece = PIECES[turn % len(PIECES)]
    turn += 1
    parts = [encoder.compress(plain[at : at + piece]) for at in range(0, len(plain), piece)]
    stream = b"".join(parts) + encoder.flush()
    write(struct.pack("<I", len(stream)) + stream)
    sys.stdout.buffer.flush()
