"""Whether nose and eyes are where the head says, in a video on its own: a face that tears shows them elsewhere.

Each feature is cut out where the head as a whole has it, not where its own landmarks are, which follow a feature that
has slipped. It is sought there by its usual look in frames of a similar head pose (normalised cross-correlation; J. P.
Lewis, Fast Normalized Cross-Correlation, 1995): a sound feature is found in its place, a hand in front of it nowhere,
and a torn one next to its place. Arrays in, arrays out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import canonical
from curate.face.pose import fit_mesh
from curate.types import Floats
from reports.artifacts.view import Grey

Doubles = NDArray[np.float64]
FEATURES = {
    "nose": ((1, 2, 4, 5, 6, 98, 129, 195, 197, 327, 358), 3.6),
    "right eye": ((33, 133, 145, 159), 3.4),
    "left eye": ((263, 362, 374, 386), 3.4),
}
"""Mesh points in whose middle a feature lies, and half the patch's side in centimetres of an average head."""
SIDE, SOUGHT = 22, 12
"""Samples of a patch, and of its middle, which is sought in it."""
COARSE = 0.21
"""Sigma of what is taken off as shading, in units of the side."""
TURNED, ALIKE, STEP = 30.0, 20.0, 10.0
"""Degrees: yaw beyond which a nose is seen against the background; yaw and pitch within which frames are alike; steps
of yaw and pitch that share one usual look."""
LEAST, MOST = 20, 400
"""Frames that make a usual look: at least, and of the whole video."""
FOUND = 0.75
"""Least correlation at which a feature counts as found."""


def features(grey: Grey, points: NDArray[np.floating]) -> NDArray[np.int8] | None:
    """(3 * SIDE * SIDE,) detail of FEATURES in a picture (H, W) with landmarks (N, 3) in pixels; None for other
    landmarks than the mesh's, or a head of no size."""
    if len(points) < 468 or points.shape[1] < 3 or not np.isfinite(points).all():
        return None
    fit = fit_mesh(np.asarray(points, np.float64)[None])
    turn, scale, shift = fit.rotation[0], float(fit.scale[0]), fit.shift[0]
    if not scale > 0:
        return None
    places = [(turn @ canonical().vertices[list(at)].mean(0) * scale + shift)[:2] for at, _ in FEATURES.values()]
    roll, reaches = math.atan2(turn[1, 0], turn[0, 0]), [scale * reach for _, reach in FEATURES.values()]
    found = [_detail(grey, place * (1, -1), roll, reach) for place, reach in zip(places, reaches, strict=True)]
    return np.concatenate(found)


def _detail(grey: Grey, place: Doubles, roll: float, reach: float) -> NDArray[np.int8]:
    """(SIDE * SIDE,) upright detail within `reach` pixels of a place of a picture whose head is turned by `roll`."""
    zoom = SIDE / (2 * reach)
    fine = min(max(math.ceil(1 / zoom), 1), 64)
    spin = zoom * fine * np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    matrix = np.column_stack([spin, (SIDE * fine - 1) / 2 - spin @ place])
    large = cv2.warpAffine(grey, matrix, (SIDE * fine, SIDE * fine), borderMode=cv2.BORDER_REPLICATE)
    patch = cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = patch - cv2.GaussianBlur(patch, (0, 0), COARSE * SIDE)
    return np.asarray(np.rint(127 * detail / max(float(np.abs(detail).max()), 1e-6)), np.int8).ravel()


def slipped(seen: Sequence[NDArray[np.int8] | None], pose: Doubles) -> tuple[Doubles, Doubles]:
    """(T, 3) how much more each of FEATURES looks like itself elsewhere than in its place, and (T,) how unlike the nose
    in its place is to its usual look.

    seen: T times what `features` gave. pose: (T, 2) yaw and pitch, degrees. Both are differences of correlations,
    0 in sound frames; the former is 0 also where the feature is not found. NaN where there are too few frames of a
    similar pose, or the head is turned.
    """
    cut = np.array([one is not None for one in seen], bool)
    known = np.flatnonzero(cut & (np.abs(pose[:, 0]) <= TURNED) & np.isfinite(pose[:, 1]))
    elsewhere, unlike = np.full((len(seen), len(FEATURES)), np.nan), np.full(len(seen), np.nan)
    if len(known) < LEAST:
        return elsewhere, unlike
    some = known[np.unique(np.linspace(0, len(known) - 1, min(MOST, len(known))).round().astype(int))]
    cells, cell = np.unique(np.round(pose[known] / STEP), axis=0, return_inverse=True)
    for number, middle in enumerate(cells * STEP):
        near = some[(np.abs(pose[some] - middle) <= ALIKE).all(1)]
        if len(near) < LEAST:
            continue
        for place in range(len(FEATURES)):
            usual = _usual(np.stack([_patch(seen[row], place) for row in near]))
            for row in known[cell.ravel() == number].tolist():
                here, about, best = _sought(_patch(seen[row], place), usual)
                elsewhere[row, place] = best - about if best >= FOUND else 0.0
                if place == 0:
                    unlike[row] = 1 - here
    return elsewhere, unlike


def _patch(seen: NDArray[np.int8] | None, place: int) -> Floats:
    """(SIDE, SIDE) of one feature."""
    assert seen is not None
    return np.asarray(seen.reshape(len(FEATURES), SIDE, SIDE)[place], np.float32)


def _usual(patches: Floats) -> Floats:
    """(SOUGHT, SOUGHT) median of the middles of patches (N, SIDE, SIDE)."""
    length = np.linalg.norm(patches.reshape(len(patches), -1), axis=1)
    inner = slice((SIDE - SOUGHT) // 2, (SIDE + SOUGHT) // 2)
    return np.asarray(np.median(patches[:, inner, inner] / np.maximum(length, 1e-6)[:, None, None], 0), np.float32)


def _sought(patch: Floats, usual: Floats) -> tuple[float, float, float]:
    """Correlation of the usual look in its place, and the largest give or take a sample, and anywhere in the patch."""
    found, middle = cv2.matchTemplate(patch, usual, cv2.TM_CCOEFF_NORMED), (SIDE - SOUGHT) // 2
    near = found[middle - 1 : middle + 2, middle - 1 : middle + 2]
    return float(found[middle, middle]), float(near.max()), float(found.max())
