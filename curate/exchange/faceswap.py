"""faceswap's aligned faces and alignments files.

An aligned face is a PNG file with an iTXt chunk `faceswap`: the text of a Python dictionary with `alignments` and
`source` (its lib/align/objects.py, PNGHeader). An alignments file (.fsa) is a zlib-compressed pickle: `__meta__` with
the version, `__data__` with the faces of each frame by its file name (its lib/align/alignments.py).
"""

from __future__ import annotations

import ast
import json
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.exchange import pickled
from curate.exchange.layout import Centring, faceswap_matrix, raised_hull
from curate.exchange.record import ForeignError, Record, numbers, text
from curate.face.align import transform
from curate.types import Floats

VERSION = 2.3
"""Of the alignments that are written."""
MAX_HEADER = 2 << 20
"""Bytes of a PNG's header text."""
MAX_FSA = 512 << 20
"""Bytes of an alignments file, compressed or not."""
MASK_SIZE = 128
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY = b"faceswap"


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, stop) of a PNG's chunks; a chunk starts with its length and stops after its checksum."""
    if data[:8] != _SIGNATURE:
        raise ForeignError("it is not a PNG file")
    at = 8
    while at + 12 <= len(data):
        stop = at + 12 + struct.unpack_from(">I", data, at)[0]
        if stop > len(data):
            break
        yield data[at + 4 : at + 8], at, stop
        at = stop


def _text(kind: bytes, body: bytes) -> bytes | None:
    """faceswap's text in an iTXt or tEXt chunk, or None if it is another's."""
    key, _, rest = body.partition(b"\0")
    if key != _KEY:
        return None
    if kind == b"tEXt":
        return rest
    packed, rest = rest[:1] == b"\1", rest[2:]
    value = rest.split(b"\0", 2)[-1]
    if not packed:
        return value
    return unpacked(value, MAX_HEADER)


def unpacked(data: bytes, limit: int) -> bytes:
    """zlib's data, at most `limit` bytes; ForeignError past it, or for other data."""
    machine = zlib.decompressobj()
    try:
        value = machine.decompress(data, limit + 1)
    except zlib.error as error:
        raise ForeignError(f"it cannot be decompressed ({error})") from None
    if len(value) > limit:
        raise ForeignError(f"it decompresses to more than {limit} bytes")
    if not machine.eof:
        raise ForeignError("it ends early")
    return value


def header(data: bytes) -> dict[str, Any] | None:
    """faceswap's dictionary in a PNG file, or None if it has none; ForeignError for one of another form."""
    for kind, start, stop in _chunks(data):
        if kind in (b"iTXt", b"tEXt"):
            if stop - start > MAX_HEADER:
                raise ForeignError(f"one of its text chunks has {stop - start} bytes; the limit is {MAX_HEADER}")
            found = _text(kind, data[start + 8 : stop - 4])
            if found is not None:
                return _dictionary(found)
    return None


def _dictionary(value: bytes) -> dict[str, Any]:
    """A dictionary of literals, written by Python or as JSON; never evaluated."""
    try:
        written = value.decode("utf-8")
        try:
            found = json.loads(written)
        except json.JSONDecodeError:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                found = ast.literal_eval(written)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ForeignError(f"its header is not a dictionary of literals ({type(error).__name__})") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(k), dict) for k in ("alignments", "source")):
        raise ForeignError("its header lacks alignments or source")
    return found


def record(file: str, found: dict[str, Any], size: int) -> Record:
    """A face as a PNG's header describes it; the picture is (size, size). ForeignError for fields of another form."""
    face, source = found["alignments"], found["source"]
    points = _landmarks(face)
    centring: Centring = "legacy" if source.get("alignments_version") == 1.0 else "head"
    matrix = None if points is None else faceswap_matrix(points, size, centring)
    return Record(
        file,
        "faceswap",
        text(source.get("source_filename")),
        centring,
        None if points is None or matrix is None else transform(points, matrix),
        points,
        _rect(face),
        None if matrix is None else matrix.astype(np.float32),
        _masks(face),
    )


def frame_record(file: str, face: dict[str, Any]) -> Record:
    """A face of an alignments file, whose picture is the frame itself."""
    points = _landmarks(face)
    return Record(file, "faceswap", file, "frame", points, points, _rect(face), None, _masks(face))


