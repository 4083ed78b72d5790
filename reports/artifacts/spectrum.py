"""Periodic patterns and faint copies in the spectrum of a face. Pure functions, array in, number out.

They use a square of unshrunk pixels in the middle of the face, so that a pattern of two pixels survives.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.types import Floats

SIZES = (160, 128, 96, 64, 48)
"""Sides in pixels of the square; the largest one inside the face is taken."""
LOWEST = 0.09
"""Cycles per pixel: slower patterns cannot be distinguished from facial features."""
FLOOR = 0.5
"""Variance in squared luma levels that rounding and encoding leave at every frequency."""
CODING = 2.0
"""Variance at every frequency for each of the encoder's, which spreads it unevenly."""
NEAREST, FARTHEST = 4.0, 0.25
"""Pixels, and fraction of the square's side, between which the shift of a copy is searched."""


def square(grey: NDArray[np.uint8], centre: tuple[float, float], width: float) -> Floats | None:
    """(S, S) float32 of the square of (H, W) luma around `centre` (x, y).

    None where none of SIZES fits into face and frame. `width` is the face's size in pixels, the root of its area.
    """
    height, wide = grey.shape
    for size in SIZES:
        left, top = round(centre[0] - size / 2), round(centre[1] - size / 2)
        inside = left >= 0 and top >= 0 and left + size <= wide and top + size <= height
        if inside and size <= 0.85 * width:
            return grey[top : top + size, left : left + size].astype(np.float32)
    return None


@functools.cache
def _window(size: int) -> Floats:
    one = np.hanning(size + 2)[1:-1]
    return np.asarray(np.outer(one, one), np.float32)


def power(grey: Floats, coding: float = 0.0) -> Floats:
    """(S, S//2+1) power spectrum of a (S, S) square under a Hann window, over the noise; at least 1.

    The noise is that of FLOOR and of `coding`, luma levels (standard deviation) by which an encoder changes a pixel.
    """
    window = _window(grey.shape[0])
    spectrum = np.fft.rfft2((grey - float(grey.mean())) * window)
    noise = (FLOOR + CODING * coding**2) * float(np.square(window).sum())
    return np.asarray((np.abs(spectrum) ** 2) / noise + 1, np.float32)


@functools.cache
def _counted(size: int) -> NDArray[np.bool_]:
    """Frequencies at which a peak counts: fast enough, and none of those of 8-pixel coding blocks."""
    fy, fx = np.abs(np.fft.fftfreq(size))[:, None], np.fft.rfftfreq(size)[None]
    near = 2.5 / size
    block_x = (fy < near) & (np.abs(fx * 8 - np.round(fx * 8)) < 8 * near)
    block_y = (fx < near) & (np.abs(fy * 8 - np.round(fy * 8)) < 8 * near)
    return np.asarray((np.hypot(fx, fy) >= LOWEST) & ~block_x & ~block_y)


def checkerboard(output: Floats, reference: Floats | None) -> float:
    """Height in decibels of the highest spectral peak over a smooth spectrum, for power spectra (S, S//2+1).

    With a reference the peak must also stand above that one's spectrum: what is periodic in the footage is no fault.
    """
    size = output.shape[0]
    above = _peaks(output)
    if reference is not None:
        above = np.minimum(above, above - _peaks(reference))
    return float(10 / np.log(10) * above[_counted(size)].max())


def _peaks(spectrum: Floats) -> Floats:
    """Natural logarithm of a spectrum divided by its smoothed self."""
    level = np.log(_blurred(spectrum, 3))
    return np.asarray(level - _blurred(level, 17), np.float32)


def _blurred(half: Floats, width: int) -> Floats:
    """Box mean over the frequencies, wrapped around where the half spectrum ends."""
    pad = width // 2
    rows = np.concatenate([half[-pad:], half, half[:pad]])
    mirrored = np.flip(np.roll(rows, -1, axis=0), axis=0)
    whole = np.concatenate([mirrored[:, 1 : pad + 1][:, ::-1], rows, mirrored[:, -pad - 1 : -1][:, ::-1]], axis=1)
    return np.asarray(cv2.blur(whole, (width, width))[pad:-pad, pad:-pad], np.float32)


def ghost(output: Floats, reference: Floats) -> float:
    """Strength of a shifted faint copy that the reference does not have, per cent of the face itself.

    Power spectra (S, S//2+1). The difference of the power cepstra (Bogert, Healy, Tukey 1963): an echo of strength a
    stands out by a at its shift.
    """
    size = output.shape[0]
    ratio = np.log(output) - np.log(reference)
    known = _blurred(np.log(reference), 3)
    weight = np.asarray(np.clip(known / 2, 0, 1), np.float32)
    share = float(weight.mean())
    if share < 0.05:
        return float("nan")
    ratio = (ratio - _radial(ratio, weight)) * weight
    echo = np.fft.irfft2(ratio, s=(size, size)) / share
    return float(100 * echo[_shifts(size)].max())


def _radial(values: Floats, weight: Floats) -> Floats:
    """Weighted mean of (S, S//2+1) values over frequencies of equal magnitude: blur is the same in all directions."""
    ring = _rings(values.shape[0])
    total = np.bincount(ring.ravel(), weights=weight.ravel())
    sums = np.bincount(ring.ravel(), weights=(values * weight).ravel())
    return np.asarray((sums / np.maximum(total, 1e-6))[ring], np.float32)


@functools.cache
def _rings(size: int) -> NDArray[np.int64]:
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    return np.asarray(np.rint(np.hypot(fx, fy) * size / 2), np.int64)


@functools.cache
def _shifts(size: int) -> NDArray[np.bool_]:
    along = np.fft.fftfreq(size) * size
    far = np.hypot(along[:, None], along[None])
    return np.asarray((far >= NEAREST) & (far <= FARTHEST * size))
