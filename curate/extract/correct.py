"""Correction of one face by hand: its landmarks are moved or its mask is drawn, and only its row is scored again.

The crop and its alignment stay, so no footage is needed: the scores are read from the crop with the landmarks that a
person gave. `curate.dataset.corrections` keeps them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.dataset import corrections
from curate.dataset.corrections import MOST_CORNERS, SCORES, Correction
from curate.dataset.faceset import Faceset
from curate.errors import UsageError, WorkError
from curate.extract.parts import read
from curate.extract.segment import SCORING_SIZE, part_info
from curate.extract.table import renew
from curate.face import align
from curate.face.backends.litert import LiteRTLandmarker
from curate.face.handles import moved
from curate.face.pose import head_pose, matrix
from curate.face.pose68 import head_pose68
from curate.scores import expression, lighting, quality
from curate.types import Image

log = logging.getLogger(__name__)

FROM_FRAME = ("CompressionArtifacts",)
"""Measures of the frame around the face, which a correction leaves as they were."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face as it was found, and its correction."""

    face_id: str
    part: Path
    row: dict[str, Any]
    """Its row of the part."""
    correction: Correction | None

    @property
    def points(self) -> NDArray[np.float32]:
        """Landmarks (478, 3) or (68, 3) as they were found, frame pixels."""
        return np.asarray(self.row["landmarks"], np.float32).reshape(-1, 3)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 3) from frame to crop pixels."""
        return np.asarray(self.row["matrix"], np.float64).reshape(2, 3)


def find(faceset: Faceset, face_id: str) -> Face:
    """A face of the faceset. Raises UsageError for one that is unknown, WorkError for one that cannot be corrected."""
    for path in sorted(path for paths in faceset.parts().values() for path in paths):
        ids = read(path, ["face_id"])["face_id"].to_pylist()
        info = part_info(path)
        if face_id not in ids or info is None or info.settings != faceset.settings.digest():
            continue
        names = ["face_id", "matrix", "crop", *SCORES]
        row = read(path, names).slice(ids.index(face_id), 1).to_pylist()[0]
        if row["landmarks"] is None or row["matrix"] is None or not row["crop"]:
            raise WorkError(f"face {face_id} has no crop or no landmarks, so it cannot be corrected")
        known = corrections.read(faceset.folder)
        own = corrections.correction_of(faceset.folder, known[face_id]) if face_id in known else None
        return Face(face_id, path, row, own)
    raise UsageError(f"{faceset.folder} has no face {face_id}: see face_id in faces.parquet")


def correct(faceset: Faceset, face_id: str, wanted: Correction) -> None:
    """Store a correction, and score the face's row of the table again. The caller holds the faceset's lock.

    Raises UsageError for an unknown face or handle, or an outline of fewer than 3 corners or more than MOST_CORNERS.
    """
    face = find(faceset, face_id)
    outline = wanted.outline
    if outline is not None and not (3 <= len(outline) <= MOST_CORNERS and np.isfinite(outline).all()):
        raise UsageError(f"the mask of face {face_id} needs 3 to {MOST_CORNERS} corners, each with finite coordinates")
    rows = corrections.read(faceset.folder)
    rows[face_id] = corrections.packed(face_id, faceset.settings.digest(), wanted, rescored(faceset, face, wanted))
    corrections.write(faceset.folder, rows)
    renew(faceset, face.part, face_id)


def undo(faceset: Faceset, face_id: str) -> None:
    """Forget a correction: the face is again as it was found. The caller holds the faceset's lock."""
    face, rows = find(faceset, face_id), corrections.read(faceset.folder)
    if rows.pop(face_id, None) is not None:
        corrections.write(faceset.folder, rows)
        renew(faceset, face.part, face_id)


def again(faceset: Faceset) -> None:
    """Score the corrected faces again whose parts were extracted with other settings since; called before the table is
    made. A correction of a face that is not found any more is kept, with a warning.
    """
    rows, digest = corrections.read(faceset.folder), faceset.settings.digest()
    stale = [face_id for face_id, row in rows.items() if row["settings"] != digest]
    for face_id in stale:
        own = corrections.correction_of(faceset.folder, rows[face_id])
        try:
            face = find(faceset, face_id)
        except (UsageError, WorkError) as error:
            log.warning("a correction does not apply any more: %s", error)
            continue
        rows[face_id] = corrections.packed(face_id, digest, own, rescored(faceset, face, own))
    if stale:
        corrections.write(faceset.folder, rows)


def rescored(faceset: Faceset, face: Face, wanted: Correction) -> dict[str, Any]:
    """The columns SCORES of a face whose handles were moved; as they were found if none was."""
    if not wanted.handles:
        return {name: face.row[name] for name in SCORES}
    points = moved(face.points, wanted.handles)
    mesh = len(points) >= 468
    pose = head_pose(points[None]) if mesh else head_pose68(points[None])
    yaw = float(pose.yaw[0])
    values: dict[str, Any] = {name: face.row[name] for name in SCORES}
    values |= {"landmarks": points.reshape(-1), "landmark_confidence": 1.0, "yaw": yaw, "pitch": float(pose.pitch[0])}
    values |= {"roll": float(pose.roll[0]), "pose_confidence": float(pose.confidence[0])}
    if face.row["expression"] is not None:
        shapes = LiteRTLandmarker().blendshapes(points)
        values |= {"expression": shapes, "gaze": expression.gaze(shapes), "distances": expression.distances(points)}
    crop, inside = _scoring_crop(faceset, face, points)
    found = quality.measure(crop, inside, points, yaw, _blank(points))
    found["HeadSize"] = float(face.row["HeadSize"]) * _height(points) / max(_height(face.points), 1e-6)
    values |= {name: value for name, value in found.items() if name in SCORES and name not in FROM_FRAME}
    if mesh:
        values["skin"] = _skin(crop, inside, yaw, values["pitch"])
    return values


def _scoring_crop(faceset: Faceset, face: Face, points: NDArray[np.float32]) -> tuple[Image, NDArray[np.float32]]:
    """The crop from which quality and light are read, cut from the stored one, and the landmarks in it."""
    wanted = np.vstack([align.crop_matrix(points, "full", SCORING_SIZE), (0, 0, 1)])
    stored = np.vstack([face.matrix, (0, 0, 1)])
    crop = align.warp(faceset.crop(face.row["crop"]), (wanted @ np.linalg.inv(stored))[:2], SCORING_SIZE)
    return crop, align.transform(points, wanted[:2])


def _skin(crop: Image, inside: NDArray[np.float32], yaw: float, pitch: float) -> bytes:
    half = cast(Image, cv2.resize(crop, (SCORING_SIZE // 2, SCORING_SIZE // 2), interpolation=cv2.INTER_AREA))
    return lighting.skin_colours(half, inside / 2, matrix(yaw, pitch, 0.0)).tobytes()


def _height(points: NDArray[np.float32]) -> float:
    return float(np.ptp(points[:, 1]))


def _blank(points: NDArray[np.float32]) -> Image:
    """A frame that contains the landmarks: what is read from the footage around the face is taken from the part."""
    width, height = np.maximum(np.ceil(points[:, :2].max(0)), 0).astype(int) + 8
    return np.zeros((min(height, 1 << 14), min(width, 1 << 14), 3), np.uint8)
