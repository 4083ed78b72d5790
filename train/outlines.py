"""Outlines that drive the decoders: eyes, irises, lips, mouth, brows, nose and face, drawn from the landmarks.

With `--drive outlines` each decoder level is given, next to the crop's code, where the lids, lips and irises are. What
is drawn there is local, so a combination of movements that the source never made is drawn from parts that it did make,
and the crop's code is left with light, skin and what no landmark tells. For the swap the target's landmarks are first
carried over to the source's face (train/retarget.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate.face.align import hull
from curate.face.mesh import INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, RIGHT_BROW, RIGHT_EYE
from curate.face.pose68 import MESH_OF_68
from train.retarget import COUNT, NONE, Gains, Shape, carried

NOSE = ((168, 6, 197, 195, 5, 4, 1), (64, 98, 97, 2, 326, 327, 294))
"""The ridge from its root to the tip, and the base from wing to wing."""
IRISES = ((469, 470, 471, 472), (474, 475, 476, 477))
JAW_OF_68 = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
"""Mesh points near the 17 points of the jaw, which have none of their own; they only count for the face's outline."""
BROWS_68, NOSE_68 = (range(17, 22), range(22, 27)), (range(27, 31), range(31, 36))
EYES_68 = (range(36, 42), range(42, 48))
MAPS = ("eyes", "irises", "lips", "mouth", "brows", "nose", "face")
"""Channels, in order: each an area, 0 outside and 1 inside, except the brows and the nose of lines."""
FINE = 512
"""Least side of what is drawn before it is shrunk: lids and lips move by less than a pixel of the network."""
SUBPIXELS = 4
"""Binary digits of the fraction of a coordinate that is drawn."""


@dataclass(frozen=True)
class Outlines:
    """How a run draws outlines; stored in run.json."""

    size: int
    """Side of the network's crops, pixels."""
    source: Shape | None = None
    target: Shape | None = None
    """Rest shapes; None: unknown, and the target's outlines are not carried over."""
    points: int = COUNT
    """Number of landmarks with which the network was trained: 478 or 68."""
    gains: Gains = NONE
    """Size of the movements as they are drawn in swaps, relative to the target's."""

    def __post_init__(self) -> None:
        if self.points not in (COUNT, 68) or not 0 < self.size <= 4096:
            raise ValueError(f"outlines of {self.points} landmarks at {self.size} px")

    def plain(self, marks: NDArray[np.floating]) -> Tensor:
        """(N, len(MAPS), size, size) uint8 outlines of landmarks (N, P, 3) in units of the crop's side, as they are."""
        return maps_of(self.points_of(marks), self.size)

    def carried(self, marks: NDArray[np.floating]) -> Tensor:
        """As `plain`, of the target's landmarks carried over to the source's face."""
        return maps_of(self.points_of(marks, carry=True), self.size)

    def points_of(self, marks: NDArray[np.floating], carry: bool = False) -> NDArray[np.floating]:
        """Landmarks as they are drawn: carried over to the source's face if asked, 68 of 478 if the run has 68."""
        if carry and self.source is not None and self.target is not None and marks.shape[1] == COUNT:
            marks = carried(marks, self.target, self.source, self.gains)
        if self.points == 68 and marks.shape[1] == COUNT:
            marks = marks[:, [*JAW_OF_68, *MESH_OF_68]]
        return marks


def draw(points: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """(size, size, len(MAPS)) uint8, 0..255 the share of each pixel that is covered.

    points: (478, 3 or 2) or (68, 3 or 2) landmarks in units of the crop's side; 68 landmarks have no irises. For
    another number of landmarks all is 0.
    """
    if len(points) not in (478, 68):
        return np.zeros((size, size, len(MAPS)), np.uint8)
    fine = max(FINE, 2 * size)
    maps = np.zeros((len(MAPS), fine, fine), np.uint8)
    at = np.clip(np.asarray(points, np.float64)[:, :2], -16, 16) * fine - 0.5
    thick = round(fine / 64)
    areas, lines = (_mesh if len(points) == 478 else _ibug)()
    for number, outlines in enumerate(areas):
        for outline in outlines:
            cv2.fillPoly(maps[number], [_fixed(at[list(outline)])], 255, cv2.LINE_8, SUBPIXELS)
    for name, paths in lines.items():
        for path in paths:
            place = maps[MAPS.index(name)]
            cv2.polylines(place, [_fixed(at[list(path)])], False, 255, thick, cv2.LINE_8, SUBPIXELS)
    maps[1] = np.minimum(maps[1], maps[0])
    cv2.fillPoly(maps[-1], [_fixed(hull(at))], 255, cv2.LINE_8, SUBPIXELS)
    small = [cv2.resize(each, (size, size), interpolation=cv2.INTER_AREA) for each in maps]
    return np.stack(small, 2).astype(np.uint8, copy=False)


def maps_of(points: NDArray[np.floating], size: int) -> Tensor:
    """(N, len(MAPS), size, size) uint8 of landmarks (N, P, 3) in units of the crop's side."""
    drawn = np.stack([draw(own, size) for own in points])
    return torch.from_numpy(np.ascontiguousarray(drawn.transpose(0, 3, 1, 2)))


def _mesh() -> tuple[list[Sequence[Sequence[int]]], dict[str, Sequence[Sequence[int]]]]:
    areas: list[Sequence[Sequence[int]]] = [
        (RIGHT_EYE, LEFT_EYE),
        IRISES,
        (LIPS,),
        (INNER_LIPS,),
        (RIGHT_BROW, LEFT_BROW),
    ]
    return areas, {"nose": NOSE}


def _ibug() -> tuple[list[Sequence[Sequence[int]]], dict[str, Sequence[Sequence[int]]]]:
    areas: list[Sequence[Sequence[int]]] = [EYES_68, (), (range(48, 60),), (range(60, 68),)]
    return areas, {"brows": BROWS_68, "nose": NOSE_68}


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.round(points * (1 << SUBPIXELS)).astype(np.int32)
