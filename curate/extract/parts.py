"""The parts of a faceset: their rows, with the faceset's numbers of shots and tracks.

Nothing here keeps more than one part's rows in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.face.mesh import BLENDSHAPES
from curate.safe_io import read_arrow, read_parquet, stacked
from curate.schema import part_schema
from curate.scores.expression import DISTANCES
from curate.scores.lighting import skin
from curate.types import Floats, Image
from curate.words import quoted

BOX = ["x", "y", "width", "height"]
VECTORS = {"matrix": 6, "expression": len(BLENDSHAPES), "gaze": 2, "distances": len(DISTANCES)}
"""Columns of the parts that are held as arrays (N, K)."""
IMPORTED = "imported.parquet"
"""File of an imported faceset: what the other program knew of each face."""
KNOWN = ("face_id", "clip", "segment", "frame", "stands_for", "time", "shot", "track", *BOX, "status")
Vectors = dict[str, Floats]
"""Columns of vectors: name to (N, K) float32, a row of NaN for null."""


@dataclass(frozen=True)
class Part:
    """One part, with the numbers of its shots and tracks in the faceset."""

    path: Path
    clip: str
    rows: int
    shot: int
    """What is added to its shots."""
    tracks: dict[int, tuple[tuple[int, int], ...]]
    """Its tracks, and from which frame on each is called what in the faceset."""

    @property
    def numbers(self) -> set[int]:
        """The faceset's numbers of all tracks of which it may have rows."""
        return {number for starts in self.tracks.values() for _, number in starts}

    def named(self, tracks: NDArray[np.integer], frames: NDArray[np.integer]) -> NDArray[np.int32]:
        """The faceset's numbers (N,) of its own tracks (N,) in frames (N,)."""
        out = np.zeros(len(tracks), np.int32)
        for local, starts in self.tracks.items():
            own = tracks == local
            begins, numbers = np.array(starts).T
            out[own] = numbers[np.searchsorted(begins, frames[own], side="right") - 1]
        return out


def rows_of(part: Part, columns: Sequence[str]) -> tuple[pd.DataFrame, Vectors]:
    """Some columns of a part in order of frame and face, with the faceset's numbers of shots and tracks.

    Columns of VECTORS are apart; `frame` and `face_id` are read in any case.
    """
    found = read(part.path, list(dict.fromkeys(["face_id", "frame", *columns]))).sort_by(
        [("frame", "ascending"), ("face_id", "ascending")]
    )
    with damage(part.path):
        vectors = {name: stacked(part.path, found[name], size) for name, size in VECTORS.items() if name in columns}
    rows: pd.DataFrame = found.drop_columns([*vectors]).to_pandas()
    if "shot" in rows:
        rows["shot"] += part.shot
    if "track" in rows:
        rows["track"] = part.named(rows["track"].to_numpy(np.int64), rows["frame"].to_numpy(np.int64))
    return rows, vectors


def read(path: Path, columns: list[str]) -> pa.Table:
    """Columns of a part; raises WorkError that says what to do with one that is damaged."""
    with damage(path):
        return read_arrow(path, columns, part_schema(), KNOWN)


def chips(faces: Iterable[tuple[Path, str]]) -> list[Image]:
    """Chips (S, S, 3) of faces, each by its part and id, in that order; without those that their part does not hold.

    Raises WorkError for a part or a picture that is damaged.
    """
    found = []
    for path, face in faces:
        with damage(path):
            if "chip" not in pq.read_schema(path).names:  # of an older version
                continue
            rows = read_arrow(path, ["face_id", "chip"], part_schema(), filters=[("face_id", "==", face)])
            data = rows["chip"][0].as_py() if len(rows) else None
            if data is None:
                continue
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
            if picture is None:
                raise WorkError(f"{path} is damaged (the chip of {face} cannot be read)")
            found.append(np.ascontiguousarray(picture[:, :, ::-1]).astype(np.uint8, copy=False))
    return found


def skins(part: Part, rows: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """(N,) whether a face has its skin's colours, and (N, T, 3) those, 0 where it has none; `rows` lose them."""
    column = rows.pop("skin")
    known = column.notna().to_numpy()
    colours = np.zeros((len(rows), len(skin()[0]), 3), np.uint8)
    with damage(part.path):
        if any(len(own) != colours[0].size for own in column[known]):
            raise WorkError(f"{part.path} is damaged (its skin is of another size)")
    if known.any():
        colours[known] = np.frombuffer(b"".join(column[known]), np.uint8).reshape(known.sum(), -1, 3)
    return known, colours


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Says what to do with a part that is damaged."""
    try:
        yield
    except WorkError as error:
        raise WorkError(
            f"{error}: delete it, then run faceset curate {quoted(path.parent.parent)} to make it again"
        ) from None


def as_in_their_frames(folder: Path, rows: pd.DataFrame) -> None:
    """Turn, in place, the roll of faces that another program had aligned: from their picture's to their frame's.

    The turn is in the matrix from frame to picture, which an import keeps (IMPORTED).
    """
    path = folder / IMPORTED
    if not path.is_file():
        return
    kept = read_parquet(path, ("face_id", "matrix")).dropna()
    turns = {
        face: float(np.degrees(np.arctan2(matrix[3], matrix[0])))
        for face, matrix in zip(kept["face_id"], kept["matrix"], strict=True)
    }
    turned = rows["roll"] + rows["face_id"].map(turns).fillna(0.0)
    rows["roll"] = ((turned + 180) % 360 - 180).astype(rows["roll"].dtype)


def without_lost_crops(folder: Path, rows: pd.DataFrame) -> None:
    """Null in place where a crop is no longer in the faceset `folder` (pruned), or has no bytes (a power cut)."""
    for held in sorted({str(Path(crop).parent) for crop in rows["crop"].dropna()}):
        try:
            with os.scandir(folder / held) as entries:
                there = {f"{held}/{entry.name}" for entry in entries if entry.stat().st_size}
        except FileNotFoundError:
            there = set()
        lost = rows["crop"].str.startswith(f"{held}/", na=False) & ~rows["crop"].isin(there)
        rows.loc[lost, "crop"] = None


def spread(parts: Iterable[Part], counts: Sequence[int], most: int) -> Iterator[tuple[Part, np.ndarray]]:
    """At most so many of things of which each part holds `counts`, evenly over all parts: which ones of each part."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    wanted = np.unique(np.linspace(0, total - 1, min(total, most)).astype(int)) if total else np.zeros(0, int)
    for part, end, count in zip(parts, ends, counts, strict=True):
        own = wanted[(wanted >= end - count) & (wanted < end)] - (end - count)
        if len(own):
            yield part, own
