"""Invisible watermark in every frame of a render: 64 bits that survive encoding, scaling and a stripped manifest.

It is spread spectrum (Cox et al. 1997) in the middle frequencies of the luma's DCT, on a grid to which every frame is
averaged, whatever its size. The detector divides the grid's high-pass by its local deviation (a whitening filter for
images, whose noise is not stationary). The embedder knows how the detector reads the unmarked frame and gives each bit
the amplitude that it needs (informed embedding, Miller, Doerr and Cox 2004). A model of visibility limits the amplitude
everywhere: flat areas change by at most a level or so, weighted by how much of CIEDE2000 a level is worth there. Where
that is not enough to be read, light texture carries more, and the least that is needed; in strong texture the whitened
pattern counts for little, and there is no more of it than on flat areas.

A mark uses one of four slots, which are orthogonal carriers: a render over a render takes a slot that is free, and
both are read. All slots share a pilot, a known pattern by which `render.provenance.watermark_search` finds the frame
again after cropping and bars. Marks of the first format (before slots) are still read.

The code is a public constant: every installation reads the watermarks of all others, and anyone who knows the code can
remove or forge them. The watermark identifies a render for honest users; it is no proof (the manifest is). Rotating or
mirroring a frame destroys it; black, white and empty frames cannot carry it, and hard texture over the whole frame (a
mosaic of 8-pixel squares) hides it. It is not reliable if a side of the render is shorter than about 320 pixels.
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
from render.provenance.watermark_code import BITS, Known, codeword, decode

OLD_KEY, KEY = b"faceset watermark 1", b"faceset watermark 2"
"""Part of the format: another key is another watermark."""
GRID = 192
"""Side of the grid, cells."""
OLD_BAND, BAND = (20.0, 80.0), (30.0, 100.0)
"""Radius in the DCT of the grid, in half periods across the frame, of the first format and of this one."""
SLOTS = 4
"""Marks that one video can carry."""
PILOT = 16
"""Carriers of the pilot, next to the 64 of the bits."""
TILT = 0.75
"""Weight of a coefficient: radius to this power; images have less of their own at higher frequencies."""
BLUR = 2.0
"""Standard deviation of the high-pass and of the local deviation, cells."""
FLOOR = 1.5
"""Least local deviation, levels, of the embedder."""
SEEN = 0.3
"""Least local deviation, levels, of the detector: a fainter pattern on flat areas counts, too. 0.1 to 0.7 were tried on
five marked clips after coding; below 0.35 it changes little.
"""
LEVELLED = 4.0
"""Standard deviation of the neighbourhood over which the detector levels the spectrum, coefficients of the DCT; 2 and 8
read the same five clips as well.
"""
FLAT = 0.15
"""Standard deviation of the pattern on flat areas, CIEDE2000."""
DARK = 0.5
"""CIEDE2000 of a level on a dark colour, such as brown hair or a coat."""
RESPONSE = 0.25
"""Mean of the pattern's standard deviation over the whitening's deviation that light texture makes up for: with it a
window of 30 frames is read after x264 at CRF 28.
"""
IN_FACES = 0.36
"""RESPONSE of the mark that an exported model draws: it covers the face alone, and is read less well."""
PIXELS = 330_000
"""Pixels of a frame beyond which less is needed: more of them are averaged in a cell."""
BOUNDS = (0.0, 3.0)
"""Least and largest amplitude of a carrier, in that of one which the frame neither supports nor hinders."""
TEXTURED = (0.8, 1.5)
"""Least and largest local deviation that carries most, levels."""
MOST = 3.0
"""Largest addition in texture, in what a flat area of the same brightness has."""
PEAK = 1.7
"""Largest value of the pattern, in its standard deviations."""
AROUND = 5
"""Side of the area whose least deviation counts as texture, cells: edges do not hide a pattern next to them."""
WINDOW = 30
"""Frames per reading."""
STEP = 5
"""Frames between the starts of successive windows."""
STRIP = 48
"""Rows that are processed at a time: few enough to stay in the processor's cache."""
ZERO: Any = 0
"""A scalar operand: OpenCV's type hints know only arrays."""
Picture = TypeVar("Picture", NDArray[np.uint8], NDArray[np.uint16])
Code = tuple[NDArray[np.intp], Floats]


