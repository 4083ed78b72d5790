"""Protocols of detectors, landmarkers and identifiers, and the tables of their backends (docs/backends.md).

Names become classes in the literal dicts below; a missing package raises MissingError with the install command, missing
weights raise WeightsError with file, address and folder.

Every picture is (H, W, 3) uint8 RGB with H and W at least 1, of any memory layout, read-only or not; no backend writes
into it. Pixels are counted as cv2 does: (0, 0) is the centre of the first one, x to the right, y down. Results are
plain numbers and arrays of their own; the same arguments give the same result, whatever was asked before and however
many cores there are. tests/curate/face/test_backends.py holds every backend to what stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.face import weights as models
from curate.face.backends import fan_weights
from curate.settings import Settings
from curate.types import Detection, Floats, Image, Landmarks

T = TypeVar("T")


class Detector(Protocol):
    """Detector of faces."""

    def detect(self, image: Image) -> list[Detection]:
        """Detections in a picture, best first; [] if there is no face.

        `x`, `y`, `width`, `height` in pixels of `image`, floats, sides more than 0, about from the middle of the
        forehead to the chin; a face at the border may have a box that reaches beyond it. `score` 0..1, that it is a
        face, comparable only within one backend, at least 0.5. `keypoints` (K, 2) float32, K at least 2,
        in pixels: the subject's right eye (on image left in an upright face), its left eye, then whatever the backend
        adds. A flat picture, pixel noise, and one too small to show a face (down to one pixel) give []. What merely
        looks like a face may be given: the landmarker's score decides.
        """


class Landmarker(Protocol):
    """Landmarker of one face."""

    points: int
    """Number of landmarks: 478 (MediaPipe's mesh with irises) or 68 (iBUG)."""

    def landmark(self, image: Image, region: NDArray[np.float64]) -> Landmarks:
        """Landmarks of the face in `region`; of anything else some points too, with a score that says so.

        `region` (5,): centre x, y, width and height in pixels, more than 0; roll in radians, clockwise in the image, by
        which the face is turned there. Its longer side counts; it is about 1.5 times the face's, and may reach beyond
        the picture, where black is read. Picture and region shifted together shift the points alike; so does a turn.

        `points` (points, 3) float32, finite, in the backend's own order: x, y in pixels of `image`, hidden ones too; z
        in the same pixels, negative toward the camera, about an origin in the head that is the backend's own, or 0
        everywhere where it gives no depth. `score` 0..1, that there is a face, about 0.5 where it becomes doubtful.
        `blendshapes` (52,) float32 0..1, or None where it has none.
        """


class Identifier(Protocol):
    """Identity network, which tells people apart."""

    def chip(self, image: Image, landmarks: Floats) -> Image:
        """The aligned (S, S, 3) uint8 picture that `identify` reads; small enough to be kept, no view of `image`.

        `landmarks` (478, 3) or (68, 3) as a landmarker gives them, their middle inside the picture; what lies beyond
        the border is black.
        """

    def identify(self, chip: Image) -> Floats:
        """(128,) float32 identity vector; two of one person are less than about 0.5 apart (Euclidean).

        Of a chip without a face it is a vector like any other: whether there is a face is the landmarker's to say.
        """


def _litert_detector() -> Detector:
    from curate.face.backends.litert import LiteRTDetector

    return LiteRTDetector()


def _dlib_detector() -> Detector:
    from curate.face.backends.dlib import DlibDetector

    return DlibDetector()


def _face_alignment_detector() -> Detector:
    from curate.face.backends.fan import SfdDetector

    return SfdDetector()


def _litert_landmarker() -> Landmarker:
    from curate.face.backends.litert import LiteRTLandmarker

    return LiteRTLandmarker()


def _face_alignment_landmarker() -> Landmarker:
    from curate.face.backends.fan import FanLandmarker

    return FanLandmarker()


def _face_alignment_landmarker_2d() -> Landmarker:
    from curate.face.backends.fan import FanLandmarker

    return FanLandmarker(flat=True)


def _dlib_identifier() -> Identifier:
    from curate.face.backends.dlib import DlibIdentifier

    return DlibIdentifier()


def _sface_identifier() -> Identifier:
    from curate.face.backends.sface import SFaceIdentifier

    return SFaceIdentifier()


DETECTORS: dict[str, Callable[[], Detector]] = {
    "litert": _litert_detector,
    "dlib": _dlib_detector,
    "face-alignment": _face_alignment_detector,
}
LANDMARKERS: dict[str, Callable[[], Landmarker]] = {
    "litert": _litert_landmarker,
    "face-alignment": _face_alignment_landmarker,
    "face-alignment-2d": _face_alignment_landmarker_2d,
}
IDENTIFIERS: dict[str, Callable[[], Identifier]] = {"dlib": _dlib_identifier, "sface": _sface_identifier}


def weights(settings: Settings) -> dict[str, str]:
    """File to SHA-256 of all weights that the settings' backends may use (of face-alignment's its first ten digits)."""
    names = [models.LANDMARKER]  # the canonical mesh is in it, whatever finds the landmarks
    names += [models.DETECTOR, models.DETECTOR_SMALL] if settings.detector == "litert" else []
    names += [models.SFACE if settings.identifier == "sface" else models.IDENTITY]
    chosen = (f"--detector {settings.detector}", f"--landmarker {settings.landmarker}")
    optional = [file for choice in chosen for file in fan_weights.NEEDS.get(choice, ())]
    return {n: models.WEIGHTS[n].sha256 for n in names} | {file.name: file.sha256 for file in optional}


def make(table: dict[str, Callable[[], T]], name: str, flag: str) -> T:
    """Backend called `name`; raises UsageError that names the option and its choices."""
    if name not in table:
        raise UsageError(f"{flag} {name}: must be one of {', '.join(table)}")
    return table[name]()
