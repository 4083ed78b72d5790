"""Handles: the few named landmarks by which a person moves a face's mesh, and the mesh that follows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from curate.errors import UsageError

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Handle:
    """One handle: its landmark in either layout. Right and left are the subject's own."""

    mesh: int
    """Index among the 478 points of the face mesh."""
    ibug: int | None
    """Index among the 68 points of iBUG; None: that layout has no such point."""


HANDLES = {
    "right eye, outer corner": Handle(33, 36),
    "right eye, inner corner": Handle(133, 39),
    "right upper lid": Handle(159, None),
    "right lower lid": Handle(145, None),
    "left eye, inner corner": Handle(362, 42),
    "left eye, outer corner": Handle(263, 45),
    "left upper lid": Handle(386, None),
    "left lower lid": Handle(374, None),
    "right brow": Handle(105, 19),
    "left brow": Handle(334, 24),
    "nose tip": Handle(4, 30),
    "right mouth corner": Handle(61, 48),
    "left mouth corner": Handle(291, 54),
    "upper lip": Handle(0, 51),
    "upper lip, inner edge": Handle(13, 62),
    "lower lip, inner edge": Handle(14, 66),
    "lower lip": Handle(17, 57),
    "chin": Handle(152, 8),
    "right cheek": Handle(234, 0),
    "left cheek": Handle(454, 16),
    "forehead": Handle(10, None),
}
"""Name to handle, in the order in which the keyboard visits them."""


def handles_of(points: NDArray[np.floating]) -> dict[str, int]:
    """Name to index of the handles that landmarks (478, 3) or (68, 3) have."""
    if len(points) == 68:
        return {name: one.ibug for name, one in HANDLES.items() if one.ibug is not None}
    return {name: one.mesh for name, one in HANDLES.items()}


def influence(points: NDArray[np.floating]) -> Doubles:
    """(N, H) by which landmarks (N, 2|3) follow their H handles: displacements of points = influence @ of handles.

    A thin-plate spline (Bookstein 1989) through the handles: each lies exactly where it was put, the points between
    them follow smoothly, and a common turn, shift or change of size moves the whole face alike.
    """
    at = np.asarray(points, np.float64)[:, :2]
    centres = at[list(handles_of(points).values())]
    span = max(float(np.ptp(centres)), 1e-9)
    spline = RBFInterpolator(centres / span, np.eye(len(centres)), kernel="thin_plate_spline")
    return np.asarray(spline(at / span), np.float64)


def moved(points: NDArray[np.floating], places: Mapping[str, tuple[float, float]]) -> NDArray[np.float32]:
    """Landmarks (N, 3) whose handles lie at `places` (name to x, y in the landmarks' pixels); others stay.

    Depth keeps its ratio to the face's size. Raises UsageError for an unknown handle or a place that is not finite.
    """
    known = handles_of(points)
    shift = np.zeros((len(known), 2))
    order = {name: i for i, name in enumerate(known)}
    for name, place in places.items():
        if name not in known:
            raise UsageError(f"{name!r} is not a handle of this face: use one of {', '.join(known)}")
        if not np.isfinite(place).all():
            raise UsageError(f"{name}: the place {place} is not a point of the image")
        shift[order[name]] = np.asarray(place, np.float64) - np.asarray(points, np.float64)[known[name], :2]
    out = np.array(points, np.float64)
    before = np.std(out[list(known.values()), :2])
    out[:, :2] += influence(points) @ shift
    out[:, 2] *= np.std(out[list(known.values()), :2]) / max(float(before), 1e-9)
    return out.astype(np.float32)
