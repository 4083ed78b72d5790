"""Face alignment: one similarity transform per face from frame to crop, and the face's mask in either.

The transform follows the head, not its outline: centre, scale and roll come from the 3-D fit of the mesh, so that a
turned head is neither zoomed nor shifted, and an open mouth does not shrink the face.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.face.mesh import AT, canonical
from curate.face.pose import euler, fit_mesh
from curate.settings import Framing
from curate.types import Image

# Width of the crop in centimetres of the canonical head, and its centre (x, y, z) there.
FRAMES: dict[Framing, tuple[float, tuple[float, float, float]]] = {
    "face": (17.0, (0.0, -1.5, 2.5)),
    "full": (22.0, (0.0, 0.0, 2.0)),
    "head": (32.0, (0.0, 1.5, -1.0)),
}
EDGE = cv2.BORDER_REPLICATE
FILTER = 4.0
"""Pixels of the crop over which its filters reach."""
# iBUG 68-point indices of: right eye, left eye, nose base, mouth corners (subject's right first).
IBUG = {"right_eye": range(36, 42), "left_eye": range(42, 48), "nose": (33,), "mouth_right": (48,), "mouth_left": (54,)}


def crop_matrix(points: NDArray[np.floating], framing: Framing, size: int) -> NDArray[np.float64]:
    """(2, 3) similarity from frame pixels to pixels of a (size, size) crop, for landmarks (478, 3) or (68, 3)."""
    width, centre = FRAMES[framing]
    if len(points) >= 468:
        fit = fit_mesh(points[None])
        roll = float(np.radians(euler(fit.rotation)[2][0]))
        middle = (fit.shift[0] + fit.scale[0] * fit.rotation[0] @ centre)[:2] * (1, -1)
        per_cm = float(fit.scale[0])
    elif len(points) == 68:
        middle, per_cm, roll = _fit_five(points, centre)
    else:
        raise UsageError(f"crop_matrix: got {len(points)} landmarks; must be 478 or 68")
    zoom = size / (width * max(per_cm, 1e-6))
    turn = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    # Pixel centres lie at whole numbers: the crop's middle is (size - 1) / 2.
    return np.column_stack([turn, (size - 1) / 2 - turn @ middle])


def _fit_five(
    points: NDArray[np.floating], centre: tuple[float, float, float]
) -> tuple[NDArray[np.float64], float, float]:
    """Centre in pixels, pixels per cm and roll in radians by a 2-D similarity (Umeyama 1991) on five points."""
    seen = np.array([np.asarray(points, np.float64)[list(i), :2].mean(0) for i in IBUG.values()]) * (1, -1)
    v = canonical().vertices[:, :2]
    eyes = (v[[AT.right_eye_outer, AT.right_eye_inner]].mean(0), v[[AT.left_eye_outer, AT.left_eye_inner]].mean(0))
    model = np.array([*eyes, v[AT.nose_base], v[AT.mouth_right], v[AT.mouth_left]])
    a, b = model - model.mean(0), seen - seen.mean(0)
    real, imaginary = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    spread = (a**2).sum()
    turn = np.array([[real, -imaginary], [imaginary, real]]) / spread
    middle = (seen.mean(0) + turn @ (np.array(centre[:2]) - model.mean(0))) * (1, -1)
    return middle, float(np.hypot(real, imaginary) / spread), float(np.arctan2(imaginary, real))


def warp(image: Image, matrix: NDArray[np.floating], size: int) -> Image:
    """The (size, size, 3) crop; borders repeat the frame's edge.

    A face that is shrunk is averaged over the area of every pixel, whatever the zoom: it is drawn with 2 x 2 samples a
    pixel, after an area resize where even those would skip pixels. Near zoom 1 the picture passes smoothly into the
    cubic interpolation of enlarged faces, so that detail has no step.
    """
    m = np.asarray(matrix, np.float64)
    zoom = float(np.hypot(m[0, 0], m[1, 0]))
    if zoom >= 1:
        return _enlarged(image, m, size)
    left, top, right, bottom = _footprint(m, size, image.shape)
    part = image[top:bottom, left:right]
    fine = np.column_stack([2 * m[:, :2], 2 * (m[:, 2] + m[:, :2] @ (left, top)) + 0.5])
    if zoom < 0.5:
        width, height = (max(round(side * 2 * zoom), 1) for side in part.shape[1::-1])
        small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        turn = fine[:, :2] / (np.array((width, height)) / part.shape[1::-1])
        fine = np.column_stack([turn, fine[:, 2] + (turn - fine[:, :2]) @ (0.5, 0.5)])
        part = cast(Image, small)
    flags = cv2.INTER_CUBIC if zoom < 0.5 else cv2.INTER_LINEAR
    double = cv2.warpAffine(part, fine, (2 * size, 2 * size), flags=flags, borderMode=EDGE)
    area = cast(Image, cv2.resize(double, (size, size), interpolation=cv2.INTER_AREA))
    share = max(2 * zoom - 1, 0.0) ** 4
    return area if share < 0.1 else cast(Image, cv2.addWeighted(area, 1 - share, _enlarged(image, m, size), share, 0))


def _enlarged(image: Image, matrix: NDArray[np.float64], size: int) -> Image:
    return cast(Image, cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=EDGE))


def _footprint(matrix: NDArray[np.float64], size: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the frame's pixels under a crop, with a margin for the filters."""
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)], np.float64) - 0.5
    there = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    reach = FILTER / float(np.hypot(matrix[0, 0], matrix[1, 0]))
    limit = np.array((shape[1], shape[0]))
    low = np.clip(np.floor(there.min(0) - reach), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(there.max(0) + reach) + 1, low + 1, limit).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def transform(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    """Points (N, 2) or (N, 3; z is dropped) through a (2, 3) matrix: (N, 2) float32."""
    m = np.asarray(matrix, np.float64)
    return np.asarray(np.asarray(points, np.float64)[:, :2] @ m[:, :2].T + m[:, 2], np.float32)


def in_crop(points: NDArray[np.floating], matrix: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Landmarks (N, 3) of the frame in units of a crop's side, depth too, from the crop's upper left corner.

    matrix: (2, 3) similarity from frame pixels to pixels of the (size, size) crop.
    """
    zoom = float(np.hypot(*np.asarray(matrix, np.float64)[0, :2]))
    depth = np.asarray(points, np.float32)[:, 2:] * np.float32(zoom / size)
    return np.asarray(np.column_stack([(transform(points, matrix) + 0.5) / size, depth]), np.float32)


def hull(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """(K, 2) convex polygon around the face's landmarks, in their coordinates."""
    return cast(NDArray[np.float32], cv2.convexHull(np.ascontiguousarray(points[:, :2], np.float32))[:, 0])


def hull_mask(points: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """(height, width) float32 0..1, the hull filled with antialiased edges."""
    return outline_mask(hull(points), height, width)


def outline_mask(outline: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """(height, width) float32 0..1, the polygon (K, 2) filled with antialiased edges."""
    mask = np.zeros((height, width), np.uint8)
    polygon = np.round(np.clip(outline, -(1 << 14), 1 << 14) * 16).astype(np.int32)
    cv2.fillPoly(mask, [polygon], 255, cv2.LINE_AA, 4)
    return np.asarray(mask, np.float32) / np.float32(255)
