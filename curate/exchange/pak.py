"""DeepFaceLab's packs (faceset.pak): all aligned faces in one file (its samplelib/PackedFaceset.py).

Little-endian: version 1 and the size of a pickle (8 bytes each); the pickle, a list of a dictionary a face; a table of
where each face's JPEG begins, counted from the table's end, with one more entry for the last one's end (8 bytes each);
the JPEG files. DeepFaceLab itself writes the last entry counted from the file's beginning, so it may lie too far.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from curate.exchange import dfl, pickled
from curate.exchange.record import MAX_PICTURE, ForeignError

NAME = "faceset.pak"
VERSION = 1
MAX_TABLE = 512 << 20
"""Bytes of the pickle."""
_FACE_SAMPLE = 1
"""DeepFaceLab's SampleType.FACE."""


@dataclass(frozen=True)
class Packed:
    """One face of a pack."""

    name: str
    person: str | None
    """Sub-folder that it came from."""
    values: dict[str, Any]
    start: int
    size: int

    def read(self, stream: BinaryIO) -> bytes:
        """The JPEG's bytes; ForeignError where the pack is too short or the picture too large."""
        if not 0 < self.size <= MAX_PICTURE:
            raise ForeignError(f"it has {self.size} bytes in the pack; the limits are 1 and {MAX_PICTURE}")
        stream.seek(self.start)
        data = stream.read(self.size)
        if len(data) != self.size:
            raise ForeignError("the pack ends within it")
        return data


def contents(stream: BinaryIO) -> list[Packed]:
    """The faces in an open pack; ForeignError for what is no pack, PickleError for a list that is refused."""
    end = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(16)
    version, size = struct.unpack("<QQ", head) if len(head) == 16 else (0, 0)
    if version != VERSION:
        raise ForeignError(f"it is not a DeepFaceLab pack of version {VERSION} (its header says {version})")
    if not 0 < size <= min(MAX_TABLE, end - 16):
        raise ForeignError(f"its index claims {size} bytes; at most {min(MAX_TABLE, end - 16)} are possible")
    listed = pickled.loads(stream.read(size))
    if not isinstance(listed, list) or not all(isinstance(values, dict) for values in listed):
        raise ForeignError("its index of faces has an unknown form")
    table = stream.read(8 * (len(listed) + 1))
    if len(table) != 8 * (len(listed) + 1):
        raise ForeignError("it ends within its index")
    offsets = struct.unpack(f"<{len(listed) + 1}Q", table)
    begin = 16 + size + len(table)
    return list(_faces(listed, offsets, begin, end))


def _faces(listed: list[dict[str, Any]], offsets: Sequence[int], begin: int, end: int) -> Iterator[Packed]:
    for number, values in enumerate(listed):
        start = begin + offsets[number]
        person = values.get("person_name")
        yield Packed(
            str(values.get("filename") or f"{number:06d}.jpg")[:255],
            str(person)[:255] if person else None,
            values,
            start,
            min(begin + offsets[number + 1], end) - start,
        )


def write(path: Path, pictures: Sequence[Path]) -> None:
    """A pack of JPEG files with DeepFaceLab's metadata, in this order; one of them is held in memory at a time."""
    raw = pickled.dumps([_listed(picture.name, picture.read_bytes()) for picture in pictures])
    offsets = [0, *itertools.accumulate(picture.stat().st_size for picture in pictures)]
    with path.open("wb") as stream:
        stream.write(struct.pack("<QQ", VERSION, len(raw)) + raw)
        stream.write(struct.pack(f"<{len(offsets)}Q", *offsets))
        for picture in pictures:
            stream.write(picture.read_bytes())


def _listed(name: str, data: bytes) -> dict[str, Any]:
    values = dfl.metadata(data)
    if values is None:
        raise ForeignError(f"{name} has no DeepFaceLab metadata")
    return {
        "sample_type": _FACE_SAMPLE,
        "filename": name,
        "face_type": dfl.NUMBERS.get(values.get("face_type", ""), dfl.NUMBERS[dfl.WHOLE_FACE]),
        "shape": (*dfl.size(data), 3),
        "landmarks": np.asarray(values["landmarks"], np.float64).tolist(),
        "ie_polys": None,
        "seg_ie_polys": None,
        "eyebrows_expand_mod": 1.0,
        "source_filename": values.get("source_filename"),
        "person_name": None,
    }
