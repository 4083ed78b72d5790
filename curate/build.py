"""Parts to faces.parquet: what only the whole faceset can know. Made from the parts alone, in the same order always."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import identity
from curate.damage import read_parquet
from curate.errors import UsageError, WorkError
from curate.expression import DISTANCES
from curate.extract import PartInfo, part_info
from curate.faceset import Faceset, write_faces
from curate.refine import refine, stacked
from curate.shots import is_cut
from curate.table import COLUMNS, part_schema
from curate.track import SAME_FACE, overlap
from curate.types import Clip

BOX = ["x", "y", "width", "height"]
OTHER_PERSON = "another person"
SECOND_FACE = "a second face like the subject's in this frame"


def build(faceset: Faceset) -> pd.DataFrame:
    """Make and write faces.parquet; the table. Raises WorkError when no frame of the footage holds a face."""
    rows = read_parts(faceset)
    if rows.empty:
        raise WorkError(f"{faceset.folder}: no face was found in the footage; is the face at least 24 pixels wide?")
    rows = mark_subject(rows, faceset)
    rows = rows.sort_values(["clip", "frame", "face_id"], ignore_index=True)
    distances = stacked(rows.pop("distances"), len(DISTANCES))
    rows = refine(rows, distances, functools.partial(_skins, faceset, rows["face_id"]))
    write_faces(faceset, rows)
    return rows


KNOWN = ("face_id", "clip", "segment", "frame", "stands_for", "time", "shot", "track", *BOX, "identity", "status")


def _rows(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return read_parquet(path, columns, part_schema(), KNOWN)
    except WorkError as error:
        raise WorkError(f"{error}: delete it, then faceset curate {path.parent.parent} makes it again") from None


def read_parts(faceset: Faceset) -> pd.DataFrame:
    """All parts' scalars and vectors; shots made unique in the clip, tracks in the faceset."""
    names = [*(c.name for c in COLUMNS if c.level == "both"), "distances"]
    pieces: list[pd.DataFrame] = []
    next_track = 0
    for clip in faceset.clips:
        shot = 0
        before: tuple[PartInfo, pd.DataFrame] | None = None
        for path, info in _parts(faceset, clip):
            part: pd.DataFrame = _rows(path, names)
            _without_lost_crops(faceset, part)
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
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=names)


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
            part = _rows(path, ["face_id", "skin"]).dropna(subset=["skin"])
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
    faces = np.stack(rows["identity"].to_list())
    rows["identity_distance"] = np.linalg.norm(faces - centres[subject], axis=1).astype(np.float32)
    ours = rows["person"] == subject
    order = rows.assign(mine=~ours, small=-rows["width"] * rows["height"])
    order = order.sort_values(["clip", "frame", "mine", "identity_distance", "small", "face_id"])
    rows["kept"] = ours & rows.index.isin(order.drop_duplicates(["clip", "frame"]).index)
    rows.loc[~ours, "status"] = OTHER_PERSON
    rows.loc[ours & ~rows["kept"], "status"] = SECOND_FACE
    return rows


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