@dataclass(frozen=True)
class Reading:
    """Watermark that was read from a video."""

    identifier: int
    score: float
    """Cosine of the measurement and the identifier's codeword: 0.90 .. 1, or from 0.75 for a known identifier."""
    frames: int
    """Number of frames that it was read from."""
    start: int
    """The first of them, counted from the first frame given."""
    slot: int | None = 0
    """The slot that it uses, 0 .. 3; None: a mark of the first format."""
    moved: bool = False
    """Whether the frame had to be found first: it was cropped or has bars."""
    chance: float = 1.0
    """Upper bound of the probability that as good a reading turns up in an unmarked video; 1 if it was not computed."""


class Marker:
    """Embedder of one identifier in frames of one size; deterministic, in any process. `response`: see RESPONSE."""

    def __init__(self, identifier: int, width: int, height: int, slot: int = 0, response: float = RESPONSE) -> None:
        if not 0 <= slot < SLOTS:
            raise ValueError(f"watermark slot {slot}: must be in 0 .. {SLOTS - 1}")
        self.identifier = identifier
        self.size = (width, height)
        self.slot = slot
        self.response = response
        self._bits = np.concatenate([np.ones(PILOT, np.float32), codeword(identifier)])

    def mark(self, image: Picture) -> Picture:
        """The image (H, W, 3) uint8 or uint16 RGB with the watermark, same dtype; all three channels change alike.

        Raises ValueError for another size or dtype than the marker was made for.
        """
        if image.shape != (self.size[1], self.size[0], 3) or image.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"a frame of {image.shape} {image.dtype}: the watermark is for {self.size[0]}x{self.size[1]} RGB"
            )
        deep = image.dtype == np.uint16
        pattern: Any = cv2.resize(self._pattern(grid_of(image)), self.size, interpolation=cv2.INTER_CUBIC)
        if deep:
            pattern *= np.float32(257)
        marked = np.empty_like(image)
        for top in range(0, len(image), STRIP):
            rows = slice(top, top + STRIP)
            _add(image[rows], pattern[rows], marked[rows])
        return marked

    def _pattern(self, grid: Floats) -> Floats:
        """(GRID, GRID) float32 levels to add."""
        code = whole_code(self.slot)
        flat, deviation = whitened(grid)
        mask = visibility(grid, deviation, self.size[0] * self.size[1], self.response)
        response = float((mask / deviation).mean()) * high_pass_gain(self.slot)
        amplitudes = _amplitudes(_project(flat, code) * self._bits, max(response, 1e-6), GRID**2)
        unit = np.clip(spread(amplitudes * self._bits, code), -PEAK, PEAK)
        return np.asarray(mask * unit, np.float32)


def _add(image: Any, pattern: Floats, out: Any) -> None:
    """Into `out`: the image plus the rounded pattern on every channel, saturated."""
    depth = cv2.CV_16U if image.dtype == np.uint16 else cv2.CV_8U
    lighter = cv2.add(pattern, ZERO, dtype=depth)
    darker = cv2.subtract(ZERO, pattern, dtype=depth)
    cv2.add(image, cv2.cvtColor(lighter, cv2.COLOR_GRAY2RGB), dst=out)
    cv2.subtract(out, cv2.cvtColor(darker, cv2.COLOR_GRAY2RGB), dst=out)


def visibility(grid: Floats, deviation: Floats, pixels: int = PIXELS, wanted: float = RESPONSE) -> Floats:
    """Standard deviation (GRID, GRID) float32 in levels that a pattern may have on the grid (luma in 0..255).

    `deviation` is that of `whitened`, `pixels` the frame's number of pixels. On flat areas the pattern is FLAT of
    CIEDE2000. Where the least deviation nearby is within TEXTURED, it is larger, until the response is as `wanted`.
    None near black and white, where levels are cut off.
    """
    detail = grid - cv2.GaussianBlur(grid, (0, 0), 1.5)
    local = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 1.5))
    least = cv2.GaussianBlur(cv2.erode(local, np.ones((AROUND, AROUND), np.uint8)), (0, 0), 1.0)
    light = np.minimum(np.minimum(least / TEXTURED[0], 1), TEXTURED[1] / np.maximum(least, TEXTURED[1]))
    shade = np.clip((grid - 2) / 12, 0, 1) * np.clip((254 - grid) / 12, 0, 1)
    plain = cv2.GaussianBlur(flat_levels()[np.clip(grid, 0, 255).astype(np.uint8)], (0, 0), 1.0) * shade
    missing = wanted * min(PIXELS / pixels, 1.0) ** 0.5 - float((plain / deviation).mean())
    share = missing / max(float((plain * light / deviation).mean()), 1e-6)
    return np.asarray(plain * (1 + np.float32(np.clip(share, 0, MOST)) * light), np.float32)


