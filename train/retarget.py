"""Retargeting: the target's landmarks on the source's face, so that the swap moves as one and looks like the other.

Landmarks are turned back to a frontal head in centimetres. There each subject has a rest shape, and the target's
distance from its own is added to the source's, with lids scaled so that closed eyes are closed. Below the nose the
target's shape is only scaled: where the mouth and the chin of a source that grimaces rest cannot be told from its
footage, and a wrong rest opens or closes every mouth. Then the head is turned as the target's. A network draws some
movements smaller than it is asked to: `Gains` asks for more of them (train/gains.py).
"""

from __future__ import annotations

import functools
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import AT, INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, RIGHT_BROW, RIGHT_EYE, canonical
from curate.face.pose import Fit, fit_mesh
from curate.types import Floats

Doubles = NDArray[np.float64]
COUNT = 478
"""Landmarks that can be carried over."""
EYES = (
    (RIGHT_EYE, range(468, 473), AT.right_eye_outer, AT.right_eye_inner, AT.right_eye_top, AT.right_eye_bottom),
    (LEFT_EYE, range(473, 478), AT.left_eye_outer, AT.left_eye_inner, AT.left_eye_top, AT.left_eye_bottom),
)
"""Lids, iris, corners, and the middle of both lids, of each eye."""
BROWS, MOUTH = [*RIGHT_BROW, *LEFT_BROW], sorted({*LIPS, *INNER_LIPS})
OPEN = (0.5, 0.9)
"""Quantiles of the opening of the eyes between which they count as open and at rest."""
MOST_FACES = 2000
"""Faces from which a rest shape is measured, evenly spread."""


@dataclass(frozen=True)
class Shape:
    """Rest shape of a subject's face; stored in run.json."""

    rest: tuple[tuple[float, float, float], ...]
    """(478, 3) centimetres, head frontal: x image right, y up, z to the camera."""

    def __post_init__(self) -> None:
        values = np.array(self.rest, np.float64)
        if values.shape != (COUNT, 3) or not np.isfinite(values).all():
            raise ValueError("a rest shape must have 478 points of 3 finite numbers")


@dataclass(frozen=True)
class Gains:
    """Size of movements from rest as they are drawn, relative to the target's; 1: the same. Stored in run.json.

    Lids and lips that close have none: closed has to stay closed.
    """

    gaze_side: float = 1.0
    brows: float = 1.0
    mouth_wide: float = 1.0
    """Movements of the lips sideways."""

    def __post_init__(self) -> None:
        if not all(0.25 <= value <= 4 for value in astuple(self)):
            raise ValueError(f"gains {astuple(self)}: each must be from 0.25 to 4")


NONE = Gains()


def shape_of(points: NDArray[np.floating]) -> Shape | None:
    """Rest shape from a subject's landmarks (N, 478, 3) in pixels of any size; None for other numbers of landmarks,
    or where they are no faces."""
    if points.ndim != 3 or points.shape[1] != COUNT or not len(points):
        return None
    some = points[np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_FACES)).round().astype(int))]
    with np.errstate(all="ignore"):
        heads = frontal(some)[0]
        faces = np.isfinite(np.column_stack([heads.sum((1, 2)), eye_openings(heads)])).all(1)
    if not faces.any():
        return None
    rest = _rest(heads[faces])
    return Shape(tuple((float(x), float(y), float(z)) for x, y, z in rest.round(4)))


def _rest(heads: Doubles) -> Doubles:
    rest = np.median(heads, 0)
    eyes = eye_openings(heads).mean(1)
    low, high = np.quantile(eyes, OPEN[0], method="lower"), np.quantile(eyes, OPEN[1], method="higher")
    lids = [i for lids, iris, *_ in EYES for i in (*lids, *iris)]
    rest[lids] = np.median(heads[(eyes >= low) & (eyes <= high)], 0)[lids]
    return rest


def carried(points: NDArray[np.floating], target: Shape, source: Shape, gains: Gains = NONE) -> Floats:
    """Landmarks (N, 478, 3) of the target in pixels, as the source would have them with the same movements and pose.

    The movements are as large as `gains` says. Landmarks that are no face (all in one point) stay as they are.
    """
    with np.errstate(all="ignore"):
        found = _carried(points, target, source, gains)
    return np.where(np.isfinite(found).all((1, 2), keepdims=True), found, np.asarray(points, np.float32))


