"""Pictures of AFLW2000-3D and the Extended Yale Face Database B with their truth, and what is read in them."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.face import align
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.pose import HeadPose, head_pose, matrix
from curate.face.track import Seen, Tracker
from curate.scores import lighting
from curate.srgb import encoded8
from curate.types import Image

FITTED_ON = "514959bbb6c9ced6bac2a49d2334487dae6a738dfbb573e9e9653e53bed47fe3"
"""SHA-256 of the `aflw2000/truth.csv` beside which GAINS and BIAS were fitted: there figures are by two folds."""
FURTHEST = 99.0
"""Degrees beyond which the published truth is not trusted, by convention."""
GREY, PAD, ZOOM = 90, 90, 1.5
"""Frame around the tightly cropped pictures of Yale B, in which the detector finds faces, and their enlargement."""


@dataclass(frozen=True)
class Aflw:
    """N pictures with a trusted truth."""

    published: np.ndarray
    """(N, 3) yaw, pitch, roll as papers count them: R = Rx(-pitch) Ry(-yaw) Rz(-roll)."""
    points: np.ndarray
    """(N, 478, 3) landmarks, NaN where no face was found."""

    @property
    def found(self) -> np.ndarray:
        """(N,) bool."""
        return np.asarray(np.isfinite(self.points).all((1, 2)))


@dataclass(frozen=True)
class Yale:
    """N pictures."""

    person: np.ndarray
    azimuth: np.ndarray
    """(N,) degrees as the database counts it: > 0, the light is on image left."""
    elevation: np.ndarray
    colours: np.ndarray
    """(N, T, 3) of the skin; 0 where no face was found."""
    upright: np.ndarray
    """(N, 3, 3) rotation of the head in its upright crop."""
    truth: np.ndarray
    """(N, 3) unit vectors to the light in the axes of the upright crop."""
    found: np.ndarray
    """(N,) bool."""


def fitted_here(folder: Path) -> bool:
    """Whether the constants of the scores were fitted on this folder."""
    path = folder / "aflw2000" / "truth.csv"
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == FITTED_ON


def read_aflw(folder: Path) -> Aflw:
    """Landmarks of the face nearest the middle of every picture."""
    with open(folder / "aflw2000" / "truth.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([[float(row[f"published_{angle}"]) for angle in ("yaw", "pitch", "roll")] for row in rows])
    kept = np.flatnonzero((np.abs(truth) <= FURTHEST).all(1))
    points = np.full((len(kept), 478, 3), np.nan, np.float32)
    tracker = _tracker()
    for n, i in enumerate(kept):
        path = folder / "aflw2000" / rows[i]["picture"]
        bgr = cv2.imread(str(path))
        assert bgr is not None, f"{path} cannot be read"
        seen = _nearest_middle(tracker, np.ascontiguousarray(bgr[:, :, ::-1], np.uint8))
        if seen is not None:
            points[n] = seen.landmarks.points
    return Aflw(truth[kept], points)


def read_yale(folder: Path) -> Yale:
    """Skin and truth of every picture of light from the front half, shown as sRGB."""
    paths = sorted((folder / "yaleb").glob("*.pgm"))
    labels = [re.fullmatch(r"yaleB(\d+)_P00A([+-]\d+)E([+-]\d+)", path.stem) for path in paths]
    who, azimuth, elevation = np.array([[int(part) for part in label.groups()] for label in labels if label]).T
    front = np.abs(azimuth) <= 90
    paths = [path for path, label in zip(paths, labels, strict=True) if label]
    colours = np.zeros((len(paths), len(lighting.skin()[0]), 3), np.uint8)
    upright, rolls, found = np.tile(np.eye(3), (len(paths), 1, 1)), np.zeros(len(paths)), np.zeros(len(paths), bool)
    tracker = _tracker()
    for i in np.flatnonzero(front):
        image = _shown(paths[i])
        seen = _nearest_middle(tracker, image)
        if seen is not None:
            pose = head_pose(seen.landmarks.points[None])
            colours[i], upright[i] = skin_of(image, seen.landmarks.points, pose)
            rolls[i], found[i] = pose.roll[0], True
    side, height = np.radians(-azimuth), np.radians(elevation)
    light = np.column_stack([np.sin(side) * np.cos(height), np.sin(height), np.cos(side) * np.cos(height)])
    truth = np.einsum("nji,nj->ni", matrix(0.0, 0.0, rolls), light)
    columns = (who, azimuth, elevation, colours, upright, truth, found)
    return Yale(*(column[front] for column in columns))


def skin_of(image: Image, points: np.ndarray, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """Colours (T, 3) of the skin as extraction takes them, and the head's rotation in its upright crop."""
    upright = matrix(float(pose.yaw[0]), float(pose.pitch[0]), 0.0)
    to_crop = align.crop_matrix(points, "full", 256)
    half = cv2.resize(align.warp(image, to_crop, 256), (128, 128), interpolation=cv2.INTER_AREA)
    return lighting.skin_colours(np.asarray(half, np.uint8), align.transform(points, to_crop) / 2, upright), upright


def _tracker() -> Tracker:
    return Tracker(LiteRTDetector(), LiteRTLandmarker(), 1)


def _nearest_middle(tracker: Tracker, image: Image) -> Seen | None:
    tracker.cut()
    middle = np.array(image.shape[1::-1]) / 2
    faces = tracker.step(image)
    return min(faces, key=lambda seen: float(np.hypot(*(seen.box[:2] + seen.box[2:] / 2 - middle))), default=None)


def _shown(path: Path) -> Image:
    linear = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert linear is not None, f"{path} cannot be read"
    grey = encoded8(np.asarray(linear, np.float32) / 255)
    framed = cv2.copyMakeBorder(grey, PAD, PAD, PAD, PAD, cv2.BORDER_CONSTANT, value=GREY)
    large = cv2.resize(framed, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.asarray(large, np.uint8)[..., None], 3, axis=2)