def _landmarks(face: dict[str, Any]) -> Floats | None:
    """(68, 2); None where the face has only its corners (4 points)."""
    value = face.get("landmarks_xy", face.get("landmarksXY"))
    corners = isinstance(value, list | tuple | np.ndarray) and len(value) == 4
    return None if corners else numbers(value, (68, 2), "landmarks_xy")


def _rect(face: dict[str, Any]) -> Floats | None:
    if any(face.get(k) is None for k in "xywh"):
        return None
    box = numbers([face[k] for k in "xywh"], (4,), "x, y, w, h")
    return None if box is None else np.concatenate([box[:2], box[:2] + box[2:]])


def _masks(face: dict[str, Any]) -> tuple[str, ...]:
    masks = face.get("mask")
    return tuple(sorted(str(name)[:100] for name in masks)) if isinstance(masks, dict) else ()


def read_fsa(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Frame's file name to its faces. ForeignError for what is no alignments file, PickleError for one refused."""
    if path.stat().st_size > MAX_FSA:
        raise ForeignError(f"it has {path.stat().st_size} bytes; the limit is {MAX_FSA}")
    found = pickled.loads(unpacked(path.read_bytes(), MAX_FSA))
    data = found.get("__data__", found) if isinstance(found, dict) else None
    if not isinstance(data, dict):
        raise ForeignError("it lists no faces for any frame")
    faces = {str(name): entry if isinstance(entry, list) else _faces(entry) for name, entry in data.items()}
    return {name: [face for face in listed if isinstance(face, dict)] for name, listed in faces.items()}


def _faces(entry: Any) -> list[Any]:
    faces = entry.get("faces") if isinstance(entry, dict) else None
    return faces if isinstance(faces, list) else []


def with_header(data: bytes, found: dict[str, Any]) -> bytes:
    """The PNG with faceswap's dictionary in an iTXt chunk before the picture's data."""
    body = b"iTXt" + _KEY + b"\0\0\0\0\0" + repr(found).encode("utf-8")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    place = next(start for kind, start, _ in _chunks(data) if kind == b"IDAT")
    return data[:place] + chunk + data[place:]


def described(
    points: NDArray[np.floating],
    box: tuple[float, float, float, float],
    file: str,
    frame: tuple[str, int, bool, tuple[int, int]],
    outline: Floats | None = None,
) -> dict[str, Any]:
    """The header of a face: points (68, 2) and box (left, top, right, bottom) in frame pixels.

    `frame` is the frame's file name, the face's index in it, whether it is of a video, its (height, width). Two masks
    are made from the points, as faceswap's own are: `components`, their hull, and `extended`, with raised brows. A mask
    that was corrected by hand has its `outline` (K, 2), frame pixels, in both.
    """
    name, index, video, size = frame
    left, top, right, bottom = (round(v) for v in box)
    points = np.asarray(points, np.float32)
    hulls = {"components": cv2.convexHull(points)[:, 0], "extended": raised_hull(points)}
    if outline is not None:
        hulls = dict.fromkeys(hulls, outline)
    return {
        "alignments": {
            "x": left,
            "y": top,
            "w": right - left,
            "h": bottom - top,
            "landmarks_xy": points.astype(float).tolist(),
            "mask": {kind: _mask(points, hull) for kind, hull in hulls.items()},
            "identity": {},
        },
        "source": {
            "alignments_version": VERSION,
            "original_filename": file,
            "face_index": index,
            "source_filename": name,
            "source_is_video": video,
            "source_frame_dims": size,
        },
    }


def _mask(points: Floats, outline: NDArray[Any]) -> dict[str, Any]:
    """A filled outline in the face's centring, as faceswap stores masks."""
    matrix = faceswap_matrix(points, MASK_SIZE, "face")
    mask = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
    polygon = np.round(transform(outline, matrix) * 16).astype(np.int32)
    cv2.fillPoly(mask, [polygon], 255, cv2.LINE_AA, 4)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return {
        "mask": zlib.compress(mask.tobytes()),
        "affine_matrix": matrix.tolist(),
        "interpolator": int(cv2.INTER_LINEAR if scale < 1 else cv2.INTER_AREA),
        "stored_size": MASK_SIZE,
        "stored_centering": "face",
    }
