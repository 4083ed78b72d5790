"""Parts to faces.parquet: what only the whole faceset can know. Made from the parts alone, in the same order always."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from curate import identity
from curate.damage import read_arrow
from curate.errors import UsageError, WorkError
from curate.expression import DISTANCES
from curate.extract import PartInfo, part_info
from curate.faceset import Faceset, write_faces
from curate.mesh import BLENDSHAPES
from curate.refine import Vectors, refine
from curate.shots import is_cut
from curate.table import COLUMNS, part_schema
from curate.track import SAME_FACE, overlap
from curate.types import Clip, Floats

BOX = ["x", "y", "width", "height"]
VECTORS = {"matrix": 6, "expression": len(BLENDSHAPES), "gaze": 2, "distances": len(DISTANCES)}
"""Columns of the parts that are held as arrays (N, K)."""
OTHER_PERSON = "another person"
SECOND_FACE = "a second face like the subject's in this frame"


def build(faceset: Faceset) -> pd.DataFrame:
    """Make and write faces.parquet; its columns that are no vectors. Raises WorkError when no frame holds a face.

    Held in memory at once, a face takes about a kilobyte: its scores, expression and crop matrix. Landmarks and skin
    stay in the parts, the identity is held once a track.
    """
    rows, vectors = read_parts(faceset)
    if rows.empty:
        raise WorkError(f"{faceset.folder}: no face was found in the footage; is the face at least 24 pixels wide?")
    rows = mark_subject(rows, faceset)
    order = rows.assign(at=np.arange(len(rows)))[["clip", "frame", "face_id", "at"]]
    at = order.sort_values(["clip", "frame", "face_id"])["at"].to_numpy()
    rows = rows.iloc[at].reset_index(drop=True)
    for name in vectors:
        vectors[name] = vectors[name][at]
    refine(rows, vectors, functools.partial(_skins, faceset, rows["face_id"]))
    del vectors["distances"]
    write_faces(faceset, rows, vectors)
    return rows.drop(columns="identity")


KNOWN = ("face_id", "clip", "segment", "frame", "stands_for", "time", "shot", "track", *BOX, "identity", "status")


def _rows(path: Path, columns: list[str]) -> pa.Table:
    try:
        return read_arrow(path, columns, part_schema(), KNOWN)
    except WorkError as error:
        raise WorkError(f"{error}: delete it, then faceset curate {path.parent.parent} makes it again") from None


def read_parts(faceset: Faceset) -> tuple[pd.DataFrame, Vectors]:
    """All parts' scalars, with the identity, and vectors; shots made unique in the clip, tracks in the faceset."""
    names = [*(c.name for c in COLUMNS if c.level == "both"), "distances"]
    pieces: list[pd.DataFrame] = []
    vectors: dict[str, list[Floats]] = {name: [np.zeros((0, size), np.float32)] for name, size in VECTORS.items()}
    next_track = 0
    for clip in faceset.clips:
        shot = 0
        before: tuple[PartInfo, pd.DataFrame] | None = None
        for path, info in _parts(faceset, clip):
            read = _rows(path, names)
            for name, size in VECTORS.items():
                vectors[name].append(_stacked(path, read[name], size))
            part: pd.DataFrame = read.drop_columns([*VECTORS]).to_pandas()
            _without_lost_crops(faceset, part)
            one = {t: v.copy() for t, v in zip(part["track"], part["identity"], strict=True)}
            part["identity"] = part["track"].map(one)  # the same vector for all of a track, held once
            goes_on = before is not None and _goes_on(before[0], info)
            first = shot if before is None or goes_on else shot + 1
            shots = part["shot"].max() if len(part) else 0
            part["shot"] += first
            same = _same_tracks(before[1], part) if before is not None and goes_on else {}
            fresh = [t for t in sorted(part["track"].unique()) if t not in same]
            names_of = same | {t: next_track + i for i, t in enumerate(fresh)}
            next_track += len(fresh)
            part["track"] = part["track"].map(names_of).astype("int32")
            shot = first + int(shots)
            before = (info, part)
            pieces.append(part)
    table = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=names)
    pieces.clear()
    return table, {name: np.concatenate(vectors.pop(name)) for name in VECTORS}


def _stacked(path: Path, column: pa.ChunkedArray, size: int) -> Floats:
    """(N, size) float32 out of a column of vectors; NaN where null. Raises WorkError if they have another size."""
    out = np.full((len(column), size), np.nan, np.float32)
    known = column.is_valid().to_numpy()
    flat = column.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if len(flat) != known.sum() * size:
        raise WorkError(f"{path} is damaged (vectors of another size than {size}): delete it, then curate again")
    out[known] = np.asarray(flat, np.float32).reshape(-1, size)
    return out


