"""DeepFaceLab's aligned faces: JPEG files with a pickled dictionary in their APP15 segment (its DFLIMG/DFLJPG.py)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.exchange import pickled
from curate.exchange.record import ForeignError, Record, numbers, text
from curate.types import Image

WHOLE_FACE = "whole_face"
NUMBERS = {
    "half_face": 0, "midfull_face": 1, "full_face": 2, "full_face_no_align": 3, "whole_face": 4, "head": 5,
    "head_no_align": 6, "mark_only": 10,
}  # fmt: skip
"""Its face types and their numbers in packs."""
_SOI, _SOS, _APP15 = 0xD8, 0xDA, 0xEF
_LONGEST = 65533
"""Bytes that a JPEG segment holds."""


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of the segments before the picture's data; a segment starts with its FF."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise ForeignError("it is not a JPEG file")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _SOS:
            return
        stop = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if stop > len(data):
            break
        yield marker, at, stop
        at = stop
    raise ForeignError("it is a damaged JPEG file")


def has_metadata(data: bytes) -> bool:
    """Whether the beginning of a file is a JPEG with an APP15 segment."""
    try:
        return any(marker == _APP15 for marker, _, _ in _segments(data))
    except ForeignError:
        return False


def size(data: bytes) -> tuple[int, int]:
    """(height, width) that a JPEG's frame header says; (0, 0) if there is none."""
    for marker, start, stop in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and stop - start >= 9:
            height, width = struct.unpack_from(">HH", data, start + 5)
            return height, width
    return 0, 0


def metadata(data: bytes) -> dict[str, Any] | None:
    """The dictionary in a JPEG's APP15 segment (the last one, as DeepFaceLab takes it), or None if there is none.

    Raises ForeignError for what is no JPEG, PickleError for a pickle that is refused.
    """
    found = [data[start + 4 : stop] for marker, start, stop in _segments(data) if marker == _APP15]
    if not found:
        return None
    values = pickled.loads(found[-1])
    if not isinstance(values, dict):
        raise ForeignError(f"its metadata is {type(values).__name__}, not a dictionary")
    return values


def with_metadata(data: bytes, values: dict[str, Any]) -> bytes:
    """The JPEG with this dictionary after its application segments, instead of any that it had."""
    raw = pickled.dumps(values)
    if len(raw) > _LONGEST:
        raise ForeignError(f"its metadata has {len(raw)} bytes; a JPEG segment can contain {_LONGEST}")
    kept, place = [data[:2]], 1
    end = 2
    for marker, start, stop in _segments(data):
        end = stop
        if marker == _APP15:
            continue
        kept.append(data[start:stop])
        if 0xE0 <= marker <= 0xEF:
            place = len(kept)
    segment = bytes((0xFF, _APP15)) + struct.pack(">H", len(raw) + 2) + raw
    return b"".join([*kept[:place], segment, *kept[place:]]) + data[end:]


def record(file: str, values: dict[str, Any]) -> Record:
    """A face as DeepFaceLab's dictionary describes it; ForeignError for fields of another form."""
    face_type = values.get("face_type")
    if isinstance(face_type, int):
        face_type = next((name for name, number in NUMBERS.items() if number == face_type), None)
    return Record(
        file,
        "dfl",
        text(values.get("source_filename")),
        text(face_type),
        numbers(values.get("landmarks"), (68, 2), "landmarks"),
        numbers(values.get("source_landmarks"), (68, 2), "source_landmarks"),
        numbers(values.get("source_rect"), (4,), "source_rect"),
        numbers(values.get("image_to_face_mat"), (2, 3), "image_to_face_mat"),
        ("xseg",) if values.get("xseg_mask") is not None else (),
    )


def described(
    points: NDArray[np.floating],
    matrix: NDArray[np.float64],
    source: str,
    box: tuple[float, float, float, float],
    mask: Image | None = None,
) -> dict[str, Any]:
    """The dictionary of a `whole_face` crop: points (68, 2) and box (left, top, right, bottom) in frame pixels.

    `mask`: (H, W) uint8 of the crop, 255 on the face, or None. Plain values only, but for the mask: DeepFaceLab makes
    arrays of the lists itself, and decodes the mask from the bytes of a PNG in an array.
    """
    points = np.asarray(points, np.float64)
    return {
        "face_type": WHOLE_FACE,
        "landmarks": (points @ matrix[:, :2].T + matrix[:, 2]).tolist(),
        "source_filename": source,
        "source_rect": [round(v) for v in box],
        "source_landmarks": points.tolist(),
        "image_to_face_mat": matrix.tolist(),
        "eyebrows_expand_mod": 1.0,
        "seg_ie_polys": None,
        "xseg_mask": None if mask is None else cv2.imencode(".png", mask)[1].reshape(-1),
    }