@cache
def flat_levels() -> Floats:
    """(256,) float32 levels that are FLAT of CIEDE2000 on a grey of each level (CIE 142-2001).

    Dark colours count as more: the same levels on all channels change their chroma, up to DARK per level.
    """
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = np.where(linear > 0.008856, 116 * np.cbrt(linear) - 16, 903.3 * linear)
    off = (light - 50) ** 2
    apart = np.gradient(light) / (1 + 0.015 * off / np.sqrt(20 + off))
    return np.asarray(FLAT / np.maximum(apart, np.interp(np.arange(256), (30, 60), (DARK, 0))), np.float32)


def measure(image: NDArray[np.uint8]) -> Floats:
    """Soft values (5, 64) float32 of the bits in one frame, (H, W, 3) uint8 RGB or (H, W) uint8 luma; no fixed scale.

    Row 0 is the first format, rows 1 to 4 are the slots.
    """
    return projected(whitened(grid_of(image), floor=SEEN)[0])


def projected(flat: Floats) -> Floats:
    """Soft values (5, 64) float32 as `measure` gives them, of a whitened grid (GRID, GRID) or a sum of such."""
    spectrum = _levelled(np.asarray(cv2.dct(np.ascontiguousarray(flat, np.float32)), np.float32)).ravel()
    return np.stack([np.asarray((spectrum[cells] * weights).sum(axis=0)) for cells, weights in _codes()])


def _levelled(spectrum: Floats) -> Floats:
    """Coefficients (GRID, GRID) of both bands in root mean squares of their neighbourhood.

    It is a whitening filter in frequency, after the one in space: no strong line of the picture drowns the others.
    """
    end = round(BAND[1])
    row, column = np.mgrid[:end, :end]
    radius = np.hypot(row, column)
    inside = np.asarray((radius >= OLD_BAND[0]) & (radius < BAND[1]) & (row > 0) & (column > 0), np.float32)
    low = spectrum[:end, :end] * inside
    power = cv2.GaussianBlur(low * low, (0, 0), LEVELLED) / np.maximum(cv2.GaussianBlur(inside, (0, 0), LEVELLED), 1e-3)
    levelled = np.zeros_like(spectrum)
    np.divide(low, np.sqrt(power), out=levelled[:end, :end], where=power > 0)
    return levelled


def read(frames: Iterable[NDArray[np.uint8]]) -> Reading | None:
    """First watermark in a video; frames (H, W, 3) uint8 RGB or (H, W) uint8 luma, any size, in order.

    Windows of 30 frames are tried every 5 frames, and the remainder at the end (a shorter video is one window), so a
    marked part of a longer video is found. Stops at the first hit, without reading more frames.
    """
    recent: deque[Floats] = deque(maxlen=WINDOW)
    count = 0
    for count, frame in enumerate(frames, 1):
        recent.append(measure(frame))
        if count >= WINDOW and (count - WINDOW) % STEP == 0 and (found := decoded(recent, count - WINDOW)):
            return found[0]
    return next(iter(decoded(recent, count - len(recent))), None)


def decoded(measured: Iterable[Floats], start: int = 0, known: Known | None = None) -> list[Reading]:
    """The watermarks in the sum of measurements (5, 64) of consecutive frames, the latest slot first.

    `known` identifiers are also recognised where the identifier alone cannot be decoded.
    """
    rows = list(measured)
    if not rows:
        return []
    total: NDArray[np.float64] = np.asarray(np.sum(rows, axis=0, dtype=np.float64))
    read = ((number, decode(soft) or (known and known.nearest(soft))) for number, soft in enumerate(total))
    hits = [(number, found) for number, found in read if found]
    return [Reading(f.identifier, f.score, len(rows), start, n - 1 if n else None) for n, f in reversed(hits)]


def grid_of(image: NDArray[np.uint8] | NDArray[np.uint16], side: int = GRID) -> Floats:
    """Luma (side, side) float32 in 0..255, each cell the mean of its area of the frame."""
    height, width = image.shape[:2]
    luma: Any = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else np.ascontiguousarray(image)
    if min(height, width) >= 2 * side and height % 2 == width % 2 == 0:
        luma = cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)  # exact halves are fast
    scale = np.float32(1 / 257 if image.dtype == np.uint16 else 1)
    return np.asarray(cv2.resize(luma.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) * scale)


