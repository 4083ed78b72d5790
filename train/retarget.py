"""Retargeting: the target's landmarks on the source's face, so that the swap moves as one and looks like the other.

Landmarks are turned back to a frontal head in centimetres. There each subject has a rest shape, and the target's
distance from its own is added to the source's: lids scaled so that closed eyes are closed, the mouth so that closed
lips are closed. Then the head is turned as the target's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.face.mesh import AT, INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, RIGHT_BROW, RIGHT_EYE
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
MOUTH = (AT.mouth_right, AT.mouth_left)
OPEN = (0.5, 0.9)
"""Quantiles of the opening of the eyes between which they count as open and at rest."""
CLOSED = 0.2
"""Quantile of the opening of the mouth up to which it counts as closed."""
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


def shape_of(points: NDArray[np.floating]) -> Shape | None:
    """Rest shape from a subject's landmarks (N, 478, 3) in pixels of any size; None for other numbers of landmarks,
    or where they are no faces."""
    if points.ndim != 3 or points.shape[1] != COUNT or not len(points):
        return None
    some = points[np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_FACES)).round().astype(int))]
    with np.errstate(all="ignore"):
        heads = frontal(some)[0]
        faces = np.isfinite(np.column_stack([heads.sum((1, 2)), eye_openings(heads), mouth_openings(heads)])).all(1)
    if not faces.any():
        return None
    rest = _rest(heads[faces])
    return Shape(tuple((float(x), float(y), float(z)) for x, y, z in rest.round(4)))


def _rest(heads: Doubles) -> Doubles:
    rest = np.median(heads, 0)
    eyes, mouths = eye_openings(heads).mean(1), mouth_openings(heads)
    low, high = np.quantile(eyes, OPEN[0], method="lower"), np.quantile(eyes, OPEN[1], method="higher")
    lids = [i for lids, iris, *_ in EYES for i in (*lids, *iris)]
    rest[lids] = np.median(heads[(eyes >= low) & (eyes <= high)], 0)[lids]
    calm = heads[mouths <= np.quantile(mouths, CLOSED, method="higher")]
    others = np.setdiff1d(np.arange(COUNT), [*lids, *RIGHT_BROW, *LEFT_BROW])
    rest[others] = np.median(calm, 0)[others]
    return rest


def carried(points: NDArray[np.floating], target: Shape, source: Shape) -> Floats:
    """Landmarks (N, 478, 3) of the target in pixels, as the source would have them with the same movements and pose.

    Landmarks that are no face (all in one point) stay as they are.
    """
    with np.errstate(all="ignore"):
        found = _carried(points, target, source)
    return np.where(np.isfinite(found).all((1, 2), keepdims=True), found, np.asarray(points, np.float32))


def _carried(points: NDArray[np.floating], target: Shape, source: Shape) -> Floats:
    heads, fit = frontal(points)
    own = np.array(target.rest)
    other = _closed(own, np.array(source.rest))
    moved = other + _gains(own, other) * (heads - own)
    for lids, iris, *_ in EYES:
        moved[:, list(iris)] = _looking(heads, own, other, iris, lids, moved)
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


def mouth_openings(heads: Doubles) -> Doubles:
    """(N,) distance between the inner lips of heads (N, 478, 3), over the width of the mouth at rest."""
    width = np.median(np.linalg.norm(heads[:, AT.mouth_left] - heads[:, AT.mouth_right], axis=-1))
    return np.asarray((heads[:, AT.lip_top, 1] - heads[:, AT.lip_bottom, 1]) / width)


def _closed(own: Doubles, other: Doubles) -> Doubles:
    """The other rest shape with its lips as near to each other as the own ones, if they are further apart."""
    found, ring = other.copy(), list(INNER_LIPS)
    middle = other[[AT.lip_top, AT.lip_bottom], 1].mean()
    apart = other[AT.lip_top, 1] - other[AT.lip_bottom, 1]
    wanted = (own[AT.lip_top, 1] - own[AT.lip_bottom, 1]) * _width(other, *MOUTH) / _width(own, *MOUTH)
    if apart > wanted:
        shift = (other[ring, 1] - middle) * (max(wanted, 0.0) / apart - 1)
        found[ring, 1] += shift
        found[list(LIPS), 1] += shift
    return found


def _gains(own: Doubles, other: Doubles) -> Doubles:
    """(478, 3) how far each point of the other face moves where that of the own one moves by 1."""
    gains = np.ones((COUNT, 3))
    mouth = _width(other, *MOUTH) / _width(own, *MOUTH)
    gains[[*LIPS, *INNER_LIPS]] = np.clip(mouth, 0.7, 1.4)
    for lids, _, outer, inner, top, low in EYES:
        opened = (other[top, 1] - other[low, 1]) / max(own[top, 1] - own[low, 1], 1e-6)
        wide = _width(other, outer, inner) / _width(own, outer, inner)
        gains[list(lids)] = np.clip((wide, opened, wide), 0.5, 2.0)
    return gains


def _looking(
    heads: Doubles, own: Doubles, other: Doubles, iris: range, lids: tuple[int, ...], moved: Doubles
) -> Doubles:
    """(N, 5, 3) the iris of the other face where that of the own one looks: from the middle of the eye's corners."""
    _, _, outer, inner, *_ = next(eye for eye in EYES if eye[0] == lids)
    wide = _width(other, outer, inner) / _width(own, outer, inner)
    middle = heads[:, [outer, inner]].mean(1, keepdims=True)
    away = heads[:, [iris[0]]] - middle
    ring = other[list(iris)] - other[iris[0]]
    return np.asarray(moved[:, [outer, inner]].mean(1, keepdims=True) + wide * away + ring)


def _width(rest: Doubles, one: int, two: int) -> float:
    return max(float(np.linalg.norm(rest[one] - rest[two])), 1e-6)