def _carried(points: NDArray[np.floating], target: Shape, source: Shape, gains: Gains) -> Floats:
    heads, fit = frontal(points)
    own, other = np.array(target.rest), np.array(source.rest)
    moved = other + _gains(own, other, gains) * (heads - own)
    low, scale = list(_lower_face()), _scale(own, other)
    moved[:, low] = other[AT.nose_base] + scale * (heads[:, low] - own[AT.nose_base])
    moved[:, MOUTH, 0] += scale * (gains.mouth_wide - 1) * (heads[:, MOUTH, 0] - own[MOUTH, 0])
    for lids, iris, *_ in EYES:
        moved[:, list(iris)] = _looking(heads, own, other, iris, lids, moved, gains)
    return back(moved, fit)


def frontal(points: NDArray[np.floating]) -> tuple[Doubles, Fit]:
    """Landmarks (N, 478, 3) in pixels turned back to frontal heads in centimetres, and the fit that turned them."""
    fit = fit_mesh(points)
    seen = np.asarray(points, np.float64) * (1, -1, -1) - fit.shift[:, None]
    return np.einsum("nji,nkj->nki", fit.rotation, seen) / fit.scale[:, None, None], fit


def back(heads: Doubles, fit: Fit) -> Floats:
    """The inverse of `frontal`."""
    seen = fit.scale[:, None, None] * np.einsum("nij,nkj->nki", fit.rotation, heads) + fit.shift[:, None]
    return np.asarray(seen * (1, -1, -1), np.float32)


def eye_openings(heads: Doubles) -> Doubles:
    """(N, 2) distance between the lids of heads (N, 478, 3), over the width of the eye."""
    found = [heads[:, top, 1] - heads[:, low, 1] for *_, top, low in EYES]
    widths = [np.linalg.norm(heads[:, a] - heads[:, b], axis=-1) for _, _, a, b, *_ in EYES]
    return np.asarray(np.stack(found, 1) / np.stack(widths, 1))


def _gains(own: Doubles, other: Doubles, more: Gains) -> Doubles:
    """(478, 3) how far each point of the other face moves where that of the own one moves by 1."""
    gains = np.ones((COUNT, 3))
    gains[BROWS] = more.brows
    for lids, _, outer, inner, top, low in EYES:
        opened = (other[top, 1] - other[low, 1]) / max(own[top, 1] - own[low, 1], 1e-6)
        wide = _width(other, outer, inner) / _width(own, outer, inner)
        gains[list(lids)] = np.clip((wide, opened, wide), 0.5, 2.0)
    return gains


def _looking(
    heads: Doubles, own: Doubles, other: Doubles, iris: range, lids: tuple[int, ...], moved: Doubles, gains: Gains
) -> Doubles:
    """(N, 5, 3) the iris of the other face where that of the own one looks: from the middle of the eye's corners."""
    _, _, outer, inner, *_ = next(eye for eye in EYES if eye[0] == lids)
    wide = _width(other, outer, inner) / _width(own, outer, inner)
    middle = heads[:, [outer, inner]].mean(1, keepdims=True)
    rest = own[iris[0]] - own[[outer, inner]].mean(0)
    away = rest + (heads[:, [iris[0]]] - middle - rest) * (gains.gaze_side, 1.0, 1.0)
    ring = other[list(iris)] - other[iris[0]]
    return np.asarray(moved[:, [outer, inner]].mean(1, keepdims=True) + wide * away + ring)


def _scale(own: Doubles, other: Doubles) -> float:
    """Size of the other face over that of the own one, by the outer corners of the eyes."""
    corners = (AT.right_eye_outer, AT.left_eye_outer)
    return _width(other, *corners) / _width(own, *corners)


@functools.cache
def _lower_face() -> tuple[int, ...]:
    """Points below the base of the nose."""
    height = canonical().vertices[:, 1]
    return tuple(np.flatnonzero(height < height[AT.nose_base]).tolist())


def _width(rest: Doubles, one: int, two: int) -> float:
    return max(float(np.linalg.norm(rest[one] - rest[two])), 1e-6)
