"""Quality measures of one face, named as in ISO/IEC 29794-5 (OFIQ) where it has the name. Native values.

Pure functions: `grey` (S, S) float32 luma 0..255 of the aligned crop, `skin` (S, S) bool where the face is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.align import hull_mask
from curate.mesh import AT
from curate.types import Floats, Image

Mask = NDArray[np.bool_]
# Mean skin of all complexions lies in these ranges of CIELAB a*, b* (ISO/IEC 29794-5, natural colour).
NATURAL_A, NATURAL_B = (5.0, 25.0), (5.0, 35.0)


def measure(
    crop: Image, points: NDArray[np.floating], landmarks: NDArray[np.floating], yaw: float, frame_height: int
) -> dict[str, float]:
    """All measures of one face by column name.

    `crop` (S, S, 3) uint8 RGB; `points` (N, 2+) landmarks in its pixels; `landmarks` (N, 3) in frame pixels; yaw in
    degrees; `frame_height` in pixels.
    """
    size = crop.shape[0]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    skin: Mask = hull_mask(points, size, size) > 0.5
    values = {
        "Sharpness": sharpness(grey, skin),
        "CompressionArtifacts": blockiness(grey),
        "UnderExposurePrevention": float((grey[skin] >= 25).mean()) if skin.any() else 0.0,
        "OverExposurePrevention": float((grey[skin] <= 247).mean()) if skin.any() else 0.0,
        "DynamicRange": dynamic_range(grey, skin),
        "HeadSize": float(np.ptp(landmarks[:, 1]) * 1.35 / frame_height),
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
    """log(1 + mean squared Laplacian) inside the face; higher is sharper. Noise is tamed by a 3x3 Gaussian first."""
    if not skin.any():
        return 0.0
    laplacian = cv2.Laplacian(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_32F)
    return float(np.log1p(np.square(laplacian[skin]).mean()))


def blockiness(grey: Floats) -> float:
    """Excess of the strongest of 8 column phases of the luma step over their median; 0 where no 8-pixel grid shows."""
    step = np.abs(np.diff(grey, axis=1)).mean(0)
    phases = np.array([step[p::8].mean() for p in range(8)])
    return float(phases.max() / max(float(np.median(phases)), 1e-3) - 1)


def dynamic_range(grey: Floats, skin: Mask) -> float:
    """Entropy in bits of the face's luma histogram, 0..8."""
    counts = np.bincount(np.clip(grey[skin], 0, 255).astype(int), minlength=256).astype(float)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log2(share)).sum())


def uniformity(grey: Floats, points: NDArray[np.floating]) -> float:
    """Overlap 0..1 of the luma histograms of the two cheeks (16 bins)."""
    histograms = []
    for eye, mouth in ((AT.right_eye_outer, AT.mouth_right), (AT.left_eye_outer, AT.mouth_left)):
        x, y = (points[eye, :2] + points[mouth, :2]) / 2
        r = max(2, int(np.linalg.norm(points[eye, :2] - points[mouth, :2]) / 5))
        patch = grey[max(int(y) - r, 0) : int(y) + r + 1, max(int(x) - r, 0) : int(x) + r + 1]
        counts = np.histogram(patch, bins=16, range=(0, 256))[0].astype(float)
        histograms.append(counts / max(counts.sum(), 1))
    return float(np.minimum(*histograms).sum())


def natural_colour(crop: Image, skin: Mask) -> float:
    """Distance in CIELAB a*, b* of the mean skin colour from the natural range; 0 is natural."""
    if not skin.any():
        return 0.0
    mean = crop[skin].mean(0).astype(np.float32) / 255
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
