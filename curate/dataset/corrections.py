"""Corrections of faces: landmarks and mask outlines that a person put right, in corrections.parquet.

The parts stay as they are. A corrected face's raw scores are kept with its correction and replace those of the part
wherever the part's row is read; they are computed anew when the part is extracted again with other settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.runtime.files import atomic
from curate.safe_io import DAMAGED, one_line, read_arrow
from curate.schema import QUALITY, part_schema
from curate.types import Floats

FILE = "corrections.parquet"
SCORES = (
    "landmarks", "yaw", "pitch", "roll", "pose_confidence", "landmark_confidence", "expression", "gaze", "distances",
    "skin", *(column.name for column in QUALITY if column.level == "both"),
)  # fmt: skip
"""Columns of a part that a correction replaces."""
REMEDY = "delete it and correct the faces again"
MOST_CORNERS = 1000
"""Corners of a mask outline, at most."""
Rows = dict[str, dict[str, Any]]
"""Face id to its row of corrections.parquet."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What a person changed on one face. Coordinates are pixels of its frame."""

    handles: Mapping[str, tuple[float, float]]
    """Name to place of the handles that were moved (`curate.face.handles`)."""
    outline: Floats | None
    """(K, 2) corners of the mask's outline; None: the hull of the landmarks, as for other faces."""


def schema() -> pa.Schema:
    """Arrow schema of corrections.parquet."""
    columns = [
        pa.field("face_id", pa.string()),
        pa.field("settings", pa.string()),
        pa.field("handles", pa.string()),
        pa.field("outline", pa.list_(pa.float32())),
    ]
    return pa.schema(columns + [part_schema().field(name) for name in SCORES])


def read(folder: Path) -> Rows:
    """Rows of corrections.parquet by face id; empty if there is no file. Raises WorkError if it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        rows = read_arrow(path, schema().names, schema(), ("face_id", "settings", "handles")).to_pylist()
    except WorkError as error:
        raise WorkError(f"{error}: {REMEDY}") from None
    if any(len(row["landmarks"] or ()) not in (0, 3 * 68, 3 * 468, 3 * 478) for row in rows):
        raise WorkError(f"{path} is damaged (a face has another number of landmarks): {REMEDY}")
    return {row["face_id"]: row for row in rows}


def correction_of(folder: Path, row: Mapping[str, Any]) -> Correction:
    """The correction in a row of `read`. Raises WorkError if it is damaged."""
    try:
        handles = {str(k): (float(x), float(y)) for k, (x, y) in json.loads(row["handles"]).items()}
        outline = None if row["outline"] is None else np.asarray(row["outline"], np.float32).reshape(-1, 2)
    except DAMAGED as error:
        raise WorkError(f"{folder / FILE} is damaged ({one_line(error)}): {REMEDY}") from None
    return Correction(handles, outline)


def packed(face_id: str, settings: str, correction: Correction, scores: Mapping[str, Any]) -> dict[str, Any]:
    """A row of corrections.parquet; `settings`: digest of the settings of its part, `scores`: the columns SCORES."""
    outline = None if correction.outline is None else np.asarray(correction.outline, np.float32).ravel().tolist()
    handles = json.dumps({name: [float(x), float(y)] for name, (x, y) in correction.handles.items()})
    row = {"face_id": face_id, "settings": settings, "handles": handles, "outline": outline}
    values = ((name, scores.get(name)) for name in SCORES)
    return row | {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values}


def write(folder: Path, rows: Rows) -> None:
    """Write corrections.parquet whole from rows as `read` gives them."""
    table = pa.Table.from_pylist([rows[face] for face in sorted(rows)], schema())
    with atomic(folder / FILE) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def lay_over(folder: Path, rows: pd.DataFrame, vectors: Mapping[str, Floats]) -> None:
    """Replace, in place, the raw scores of the corrected faces among a part's rows and vectors."""
    found = read(folder)
    for at in np.flatnonzero(rows["face_id"].isin(list(found))).tolist():
        own = found[rows["face_id"].iloc[at]]
        for name in SCORES:
            if name in vectors:
                vectors[name][at] = np.nan if own[name] is None else own[name]
            elif name in rows:
                rows.at[rows.index[at], name] = own[name]


def landmarks(folder: Path, wanted: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Face id to corrected landmarks (478, 3) or (68, 3), frame pixels."""
    found, asked = read(folder), set(wanted)
    points = {face: row["landmarks"] for face, row in found.items() if face in asked and row["landmarks"]}
    return {face: np.asarray(flat, np.float32).reshape(-1, 3) for face, flat in points.items()}


def outlines(folder: Path) -> dict[str, Floats]:
    """Face id to the corners (K, 2) of its corrected mask, frame pixels."""
    drawn = {face: correction_of(folder, row).outline for face, row in read(folder).items()}
    return {face: outline for face, outline in drawn.items() if outline is not None}
