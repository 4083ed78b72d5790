"""One person's face in every frame of a video, as rendering and inspection need it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.faceset import create
from curate.errors import NobodyError, WorkError
from curate.extract.engine import extract
from curate.extract.normalise import Own
from curate.extract.table import build
from curate.footage.video import probe
from curate.settings import Settings
from curate.types import Progress, no_progress

COLUMNS = [
    "face_id", "frame", "time", "shot", "track", "x", "y", "width", "height", "yaw", "pitch", "roll",
    "pose_confidence", "identity_distance", "expression", "gaze", "jawOpen", "blink", "light_x", "light_y", "light_z",
]  # fmt: skip
SEGMENT_SECONDS = 5.0
"""Shorter than a faceset's: a single clip is to keep all workers busy."""


def follow(
    video: Path,
    identity: Sequence[float] | NDArray[np.floating] | None,
    workers: int = 1,
    progress: Progress = no_progress,
    start: float | None = None,
    end: float | None = None,
    calibrated: Own | None = None,
) -> pd.DataFrame:
    """One row per frame in which the face is, in order of frame.

    Columns as in the table, and `landmarks`: (478, 3) float32 in frame pixels. `identity` (128,) picks the person;
    None: the one with the most faces. `start` and `end`, in seconds from the first frame, limit it. `calibrated`: the
    person's own neutral and zero, if more footage than this is known. No row at all when
    nobody, or nobody like the identity, is seen.
    """
    with tempfile.TemporaryDirectory(prefix="faceset-follow-") as folder:
        faceset = create(Path(folder) / "set", None, Settings(crop_size=0, segment_seconds=SEGMENT_SECONDS))
        references = () if identity is None else (tuple(float(v) for v in identity),)
        faceset = faceset.changed(clips=(probe(video, start, end),), references=references)
        failures = extract(faceset, workers, progress=progress)
        if failures:
            raise WorkError(f"{failures[0].path}: {failures[0].reason}")
        try:
            build(faceset, workers, calibrated=calibrated)
        except NobodyError:
            return pd.DataFrame(columns=[*COLUMNS, "landmarks"])
        table = faceset.table([*COLUMNS, "kept"])
        kept = table.loc[table["kept"], COLUMNS].sort_values("frame", ignore_index=True)
        landmarks = faceset.landmarks(kept["face_id"])
        kept["landmarks"] = pd.Series([landmarks[i] for i in kept["face_id"]], index=kept.index, dtype=object)
        return kept
