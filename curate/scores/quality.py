"""Quality measures of one face, with the names of ISO/IEC 29794-5 (OFIQ) where it has one: native values and scalars.

Pure functions: `grey` (S, S) float32 luma 0..255 of the aligned crop, `skin` (S, S) bool where the face is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.align import hull_mask
from curate.face.mesh import AT
from curate.scores import motion
from curate.types import Floats, Image

Mask = NDArray[np.bool_]
# Mean skin of all complexions lies in these ranges of CIELAB a*, b* (ISO/IEC 29794-5, natural colour).
NATURAL_A, NATURAL_B = (5.0, 25.0), (5.0, 35.0)
FINE, COARSE = 1.0, 3.0
"""Gaussian widths, in pixels of the 256-pixel crop, between which detail is compared."""
DIRECTIONS = 12
GRID = 8
"""Pixels between the block borders of JPEG and H.264."""
DARK, BRIGHT, SOFT = 25.0, 247.0, 6.0
"""Luma below and above which skin is under- and overexposed, and how softly it becomes so."""
CHEEK_BINS, CHEEK_SOFT = 64, 20.0
"""Bins of a cheek's histogram, and luma levels over which it is softened."""
SCALARS: dict[str, tuple[float, float]] = {
    "Sharpness": (0.0, 0.3),
    "MotionBlur": (0.4, -0.08),
    "LandmarkJump": (0.15, -0.04),
    "CompressionArtifacts": (0.5, -0.12),
    "UnderExposurePrevention": (0.6, 0.1),
    "OverExposurePrevention": (0.6, 0.1),
    "DynamicRange": (4.5, 0.6),
    "IlluminationUniformity": (0.4, 0.12),
    "NaturalColour": (8.0, -3.0),
    "InterEyeDistance": (40.0, 12.0),
    "HeadSize": (0.2, 0.06),
    "EyesOpen": (0.02, 0.006),
    "MouthClosed": (0.9, 0.03),
    "FaceOcclusionPrevention": (0.7, 0.07),
}
"""The native value that is worth 50, and the width of the logistic curve about it; a negative width: less is better."""


def scalar(name: str, native: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N,) 0..100, more is better, of native values (N,): 100 / (1 + exp(-(x - middle) / width)), as in OFIQ.

    NaN stays NaN.
    """
    middle, width = SCALARS[name]
    power = np.clip((np.asarray(native, np.float64) - middle) / width, -50, 50)
    return (100 / (1 + np.exp(-power))).astype(np.float32)


def measure(
    crop: Image,
    points: NDArray[np.floating],
    landmarks: NDArray[np.floating],
    yaw: float,
    frame: Image,
) -> dict[str, float]:
    """All measures of one face by column name.

    `crop` (S, S, 3) uint8 RGB; `points` (N, 2+) landmarks in its pixels; `landmarks` (N, 3) in pixels of `frame`
    (H, W, 3); yaw in degrees.
    """
    size = crop.shape[0]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    skin: Mask = hull_mask(points, size, size) > 0.5
    values = {
        "Sharpness": sharpness(grey, skin),
        "MotionBlur": motion.blur(grey, points),
        "CompressionArtifacts": max(blockiness(grey), blockiness(_patch(frame, landmarks))),
        "UnderExposurePrevention": _share(grey[skin] - DARK),
        "OverExposurePrevention": _share(BRIGHT - grey[skin]),
        "DynamicRange": dynamic_range(grey, skin),
        "HeadSize": float(np.ptp(landmarks[:, 1]) * 1.35 / frame.shape[0]),
    }
    if len(landmarks) >= 468:
        values |= {
            "IlluminationUniformity": uniformity(grey, points),
            "NaturalColour": natural_colour(crop, skin),
            "InterEyeDistance": inter_eye_distance(landmarks, yaw),
            "EyesOpen": eyes_open(landmarks),
            "MouthClosed": mouth_closed(landmarks),
        }
    return values


def sharpness(grey: Floats, skin: Mask) -> float:
    """Natural logarithm of the energy of fine over coarse gradients in the direction where it is largest.

    Exposure and contrast cancel, and a streak leaves it as it is (see `curate.scores.motion` for that).
    """
    if not skin.any():
        return 0.0
    turn = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    energy = []
    for width in (FINE, COARSE):
        soft = cv2.GaussianBlur(grey, (0, 0), width)
        along = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125)[skin].astype(np.float64)
        down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)[skin].astype(np.float64)
        xx, yy, xy = (along @ along) / len(along), (down @ down) / len(along), (along @ down) / len(along)
        energy.append(np.cos(turn) ** 2 * xx + np.sin(turn) ** 2 * yy + np.sin(2 * turn) * xy)
    ratio = np.log(np.maximum(energy[0] - energy[1], 1e-3)) - np.log(np.maximum(energy[1], 1e-2))
    return float(ratio.max())


def blockiness(grey: Floats) -> float:
    """Luma steps at block borders relative to neighbouring steps; 0 if no grid of GRID pixels is visible.

    The phase of the grid is found: the strongest of GRID phases over the median one, for columns and rows.
    """
    found = []
    for picture in (grey, grey.T):
        if min(picture.shape) < 4 * GRID:
            return 0.0
        step = np.abs(np.diff(picture, axis=1))
        beyond = step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2
        level = beyond.mean(0)
        phases = np.resize(level, (len(level) // GRID, GRID)).mean(0)
        found.append((phases.max() - np.median(phases)) / max(float(step.mean()), 0.5))
    return float(np.mean(found))


def _patch(frame: Image, landmarks: NDArray[np.floating]) -> Floats:
    """Luma of the face's box in the frame: the footage's own block grid is straight only there."""
    height, width = frame.shape[:2]
    low = np.clip(landmarks[:, :2].min(0), 0, (width, height)).astype(int)
    high = np.clip(landmarks[:, :2].max(0), 0, (width, height)).astype(int)
    box = frame[low[1] : high[1], low[0] : high[0]]
    return cv2.cvtColor(box, cv2.COLOR_RGB2GRAY).astype(np.float32) if box.size else np.zeros((0, 0), np.float32)


def _share(above: Floats) -> float:
    """Share of pixels above 0, those near it counted in part; 0 for none."""
    if not len(above):
        return 0.0
    return float((1 / (1 + np.exp(-np.clip(above / SOFT, -30, 30)))).mean())


def dynamic_range(grey: Floats, skin: Mask) -> float:
    """Entropy in bits of the face's luma histogram, 0..8."""
    counts = np.bincount(np.clip(grey[skin], 0, 255).astype(int), minlength=256).astype(float)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log2(share)).sum())


