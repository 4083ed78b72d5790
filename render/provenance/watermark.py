"""Invisible watermark in every frame of a render: 64 bits that survive encoding, scaling and a stripped manifest.

It is spread spectrum (Cox et al. 1997) in the middle frequencies of the luma's DCT, on a grid to which every frame is
averaged, whatever its size. The detector divides the grid's high-pass by its local deviation (a whitening filter for
images, whose noise is not stationary), so flat areas count more than edges. The embedder knows how the detector reads
the unmarked frame and gives each bit the amplitude that it needs (informed embedding, Miller, Doerr and Cox 2004), and
the error of the whole frame stays at `PSNR`. It is weaker on flat areas and near black, where it would be visible.

The code is a public constant: every installation reads the watermarks of all others, and anyone who knows the code can
remove them. The watermark identifies a render for honest users; it is no proof against forgery (the manifest is).
Cropping, rotating or mirroring a frame moves the grid and destroys the watermark; black or white frames cannot carry
it, and hard texture over the whole frame (a mosaic of 8-pixel squares) hides it. It is not reliable if a side of the
render is shorter than about 320 pixels.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats
from render.provenance.watermark_code import BITS, Codeword, codeword, decode

KEY = b"faceset watermark 1"
"""Part of the format: another key is another watermark."""
GRID = 192
"""Side of the grid, cells."""
BAND = (20.0, 80.0)
"""Radius in the DCT of the grid, in half periods across the frame."""
TILT = 0.75
"""Weight of a coefficient: radius to this power; images have less of their own at higher frequencies."""
BLUR = 2.0
"""Standard deviation of the high-pass and of the local deviation, cells."""
FLOOR = 0.7
"""Least local deviation, levels."""
PSNR = 45.7
"""PSNR of the pattern before rounding, dB."""
MASKING = 0.1
"""The pattern grows with the local deviation to this power: less on walls and skin, more in hair and leaves."""
BUSY = 8.0
"""Deviation beyond which it grows no more, levels."""
WINDOW = 30
"""Frames per reading."""
STEP = 5
"""Frames between the starts of successive windows."""
STRIP = 48
"""Rows that are processed at a time: few enough to stay in the processor's cache."""
ZERO: Any = 0
"""A scalar operand: OpenCV's type hints know only arrays."""
Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.uint16])


@dataclass(frozen=True)
class Reading:
    """Watermark that was read from a video."""

    identifier: int
    score: float
    """Cosine of the measurement and the identifier's codeword, 0.90 .. 1."""
    frames: int
    """Number of frames that it was read from."""
    start: int
    """The first of them, counted from the first frame given."""


class Marker:
    """Embedder of one identifier in frames of one size; deterministic, in any process."""

    def __init__(self, identifier: int, width: int, height: int) -> None:
        self.identifier = identifier
        self.size = (width, height)
        self._bits = codeword(identifier)

    def mark(self, image: Picture) -> Picture:
        """The image (H, W, 3) uint8 or uint16 RGB with the watermark, same dtype; all three channels change alike.

        Raises ValueError for another size or dtype than the marker was made for.
        """
        if image.shape != (self.size[1], self.size[0], 3) or image.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"a frame of {image.shape} {image.dtype}: the watermark is for {self.size[0]}x{self.size[1]} RGB"
            )
        deep = image.dtype == np.uint16
        pattern: Any = cv2.resize(self._pattern(_grid(image)), self.size, interpolation=cv2.INTER_CUBIC)
        if deep:
            pattern *= np.float32(257)
        marked = np.empty_like(image)
        for top in range(0, len(image), STRIP):
            rows = slice(top, top + STRIP)
            _add(image[rows], pattern[rows], marked[rows])
        return marked

    def _pattern(self, grid: Floats) -> Floats:
        """(GRID, GRID) float32 levels to add."""
        flat, deviation = _whitened(grid)
        shade = np.clip((grid + 8) / 88, 0, 1) * np.clip((256 - grid) / 16, 0, 1)
        mask = cv2.GaussianBlur(shade * np.minimum(deviation, BUSY) ** MASKING, (0, 0), 1.0)
        mask *= np.sqrt((shade * shade).mean() / max(float((mask * mask).mean()), 1e-6))
        response = float((mask / deviation).mean()) * _high_pass_gain()
        budget = 255.0**2 / 10 ** (PSNR / 10) * GRID**2 / max(float((mask * mask).mean()), 0.25)
        amplitudes = _amplitudes(_project(flat) * self._bits, max(response, 1e-6), budget)
        return np.asarray(mask * _spread(amplitudes * self._bits), np.float32)


def _add(image: Any, pattern: Floats, out: Any) -> None:
    """Into `out`: the image plus the rounded pattern on every channel, saturated."""
    depth = cv2.CV_16U if image.dtype == np.uint16 else cv2.CV_8U
    lighter = cv2.add(pattern, ZERO, dtype=depth)
    darker = cv2.subtract(ZERO, pattern, dtype=depth)
    cv2.add(image, cv2.cvtColor(lighter, cv2.COLOR_GRAY2RGB), dst=out)
    cv2.subtract(out, cv2.cvtColor(darker, cv2.COLOR_GRAY2RGB), dst=out)


