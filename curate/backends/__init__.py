"""Detectors, landmarkers and identifiers behind three small protocols, one file a backend.

Names become classes in the literal dicts below; a missing package raises MissingError with the install command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.types import Detection, Floats, Image, Landmarks

T = TypeVar("T")


class Detector(Protocol):
    """Finds faces."""

    def detect(self, image: Image) -> list[Detection]:
        """Faces in an RGB image, best first; boxes in its pixels."""


class Landmarker(Protocol):
    """Finds the landmarks of one face."""

    points: int
    """How many landmarks it gives: 478 or 68."""

    def landmark(self, image: Image, region: NDArray[np.float64]) -> Landmarks:
        """Landmarks of the face in `region` (5,): centre x, y, width, height in pixels, roll in radians, clockwise."""


class Identifier(Protocol):
    """Tells people apart."""

    def chip(self, image: Image, landmarks: Floats) -> Image:
        """The aligned (S, S, 3) picture that `identify` reads; small enough to be kept."""

    def identify(self, chip: Image) -> Floats:
        """(128,) identity vector; two of one person are less than about .5 apart (Euclidean)."""


def _litert_detector() -> Detector:
    from curate.backends.litert import LiteRTDetector

    return LiteRTDetector()


def _litert_landmarker() -> Landmarker:
    from curate.backends.litert import LiteRTLandmarker

    return LiteRTLandmarker()


def _dlib_identifier() -> Identifier:
    from curate.backends.dlib import DlibIdentifier

    return DlibIdentifier()


def _face_alignment_landmarker() -> Landmarker:
    from curate.backends.fan import FanLandmarker

    return FanLandmarker()


DETECTORS: dict[str, Callable[[], Detector]] = {"litert": _litert_detector}
LANDMARKERS: dict[str, Callable[[], Landmarker]] = {
    "litert": _litert_landmarker,
    "face-alignment": _face_alignment_landmarker,
}
IDENTIFIERS: dict[str, Callable[[], Identifier]] = {"dlib": _dlib_identifier}


def make(table: dict[str, Callable[[], T]], name: str, flag: str) -> T:
    """The backend called `name`; UsageError names the flag and the choices."""
    if name not in table:
        raise UsageError(f"{flag} {name}: must be one of {', '.join(table)}")
    return table[name]()
