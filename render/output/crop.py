"""Cropping of an odd size by the container: the clean aperture of MP4 and QuickTime (ISO/IEC 14496-12, 12.1.4).

H.264 and H.265 with halved chroma crop in steps of two pixels, so the encoder pads an odd size by one column or row.
The `clap` box, and the size in the track's header, tell players to leave it out again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from curate.runtime.files import atomic
from render.provenance.mp4_boxes import boxes

FIELDS = 86
"""Bytes of a visual sample entry before its own boxes, with the header."""
INNER = (b"trak", b"mdia", b"minf", b"stbl")


def crop(path: Path, width: int, height: int, coded: tuple[int, int]) -> None:
    """Write the clean aperture `width` x `height` of pictures of the size `coded` into a finished file.

    What is left out lies at the right and at the bottom.
    """
    with path.open("rb") as stream:
        found = {box.kind: box for box in boxes(stream)}
        movie, media = found[b"moov"], found[b"mdat"]
        stream.seek(movie.start)
        before = bytearray(stream.read(movie.size))
        after = _with_aperture(before, width, height, coded)
        if media.start > movie.start:
            _shift(after, len(after) - len(before))
        with atomic(path) as temporary, temporary.open("wb") as out:
            stream.seek(0)
            out.write(stream.read(movie.start))
            out.write(after)
            stream.seek(movie.start + movie.size)
            shutil.copyfileobj(stream, out)
            out.flush()
            os.fsync(out.fileno())


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the boxes in data[start:end]; sizes of 64 bits do not occur inside a moov."""
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4], "big")
        if size < 8 or start + size > end:
            raise ValueError(f"box structure broken at byte {start}")
        yield bytes(data[start + 4 : start + 8]), start, start + size
        start += size


def _with_aperture(movie: bytearray, width: int, height: int, coded: tuple[int, int]) -> bytearray:
    """The moov box with a clap box in the video's sample entry."""
    made = bytearray(movie)
    for kind, start, end in _boxes(movie, 8, len(movie)):
        if kind != b"trak" or b"vide" not in movie[start:end]:
            continue
        parents = [0, start]
        for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
            parents.append(next(s for k, s, _ in _boxes(movie, parents[-1] + 8, _end(movie, parents[-1])) if k == kind))
        entry = parents[-1] + 16
        box = _aperture(width, height, coded)
        at = _end(movie, entry)
        for parent in [*parents, entry]:
            made[parent : parent + 4] = (int.from_bytes(movie[parent : parent + 4], "big") + len(box)).to_bytes(
                4, "big"
            )
        _show(made, start, width / coded[0], height / coded[1])
        made[at:at] = box
        return made
    raise ValueError("no video track")


def _end(data: bytes | bytearray, start: int) -> int:
    return start + int.from_bytes(data[start : start + 4], "big")


def _aperture(width: int, height: int, coded: tuple[int, int]) -> bytes:
    numbers = (width, 1, height, 1, width - coded[0], 2, height - coded[1], 2)
    return (40).to_bytes(4, "big") + b"clap" + b"".join(n.to_bytes(4, "big", signed=True) for n in numbers)


def _show(movie: bytearray, track: int, across: float, down: float) -> None:
    """Scale the size in the track's header (16.16 fixed point)."""
    kind, _, end = next(_boxes(movie, track + 8, _end(movie, track)))
    if kind != b"tkhd":
        return
    for at, factor in ((end - 8, across), (end - 4, down)):
        size = int.from_bytes(movie[at : at + 4], "big")
        movie[at : at + 4] = round(size * factor).to_bytes(4, "big")


def _shift(movie: bytearray, by: int, start: int = 8, end: int | None = None) -> None:
    """Move all chunk offsets by some bytes."""
    for kind, first, last in list(_boxes(movie, start, len(movie) if end is None else end)):
        if kind in INNER:
            _shift(movie, by, first + 8, last)
        elif kind in (b"stco", b"co64"):
            size = 4 if kind == b"stco" else 8
            for at in range(first + 16, last, size):
                movie[at : at + size] = (int.from_bytes(movie[at : at + size], "big") + by).to_bytes(size, "big")
