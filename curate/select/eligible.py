"""Budget and floors of a selection: how many faces it may take, and which are eligible."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.pins import Pins
from curate.errors import UsageError, WorkError


@dataclass(frozen=True)
class Budget:
    """How many faces a selection may hold."""

    faces: int | None
    """None: `auto`."""
    text: str


@dataclass(frozen=True)
class Floors:
    """Raw values below which (above, for `max_`) a kept face is not eligible; None is no floor.

    A face whose measure is null does not pass, unless it is null for all faces: then the floor is left out, with
    a note.
    """

    min_sharpness: float | None = None
    """Sharpness."""
    min_eye_distance: float | None = 16.0
    """InterEyeDistance, pixels."""
    min_pose_confidence: float | None = 0.1
    """pose_confidence, 0..1."""
    min_detection: float | None = None
    """detection_score, 0..1."""
    min_exposure: float | None = 0.25
    """UnderExposurePrevention and OverExposurePrevention, 0..1."""
    max_compression: float | None = None
    """CompressionArtifacts."""
    max_motion_blur: float | None = None
    """MotionBlur."""
    min_visible: float | None = None
    """FaceOcclusionPrevention, 0..1."""

    def limits(self) -> list[tuple[str, str, float, float]]:
        """(flag, column, value, sign) of each floor in use: a face passes if sign * column >= sign * value."""
        known = (
            ("--min-sharpness", "Sharpness", self.min_sharpness, 1.0),
            ("--min-eye-distance", "InterEyeDistance", self.min_eye_distance, 1.0),
            ("--min-pose-confidence", "pose_confidence", self.min_pose_confidence, 1.0),
            ("--min-detection", "detection_score", self.min_detection, 1.0),
            ("--min-exposure", "UnderExposurePrevention", self.min_exposure, 1.0),
            ("--min-exposure", "OverExposurePrevention", self.min_exposure, 1.0),
            ("--max-compression", "CompressionArtifacts", self.max_compression, -1.0),
            ("--max-motion-blur", "MotionBlur", self.max_motion_blur, -1.0),
            ("--min-visible", "FaceOcclusionPrevention", self.min_visible, 1.0),
        )
        return [(flag, column, value, sign) for flag, column, value, sign in known if value is not None]


def parse_budget(text: str, fps: float | None) -> Budget:
    """`200`, `9min` or `auto`. Minutes are faces at `fps`, the footage's average frame rate (None: photos).

    Raises UsageError for anything else, for 0 and less, and for minutes of photos.
    """
    plain = text.strip().lower()
    if plain == "auto":
        return Budget(None, plain)
    match = re.fullmatch(r"(\d+)|(\d+\.?\d*|\.\d+)\s*min", plain)
    if match is None or float(match[1] or match[2]) <= 0:
        raise UsageError(f"--budget {text}: must be a number of faces (200), minutes of footage (9min) or auto")
    if match[1]:
        return Budget(int(match[1]), plain)
    if not fps:
        raise UsageError(f"--budget {text}: photos have no minutes; give a number of faces, or auto")
    return Budget(max(1, round(float(match[2]) * 60 * fps)), plain)


FLOOR_COLUMNS = (
    "Sharpness", "InterEyeDistance", "pose_confidence", "detection_score", "UnderExposurePrevention",
    "OverExposurePrevention", "CompressionArtifacts", "MotionBlur", "FaceOcclusionPrevention",
)  # fmt: skip
"""The columns that floors read."""


def eligible_rows(
    kept: pd.DataFrame, floors: Floors, pins: Pins | None = None, among: Collection[str] | None = None
) -> tuple[NDArray[np.bool_], list[str]]:
    """(N,) which kept faces have a head pose, pass the floors and are not banned, and notes for the user.

    Pinned faces need not pass the floors. `among`: ids of the faces that may be selected at all; None: every face.
    Raises WorkError if none is left.
    """
    if not len(kept):
        raise WorkError("no face is kept: run faceset people DIR to see which people were found")
    pins = pins or Pins()
    posed = kept["yaw"].notna().to_numpy(dtype=bool)
    passed, notes = posed.copy(), []
    failed = {"no head pose": int((~posed).sum())}
    for flag, column, value, sign in floors.limits():
        measure = kept[column].to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isnan(measure).all():
            notes.append(f"{flag} {value:g} is ignored: {column} was not measured for any face")
            continue
        good = sign * np.nan_to_num(measure, nan=-sign * np.inf) >= sign * value
        failed[f"{flag} {value:g} ({column})"] = int((~good).sum())
        passed &= good
    banned = kept["face_id"].isin(pins.banned).to_numpy()
    failed["banned"] = int(banned.sum())
    passed = (passed | (posed & kept["face_id"].isin(pins.pinned).to_numpy())) & ~banned
    if among is not None:
        there = kept["face_id"].isin(among).to_numpy()
        failed["not shown in the App"] = int((~there).sum())
        passed &= there
    dropped = ", ".join(f"{reason}: {count}" for reason, count in failed.items() if count)
    if not passed.any():
        raise WorkError(f"none of {len(kept)} kept faces is eligible ({dropped}): lower the floors")
    if dropped:
        notes.append(f"{int((~passed).sum())} of {len(kept)} kept faces are not eligible ({dropped})")
    return passed, notes
