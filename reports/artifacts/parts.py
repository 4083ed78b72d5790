"""Measured frames and candidate pictures of one part of a video: can be stored, and sent to another process."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from curate.errors import WorkError
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_parquet
from reports.page.pictures import Gallery, Picture

VECTORS = {
    "cells": np.int16, "weight": np.int8, "regions": np.int8, "reference_cells": np.int16, "apart": np.int16,
    "mouth": np.int16, "reference_mouth": np.int16, "marks": np.float32, "output_marks": np.float32,
    "identity_vector": np.float32, "texture": np.float32, "features": np.int8,
    "detail": np.float32, "lines": np.float32,
}  # fmt: skip
"""Columns with an array per row, and the type of its numbers."""
NUMBERS = (
    "time", "change", "likeness", "x", "y", "width", "height", "light", "light_ring", "edge", "detail_lost",
    "false_detail", "colour", "colour_cell", "difference", "tilt_x", "tilt_y", "shift_x", "shift_y", "move_x",
    "move_y", "ring_x", "ring_y", "moved", "due", "moved_long", "due_long", "checkerboard_now", "ghost_now",
    "abrupt", "noise", "unsteady",
)  # fmt: skip
"""Columns with a number per row that every table has; a row may have more, which become columns, too."""
SCALE = 100
"""Colours of cells are stored as whole hundredths."""
_NOT_NUMBERS = frozenset({"frame", *VECTORS})


@dataclass(frozen=True, eq=False)
class InspectedPart:
    """Rows and candidate pictures of consecutive frames. `save` and `load` preserve it exactly."""

    rows: tuple[dict[str, Any], ...]
    """A row per frame: frame, time and the numbers that `Inspector` measured on the face."""
    gallery: Gallery = field(default_factory=Gallery)

    def save(self, path: Path) -> Path:
        """Write `path` (.parquet) and, before it, the pictures next to it (.pictures.parquet); returns `path`."""
        with atomic(_pictures_of(path)) as temporary:
            pd.DataFrame(list(self.gallery.rows()), columns=list(PICTURE)).to_parquet(temporary, index=False)
        with atomic(path) as temporary:
            table(self.rows).to_parquet(temporary, index=False)
        return path

    @classmethod
    def load(cls, path: Path) -> InspectedPart:
        """The part that `save` wrote. Raises WorkError if it is missing or damaged."""
        try:
            rows, pictures = read_parquet(path), read_parquet(_pictures_of(path))
            return cls(
                tuple(_row(r) for r in cast("list[dict[str, Any]]", rows.to_dict("records"))), _gallery(pictures)
            )
        except (*DAMAGED, WorkError) as error:
            raise WorkError(
                f"{path} cannot be read as part of an artifact report ({one_line(error)}): delete it"
            ) from None


PICTURE = ("kind", "stretch", "value", "frame", "output", "reference")


def _pictures_of(path: Path) -> Path:
    return path.with_suffix(".pictures.parquet")


def table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """The rows in order as a table with all columns; NaN or None where a value is not known."""
    listed = list(rows)
    numbers = list(dict.fromkeys([*NUMBERS, *(name for row in listed for name in row if name not in _NOT_NUMBERS)]))
    frame = pd.DataFrame(listed, columns=["frame", *numbers, *VECTORS])
    frame[numbers] = frame[numbers].astype(np.float64)
    for name in VECTORS:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame.astype({"frame": np.int64})


def _row(record: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"frame": int(record["frame"])}
    numbers = (*NUMBERS, *(record.keys() - _NOT_NUMBERS - set(NUMBERS)))
    out |= {name: float(record[name]) for name in numbers if not math.isnan(record[name])}
    for name, kind in VECTORS.items():
        if isinstance(record.get(name), np.ndarray):  # a part of an older version may lack the column
            out[name] = record[name].astype(kind)
    return out


def _gallery(pictures: pd.DataFrame) -> Gallery:
    gallery = Gallery()
    for r in pictures.to_dict("records"):
        shown = Picture(int(r["frame"]), r["output"], r["reference"] if isinstance(r["reference"], bytes) else None)
        gallery.put(str(r["kind"]), int(r["stretch"]), float(r["value"]), shown)
    return gallery
