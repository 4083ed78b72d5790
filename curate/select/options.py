"""Options of choosing: budget, floors, weights. Standard library only, so that `--help` is quick."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from curate.errors import UsageError
from curate.options import check, option, options_of

Cover = Literal["space", "footage", "target"]
COVERS: tuple[Cover, ...] = ("space", "footage", "target")


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

    min_sharpness: float | None = option(
        None, "Minimum sharpness (column Sharpness: a log ratio, at most 0).", columns=("Sharpness",)
    )
    min_eye_distance: float | None = option(8.0, "Minimum distance between the eyes, in pixels.",
                                            low=0, columns=("InterEyeDistance",))  # fmt: skip
    min_pose_confidence: float | None = option(0.1, "Minimum confidence of the head pose, 0 to 1.",
                                               low=0, high=1, columns=("pose_confidence",))  # fmt: skip
    min_detection: float | None = option(None, "Minimum detection score, 0 to 1.",
                                         low=0, high=1, columns=("detection_score",))  # fmt: skip
    min_exposure: float | None = option(0.25, "Minimum score against under- and overexposure, 0 to 1.", low=0, high=1,
                                        columns=("UnderExposurePrevention", "OverExposurePrevention"))  # fmt: skip
    max_softness: float | None = option(0.25, "How much softer than like faces a face may be, unless --min-sharpness.",
                                        low=0)  # fmt: skip
    max_compression: float | None = option(None, "Maximum compression artifacts (column CompressionArtifacts).",
                                           columns=("CompressionArtifacts",))  # fmt: skip
    max_motion_blur: float | None = option(
        None, "Maximum motion blur, 0 to 1 (column MotionBlur).", columns=("MotionBlur",)
    )
    min_visible: float | None = option(None, "Minimum visible share of the face, 0 to 1.",
                                       low=0, high=1, columns=("FaceOcclusionPrevention",))  # fmt: skip
    max_identity_distance: float | None = option(None, "Maximum identity distance from the subject.",
                                                 low=0, columns=("identity_distance",))  # fmt: skip

    def __post_init__(self) -> None:
        check(self)

    def limits(self) -> list[tuple[str, str, float, float]]:
        """(flag, column, value, sign) of each floor in use: a face passes if sign * column >= sign * value."""
        return [
            (one.flag, column, value, 1.0 if one.name.startswith("min_") else -1.0)
            for one in options_of(Floors)
            if (value := getattr(self, one.name)) is not None
            for column in one.columns
        ]


FLOOR_COLUMNS = tuple(dict.fromkeys(column for one in options_of(Floors) for column in one.columns))
"""The columns that floors read."""


@dataclass(frozen=True)
class Weights:
    """How much each block counts; only their ratio matters."""

    pose: float = option(1.0, "Weight of head pose in the diversity space; 0 leaves it out.",
                         low=0, flag="--weight-pose")  # fmt: skip
    expression: float = option(1.0, "Weight of expression in the diversity space; 0 leaves it out.",
                               low=0, flag="--weight-expression")  # fmt: skip
    lighting: float = option(1.0, "Weight of lighting in the diversity space; 0 leaves it out.",
                             low=0, flag="--weight-lighting")  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        if self.pose + self.expression + self.lighting <= 0:
            raise UsageError("the weights of pose, expression and lighting are all 0: set at least one above 0")


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().resolve())


@dataclass(frozen=True)
class SelectionOptions:
    """Options of a selection."""

    budget: str = option("auto", "Faces to select: a number, minutes of footage (9min) or auto.",
                         suggestions=("auto", "200", "1000", "9min"))  # fmt: skip
    cover: Cover | None = option(None, "What to represent: every kind of face alike (space), footage or target.",
                                 choices=COVERS)  # fmt: skip
    """None: `target` where there is one, else `space`."""
    floors: Floors = field(default_factory=Floors)
    weights: Weights = field(default_factory=Weights)
    seed: int = 0
    keep_misread: bool = option(False, "Also select faces whose landmarks look wrong.")
    learn: str | None = option(None, "Weigh kinds of faces by the held-out error of this training run.",
                               metavar="RUN", parse=_absolute)  # fmt: skip
    """Folder of the run."""

    def __post_init__(self) -> None:
        check(self)
        parse_budget(self.budget, 25.0)


def parse_budget(text: str, fps: float | None) -> Budget:
    """`200`, `9min` or `auto`. Minutes are faces at `fps`, the footage's average frame rate (None: photos).

    Raises UsageError for anything else, for 0 and less, and for minutes of photos.
    """
    plain = text.strip().lower()
    if plain == "auto":
        return Budget(None, plain)
    match = re.fullmatch(r"(\d{1,12})|(\d{1,9}\.?\d{0,30}|\.\d{1,30})\s*min", plain)
    if match is None or float(match[1] or match[2]) <= 0:
        raise UsageError(f"--budget {text}: must be a number of faces (200), minutes of footage (9min) or auto")
    if match[1]:
        return Budget(int(match[1]), plain)
    if not fps:
        raise UsageError(f"--budget {text}: photos have no minutes; give a number of faces, or auto")
    return Budget(max(1, round(float(match[2]) * 60 * fps)), plain)
