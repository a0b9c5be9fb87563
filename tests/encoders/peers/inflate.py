"""Answers streams of deflate with their plain bytes (tests/encoders/peer.rs says how questions look)."""

import struct
import sys
import zlib

read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
while head := read(4):
    read(struct.unpack("<I", head)[0])
    stream = read(struct.unpack("<I", read(4))[0])
    plain = zlib.decompress(stream, wbits=-15)
    write(struct.pack("<I", len(plain)) + plain)
    sys.stdout.buffer.flush()
