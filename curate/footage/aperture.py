"""Odd sizes in MP4 and QuickTime: the clean aperture (ISO/IEC 14496-12, 12.1.4) that leaves out a padded column or row.

libav's decoders do not apply it. Apertures that cut more are left alone: they are about the overscan of televisions.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import BinaryIO

from curate.footage.source import Stamp, stamp

MOST = 1 << 26
"""Bytes of a movie box that are read."""


def odd_size(path: Path, width: int, height: int) -> tuple[int, int]:
    """Width and height of pictures that are stored as `width` x `height`: one less where an aperture says so."""
    wide, high = _aperture(path, stamp(path))
    return wide if wide == width - 1 else width, high if high == height - 1 else height


@functools.lru_cache(64)
def _aperture(path: Path, _at: Stamp) -> tuple[int, int]:
    """Width and height of the first clean aperture in the file; 0, 0 if there is none."""
    try:
        with path.open("rb") as stream:
            movie = _movie(stream)
    except OSError:
        return 0, 0
    at = movie.find(b"clap")
    if at < 4 or int.from_bytes(movie[at - 4 : at], "big") != 40:
        return 0, 0
    wide, a, high, b = (int.from_bytes(movie[i : i + 4], "big") for i in range(at + 4, at + 20, 4))
    return (wide // a, high // b) if a and b else (0, 0)


def _movie(stream: BinaryIO) -> bytes:
    """The moov box; empty if the file has none."""
    start = 0
    while True:
        stream.seek(start)
        head = stream.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if len(head) < 16 or size < 8 or not head[4:8].isalnum():
            return b""
        if head[4:8] == b"moov":
            stream.seek(start)
            return stream.read(min(size, MOST))
        start += size