def _without_lost_crops(faceset: Faceset, part: pd.DataFrame) -> None:
    """Null where a crop is no longer there (pruned), or has no bytes (a power cut)."""
    for folder in sorted({str(Path(crop).parent) for crop in part["crop"].dropna()}):
        try:
            with os.scandir(faceset.folder / folder) as entries:
                there = {f"{folder}/{entry.name}" for entry in entries if entry.stat().st_size}
        except FileNotFoundError:
            there = set()
        lost = part["crop"].str.startswith(f"{folder}/", na=False) & ~part["crop"].isin(there)
        part.loc[lost, "crop"] = None


def _parts(faceset: Faceset, clip: Clip) -> Iterator[tuple[Path, PartInfo]]:
    """The clip's parts in order, without the stale: made from other bytes or with other settings."""
    for path in faceset.parts_of(clip):
        info = part_info(path)
        if info is not None and info.settings == faceset.settings.digest() and info.clip_sha256 == clip.sha256:
            yield path, info


def _skins(faceset: Faceset, face_ids: pd.Series[str]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Each part's skin colours (n, T, 3), and where its faces stand in the table (n,)."""
    index = pd.Index(face_ids)
    for clip in faceset.clips:
        for path, _ in _parts(faceset, clip):
            part = _rows(path, ["face_id", "skin"]).to_pandas().dropna(subset=["skin"])
            if len(part):
                colours = np.frombuffer(b"".join(part["skin"]), np.uint8).reshape(len(part), -1, 3)
                yield index.get_indexer(pd.Index(part["face_id"])), colours


def _goes_on(before: PartInfo, after: PartInfo) -> bool:
    """Whether the shot at the end of one segment goes on in the next."""
    if before.last_thumb is None or after.first_thumb is None:
        return False
    return not is_cut(before.last_thumb, after.first_thumb)


def _same_tracks(before: pd.DataFrame, after: pd.DataFrame) -> dict[int, int]:
    """Tracks of the new segment that go on from the last frame of the one before: their old numbers."""
    if before.empty or after.empty:
        return {}
    last = before[before["frame"] == before["frame"].max()]
    first = after[after["frame"] == after["frame"].min()]
    same: dict[int, int] = {}
    for new in first.itertuples():
        box = np.array([getattr(new, c) for c in BOX], np.float64)
        for old in last.itertuples():
            if old.track not in same.values() and overlap(box, np.array([getattr(old, c) for c in BOX])) > SAME_FACE:
                same[int(new.track)] = int(old.track)
                break
    return same


def mark_subject(rows: pd.DataFrame, faceset: Faceset) -> pd.DataFrame:
    """Add person, identity_distance, kept and the reasons of those that are not kept."""
    tracks = rows.groupby("track", sort=True).agg(frames=("stands_for", "sum"), identity=("identity", "first"))
    vectors = np.stack(tracks["identity"].to_list()).astype(np.float64)
    weights = tracks["frames"].to_numpy(np.float64)
    labels = identity.people(vectors, weights)
    centres = np.stack([identity.centre(vectors[labels == k], weights[labels == k]) for k in range(labels.max() + 1)])
    subject = _pick(centres, faceset)
    rows = rows.copy()
    rows["person"] = rows["track"].map(dict(zip(tracks.index, labels, strict=True))).astype("int32")
    rows["identity_distance"] = _far(rows["identity"], centres[subject])
    ours = rows["person"] == subject
    order = rows[["clip", "frame", "identity_distance", "face_id"]].assign(
        mine=~ours, small=-rows["width"] * rows["height"]
    )
    order = order.sort_values(["clip", "frame", "mine", "identity_distance", "small", "face_id"])
    rows["kept"] = ours & rows.index.isin(order.drop_duplicates(["clip", "frame"]).index)
    rows.loc[~ours, "status"] = OTHER_PERSON
    rows.loc[ours & ~rows["kept"], "status"] = SECOND_FACE
    return rows


def _far(column: pd.Series[Any], centre: NDArray[np.float64]) -> Floats:
    """(N,) distances of identity vectors from a centre; rows of a track may hold the same array."""
    different = {id(v): v for v in column}
    far = np.linalg.norm(np.stack(list(different.values())) - centre, axis=1).astype(np.float32)
    number = {key: i for i, key in enumerate(different)}
    return np.asarray(far[[number[id(v)] for v in column]], np.float32)


def _pick(centres: NDArray[np.float64], faceset: Faceset) -> int:
    """The subject's cluster: --person, else nearest to --reference, else the one with the most faces."""
    if faceset.person is not None:
        if not 0 <= faceset.person < len(centres):
            raise UsageError(f"--person {faceset.person}: the footage shows persons 0 to {len(centres) - 1}")
        return faceset.person
    if faceset.references:
        found = identity.nearest(centres, np.mean(np.array(faceset.references), axis=0))
        distance = float(np.linalg.norm(centres[found] - np.mean(np.array(faceset.references), axis=0)))
        if distance > identity.NOT_THE_PERSON:
            raise WorkError(
                f"nobody in the footage looks like the --reference (nearest distance {distance:.2f}, not below .6)"
            )
        return found
    return 0
