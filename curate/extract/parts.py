"""The parts of a faceset as one: in order of the table, shots made unique in the clip, tracks in the faceset.

Nothing here keeps more than one part's rows in memory, with a few numbers per part and one vector per track.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.extract.segment import PartInfo, part_info
from curate.face.mesh import BLENDSHAPES
from curate.face.track import SAME_FACE, overlap
from curate.footage.shots import is_cut
from curate.safe_io import read_arrow, read_parquet, stacked
from curate.schema import part_schema
from curate.scores.expression import DISTANCES
from curate.scores.lighting import skin
from curate.types import Floats

BOX = ["x", "y", "width", "height"]
VECTORS = {"matrix": 6, "expression": len(BLENDSHAPES), "gaze": 2, "distances": len(DISTANCES)}
"""Columns of the parts that are held as arrays (N, K)."""
IMPORTED = "imported.parquet"
"""File of an imported faceset: what the other program knew of each face."""
KNOWN = ("face_id", "clip", "segment", "frame", "stands_for", "time", "shot", "track", *BOX, "identity", "status")
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
    tracks: dict[int, int]
    """Its tracks, as they are called in the faceset."""


@dataclass(eq=False)
class Tracks:
    """All tracks of a faceset by number."""

    frames: list[int] = field(default_factory=list)
    """Frames of the footage for which each stands."""
    identity: list[Floats] = field(default_factory=list)
    """(128,) float32 each."""


def joined(faceset: Faceset) -> tuple[list[Part], Tracks]:
    """The current parts in order of the table, and the tracks.

    A shot goes on from one segment to the next where the frames at the border are alike, and with it the tracks whose
    boxes overlap there.
    """
    parts: list[Part] = []
    tracks = Tracks()
    listed = faceset.parts()
    for clip in faceset.clips:
        shot = 0
        before: tuple[PartInfo, pd.DataFrame] | None = None
        for path in listed.get(clip.name, ()):
            info = part_info(path)
            if info is None or info.settings != faceset.settings.digest() or info.clip_sha256 != clip.sha256:
                continue  # stale: made from other bytes or with other settings
            rows = read(path, ["frame", "stands_for", "shot", "track", *BOX, "identity"]).to_pandas()
            goes_on = before is not None and _goes_on(before[0], info)
            first = shot if before is None or goes_on else shot + 1
            names = _same_tracks(before[1], rows) if before is not None and goes_on else {}
            for track in np.unique(rows["track"]).tolist():
                own = rows[rows["track"] == track]
                if track not in names:
                    names[track] = len(tracks.frames)
                    tracks.frames.append(0)
                    tracks.identity.append(own["identity"].iloc[-1].copy())
                tracks.frames[names[track]] += int(own["stands_for"].sum())
            parts.append(Part(path, clip.name, len(rows), first, names))
            shot = first + int(rows["shot"].max() if len(rows) else 0)
            edge = rows.loc[rows["frame"] == rows["frame"].max(), ["frame", "track", *BOX]]
            before = info, edge.assign(track=edge["track"].map(names))
    return sorted(parts, key=lambda p: p.clip), tracks


def rows_of(part: Part, columns: Sequence[str]) -> tuple[pd.DataFrame, Vectors]:
    """Some columns of a part in order of frame and face, with the faceset's numbers of shots and tracks.

    Columns of VECTORS are apart; `frame` and `face_id` are read in any case.
    """
    found = read(part.path, list(dict.fromkeys(["face_id", "frame", *columns]))).sort_by(
        [("frame", "ascending"), ("face_id", "ascending")]
    )
    with _damage(part.path):
        vectors = {name: stacked(part.path, found[name], size) for name, size in VECTORS.items() if name in columns}
    rows: pd.DataFrame = found.drop_columns([*vectors]).to_pandas()
    if "shot" in rows:
        rows["shot"] += part.shot
    if "track" in rows:
        rows["track"] = rows["track"].map(part.tracks).astype("int32")
    return rows, vectors


def read(path: Path, columns: list[str]) -> pa.Table:
    """Columns of a part; raises WorkError that says what to do with one that is damaged."""
    with _damage(path):
        return read_arrow(path, columns, part_schema(), KNOWN)


def skins(part: Part, rows: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """(N,) whether a face has its skin's colours, and (N, T, 3) those, 0 where it has none; `rows` lose them."""
    column = rows.pop("skin")
    known = column.notna().to_numpy()
    colours = np.zeros((len(rows), len(skin()[0]), 3), np.uint8)
    with _damage(part.path):
        if any(len(own) != colours[0].size for own in column[known]):
            raise WorkError(f"{part.path} is damaged (its skin is of another size)")
    if known.any():
        colours[known] = np.frombuffer(b"".join(column[known]), np.uint8).reshape(known.sum(), -1, 3)
    return known, colours


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Says what to do with a part that is damaged."""
    try:
        yield
    except WorkError as error:
        raise WorkError(f"{error}: delete it, then run faceset curate {path.parent.parent} to make it again") from None


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


def _goes_on(before: PartInfo, after: PartInfo) -> bool:
    """Whether the shot at the end of one segment goes on in the next."""
    if before.last_thumb is None or after.first_thumb is None:
        return False
    return not is_cut(before.last_thumb, after.first_thumb)


def _same_tracks(last: pd.DataFrame, after: pd.DataFrame) -> dict[int, int]:
    """Tracks of the new segment that go on from the last frame of the one before: their numbers in the faceset."""
    if last.empty or after.empty:
        return {}
    first = after[after["frame"] == after["frame"].min()]
    same: dict[int, int] = {}
    for new, box in _boxes(first):
        for old, before in _boxes(last):
            if old not in same.values() and overlap(box, before) > SAME_FACE:
                same[new] = old
                break
    return same


def _boxes(rows: pd.DataFrame) -> list[tuple[int, NDArray[np.float64]]]:
    """Track and box of every row."""
    return list(zip(rows["track"].astype(int).tolist(), rows[BOX].to_numpy(np.float64), strict=True))
