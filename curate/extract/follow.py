"""One person's face in every frame of a video, as rendering and inspection need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset, create
from curate.errors import NobodyError, WorkError
from curate.extract.engine import extract
from curate.extract.normalise import Own
from curate.extract.parts import BOX
from curate.extract.subject import AGAIN
from curate.extract.table import build
from curate.extract.tracks import DISSOLVE, cuts
from curate.face.track import SAME_FACE, overlap
from curate.footage.video import probe
from curate.runtime.files import scratch
from curate.settings import Settings
from curate.types import Looks, Progress, no_progress

COLUMNS = [
    "face_id", "frame", "time", "shot", "track", "x", "y", "width", "height", "yaw", "pitch", "roll",
    "pose_confidence", "identity_distance", "expression", "gaze", "jawOpen", "blink", "light_x", "light_y", "light_z",
]  # fmt: skip
SEGMENT_SECONDS = 5.0
"""Shorter than a faceset's: a single clip is to keep all workers busy."""


class Followed(NamedTuple):
    """One person's face in a video, and the video's shots."""

    rows: pd.DataFrame
    """One row per frame in which the face is, in order of frame; several where it is seen again, if asked for.

    Columns as in the table, `landmarks`: (478, 3) float32 in frame pixels, and `layer`: 0 for the face that is kept, 1
    and more where the same person is seen again.
    """
    cuts: tuple[int, ...]
    """Frames at which a shot begins, in order, apart from the first frame that was read; with a face or without."""


def follow(
    video: Path,
    identity: Looks | None,
    workers: int = 1,
    progress: Progress = no_progress,
    start: float | None = None,
    end: float | None = None,
    calibrated: Own | None = None,
    again: bool = False,
    identifier: str = "dlib",
    lut: str = "",
) -> Followed:
    """One person's face in every frame; with `again` each time that it is seen there.

    A face continues into a dissolve until its half. `identity`, (128,) or (L, 128) for several looks, picks the person;
    None: the one with the most faces. `start` and `end`, in seconds from the first frame, limit it. `calibrated`: the
    person's own neutral and zero, if more footage than this is known. `identifier`: the identity model that gave
    `identity`. `lut`: colour table that the footage is read through. No row at all when nobody, or nobody like the
    identity, is seen.
    """
    (found,) = follow_people(video, [identity], workers, progress, start, end, [calibrated], again, identifier, lut)
    return found


def follow_people(
    video: Path,
    identities: Sequence[Looks | None],
    workers: int = 1,
    progress: Progress = no_progress,
    start: float | None = None,
    end: float | None = None,
    calibrated: Sequence[Own | None] = (None,),
    again: bool = False,
    identifier: str = "dlib",
    lut: str = "",
) -> list[Followed]:
    """The result of `follow` for each of several people, from one pass over the video.

    A track that looks like two of them belongs to the one whose identity is nearer to it.
    """
    with scratch("faceset-follow-") as folder:
        settings = Settings(crop_size=0, segment_seconds=SEGMENT_SECONDS, identifier=identifier)
        clip = replace(probe(video, start, end), lut=lut)
        faceset = create(folder / "set", None, settings).changed(clips=(clip,))
        failures = extract(faceset, workers, progress=progress)
        if failures:
            raise WorkError(f"{failures[0].path}: {failures[0].reason}")
        pairs = zip(identities, calibrated, strict=True)
        begun = cuts(faceset, clip)
        people = apart([_one(faceset, identity, own, workers, again) for identity, own in pairs])
        return [Followed(rows, begun) for rows in people]


def _one(
    faceset: Faceset,
    identity: Looks | None,
    own: Own | None,
    workers: int,
    again: bool,
) -> pd.DataFrame:
    references = () if identity is None else tuple(tuple(float(v) for v in look) for look in np.atleast_2d(identity))
    faceset = faceset.changed(references=references, anchor=None, persons=())
    try:
        build(faceset, workers, calibrated=own)
    except NobodyError:
        return pd.DataFrame(columns=[*COLUMNS, "layer", "landmarks"])
    table = faceset.table([*COLUMNS, "status", "kept"])
    layers = _layers(table, again) + _into_dissolves(table)
    kept = table.assign(layer=layers - 1).loc[layers > 0, [*COLUMNS, "layer"]]
    kept = kept.sort_values(["frame", "layer"], ignore_index=True)
    landmarks = faceset.landmarks(kept["face_id"])
    kept["landmarks"] = pd.Series([landmarks[i] for i in kept["face_id"]], index=kept.index, dtype=object)
    return kept


def apart(people: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The rows of several people, each track only with the one to whom it is nearest in identity (median).

    A person's main layer is the lowest that is left to them in a frame.
    """
    if len(people) < 2:
        return people
    medians = [rows.groupby("track")["identity_distance"].median().fillna(np.inf) for rows in people]
    near = [{int(str(track)): float(value) for track, value in own.items()} for own in medians]
    owner = {
        track: min((number for number, own in enumerate(near) if track in own), key=lambda n: near[n][track])
        for track in sorted({track for own in near for track in own})
    }
    kept = [rows[rows["track"].map(owner) == number] for number, rows in enumerate(people)]
    return [
        rows.assign(layer=rows.groupby("frame").cumcount()).reset_index(drop=True) if len(rows) < len(whole) else rows
        for rows, whole in zip(kept, people, strict=True)
    ]


def _layers(table: pd.DataFrame, again: bool) -> NDArray[np.int64]:
    """(N,) 1 for kept faces; with `again` 2 and more for further ones of the same person, a track always in one layer;
    0 for others."""
    layers = np.where(table["kept"], 1, 0).astype(np.int64)
    taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
    rows = table[table["status"] == AGAIN] if again else table.iloc[:0]
    for _, own in sorted(rows.groupby("track"), key=lambda g: (-len(g[1]), int(str(g[0])))):
        shot, first, last = int(own["shot"].iloc[0]), int(own["frame"].min()), int(own["frame"].max())
        layer = 2
        while any(first <= b and a <= last for a, b in taken.get((shot, layer), ())):
            layer += 1
        taken.setdefault((shot, layer), []).append((first, last))
        layers[table.index.get_indexer(own.index)] = layer
    return layers


def _into_dissolves(table: pd.DataFrame) -> NDArray[np.int64]:
    """(N,) 1 for the half of a dissolve next to a kept face whose box goes on there, 0 for others."""
    found = np.zeros(len(table), np.int64)
    kept = table[table["kept"]].set_index("frame")[BOX]
    for _, own in table[table["status"] == DISSOLVE].groupby("track"):
        frames = own["frame"].to_numpy()
        half = (len(own) + 1) // 2
        for rows, beside in ((own.iloc[:half], frames[0] - 1), (own.iloc[-half:], frames[-1] + 1)):
            nearest = rows[BOX].iloc[0 if beside < frames[0] else -1].to_numpy(np.float64)
            if beside in kept.index and overlap(nearest, kept.loc[beside].to_numpy(np.float64)) > SAME_FACE:
                found[table.index.get_indexer(rows.index)] = 1
    clash = table["frame"].isin(table.loc[table["kept"], "frame"]) | table.assign(f=found).query("f > 0").duplicated(
        "frame"
    ).reindex(table.index, fill_value=False)
    return np.where(clash, 0, found)
