"""Search for the frame in which a watermark was laid: cropped, scaled in one direction, or with bars around it.

The sum of whitened frames is correlated with the pilot, a pattern that every mark contains, at many scales in x and
y; a Fourier transform at each scale finds the best offset. The best few places are refined edge by edge, and only then
are bits read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from render.provenance.watermark import BLUR, GRID, PILOT, SEEN, grid_of, pilot_code, spread, whitened

SIDE = 288
"""Side of the whitened frames that are searched, cells: finer than the grid, because they are resampled."""
SCALES = tuple(round(0.86 + 0.01 * i, 2) for i in range(27))
"""Width or height of the marked frame in those of the frame at hand that are tried: 0.86 (bars) to 1.12 (crops)."""
SKEW = 0.085
"""Largest difference of the two scales: bars are found beforehand, and crops are small."""
PADDED = 256
"""Side of the Fourier transforms: the grid, and room for offsets."""
CANDIDATES = 8
"""Best places that are refined."""
STEPS = (0.004, 0.002, 0.001, 0.0005)
"""Steps of the refinement, in widths or heights of the frame."""
BAR = 6.0
"""Largest deviation within a row or column of a bar, and between those of one bar, levels."""
WIDEST = 0.3
"""Largest share of the frame that is taken for one bar."""
Edges = tuple[float, float, float, float]
"""Left, right, top and bottom of the marked frame, in widths and heights of the frame at hand: (0, 1, 0, 1) is all."""


@dataclass(frozen=True)
class Box:
    """Picture inside bars, in pixels: columns [left, right), rows [top, bottom)."""

    left: int
    right: int
    top: int
    bottom: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture inside."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def box(images: list[NDArray[np.uint8]]) -> Box | None:
    """The picture inside the bars of some frames (H, W) uint8 luma; None if there are no bars or nothing else."""
    stacked = np.stack(images).astype(np.float32)
    top, bottom = _inside(stacked)
    rows = stacked[:, top:bottom] if bottom > top else stacked
    left, right = _inside(rows.transpose(0, 2, 1))
    height, width = images[0].shape
    if (left, right, top, bottom) == (0, width, 0, height) or right - left < width // 3 or bottom - top < height // 3:
        return None
    return Box(left, right, top, bottom)


def _inside(lines: Floats) -> tuple[int, int]:
    """First and end of the lines (T, N, K) that are no bar: a bar is even, and as bright as its outermost line."""
    even = lines.std(axis=2).max(axis=0) <= BAR
    level = lines.mean(axis=2)
    ends = []
    for outermost in (0, -1):
        bar = even & (np.abs(level - level[:, outermost, None]).max(axis=0) <= BAR)
        picture = np.flatnonzero(~bar[:: 1 if outermost == 0 else -1])
        ends.append(min(int(picture[0]), int(WIDEST * len(even))) if len(picture) else 0)
    return ends[0], len(even) - ends[1]


def fine(image: NDArray[np.uint8]) -> Floats:
    """Whitened frame (SIDE, SIDE) float32 to be summed and searched, of (H, W) uint8 luma."""
    return whitened(grid_of(image, SIDE), BLUR * SIDE / GRID, SEEN)[0]


def places(total: Floats) -> list[Edges]:
    """Likely places of the marked frame, the best first, of a sum (SIDE, SIDE) of whitened frames."""
    found: list[tuple[float, Edges]] = []
    for wide, high in product(SCALES, SCALES):
        if abs(wide - high) <= SKEW:
            found.append(_offset(total, wide, high))
    found.sort(key=lambda f: -f[0])
    chosen: list[Edges] = []
    for _, edges in found:
        if len(chosen) < CANDIDATES and all(np.abs(np.subtract(edges, c)).max() > 0.012 for c in chosen):
            chosen.append(edges)
    refined = [_refined(total, edges) for edges in chosen]
    return [edges for _, edges in sorted(refined, key=lambda f: -f[0])]


def _offset(total: Floats, wide: float, high: float) -> tuple[float, Edges]:
    """Best offset at one scale: height of the peak in standard deviations, and the edges."""
    size = round(GRID / wide), round(GRID / high)
    room = np.zeros((PADDED, PADDED), np.float32)
    room[: size[1], : size[0]] = cv2.resize(total, size, interpolation=cv2.INTER_AREA)
    spectrum = cv2.dft(room, flags=cv2.DFT_COMPLEX_OUTPUT)
    product = cv2.mulSpectrums(spectrum, _template(), 0, conjB=True)
    surface = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE)
    deviation = float(surface.std()) or 1.0
    reach = PADDED // 8
    near = np.roll(surface, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    left, top = (int(x) - reach) / size[0], (int(y) - reach) / size[1]
    return float(near[y, x]) / deviation, (left, left + wide, top, top + high)


def _refined(total: Floats, edges: Edges) -> tuple[float, Edges]:
    best, value = edges, _agreement(total, edges)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for move in _moves():
                tried: Any = tuple(np.add(best, np.multiply(move, step)).tolist())
                new = _agreement(total, tried)
                if new > value:
                    best, value, improved = tried, new, True
    return value, best


@cache
def _moves() -> tuple[Edges, ...]:
    """Shifts along x and y, and one edge at a time, either way."""
    kinds = ((1, 1, 0, 0), (0, 0, 1, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    return tuple((s * a, s * b, s * c, s * d) for a, b, c, d in kinds for s in (1.0, -1.0))


def _agreement(total: Floats, edges: Edges) -> float:
    """Correlation of the pilot with what lies inside the edges."""
    inside = moved(total, edges)
    return float((inside * _pattern()).sum() / max(float(np.sqrt((inside * inside).sum())), 1e-9))


def moved(total: Floats, edges: Edges) -> Floats:
    """What lies inside the edges, on the grid (GRID, GRID); zero where the frame at hand has nothing."""
    left, right, top, bottom = edges
    x, y = (right - left) * SIDE / GRID, (bottom - top) * SIDE / GRID
    matrix = np.array([[x, 0, left * SIDE + (x - 1) / 2], [0, y, top * SIDE + (y - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(total, matrix, (GRID, GRID), flags=flags, borderMode=cv2.BORDER_CONSTANT))


@cache
def _pattern() -> Floats:
    """The pilot (GRID, GRID) float32, of unit length."""
    pattern = spread(np.ones(PILOT, np.float32), pilot_code())
    return np.asarray(pattern / np.sqrt((pattern * pattern).sum()), np.float32)


@cache
def _template() -> Floats:
    room = np.zeros((PADDED, PADDED), np.float32)
    room[:GRID, :GRID] = _pattern()
    return np.asarray(cv2.dft(room, flags=cv2.DFT_COMPLEX_OUTPUT))