def whitened(grid: Floats, blur: float = BLUR, floor: float = FLOOR) -> tuple[Floats, Floats]:
    """The grid's high-pass divided by its local deviations, and these deviations, at least `floor` levels."""
    detail = grid - cv2.GaussianBlur(grid, (0, 0), blur)
    deviation = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), blur) + np.float32(floor**2))
    return detail / deviation, deviation


@cache
def _code(key: bytes, band: tuple[float, float], carriers: int) -> Code:
    """Cells of the DCT, (N, carriers), and their weights: a column is a carrier of unit length and shares no cell."""
    row, column = np.mgrid[:GRID, :GRID]
    radius = np.hypot(row, column).ravel()
    inside = (radius >= band[0]) & (radius < band[1]) & (row.ravel() > 0) & (column.ravel() > 0)
    ordered = np.flatnonzero(inside)
    ordered = ordered[np.argsort(radius[ordered], kind="stable")]
    cells = ordered[: len(ordered) // carriers * carriers].reshape(-1, carriers)
    return _drawn(key, cells, radius)


def _drawn(key: bytes, cells: NDArray[np.intp], radius: NDArray[np.float64]) -> Code:
    drawn = np.frombuffer(hashlib.shake_256(key).digest(8 * cells.size), "<u8").reshape(cells.shape)
    cells = np.take_along_axis(cells, np.argsort(drawn, axis=1, kind="stable"), axis=1)
    weights = radius[cells] ** TILT * np.where(drawn & 1, 1.0, -1.0)
    return cells, np.asarray(weights / np.sqrt((weights**2).sum(axis=0)), np.float32)


@cache
def pilot_code() -> Code:
    """Carriers of the pilot, (N, PILOT): the same in all slots."""
    cells, weights = _code(KEY, BAND, PILOT + BITS)
    return cells[:, :PILOT], weights[:, :PILOT]


@cache
def _slot_code(slot: int) -> Code:
    """Carriers (N, 64) of the bits in a slot, on the cells that the pilot leaves."""
    row, column = np.mgrid[:GRID, :GRID]
    cells = np.sort(_code(KEY, BAND, PILOT + BITS)[0][:, PILOT:], axis=1)
    return _drawn(KEY + b" slot %d" % slot, cells, np.hypot(row, column).ravel())


@cache
def _codes() -> tuple[Code, ...]:
    """Carriers of everything that is read: the first format, then the slots."""
    return (_code(OLD_KEY, OLD_BAND, BITS), *(_slot_code(slot) for slot in range(SLOTS)))


@cache
def whole_code(slot: int) -> Code:
    """Carriers (N, PILOT + 64) of pilot and bits."""
    both = (pilot_code(), _slot_code(slot))
    return np.concatenate([c for c, _ in both], axis=1), np.concatenate([w for _, w in both], axis=1)


@cache
def high_pass_gain(slot: int) -> float:
    """Gain of the projection for a pattern of amplitude 1 after the high-pass, on a flat image."""
    code = whole_code(slot)
    pattern = spread(np.ones(PILOT + BITS, np.float32), code)
    return float(_project(pattern - cv2.GaussianBlur(pattern, (0, 0), BLUR), code).mean())


def _project(picture: Floats, code: Code) -> Floats:
    cells, weights = code
    return np.asarray((cv2.dct(picture).ravel()[cells] * weights).sum(axis=0))


def spread(amplitudes: Floats, code: Code) -> Floats:
    cells, weights = code
    spectrum = np.zeros(GRID * GRID, np.float32)
    spectrum[cells] = weights * amplitudes
    return np.asarray(cv2.dct(spectrum.reshape(GRID, GRID), flags=cv2.DCT_INVERSE))


def _amplitudes(host: Floats, response: float, budget: float) -> Floats:
    """Amplitudes (N,) with the given sum of squares that bring all carriers to the same level as far as possible.

    `host` is how strongly the unmarked frame supports each carrier. A carrier gets the amplitude of a neutral
    one times a factor within BOUNDS.
    """
    low, high = 0.0, 2 * response * budget**0.5
    amplitudes = np.zeros(len(host))
    for _ in range(20):
        level = (low + high) / 2
        amplitudes = np.clip(level - host.astype(np.float64), BOUNDS[0] * level, BOUNDS[1] * level) / response
        if amplitudes @ amplitudes > budget:
            high = level
        else:
            low = level
    return np.asarray(amplitudes, np.float32)