def uniformity(grey: Floats, points: NDArray[np.floating]) -> float:
    """Overlap 0..1 of the luma histograms of the two cheeks, each softened so that a small difference counts little and
    a large one still differs from a larger one."""
    histograms = []
    for eye, mouth in ((AT.right_eye_outer, AT.mouth_right), (AT.left_eye_outer, AT.mouth_left)):
        x, y = (points[eye, :2] + points[mouth, :2]) / 2
        r = max(2, int(np.linalg.norm(points[eye, :2] - points[mouth, :2]) / 5))
        patch = grey[max(int(y) - r, 0) : int(y) + r + 1, max(int(x) - r, 0) : int(x) + r + 1]
        counts = np.histogram(patch, bins=CHEEK_BINS, range=(0, 256))[0].astype(float)
        soft = cv2.GaussianBlur(counts[None], (0, 0), CHEEK_SOFT * CHEEK_BINS / 256, borderType=cv2.BORDER_CONSTANT)
        histograms.append(soft[0] / max(soft.sum(), 1e-9))
    return float(np.minimum(*histograms).sum())


def natural_colour(crop: Image, skin: Mask) -> float:
    """Distance in CIELAB a*, b* of the mean skin colour from the natural range; 0 is natural."""
    if not skin.any():
        return 0.0
    mean = np.array(cv2.mean(crop, skin.astype(np.uint8))[:3], np.float32) / 255
    _, a, b = cv2.cvtColor(mean[None, None], cv2.COLOR_RGB2Lab)[0, 0]
    da = max(NATURAL_A[0] - a, 0, a - NATURAL_A[1])
    db = max(NATURAL_B[0] - b, 0, b - NATURAL_B[1])
    return float(np.hypot(da, db))


def inter_eye_distance(landmarks: NDArray[np.floating], yaw: float) -> float:
    """Pixels between the eye centres over cos(yaw), as ISO/IEC 29794-5 corrects it."""
    right = landmarks[[AT.right_eye_outer, AT.right_eye_inner], :2].mean(0)
    left = landmarks[[AT.left_eye_outer, AT.left_eye_inner], :2].mean(0)
    return float(np.linalg.norm(left - right) / max(np.cos(np.radians(yaw)), 0.2))


def _opening(landmarks: NDArray[np.floating], top: int, bottom: int) -> float:
    reach = np.linalg.norm(landmarks[AT.chin] - landmarks[[AT.right_eye_outer, AT.left_eye_outer]].mean(0))
    return float(np.linalg.norm(landmarks[top] - landmarks[bottom]) / max(float(reach), 1e-6))


def eyes_open(landmarks: NDArray[np.floating]) -> float:
    """The smaller eyelid opening over the distance from eyes to chin (ISO/IEC 29794-5)."""
    right = _opening(landmarks, AT.right_eye_top, AT.right_eye_bottom)
    return min(right, _opening(landmarks, AT.left_eye_top, AT.left_eye_bottom))


def mouth_closed(landmarks: NDArray[np.floating]) -> float:
    """1 minus the lips' opening over the distance from eyes to chin."""
    return float(np.clip(1 - _opening(landmarks, AT.lip_top, AT.lip_bottom), 0, 1))
