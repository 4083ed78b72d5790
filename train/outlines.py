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
    small = np.zeros((len(MAPS), size, size), np.uint8)
    if len(points) in (478, 68):
        step = max(-(-FINE // size), 2)
        at = np.clip(np.asarray(points, np.float64)[:, :2], -16, 16) * (size * step) - 0.5
        areas, lines = (_mesh if len(points) == 478 else _ibug)()
        eyes, irises, *others = ([_fixed(at[list(path)]) for path in paths] for paths in areas)
        part = _Part.around([*eyes, *irises], size, step)
        part.put(part.filled(eyes), small[0])
        part.put(np.minimum(part.filled(eyes), part.filled(irises)), small[1])
        for number, shapes in enumerate(others, 2):
            part = _Part.around(shapes, size, step)
            part.put(part.filled(shapes), small[number])
        thick = round(size * step / 64)
        for name, paths in lines.items():
            shapes = [_fixed(at[list(path)]) for path in paths]
            part = _Part.around(shapes, size, step, thick)
            part.put(part.drawn(shapes, thick), small[MAPS.index(name)])
        face = [_fixed(hull(at))]
        part = _Part.around(face, size, step)
        part.put(part.filled(face), small[-1])
    return np.asarray(cv2.merge(list(small)), np.uint8)


@dataclass(frozen=True)
class _Part:
    """Part of a fine picture around some shapes: everything else is 0, and need be neither drawn nor shrunk.

    Shapes are int32 (K, 2), in 1 / 2**SUBPIXELS of the fine picture's pixels.
    """

    left: int
    top: int
    right: int
    bottom: int
    """In pixels of the shrunk picture."""
    step: int
    """Pixels of the fine picture per pixel of the shrunk one."""

    @classmethod
    def around(cls, shapes: list[NDArray[np.int32]], size: int, step: int, reach: int = 0) -> _Part:
        """The part of a picture with `size` pixels on a side that lines of `reach` fine pixels can touch."""
        x, y, width, height = cv2.boundingRect(np.concatenate(shapes))
        left, top = (min(max(((at >> SUBPIXELS) - reach - 2) // step, 0), size - 1) for at in (x, y))
        ends = (((at >> SUBPIXELS) + reach + 2) // step + 1 for at in (x + width, y + height))
        right, bottom = (min(max(end, begin + 1), size) for end, begin in zip(ends, (left, top), strict=True))
        return cls(left, top, right, bottom, step)

    def filled(self, shapes: list[NDArray[np.int32]]) -> NDArray[np.uint8]:
        """The fine part with filled polygons, 0 or 255."""
        fine = self._blank()
        for shape in shapes:
            cv2.fillPoly(fine, [self._here(shape)], 255, cv2.LINE_8, SUBPIXELS)
        return fine

    def drawn(self, paths: list[NDArray[np.int32]], thick: int) -> NDArray[np.uint8]:
        """The fine part with lines of `thick` pixels, 0 or 255."""
        fine = self._blank()
        for path in paths:
            cv2.polylines(fine, [self._here(path)], False, 255, thick, cv2.LINE_8, SUBPIXELS)
        return fine

    def put(self, fine: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
        """Shrink a fine part into its place in a picture (size, size)."""
        shape = (self.right - self.left, self.bottom - self.top)
        shrunk = cv2.resize(fine, shape, interpolation=cv2.INTER_AREA)
        picture[self.top : self.bottom, self.left : self.right] = shrunk

    def _blank(self) -> NDArray[np.uint8]:
        return np.zeros((self.step * (self.bottom - self.top), self.step * (self.right - self.left)), np.uint8)

    def _here(self, shape: NDArray[np.int32]) -> NDArray[np.int32]:
        return shape - np.array([self.left, self.top], np.int32) * np.int32(self.step << SUBPIXELS)


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
