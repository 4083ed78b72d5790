"""Metadata of a face from another program, kept next to our own scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.types import Floats

PICTURES = "imported"
"""Folder of a faceset that holds the pictures it was imported from."""
BASIS = "BASIS.json"
"""File next to exported faces: who is shown, and on which basis the face may be used."""
MAX_PICTURE = 256 << 20
"""Bytes of one picture file."""


class ForeignError(WorkError):
    """A file of another program that cannot be used; it becomes a row in the summary."""


@dataclass(frozen=True)
class Record:
    """One face as another program described it. None: it did not say."""

    file: str
    """Path of the picture inside the imported folder, with slashes."""
    program: str
    """dfl or faceswap."""
    source_file: str | None = None
    """The frame that the face was cut from."""
    face_type: str | None = None
    """DeepFaceLab's face type; faceswap's centring, or `frame` where the picture is the frame."""
    landmarks: Floats | None = None
    """(68, 2) in pixels of the picture."""
    source_landmarks: Floats | None = None
    """(68, 2) in pixels of the frame."""
    source_rect: Floats | None = None
    """(4,) left, top, right, bottom in pixels of the frame."""
    matrix: Floats | None = None
    """(2, 3) from frame pixels to the picture's."""
    masks: tuple[str, ...] = ()
    """Names of the masks that it carries: xseg, or faceswap's."""


SCHEMA = pa.schema(
    [
        ("face_id", pa.string()),
        ("file", pa.string()),
        ("program", pa.string()),
        ("source_file", pa.string()),
        ("face_type", pa.string()),
        ("landmarks", pa.list_(pa.float32(), 136)),
        ("source_landmarks", pa.list_(pa.float32(), 136)),
        ("source_rect", pa.list_(pa.float32(), 4)),
        ("matrix", pa.list_(pa.float32(), 6)),
        ("xseg_mask", pa.bool_()),
        ("masks", pa.list_(pa.string())),
    ]
)
"""imported.parquet: a row a record; face_id is null where no face was found here."""


def to_table(records: list[tuple[str | None, Record]]) -> pa.Table:
    """imported.parquet from face ids and records; arrays row-major."""
    rows = []
    for face_id, record in records:
        row: dict[str, Any] = {name: _flat(getattr(record, name, None)) for name in SCHEMA.names}
        rows.append(row | {"face_id": face_id, "xseg_mask": "xseg" in record.masks, "masks": list(record.masks)})
    return pa.Table.from_pylist(rows, SCHEMA)


def _flat(value: Any) -> Any:
    return value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value


def numbers(value: Any, shape: tuple[int, ...], name: str) -> NDArray[np.float32] | None:
    """Finite float32 of that shape, or None for None; ForeignError names the field."""
    if value is None:
        return None
    try:
        array = np.asarray(value, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ForeignError(f"its {name} are not numbers") from None
    if array.shape != shape or not np.isfinite(array).all():
        raise ForeignError(f"its {name} are of shape {array.shape}, not {shape}, or not finite")
    return array


def text(value: Any) -> str | None:
    """The text, at most 1,000 characters, or None for anything else."""
    return value[:1000] if isinstance(value, str) else None