def measure(image: NDArray[np.uint8]) -> Floats:
    """Soft values (64,) float32 of the bits in one frame, (H, W, 3) uint8 RGB or (H, W) uint8 luma; no fixed scale."""
    return _project(_whitened(_grid(image))[0])


def read(frames: Iterable[NDArray[np.uint8]]) -> Reading | None:
    """First watermark in a video; frames (H, W, 3) uint8 RGB or (H, W) uint8 luma, any size, in order.

    Windows of 30 frames are tried every 5 frames, and the remainder at the end (a shorter video is one window), so a
    marked part of a longer video is found. Stops at the first hit, without reading more frames.
    """
    recent: deque[Floats] = deque(maxlen=WINDOW)
    count = 0
    for count, frame in enumerate(frames, 1):
        recent.append(measure(frame))
        if count >= WINDOW and (count - WINDOW) % STEP == 0 and (found := _read(recent)):
            return Reading(found.identifier, found.score, WINDOW, count - WINDOW)
    if recent and (found := _read(recent)):
        return Reading(found.identifier, found.score, len(recent), count - len(recent))
    return None


def _read(measured: Iterable[Floats]) -> Codeword | None:
    return decode(np.sum(list(measured), axis=0, dtype=np.float64))


def _grid(image: NDArray[np.uint8] | NDArray[np.uint16]) -> Floats:
    """Luma (GRID, GRID) float32 in 0..255, each cell the mean of its area of the frame."""
    height, width = image.shape[:2]
    luma: Any = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else np.ascontiguousarray(image)
    if min(height, width) >= 2 * GRID and height % 2 == width % 2 == 0:
        luma = cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)  # exact halves are fast
    scale = np.float32(1 / 257 if image.dtype == np.uint16 else 1)
    return np.asarray(cv2.resize(luma.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA) * scale)


def _whitened(grid: Floats) -> tuple[Floats, Floats]:
    """The grid's high-pass divided by its local deviations, and these deviations."""
    detail = grid - cv2.GaussianBlur(grid, (0, 0), BLUR)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), BLUR) + np.float32(FLOOR**2))
    return detail / deviation, deviation


@cache
def _code() -> tuple[NDArray[np.intp], Floats]:
    """Cells of the DCT, (N, 64), and their weights: column i carries bit i, has unit length, shares no cell."""
    row, column = np.mgrid[:GRID, :GRID]
    radius = np.hypot(row, column).ravel()
    inside = (radius >= BAND[0]) & (radius < BAND[1]) & (row.ravel() > 0) & (column.ravel() > 0)
    ordered = np.flatnonzero(inside)
    ordered = ordered[np.argsort(radius[ordered], kind="stable")]
    cells = ordered[: len(ordered) // BITS * BITS].reshape(-1, BITS)
    drawn = np.frombuffer(hashlib.shake_256(KEY).digest(8 * cells.size), "<u8").reshape(cells.shape)
    cells = np.take_along_axis(cells, np.argsort(drawn, axis=1, kind="stable"), axis=1)
    weights = radius[cells] ** TILT * np.where(drawn & 1, 1.0, -1.0)
    return cells, np.asarray(weights / np.sqrt((weights**2).sum(axis=0)), np.float32)


@cache
def _high_pass_gain() -> float:
    """Gain of the projection for a pattern of amplitude 1 after the high-pass, on a flat image."""
    pattern = _spread(np.ones(BITS, np.float32))
    return float(_project(pattern - cv2.GaussianBlur(pattern, (0, 0), BLUR)).mean())


def _project(picture: Floats) -> Floats:
    cells, weights = _code()
    return np.asarray((cv2.dct(picture).ravel()[cells] * weights).sum(axis=0))


def _spread(amplitudes: Floats) -> Floats:
    cells, weights = _code()
    spectrum = np.zeros(GRID * GRID, np.float32)
    spectrum[cells] = weights * amplitudes
    return np.asarray(cv2.dct(spectrum.reshape(GRID, GRID), flags=cv2.DCT_INVERSE))


def _amplitudes(host: Floats, response: float, budget: float) -> Floats:
    """Amplitudes (64,) with the given sum of squares that bring all bits to the same level as far as possible.

    `host` is how strongly the unmarked frame supports each bit. A bit gets 0.5 to 2.5 times the amplitude of a neutral
    bit, so that the pattern never vanishes and never jumps.
    """
    low, high = 0.0, 2 * response * budget**0.5
    amplitudes = np.zeros(BITS)
    for _ in range(20):
        level = (low + high) / 2
        amplitudes = np.clip(level - host.astype(np.float64), 0.5 * level, 2.5 * level) / response
        if amplitudes @ amplitudes > budget:
            high = level
        else:
            low = level
    return np.asarray(amplitudes, np.float32)
